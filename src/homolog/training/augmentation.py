"""How pictures are shown while training: as they are, flipped, or turned and tinted at random."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image, ImageEnhance

from homolog.image.geometry import FLIP, IDENTITY, CanvasTransform, PoseVariant
from homolog.training.recipes import ViewsConfig

Keypoints = Float[np.ndarray, "K 2"]


@dataclass(frozen=True)
class Posed:
    """The picture in a pose.

    Attributes:
        pose: the pose.
        scale: how much larger than usual things are.
    """

    pose: PoseVariant
    scale: float = 1.0

    @property
    def mirrored(self) -> bool:
        """Whether left and right are exchanged."""
        return self.pose.flip

    def canvas(self, image: Image.Image, view: CanvasTransform) -> Image.Image:
        """What the backbone sees."""
        return self._of(view).apply(image)

    def cells(self, keypoints: Keypoints, view: CanvasTransform) -> Keypoints:
        """Where points of the picture are, in cells."""
        return self._of(view).to_cells(keypoints)

    def content(self, view: CanvasTransform) -> Bool[np.ndarray, "H W"]:
        """The cells that show the picture."""
        return self._of(view).valid_cells

    def _of(self, view: CanvasTransform) -> CanvasTransform:
        return CanvasTransform(view.width, view.height, self.pose, view.canvas_size, view.grid)


AS_IT_IS, FLIPPED = Posed(IDENTITY), Posed(FLIP)


@dataclass(frozen=True)
class RandomAffineView:
    """The canvas flipped or not, turned, scaled, moved, and its colours changed.

    What comes in from beyond the canvas repeats its border.

    Attributes:
        mirrored: whether left and right are exchanged, before all else.
        angle: in degrees.
        scale: larger is nearer.
        shift: x and y, in shares of the canvas.
        light: factors of brightness, contrast and saturation.
        tint: factors of red, green and blue.
    """

    mirrored: bool
    angle: float
    scale: float
    shift: tuple[float, float]
    light: tuple[float, float, float]
    tint: tuple[float, float, float]

    @classmethod
    def draw(cls, config: ViewsConfig, rng: np.random.Generator) -> RandomAffineView:
        """A view at random."""
        limits = np.log(config.scale), config.shift, config.colour
        scale, shift, light, tint = (
            rng.uniform(-limit, limit, count)
            for limit, count in ((limits[0], 1), (limits[1], 2), (limits[2], 3), (limits[2] / 3, 3))
        )
        return cls(
            mirrored=bool(config.flip and rng.random() < 0.5),
            angle=float(rng.uniform(-config.rotation, config.rotation)),
            scale=float(np.exp(scale[0])),
            shift=(float(shift[0]), float(shift[1])),
            light=tuple(np.exp(light).tolist()),
            tint=tuple(np.exp(tint).tolist()),
        )

    def canvas(self, image: Image.Image, view: CanvasTransform) -> Image.Image:
        """What the backbone sees."""
        side = view.canvas_size
        # As far as a corner of the turned and moved canvas reaches.
        reach = (math.sqrt(0.5) + math.hypot(*self.shift)) / self.scale
        pad = max(0, math.ceil(side * (reach - 0.5))) + 1
        wide = np.pad(np.asarray(view.apply(image)), ((pad, pad), (pad, pad), (0, 0)), mode="edge")
        matrix, offset = self._affine(side)
        inverse = np.linalg.inv(matrix)
        start = pad - inverse @ offset
        coefficients = (*inverse[0], start[0], *inverse[1], start[1])
        turned = Image.fromarray(wide).transform(
            (side, side), Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR
        )
        for change, factor in zip(
            (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color),
            self.light,
            strict=True,
        ):
            turned = change(turned).enhance(factor)
        tinted = np.asarray(turned) * np.array(self.tint)
        return Image.fromarray(tinted.clip(0, 255).astype(np.uint8))

    def cells(self, keypoints: Keypoints, view: CanvasTransform) -> Keypoints:
        """Where points of the picture are, in cells; NaN for those that are off the canvas."""
        matrix, offset = self._affine(view.canvas_size)
        points = view.letterbox.to_canvas(keypoints) @ matrix.T + offset
        with np.errstate(invalid="ignore"):
            off = ~((points > 0) & (points < view.canvas_size)).all(axis=1)
        points[off] = np.nan
        return view.grid.to_cells(points)

    def content(self, view: CanvasTransform) -> Bool[np.ndarray, "H W"]:
        """The cells that show the picture, or its border repeated."""
        matrix, offset = self._affine(view.canvas_size)
        centres = view.grid.to_canvas(view.grid.cells)
        sources = ((centres - offset) @ np.linalg.inv(matrix).T).clip(0, view.canvas_size)
        points = view.letterbox.to_image(sources)
        margin = view.grid.stride / 4 / view.letterbox.scale
        size = np.array([view.width, view.height])
        inside = np.all((points >= -margin) & (points <= size + margin), axis=1)
        return (inside if inside.any() else ~inside).reshape(view.grid.shape)

    def _affine(self, side: int) -> tuple[Float[np.ndarray, "2 2"], Float[np.ndarray, "2"]]:
        """Canvas points p go to matrix @ p + offset."""
        angle = math.radians(self.angle)
        cos, sin = math.cos(angle), math.sin(angle)
        matrix = self.scale * np.array([[cos, -sin], [sin, cos]])
        if self.mirrored:
            matrix = matrix @ np.diag([-1.0, 1.0])
        centre = np.full(2, side / 2)
        return matrix, centre + np.array(self.shift) * side - matrix @ centre


Augmentation = Posed | RandomAffineView
"""One way of showing a picture to a backbone."""
