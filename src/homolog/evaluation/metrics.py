"""Metrics of semantic correspondence: PCK and what the field reports beside it.

PCK@alpha is the percentage of correct keypoints: those predicted within alpha times a reference
length of the target, the longer side of its box or of its image. A keypoint exactly at that
distance is correct, unless the protocol is *strict*. *Per image* it is averaged over the keypoints
of a pair, then over pairs; *per point* it is averaged over all keypoints of all pairs. Both are
*micro*; *macro* is the mean over categories of each category's mean. What else there is, in
`Row.kind`:

- `pck_dagger`: PCK†, for which no other keypoint of the target may be nearer than the right one.
- `geometry_aware`: PCK of keypoints of which the target shows another of their group.
- `left_right_confusion`: nearer to the mirror counterpart than to the truth, whatever alpha.
- `geco`: GECO's split by whether the target shows the keypoint and its mirror counterpart.
- `soc_geo`: whether the nearest of the group is the right one, and the chance of that.
- `cc`: within alpha of any of the group; `cc_confusion` is CC - PCK.
- `kap`: keypoint average precision (`homolog.evaluation.kap`).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from homolog.evaluation.accumulator import PCKAccumulator, score
from homolog.evaluation.estimates import Estimate, Row, quotient, sums_of_pairs
from homolog.evaluation.kap import average_precision
from homolog.evaluation.keypoints import (
    geometry_aware,
    group_errors,
    left_right_confusion,
    mirror_errors,
    mirror_split,
    nearest_is_right,
    relative_errors,
)

__all__ = [
    "Estimate",
    "PCKAccumulator",
    "Row",
    "average_precision",
    "geometry_aware",
    "group_errors",
    "left_right_confusion",
    "mirror_errors",
    "mirror_split",
    "nearest_is_right",
    "pck_per_image",
    "pck_per_point",
    "relative_errors",
    "score",
]


def pck_per_point(errors_P: Float[np.ndarray, "P"], alpha: float) -> float:
    """The fraction of all keypoints with a relative error of at most alpha.

    >>> pck_per_point(np.array([0.0, 0.2, 0.1]), 0.1)
    0.6666666666666666
    """
    owner_P = np.zeros(len(errors_P), dtype=int)
    terms = sums_of_pairs(errors_P <= alpha, np.full(len(errors_P), True), owner_P, 1, False)
    return quotient(*terms)


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
    return quotient(*sums_of_pairs(errors_P <= alpha, every_P, owner_P, len(pairs), True))
