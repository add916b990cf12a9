"""The command that converts published weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def convert(
    checkpoint: Path,
    out: Path,
    *,
    weights: Annotated[tuple[str, ...], Parameter(consume_multiple=True, show_default=False)] = (),
    size: int | None = None,
) -> None:
    """Convert a published checkpoint into a model folder.

    What it is is told by the names of its weights: a post-processor of GeoAware-SC or DIY-SC, or
    MARCO's adapters and upsamplers.

    Parameters
    ----------
    checkpoint
        The `.pth` file as published; no code in it is run.
    out
        The folder to write.
    weights
        Folder or hub name of the backbone's weights, if not those that the checkpoint was trained
        with; several, in order, where it was trained with several models.
    size
        Longest side of the images in pixels, if not the published one.
    """
    from homolog import published

    found = published.convert(checkpoint, out, weights or None, size)
    print(found.description)
    print(f"saved: {out}")
