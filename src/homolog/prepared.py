"""What is computed once of two images: their descriptors, the best pose, and consensus."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from homolog import matching
from homolog.config import MatcherConfig
from homolog.dense import instance_matching_distance, is_large
from homolog.descriptors import DescriptorMap, Features
from homolog.image.poses import FLIP, IDENTITY, PoseVariant, as_pose
from homolog.matching.alignment import Alignment, pose_from_heading
from homolog.matching.consensus import Consensus
from homolog.matching.sampling import LARGE
from homolog.scores import MatchScorer

_ENTRIES = 2**24  # of similarity maps that are held at a time, where these are large

_log = logging.getLogger(__name__)


class PreparedPair:
    """Two images prepared for each other; the base of `ImagePair`, which has the arguments."""

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
            if is_large(source, target) and not self.config.exhaustive:
                return instance_matching_distance(source, target)
            source, target = source.widened(), target.widened()
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
            source, target = (
                each.coarse or each for each in (self.source_map(pose), self.target_map)
            )
            self._scores[pose] = matching.pair_similarity(
                source.descriptors_HWC, target.descriptors_HWC,
                source.matchable_HW, target.matchable_HW,
            )  # fmt: skip
        return self._scores[pose]

    def rows_at_once(self, pose: PoseVariant) -> int:
        """How many points' similarity maps, there and back, are held at a time: all of small maps.

        Args:
            pose: of the source.
        """
        maps = self.source_map(pose), self.target_map
        cells = max(each.valid_HW.numel() for each in maps)
        return _ENTRIES // cells if cells > LARGE else sys.maxsize

    def at_once(
        self, rows_K: Bool[np.ndarray, "K"], pose: PoseVariant
    ) -> Iterator[Bool[np.ndarray, "K"]]:
        """Rows of points, in parts whose similarity maps are held at a time.

        Args:
            rows_K: which ones; none give no part.
            pose: of the source.
        """
        chosen = np.flatnonzero(rows_K)
        if not len(chosen):
            return
        count = self.rows_at_once(pose)
        for start in range(0, len(chosen), count):
            part = np.full(len(rows_K), False)
            part[chosen[start : start + count]] = True
            yield part

    def _match_at(
        self, cells_K2: Float[Tensor, "K 2"], pose: PoseVariant, confidence: bool = True
    ) -> tuple[
        Float[Tensor, "K 2"],
        Float[Tensor, "K"] | None,
        Bool[Tensor, "K"] | None,
        Float[Tensor, "K H W"],
    ]:
        """Matches of positions (x, y) in cells of the source in a pose, in cells of the target.

        With scores, if wanted, what is visible, if the model is calibrated, and similarity maps.
        """
        source, target = self.source_map(pose), self.target_map
        consensus = self.consensus(pose)
        if consensus is None:
            queries = matching.sample_descriptors(
                source.descriptors_HWC, cells_K2, source.lengths_HW
            )
            similarity = matching.similarity(
                queries, target.descriptors_HWC, lengths_HW=target.lengths_HW
            )
            everywhere, similarity = (
                similarity,
                similarity.masked_fill(~target.matchable_HW, -torch.inf),
            )
        else:
            everywhere = similarity = consensus.similarity(cells_K2)
        if self.config.suppression_sigma is None or self._mask1 is not None:
            found = self.config.locate(similarity)
        else:  # as published, with the part of the mean that falls on the padding
            found = self.config.locate(everywhere, matching.argmax(similarity))
        if not confidence:
            return found, None, None, similarity
        cycle = matching.cycle_confidence(
            source.descriptors_HWC, target.descriptors_HWC, source.valid_HW,
            cells_K2, found, similarity / (source.typical_length * target.typical_length),
        )  # fmt: skip
        return found, *self.scorer(pose)(cells_K2, found, cycle), similarity

    def _match_points(
        self, points: Float[np.ndarray, "K 2"], pose: PoseVariant, confidence: bool = True
    ) -> tuple[
        Float[np.ndarray, "K 2"],
        Float[np.ndarray, "P"],
        Bool[np.ndarray, "K"] | None,
        Float[Tensor, "K H W"],
    ]:
        """Matches of points of the source in a pose, scores if wanted, and similarity maps.

        With scores comes what is visible, if the model is calibrated.
        """
        cells = self.source_map(pose).cells_of(points)
        found, scores, visible, similarity = self._match_at(cells, pose, confidence)
        points1 = self.target_map.transform.to_points(found.double().cpu().numpy(), clip=True)
        if scores is None:
            return points1, np.empty(0), None, similarity
        seen = None if visible is None else visible.cpu().numpy()
        return points1, scores.double().cpu().numpy(), seen, similarity
