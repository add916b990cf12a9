"""Files of points: tables (`point_tables`) and JSON (`point_json`)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from homolog.errors import HomologError
from homolog.image.point_json import from_json
from homolog.image.point_tables import FilePoint, from_table
from homolog.utils.delimited import read_text


def read_points(
    path: str | os.PathLike[str], notes: list[str] | None = None
) -> tuple[Float[np.ndarray, "K 2"], list[str] | None]:
    """Read points, and their names if there are any, from a JSON, CSV or text file.

    Tables may have a heading, whose columns are known by name (`homolog.utils.delimited.COLUMNS`);
    without one, lines are x, y and perhaps a name. JSON is a list of [x, y] or of objects with `x`
    and `y`, an object that names such points, or one with `points`, `keypoints0` or `keypoints`
    (x, y, v of each, as in COCO), or a file of labelme. Points that the file calls unlabelled (no
    coordinates, or a visibility of 0) are left out.

    Args:
        path: the file.
        notes: gets a line for what was left out.

    Returns:
        The points (x, y) in pixels, and their names or None.

    Raises:
        HomologError: the file cannot be read, or is not clearly a file of points; the message names
            the line.
    """
    path = Path(path)
    try:
        text = read_text(path)
    except ValueError as error:
        raise HomologError(f"points: expected a text file {path}, got {error}") from None
    except OSError as error:
        raise HomologError(f"points: cannot read {path}: {error.strerror}") from error
    lines: list[str] = []
    try:
        points = _from_text(text, lines)
        array, names = _labelled(points, lines)
    except ValueError as error:
        raise HomologError(f"points: {path}: {' '.join(str(error).split())}") from None
    if notes is not None:
        notes += [f"{path}: {line}" for line in lines]
    return array, names


def _from_text(text: str, notes: list[str]) -> list[FilePoint]:
    if text.lstrip()[:1] in ("[", "{"):
        return from_json(text, notes)
    return from_table(text)


def _labelled(
    points: Sequence[FilePoint], notes: list[str]
) -> tuple[Float[np.ndarray, "K 2"], list[str] | None]:
    """The points that are labelled, and their names."""
    if not points:
        raise ValueError("expected at least one point, got none")
    labelled = [each for each in points if each.x is not None]
    if not labelled:
        raise ValueError("expected at least one labelled point, got none")
    if len(labelled) < len(points):
        absent = [each.name or each.location for each in points if each.x is None]
        notes.append(f"points that are not labelled are left out: {', '.join(absent)}")
    array = np.array([(each.x, each.y) for each in labelled], dtype=np.float64)
    if len(array) > 1 and array.min() >= 0 and array.max() <= 1 and array.max(axis=0).min() > 0:
        raise ValueError(
            "expected pixels, got points between 0 and 1, which are fractions of the image; try "
            "multiplying them by its width and height"
        )
    return array, _names(labelled)


def _names(points: Sequence[FilePoint]) -> list[str] | None:
    """The names of points, which all have one or none."""
    names = [each.name for each in points]
    if not any(names):
        return None
    for each in points:
        if not each.name:
            raise ValueError(
                f"{each.location}: expected a name, as other points have one, got none"
            )
    return [str(name) for name in names]
