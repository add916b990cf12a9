"""Statistics: logistic regression with a prior, bootstrap intervals."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

RESAMPLES = 1000
"""How many bootstrap resamples an interval is read from."""

_CELLS = 20_000_000  # of the table of resamples that is held at a time
_ROUNDS = 30


def fit_logistic(
    given: Float[np.ndarray, "N"],
    right: Bool[np.ndarray, "N"],
    weights: Float[np.ndarray, "N"],
    prior: tuple[float, float],
    spreads: tuple[float, float],
) -> tuple[float, float]:
    """The most probable slope and offset of a logistic regression on one number.

    Args:
        given: the number.
        right: what is to be told by it.
        weights: how much each counts.
        prior: mean of the normal distributions of slope and offset.
        spreads: their standard deviations.
    """
    columns = np.stack([given, np.ones_like(given)], axis=1)
    mean, precision = np.array(prior), np.diag(1 / np.square(spreads))
    found = mean.copy()
    for _ in range(_ROUNDS):  # Newton's method
        chance = sigmoid(columns @ found)
        gradient = columns.T @ (weights * (chance - right)) + precision @ (found - mean)
        curvature = (columns.T * (weights * chance * (1 - chance))) @ columns + precision
        found = found - np.linalg.solve(curvature, gradient)
    slope, offset = found
    return float(slope), float(offset)


def sigmoid(logits: Float[np.ndarray, "N"]) -> Float[np.ndarray, "N"]:
    """Probabilities of logits."""
    return 1 / (1 + np.exp(-logits))


def bootstrap_ci(
    numerators_NF: Float[np.ndarray, "N F"], denominators_NF: Float[np.ndarray, "N F"]
) -> Float[np.ndarray, "F 2"]:
    """95 % intervals of F quotients of sums over N pairs, the pairs drawn with replacement."""
    count, figures = numerators_NF.shape
    both = np.concatenate([numerators_NF, denominators_NF], axis=1).astype(np.float32)
    rng = np.random.default_rng(0)
    chunk = max(1, _CELLS // count)
    quotients = []
    for start in range(0, RESAMPLES, chunk):
        draws = range(start, min(start + chunk, RESAMPLES))
        weights = [np.bincount(rng.integers(0, count, count), minlength=count) for _ in draws]
        sums = np.stack(weights).astype(np.float32) @ both
        with np.errstate(invalid="ignore"):  # a subset may be missing from a resample
            quotients.append(sums[:, :figures] / sums[:, figures:])
    return np.nanquantile(np.concatenate(quotients), (0.025, 0.975), axis=0).T
