"""Calibration: the probability that a predicted keypoint is correct, and which are doubtful."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

import numpy as np
from jaxtyping import Bool, Float

from homolog.config import CalibrationConfig
from homolog.labelling.shapes import as_complex, fit_similarity
from homolog.utils.stats import fit_logistic_weights, sigmoid

# The predictions of one image are not independent; together they count as this many that are.
_INDEPENDENT_PER_IMAGE = 4.0
# Of the weights that are adapted: similarity, whether the series is an exemplar's, and the offset.
_PRIOR_STDDEVS = (2.0, 1.5, 0.5)
_MEAN_SIMILARITY = 0.6
_KEYPOINT_PRIOR = 6.0  # predictions of a keypoint that its mean over all keypoints counts as

_ROUNDS = 10  # of reweighting
_INLIER = 0.05  # the shape residual at which a keypoint counts half, as a share of the box
_FLOOR = 0.005  # added to shape residuals, so that their logarithms stay finite
_FEWEST = 4  # keypoints that a shape takes: a similarity fits two exactly
TYPICAL_RESIDUAL = 0.06
"""The shape residual of a keypoint where shapes cannot be compared."""

DEFAULT_WEIGHTS = CalibrationConfig()
"""Of zero-shot descriptors."""

_NUMBER = re.compile(r"([\W_]+[a-z]{0,8})?\d+$", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class LeftOut:
    """An exemplar as others predict it.

    Attributes:
        image: index of the exemplar.
        category: of its object.
        features: the confidence features of each keypoint (`KeypointPrediction`).
        labelled: which keypoints are labelled in it.
        correct: which of these are predicted correctly.
        same_series: whether one of the others is of the same series of images (`series`).
        all_others: whether all other exemplars predict it, and not those of other series alone.
    """

    image: int
    category: str
    features: Float[np.ndarray, "K 5"]
    labelled: Bool[np.ndarray, "K"]
    correct: Bool[np.ndarray, "K"]
    same_series: bool
    all_others: bool


@dataclass(frozen=True)
class Calibration:
    """Turns confidence features of predicted keypoints into probabilities of being correct.

    Attributes:
        offset: added to the default's logit; 0 for the default.
        adapted: whether it is adapted to exemplars, of which the following is known.
        similarity: what is added to the logit for each unit by which the best exemplar is more
            similar than usual.
        same_series: what is added for an image of the series of an exemplar, and half of it taken
            away for others.
        keypoints: by category the log odds that each keypoint is predicted correctly, relative to
            those of all keypoints.
        weights: logistic regressions of "within a tenth of the box" on confidence features: the
            default, and where the adaptation to exemplars begins.
    """

    offset: float = 0.0
    adapted: bool = False
    similarity: float = 0.0
    same_series: float = 0.0
    keypoints: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    weights: CalibrationConfig = DEFAULT_WEIGHTS

    def probability(
        self,
        confidence_features: Float[np.ndarray, "K 5"],
        category: str | None = None,
        same_series: bool | None = None,
    ) -> Float[np.ndarray, "K"]:
        """The probability that each prediction is correct.

        Args:
            confidence_features: a row for each prediction (`KeypointPrediction`).
            category: of the object, all of whose keypoints these are.
            same_series: whether the image is of the series of an exemplar; None if unknown.
        """
        if not self.adapted:
            *slopes, bias = self.weights.keypoints
            return sigmoid(confidence_features[:, :4] @ np.array(slopes) + bias + self.offset)
        columns = _columns(confidence_features, same_series)
        odds = self.keypoints.get(category or "")
        logits = _base(confidence_features, odds, self.weights)
        weights = np.array([self.similarity, self.same_series, self.offset])
        return sigmoid(logits + columns @ weights)


def adapt(
    samples: Sequence[LeftOut],
    mirrors: Mapping[str, Sequence[int]],
    calibration: CalibrationConfig = DEFAULT_WEIGHTS,
) -> Calibration:
    """The calibration of greatest posterior probability, given how exemplars predict each other.

    All predictions of one image count as four at most, because they are not independent.

    Args:
        samples: the exemplars, each predicted from others.
        mirrors: by category the mirror counterpart of each keypoint, which is as hard to predict.
        calibration: where it begins.
    """
    rows: list[Float[np.ndarray, "_N 3"]] = []
    bases, correct, weights = [], [], []
    for sample in samples:
        if not sample.labelled.any():
            continue
        # What is known of its keypoints otherwise: from other images than its own.
        others = [each for each in samples if each.image != sample.image]
        keypoints = _keypoint_odds(others, sample.category, mirrors[sample.category])
        chosen = sample.labelled
        bases.append(_base(sample.features, keypoints, calibration)[chosen])
        rows.append(_columns(sample.features, sample.same_series)[chosen])
        correct.append(sample.correct[chosen])
        count = int(chosen.sum())
        weights.append(np.full(count, min(1.0, _INDEPENDENT_PER_IMAGE / count)))
    found = fit_logistic_weights(
        np.concatenate(rows), np.concatenate(correct), np.concatenate(weights), (0.0, 0.0, 0.0),
        _PRIOR_STDDEVS, np.concatenate(bases),
    )  # fmt: skip
    similarity, same_series, offset = map(float, found)
    categories = {sample.category for sample in samples}
    odds = {each: _keypoint_odds(samples, each, mirrors[each]) for each in categories}
    return Calibration(offset, True, similarity, same_series, odds, calibration)


def shape_residuals(
    points_K2: Float[np.ndarray, "K 2"], shapes: Iterable[Float[np.ndarray, "K 2"]], length: float
) -> Float[np.ndarray, "K"]:
    """How far keypoints are from where the shapes of exemplars have them.

    Each shape is laid over the points by a similarity, in which keypoints that do not fit count
    less.

    Args:
        points_K2: the predicted keypoints.
        shapes: the keypoints of exemplars; NaN where they are not labelled.
        length: of the longer edge of the predicted box.

    Returns:
        The mean distance over the shapes that have the keypoint, as a share of the length.
    """
    target = as_complex(points_K2)
    total, count = np.zeros(len(target)), np.zeros(len(target))
    for shape in shapes:
        labelled = np.isfinite(shape[:, 0])
        if labelled.sum() < _FEWEST:
            continue
        source = np.nan_to_num(as_complex(shape))[None]
        weights = labelled.astype(float)[None]
        for _ in range(_ROUNDS):
            factor, shift = fit_similarity(source, target, weights)
            residuals = np.abs(factor[:, None] * source + shift[:, None] - target) / length
            weights = labelled / (1 + (residuals / _INLIER) ** 2)
        total += np.where(labelled, residuals[0], 0)
        count += labelled
    return np.where(count > 0, total / np.maximum(count, 1), TYPICAL_RESIDUAL)


def series(name: str) -> str:
    """What the names of images of one video or series have in common: that without their number.

    >>> series("bees/queen_7_f0725.png"), series("IMG_0012.JPG"), series("bee3.png")
    ('queen_7', 'IMG', 'bee')
    """
    stem = PurePath(name.replace("\\", "/")).stem
    return _NUMBER.sub("", stem)


def review_threshold(scores: Collection[float] | Float[np.ndarray, "N"], errors: float) -> float:
    """The score below which points are to be reviewed, so that the others have few errors.

    Args:
        scores: the probabilities that points are correct.
        errors: the share of the points that are not reviewed which may be wrong, as expected from
            their scores.

    Returns:
        The lowest such threshold; above 1 if all points are to be reviewed.

    >>> review_threshold([0.99, 0.97, 0.9, 0.5], 0.05)
    0.9
    """
    ordered = np.sort(np.asarray(list(scores), dtype=float))[::-1]
    expected = np.cumsum(1 - ordered) / np.arange(1, len(ordered) + 1)
    # Points of one score are accepted together, or not at all.
    last = np.append(ordered[1:] < ordered[:-1], True)[: len(ordered)]
    allowed = ordered[(expected <= errors) & last]
    return float(allowed[-1]) if len(allowed) else 1.1


TRAINED = Calibration(offset=-1.0)
"""For trained post-processors, whose similarity maps are overconfident (docs/experiments.md)."""


def _columns(
    features: Float[np.ndarray, "N 5"], same_series: bool | None
) -> Float[np.ndarray, "N 3"]:
    """What the adapted weights are of: similarity, whether the series is known, and 1."""
    belongs = 0.0 if same_series is None else 0.5 if same_series else -0.5
    constant = np.ones(len(features))
    return np.stack([features[:, 3] - _MEAN_SIMILARITY, belongs * constant, constant], axis=1)


def _base(
    features: Float[np.ndarray, "N 5"],
    keypoints: Sequence[float] | None,
    calibration: CalibrationConfig,
) -> Float[np.ndarray, "N"]:
    """The logit before it is adapted."""
    *weights, shape_weight, keypoint_weight, bias = calibration.adapted_keypoints
    shape = np.log(features[:, 4] + _FLOOR)
    logits = features[:, :4] @ np.array(weights) + shape_weight * shape
    odds = 0.0 if keypoints is None else np.array(keypoints)
    return np.asarray(logits + keypoint_weight * odds + bias)


def _keypoint_odds(
    samples: Sequence[LeftOut], category: str, mirror: Sequence[int]
) -> tuple[float, ...]:
    """The log odds of each keypoint of a category relative to all, drawn towards these."""
    own = [each for each in samples if each.category == category and each.all_others]
    counterpart = np.array(mirror, dtype=int)
    if not own:
        return (0.0,) * len(counterpart)
    correct = np.sum([each.correct & each.labelled for each in own], axis=0)
    labelled = np.sum([each.labelled for each in own], axis=0)
    sided = counterpart != np.arange(len(counterpart))
    correct = correct + np.where(sided, correct[counterpart], 0)
    labelled = labelled + np.where(sided, labelled[counterpart], 0)
    mean = float(np.clip(correct.sum() / max(labelled.sum(), 1), 0.05, 0.95))
    share = (correct + _KEYPOINT_PRIOR * mean) / (labelled + _KEYPOINT_PRIOR)
    odds = np.log(share / (1 - share)) - np.log(mean / (1 - mean))
    return tuple(map(float, odds))
