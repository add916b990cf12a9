"""What is known of single predicted keypoints: their errors, and which others they lie nearer to.

Metrics are shares of keypoints (`homolog.evaluation.metrics`); here is what each of them counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from homolog.keypoints import KeypointSchema

NO_MIRROR, MIRROR_VISIBLE, MIRROR_HIDDEN = 0, 1, 2
"""Classes of `mirror_split`: n1x, n11 and n10."""


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


def nearest_is_right(
    predicted_K2: Float[np.ndarray, "K 2"],
    ids_K: Int[np.ndarray, "K"],
    target_N2: Float[np.ndarray, "N 2"],
) -> Bool[np.ndarray, "K"]:
    """Whether no keypoint visible in the target is nearer to a prediction than the right one.

    The condition that PCK† adds to PCK (Aygün and Mac Aodha, ECCV 2022).

    Args:
        predicted_K2: (x, y) in pixels of the target.
        ids_K: the keypoints to be found.
        target_N2: all keypoints of the schema in the target, NaN if not visible.
    """
    distances_KN = _distances(predicted_K2, target_N2)
    own_K = distances_KN[np.arange(len(ids_K)), ids_K]
    return np.isfinite(own_K) & (own_K <= distances_KN.min(axis=1, initial=np.inf))


@dataclass(frozen=True)
class GroupErrors:
    """How predictions lie to the members of their keypoint's group, such as the four paws.

    Attributes:
        nearest_K: relative distance to the nearest member that the target shows.
        chosen_K: whether that is the keypoint itself.
        members_K: how many the target shows; a keypoint of no group is a group of its own.
    """

    nearest_K: Float[np.ndarray, "K"]
    chosen_K: Bool[np.ndarray, "K"]
    members_K: Int[np.ndarray, "K"]


def group_errors(
    predicted_K2: Float[np.ndarray, "K 2"],
    ids_K: Int[np.ndarray, "K"],
    target_N2: Float[np.ndarray, "N 2"],
    schema: KeypointSchema,
    reference_length: float,
) -> GroupErrors:
    """How far predictions are from the members of their keypoint's group that the target shows.

    CC takes every member for right; SOC-geo asks whether the nearest is the right one.

    Args:
        predicted_K2: (x, y) in pixels of the target.
        ids_K: the keypoints to be found.
        target_N2: all keypoints of the schema in the target, NaN if not visible.
        schema: has the groups.
        reference_length: the length that PCK's alpha multiplies, in pixels.
    """
    group_N = np.arange(len(schema))
    for group in schema.groups:
        group_N[list(group)] = group[0]
    visible_N = np.isfinite(target_N2[:, 0])
    candidates_KN = (group_N[ids_K][:, None] == group_N) & visible_N
    distances_KN = np.where(candidates_KN, _distances(predicted_K2, target_N2), np.inf)
    nearest_K = distances_KN.min(axis=1, initial=np.inf)
    own_K = distances_KN[np.arange(len(ids_K)), ids_K]
    return GroupErrors(
        nearest_K / reference_length,
        np.isfinite(own_K) & (own_K <= nearest_K),
        candidates_KN.sum(axis=1),
    )


def mirror_split(
    ids_K: Int[np.ndarray, "K"], target_visible_N: Bool[np.ndarray, "N"], schema: KeypointSchema
) -> Int[np.ndarray, "K"]:
    """GECO's classes of keypoints that the target shows (Hartwig et al., ICCV 2025).

    Args:
        ids_K: the keypoints to be found.
        target_visible_N: for all keypoints of the schema, whether they are visible in the target.
        schema: has the mirror counterparts.

    Returns:
        `MIRROR_VISIBLE` (n11) if the target shows the mirror counterpart, too, `MIRROR_HIDDEN`
        (n10) if it does not, `NO_MIRROR` (n1x) for keypoints without a counterpart.
    """
    counterparts = np.asarray(schema.mirror)[ids_K]
    split = np.where(target_visible_N[counterparts], MIRROR_VISIBLE, MIRROR_HIDDEN)
    return np.where(counterparts == ids_K, NO_MIRROR, split)


def mirror_errors(
    predicted_K2: Float[np.ndarray, "K 2"],
    ids_K: Int[np.ndarray, "K"],
    target_N2: Float[np.ndarray, "N 2"],
    schema: KeypointSchema,
    reference_length: float,
) -> Float[np.ndarray, "K"]:
    """Relative distances to the keypoints' mirror counterparts; infinite where there is none.

    Args:
        predicted_K2: (x, y) in pixels of the target.
        ids_K: the keypoints.
        target_N2: all keypoints of the schema in the target, NaN if not visible.
        schema: has the mirror counterparts.
        reference_length: the length that PCK's alpha multiplies, in pixels.
    """
    counterparts = np.asarray(schema.mirror)[ids_K]
    errors = relative_errors(predicted_K2, target_N2[counterparts], reference_length)
    return np.where(counterparts == ids_K, np.inf, errors)


def knows_mirrors(schemas: Iterable[KeypointSchema]) -> bool:
    """Whether any keypoint has a mirror counterpart."""
    return any(list(schema.mirror) != list(range(len(schema))) for schema in schemas)


def _distances(
    predicted_K2: Float[np.ndarray, "K 2"], target_N2: Float[np.ndarray, "N 2"]
) -> Float[np.ndarray, "K N"]:
    """From each prediction to each keypoint of the target, in pixels; infinite for NaN."""
    distances = np.linalg.norm(predicted_K2[:, None] - target_N2[None], axis=2)
    return np.where(np.isnan(distances), np.inf, distances)
