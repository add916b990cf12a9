"""Points as users give them: in lists, arrays and files (`point_files`), or on a grid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from homolog.errors import HomologError
from homolog.image.point_files import read_points

__all__ = ["PointsLike", "as_points", "grid_points", "read_points"]

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
