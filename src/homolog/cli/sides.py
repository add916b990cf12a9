"""The command that tells left from right in one picture."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from homolog.cli.match import PICTURES
from homolog.cli.options import ModelOptions
from homolog.utils.outputs import check_output, write_atomically
from homolog.utils.progress import ProgressBar


def sides(
    picture: Path,
    *,
    model: ModelOptions = ModelOptions(),
    out: Path | None = None,
    json_file: Annotated[Path | None, Parameter(name="--json", allow_leading_hyphen=True)] = None,
) -> None:
    """Paint the left and the right half of an animal: its own left, not the picture's.

    Parameters
    ----------
    picture
        The picture.
    out
        The picture to draw.
    json_file
        Write probabilities cell by cell, with the cells' places, to this file; `-` prints them.
    """
    out = out and check_output(out, PICTURES)
    to_file = json_file if json_file is not None and str(json_file) != "-" else None
    if to_file is not None:
        to_file = check_output(to_file, (".json",), "json")
    with ProgressBar(3) as steps:
        steps.update("loading the model")
        matcher = model.matcher()
        steps.update(f"looking at {picture}")
        features = matcher.load_image(picture)
        found = matcher.sides(features)
        steps.update("drawing")
        if out is not None:
            from homolog.viz import draw

            draw.save(draw.sides(picture, found), out)
    plain = json.dumps(found.to_dict(), indent=1) + "\n"
    if to_file is not None:
        write_atomically(to_file, plain.encode())
    elif json_file is not None:
        print(plain, end="")
    print(found.describe(), file=sys.stderr)
    if out is not None:
        print(f"picture: {out}", file=sys.stderr)
