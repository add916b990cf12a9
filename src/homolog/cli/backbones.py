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

    table = Table("--model", "needs", "weights", "licence of these", "descriptors", "s, 2 cores")
    families = [family for family in FAMILIES.values() if family.presets]
    for family in families:
        needs = "nothing" if family.extra is None else f"homolog[{family.extra}]"
        for name, preset in family.presets.items():
            seconds = "" if preset.seconds is None else f"{preset.seconds:g}"
            cells = (name, needs, preset.weights, preset.licence, preset.descriptors, seconds)
            table.add_row(*cells)
        table.add_section()
    # Tables are not folded where the output is no terminal; names are printed as given.
    width = None if sys.stdout.isatty() else 200
    console = Console(width=width, markup=False, emoji=False, highlight=False)
    console.print(table)
    for family in families:
        console.print(f"{family.name}: {family.description}")
    presets = [preset for family in families for preset in family.presets.values()]
    for licence in LICENCES:
        if any(licence.name in preset.licence for preset in presets):
            console.print(f"{licence.name}: {licence.url}")
