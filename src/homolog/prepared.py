"""What is computed once of two images: their descriptors, the best pose, and consensus."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Bool

from homolog import matching
from homolog.config import MatcherConfig
from homolog.descriptors import DescriptorMap, Features
from homolog.image.poses import FLIP, IDENTITY, PoseVariant, as_pose
from homolog.matching.alignment import Alignment, pose_from_heading
from homolog.matching.consensus import Consensus
from homolog.scores import MatchScorer

_log = logging.getLogger(__name__)


class PreparedPair:
    """Two images prepared for each other; the base of `ImagePair`, whose arguments these are."""

    def __init__(
        self,
        image0: Features,
        image1: Features,
        describe: Callable[[Features, PoseVariant], DescriptorMap],
        poses: Sequence[PoseVariant],
        config: MatcherConfig,
        mask0: Bool[np.ndarray, "height width"] | None = None,
        mask1: Bool[np.ndarray, "height2 width2"] | None = None,
    ):
        self.image0 = image0
        self.image1 = image1
        self.poses = tuple(poses)
        self.config = config
        self._describe, self._mask0, self._mask1 = describe, mask0, mask1
        self._source_maps: dict[PoseVariant, DescriptorMap] = {}
        self._consensus: dict[PoseVariant, Consensus] = {}
        self._scores: dict[PoseVariant, float] = {}
        self._scorers: dict[PoseVariant, MatchScorer] = {}

    def __repr__(self) -> str:
        poses = ", ".join(pose.name for pose in self.poses)
        return f"ImagePair({self.image0.size}, {self.image1.size}, poses: {poses})"

    def source_map(self, pose: PoseVariant) -> DescriptorMap:
        """Descriptors of the source in a pose, masked if there is a mask."""
        pose = as_pose(pose)
        if pose not in self._source_maps:
            found = self._describe(self.image0, pose)
            found = found if self._mask0 is None else found.masked(self._mask0)
            self._source_maps[pose] = self.placed(found, "source")
        return self._source_maps[pose]

    @cached_property
    def target_map(self) -> DescriptorMap:
        """Descriptors of the target, masked if there is a mask."""
        found = self._describe(self.image1, IDENTITY)
        found = found if self._mask1 is None else found.masked(self._mask1)
        return self.placed(found, "target")

    def placed(self, found: DescriptorMap, role: Literal["source", "target"]) -> DescriptorMap:
        """Descriptors where `MatcherConfig.coordinates` has them.

        Args:
            found: the descriptors.
            role: whether points are given on the image, or looked for in it.
        """
        if self.config.coordinates == "centres":
            return found
        grid, size = found.transform.grid, found.transform.canvas_size
        align = grid.edge_aligned if role == "source" else grid.corner_aligned
        return found.on_grid(align(size))

    @cached_property
    def alignment(self) -> Alignment:
        """The pose of the source that fits the target best, and what decided on it.

        Adaptive pose alignment (Zhang et al., CVPR 2024): the pose with the least instance
        matching distance. Where the choice is whether to flip, and the model recognises both
        objects, their headings decide instead, which costs no further pass through the backbone.
        """
        if len(self.poses) == 1:
            return Alignment(self.poses[0], "request")
        if set(self.poses) == {IDENTITY, FLIP} and self.target_map.sides is not None:
            pose = pose_from_heading(self.source_map(IDENTITY).sides, self.target_map.sides)
            if pose is not None:
                _log.info("pose %s, decided by the headings", pose.name)
                return Alignment(pose, "heading")
        distances = {pose: self.distance(pose) for pose in self.poses}
        best = min(distances, key=distances.__getitem__)
        _log.info("pose %s, at an instance matching distance of %.4f", best.name, distances[best])
        return Alignment(best, "distance", distances)

    def distance(self, pose: PoseVariant | None = None) -> float:
        """The instance matching distance of the source, in a pose, to the target.

        With masks, as published: the mean over the source's cells of the distance to the nearest
        of the target's. Without, symmetric, and weighted by saliency.

        Args:
            pose: of the source; None for the best one.
        """
        if pose is None and self.alignment.distances is not None:
            return self.alignment.distances[self.alignment.pose]
        chosen = self.alignment.pose if pose is None else as_pose(pose)
        source, target = self.source_map(chosen), self.target_map
        if self._mask0 is not None or self._mask1 is not None:
            return matching.instance_matching_distance(
                source.descriptors_HWC, target.descriptors_HWC,
                source.matchable_HW, target.matchable_HW,
            )  # fmt: skip
        return matching.saliency_weighted_imd(
            source.descriptors_HWC, target.descriptors_HWC, source.saliency_HW, target.saliency_HW
        )

    @property
    def score(self) -> float:
        """The pair score: how similar the two objects are, with the source in its best pose."""
        return self._score(self.alignment.pose)

    def consensus(self, pose: PoseVariant) -> Consensus | None:
        """The consensus of the source in a pose with the target; None if the model uses none."""
        pose = as_pose(pose)
        if self.config.consensus is None:
            return None
        if pose not in self._consensus:
            source, target = self.source_map(pose), self.target_map
            self._consensus[pose] = Consensus(
                source.descriptors_HWC, target.descriptors_HWC,
                source.saliency_HW, target.saliency_HW,
                source.matchable_HW, target.matchable_HW, self.config.consensus,
            )  # fmt: skip
        return self._consensus[pose]

    def scorer(self, pose: PoseVariant) -> MatchScorer:
        """What makes scores of the matches of the source in a pose."""
        if pose not in self._scorers:
            self._scorers[pose] = MatchScorer(
                self.source_map(pose), self.target_map, self._score(pose), self.config
            )
        return self._scorers[pose]

    def _score(self, pose: PoseVariant) -> float:
        if pose not in self._scores:
            source, target = self.source_map(pose), self.target_map
            self._scores[pose] = matching.pair_similarity(
                source.descriptors_HWC, target.descriptors_HWC,
                source.matchable_HW, target.matchable_HW,
            )  # fmt: skip
        return self._scores[pose]
