"""Logistic fits and what tells how good they are, for benchmarks/calibration.py."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata

from homolog.utils.stats import fit_logistic_weights

_PRIOR_SPREAD = 10.0  # of each weight: what the samples do not determine stays small

Samples = tuple[np.ndarray, np.ndarray, np.ndarray]
"""What the logit is linear in (rows of features, the last one 1), which are right, and weights."""


def fit(sets: Sequence[Samples]) -> tuple[float, ...]:
    """Weights of a logistic regression on several sets, each of which counts the same."""
    columns, correct, weights = zip(*sets, strict=True)
    mean = sum(each.sum() for each in weights) / len(weights)
    balanced = [each * mean / each.sum() for each in weights]
    size = columns[0].shape[1]
    found = fit_logistic_weights(
        np.concatenate(columns), np.concatenate(correct), np.concatenate(balanced),
        (0.0,) * size, (_PRIOR_SPREAD,) * size,
    )  # fmt: skip
    return tuple(round(float(each), 2) for each in found)


def auc(scores: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve: how often a positive has a higher score than a negative."""
    count = int(positive.sum())
    if count in (0, len(positive)):
        return float("nan")
    ranks = rankdata(scores)[positive].sum()
    return float((ranks - count * (count + 1) / 2) / (count * (len(positive) - count)))


def calibration_error(scores: np.ndarray, correct: np.ndarray) -> float:
    """The expected difference of a score from the share that is right, over ten bins of scores."""
    bins = np.minimum((10 * scores).astype(int), 9)
    return float(
        sum(
            abs(scores[bins == each].mean() - correct[bins == each].mean()) * (bins == each).mean()
            for each in np.unique(bins)
        )
    )


def balanced_threshold(high: Sequence[np.ndarray], low: Sequence[np.ndarray]) -> float:
    """The threshold with the fewest errors, of which every set counts the same on its side.

    Args:
        high: sets of values that should reach it.
        low: sets of values that should not.
    """
    candidates = np.round(np.arange(0, 1, 0.01), 2)
    errors = [
        np.mean([np.mean(each < limit) for each in high])
        + np.mean([np.mean(each >= limit) for each in low])
        for limit in candidates
    ]
    # Of the best ones, the one in the middle.
    best = np.flatnonzero(np.isclose(errors, np.min(errors)))
    return float(candidates[best[len(best) // 2]])


def quantiles(values: np.ndarray) -> str:
    """Cells of a table: the 10th, the 50th and the 90th percentile."""
    return " | ".join(f"{each:.2f}" for each in np.percentile(values, (10, 50, 90)))
