"""KAP, keypoint average precision: whether similarities tell if a keypoint is in the target at all.

Every keypoint that is visible in the source gives a positive and a negative sample (Mariotti et
al., "Jamais Vu", NeurIPS 2025): the largest similarity within alpha times a reference length of the
true point, and the largest one farther away. Of a keypoint that the target does not show, every
match is wrong: it gives the largest similarity anywhere as a negative. KAP is the average precision
of all samples. The published function takes every keypoint for visible; that is `published` here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from homolog.data.pairs import Pair, Threshold
from homolog.image.geometry import CanvasTransform

_MAX_GROUPS = 2000  # of samples with similar scores, in resamples


@dataclass(frozen=True, eq=False)
class BestSimilarities:
    """The largest similarities of a pair's keypoints, near the true points and farther away.

    Attributes:
        ids_S: the keypoints, all that are visible in the source.
        threshold: whose longer side alpha multiplies.
        alphas: the thresholds.
        inside_SA: the largest similarity within each threshold of the true point, 0 to 1 over the
            pair; NaN where there is no cell.
        outside_SA: the same farther away.
    """

    ids_S: Int[np.ndarray, "S"]
    threshold: Threshold
    alphas: tuple[float, ...]
    inside_SA: Float[np.ndarray, "S A"]
    outside_SA: Float[np.ndarray, "S A"]


def best_similarities(
    similarity_SM: Float[np.ndarray, "S M"],
    positions_M2: Float[np.ndarray, "M 2"],
    truth_S2: Float[np.ndarray, "S 2"],
    radii_A: Sequence[float],
) -> tuple[Float[np.ndarray, "S A"], Float[np.ndarray, "S A"]]:
    """The largest similarities within some radii of the true points, and beyond them.

    Args:
        similarity_SM: of each keypoint to each cell of the target; -inf where none may lie.
        positions_M2: (x, y) of the cells.
        truth_S2: (x, y) of the true points, in the same unit.
        radii_A: in that unit.

    Returns:
        Inside and outside; NaN where there is no cell.
    """
    x_M, y_M = positions_M2.T
    squares_SM = (x_M - truth_S2[:, :1]) ** 2 + (y_M - truth_S2[:, 1:]) ** 2
    found_AS = []
    for radius in radii_A:
        inside_SM = squares_SM <= radius**2
        for chosen_SM in (inside_SM, ~inside_SM):
            found_AS.append(np.where(chosen_SM, similarity_SM, -np.inf).max(axis=1))
    values_SA = np.stack(found_AS, axis=1).astype(float)
    values_SA[np.isinf(values_SA)] = np.nan
    return values_SA[:, ::2], values_SA[:, 1::2]


def of_pair(
    pair: Pair,
    ids_S: Int[np.ndarray, "S"],
    maps: Sequence[tuple[Bool[np.ndarray, "S"], CanvasTransform, Float[Tensor, "_K _H _W"]]],
    threshold: Threshold,
    alphas: tuple[float, ...],
) -> BestSimilarities:
    """The largest similarities of keypoints of a pair, from their similarity maps.

    For keypoints that the target does not show, the true point is taken to be the upper left corner
    of the canvas, as in the published function.

    Args:
        pair: the pair.
        ids_S: the keypoints, visible in the source.
        maps: their similarity maps (`ImagePair.transfer_with_maps`).
        threshold: whose longer side alpha multiplies.
        alphas: the thresholds.
    """
    length = pair.target.reference_length(threshold)
    inside_SA, outside_SA = np.full((2, len(ids_S), len(alphas)), np.nan)
    finite = [np.empty(0)]
    for rows, transform, similarity in maps:
        flat = similarity.flatten(1).cpu().numpy()
        finite.append(flat[np.isfinite(flat)])
        truth = pair.target.keypoints[ids_S[rows]]
        corner = transform.to_points(transform.grid.to_cells(np.zeros((1, 2))))
        truth = np.where(np.isfinite(truth), truth, corner)
        cells = transform.to_points(transform.grid.cells)
        radii = [alpha * length for alpha in alphas]
        inside_SA[rows], outside_SA[rows] = best_similarities(flat, cells, truth, radii)
    all_finite = np.concatenate(finite)
    low, high = all_finite.min(initial=np.inf), all_finite.max(initial=-np.inf)
    scale = 1 / (high - low) if high > low else 0.0
    return BestSimilarities(
        ids_S, threshold, alphas, (inside_SA - low) * scale, (outside_SA - low) * scale
    )


@dataclass(frozen=True, eq=False)
class Samples:
    """Positive and negative samples of several pairs.

    Attributes:
        scores_P: similarities.
        positive_P: whether each is a positive one.
        pairs_P: the pair that each is of.
    """

    scores_P: Float[np.ndarray, "P"]
    positive_P: Bool[np.ndarray, "P"]
    pairs_P: Int[np.ndarray, "P"]


def samples(
    inside_S: Float[np.ndarray, "S"],
    outside_S: Float[np.ndarray, "S"],
    visible_S: Bool[np.ndarray, "S"],
    pairs_S: Int[np.ndarray, "S"],
    published: bool = False,
) -> Samples:
    """The samples of keypoints at one threshold.

    Args:
        inside_S: their largest similarities near the true points (`BestSimilarities`).
        outside_S: their largest similarities farther away.
        visible_S: whether the target shows them.
        pairs_S: the pair that each is of.
        published: whether every keypoint counts as visible, as in the published function.
    """
    shown_S = np.full(len(visible_S), True) if published else visible_S
    # Where there is no cell the similarity is the least there is.
    inside_S, outside_S = np.nan_to_num(inside_S), np.nan_to_num(outside_S)
    negative_S = np.where(shown_S, outside_S, np.maximum(inside_S, outside_S))
    return Samples(
        np.concatenate([inside_S[shown_S], negative_S]),
        np.arange(shown_S.sum() + len(negative_S)) < shown_S.sum(),
        np.concatenate([pairs_S[shown_S], pairs_S]),
    )


def average_precision(scores_P: Float[np.ndarray, "P"], positive_P: Bool[np.ndarray, "P"]) -> float:
    """Average precision: the mean precision at each positive sample; samples of equal score tie.

    Args:
        scores_P: the higher, the surer.
        positive_P: whether each sample is a positive one; NaN is returned if none is.

    >>> average_precision(np.array([0.9, 0.8, 0.7]), np.array([True, False, True]))
    0.8333333333333333
    """
    order = np.argsort(-scores_P, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores_P[order])), len(order) - 1)
    positive = np.cumsum(positive_P[order])[last]
    return float(_average_precision(positive[:, None].astype(float), last[:, None] + 1.0)[0])


def resampled_average_precision(
    found: Samples, weights_BN: Float[np.ndarray, "B N"]
) -> Float[np.ndarray, "B"]:
    """The average precision in some bootstrap resamples of N pairs.

    Samples of similar scores are put into groups that tie, so that many pairs take little time.

    Args:
        found: the samples.
        weights_BN: how often each resample has each pair.
    """
    order = np.argsort(-found.scores_P, kind="stable")
    first_P = np.append(True, np.diff(found.scores_P[order]) != 0)
    group_P = np.cumsum(first_P) - 1
    # Equal parts of the samples, moved to the ends of ties.
    size = -(-len(order) // _MAX_GROUPS)
    group_P = np.flatnonzero(first_P)[group_P] // size
    drawn_NB = torch.from_numpy(np.ascontiguousarray(weights_BN.T))

    def counts(chosen_P: Bool[np.ndarray, "P"]) -> Float[np.ndarray, "G B"]:
        """The number of samples in each group and all above it, in each resample."""
        index = np.stack([group_P, found.pairs_P[order]])[:, chosen_P]
        shape = (int(group_P[-1]) + 1, len(drawn_NB))
        ones = torch.ones(index.shape[1], dtype=drawn_NB.dtype)
        matrix = torch.sparse_coo_tensor(
            torch.from_numpy(index), ones, shape, check_invariants=True
        )
        return np.asarray((matrix @ drawn_NB).double().numpy().cumsum(axis=0))

    every_P = np.full(len(order), True)
    return _average_precision(counts(found.positive_P[order]), counts(every_P))


def _average_precision(
    positive_GB: Float[np.ndarray, "G B"], all_GB: Float[np.ndarray, "G B"]
) -> Float[np.ndarray, "B"]:
    """Average precision from the numbers of positive and of all samples down to each group."""
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.nan_to_num(positive_GB / all_GB)
        gained = np.diff(positive_GB, axis=0, prepend=0)
        return (precision * gained).sum(axis=0) / positive_GB[-1]
