"""Two images prepared for each other: every match, flow and heatmap is asked of such a pair."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from homolog import matching
from homolog.config import MatcherConfig
from homolog.descriptors import DescriptorMap, Features
from homolog.errors import HomologError
from homolog.flow import Flow, FlowField
from homolog.image.geometry import FLIP, IDENTITY, PoseVariant, interpolate
from homolog.image.points import PointsLike, as_points
from homolog.keypoints import KeypointSchema
from homolog.matching.alignment import Alignment, mirror_queries, pose_from_heading
from homolog.matching.consensus import Consensus
from homolog.results import Heatmap, Matches

# Of rows and columns that take no part: not -inf, for they must still have a softmax.
_FLOOR = -1e4
# Forward and backward flow are consistent where they meet within this share of the longer edge.
_CONSISTENT = 0.05

# For every source cell: the best target cell, the position between cells, and the confidence.
_Dense = tuple[Int[Tensor, "N 2"], Float[Tensor, "N 2"], Float[Tensor, "N"]]


class ImagePair:
    """Two images prepared for each other; made by `Matcher.pair`, asked as often as wanted.

    Descriptors, pose alignment and consensus are computed once, when they are first needed.

    Args:
        image0: the source, the image that points are given on.
        image1: the target, the image that they are looked for in.
        source_map: returns descriptors of the source in a pose, masked.
        target_map: returns descriptors of the target, masked.
        poses: the poses of the source to choose from.
        config: how to match.
        schema: what named points mean.
        masked: whether masks say which cells show the objects; otherwise saliency does.
    """

    def __init__(
        self,
        image0: Features,
        image1: Features,
        source_map: Callable[[PoseVariant], DescriptorMap],
        target_map: Callable[[], DescriptorMap],
        poses: Sequence[PoseVariant],
        config: MatcherConfig,
        schema: KeypointSchema | None = None,
        masked: bool = False,
    ):
        self.image0 = image0
        self.image1 = image1
        self.poses = tuple(poses)
        self.config = config
        self.schema = schema
        self.masked = masked
        self._extract_source, self._extract_target = source_map, target_map
        self._source_maps: dict[PoseVariant, DescriptorMap] = {}
        self._consensus: dict[PoseVariant, Consensus | None] = {}
        self._dense: dict[PoseVariant, tuple[_Dense, _Dense]] = {}
        self._scores: dict[PoseVariant, float] = {}

    def __repr__(self) -> str:
        sizes = " and ".join(
            f"{image.width} x {image.height}" for image in (self.image0, self.image1)
        )
        return f"ImagePair({sizes}, poses={[pose.name for pose in self.poses]})"

    def source_map(self, pose: PoseVariant) -> DescriptorMap:
        """Descriptors of the source in a pose."""
        if pose not in self._source_maps:
            self._source_maps[pose] = self._extract_source(pose)
        return self._source_maps[pose]

    @cached_property
    def target_map(self) -> DescriptorMap:
        """Descriptors of the target."""
        return self._extract_target()

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
                return Alignment(pose, "heading")
        distances = {pose: self.distance(pose) for pose in self.poses}
        return Alignment(min(distances, key=distances.__getitem__), "distance", distances)

    def distance(self, pose: PoseVariant | None = None) -> float:
        """The instance matching distance of the source, in a pose, to the target.

        With masks, as published: the mean over the source's cells of the distance to the nearest
        of the target's. Without, symmetric, and weighted by saliency.

        Args:
            pose: of the source; None for the best one.
        """
        source = self.source_map(self.alignment.pose if pose is None else pose)
        target = self.target_map
        if self.masked:
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

    def reversed(self) -> ImagePair:
        """The same pair asked the other way: points of the target, looked for in the source.

        The source stays in its best pose.
        """
        pose = self.alignment.pose
        return ImagePair(
            self.image1, self.image0, lambda _: self.target_map, lambda: self.source_map(pose),
            [IDENTITY], self.config, masked=self.masked,
        )  # fmt: skip

    def consensus(self, pose: PoseVariant) -> Consensus | None:
        """The consensus of the source in a pose with the target; None if the model uses none."""
        if pose not in self._consensus:
            self._consensus[pose] = _consensus(self.source_map(pose), self.target_map, self.config)
        return self._consensus[pose]

    def transfer(self, points: PointsLike, point_ids: Sequence[int | str] | None = None) -> Matches:
        """Match given points of the source.

        Points are *named* if the pair has a schema that knows left from right, otherwise *free*.
        A flip exchanges left and right. Named points know their mirror counterparts: in the
        flipped image the left paw is looked for where the right paw was. Free points do not, so
        for them a flip is reported (`Matches.warning`) but not used.

        Args:
            points: (x, y) in pixels of the source, K of them.
            point_ids: ids or names of the points in the schema; may be left out if the points
                are all its keypoints in order.

        Raises:
            HomologError: an argument cannot be used; the message names it.
        """
        keypoints0, ids, pose, warning = self._named(points, point_ids)
        keypoints1, scores = np.empty_like(keypoints0), np.empty(len(keypoints0))
        found_in_pose = np.full(len(keypoints0), True)
        for rows, own_pose, queries in self._queries(keypoints0, ids, pose):
            found, similarity = self._match_points(queries, own_pose)
            keypoints1[rows] = self._target_points(found[1])
            scores[rows] = self._confidence(own_pose, *found, similarity)
            found_in_pose[rows] = own_pose == pose
        return self._matches(keypoints0, keypoints1, scores, pose, warning, ids, found_in_pose)

    def transfer_points(
        self, points: PointsLike, point_ids: Sequence[int | str] | None = None
    ) -> Float[np.ndarray, "K 2"]:
        """The `keypoints1` of `transfer` without confidence, which is quicker.

        Arguments and errors are those of `transfer`.
        """
        keypoints0, ids, pose, _ = self._named(points, point_ids)
        keypoints1 = np.empty_like(keypoints0)
        for rows, own_pose, queries in self._queries(keypoints0, ids, pose):
            (_, targets), _ = self._match_points(queries, own_pose)
            keypoints1[rows] = self._target_points(targets)
        return keypoints1

    def similarity(self, points: PointsLike) -> Float[Tensor, "K H W"]:
        """The similarity of free points of the source to every cell of the target.

        Args:
            points: (x, y) in pixels of the source.

        Raises:
            HomologError: a point cannot be used.
        """
        pose, _ = self.alignment.select_pose(flip=False)
        _, similarity = self._match_points(as_points(points, self.image0.size), pose)
        return similarity

    def heatmap(self, points: PointsLike) -> Heatmap:
        """Where in the target each of K free points of the source could be.

        Args:
            points: (x, y) in pixels of the source.

        Raises:
            HomologError: a point cannot be used.
        """
        keypoints0 = as_points(points, self.image0.size)
        pose, warning = self.alignment.select_pose(flip=False)
        found, similarity = self._match_points(keypoints0, pose)
        scores = self._confidence(pose, *found, similarity)
        keypoints1 = self._target_points(found[1])
        matches = self._matches(keypoints0, keypoints1, scores, pose, warning)
        return Heatmap(self.target_map.transform, similarity.cpu().numpy(), matches)

    def match(self, max_matches: int = 200) -> Matches:
        """Mutual nearest neighbours on the two objects, best first.

        The source's points are centres of cells, the target's lie between cells. Without masks,
        objects are what is salient. Of more than `max_matches`, those are kept that are good and
        far apart (`matching.adaptive_nms`).

        Args:
            max_matches: how many to return at most.

        Raises:
            HomologError: `max_matches` is less than 1.
        """
        if max_matches < 1:
            raise HomologError(f"max_matches: expected at least 1, got {max_matches}")
        pose, warning = self.alignment.select_pose(flip=False)
        source, target = self.source_map(pose), self.target_map
        (peaks0, targets, scores), (peaks1, _, _) = self._match_cells(pose)
        grid0, grid1 = source.transform.grid, target.transform.grid
        forward = peaks0[:, 1] * grid1.width + peaks0[:, 0]
        backward = peaks1[:, 1] * grid0.width + peaks1[:, 0]
        index = source.matchable_HW.flatten().nonzero().flatten()
        index = index[backward[forward[index]] == index]
        saliency = source.saliency_HW.flatten()[index]
        saliency = saliency * target.saliency_HW.flatten()[forward[index]]
        if saliency.any():
            index, saliency = index[saliency > 0], saliency[saliency > 0]
        cells = torch.from_numpy(grid0.cells).to(scores)
        index = index[matching.adaptive_nms(cells[index], scores[index] * saliency, max_matches)]
        index = index[scores[index].argsort(descending=True, stable=True)]
        keypoints0 = source.transform.clip(source.transform.to_points(_array(cells[index])))
        keypoints1 = self._target_points(targets[index])
        return self._matches(keypoints0, keypoints1, _array(scores[index]), pose, warning)

    def flow(self, flip: bool = False) -> Flow:
        """Dense correspondence, both ways.

        Args:
            flip: whether the source as a whole may be mirrored where that fits better, as for
                warping; otherwise a flip is reported (`Flow.warning`) but not used.
        """
        pose, warning = self.alignment.select_pose(flip)
        source, target = self.source_map(pose), self.target_map
        forward, backward = self._match_cells(pose)
        return Flow(
            _flow_field(source, target, forward, backward),
            _flow_field(target, source, backward, forward),
            self._score(pose), pose.name, warning, self.image0.image, self.image1.image,
        )  # fmt: skip

    def _named(
        self, points: PointsLike, point_ids: Sequence[int | str] | None
    ) -> tuple[Float[np.ndarray, "K 2"], tuple[int, ...] | None, PoseVariant, str | None]:
        """Points and their ids; the pose to match them in, and what there is to warn of."""
        keypoints0 = as_points(points, self.image0.size)
        if self.schema is None:
            if point_ids is not None:
                raise HomologError(
                    "point_ids: expected a schema that says what they mean, got none"
                )
            return keypoints0, None, *self.alignment.select_pose(flip=False)
        ids = self.schema.resolve(point_ids, len(keypoints0))
        return keypoints0, ids, *self.alignment.select_pose(flip=self.schema.sides_known)

    def _queries(
        self,
        keypoints0: Float[np.ndarray, "K 2"],
        ids: tuple[int, ...] | None,
        pose: PoseVariant,
    ) -> list[tuple[Bool[np.ndarray, "K"], PoseVariant, Float[np.ndarray, "_P 2"]]]:
        """Which rows to look for in which pose, and where in the source to query them."""
        if self.schema is None or ids is None or not (pose.flip and self.schema.sides_known):
            return [(np.full(len(keypoints0), True), pose, keypoints0)]
        queries, known = mirror_queries(keypoints0, ids, self.schema)
        parts = ((known, pose), (~known, IDENTITY))
        return [(rows, own_pose, queries[rows]) for rows, own_pose in parts if rows.any()]

    def _match_points(
        self, points: Float[np.ndarray, "K 2"], pose: PoseVariant
    ) -> tuple[tuple[Float[Tensor, "K 2"], Float[Tensor, "K 2"]], Float[Tensor, "K H W"]]:
        """Points in source cells, their matches in target cells, and the similarity maps."""
        source, target, consensus = self.source_map(pose), self.target_map, self.consensus(pose)
        cells = torch.from_numpy(source.transform.to_cells(points)).to(source.descriptors_HWC)
        if consensus is None:
            queries = matching.sample_descriptors(source.descriptors_HWC, cells)
            found = matching.similarity(queries, target.descriptors_HWC, target.matchable_HW)
        else:
            found = consensus.similarity(cells)
        targets = matching.window_soft_argmax(found, self.config.window, self.config.temperature)
        return (cells, targets), found

    def _target_points(self, cells: Float[Tensor, "K 2"]) -> Float[np.ndarray, "K 2"]:
        transform = self.target_map.transform
        return transform.clip(transform.to_points(_array(cells)))

    def _confidence(
        self,
        pose: PoseVariant,
        cells: Float[Tensor, "K 2"],
        targets: Float[Tensor, "K 2"],
        similarity: Float[Tensor, "K H W"],
    ) -> Float[np.ndarray, "K"]:
        source = self.source_map(pose)
        return _array(
            matching.cycle_confidence(
                source.descriptors_HWC, self.target_map.descriptors_HWC,
                source.valid_HW, cells, targets, similarity,
            )
        )  # fmt: skip

    def _score(self, pose: PoseVariant) -> float:
        if pose not in self._scores:
            source, target = self.source_map(pose), self.target_map
            self._scores[pose] = matching.pair_similarity(
                source.descriptors_HWC, target.descriptors_HWC,
                source.matchable_HW, target.matchable_HW,
            )  # fmt: skip
        return self._scores[pose]

    def _matches(
        self,
        keypoints0: Float[np.ndarray, "K 2"],
        keypoints1: Float[np.ndarray, "K 2"],
        scores: Float[np.ndarray, "K"],
        pose: PoseVariant,
        warning: str | None,
        ids: tuple[int, ...] | None = None,
        found_in_pose: Bool[np.ndarray, "K"] | None = None,
    ) -> Matches:
        names = None
        if self.schema is not None and ids is not None:
            names = tuple(self.schema.names[i] for i in ids)
        distances = self.alignment.distances or {}
        return Matches(
            keypoints0=keypoints0,
            keypoints1=keypoints1,
            matching_scores=scores,
            pair_score=self._score(pose),
            pose=pose.name,
            pose_distances={pose.name: distance for pose, distance in distances.items()},
            found_in_pose=np.full(len(scores), True) if found_in_pose is None else found_in_pose,
            point_ids=ids,
            point_names=names,
            warning=warning,
            size0=self.image0.size,
            size1=self.image1.size,
            image0=self.image0.image,
            image1=self.image1.image,
        )

    def _match_cells(self, pose: PoseVariant) -> tuple[_Dense, _Dense]:
        """The match of every cell of the source, and of every cell of the target."""
        if pose not in self._dense:
            self._dense[pose] = self._match_all(pose)
        return self._dense[pose]

    def _match_all(self, pose: PoseVariant) -> tuple[_Dense, _Dense]:
        source, target, config = self.source_map(pose), self.target_map, self.config
        similarity = source.descriptors_HWC.flatten(0, 1) @ target.descriptors_HWC.flatten(0, 1).T
        forward = _one_way(similarity, self.consensus(pose), target, config)
        backward = _one_way(similarity.T, _consensus(target, source, config), source, config)
        similarity[~source.matchable_HW.flatten()] = _FLOOR
        similarity[:, ~target.matchable_HW.flatten()] = _FLOOR
        grid0, grid1 = source.transform.grid.shape, target.transform.grid.shape
        back0 = matching.cycle_log_prob(similarity, forward[1], grid0, grid1)
        back1 = matching.cycle_log_prob(similarity.T, backward[1], grid1, grid0)
        return (
            (*forward[:2], matching.match_confidence(forward[2], back0)),
            (*backward[:2], matching.match_confidence(backward[2], back1)),
        )


def _consensus(
    source: DescriptorMap, target: DescriptorMap, config: MatcherConfig
) -> Consensus | None:
    if config.consensus is None:
        return None
    return Consensus(
        source.descriptors_HWC, target.descriptors_HWC, source.saliency_HW, target.saliency_HW,
        source.matchable_HW, target.matchable_HW, config.consensus,
    )  # fmt: skip


def _one_way(
    similarity_NM: Float[Tensor, "N M"],
    consensus: Consensus | None,
    target: DescriptorMap,
    config: MatcherConfig,
) -> _Dense:
    """Best cells, positions between cells, and logarithms of the probability around these."""
    shape = target.transform.grid.shape

    def maps_of(rows_K: Tensor) -> Tensor:
        if consensus is not None:
            return consensus.rows(similarity_NM, rows_K)
        found = similarity_NM[rows_K].unflatten(1, shape)
        return found.masked_fill_(~target.matchable_HW, -torch.inf)

    return matching.dense_matches(
        maps_of, len(similarity_NM), config.window, config.temperature, similarity_NM.device
    )


def _flow_field(
    source: DescriptorMap, target: DescriptorMap, forward: _Dense, backward: _Dense
) -> FlowField:
    """The flow in pixels, from both directions' matches in cells and their confidence."""
    transform0, transform1 = source.transform, target.transform
    targets, scores, returns = (_array(x) for x in (forward[1], forward[2], backward[1]))
    matchable = source.matchable_HW.cpu().numpy()
    # Cells beside the image, or off the mask, have no match of their own: they go where the
    # nearest cell goes that has one, so that values between cells are right up to the border.
    cells = transform0.grid.cells
    kept = np.flatnonzero(matchable)
    nearest, _ = matching.nearest_neighbours(torch.from_numpy(cells), torch.from_numpy(cells[kept]))
    targets, scores = targets[kept[nearest]], scores[kept[nearest]]
    points1 = transform1.clip(transform1.to_points(targets))
    returned = interpolate(returns.reshape(*transform1.grid.shape, 2), targets)
    error = np.linalg.norm(transform0.to_points(returned) - transform0.to_points(cells), axis=1)
    error = error.reshape(matchable.shape)
    return FlowField(
        transform0,
        transform1,
        points1.reshape(*matchable.shape, 2),
        scores.reshape(matchable.shape),
        error,
        matchable & (error <= _CONSISTENT * max(transform0.size)),
    )


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.double().cpu().numpy()
