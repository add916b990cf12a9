"""Metrics over pairs with their bootstrap: shares, means of shares, average precisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from homolog.errors import HomologError
from homolog.evaluation import kap
from homolog.utils.stats import percentile_interval, resampled_weights


@dataclass(frozen=True)
class Estimate:
    """A fraction with its confidence interval.

    Attributes:
        value: the fraction, 0 to 1.
        interval: its 95 % confidence interval, by bootstrap over pairs.
        count: number of pairs (per image), keypoints (per point) or categories (macro) that it is
            the mean of; of KAP, that of samples.
    """

    value: float
    interval: tuple[float, float]
    count: int


@dataclass(frozen=True)
class Row:
    """One metric of one subset of the keypoints, at each threshold.

    Attributes:
        kind: `per_image`, `per_point`, `macro_per_image` and so on; `report.HEADINGS` has all.
        label: the category or the azimuth difference; empty for the kinds over all keypoints.
        estimates: by name: `pck@0.10` and so on, or `share`.
    """

    kind: str
    label: str
    estimates: Mapping[str, Estimate]


Key = tuple[str, str, str]
"""The kind, label and name of a metric."""


@dataclass(frozen=True, eq=False)
class Share:
    """A metric as a quotient of two sums over pairs."""

    key: Key
    numerators_N: Float[np.ndarray, "N"]
    denominators_N: Float[np.ndarray, "N"]


@dataclass(frozen=True, eq=False)
class MacroMean:
    """The mean of other metrics, one of each category."""

    key: Key
    of: Sequence[Key]


@dataclass(frozen=True, eq=False)
class AveragePrecision:
    """The average precision of samples of all pairs."""

    key: Key
    samples: kap.Samples


@dataclass(frozen=True, eq=False)
class Resampled:
    """The value of a metric, and what it is in each bootstrap resample of the pairs.

    Attributes:
        value: the fraction.
        count: as of an `Estimate`.
        resamples_B: NaN where a resample has nothing of it.
    """

    value: float
    count: int
    resamples_B: Float[np.ndarray, "B"]

    @property
    def estimate(self) -> Estimate:
        """The value with its interval."""
        ((low, high),) = percentile_interval(self.resamples_B[:, None])
        return Estimate(self.value, (float(low), float(high)), self.count)


def resample(
    metrics: Sequence[Share | MacroMean | AveragePrecision], pairs: int
) -> dict[Key, Resampled]:
    """Compute metrics and resample them; shares without any keypoint are left out.

    The resamples are the same for all metrics of as many pairs, so that differences of two methods
    can be taken resample by resample.

    Args:
        metrics: in the wanted order; means after what they are of.
        pairs: number of pairs.

    Raises:
        HomologError: no pair has a keypoint that is visible in both images.
    """
    shares = [m for m in metrics if isinstance(m, Share) and m.denominators_N.any()]
    if not shares:
        raise HomologError("pairs: expected keypoints visible in both images of a pair, got none")
    precisions = [m for m in metrics if isinstance(m, AveragePrecision)]
    precisions = [m for m in precisions if m.samples.positive_P.any()]
    both = np.concatenate(
        [
            np.stack([share.numerators_N for share in shares], axis=1),
            np.stack([share.denominators_N for share in shares], axis=1),
        ],
        axis=1,
    ).astype(np.float32)
    sums, resampled = [], [list[Any]() for _ in precisions]
    for weights_BN in resampled_weights(pairs):
        sums.append(weights_BN @ both)
        for precision, parts in zip(precisions, resampled, strict=True):
            parts.append(kap.resampled_average_precision(precision.samples, weights_BN))
    numerators, denominators = np.split(np.concatenate(sums), 2, axis=1)
    with np.errstate(invalid="ignore"):  # a subset may be missing from a resample
        ratios = numerators / denominators
    found = {
        share.key: Resampled(
            quotient(share.numerators_N, share.denominators_N),
            int(share.denominators_N.sum()),
            ratios[:, column],
        )
        for column, share in enumerate(shares)
    }
    for precision, parts in zip(precisions, resampled, strict=True):
        samples = precision.samples
        value = kap.average_precision(samples.scores_P, samples.positive_P)
        resamples_B = np.concatenate(parts).astype(np.float32)
        found[precision.key] = Resampled(value, len(samples.scores_P), resamples_B)
    for metric in metrics:
        if isinstance(metric, MacroMean):
            each = [found[key] for key in metric.of if key in found]
            columns = np.stack([one.resamples_B for one in each])
            present = np.isfinite(columns)  # a category may be missing from a resample
            with np.errstate(invalid="ignore"):
                means = columns.sum(axis=0, where=present) / present.sum(axis=0)
            value = float(np.mean([one.value for one in each]))
            found[metric.key] = Resampled(value, len(each), means.astype(np.float32))
    return {metric.key: found[metric.key] for metric in metrics if metric.key in found}


def to_rows(found: Mapping[Key, Resampled]) -> list[Row]:
    """Metrics with their intervals, by kind and label."""
    intervals = percentile_interval(np.stack([each.resamples_B for each in found.values()], axis=1))
    rows: dict[tuple[str, str], dict[str, Estimate]] = {}
    for ((kind, label, name), each), (low, high) in zip(found.items(), intervals, strict=True):
        estimate = Estimate(each.value, (float(low), float(high)), each.count)
        rows.setdefault((kind, label), {})[name] = estimate
    return [Row(kind, label, estimates) for (kind, label), estimates in rows.items()]


def sums_of_pairs(
    values_P: Float[np.ndarray, "P"] | Bool[np.ndarray, "P"],
    subset_P: Bool[np.ndarray, "P"],
    owner_P: Int[np.ndarray, "P"],
    pairs: int,
    per_image: bool,
) -> tuple[Float[np.ndarray, "N"], Float[np.ndarray, "N"]]:
    """For each pair a numerator and a denominator; the quotient of their sums is the mean.

    Args:
        values_P: of each keypoint, such as whether it is correct.
        subset_P: whether each keypoint counts.
        owner_P: the pair that each keypoint belongs to.
        pairs: number of pairs.
        per_image: whether each pair counts once, not each keypoint.
    """
    counts, sums = (
        np.bincount(owner_P, weights, minlength=pairs).astype(float)  # none are whole numbers
        for weights in (subset_P, np.where(subset_P, values_P, 0))
    )
    if per_image:
        return sums / np.maximum(counts, 1), (counts > 0).astype(float)
    return sums, counts


def quotient(numerators_N: Float[np.ndarray, "N"], denominators_N: Float[np.ndarray, "N"]) -> float:
    """The quotient of two sums."""
    return float(numerators_N.sum() / denominators_N.sum())


def as_alphas(alphas: Any) -> tuple[float, ...]:
    """Thresholds after a check: each once, the largest first, the order of all tables and charts.

    Args:
        alphas: shares of the reference length.

    Raises:
        HomologError: there are none, or one is no number above 0 and at most 1.
    """
    try:
        given = [float(alpha) for alpha in alphas]
    except (TypeError, ValueError):
        given = []
    wrong = [alpha for alpha in given if not 0 < alpha <= 1]
    if wrong or not given:
        got = f"{wrong[0]:g}" if wrong else repr(alphas)
        raise HomologError(
            f"alphas: expected numbers above 0 and at most 1, got {got}; try 0.1 for a tenth"
        )
    return tuple(sorted(set(given), reverse=True))


def metric_name(name: str, alpha: float) -> str:
    """The name of a metric at a threshold.

    >>> metric_name("pck", 0.1), metric_name("pck", 0.005)
    ('pck@0.10', 'pck@0.005')
    """
    rounded = f"{alpha:.2f}"
    return f"{name}@{rounded if float(rounded) == alpha else repr(float(alpha))}"
