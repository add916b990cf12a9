"""Statistics: logistic regression with a prior, bootstrap intervals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Float

RESAMPLES = 1000
"""Number of bootstrap resamples for an interval."""

_MAX_ENTRIES = 20_000_000  # of the table of resamples that is in memory at a time
_ITERATIONS = 30


def fit_logistic(
    feature: Float[np.ndarray, "N"],
    positive: Bool[np.ndarray, "N"],
    weights: Float[np.ndarray, "N"],
    prior: tuple[float, float],
    prior_std: tuple[float, float],
) -> tuple[float, float]:
    """Logistic regression on one feature with a normal prior: the mode of the posterior.

    Args:
        feature: of each sample.
        positive: the class of each sample.
        weights: of the samples in the likelihood.
        prior: means of slope and offset.
        prior_std: their standard deviations.

    Returns:
        Slope and offset of the logit.
    """
    columns = np.stack([feature, np.ones_like(feature)], axis=1)
    slope, offset = fit_logistic_weights(columns, positive, weights, prior, prior_std)
    return float(slope), float(offset)


def fit_logistic_weights(
    columns: Float[np.ndarray, "N K"],
    positive: Bool[np.ndarray, "N"],
    weights: Float[np.ndarray, "N"],
    prior: Sequence[float],
    prior_std: Sequence[float],
    logits: Float[np.ndarray, "N"] | float = 0.0,
) -> Float[np.ndarray, "K"]:
    """Logistic regression on several features with normal priors: the mode of the posterior.

    Args:
        columns: the features of each sample; one of them is 1 where there is to be an offset.
        positive: the class of each sample.
        weights: of the samples in the likelihood.
        prior: means of the features' weights.
        prior_std: their standard deviations.
        logits: what is added to the logit of each sample.

    Returns:
        The weights of the features in the logit.
    """
    mean, precision = np.array(prior, dtype=float), np.diag(1 / np.square(prior_std))
    estimate = mean.copy()
    for _ in range(_ITERATIONS):  # Newton's method
        probability = sigmoid(columns @ estimate + logits)
        gradient = columns.T @ (weights * (probability - positive)) + precision @ (estimate - mean)
        hessian = (columns.T * (weights * probability * (1 - probability))) @ columns + precision
        estimate = estimate - np.linalg.solve(hessian, gradient)
    return estimate


def sigmoid(logits: Float[np.ndarray, "N"]) -> Float[np.ndarray, "N"]:
    """The logistic function: probabilities of logits."""
    return 1 / (1 + np.exp(-logits))


def resampled_weights(count: int) -> Iterator[Float[np.ndarray, "B N"]]:
    """How often each of N samples is drawn in each bootstrap resample, some resamples at a time.

    The same at each call, for the resamples are seeded: what is computed of two methods on the
    same samples is *paired*.

    Args:
        count: number of samples.
    """
    rng = np.random.default_rng(0)
    chunk = max(1, _MAX_ENTRIES // count)
    for start in range(0, RESAMPLES, chunk):
        draws = range(start, min(start + chunk, RESAMPLES))
        weights = [np.bincount(rng.integers(0, count, count), minlength=count) for _ in draws]
        yield np.stack(weights).astype(np.float32)


def percentile_interval(estimates_BF: Float[np.ndarray, "B F"]) -> Float[np.ndarray, "F 2"]:
    """95 % confidence intervals from what was computed of each resample, without NaN."""
    return np.nanquantile(estimates_BF, (0.025, 0.975), axis=0).T


def bootstrap_ci(
    numerators_NF: Float[np.ndarray, "N F"], denominators_NF: Float[np.ndarray, "N F"]
) -> Float[np.ndarray, "F 2"]:
    """Bootstrap 95 % confidence intervals of F ratios of sums over N samples.

    Args:
        numerators_NF: what each sample adds to the ratios' numerators.
        denominators_NF: what it adds to their denominators.

    Returns:
        Lower and upper bounds; the same at each call, for the resamples are seeded.
    """
    ratios = numerators_NF.shape[1]
    both = np.concatenate([numerators_NF, denominators_NF], axis=1).astype(np.float32)
    estimates = []
    for weights in resampled_weights(len(both)):
        sums = weights @ both
        with np.errstate(invalid="ignore"):  # a subset may be missing from a resample
            estimates.append(sums[:, :ratios] / sums[:, ratios:])
    return percentile_interval(np.concatenate(estimates))
