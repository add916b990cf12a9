"""Geometric morphometrics of landmarks: Procrustes superimposition, lengths, repeatability.

Shapes are arrays N x K x 2 of x and y of K landmarks of N objects, NaN where one is missing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.spatial.distance import pdist

from homolog.labelling.shapes import as_complex

_ROUNDS = 200
_CONVERGED = 1e-12  # change of the mean shape, in units of its size
_POINT = 1e-9  # centroid size below which landmarks are all in one place, by the extent of all
_FEWEST = 2  # landmarks without which a shape cannot be laid over another


@dataclass(frozen=True, eq=False)
class Superimposition:
    """Shapes laid over each other, in units of centroid size.

    Attributes:
        mean: the mean of the aligned shapes.
        aligned: the shapes; NaN where a landmark is missing, or an object has fewer than two.
        centroid_sizes: of each object as it was, in its own units: the root of the sum of squared
            distances of its landmarks from their centroid.
    """

    mean: Float[np.ndarray, "K 2"]
    aligned: Float[np.ndarray, "N K 2"]
    centroid_sizes: Float[np.ndarray, "N"]

    @property
    def residuals(self) -> Float[np.ndarray, "N K"]:
        """The distance of each landmark from that of the mean shape, in centroid sizes."""
        return np.asarray(np.linalg.norm(self.aligned - self.mean, axis=2))

    @property
    def distances(self) -> Float[np.ndarray, "N"]:
        """The Procrustes distance of each object from the mean shape; NaN of one without shape."""
        residuals = self.residuals
        empty = ~np.isfinite(residuals).any(axis=1)
        return np.where(empty, np.nan, np.sqrt(np.nansum(residuals**2, axis=1)))


def superimpose(shapes: Float[np.ndarray, "N K 2"]) -> Superimposition:
    """Generalised Procrustes superimposition: shapes are shifted, scaled and turned.

    Shapes are scaled to centroid size 1, and never reflected. Of an object whose landmarks are not
    all there, those that are get the centroid and the centroid size that the mean shape has in
    the same landmarks (Gower, 1975; Dryden and Mardia, Statistical Shape Analysis, 2016). The mean
    shape stands as the first complete object does.

    Args:
        shapes: of objects that share landmarks.
    """
    points = np.asarray(shapes, dtype=float)
    z_NK = as_complex(points)
    there = np.isfinite(z_NK)
    sizes = _centroid_sizes(z_NK, there)
    extent = np.abs(np.where(there, z_NK, 0)).max(initial=0.0)
    usable = (there.sum(axis=1) >= _FEWEST) & (sizes > _POINT * extent)
    if not usable.any():
        nothing = np.full(points.shape, np.nan)
        return Superimposition(nothing[0] if len(nothing) else nothing, nothing, sizes)
    there &= usable[:, None]
    # The most complete one is the first guess, and decides how the mean shape stands.
    mean_K = _normalised(np.where(there, z_NK, np.nan)[there.sum(axis=1).argmax()])
    for _ in range(_ROUNDS):
        found_K = _normalised(_average(_laid_over(z_NK, there, mean_K)))
        both_K = np.isfinite(found_K) & np.isfinite(mean_K)
        found_K = found_K * _turns(found_K[None], both_K[None], mean_K[None])[0]
        grown = (np.isfinite(found_K) != np.isfinite(mean_K)).any()
        settled = not grown and np.nanmax(np.abs(found_K - mean_K)) < _CONVERGED
        mean_K = found_K
        if settled:
            break
    aligned_NK = _laid_over(z_NK, there, mean_K)
    return Superimposition(_as_points(_average(aligned_NK)), _as_points(aligned_NK), sizes)


# Below, points are complex numbers x + iy, which a factor scales and turns, and never reflects.


def _as_points(z: np.ndarray) -> np.ndarray:
    """The real and imaginary parts of complex numbers, as x and y."""
    missing = ~np.isfinite(z)[..., None]
    return np.where(missing, np.nan, np.stack([z.real, z.imag], axis=-1))


def _centroids(z_NK: np.ndarray, chosen_NK: np.ndarray) -> np.ndarray:
    """The mean of the chosen points of each shape."""
    count = np.maximum(chosen_NK.sum(axis=1), 1)
    return np.asarray(np.where(chosen_NK, z_NK, 0).sum(axis=1) / count)


def _centroid_sizes(z_NK: np.ndarray, chosen_NK: np.ndarray) -> np.ndarray:
    """The centroid size of the chosen points of each shape; NaN of fewer than two."""
    away = np.where(chosen_NK, np.abs(z_NK - _centroids(z_NK, chosen_NK)[:, None]), 0)
    return np.where(chosen_NK.sum(axis=1) < _FEWEST, np.nan, np.sqrt((away**2).sum(axis=1)))


def _average(z_NK: np.ndarray) -> np.ndarray:
    """The mean of each landmark over the shapes that have it."""
    there = np.isfinite(z_NK)
    count = there.sum(axis=0)
    total = np.where(there, z_NK, 0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _normalised(z_K: np.ndarray) -> np.ndarray:
    """A shape with its centroid at the origin and its centroid size 1."""
    there = np.isfinite(z_K)[None]
    centred = z_K - _centroids(z_K[None], there)[0]
    return np.asarray(centred / _centroid_sizes(z_K[None], there)[0])


def _turns(z_NK: np.ndarray, chosen_NK: np.ndarray, target_NK: np.ndarray) -> np.ndarray:
    """The factor of length 1 that turns each shape about the origin to lie best over its target."""
    products = np.where(chosen_NK, np.conj(z_NK) * target_NK, 0).sum(axis=1)
    length = np.abs(products)
    return np.where(length > 0, products / np.where(length > 0, length, 1), 1)


def _laid_over(z_NK: np.ndarray, there_NK: np.ndarray, mean_K: np.ndarray) -> np.ndarray:
    """Shapes in the place of the mean shape; NaN of those that share fewer than two landmarks."""
    both_NK = there_NK & np.isfinite(mean_K)
    means_NK = np.broadcast_to(mean_K, z_NK.shape)
    sizes, centres = _centroid_sizes(z_NK, both_NK), _centroids(means_NK, both_NK)
    scales = np.divide(
        _centroid_sizes(means_NK, both_NK), sizes, out=np.full(len(z_NK), np.nan), where=sizes > 0
    )
    centred_NK = (z_NK - _centroids(z_NK, both_NK)[:, None]) * scales[:, None]
    turns = _turns(centred_NK, both_NK, means_NK - centres[:, None])
    placed_NK = centred_NK * turns[:, None] + centres[:, None]
    return np.where(there_NK, placed_NK, np.nan)


def object_lengths(shapes: Float[np.ndarray, "N K 2"]) -> Float[np.ndarray, "N"]:
    """The largest distance between two landmarks of each object; NaN of one with fewer than two.

    >>> object_lengths(np.array([[[0, 0], [3, 4], [1, 1]]], dtype=float))
    array([5.])
    """
    lengths = [
        pdist(seen).max() if len(seen) >= _FEWEST else np.nan
        for seen in (shape[np.isfinite(shape).all(axis=1)] for shape in shapes)
    ]
    return np.array(lengths, dtype=float)


def repeatability(
    first: Float[np.ndarray, "N K 2"], second: Float[np.ndarray, "N K 2"]
) -> tuple[float, Float[np.ndarray, "K"]]:
    """How repeatable the shapes of objects are that were labelled twice, at most 1.

    It is the share of the variance that is among objects, in a Procrustes analysis of variance
    (Arnqvist and Mårtensson, 1998; Klingenberg and McIntyre, 1998): 1 where both are the same, 0
    where objects differ no more than the two labels of one object. Objects count that have all
    landmarks in both.

    Args:
        first: the landmarks of objects.
        second: those of the same objects, labelled again.

    Returns:
        That of the whole shape, and that of each landmark; NaN for fewer than three objects.
    """
    whole = np.isfinite(first).all(axis=(1, 2)) & np.isfinite(second).all(axis=(1, 2))
    count, landmarks = int(whole.sum()), first.shape[1]
    if count < 3:
        return float("nan"), np.full(landmarks, np.nan)
    aligned = superimpose(np.concatenate([first[whole], second[whole]])).aligned
    pairs = aligned.reshape(2, count, landmarks, 2)
    means = pairs.mean(axis=0)
    among = 2 * ((means - means.mean(axis=0)) ** 2).sum(axis=(0, 2)) / (count - 1)
    within = ((pairs - means) ** 2).sum(axis=(0, 1, 3)) / count
    total = among + within
    each = np.divide(among - within, total, out=np.full(landmarks, np.nan), where=total > 0)
    overall = float(total.sum())
    return (float((among - within).sum()) / overall if overall else float("nan")), each
