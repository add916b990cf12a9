"""The command that lists the backbones."""

from __future__ import annotations

import sys


def backbones() -> None:
    """List the backbones: what each needs, its size, its licence and where to read that.

    Weights are taken from the hub's cache on this machine, from the hub, or from folders that
    `--weights` names. Nothing is ever unpickled.
    """
    from rich.console import Console
    from rich.table import Table

    from homolog.backbones.licences import LICENCES
    from homolog.backbones.registry import FAMILIES

    table = Table(
        "--model", "needs", "weights", "licence of these", "descriptors", "s, 2 cores", "SPair-71k"
    )
    families = [family for family in FAMILIES.values() if family.presets]
    for family in families:
        needs = "nothing" if family.extra is None else f"homolog[{family.extra}]"
        for name, preset in family.presets.items():
            seconds = "" if preset.seconds is None else f"{preset.seconds:g}"
            table.add_row(
                name, needs, preset.weights, preset.licence, preset.descriptors, seconds,
                preset.reaches,
            )  # fmt: skip
        table.add_section()
    # Tables are not folded where the output is no terminal; names are printed as given.
    width = None if sys.stdout.isatty() else 240
    console = Console(width=width, markup=False, emoji=False, highlight=False)
    console.print(table)
    console.print("SPair-71k: PCK of its test pairs at 0.10 / 0.05 / 0.01 in percent, as published")
    for family in families:
        console.print(f"{family.name}: {family.description}")
    presets = [preset for family in families for preset in family.presets.values()]
    for licence in LICENCES:
        if any(licence.name in preset.licence for preset in presets):
            console.print(f"{licence.name}: {licence.url}")
