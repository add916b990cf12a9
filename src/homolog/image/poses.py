"""Poses: how an image is flipped and rotated before its features are extracted.

Points are (x, y) in pixels, x to the right and y down.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from PIL import Image

from homolog.errors import HomologError

Points = Float[np.ndarray, "K 2"]


@dataclass(frozen=True)
class PoseVariant:
    """How an image is transformed before its features are extracted: flipped, then rotated.

    Attributes:
        flip: whether it is mirrored left to right.
        rotation: in degrees, counter-clockwise as seen, kept in (-180, 180].

    >>> PoseVariant.parse("flip+rotate90").name
    'flip+rotate90'
    """

    flip: bool = False
    rotation: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.flip, (bool, np.bool_)):
            raise HomologError(f"flip: expected True or False, got {self.flip!r}")
        try:
            if isinstance(self.rotation, (str, bool)) or not math.isfinite(self.rotation):
                raise ValueError
        except (TypeError, ValueError, ArithmeticError, RuntimeError):
            raise HomologError(
                f"rotation: expected a number of degrees, got {self.rotation!r}"
            ) from None
        turned = -((180.0 - float(self.rotation)) % 360.0 - 180.0)
        object.__setattr__(self, "rotation", turned)

    @classmethod
    def parse(cls, name: str) -> PoseVariant:
        """The pose of a name such as `identity`, `flip`, `rotate-30` or `flip+rotate180`."""
        if not isinstance(name, str):
            raise HomologError(f"pose: expected the name of a pose, got {name!r}")
        if name == "identity":
            return cls()
        flip, _, rotation = name.rpartition("rotate")
        try:
            if name == "flip":
                return cls(flip=True)
            if flip in ("", "flip+") and rotation:
                return cls(flip=bool(flip), rotation=float(rotation))
        except ValueError:
            pass  # not a number, or not a finite one
        raise HomologError(
            f"pose: expected identity, flip, rotate<degrees> or flip+rotate<degrees>, got {name!r}"
        )

    @cached_property
    def name(self) -> str:
        """The name that `parse` reads."""
        parts = ["flip"] if self.flip else []
        if self.rotation:
            parts.append(f"rotate{self.rotation:g}")
        return "+".join(parts) or "identity"

    @property
    def mirrored(self) -> PoseVariant:
        """The pose of the image in this pose, seen in a mirror that exchanges left and right.

        >>> PoseVariant(rotation=30).mirrored.name
        'flip+rotate-30'
        """
        return PoseVariant(not self.flip, -self.rotation)

    @cached_property
    def _quarter_turns(self) -> int | None:
        """Counter-clockwise quarter turns, where there is a whole number of them."""
        return int(self.rotation // 90) % 4 if self.rotation % 90 == 0 else None

    @cached_property
    def matrix(self) -> Float[np.ndarray, "2 2"]:
        """The linear map: multiplies row vectors from the image's centre, from the right."""
        if self._quarter_turns is not None:
            cos, sin = ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))[self._quarter_turns]
        else:
            angle = math.radians(self.rotation)
            cos, sin = math.cos(angle), math.sin(angle)
        mirror = -1.0 if self.flip else 1.0
        return np.array([[mirror * cos, -mirror * sin], [sin, cos]], dtype=float)

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Width and height of an image of that size in this pose; nothing is cut off."""
        spans = np.abs(np.asarray(size, dtype=float) @ np.abs(self.matrix))
        # The small allowance keeps rounding noise from adding a pixel.
        return math.ceil(spans[0] - 1e-6), math.ceil(spans[1] - 1e-6)

    def apply(self, image: Image.Image) -> Image.Image:
        """The image in this pose; corners that a rotation leaves empty are black."""
        if self._quarter_turns is None:
            size = self.size(image.size)
            to_source = self.matrix.T  # the inverse: the matrix is orthogonal
            shift = np.asarray(image.size) / 2 - np.asarray(size) / 2 @ to_source
            (a, d), (b, e) = to_source
            coefficients = (a, b, shift[0], d, e, shift[1])
            return image.transform(
                size, Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC
            )
        if self.flip:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        turn = (
            None,
            Image.Transpose.ROTATE_90,
            Image.Transpose.ROTATE_180,
            Image.Transpose.ROTATE_270,
        )[self._quarter_turns]
        return image if turn is None else image.transpose(turn)

    def points(self, points: Points, size: tuple[int, int]) -> Points:
        """Where points (K x 2) of an image of that size (width, height) go in this pose."""
        return (points - np.asarray(size) / 2) @ self.matrix + np.asarray(self.size(size)) / 2

    def inverse_points(self, points: Points, size: tuple[int, int]) -> Points:
        """Where points of the image in this pose come from; `size` is that of the original."""
        return (points - np.asarray(self.size(size)) / 2) @ self.matrix.T + np.asarray(size) / 2


IDENTITY = PoseVariant()
FLIP = PoseVariant(flip=True)

PoseSet = Literal["none", "flip", "rotations", "all"]

POSE_SETS: dict[str, tuple[PoseVariant, ...]] = {
    "none": (IDENTITY,),
    "flip": (IDENTITY, FLIP),
    "rotations": (
        IDENTITY,
        PoseVariant(rotation=90),
        PoseVariant(rotation=180),
        PoseVariant(rotation=-90),
    ),
}
POSE_SETS["all"] = (*POSE_SETS["flip"], *POSE_SETS["rotations"][1:])


def as_poses(
    poses: str | PoseVariant | Sequence[str | PoseVariant] | None,
) -> tuple[PoseVariant, ...]:
    """The poses meant by a set's name (`none`, `flip`, `rotations`, `all`) or by a list.

    A list is taken literally: `["flip"]` is the flipped image alone, while `"flip"` is the image
    as it is and flipped. None is `none`.

    Raises:
        HomologError: a name is unknown, or the list is empty.
    """
    if poses is None:
        return POSE_SETS["none"]
    if isinstance(poses, PoseVariant):
        return (poses,)
    if isinstance(poses, str) and poses in POSE_SETS:
        return POSE_SETS[poses]
    try:
        if isinstance(poses, (str, Mapping)):
            raise TypeError
        chosen = tuple(as_pose(pose) for pose in poses)
    except (TypeError, RuntimeError):
        raise HomologError(
            f"poses: expected {', '.join(POSE_SETS)} or a list of poses, got {poses!r}"
        ) from None
    if not chosen:
        raise HomologError("poses: expected at least one pose, got an empty list")
    return tuple(dict.fromkeys(chosen))


def as_pose(pose: Any, name: str = "pose") -> PoseVariant:
    """A pose, given as such or by its name.

    Raises:
        HomologError: it is none.
    """
    if isinstance(pose, str):
        return PoseVariant.parse(pose)
    if not isinstance(pose, PoseVariant):
        raise HomologError(f"{name}: expected a pose or the name of one, got {pose!r}")
    return pose
