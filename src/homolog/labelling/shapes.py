"""Shapes of keypoints: laid over each other by similarities, and compared.

Points are complex numbers x + iy, with which a rotation, scaling and shift is z * a + t, and NaN
where a keypoint is not labelled. A similarity never reflects, so that a configuration and its
mirror image have different shapes (Dryden and Mardia, Statistical Shape Analysis, 2016).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Complex, Float

_ROUNDS = 4  # of reweighting
_INLIER = 0.15  # the residual at which a keypoint counts half, in units of the target's size
_FARTHEST = 0.6  # the residual that a keypoint adds to a distance at most
_FEWEST = 3  # keypoints that two shapes share, for them to be compared


def as_complex(points: Float[np.ndarray, "*N 2"]) -> Complex[np.ndarray, "*N"]:
    """Points x, y as complex numbers."""
    return points[..., 0] + 1j * points[..., 1]


def mirrored(
    shapes_NK: Complex[np.ndarray, "N K"], mirror: tuple[int, ...]
) -> Complex[np.ndarray, "N K"]:
    """The shapes in the mirrored image, where left and right keypoints have exchanged names."""
    return np.conj(shapes_NK[:, list(mirror)])


def shape_size(shape_K: Complex[np.ndarray, "K"]) -> float:
    """The root mean square distance of the labelled keypoints from their mean, at least 1e-9."""
    points = shape_K[np.isfinite(shape_K)]
    return max(float(np.sqrt(np.mean(np.abs(points - points.mean()) ** 2))), 1e-9)


def fit_similarity(
    sources_NK: Complex[np.ndarray, "N K"],
    target_K: Complex[np.ndarray, "K"],
    weights_NK: Float[np.ndarray, "N K"],
) -> tuple[Complex[np.ndarray, "N"], Complex[np.ndarray, "N"]]:
    """The similarities of least squares that lay N shapes over one: a factor and a shift each.

    Args:
        sources_NK: the shapes, finite where their weight is not 0.
        target_K: the shape that they are laid over, likewise.
        weights_NK: of each keypoint.
    """
    weights = weights_NK / np.maximum(weights_NK.sum(1, keepdims=True), 1e-12)
    mean, target_mean = (weights * sources_NK).sum(1), weights @ target_K
    source, target = sources_NK - mean[:, None], target_K[None] - target_mean[:, None]
    spread = (weights * np.abs(source) ** 2).sum(1)
    factor = (weights * np.conj(source) * target).sum(1) / np.maximum(spread, 1e-12)
    return factor, target_mean - factor * mean


def align(
    sources_NK: Complex[np.ndarray, "N K"], target_K: Complex[np.ndarray, "K"]
) -> tuple[Complex[np.ndarray, "N K"], Float[np.ndarray, "N"]]:
    """N shapes laid over one, and how far each is from it.

    Keypoints that do not fit count less, so that one that is misplaced does not turn the rest.

    Args:
        sources_NK: the shapes.
        target_K: the shape that they are laid over.

    Returns:
        The shapes in the target's place; and the mean residual of each over the keypoints that it
        shares with the target, in units of the target's size, infinite where these are too few.
    """
    shared = np.isfinite(sources_NK) & np.isfinite(target_K)[None]
    source, target = np.nan_to_num(sources_NK), np.nan_to_num(target_K)
    size = shape_size(target_K)
    weights = shared.astype(float)
    for _ in range(_ROUNDS):
        factor, shift = fit_similarity(source, target, weights)
        placed = factor[:, None] * source + shift[:, None]
        residuals = np.abs(placed - target) / size
        weights = shared / (1 + (residuals / _INLIER) ** 2)
    count = shared.sum(1)
    distance = (shared * np.minimum(residuals, _FARTHEST)).sum(1) / np.maximum(count, 1)
    enough = count >= min(_FEWEST, int(np.isfinite(target_K).sum()))
    placed[~np.isfinite(sources_NK)] = np.nan
    return placed, np.where(enough & (count > 1), distance, np.inf)


def turn(
    source_K: Complex[np.ndarray, "K"],
    target_K: Complex[np.ndarray, "K"],
) -> float:
    """The angle in degrees by which a shape is turned, clockwise as seen, to lie over another."""
    shared: Bool[np.ndarray, "K"] = np.isfinite(source_K) & np.isfinite(target_K)
    factor, _ = fit_similarity(
        np.nan_to_num(source_K)[None], np.nan_to_num(target_K), shared[None].astype(float)
    )
    return float(np.degrees(np.angle(factor[0])))
