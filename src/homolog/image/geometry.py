"""Where a point of an image lies: letterbox, grids of cells, the canvas transform.

Conventions, kept everywhere: points are (x, y) in pixels of the original upright image, x to the
right, y down, the image covering [0, width] x [0, height]; pixel (i, j) has its centre at
(i + 0.5, j + 0.5). The *canvas* is the square image that a backbone sees. *Cells* are positions on
a grid of feature maps or descriptors, whole numbers at cell centres.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor

from homolog.errors import HomologError
from homolog.image.poses import Points, PoseVariant
from homolog.image.regions import Region, box_of_mask

Padding = Literal["centred", "right-bottom"]
"""Where an image lies on its canvas: in the middle, the rest black; or at the left or the top, the
rest `MEAN_COLOUR`."""

MEAN_COLOUR = (124, 116, 104)
"""The mean colour of ImageNet's images, rounded: with it, canvases are filled to the right or
below, and backbones take such margins for the mean itself, which is zero to them."""


@dataclass(frozen=True)
class Letterbox:
    """An image scaled to fit a square canvas, centred, the rest black; or as its `padding` says.

    The longer side fills the canvas. Lengths are rounded to whole pixels as in the published
    implementation, points are not.

    Attributes:
        width: of the image, in pixels.
        height: of the image, in pixels.
        size: of the canvas, in pixels along either axis.
        padding: where the image lies on it.
        scale: canvas pixels per image pixel.
        scaled_size: width and height of the image on the canvas, at least one pixel each.
        offset: canvas position of the image's upper left corner.

    >>> box = Letterbox(width=500, height=375, size=840)
    >>> box.scale, box.scaled_size, box.offset
    (1.68, (840, 630), (0, 105))
    """

    width: int
    height: int
    size: int
    padding: Padding = "centred"
    scale: float = field(init=False)
    scaled_size: tuple[int, int] = field(init=False)
    offset: tuple[int, int] = field(init=False)

    def __post_init__(self) -> None:
        scale = self.size / max(self.width, self.height)
        width, height = max(1, round(self.width * scale)), max(1, round(self.height * scale))
        offset = (self.size - width) // 2, (self.size - height) // 2
        if self.padding == "right-bottom":
            offset = 0, 0
        for name, value in (("scale", scale), ("scaled_size", (width, height)), ("offset", offset)):
            object.__setattr__(self, name, value)

    def apply(self, image: Image.Image) -> Image.Image:
        """The image on its canvas; it may come in any resolution of the same shape."""
        if image.size != self.scaled_size:
            image = image.resize(self.scaled_size, Image.Resampling.BILINEAR)
        colour = MEAN_COLOUR if self.padding == "right-bottom" else 0
        canvas = Image.new(image.mode, (self.size, self.size), colour)
        canvas.paste(image, self.offset)
        return canvas

    def to_canvas(self, points: Points) -> Points:
        """Image points (K x 2) to canvas points."""
        return points * self.scale + np.asarray(self.offset, dtype=float)

    def to_image(self, points: Points) -> Points:
        """Canvas points (K x 2) to image points; the inverse of `to_canvas`."""
        return (points - np.asarray(self.offset, dtype=float)) / self.scale


def as_size(size: Any, default: tuple[int, int]) -> tuple[int, int]:
    """Width and height in pixels, after a check.

    Args:
        size: width and height; None for the default.
        default: that is returned then.

    Raises:
        HomologError: it is not two whole numbers of at least 1.
    """
    if size is None:
        return default
    try:
        width, height = (operator.index(value) for value in size)
    except (TypeError, ValueError, RuntimeError):
        raise HomologError(f"size: expected width and height in pixels, got {size!r}") from None
    if width < 1 or height < 1:
        raise HomologError(f"size: expected at least 1 x 1 pixels, got {width} x {height}")
    return width, height


@dataclass(frozen=True)
class Grid:
    """A regular grid of cells on the canvas.

    Cell i has its centre at `origin + i * stride`, in canvas pixels, along x and y alike. For
    backbones that cut the canvas into patches the origin is half the stride.
    """

    height: int
    width: int
    stride: float
    origin: float

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, in cells."""
        return self.height, self.width

    @classmethod
    def from_patches(cls, size: int, patch: int) -> Grid:
        """The grid of a canvas of `size` pixels cut into square patches."""
        return cls(size // patch, size // patch, patch, patch / 2)

    def refined(self, factor: int) -> Grid:
        """The grid with so many times as many rows and columns, which cut its cells evenly.

        Args:
            factor: how many times.
        """
        stride = self.stride / factor
        origin = self.origin + (stride - self.stride) / 2
        return Grid(self.height * factor, self.width * factor, stride, origin)

    def edge_aligned(self, size: int) -> Grid:
        """The same cells at x · width / size of the canvas, as MARCO reads a source's points.

        Args:
            size: of the canvas, in pixels.
        """
        return Grid(self.height, self.width, size / self.width, 0.0)

    def corner_aligned(self, size: int) -> Grid:
        """The same cells spread from the canvas's first pixel to its last, as MARCO's targets have.

        Args:
            size: of the canvas, in pixels.
        """
        return Grid(self.height, self.width, (size - 1) / max(self.width - 1, 1), 0.0)

    def to_cells(self, points: Points) -> Points:
        """Canvas points (K x 2) to cells, not rounded."""
        return (points - self.origin) / self.stride

    def to_canvas(self, cells: Points) -> Points:
        """Cells (K x 2) to canvas points."""
        return cells * self.stride + self.origin

    @cached_property
    def cells(self) -> Points:
        """All cells as (x, y), row by row."""
        y, x = np.mgrid[: self.height, : self.width]
        return np.stack([x.ravel(), y.ravel()], axis=1).astype(float)

    def resampling(self, source: Grid, kernel: float) -> tuple[Tensor, Tensor]:
        """Matrices that resample a map on `source` to this grid: H x h for rows, W x w for columns.

        Every cell is a mean of the source cells around it, weighted by a tent of half-width
        `kernel`, in cells of this grid, and never narrower than the source's own stride, for
        which it is bilinear interpolation. Beyond the border the nearest source cells count.
        """

        def matrix(count: int, source_count: int) -> Tensor:
            centres = self.origin + torch.arange(count, dtype=torch.float64) * self.stride
            positions = (
                source.origin + torch.arange(source_count, dtype=torch.float64) * source.stride
            )
            centres = centres.clamp(positions[0], positions[-1])
            half_width = max(kernel * self.stride, source.stride)
            weights = (1 - (centres[:, None] - positions).abs() / half_width).clamp_min(0)
            return (weights / weights.sum(1, keepdim=True)).float()

        return matrix(self.height, source.height), matrix(self.width, source.width)


@dataclass(frozen=True)
class CanvasTransform:
    """From points of an image to cells of a grid and back, for one pose of the image.

    Attributes:
        width: of the original upright image, in pixels.
        height: of the original upright image, in pixels.
        pose: how the image is transformed before it is put on the canvas.
        canvas_size: of the canvas, in pixels along either axis.
        grid: the cells on the canvas.
        region: the part of the image that fills the canvas; None for the whole image.
        padding: where it lies on the canvas.
        size: width and height of the original upright image.
        extent: width and height of what fills the canvas, upright.
        letterbox: of the image, or of its region, in its pose.
    """

    width: int
    height: int
    pose: PoseVariant
    canvas_size: int
    grid: Grid
    region: Region | None = None
    padding: Padding = "centred"
    size: tuple[int, int] = field(init=False)
    extent: tuple[int, int] = field(init=False, repr=False)
    letterbox: Letterbox = field(init=False, repr=False)
    _limits: Float[np.ndarray, "2 2"] = field(init=False, repr=False, compare=False)
    _centre: Float[np.ndarray, "2"] = field(init=False, repr=False, compare=False)
    _posed_centre: Float[np.ndarray, "2"] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        left, top, right, bottom = (0, 0, self.width, self.height)
        if self.region is not None:
            left, top, right, bottom = self.region.box
        extent = right - left, bottom - top
        box = Letterbox(*self.pose.size(extent), self.canvas_size, self.padding)
        for name, value in (
            ("size", (self.width, self.height)),
            ("extent", extent),
            ("letterbox", box),
            ("_limits", np.array([(left, top), (right, bottom)], dtype=float)),
            ("_centre", np.array((left, top)) + np.asarray(extent) / 2),
            ("_posed_centre", np.asarray((box.width, box.height)) / 2),
        ):
            object.__setattr__(self, name, value)

    def apply(self, image: Image.Image) -> Image.Image:
        """The canvas: the image, or its region cut out of it, in its pose, letterboxed."""
        return self.letterbox.apply(self.pose.apply(image))

    def to_cells(self, points: Points) -> Points:
        """Points of the original image (K x 2) to cells, not rounded."""
        # As `PoseVariant.points`, `Letterbox.to_canvas` and `Grid.to_cells`, one after the other.
        box, grid = self.letterbox, self.grid
        posed = (points - self._centre) @ self.pose.matrix + self._posed_centre
        canvas = posed * box.scale + np.asarray(box.offset, dtype=float)
        return (canvas - grid.origin) / grid.stride

    def to_points(self, cells: Points, clip: bool = False) -> Points:
        """Cells (K x 2) to points of the original image.

        Args:
            cells: (x, y) in cells.
            clip: move points that lie beyond the image, or the region, to its border.
        """
        box, grid = self.letterbox, self.grid
        canvas = cells * grid.stride + grid.origin
        posed = (canvas - np.asarray(box.offset, dtype=float)) / box.scale
        points = (posed - self._posed_centre) @ self.pose.matrix.T + self._centre
        return np.clip(points, *self._limits) if clip else points

    def box_of(self, cells_HW: Bool[np.ndarray, "H W"]) -> tuple[float, float, float, float]:
        """The box (x, y, width, height) in pixels around some cells, at least one."""
        x, y, width, height = box_of_mask(cells_HW)
        corners = np.array([[x, y], [x + width, y + height]]) - 0.5
        corners = np.sort(self.to_points(corners, clip=True), axis=0)
        left, top, right, bottom = corners.flatten().tolist()
        return left, top, right - left, bottom - top

    def clip(self, points: Points) -> Points:
        """Points moved to the border of the image, or of the region, where they lie beyond it."""
        return np.clip(points, *self._limits)

    def to_shares(self, points: Points) -> Points:
        """Points of the original image (K x 2) in shares of the letterboxed width and height."""
        posed = (points - self._centre) @ self.pose.matrix + self._posed_centre
        return posed / (self.letterbox.width, self.letterbox.height)

    def from_shares(self, shares: Points) -> Points:
        """The inverse of `to_shares`, with points beyond the border moved to it."""
        posed = shares * (self.letterbox.width, self.letterbox.height)
        return self.clip((posed - self._posed_centre) @ self.pose.matrix.T + self._centre)

    def resample(
        self,
        values_HWD: Float[np.ndarray, "H W D"],
        size: tuple[int, int],
        outside: float | None = None,
    ) -> Float[np.ndarray, "height width D"]:
        """Values on the grid, at each pixel of the image drawn with a width and height.

        Args:
            values_HWD: values on the grid.
            size: the width and height.
            outside: the value of pixels beyond the region; None for that of the nearest cell.
        """
        width, height = size
        x = (np.arange(width) + 0.5) * self.width / width
        y = (np.arange(height) + 0.5) * self.height / height
        points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
        values = interpolate(values_HWD, self.to_cells(points))
        if outside is not None and self.region is not None:
            values[~self.region.contains(points)] = outside
        return values.reshape(height, width, values_HWD.shape[-1])

    @cached_property
    def valid_cells(self) -> Bool[np.ndarray, "H W"]:
        """The cells that show the image, or its region, rather than the black around it."""
        points = self.to_points(self.grid.cells)
        # A quarter of a cell beyond the border, the larger part of the cell still shows the image.
        # The little more takes rounding away, which differs where a region begins elsewhere.
        margin = (self.grid.stride / 4 + 1e-6) / self.letterbox.scale
        low, high = self._limits
        inside = np.all((points >= low - margin) & (points <= high + margin), axis=1)
        if not inside.any():  # an image thinner than a cell may lie between cell centres
            inside[np.abs(points - self.clip(points)).max(axis=1).argmin()] = True
        return inside.reshape(self.grid.height, self.grid.width)

    def mask_cells(self, mask: Bool[np.ndarray, "height width"]) -> Bool[np.ndarray, "H W"]:
        """A mask of the original image on the grid: the cells whose centre it covers.

        An object that covers no cell's centre gets the cells nearest to its pixels.
        """
        points = self.to_points(self.grid.cells)
        column, row = np.floor(self.clip(points)).astype(int).T
        cells = self.valid_cells.ravel().copy()
        cells &= mask[row.clip(max=self.height - 1), column.clip(max=self.width - 1)]
        if not cells.any():
            y, x = np.nonzero(mask)
            nearest = self.to_cells(np.stack([x, y], axis=1) + 0.5).round().astype(int)
            nearest = nearest.clip(0, (self.grid.width - 1, self.grid.height - 1))
            cells[np.unique(nearest[:, 1] * self.grid.width + nearest[:, 0])] = True
        return cells.reshape(self.grid.shape)


def interpolate(
    values_HWD: Float[np.ndarray, "H W D"], cells_K2: Float[np.ndarray, "K 2"]
) -> Float[np.ndarray, "K D"]:
    """Values at positions between cells, bilinear; beyond the grid those of its border.

    Args:
        values_HWD: values on a grid.
        cells_K2: (x, y) in cells.
    """
    height, width = values_HWD.shape[:2]
    limit = np.array([width - 1, height - 1])
    cells = np.clip(cells_K2, 0, limit)
    low = np.floor(cells).astype(int)
    high = np.minimum(low + 1, limit)
    right, down = (cells - low).T[..., None]
    (x0, y0), (x1, y1) = low.T, high.T
    above = values_HWD[y0, x0] * (1 - right) + values_HWD[y0, x1] * right
    below = values_HWD[y1, x0] * (1 - right) + values_HWD[y1, x1] * right
    return above * (1 - down) + below * down
