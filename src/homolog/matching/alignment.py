"""Adaptive pose alignment: the pose in which the source is matched, and what decided on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from homolog.image.poses import FLIP, IDENTITY, PoseVariant
from homolog.keypoints import KeypointSchema
from homolog.networks.sides import SideMaps

FLIPPED = (
    "one image was flipped: points on one side of the object are matched to their mirror "
    "counterparts"
)
"""The warning where free points are matched in a flipped image."""


@dataclass(frozen=True)
class Alignment:
    """The pose of the source that fits the target best, of all that were asked for.

    Attributes:
        pose: the best one.
        decided_by: `request` where only one pose was asked for, `distance` where the instance
            matching distances decided, `heading` where the two objects' headings did.
        distances: the instance matching distance of each pose; None unless these decided.
        warning: what there is to warn of, whatever is matched.
    """

    pose: PoseVariant
    decided_by: Literal["request", "distance", "heading"]
    distances: Mapping[PoseVariant, float] | None = None
    warning: str | None = None

    def select_pose(self, flip: bool) -> tuple[PoseVariant, str | None]:
        """The pose to match in, and a warning if it is not the best one or exchanges sides.

        Args:
            flip: whether a flip may be used: points are named, so that left and right can be
                exchanged back, or the image is wanted as a whole.
        """
        if flip or not self.pose.flip:
            return self.pose, self.warning
        if self.decided_by == "heading":
            return IDENTITY, (
                "the two objects face opposite ways, but a flip exchanges left and right: it is "
                "used for points named by a schema only"
            )
        unflipped = [pose for pose in self.distances or () if not pose.flip]
        if self.distances is None or not unflipped:
            return self.pose, FLIPPED
        pose = min(unflipped, key=self.distances.__getitem__)
        return pose, (
            f"in pose {self.pose.name} the source is nearer to the target "
            f"({self.distances[self.pose]:.4f} against {self.distances[pose]:.4f}), but a flip "
            "exchanges left and right: it is used for points named by a schema only"
        )


def pose_from_heading(source: SideMaps | None, target: SideMaps | None) -> PoseVariant | None:
    """The pose, identity or flip, in which the source's object heads as the target's does.

    Args:
        source: what a side head predicts for the source; None without one.
        target: the same for the target.

    Returns:
        The pose; None where the head does not recognise both objects well enough to tell.
    """
    if source is None or target is None:
        return None
    heading0, heading1 = source.mean_heading(), target.mean_heading()
    if not (source.recognised and target.recognised):
        return None
    mirrored = heading0 * heading0.new_tensor([-1, 1, 1])
    return FLIP if float(mirrored @ heading1) > float(heading0 @ heading1) else IDENTITY


def mirror_queries(
    keypoints: Float[np.ndarray, "K 2"], ids: Sequence[int], schema: KeypointSchema
) -> tuple[Float[np.ndarray, "K 2"], Bool[np.ndarray, "K"]]:
    """The position to query for each named point in the flipped source, where that is known.

    In the flipped image the left paw is seen where the right paw was.

    Args:
        keypoints: (x, y) in pixels of the source.
        ids: the keypoint of the schema that each point is.
        schema: knows the mirror counterparts.

    Returns:
        The positions, and for which points the counterpart was among those given.
    """
    rows = {keypoint: row for row, keypoint in enumerate(ids)}
    queries, known = keypoints.copy(), np.full(len(ids), True)
    for row, keypoint in enumerate(ids):
        counterpart = rows.get(schema.mirror[keypoint])
        if counterpart is None:
            known[row] = False
        else:
            queries[row] = keypoints[counterpart]
    return queries, known
