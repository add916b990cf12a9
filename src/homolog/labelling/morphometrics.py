"""Geometric morphometrics of landmarks: Procrustes superimposition, lengths, repeatability.

Shapes are arrays N x K x 2 of x and y of K landmarks of N objects, NaN where one is missing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.spatial.distance import pdist

_ROUNDS = 200
_CONVERGED = 1e-12  # change of the mean shape, in units of its size
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
    points = np.where(np.isfinite(points).all(axis=2, keepdims=True), points, np.nan)
    there = np.isfinite(points[..., 0])
    usable = there.sum(axis=1) >= _FEWEST
    sizes = np.array(
        [_centroid_size(shape[seen]) for shape, seen in zip(points, there, strict=True)]
    )
    usable &= sizes > 0
    aligned = np.full_like(points, np.nan)
    if not usable.any():
        return Superimposition(np.full(points.shape[1:], np.nan), aligned, sizes)
    # The most complete one is the first guess, and decides how the mean shape stands.
    start = points[np.argmax(np.where(usable, there.sum(axis=1), -1))]
    mean = _normalised(start)
    for _ in range(_ROUNDS):
        for index in np.flatnonzero(usable):
            aligned[index] = _lay_over(points[index], mean)
        found = _turned(_normalised(_average(aligned)), mean)
        settled = _change(found, mean) < _CONVERGED
        mean = found
        if settled:
            break
    for index in np.flatnonzero(usable):
        aligned[index] = _lay_over(points[index], mean)
    return Superimposition(_average(aligned), aligned, sizes)


def _average(shapes: np.ndarray) -> np.ndarray:
    """The mean of each landmark over the shapes that have it."""
    count = np.isfinite(shapes[..., 0]).sum(axis=0)[:, None]
    return np.divide(
        np.nansum(shapes, axis=0), count, out=np.full(shapes.shape[1:], np.nan), where=count > 0
    )


def _change(found: np.ndarray, before: np.ndarray) -> float:
    """How far a mean shape moved; infinitely where it got landmarks that it did not have."""
    if (np.isfinite(found) != np.isfinite(before)).any():
        return np.inf
    return float(np.nanmax(np.abs(found - before)))


def _centroid_size(points: np.ndarray) -> float:
    if len(points) < _FEWEST:
        return float("nan")
    return float(np.sqrt(((points - points.mean(axis=0)) ** 2).sum()))


def _normalised(shape: np.ndarray) -> np.ndarray:
    """A shape with its centroid at the origin and its centroid size 1."""
    seen = np.isfinite(shape[:, 0])
    centred = shape - shape[seen].mean(axis=0)
    return np.asarray(centred / _centroid_size(shape[seen]))


def _turned(shape: np.ndarray, target: np.ndarray) -> np.ndarray:
    """A shape turned about the origin so that it lies best over another, never reflected.

    In the plane the rotation of least squares is that of a single angle.
    """
    both = np.isfinite(shape[:, 0]) & np.isfinite(target[:, 0])
    (x, y), (u, v) = shape[both].T, target[both].T
    angle = np.arctan2((x * v - y * u).sum(), (x * u + y * v).sum())
    cos, sin = np.cos(angle), np.sin(angle)
    return np.asarray(shape @ np.array([[cos, sin], [-sin, cos]]))


def _lay_over(shape: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """A shape in the place of the mean shape."""
    both = np.isfinite(shape[:, 0]) & np.isfinite(mean[:, 0])
    if both.sum() < _FEWEST or not (size := _centroid_size(shape[both])):
        return np.full_like(shape, np.nan)
    centre = mean[both].mean(axis=0)
    centred = (shape - shape[both].mean(axis=0)) * (_centroid_size(mean[both]) / size)
    return _turned(centred, mean - centre) + centre


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
