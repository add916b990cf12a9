"""Accumulating predictions of pairs, and all metrics of them (`homolog.evaluation.metrics`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from homolog.data import DataSet, Pair
from homolog.data.pairs import Threshold
from homolog.evaluation import kap
from homolog.evaluation.estimates import (
    AveragePrecision,
    Key,
    MacroMean,
    Resampled,
    Row,
    Share,
    as_alphas,
    metric_name,
    resample,
    sums_of_pairs,
    to_rows,
)
from homolog.evaluation.kap import BestSimilarities
from homolog.evaluation.keypoints import (
    MIRROR_HIDDEN,
    MIRROR_VISIBLE,
    NO_MIRROR,
    geometry_aware,
    group_errors,
    knows_mirrors,
    left_right_confusion,
    mirror_errors,
    mirror_split,
    nearest_is_right,
    relative_errors,
)
from homolog.evaluation.predictions import PairDetails, PredictedPairs, Predictions


class _PairScores(NamedTuple):
    """What is known of the keypoints of one pair."""

    errors_K: Float[np.ndarray, "K"]
    geometry_aware_K: Bool[np.ndarray, "K"]
    confusable_K: Bool[np.ndarray, "K"]
    confused_K: Bool[np.ndarray, "K"]
    nearest_K: Bool[np.ndarray, "K"]
    group_errors_K: Float[np.ndarray, "K"]
    chosen_K: Bool[np.ndarray, "K"]
    chance_K: Float[np.ndarray, "K"]
    split_K: Int[np.ndarray, "K"]
    mirror_errors_K: Float[np.ndarray, "K"]


class _HiddenScores(NamedTuple):
    """What is known of the keypoints of one pair that only the source shows, and similarities."""

    mirror_errors_Q: Float[np.ndarray, "Q"]
    similarities: BestSimilarities | None
    visible_S: Bool[np.ndarray, "S"]


class PCKAccumulator:
    """Accumulates predictions pair by pair and computes all metrics of them.

    Args:
        data: the data set, whose protocol is used.
        threshold: whose longer side alpha multiplies, if not as the data set's protocol has it.
        alphas: the thresholds, if not those of the data set's protocol.
        strict: whether keypoints must be nearer than alpha times the reference length; otherwise
            those exactly at that distance are correct, too.

    Raises:
        HomologError: an alpha is no number above 0 and at most 1.
    """

    def __init__(
        self,
        data: DataSet,
        threshold: Threshold | None = None,
        alphas: Any = None,
        strict: bool = False,
    ):
        self.schemas = data.schemas
        self.threshold: Threshold = threshold or data.threshold
        self.alphas = as_alphas(data.alphas if alphas is None else alphas)
        self.strict = strict
        self.pairs: list[Pair] = []
        self._scores: list[_PairScores] = []
        self._hidden: list[_HiddenScores | None] = []
        self._mirrors_known = knows_mirrors(data.schemas.values())
        self._groups_known = any(schema.groups for schema in data.schemas.values())

    def add(
        self, pair: Pair, predicted: Float[np.ndarray, "K 2"], details: PairDetails | None = None
    ) -> None:
        """Add the predictions of a pair.

        Args:
            pair: the pair.
            predicted: (x, y) in pixels of the target for each of its `keypoint_ids`; NaN counts as
                wrong.
            details: what else was predicted, for KAP and n01.
        """
        ids, target, schema = pair.keypoint_ids, pair.target, self.schemas[pair.category]
        length = target.reference_length(self.threshold)
        truth, visible = target.keypoints, target.visible
        of_group = group_errors(predicted, ids, truth, schema, length)
        self.pairs.append(pair)
        self._scores.append(
            _PairScores(
                relative_errors(predicted, truth[ids], length),
                geometry_aware(ids, visible, schema),
                *left_right_confusion(predicted, ids, truth, schema),
                nearest_is_right(predicted, ids, truth),
                of_group.nearest_K,
                of_group.chosen_K,
                1 / np.maximum(of_group.members_K, 1),
                mirror_split(ids, visible, schema),
                mirror_errors(predicted, ids, truth, schema, length),
            )
        )
        hidden = None
        if details is not None:
            hidden_ids, similarities = details.source_only_ids, details.similarities
            errors = mirror_errors(details.source_only_Q2, hidden_ids, truth, schema, length)
            counterparts = np.asarray(schema.mirror)[hidden_ids]
            all_ids = np.empty(0, dtype=int) if similarities is None else similarities.ids_S
            hidden = _HiddenScores(errors[visible[counterparts]], similarities, visible[all_ids])
        self._hidden.append(hidden)

    def within(self, errors_P: Float[np.ndarray, "P"], alpha: float) -> Bool[np.ndarray, "P"]:
        """Whether relative errors are within alpha: at most alpha, or less if strict."""
        return errors_P < alpha if self.strict else errors_P <= alpha

    def pck_of_pairs(self, alpha: float) -> Float[np.ndarray, "N"]:
        """PCK of each pair by itself; NaN for a pair without keypoints."""
        return self._mean_of_pairs(self.within(self._joined("errors_K"), alpha))

    def mean_errors(self) -> Float[np.ndarray, "N"]:
        """Mean relative error of each pair, each error at most 1; NaN without keypoints."""
        return self._mean_of_pairs(self._joined("errors_K").clip(max=1))

    def curve(self, alphas: Sequence[float]) -> list[float]:
        """PCK per image at each of many thresholds."""
        return [float(np.nanmean(self.pck_of_pairs(alpha))) for alpha in alphas]

    def correct(self, index: int, alpha: float) -> Bool[np.ndarray, "K"]:
        """Which keypoints of the pair that was added at that position are correct."""
        return self.within(self._scores[index].errors_K, alpha)

    def rows(self) -> list[Row]:
        """All metrics with their intervals; a subset without keypoints has no row."""
        return to_rows(self.resampled())

    def resampled(self) -> dict[Key, Resampled]:
        """All metrics, and what they are in each bootstrap resample of the pairs."""
        return resample(list(self._metrics()), len(self.pairs))

    @property
    def notes(self) -> list[str]:
        """What a reader of KAP and n01 should know."""
        detailed = [each for each in self._hidden if each is not None]
        notes = []
        if detailed and len(detailed) < len(self.pairs):
            notes.append(
                f"KAP and n01 are of {len(detailed)} of {len(self.pairs)} pairs: lines of the "
                "others have no predictions of keypoints that only the source shows"
            )
        given = [each.similarities for each in detailed if each.similarities is not None]
        missing = [alpha for alpha in self.alphas if not self._with_similarities(alpha)]
        if given and missing:
            stored = ", ".join(f"{alpha:g}" for alpha in given[0].alphas)
            notes.append(
                f"no KAP at {', '.join(f'{alpha:g}' for alpha in missing)} of the "
                f"{self.threshold}: similarities are stored at {stored} of the {given[0].threshold}"
            )
        return notes

    def _metrics(self) -> Iterator[Share | MacroMean | AveragePrecision]:
        """Every metric."""
        errors = self._joined("errors_K")
        every = np.full(len(errors), True)
        ambiguous = self._joined("geometry_aware_K")
        categories = np.array([pair.group for pair in self.pairs])[self._owner]
        names = [str(category) for category in np.unique(categories)]

        def pck(
            kind: str, subset: Bool[np.ndarray, "P"], label: str = "", per_image: bool = True
        ) -> Iterator[Share]:
            """PCK of a subset of the keypoints at each threshold."""
            for alpha in self.alphas:
                correct = self.within(errors, alpha)
                key = kind, label, metric_name("pck", alpha)
                yield self._share(key, correct, subset, per_image)

        yield from pck("per_image", every)
        yield from pck("per_point", every, per_image=False)
        by_category: list[Share] = []
        for unit in ("per_image", "per_point"):
            kind = f"per_category_{unit}"
            for name in names:
                by_category += pck(kind, categories == name, name, per_image=unit == "per_image")
        for unit in ("per_image", "per_point"):
            for alpha in self.alphas:
                pck_name = metric_name("pck", alpha)
                of = [(f"per_category_{unit}", name, pck_name) for name in names]
                yield MacroMean((f"macro_{unit}", "", pck_name), of)
        yield from pck("geometry_aware_per_image", ambiguous)
        yield from pck("geometry_aware_per_point", ambiguous, per_image=False)
        confused, confusable = self._joined("confused_K"), self._joined("confusable_K")
        yield self._share(("left_right_confusion", "", "share"), confused, confusable, False)
        yield from self._stricter_and_laxer(errors, every, ambiguous)
        if self._mirrors_known:
            yield from self._geco(errors)
        yield from self._kap()
        yield from by_category
        for name in names:
            subset = ambiguous & (categories == name)
            yield from pck("per_category_geometry_aware_per_image", subset, name)
        differences = np.array(
            [
                -1 if pair.azimuth_difference is None else pair.azimuth_difference
                for pair in self.pairs
            ]
        )[self._owner]
        for difference in np.unique(differences[differences >= 0]):
            subset = differences == difference
            yield from pck("per_azimuth_difference_per_image", subset, str(difference))

    def _stricter_and_laxer(
        self,
        errors_P: Float[np.ndarray, "P"],
        every_P: Bool[np.ndarray, "P"],
        ambiguous_P: Bool[np.ndarray, "P"],
    ) -> Iterator[Share]:
        """PCK†, CC, CC - PCK and SOC-geo with its chance, each per image and per point."""
        nearest, of_group = self._joined("nearest_K"), self._joined("group_errors_K")
        chosen, chance = self._joined("chosen_K"), self._joined("chance_K")
        for unit in ("per_image", "per_point"):
            per_image = unit == "per_image"
            for alpha in self.alphas:
                key = f"pck_dagger_{unit}", "", metric_name("pck", alpha)
                correct = self.within(errors_P, alpha) & nearest
                yield self._share(key, correct, every_P, per_image)
            if not self._groups_known:
                continue
            for kind, less_pck in ((f"cc_{unit}", False), (f"cc_confusion_{unit}", True)):
                for alpha in self.alphas:
                    correct = self.within(of_group, alpha)
                    if less_pck:
                        correct &= ~self.within(errors_P, alpha)
                    yield self._share(
                        (kind, "", metric_name("cc", alpha)), correct, every_P, per_image
                    )
            for kind, values in ((f"soc_geo_{unit}", chosen), (f"soc_geo_chance_{unit}", chance)):
                yield self._share((kind, "", "share"), values, ambiguous_P, per_image)

    def _geco(self, errors_P: Float[np.ndarray, "P"]) -> Iterator[Share]:
        """GECO's split, per point."""
        split, to_mirror = self._joined("split_K"), self._joined("mirror_errors_K")
        hidden = [np.empty(0) if h is None else h.mirror_errors_Q for h in self._hidden]
        hidden_owner = np.repeat(np.arange(len(hidden)), [len(each) for each in hidden])
        of_hidden = np.concatenate(hidden)
        for alpha in self.alphas:
            right, mirror = self.within(errors_P, alpha), self.within(to_mirror, alpha)
            for kind, correct, subset in (
                ("geco_n11", right, split == MIRROR_VISIBLE),
                ("geco_n11_mirror", mirror & ~right, split == MIRROR_VISIBLE),
                ("geco_n11_both", mirror & right, split == MIRROR_VISIBLE),
                ("geco_n10", right, split == MIRROR_HIDDEN),
                ("geco_n1x", right, split == NO_MIRROR),
            ):
                key = kind, "", metric_name("share", alpha)
                yield self._share(key, correct, subset, per_image=False)
            terms = sums_of_pairs(
                self.within(of_hidden, alpha), np.full(len(of_hidden), True), hidden_owner,
                len(self.pairs), per_image=False,
            )  # fmt: skip
            yield Share(("geco_n01_mirror", "", metric_name("share", alpha)), *terms)

    def _kap(self) -> Iterator[AveragePrecision]:
        """KAP as defined, and as published, at the thresholds that similarities are known at."""
        for published in (False, True):
            for alpha in self.alphas:
                found = self._with_similarities(alpha)
                if not found:
                    continue
                inside, outside, visible, owner = [], [], [], []
                for index, given, is_visible in found:
                    column = given.alphas.index(alpha)
                    inside.append(given.inside_SA[:, column])
                    outside.append(given.outside_SA[:, column])
                    visible.append(is_visible)
                    owner.append(np.full(len(is_visible), index))
                samples = kap.samples(
                    np.concatenate(inside), np.concatenate(outside), np.concatenate(visible),
                    np.concatenate(owner), published,
                )  # fmt: skip
                kind = "kap_published" if published else "kap"
                yield AveragePrecision((kind, "", metric_name("kap", alpha)), samples)

    def _with_similarities(
        self, alpha: float
    ) -> list[tuple[int, BestSimilarities, Bool[np.ndarray, "S"]]]:
        """The pairs whose best similarities are known at a threshold, and what is visible."""
        return [
            (index, hidden.similarities, hidden.visible_S)
            for index, hidden in enumerate(self._hidden)
            if hidden is not None
            and hidden.similarities is not None
            and hidden.similarities.threshold == self.threshold
            and alpha in hidden.similarities.alphas
        ]

    def _share(
        self,
        key: Key,
        values_P: Float[np.ndarray, "P"] | Bool[np.ndarray, "P"],
        subset_P: Bool[np.ndarray, "P"],
        per_image: bool,
    ) -> Share:
        """The mean of values of a subset of the keypoints, for a metric of that key."""
        return Share(
            key, *sums_of_pairs(values_P, subset_P, self._owner, len(self.pairs), per_image)
        )

    @property
    def _owner(self) -> Int[np.ndarray, "P"]:
        """The pair that each keypoint belongs to."""
        return np.repeat(np.arange(len(self.pairs)), [len(each.errors_K) for each in self._scores])

    def _joined(self, field: str) -> Any:
        """What is known of the keypoints of all pairs, one after the other."""
        return np.concatenate([getattr(scores, field) for scores in self._scores])

    def _mean_of_pairs(self, values_P: Any) -> Float[np.ndarray, "N"]:
        """The mean of the values of each pair; NaN for a pair without any."""
        owner_P, count = self._owner, len(self.pairs)
        with np.errstate(invalid="ignore"):
            return np.bincount(owner_P, values_P, count) / np.bincount(owner_P, minlength=count)


def score(
    data: DataSet,
    predictions: Predictions,
    *,
    threshold: Threshold | None = None,
    alphas: Any = None,
    strict: bool = False,
) -> PCKAccumulator:
    """Accumulate the predictions of all pairs of a data set.

    Args:
        data: the data set.
        predictions: by the name of each pair the predicted points; with what else
            `read_predictions` found in the file, KAP and n01 are computed, too.
        threshold: whose longer side alpha multiplies, if not as the data set's protocol has it.
        alphas: the thresholds, if not those of the data set's protocol.
        strict: whether keypoints must be nearer than alpha times that length.

    Raises:
        HomologError: an alpha is no number above 0 and at most 1.
    """
    accumulator = PCKAccumulator(data, threshold, alphas, strict)
    details = predictions.details if isinstance(predictions, PredictedPairs) else {}
    for pair in data.pairs:
        accumulator.add(pair, predictions[pair.name], details.get(pair.name))
    return accumulator
