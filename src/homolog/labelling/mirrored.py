"""Images that seem mirrored, of objects whose keypoints do not tell their sides.

There, an exemplar cannot serve flipped: its left keypoints would be taken for right ones, and
nothing says which those are. Flipped exemplars still tell whether they would fit better.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch

from homolog import matching
from homolog.data.pairs import Annotation
from homolog.descriptors import DescriptorMap
from homolog.image.poses import PoseVariant
from homolog.keypoints import KeypointSchema
from homolog.labelling.posed_exemplars import PosedExemplar, principal_directions

NEARER = 0.05
"""The similarity by which a flipped exemplar is much nearer (docs/experiments.md)."""

_DIRECTIONS = 192  # that descriptors are projected onto


def poses_of(schema: KeypointSchema, poses: Sequence[PoseVariant]) -> list[PoseVariant]:
    """The poses in which exemplars are looked at.

    Args:
        schema: of their keypoints.
        poses: that are asked for; flips are left out where sides are not known.

    Returns:
        The poses; where sides are not known, those without a flip and each of these flipped.
    """
    if schema.sides_known:
        return list(poses)
    straight = [pose for pose in poses if not pose.flip]
    return [*straight, *(PoseVariant(True, pose.rotation) for pose in straight)]


class MirroredExemplars:
    """Tells whether images seem mirrored, by exemplars as they are and flipped.

    Args:
        straight: the exemplars as they are.
        flipped: the same in flipped poses, of those whose keypoints do not tell their sides.
    """

    def __init__(self, straight: Sequence[PosedExemplar], flipped: Sequence[PosedExemplar]):
        categories = {each.annotation.category for each in flipped}
        self._posed = [
            each for each in (*straight, *flipped) if each.annotation.category in categories
        ]
        self._queries = [each.queries_SKC[0][each.visible_K] for each in self._posed]
        if self._posed:
            # Directions of both: those of one alone would make less of the other.
            self._basis_CD = principal_directions(torch.cat(self._queries), _DIRECTIONS)
            self._queries = [rows @ self._basis_CD for rows in self._queries]

    def seems_mirrored(
        self, target: DescriptorMap, category: str, without: Collection[Annotation] = ()
    ) -> bool:
        """Whether a flipped exemplar is much more like an image than all that are not flipped.

        Args:
            target: the image's descriptors.
            category: of its object.
            without: exemplars that are left out.
        """
        similarity: dict[bool, list[float]] = {True: [], False: []}
        if not any(each.annotation.category == category for each in self._posed):
            return False
        cells = matching.subsample_cells(target.matchable_HW).unbind(1)
        cells_DM = (target.descriptors_HWC[cells] @ self._basis_CD).T
        for each, rows in zip(self._posed, self._queries, strict=True):
            if each.annotation.category == category and each.annotation not in without:
                likeness = float((rows @ cells_DM).amax(1).mean())
                similarity[each.pose.flip].append(likeness)
        return max(similarity[True], default=0.0) > max(similarity[False], default=1.0) + NEARER
