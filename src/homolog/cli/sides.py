"""The command that tells the left side of an object from its right side."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from homolog.cli.options import IMAGE_SUFFIXES, ModelOptions, parse_box
from homolog.utils.outputs import check_output, write_atomically
from homolog.utils.progress import ProgressBar


def sides(
    image: Annotated[Path, Parameter(name=["--image", "--picture"])],
    *,
    model: ModelOptions = ModelOptions(),
    box: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    out: Path | None = None,
    json_file: Annotated[Path | None, Parameter(name="--json", allow_leading_hyphen=True)] = None,
) -> None:
    """Colour the left and the right side of an animal: its own left, not that of the image.

    Parameters
    ----------
    image
        The image.
    box
        The object, `x,y,width,height` in pixels: it fills the canvas, with a margin around it.
    out
        The image to draw.
    json_file
        Write the probabilities of each cell, with the cells' centres, to this file; `-` prints
        them.
    """
    out = out and check_output(out, IMAGE_SUFFIXES, inputs=(image,))
    file = json_file if json_file is not None and str(json_file) != "-" else None
    if file is not None:
        file = check_output(file, (".json",), "json")
    region = None if box is None else parse_box(box)
    with ProgressBar(3) as progress:
        progress.update("loading the model")
        matcher = model.matcher()
        progress.update(f"extracting features of {image}")
        found = matcher.sides(image, box=region)
        progress.update("drawing")
        if out is not None:
            from homolog.viz.pairs import plot_sides
            from homolog.viz.raster import save_image

            save_image(plot_sides(image, found), out)
    text = json.dumps(found.to_dict(), indent=1) + "\n"
    if file is not None:
        write_atomically(file, text.encode(), "json")
    elif json_file is not None:
        print(text, end="")
    print(found.describe(), file=sys.stderr)
    if out is not None:
        print(f"image: {out}", file=sys.stderr)
