"""Two images prepared for each other: every match, flow and heatmap is asked of such a pair."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from homolog import matching
from homolog.config import MatcherConfig
from homolog.dense import DenseMatcher, MutualMatches
from homolog.descriptors import DescriptorMap, Features
from homolog.errors import HomologError
from homolog.flow import Flow, FlowField
from homolog.image.geometry import CanvasTransform
from homolog.image.points import PointsLike, as_points
from homolog.image.poses import IDENTITY, PoseVariant, as_pose
from homolog.keypoints import KeypointSchema
from homolog.matching.alignment import FLIPPED, Alignment, mirror_queries
from homolog.prepared import PreparedPair
from homolog.refining import Look, Refiner
from homolog.results import Heatmap, Matches


class ImagePair(PreparedPair):
    """Two images prepared for each other; made by `Matcher.pair`, asked as often as wanted.

    Descriptors, pose alignment and consensus are computed once, when they are first needed.

    Args:
        image0: the source, the image that points are given on.
        image1: the target, the image that they are looked for in.
        describe: returns descriptors of an image in a pose.
        poses: the poses of the source to choose from.
        config: how to match.
        schema: what named points mean.
        mask0: the source's pixels that show the object; None where saliency says so.
        mask1: the same for the target.
        whole: the whole images, where these are regions of them joined with them; points of the
            source beyond its region are matched there.
        refiner: moves matches to where closer looks agree; None to leave them where they are.
    """

    def __init__(
        self,
        image0: Features,
        image1: Features,
        describe: Callable[[Features, PoseVariant], DescriptorMap],
        poses: Sequence[PoseVariant],
        config: MatcherConfig,
        schema: KeypointSchema | None = None,
        mask0: Bool[np.ndarray, "height width"] | None = None,
        mask1: Bool[np.ndarray, "height2 width2"] | None = None,
        whole: ImagePair | None = None,
        refiner: Refiner | None = None,
    ):
        super().__init__(image0, image1, describe, poses, config, mask0, mask1)
        self.schema = schema
        self.whole = whole
        self.refiner = refiner
        self._dense: dict[PoseVariant, DenseMatcher] = {}

    def reversed(self, pose: PoseVariant | None = None) -> ImagePair:
        """The same pair asked the other way: points of the target, matched in the source.

        The source keeps its pose, so that nothing is extracted again. All points are free: if the
        source is flipped, left and right are exchanged, and results warn of it.

        Args:
            pose: the pose of the source; None for the best one.
        """
        kept = self.alignment.pose if pose is None else as_pose(pose)
        pair = ImagePair(
            self.image1, self.image0, self._describe, [IDENTITY], self.config,
            mask0=self._mask1, mask1=self._mask0,
            whole=None if self.whole is None else self.whole.reversed(kept), refiner=self.refiner,
        )  # fmt: skip
        pair._source_maps[IDENTITY] = self.placed(self.target_map, "source")
        pair.__dict__["target_map"] = self.placed(self.source_map(kept), "target")
        if kept.flip:
            pair.__dict__["alignment"] = Alignment(IDENTITY, "request", warning=FLIPPED)
        return pair

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
        keypoints0, ids, pose, warning, parts = self._queries(points, point_ids)
        keypoints1, scores = np.empty_like(keypoints0), np.empty(len(keypoints0))
        calibrated = self.config.score_calibration is not None
        visible = np.full(len(keypoints0), True) if calibrated else None
        found_in_pose = np.full(len(keypoints0), True)
        for rows, own_pose, queries, pair in parts:
            first, scores[rows], seen, similarity = pair._match_points(queries, own_pose)
            keypoints1[rows] = pair._refined(queries, own_pose, first, similarity)
            if visible is not None:
                visible[rows] = seen
            found_in_pose[rows] = own_pose == pose
        return self._matches(
            keypoints0, keypoints1, scores, visible, pose, warning, ids, found_in_pose
        )

    def transfer_points(
        self, points: PointsLike, point_ids: Sequence[int | str] | None = None
    ) -> Float[np.ndarray, "K 2"]:
        """The `keypoints1` of `transfer` without confidence, which is quicker.

        Arguments and errors are those of `transfer`.
        """
        return self.transfer_with_maps(points, point_ids)[0]

    def transfer_with_maps(
        self, points: PointsLike, point_ids: Sequence[int | str] | None = None
    ) -> tuple[
        Float[np.ndarray, "K 2"],
        list[tuple[Bool[np.ndarray, "K"], CanvasTransform, Float[Tensor, "_K _H _W"]]],
    ]:
        """The points that `transfer_points` returns, and the similarity maps they are read from.

        Arguments and errors are those of `transfer`.

        Returns:
            The points, and for each part of them that is matched alike which ones they are, from
            points of the target to cells of their maps, and the maps; -inf where no match may lie.
        """
        keypoints0, _, _, _, parts = self._queries(points, point_ids)
        keypoints1, maps = np.empty_like(keypoints0), []
        for rows, pose, queries, pair in parts:
            first, *_, similarity = pair._match_points(queries, pose, confidence=False)
            keypoints1[rows] = pair._refined(queries, pose, first, similarity)
            maps.append((rows, pair.target_map.transform, similarity))
        return keypoints1, maps

    def similarity(self, points: PointsLike) -> Float[Tensor, "K H W"]:
        """The similarity of free points of the source to every cell of the target.

        Args:
            points: (x, y) in pixels of the source.

        Raises:
            HomologError: a point cannot be used.
        """
        pose, _ = self.alignment.select_pose(flip=False)
        keypoints0 = as_points(points, self.image0.size)
        self._check_region(keypoints0)
        _, _, _, similarity = self._match_points(keypoints0, pose, confidence=False)
        return similarity

    def heatmap(self, points: PointsLike) -> Heatmap:
        """Where in the target each of K free points of the source could be.

        Args:
            points: (x, y) in pixels of the source.

        Raises:
            HomologError: a point cannot be used.
        """
        keypoints0 = as_points(points, self.image0.size)
        self._check_region(keypoints0)
        pose, warning = self.alignment.select_pose(flip=False)
        keypoints1, scores, visible, similarity = self._match_points(keypoints0, pose)
        matches = self._matches(keypoints0, keypoints1, scores, visible, pose, warning)
        return Heatmap(self.target_map.transform, similarity.cpu().numpy(), matches)

    def match(self, max_matches: int = 200) -> Matches:
        """Mutual nearest neighbours on the two objects, spread over these, the best first.

        The source's points are centres of cells, the target's lie between cells. Without masks,
        objects are what a side head recognises, or what is salient. The best come first of those
        that are a tenth of the objects' size apart, then the best of those between them, and so on
        (`matching.spread_matches`): the first ones of many are the few that would be returned.

        Args:
            max_matches: how many to return at most.

        Raises:
            HomologError: `max_matches` is less than 1.
        """
        whole = isinstance(max_matches, (int, np.integer)) and not isinstance(max_matches, bool)
        if not whole or max_matches < 1:
            raise HomologError(
                f"max_matches: expected a whole number from 1 on, got {max_matches!r}"
            )
        pose, warning = self.alignment.select_pose(flip=False)
        source, target = self.source_map(pose), self.target_map
        dense, scorer = self._dense_matcher(pose), self.scorer(pose)
        mutual = dense.mutual()
        on_object = [
            likelihood.flatten()[cells]
            for likelihood, cells in zip(
                scorer.objects, (mutual.cells_P, mutual.partners_P), strict=True
            )
        ]
        likely = on_object[0] * on_object[1]
        if (likely > 0).any():
            mutual, likely = mutual.select(likely > 0), likely[likely > 0]
        ends = mutual.sources_P2, mutual.targets_P2
        scores, visible = scorer(*ends, mutual.confidence_P)
        chosen = scorer.spread(*ends, scores * likely, max_matches)
        if dense.large:
            ends, scores, visible = self._read_exactly(mutual.select(chosen), pose)
            chosen = scorer.spread(*ends, scores, max_matches)
        found = [each[chosen].double().cpu().numpy() for each in (*ends, scores)]
        seen = None if visible is None else visible[chosen].cpu().numpy()
        keypoints0 = source.transform.to_points(found[0], clip=True)
        keypoints1 = target.transform.to_points(found[1], clip=True)
        if self.refiner is not None:
            _, _, _, similarity = self._match_points(keypoints0, pose, confidence=False)
            keypoints1 = self._refined(keypoints0, pose, keypoints1, similarity)
        return self._matches(keypoints0, keypoints1, found[2], seen, pose, warning)

    def flow(self, flip: bool = False) -> Flow:
        """Dense correspondence, both ways.

        Args:
            flip: whether the source as a whole may be mirrored where that fits better, as for
                warping; otherwise a flip is reported (`Flow.warning`) but not used.
        """
        if not isinstance(flip, (bool, np.bool_)):
            raise HomologError(f"flip: expected True or False, got {flip!r}")
        pose, warning = self.alignment.select_pose(bool(flip))
        source, target = self.source_map(pose), self.target_map
        forward, backward = self._dense_matcher(pose).matches
        back = self.placed(target, "source"), self.placed(source, "target")
        return Flow(
            FlowField.from_matches(source, target, forward, backward[1]),
            FlowField.from_matches(*back, backward, forward[1]),
            self._score(pose), pose.name, warning, self.image0.image, self.image1.image,
        )  # fmt: skip

    def _read_exactly(
        self, mutual: MutualMatches, pose: PoseVariant
    ) -> tuple[
        tuple[Float[Tensor, "P 2"], Float[Tensor, "P 2"]],
        Float[Tensor, "P"],
        Bool[Tensor, "P"] | None,
    ]:
        """Matches of large maps, their scores, and what is visible, from all of the target's cells.

        Without those that are not each other's best of all cells, which coarse to fine may miss.
        """
        width = self.target_map.valid_HW.shape[1]
        mutual = mutual.select(self._dense_matcher(pose).return_exactly(mutual))
        parts, seen = [], []
        for rows in torch.arange(len(mutual.cells_P)).split(self.rows_at_once(pose)):
            some = mutual.select(rows)
            found, scores, visible, similarity = self._match_at(some.sources_P2, pose)
            assert scores is not None
            x, y = matching.argmax(similarity).unbind(1)
            best = y * width + x == some.partners_P
            parts.append((some.sources_P2[best], found[best], scores[best]))
            if visible is not None:
                seen.append(visible[best])
        starts, ends, scores = (torch.cat(part) for part in zip(*parts, strict=True))
        return (starts, ends), scores, torch.cat(seen) if seen else None

    def _queries(
        self, points: PointsLike, point_ids: Sequence[int | str] | None
    ) -> tuple[
        Float[np.ndarray, "K 2"],
        tuple[int, ...] | None,
        PoseVariant,
        str | None,
        list[tuple[Bool[np.ndarray, "K"], PoseVariant, Float[np.ndarray, "_P 2"], ImagePair]],
    ]:
        """Points, ids, pose and its warning; which rows to query in which pose, where, and in what.

        Points beyond the region that was zoomed in on are matched in the whole images.
        """
        keypoints0 = as_points(points, self.image0.size)
        if self.whole is None:
            self._check_region(keypoints0)
        ids = None
        if self.schema is not None:
            ids = self.schema.resolve(point_ids, len(keypoints0))
        elif point_ids is not None:
            raise HomologError("point_ids: expected a schema that says what they mean, got none")
        sides_known = self.schema is not None and self.schema.sides_known
        pose, warning = self.alignment.select_pose(flip=sides_known)
        queries, in_pose = keypoints0, np.full(len(keypoints0), True)
        if pose.flip and self.schema is not None and ids is not None and sides_known:
            queries, in_pose = mirror_queries(keypoints0, ids, self.schema)
        in_region = np.full(len(queries), True)
        if self.image0.region is not None:
            in_region = self.image0.region.contains(queries)
        parts = [
            (rows, own_pose, queries[rows], pair)
            for own_pose, posed in ((pose, in_pose), (IDENTITY, ~in_pose))
            for pair, alike in ((self, posed & in_region), (self.whole, posed & ~in_region))
            if pair is not None
            for rows in pair.at_once(alike, own_pose)
        ]
        return keypoints0, ids, pose, warning, parts

    def _check_region(self, points: Float[np.ndarray, "K 2"]) -> None:
        """Refuse points beyond the part of the source that the descriptors are of."""
        region = self.image0.region
        if region is None or (inside := region.contains(points)).all():
            return
        index = int(np.argmin(inside))
        x, y = points[index]
        raise HomologError(
            f"points: expected points in the region {region.to_list()} around the source's box, "
            f"got ({x:g}, {y:g}) at index {index}; try a larger box"
        )

    def _refined(
        self,
        points0: Float[np.ndarray, "K 2"],
        pose: PoseVariant,
        points1: Float[np.ndarray, "K 2"],
        similarity: Float[Tensor, "K H W"],
    ) -> Float[np.ndarray, "K 2"]:
        """Matches of points of the source in a pose after closer looks, if these are wanted."""
        if self.refiner is None:
            return points1
        similarity = similarity / (
            self.source_map(pose).typical_length * self.target_map.typical_length
        )
        source = Look(self.image0, self.source_map(pose), self._mask0)
        target = Look(self.image1, self.target_map, self._mask1)
        return self.refiner.refine(source, target, points0, points1, similarity)

    def _matches(
        self,
        keypoints0: Float[np.ndarray, "K 2"],
        keypoints1: Float[np.ndarray, "K 2"],
        scores: Float[np.ndarray, "K"],
        visible: Bool[np.ndarray, "K"] | None,
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
            region0=self.image0.region,
            region1=self.image1.region,
            visible=visible,
        )

    def _dense_matcher(self, pose: PoseVariant) -> DenseMatcher:
        """What matches all cells of the source, in a pose, and of the target."""
        if pose not in self._dense:
            consensus = self.consensus(pose), self.reversed(pose).consensus(IDENTITY)
            self._dense[pose] = DenseMatcher(
                self.source_map(pose), self.target_map, consensus, self.config
            )
        return self._dense[pose]
