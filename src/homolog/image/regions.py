"""Boxes of objects, and the regions of an image that fill the canvas."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from homolog.errors import HomologError

BoxLike = Sequence[float] | np.ndarray | Tensor
"""(x, y, width, height) of an object in pixels of the upright image."""

MARGIN = 0.05
"""Space around a box on either side, as a share of its longer side (docs/experiments.md)."""

MAX_UPSAMPLING = 8.0
"""How far a region is scaled up at most; around smaller objects, more of the image is taken."""

# Boxes may reach beyond the image by this share of their own size: detectors and rounding do that.
_OVERHANG = 0.1


@dataclass(frozen=True)
class Region:
    """A rectangle of an image in whole pixels.

    Attributes:
        x: of its left edge.
        y: of its upper edge.
        width: in pixels, at least 1.
        height: in pixels, at least 1.
    """

    x: int
    y: int
    width: int
    height: int

    @classmethod
    def around(
        cls,
        box: Any,
        size: tuple[int, int],
        smallest: float = 1.0,
        margin: float = MARGIN,
        name: str = "box",
    ) -> Region:
        """The region that shows a box and a margin around it, as far as the image goes.

        Args:
            box: (x, y, width, height) in pixels.
            size: width and height of the image.
            smallest: pixels of the longer side at least, if the image has them; a smaller region
                becomes a square of that size, moved into the image where it would reach beyond it.
            margin: on either side, as a share of the box's longer side.
            name: what error messages call the box.

        Raises:
            HomologError: the box cannot be right; the message says why.

        >>> Region.around((40, 30, 20, 10), (100, 80))
        Region(x=39, y=29, width=22, height=12)
        """
        x, y, width, height = as_box(box, size, name)
        pad = margin * max(width, height)
        low = np.maximum(0, np.floor((x - pad, y - pad)))
        high = np.minimum(size, np.ceil((x + width + pad, y + height + pad)))
        if max(high - low) < smallest:
            centre = np.array([x + width / 2, y + height / 2])
            low, high = np.floor(centre - smallest / 2), np.ceil(centre + smallest / 2)
            shift = np.maximum(0, -low) - np.maximum(0, high - size)
            low, high = np.maximum(0, low + shift), np.minimum(size, high + shift)
        (left, top), (right, bottom) = low.astype(int).tolist(), high.astype(int).tolist()
        return cls(left, top, right - left, bottom - top)

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(left, upper, right, lower), as `PIL.Image.crop` takes it."""
        return self.x, self.y, self.x + self.width, self.y + self.height

    def contains(self, points: Float[np.ndarray, "K 2"]) -> Bool[np.ndarray, "K"]:
        """Which points (x, y) lie in the region or on its border."""
        left, top, right, bottom = self.box
        return np.all((points >= (left, top)) & (points <= (right, bottom)), axis=1)

    def to_list(self) -> list[int]:
        """(x, y, width, height), ready for JSON."""
        return [self.x, self.y, self.width, self.height]


def tiles(
    region: Region, size: tuple[int, int], share: float, step: float, smallest: float = 1.0
) -> list[Region]:
    """Square tiles of one size that cover a region, row by row, evenly spread and overlapping.

    A tile may reach beyond the region, but not beyond the image: where that is narrower than a
    tile, tiles are as wide as the image.

    Args:
        region: the region.
        size: width and height of the image.
        share: the tiles' width and height as a share of the region's longer side.
        step: from one tile to the next at most, as a share of a tile.
        smallest: pixels of a tile at least, if the image has them.

    >>> [tile.box for tile in tiles(Region(0, 0, 100, 50), (100, 80), 0.6, 1.0)]
    [(0, 0, 60, 60), (40, 0, 100, 60)]
    """
    wanted = math.ceil(max(share * max(region.width, region.height), smallest) - 1e-6)
    starts, lengths = [], []
    for start, length, limit in zip(
        region.box[:2], (region.width, region.height), size, strict=True
    ):
        tile = min(wanted, limit)
        count = 1 + math.ceil(max(0.0, (length - tile) / (step * tile)) - 1e-6)
        spread = np.linspace(0, 1, count) if count > 1 else np.array([0.5])
        first = np.rint(start + spread * (length - tile)).astype(int)
        starts.append(first.clip(0, limit - tile).tolist())
        lengths.append(tile)
    return [Region(x, y, *lengths) for y in starts[1] for x in starts[0]]


def as_box(box: Any, size: tuple[int, int], name: str = "box") -> tuple[float, float, float, float]:
    """A box after a check, cut off at the image's border.

    Args:
        box: (x, y, width, height) in pixels, a `BoxLike`; anything else is refused.
        size: width and height of the image.
        name: what error messages call the box.

    Raises:
        HomologError: it is not four finite numbers, it is empty or flipped, it lies outside the
            image, or its numbers can only be shares of the image or two corners.
    """
    wanted = f"{name}: expected (x, y, width, height) in pixels"
    try:
        values = [float(value) for value in box]
    except (TypeError, ValueError, OverflowError, RuntimeError):
        raise HomologError(f"{wanted}, got {' '.join(repr(box).split())}") from None
    given = f"({', '.join(f'{value:g}' for value in values)})"
    if len(values) != 4:
        raise HomologError(f"{wanted}, got {len(values)} numbers")
    if not all(map(math.isfinite, values)):
        raise HomologError(f"{wanted}, got {given}, which is not finite")
    x, y, width, height = values
    if width <= 0 or height <= 0:
        raise HomologError(f"{wanted}, got {given}, which is empty or flipped")
    if max(values) <= 1 and max(size) > 2:
        raise HomologError(
            f"{wanted}, got {given}; try to multiply shares by the image's {size[0]} x {size[1]} "
            "pixels"
        )
    left, top = max(0.0, x), max(0.0, y)
    right, bottom = min(float(size[0]), x + width), min(float(size[1]), y + height)
    if right <= left or bottom <= top:
        raise HomologError(
            f"{wanted}, got {given}, which lies outside the image of {size[0]} x {size[1]} pixels"
        )
    allowed = _OVERHANG * max(width, height) + 2
    if max(left - x, top - y, x + width - right, y + height - bottom) > allowed:
        corners = 0 <= x < width <= size[0] + 1 and 0 <= y < height <= size[1] + 1
        hint = f"; ({x:g}, {y:g}, {width - x:g}, {height - y:g})?" if corners else ""
        raise HomologError(
            f"{wanted}, got {given}, which reaches beyond the image of {size[0]} x {size[1]} "
            f"pixels{hint}"
        )
    return left, top, right - left, bottom - top


def as_boxes(
    boxes: Sequence[BoxLike] | np.ndarray | Tensor, size: tuple[int, int], name: str = "boxes"
) -> list[tuple[float, float, float, float]]:
    """Several boxes of one image, each after the check of `as_box`; messages give the index.

    Args:
        boxes: each (x, y, width, height) in pixels.
        size: width and height of the image.
        name: what error messages call the boxes.

    Raises:
        HomologError: there are none, or one cannot be right.
    """
    if not len(boxes):
        raise HomologError(f"{name}: expected at least one box, got none")
    return [as_box(box, size, f"{name}[{index}]") for index, box in enumerate(boxes)]


def box_of_mask(
    mask: Bool[np.ndarray, "height width"],
) -> tuple[float, float, float, float]:
    """The bounding box (x, y, width, height) of a mask's pixels; the mask must have some."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    x, y = int(columns[0]), int(rows[0])
    return float(x), float(y), float(columns[-1] + 1 - x), float(rows[-1] + 1 - y)
