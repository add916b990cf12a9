"""Points as users give them: in lists, arrays and files, or on a grid."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from homolog.errors import HomologError

PointsLike = Sequence[Sequence[float]] | np.ndarray | Tensor


def as_points(
    points: PointsLike, size: tuple[int, int], name: str = "points"
) -> Float[np.ndarray, "K 2"]:
    """Points as a K x 2 array of float64, after a check that they lie in the image.

    Args:
        points: (x, y) in pixels, x to the right, y down.
        size: width and height of the image.
        name: what error messages call the points.

    Raises:
        HomologError: there are none, they are not pairs of finite numbers, or one lies outside
            the image; the message names the first that does.
    """
    if isinstance(points, Tensor):
        points = points.detach().cpu().numpy()
    try:
        array = np.array(points, dtype=np.float64)
    except (TypeError, ValueError):
        raise HomologError(f"{name}: expected pairs of numbers x, y, got {points!r}") from None
    if array.size == 0:
        raise HomologError(f"{name}: expected at least one point, got none")
    if array.ndim != 2 or array.shape[1] != 2:
        raise HomologError(f"{name}: expected an array of K x 2, got shape {array.shape}")
    for index, (x, y) in enumerate(array):
        if not np.isfinite((x, y)).all():
            raise HomologError(
                f"{name}: expected finite numbers, got ({x:g}, {y:g}) at index {index}"
            )
        if not (0 <= x <= size[0] and 0 <= y <= size[1]):
            raise HomologError(
                f"{name}: expected points in the image of {size[0]} x {size[1]} pixels, got "
                f"({x:g}, {y:g}) at index {index}"
            )
    return array


def grid_points(
    size: tuple[int, int],
    count: int,
    mask: Bool[np.ndarray, "height width"] | None = None,
    box: tuple[float, float, float, float] | None = None,
) -> Float[np.ndarray, "K 2"]:
    """A regular grid of points over an image, or over a box of it.

    Args:
        size: width and height of the image in pixels.
        count: number of points along the longer edge, at least 1; along the shorter edge the
            spacing is as equal to that as can be.
        mask: keep only the points where it is true.
        box: (x, y, width, height) in pixels, within the image.

    Raises:
        HomologError: the count is below 1, or no point of the grid lies on the mask.

    >>> grid_points((40, 20), 2).tolist()
    [[10.0, 10.0], [30.0, 10.0]]
    >>> grid_points((40, 20), 2, box=(20.0, 0.0, 10.0, 20.0)).tolist()
    [[25.0, 5.0], [25.0, 15.0]]
    """
    if count < 1:
        raise HomologError(f"grid: expected at least 1 point along the longer edge, got {count}")
    left, top, width, height = box or (0, 0, *size)
    spacing = max(width, height) / count
    columns, rows = (max(1, round(length / spacing)) for length in (width, height))
    x = left + (np.arange(columns) + 0.5) * width / columns
    y = top + (np.arange(rows) + 0.5) * height / rows
    points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    if mask is not None:
        column, row = points.astype(int).T
        points = points[mask[row, column]]
        if not len(points):
            raise HomologError(
                f"grid: expected a point on the mask, got none of a grid of {count}; try more"
            )
    return points


def read_points(path: str | os.PathLike[str]) -> tuple[Float[np.ndarray, "K 2"], list[str] | None]:
    """Read points, and their names if there are any, from a JSON, CSV or text file.

    JSON is a list of [x, y], or an object whose `points` (or `keypoints0`) is such a list, with
    their names in `point_ids` if they have any. CSV and text have x and y on each line, perhaps a
    name in a third column, and perhaps a header.

    Args:
        path: the file.

    Returns:
        The points (x, y), and their names or None.

    Raises:
        HomologError: the file cannot be read or has another format; the message names the line.
    """
    path = Path(path)
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise HomologError(f"points: expected a text file, got {path} with other content") from None
    except OSError as error:
        raise HomologError(f"points: cannot read {path}: {error.strerror}") from error
    if text.lstrip()[:1] in ("[", "{"):
        points, ids = _from_json(text, path)
    else:
        points, ids = _from_csv(text, path)
    if not points:
        raise HomologError(f"points: expected at least one point in {path}, got none")
    return np.array(points, dtype=np.float64), ids


def _from_json(text: str, path: Path) -> tuple[list[list[float]], list[str] | None]:
    try:
        data: Any = json.loads(text)
    except json.JSONDecodeError as error:
        raise HomologError(
            f"points: expected JSON in {path}, got line {error.lineno}: {error.msg}"
        ) from None
    ids = None
    if isinstance(data, dict):
        ids = data.get("point_ids")
        data = data.get("points", data.get("keypoints0"))
        if data is None:
            raise HomologError(f"points: expected 'points' or 'keypoints0' in {path}, got neither")
    if not isinstance(data, list):
        kind = type(data).__name__
        raise HomologError(f"points: expected a list of [x, y] in {path}, got {kind}")
    for index, point in enumerate(data):
        if not (
            isinstance(point, list)
            and len(point) == 2
            and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in point)
        ):
            raise HomologError(f"points: expected [x, y] in {path}, got {point!r} at index {index}")
    if ids is not None and not (isinstance(ids, list) and len(ids) == len(data)):
        raise HomologError(
            f"points: expected point_ids in {path} to name each of {len(data)} points, got {ids!r}"
        )
    return data, None if ids is None else [str(name) for name in ids]


def _from_csv(text: str, path: Path) -> tuple[list[list[float]], list[str] | None]:
    separator = next((mark for mark in ",;\t" if mark in text), " ")
    reader = csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=True)
    points, names = [], []
    for row in reader:
        cells = [cell.strip() for cell in row if cell.strip()]
        if not cells:
            continue
        try:
            points.append([float(cells[0]), float(cells[1])])
        except (ValueError, IndexError):
            if not points and reader.line_num == 1:
                continue  # a header
            raise HomologError(
                f"points: expected x, y in {path}, got {separator.join(row)!r} on line "
                f"{reader.line_num}"
            ) from None
        names.append(cells[2] if len(cells) > 2 else "")
    return points, names if names and all(names) else None
