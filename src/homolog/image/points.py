"""Points as users give them: lists, files, grids."""

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
    """Points as a K x 2 array of float64, checked against the picture.

    Args:
        points: (x, y) in pixels, x to the right, y down.
        size: width and height of the picture.
        name: what error messages call them.

    Raises:
        HomologError: there are none, they are not pairs of finite numbers, or one lies outside
            the picture; the message names the first that does.
    """
    if isinstance(points, Tensor):
        points = points.detach().cpu().numpy()
    try:
        array = np.array(points, dtype=np.float64)
    except (TypeError, ValueError):
        raise HomologError(f"{name}: got {points!r}, takes pairs of numbers x, y") from None
    if array.size == 0:
        raise HomologError(f"{name}: got no points, takes at least one")
    if array.ndim != 2 or array.shape[1] != 2:
        raise HomologError(f"{name}: got an array of shape {array.shape}, takes K x 2")
    for index, (x, y) in enumerate(array):
        if not np.isfinite((x, y)).all():
            raise HomologError(f"{name}: point {index} is ({x:g}, {y:g}), takes finite numbers")
        if not (0 <= x <= size[0] and 0 <= y <= size[1]):
            raise HomologError(
                f"{name}: point {index} at ({x:g}, {y:g}) lies outside the picture of "
                f"{size[0]} x {size[1]} pixels"
            )
    return array


def grid_points(
    size: tuple[int, int], count: int, mask: Bool[np.ndarray, "height width"] | None = None
) -> Float[np.ndarray, "K 2"]:
    """Evenly spaced points over a picture, `count` along its longer side.

    Args:
        size: width and height of the picture in pixels.
        count: points along the longer side, at least 1; the shorter gets as many as keep them
            square.
        mask: keep only the points on it.

    Raises:
        HomologError: the count is below 1, or no point of the grid lies on the mask.

    >>> grid_points((40, 20), 2).tolist()
    [[10.0, 10.0], [30.0, 10.0]]
    """
    if count < 1:
        raise HomologError(f"grid: got {count}, takes at least 1 point along the longer side")
    width, height = size
    spacing = max(size) / count
    columns, rows = (max(1, round(length / spacing)) for length in size)
    x = (np.arange(columns) + 0.5) * width / columns
    y = (np.arange(rows) + 0.5) * height / rows
    points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    if mask is not None:
        column, row = points.astype(int).T
        points = points[mask[row, column]]
        if not len(points):
            raise HomologError(f"grid: no point of a grid of {count} lies on the mask, try more")
    return points


def read_points(path: str | os.PathLike[str]) -> tuple[Float[np.ndarray, "K 2"], list[str] | None]:
    """Points, and their names where the file has them.

    JSON: a list of [x, y], or an object whose `points` (or `keypoints0`) is such a list, with
    `point_ids` beside it if they have names. CSV or text: x and y a line, a name in a third
    column if there is one, a heading allowed.

    Raises:
        HomologError: the file cannot be read or is none of these; the message names the line.
    """
    path = Path(path)
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise HomologError(f"points: {path} is not a text file") from None
    except OSError as error:
        raise HomologError(f"points: cannot read {path}: {error.strerror}") from error
    if text.lstrip()[:1] in ("[", "{"):
        points, ids = _from_json(text, path)
    else:
        points, ids = _from_csv(text, path)
    if not points:
        raise HomologError(f"points: {path} has no points")
    return np.array(points, dtype=np.float64), ids


def _from_json(text: str, path: Path) -> tuple[list[list[float]], list[str] | None]:
    try:
        data: Any = json.loads(text)
    except json.JSONDecodeError as error:
        raise HomologError(f"points: {path}, line {error.lineno}: not JSON: {error.msg}") from None
    ids = None
    if isinstance(data, dict):
        ids = data.get("point_ids")
        data = data.get("points", data.get("keypoints0"))
        if data is None:
            raise HomologError(f"points: {path} has neither 'points' nor 'keypoints0'")
    if not isinstance(data, list):
        raise HomologError(f"points: {path} holds {type(data).__name__}, takes a list of [x, y]")
    for index, point in enumerate(data):
        if not (
            isinstance(point, list)
            and len(point) == 2
            and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in point)
        ):
            raise HomologError(f"points: {path}: point {index} is {point!r}, takes [x, y]")
    if ids is not None and not (isinstance(ids, list) and len(ids) == len(data)):
        raise HomologError(f"points: {path}: point_ids must name each of the {len(data)} points")
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
                continue  # a heading
            raise HomologError(
                f"points: {path}, line {reader.line_num}: {separator.join(row)!r} is not x, y"
            ) from None
        names.append(cells[2] if len(cells) > 2 else "")
    return points, names if names and all(names) else None
