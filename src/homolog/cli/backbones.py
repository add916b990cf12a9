"""The command that lists the backbones."""

from __future__ import annotations

import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class PresetInfo:
    """What there is to know of a preset before it is chosen.

    Attributes:
        needs: what to install.
        weights: whose weights, and how large they are in single precision.
        licence: of these.
        cells: of the descriptors, and their channels.
        seconds: a picture on two CPU cores (docs/benchmarks.md), where that was measured.
    """

    needs: str
    weights: str
    licence: str
    cells: str
    seconds: float | None = None


_DINO, _DIFFUSION = "homolog[dino]", "homolog[diffusion]"
_SD = "stable-diffusion-v1-5/stable-diffusion-v1-5, 4.3 GB"

ABOUT = {
    "embedded": PresetInfo(
        "nothing", "comes with pip, 46 MB", "Apache-2.0", "41 x 41 x 1160", 0.15
    ),
    "embedded-zero-shot": PresetInfo(
        "nothing", "comes with pip, 43 MB", "Apache-2.0", "41 x 41 x 1032", 0.14
    ),
    "dinov2-small": PresetInfo(
        _DINO, "facebook/dinov2-small, 0.1 GB", "Apache-2.0", "60 x 60 x 384", 2.4
    ),
    "dinov2-base": PresetInfo(
        _DINO, "facebook/dinov2-base, 0.3 GB", "Apache-2.0", "60 x 60 x 768", 6.7
    ),
    "dinov2-large": PresetInfo(
        _DINO, "facebook/dinov2-large, 1.2 GB", "Apache-2.0", "60 x 60 x 1024"
    ),
    "dinov3-small": PresetInfo(
        _DINO, "facebook/dinov3-vits16-…, 0.1 GB", "DINOv3 License, gated", "60 x 60 x 384"
    ),
    "dinov3-base": PresetInfo(
        _DINO, "facebook/dinov3-vitb16-…, 0.3 GB", "DINOv3 License, gated", "60 x 60 x 768"
    ),
    "dinov3-large": PresetInfo(
        _DINO, "facebook/dinov3-vitl16-…, 1.2 GB", "DINOv3 License, gated", "60 x 60 x 1024"
    ),
    "sd15": PresetInfo(_DIFFUSION, _SD, "CreativeML OpenRAIL-M", "60 x 60 x 3200"),
    "sd15+dinov2-base": PresetInfo(
        _DIFFUSION, f"{_SD}; dinov2-base", "CreativeML OpenRAIL-M, Apache-2.0", "60 x 60 x 3968"
    ),
    "cleandift+dinov2-base": PresetInfo(
        _DIFFUSION,
        "Stable Diffusion 2.1 from a mirror, a CleanDIFT UNet; dinov2-base",
        "CreativeML OpenRAIL++-M, see CleanDIFT's page, Apache-2.0",
        "60 x 60 x 3968",
    ),
}


def backbones() -> None:
    """List the backbones: what each needs, its size and its licence.

    Weights are taken from the hub's cache on this machine, from the hub, or from folders that
    `--weights` names. Nothing is ever unpickled.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("--model", "needs", "weights", "licence of these", "descriptors", "s, 2 cores")
    for name, about in ABOUT.items():
        seconds = "" if about.seconds is None else f"{about.seconds:g}"
        cells = (name, about.needs, about.weights, about.licence, about.cells, seconds)
        table.add_row(*map(escape, cells))
    # Tables are not folded where the output is no terminal.
    Console(width=None if sys.stdout.isatty() else 200).print(table)
