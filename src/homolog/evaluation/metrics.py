"""How good predictions are: PCK in its variants, the geometry-aware subset, left/right confusion.

PCK@alpha is the share of keypoints found within alpha times a length of the target: the longer side
of its box, or of its picture. *Per image* it is averaged over a pair's keypoints, then over pairs;
*per point* over all keypoints of all pairs. A point exactly at the threshold is right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from homolog.data import DataSet, Pair
from homolog.data.pairs import Threshold
from homolog.keypoints import KeypointSchema
from homolog.utils.stats import bootstrap_ci


def relative_errors(
    predicted_K2: Float[np.ndarray, "K 2"], truth_K2: Float[np.ndarray, "K 2"], side: float
) -> Float[np.ndarray, "K"]:
    """Distances between predicted and true points in shares of a length; infinite for NaN.

    Args:
        predicted_K2: (x, y) in pixels.
        truth_K2: (x, y) in pixels.
        side: the length that PCK's alpha multiplies, in pixels.

    >>> relative_errors(np.array([[3.0, 4.0], [np.nan, 0.0]]), np.zeros((2, 2)), 50.0)
    array([0.1, inf])
    """
    distances = np.linalg.norm(predicted_K2 - truth_K2, axis=1)
    return np.where(np.isnan(distances), np.inf, distances) / side


def pck_per_point(errors_P: Float[np.ndarray, "P"], alpha: float) -> float:
    """The share of all keypoints with a relative error of at most alpha."""
    return float((errors_P <= alpha).mean())


def pck_per_image(
    errors_P: Float[np.ndarray, "P"], pairs_P: Int[np.ndarray, "P"], alpha: float
) -> float:
    """The mean over pairs of the share of a pair's keypoints with at most that relative error.

    Args:
        errors_P: relative errors.
        pairs_P: the pair that each keypoint belongs to; pairs without keypoints do not count.
        alpha: the threshold.

    >>> pck_per_image(np.array([0.0, 0.2, 0.0]), np.array([7, 7, 8]), 0.1)
    0.75
    """
    _, index, counts = np.unique(pairs_P, return_inverse=True, return_counts=True)
    return float((np.bincount(index, errors_P <= alpha) / counts).mean())


def geometry_aware(
    ids_K: Int[np.ndarray, "K"], target_visible_N: Bool[np.ndarray, "N"], schema: KeypointSchema
) -> Bool[np.ndarray, "K"]:
    """Which keypoints can be told from others in the target by geometry only.

    Those whose group, such as the four paws, has at least two members visible in the target (Zhang
    et al., CVPR 2024). Ids are the data set's own; the published per-point figures of other
    implementations renumber them.

    Args:
        ids_K: the keypoints asked for.
        target_visible_N: for all keypoints of the schema, whether the target shows them.
        schema: the groups.
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
    """Which keypoints could be mixed up with their mirror counterparts, and which are.

    Args:
        predicted_K2: (x, y) in pixels of the target.
        ids_K: the keypoints asked for.
        target_N2: all keypoints of the schema in the target, NaN where not visible.
        schema: the counterparts.

    Returns:
        Whether the target shows the keypoint's counterpart, and whether the prediction lies nearer
        to that than to the truth.
    """
    other = np.asarray(schema.mirror)[ids_K]
    possible = (other != ids_K) & np.isfinite(target_N2[other, 0])
    to_other = np.linalg.norm(predicted_K2 - target_N2[other], axis=1)
    to_truth = np.linalg.norm(predicted_K2 - target_N2[ids_K], axis=1)
    with np.errstate(invalid="ignore"):
        return possible, possible & (to_other < to_truth)


@dataclass(frozen=True)
class Estimate:
    """A share, and how sure it is.

    Attributes:
        value: the share, 0 to 1.
        interval: of 95 % confidence, by bootstrap over pairs.
        count: how many pairs (per image) or keypoints (per point) it is a mean of.
    """

    value: float
    interval: tuple[float, float]
    count: int


@dataclass(frozen=True)
class Row:
    """Figures of one subset of the keypoints.

    Attributes:
        kind: `per_image`, `per_point`, `geometry_aware_per_image`, `geometry_aware_per_point`,
            `left_right_confusion` (per point), `per_category_per_image`,
            `per_category_geometry_aware_per_image` or `per_azimuth_difference_per_image`.
        label: the category or the difference; empty for the kinds that have no parts.
        estimates: by name: `pck@0.10` and so on, or `share`.
    """

    kind: str
    label: str
    estimates: Mapping[str, Estimate]


class PCKAccumulator:
    """Takes predictions pair by pair, and gives all figures of them.

    Args:
        data: the data set; its protocol is used.
        threshold: what alpha multiplies, if not the data set's own.
        alphas: the thresholds, if not the data set's own.
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
        self._points: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []

    def add(self, pair: Pair, predicted: Float[np.ndarray, "K 2"]) -> None:
        """A pair's predictions.

        Args:
            pair: the pair.
            predicted: (x, y) in pixels of the target for each of its `keypoint_ids`; NaN counts as
                wrong.
        """
        ids, target, schema = pair.keypoint_ids, pair.target, self.schemas[pair.category]
        errors = relative_errors(predicted, target.keypoints[ids], target.reference_length(self.threshold))
        hard = geometry_aware(ids, target.visible, schema)
        possible, mixed_up = left_right_confusion(predicted, ids, target.keypoints, schema)
        self.pairs.append(pair)
        self._points.append((errors, hard, possible, mixed_up))

    def pck_of_pairs(self, alpha: float) -> Float[np.ndarray, "N"]:
        """PCK of each pair by itself; NaN for a pair without keypoints."""
        errors, owner = self._errors()
        counts = np.bincount(owner, minlength=len(self.pairs))
        right = np.bincount(owner, errors <= alpha, minlength=len(self.pairs))
        with np.errstate(invalid="ignore"):
            return right / counts

    def mean_errors(self) -> Float[np.ndarray, "N"]:
        """Mean relative error of each pair, with none counted above 1; NaN without keypoints."""
        errors, owner = self._errors()
        counts = np.bincount(owner, minlength=len(self.pairs))
        with np.errstate(invalid="ignore"):
            return np.bincount(owner, errors.clip(max=1), minlength=len(self.pairs)) / counts

    def curve(self, alphas: Sequence[float]) -> list[float]:
        """PCK per image at each of many thresholds."""
        return [float(np.nanmean(self.pck_of_pairs(alpha))) for alpha in alphas]

    def correct(self, index: int, alpha: float) -> Bool[np.ndarray, "K"]:
        """Which keypoints of the pair added at that place are found."""
        return self._points[index][0] <= alpha

    def rows(self) -> list[Row]:
        """All figures, with intervals; a subset without keypoints has no row."""
        _, hard, possible, mixed_up = (
            np.concatenate(column) for column in zip(*self._points, strict=True)
        )
        errors, owner = self._errors()
        shares: list[tuple[str, str, str, np.ndarray, np.ndarray]] = []

        def per_pair(points: np.ndarray) -> Float[np.ndarray, "N"]:
            return np.bincount(owner, points, minlength=len(self.pairs))

        def pck(kind: str, label: str, points: np.ndarray, per_image: bool = True) -> None:
            """PCK of some of the points. Every figure is a quotient of sums over pairs."""
            counts = per_pair(points)
            for alpha in self.alphas:
                right = per_pair(points & (errors <= alpha))
                counted = counts
                if per_image:
                    right, counted = right / np.maximum(counts, 1), (counts > 0).astype(float)
                shares.append((kind, label, f"pck@{alpha:.2f}", right, counted))

        everything = np.full(len(errors), True)
        pck("per_image", "", everything)
        pck("per_point", "", everything, per_image=False)
        pck("geometry_aware_per_image", "", hard)
        pck("geometry_aware_per_point", "", hard, per_image=False)
        shares.append(("left_right_confusion", "", "share", per_pair(mixed_up), per_pair(possible)))
        categories = np.array([pair.category for pair in self.pairs])[owner]
        for category in np.unique(categories):
            pck("per_category_per_image", str(category), categories == category)
        for category in np.unique(categories):
            chosen = hard & (categories == category)
            pck("per_category_geometry_aware_per_image", str(category), chosen)
        differences = np.array(
            [
                -1 if pair.azimuth_difference is None else pair.azimuth_difference
                for pair in self.pairs
            ]
        )[owner]
        for difference in np.unique(differences[differences >= 0]):
            chosen = differences == difference
            pck("per_azimuth_difference_per_image", str(difference), chosen)

        shares = [share for share in shares if share[4].any()]
        intervals = bootstrap_ci(
            *(np.stack([share[i] for share in shares], axis=1) for i in (3, 4))
        )
        rows: dict[tuple[str, str], dict[str, Estimate]] = {}
        for (kind, label, name, right, counted), interval in zip(shares, intervals, strict=True):
            value = float(right.sum() / counted.sum())
            rows.setdefault((kind, label), {})[name] = Estimate(
                value, (float(interval[0]), float(interval[1])), int(counted.sum())
            )
        return [Row(kind, label, figures) for (kind, label), figures in rows.items()]

    def _errors(self) -> tuple[Float[np.ndarray, "P"], Int[np.ndarray, "P"]]:
        """Relative errors of all keypoints, and the pair that each belongs to."""
        counts = [len(errors) for errors, *_ in self._points]
        owner = np.repeat(np.arange(len(self.pairs)), counts)
        return np.concatenate([errors for errors, *_ in self._points]), owner
