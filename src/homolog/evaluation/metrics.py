"""Metrics of semantic correspondence: PCK, its geometry-aware subset, left/right confusion.

PCK@alpha is the percentage of correct keypoints: those predicted within alpha times a reference
length of the target, the longer side of its box or of its image. A keypoint exactly at that
distance is correct. *Per image* it is averaged over the keypoints of a pair, then over pairs; *per
point* it is averaged over all keypoints of all pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from homolog.data import DataSet, Pair
from homolog.data.pairs import Threshold
from homolog.evaluation.predictions import Predictions
from homolog.keypoints import KeypointSchema
from homolog.utils.stats import bootstrap_ci


def relative_errors(
    predicted_K2: Float[np.ndarray, "K 2"],
    truth_K2: Float[np.ndarray, "K 2"],
    reference_length: float,
) -> Float[np.ndarray, "K"]:
    """Distances between predicted and true points, divided by a length; infinite for NaN.

    Args:
        predicted_K2: (x, y) in pixels.
        truth_K2: (x, y) in pixels.
        reference_length: the length that PCK's alpha multiplies, in pixels.

    >>> relative_errors(np.array([[3.0, 4.0], [np.nan, 0.0]]), np.zeros((2, 2)), 50.0)
    array([0.1, inf])
    """
    distances = np.linalg.norm(predicted_K2 - truth_K2, axis=1)
    return np.where(np.isnan(distances), np.inf, distances) / reference_length


def pck_per_point(errors_P: Float[np.ndarray, "P"], alpha: float) -> float:
    """The fraction of all keypoints with a relative error of at most alpha.

    >>> pck_per_point(np.array([0.0, 0.2, 0.1]), 0.1)
    0.6666666666666666
    """
    owner_P = np.zeros(len(errors_P), dtype=int)
    terms = _pck_terms(errors_P <= alpha, np.full(len(errors_P), True), owner_P, 1, False)
    return _quotient(*terms)


def pck_per_image(
    errors_P: Float[np.ndarray, "P"], pairs_P: Int[np.ndarray, "P"], alpha: float
) -> float:
    """The mean over pairs of the fraction of a pair's keypoints with an error of at most alpha.

    Args:
        errors_P: relative errors of the keypoints.
        pairs_P: the pair that each keypoint belongs to; pairs without keypoints do not count.
        alpha: the threshold.

    >>> pck_per_image(np.array([0.0, 0.2, 0.0]), np.array([7, 7, 8]), 0.1)
    0.75
    """
    pairs, owner_P = np.unique(pairs_P, return_inverse=True)
    every_P = np.full(len(errors_P), True)
    return _quotient(*_pck_terms(errors_P <= alpha, every_P, owner_P, len(pairs), True))


def geometry_aware(
    ids_K: Int[np.ndarray, "K"], target_visible_N: Bool[np.ndarray, "N"], schema: KeypointSchema
) -> Bool[np.ndarray, "K"]:
    """Which keypoints are geometry-aware: a similar one, such as another paw, is in the target.

    Only geometry tells them apart: at least two members of their group, such as the four paws, are
    visible in the target (Zhang et al., CVPR 2024). Ids are the data set's own; the published
    per-point results of other implementations renumber them.

    Args:
        ids_K: the keypoints to be found.
        target_visible_N: for all keypoints of the schema, whether they are visible in the target.
        schema: has the groups.
    """
    ambiguous = np.zeros(len(schema), dtype=bool)
    for group in schema.groups:
        members = list(group)
        ambiguous[members] = target_visible_N[members].sum() >= 2
    return ambiguous[ids_K]


def left_right_confusion(
    predicted_K2: Float[np.ndarray, "K 2"],
    ids_K: Int[np.ndarray, "K"],
    target_N2: Float[np.ndarray, "N 2"],
    schema: KeypointSchema,
) -> tuple[Bool[np.ndarray, "K"], Bool[np.ndarray, "K"]]:
    """Which keypoints could be confused with their mirror counterparts, and which are.

    Args:
        predicted_K2: (x, y) in pixels of the target.
        ids_K: the keypoints to be found.
        target_N2: all keypoints of the schema in the target, NaN if not visible.
        schema: has the mirror counterparts.

    Returns:
        Whether the keypoint's counterpart is visible in the target, and whether the prediction is
        also nearer to the counterpart than to the true point.
    """
    counterparts = np.asarray(schema.mirror)[ids_K]
    possible = (counterparts != ids_K) & np.isfinite(target_N2[counterparts, 0])
    to_counterpart = np.linalg.norm(predicted_K2 - target_N2[counterparts], axis=1)
    to_truth = np.linalg.norm(predicted_K2 - target_N2[ids_K], axis=1)
    with np.errstate(invalid="ignore"):
        return possible, possible & (to_counterpart < to_truth)


@dataclass(frozen=True)
class Estimate:
    """A fraction with its confidence interval.

    Attributes:
        value: the fraction, 0 to 1.
        interval: its 95 % confidence interval, by bootstrap over pairs.
        count: number of pairs (per image) or keypoints (per point) that it is the mean of.
    """

    value: float
    interval: tuple[float, float]
    count: int


@dataclass(frozen=True)
class Row:
    """One metric of one subset of the keypoints, at each threshold.

    Attributes:
        kind: `per_image`, `per_point`, `geometry_aware_per_image`, `geometry_aware_per_point`,
            `left_right_confusion` (per point), `per_category_per_image`,
            `per_category_geometry_aware_per_image` or `per_azimuth_difference_per_image`.
        label: the category or the azimuth difference; empty for the kinds over all keypoints.
        estimates: by name: `pck@0.10` and so on, or `share`.
    """

    kind: str
    label: str
    estimates: Mapping[str, Estimate]


class _PairScores(NamedTuple):
    """What is known of the keypoints of one pair."""

    errors_K: Float[np.ndarray, "K"]
    geometry_aware_K: Bool[np.ndarray, "K"]
    confusable_K: Bool[np.ndarray, "K"]
    confused_K: Bool[np.ndarray, "K"]


class _Terms(NamedTuple):
    """A metric as a quotient of two sums over pairs."""

    kind: str
    label: str
    name: str
    numerators_N: Float[np.ndarray, "N"]
    denominators_N: Float[np.ndarray, "N"]


class PCKAccumulator:
    """Accumulates predictions pair by pair and computes all metrics of them.

    Args:
        data: the data set, whose protocol is used.
        threshold: whose longer side alpha multiplies, if not as the data set's protocol has it.
        alphas: the thresholds, if not those of the data set's protocol.
    """

    def __init__(
        self,
        data: DataSet,
        threshold: Threshold | None = None,
        alphas: Sequence[float] | None = None,
    ):
        self.schemas = data.schemas
        self.threshold: Threshold = threshold or data.threshold
        self.alphas = tuple(alphas or data.alphas)
        self.pairs: list[Pair] = []
        self._scores: list[_PairScores] = []

    def add(self, pair: Pair, predicted: Float[np.ndarray, "K 2"]) -> None:
        """Add the predictions of a pair.

        Args:
            pair: the pair.
            predicted: (x, y) in pixels of the target for each of its `keypoint_ids`; NaN counts as
                wrong.
        """
        ids, target, schema = pair.keypoint_ids, pair.target, self.schemas[pair.category]
        length = target.reference_length(self.threshold)
        errors = relative_errors(predicted, target.keypoints[ids], length)
        ambiguous = geometry_aware(ids, target.visible, schema)
        confusion = left_right_confusion(predicted, ids, target.keypoints, schema)
        self.pairs.append(pair)
        self._scores.append(_PairScores(errors, ambiguous, *confusion))

    def pck_of_pairs(self, alpha: float) -> Float[np.ndarray, "N"]:
        """PCK of each pair by itself; NaN for a pair without keypoints."""
        errors, owner = self._errors()
        return self._mean_of_pairs(errors <= alpha, owner)

    def mean_errors(self) -> Float[np.ndarray, "N"]:
        """Mean relative error of each pair, each error at most 1; NaN without keypoints."""
        errors, owner = self._errors()
        return self._mean_of_pairs(errors.clip(max=1), owner)

    def curve(self, alphas: Sequence[float]) -> list[float]:
        """PCK per image at each of many thresholds."""
        return [float(np.nanmean(self.pck_of_pairs(alpha))) for alpha in alphas]

    def correct(self, index: int, alpha: float) -> Bool[np.ndarray, "K"]:
        """Which keypoints of the pair that was added at that position are correct."""
        return self._scores[index].errors_K <= alpha

    def rows(self) -> list[Row]:
        """All metrics with their intervals; a subset without keypoints has no row."""
        metrics = [terms for terms in self._terms() if terms.denominators_N.any()]
        intervals = bootstrap_ci(
            np.stack([terms.numerators_N for terms in metrics], axis=1),
            np.stack([terms.denominators_N for terms in metrics], axis=1),
        )
        rows: dict[tuple[str, str], dict[str, Estimate]] = {}
        for terms, (low, high) in zip(metrics, intervals, strict=True):
            rows.setdefault((terms.kind, terms.label), {})[terms.name] = Estimate(
                _quotient(terms.numerators_N, terms.denominators_N),
                (float(low), float(high)),
                int(terms.denominators_N.sum()),
            )
        return [Row(kind, label, estimates) for (kind, label), estimates in rows.items()]

    def _terms(self) -> Iterator[_Terms]:
        """Every metric as a quotient of sums over pairs."""
        errors, owner = self._errors()
        _, ambiguous, confusable, confused = (
            np.concatenate(column) for column in zip(*self._scores, strict=True)
        )
        pairs = len(self.pairs)

        def pck(
            kind: str, subset: Bool[np.ndarray, "P"], label: str = "", per_image: bool = True
        ) -> Iterator[_Terms]:
            """PCK of a subset of the keypoints at each threshold."""
            for alpha in self.alphas:
                terms = _pck_terms(errors <= alpha, subset, owner, pairs, per_image)
                yield _Terms(kind, label, f"pck@{alpha:.2f}", *terms)

        every = np.full(len(errors), True)
        yield from pck("per_image", every)
        yield from pck("per_point", every, per_image=False)
        yield from pck("geometry_aware_per_image", ambiguous)
        yield from pck("geometry_aware_per_point", ambiguous, per_image=False)
        confusion = _pck_terms(confused, confusable, owner, pairs, per_image=False)
        yield _Terms("left_right_confusion", "", "share", *confusion)
        categories = np.array([pair.category for pair in self.pairs])[owner]
        for category in np.unique(categories):
            yield from pck("per_category_per_image", categories == category, str(category))
        for category in np.unique(categories):
            subset = ambiguous & (categories == category)
            yield from pck("per_category_geometry_aware_per_image", subset, str(category))
        differences = np.array(
            [
                -1 if pair.azimuth_difference is None else pair.azimuth_difference
                for pair in self.pairs
            ]
        )[owner]
        for difference in np.unique(differences[differences >= 0]):
            subset = differences == difference
            yield from pck("per_azimuth_difference_per_image", subset, str(difference))

    def _errors(self) -> tuple[Float[np.ndarray, "P"], Int[np.ndarray, "P"]]:
        """Relative errors of all keypoints, and the pair that each belongs to."""
        counts = [len(scores.errors_K) for scores in self._scores]
        owner = np.repeat(np.arange(len(self.pairs)), counts)
        return np.concatenate([scores.errors_K for scores in self._scores]), owner

    def _mean_of_pairs(
        self, values_P: np.ndarray, owner_P: Int[np.ndarray, "P"]
    ) -> Float[np.ndarray, "N"]:
        """The mean of the values of each pair; NaN for a pair without any."""
        counts = np.bincount(owner_P, minlength=len(self.pairs))
        with np.errstate(invalid="ignore"):
            return np.bincount(owner_P, values_P, minlength=len(self.pairs)) / counts


def score(
    data: DataSet,
    predictions: Predictions,
    *,
    threshold: Threshold | None = None,
    alphas: Sequence[float] | None = None,
) -> PCKAccumulator:
    """Accumulate the predictions of all pairs of a data set.

    Args:
        data: the data set.
        predictions: by the name of each pair the predicted points.
        threshold: whose longer side alpha multiplies, if not as the data set's protocol has it.
        alphas: the thresholds, if not those of the data set's protocol.
    """
    accumulator = PCKAccumulator(data, threshold, alphas)
    for pair in data.pairs:
        accumulator.add(pair, predictions[pair.name])
    return accumulator


def _pck_terms(
    correct_P: Bool[np.ndarray, "P"],
    subset_P: Bool[np.ndarray, "P"],
    owner_P: Int[np.ndarray, "P"],
    pairs: int,
    per_image: bool,
) -> tuple[Float[np.ndarray, "N"], Float[np.ndarray, "N"]]:
    """For each pair a numerator and a denominator; the quotient of their sums is the PCK.

    Args:
        correct_P: whether each keypoint is correct.
        subset_P: whether each keypoint counts.
        owner_P: the pair that each keypoint belongs to.
        pairs: number of pairs.
        per_image: whether each pair counts once, not each keypoint.
    """
    counts = np.bincount(owner_P, subset_P, minlength=pairs)
    correct = np.bincount(owner_P, subset_P & correct_P, minlength=pairs)
    if per_image:
        return correct / np.maximum(counts, 1), (counts > 0).astype(float)
    return correct, counts


def _quotient(
    numerators_N: Float[np.ndarray, "N"], denominators_N: Float[np.ndarray, "N"]
) -> float:
    return float(numerators_N.sum() / denominators_N.sum())
