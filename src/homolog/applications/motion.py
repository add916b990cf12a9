"""The motion of a rigid object in the image plane, from points of which some are wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

_RESIZE = 1.1  # change of size from frame to frame at most
_ROUNDS = 8


@dataclass(frozen=True)
class Motion:
    """How an object moved since the annotated image: turned, resized and shifted.

    Attributes:
        matrix: multiplies row vectors (x, y) from the right.
        offset: is added, in pixels.
    """

    matrix: Float[np.ndarray, "2 2"]
    offset: Float[np.ndarray, "2"]

    @property
    def scale(self) -> float:
        """By how much the object is larger than it was."""
        return float(np.hypot(*self.matrix[0]))

    def __call__(self, points: Float[np.ndarray, "K 2"]) -> Float[np.ndarray, "K 2"]:
        """Where points of the annotated image are now."""
        return points @ self.matrix + self.offset

    def shifted(self, shift: Float[np.ndarray, "2"]) -> Motion:
        """The same and a shift besides, in pixels."""
        return Motion(self.matrix, self.offset + shift)


AT_REST = Motion(np.eye(2), np.zeros(2))


def fit_motion(
    points: Float[np.ndarray, "K 2"],
    found: Float[np.ndarray, "K 2"],
    weights: Float[np.ndarray, "K"],
    before: Motion,
    tolerance: float,
) -> tuple[Motion, Bool[np.ndarray, "K"]]:
    """The motion that leads most points to where they were found, and the points that agree.

    Iteratively reweighted least squares (complex numbers turn and resize), from the last motion
    with the median of the offsets on.

    Args:
        points: (x, y) in the annotated image.
        found: (x, y) in the frame.
        weights: of each point, at least 0.
        before: the motion up to the previous frame.
        tolerance: distance, in pixels, up to which a point agrees.
    """
    weights = np.maximum(weights, 1e-6)
    offset = [_weighted_median(axis, weights) for axis in (found - points @ before.matrix).T]
    motion = Motion(before.matrix, np.array(offset))
    for _ in range(_ROUNDS):
        errors = np.linalg.norm(found - motion(points), axis=1)
        w = weights / (1 + (errors / tolerance) ** 2) ** 2
        mean0, mean1 = (w @ each / w.sum() for each in (points, found))
        z0, z1 = ((each - mean) @ [1, 1j] for each, mean in ((points, mean0), (found, mean1)))
        factor = np.vdot(w * z0, z1) / max(np.vdot(w * z0, z0).real, 1e-9)
        limits = before.scale / _RESIZE, before.scale * _RESIZE
        factor *= np.clip(abs(factor), *limits) / max(abs(factor), 1e-9)
        matrix = np.array([[factor.real, factor.imag], [-factor.imag, factor.real]])
        motion = Motion(matrix, mean1 - mean0 @ matrix)
    return motion, np.linalg.norm(found - motion(points), axis=1) <= tolerance


def _weighted_median(values: Float[np.ndarray, "K"], weights: Float[np.ndarray, "K"]) -> float:
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])
