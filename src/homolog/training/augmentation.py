"""Augmentation: images as they are, in a fixed pose, or in a random affine view."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image, ImageEnhance

from homolog.image.geometry import CanvasTransform, Grid
from homolog.image.poses import FLIP, IDENTITY, PoseVariant
from homolog.training.recipes import ViewsConfig

Keypoints = Float[np.ndarray, "K 2"]
Mask = Bool[np.ndarray, "height width"]


@dataclass(frozen=True)
class PoseView:
    """An image in a fixed pose, such as flipped.

    Attributes:
        pose: the pose.
        scale: how much larger than in the upright image the object appears.
    """

    pose: PoseVariant
    scale: float = 1.0

    @property
    def mirrored(self) -> bool:
        """Whether left and right are exchanged."""
        return self.pose.flip

    def canvas(self, image: Image.Image, transform: CanvasTransform) -> Image.Image:
        """The canvas that goes through the backbone.

        Args:
            image: the upright image, or its region that the transform has.
            transform: from the upright image to cells.
        """
        return self._posed(transform).apply(image)

    def to_cells(self, keypoints: Keypoints, transform: CanvasTransform) -> Keypoints:
        """Points of the upright image in cells of the augmented one."""
        return self._posed(transform).to_cells(keypoints)

    def valid_cells(self, transform: CanvasTransform) -> Bool[np.ndarray, "H W"]:
        """The cells that show the image rather than padding."""
        return self._posed(transform).valid_cells

    def mask_pixels(self, mask: Mask, transform: CanvasTransform) -> Bool[np.ndarray, "size size"]:
        """A mask of the upright image in pixels of the augmented canvas."""
        pixels = Grid.from_patches(transform.canvas_size, 1)
        return self._posed(transform, pixels).mask_cells(mask)

    def _posed(self, transform: CanvasTransform, grid: Grid | None = None) -> CanvasTransform:
        return CanvasTransform(
            transform.width, transform.height, self.pose, transform.canvas_size,
            grid or transform.grid, transform.region, transform.padding,
        )  # fmt: skip


UNCHANGED, FLIPPED = PoseView(IDENTITY), PoseView(FLIP)


@dataclass(frozen=True)
class RandomAffineView:
    """A canvas that is mirrored or not, rotated, scaled, shifted, and changed in colour.

    Beyond the canvas its border is repeated.

    Attributes:
        mirrored: whether left and right are exchanged, before all else.
        angle: in degrees.
        scale: above 1, the object appears larger.
        shift: along x and y, as fractions of the canvas.
        colour_jitter: factors of brightness, contrast and saturation.
        tint: factors of red, green and blue.
    """

    mirrored: bool
    angle: float
    scale: float
    shift: tuple[float, float]
    colour_jitter: tuple[float, float, float]
    tint: tuple[float, float, float]

    @classmethod
    def draw(cls, config: ViewsConfig, rng: np.random.Generator) -> RandomAffineView:
        """A view drawn at random within the limits of a configuration."""
        limits = np.log(config.scale), config.shift, config.colour
        scale, shift, jitter, tint = (
            rng.uniform(-limit, limit, count)
            for limit, count in ((limits[0], 1), (limits[1], 2), (limits[2], 3), (limits[2] / 3, 3))
        )
        return cls(
            mirrored=bool(config.flip and rng.random() < 0.5),
            angle=float(rng.uniform(-config.rotation, config.rotation)),
            scale=float(np.exp(scale[0])),
            shift=(float(shift[0]), float(shift[1])),
            colour_jitter=tuple(np.exp(jitter).tolist()),
            tint=tuple(np.exp(tint).tolist()),
        )

    def canvas(self, image: Image.Image, transform: CanvasTransform) -> Image.Image:
        """The canvas that goes through the backbone.

        Args:
            image: the upright image, or its region that the transform has.
            transform: from the upright image to cells.
        """
        size = transform.canvas_size
        # How far from the centre a corner of the rotated and shifted canvas lies.
        reach = (math.sqrt(0.5) + math.hypot(*self.shift)) / self.scale
        pad = max(0, math.ceil(size * (reach - 0.5))) + 1
        padded = np.pad(
            np.asarray(transform.apply(image)), ((pad, pad), (pad, pad), (0, 0)), mode="edge"
        )
        matrix, offset = self._affine(size)
        inverse = np.linalg.inv(matrix)
        start = pad - inverse @ offset
        coefficients = (*inverse[0], start[0], *inverse[1], start[1])
        view = Image.fromarray(padded).transform(
            (size, size), Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR
        )
        for enhance, factor in zip(
            (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color),
            self.colour_jitter,
            strict=True,
        ):
            view = enhance(view).enhance(factor)
        tinted = np.asarray(view) * np.array(self.tint)
        return Image.fromarray(tinted.clip(0, 255).astype(np.uint8))

    def to_cells(self, keypoints: Keypoints, transform: CanvasTransform) -> Keypoints:
        """Points of the upright image in cells of the augmented one; NaN if off the canvas."""
        matrix, offset = self._affine(transform.canvas_size)
        region = transform.region
        shown = keypoints if region is None else keypoints - (region.x, region.y)
        points = transform.letterbox.to_canvas(shown) @ matrix.T + offset
        with np.errstate(invalid="ignore"):
            off = ~((points > 0) & (points < transform.canvas_size)).all(axis=1)
        points[off] = np.nan
        return transform.grid.to_cells(points)

    def valid_cells(self, transform: CanvasTransform) -> Bool[np.ndarray, "H W"]:
        """The cells that show the image, or its repeated border, rather than padding."""
        points = self._shown(transform.grid, transform)
        margin = transform.grid.stride / 4 / transform.letterbox.scale
        extent = np.array(transform.extent)
        inside = np.all((points >= -margin) & (points <= extent + margin), axis=1)
        return (inside if inside.any() else ~inside).reshape(transform.grid.shape)

    def mask_pixels(self, mask: Mask, transform: CanvasTransform) -> Bool[np.ndarray, "size size"]:
        """A mask of the upright image on the augmented canvas, without what is repeated there."""
        pixels = Grid.from_patches(transform.canvas_size, 1)
        points = self._shown(pixels, transform)
        inside = np.all((points > 0) & (points < transform.extent), axis=1)
        corner = (0, 0) if transform.region is None else (transform.region.x, transform.region.y)
        limit = np.array(transform.size) - 1
        column, row = np.clip(np.floor(points + corner).astype(int), 0, limit).T
        return (inside & mask[row, column]).reshape(pixels.shape)

    def _shown(self, grid: Grid, transform: CanvasTransform) -> Float[np.ndarray, "N 2"]:
        """Which points of the image, or of its region, the cells of a grid show."""
        matrix, offset = self._affine(transform.canvas_size)
        centres = grid.to_canvas(grid.cells)
        sources = ((centres - offset) @ np.linalg.inv(matrix).T).clip(0, transform.canvas_size)
        return transform.letterbox.to_image(sources)

    def _affine(self, size: int) -> tuple[Float[np.ndarray, "2 2"], Float[np.ndarray, "2"]]:
        """Matrix and offset that take a point p of the canvas to matrix @ p + offset."""
        angle = math.radians(self.angle)
        cos, sin = math.cos(angle), math.sin(angle)
        matrix = self.scale * np.array([[cos, -sin], [sin, cos]])
        if self.mirrored:
            matrix = matrix @ np.diag([-1.0, 1.0])
        centre = np.full(2, size / 2)
        return matrix, centre + np.array(self.shift) * size - matrix @ centre


Augmentation = PoseView | RandomAffineView
"""One way of changing an image before it goes through the backbone."""
