"""Points as users give them: in lists, arrays and files (`point_files`), or on a grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from homolog.errors import HomologError
from homolog.image.point_files import read_points

__all__ = ["PointsLike", "as_points", "grid_points", "read_points"]

PointsLike = Sequence[Sequence[float]] | np.ndarray | Tensor


def as_floats(values: Any, name: str, expected: str) -> Float[np.ndarray, "..."]:
    """Numbers as users give them, in lists, arrays or tensors, as an array of float64.

    What is masked in a masked array is NaN.

    Args:
        values: the numbers.
        name: what error messages call them.
        expected: what error messages say is expected.

    Raises:
        HomologError: they are not numbers, are complex or of unequal rows, or cannot be read.
    """
    try:
        if isinstance(values, Tensor):
            if values.is_complex() or values.dtype == torch.bool:
                raise TypeError
            given = values.detach().to("cpu", torch.float64).numpy()
        else:
            given = np.ma.asanyarray(values) if np.ma.isMA(values) else np.asarray(values)
        if given.dtype.kind in "bcmMV":  # neither complex nor dates, and masks are no points
            raise TypeError
        if isinstance(given, np.ma.MaskedArray):
            given = np.ma.filled(given.astype(np.float64), np.nan)
        return np.array(given, dtype=np.float64)
    except (TypeError, ValueError, ArithmeticError, RuntimeError):
        raise HomologError(f"{name}: expected {expected}, got {values!r}") from None


def as_pairs(points: Any, name: str = "points") -> Float[np.ndarray, "K 2"]:
    """Points (x, y) as a K x 2 array of float64, wherever they lie.

    Raises:
        HomologError: they are not pairs of finite numbers; the message names the first that is
            not.
    """
    array = as_floats(points, name, "pairs of numbers x, y")
    if array.ndim != 2 or array.shape[1] != 2:
        raise HomologError(f"{name}: expected an array of K x 2, got shape {array.shape}")
    finite = np.isfinite(array).all(axis=1)
    if not finite.all():
        index = int(np.argmin(finite))
        x, y = array[index]
        raise HomologError(f"{name}: expected finite numbers, got ({x:g}, {y:g}) at index {index}")
    return array


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
    array = as_floats(points, name, "pairs of numbers x, y")
    if array.size == 0:
        raise HomologError(f"{name}: expected at least one point, got none")
    for index, (x, y) in enumerate(as_pairs(array, name)):
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
