"""The whole way, from two pictures to matching points."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast, overload

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from homolog import features as backbones
from homolog import images, matching
from homolog.errors import HomologError
from homolog.features import Backbone, FeatureCache, FusionConfig, fuse
from homolog.geometry import IDENTITY, Pose, PoseSet, View, as_poses, interpolate
from homolog.guidance import GuidanceConfig, Guide
from homolog.images import MAX_PIXELS
from homolog.keypoints import KeypointSchema
from homolog.points import PointsLike, as_points
from homolog.pose import instance_matching_distance, weighted_distance
from homolog.types import (
    Features,
    FeaturesLike,
    Flow,
    FlowField,
    Heatmap,
    MaskLike,
    Matches,
    PosedFeatures,
    is_one_picture,
)

PosesLike = PoseSet | Pose | Sequence[str | Pose]


@dataclass(frozen=True)
class MatcherConfig:
    """Everything that decides where a point goes.

    Attributes:
        backbone: name of a registered backbone.
        fusion: how its maps become descriptors.
        window: half-width of the soft-argmax window, in cells; None for all cells.
        temperature: of the soft-argmax.
        guidance: how much the rest of both pictures guides where a point goes; None for similarity
            alone, as published.
        same_kind: the pair score from which two pictures probably show things of one kind.
    """

    backbone: str
    fusion: FusionConfig
    window: int | None
    temperature: float
    guidance: GuidanceConfig | None
    same_kind: float


def embedded() -> MatcherConfig:
    """The default: EfficientNet-Lite0 and -Lite2, chosen as told in docs/experiments.md."""
    lite0, lite2 = (0.36, 0.36, 0.36), (1.0, 1.0, 1.0)
    return MatcherConfig(
        backbone="efficientnet-lite",
        fusion=FusionConfig(
            groups=((0,), (1,), (2,), (3,), (4,), (5,)),
            weights=lite0 + lite2,
            kernel=2.0,
            center=True,
        ),
        window=4,
        temperature=0.02,
        guidance=GuidanceConfig(),
        same_kind=0.42,
    )


PRESETS: Mapping[str, Callable[[], MatcherConfig]] = {"embedded": embedded}


class Matcher:
    """Finds the parts of a thing in one picture on a thing of its kind in another.

    Wherever a picture is taken, a path, a `PIL.Image`, an array, a tensor or the `Features` of
    an earlier `extract` will do; with `Features`, nothing is computed twice.

    Args:
        backbone: turns canvases into feature maps.
        config: the rest.
        max_pixels: refuse picture files with more pixels than this.
        cache: keeps the backbone's maps on disk.
    """

    def __init__(
        self,
        backbone: Backbone,
        config: MatcherConfig,
        max_pixels: int = MAX_PIXELS,
        cache: FeatureCache | None = None,
    ):
        self.backbone = backbone
        self.config = config
        self.max_pixels = max_pixels
        self.cache = cache
        # Of all the configuration, features depend on these alone.
        self._made_by = json.dumps([config.backbone, dataclasses.asdict(config.fusion)])

    @classmethod
    def from_pretrained(
        cls,
        name: str = "embedded",
        *,
        device: str | torch.device | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> Matcher:
        """A matcher with its weights.

        Args:
            name: a preset; `embedded` comes with the package and needs nothing more.
            device: where to compute; a CUDA device if there is one, otherwise the CPU.
            max_pixels: refuse picture files with more pixels than this.

        Raises:
            HomologError: there is no such preset or device, or weights are missing or damaged.
        """
        if name not in PRESETS:
            raise HomologError(f"name: {name!r} is none of {', '.join(PRESETS)}")
        config = PRESETS[name]()
        try:
            place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
            torch.empty(0, device=place)
        except (RuntimeError, AssertionError):
            raise HomologError(f"device: {str(device)!r} is not available here") from None
        return cls(backbones.create(config.backbone, place), config, max_pixels)

    def replace(self, **changes: Any) -> Matcher:
        """A matcher with the same backbone and some of its configuration changed.

        Features extracted by the one are taken by the other, unless `fusion` is changed.

        Args:
            changes: fields of `MatcherConfig`, such as `window=7`.
        """
        config = dataclasses.replace(self.config, **changes)
        return Matcher(self.backbone, config, self.max_pixels, self.cache)

    def read(self, picture: FeaturesLike, name: str = "image") -> Features:
        """A picture read, in no pose yet: features that will be filled when they are needed.

        Args:
            picture: a picture; features are checked and returned as they are.
            name: what error messages call it.

        Raises:
            HomologError: it cannot be read, or its features come from another matcher.
        """
        if isinstance(picture, Features):
            if picture.made_by != self._made_by:
                raise HomologError(f"{name}: its features were extracted by another matcher")
            return picture
        read = images.read(picture, side=self.backbone.side, max_pixels=self.max_pixels, name=name)
        return Features(read.width, read.height, read.image, self._made_by)

    @overload
    def extract(  # type: ignore[overload-overlap]  # a path is a sequence of strings, too
        self, pictures: FeaturesLike, poses: PosesLike = "none"
    ) -> Features: ...

    @overload
    def extract(
        self, pictures: Iterable[FeaturesLike], poses: PosesLike = "none"
    ) -> list[Features]: ...

    def extract(
        self, pictures: FeaturesLike | Iterable[FeaturesLike], poses: PosesLike = "none"
    ) -> Features | list[Features]:
        """Features of a picture, or of several, to be used again.

        Args:
            pictures: a picture, or several; an array or a tensor is one picture.
            poses: the poses that will be wanted; others are added when first asked for.

        Raises:
            HomologError: a picture cannot be read.
        """
        wanted = as_poses(poses)
        if is_one_picture(pictures):
            features = self.read(pictures)
            for pose in wanted:
                self._posed(features, pose)
            return features
        several = cast(Iterable[FeaturesLike], pictures)
        read = [self.read(picture, f"image {i}") for i, picture in enumerate(several)]
        return [self.extract(features, wanted) for features in read]

    def transfer(
        self,
        image0: FeaturesLike,
        image1: FeaturesLike,
        points: PointsLike,
        schema: KeypointSchema | None = None,
        point_ids: Sequence[int | str] | None = None,
        *,
        poses: PosesLike = "none",
        mask0: MaskLike | None = None,
        mask1: MaskLike | None = None,
    ) -> Matches:
        """Find given points of one picture in another.

        With several `poses` the first picture is tried in each, and the one with the least
        instance matching distance is matched ("adaptive pose alignment", Zhang et al., CVPR
        2024). A flip exchanges left and right. *Named* points, that is with a schema, know their
        counterparts: in the flipped picture the left paw is looked for where the right paw was.
        *Free* points do not, so for them a flip is compared and reported (`Matches.note`) but not
        used; rotations are. A single pose given as a list, such as `["flip"]`, is used as it is.

        Args:
            image0: the picture the points are on.
            image1: the picture they are looked for in.
            points: (x, y) in pixels of the first picture, K of them.
            schema: what the points mean; needed for flips.
            point_ids: ids or names of the points in the schema; may be left out if the points
                are all keypoints of the schema in order.
            poses: `none`, `flip`, `rotations`, `all`, or a list of poses.
            mask0: the thing in the first picture (a grey picture or an array of its size, not
                zero where the thing is); with it, poses are compared over the thing alone.
            mask1: the thing in the second picture; answers lie on it.

        Raises:
            HomologError: an argument cannot be used; the message names it.
        """
        search = self._search(image0, image1, points, schema, point_ids, poses, mask0, mask1)
        scores, posed = np.empty(len(search.keypoints0)), np.full(len(search.keypoints0), True)
        for part in search.parts:
            scores[part.rows] = _array(self._scores(part))
            posed[part.rows] = part.pair.pose == search.pair.pose
        return search.pair.matches(
            search.keypoints0, search.keypoints1, scores, posed, search.point_ids
        )

    def locate(
        self,
        image0: FeaturesLike,
        image1: FeaturesLike,
        points: PointsLike,
        schema: KeypointSchema | None = None,
        point_ids: Sequence[int | str] | None = None,
        *,
        poses: PosesLike = "none",
        mask0: MaskLike | None = None,
        mask1: MaskLike | None = None,
    ) -> Float[np.ndarray, "K 2"]:
        """The `keypoints1` of `transfer`, without scores, at a third of its cost.

        Arguments and errors are those of `transfer`.
        """
        search = self._search(image0, image1, points, schema, point_ids, poses, mask0, mask1)
        return search.keypoints1

    def match(
        self,
        image0: FeaturesLike,
        image1: FeaturesLike,
        max_matches: int = 200,
        *,
        poses: PosesLike = "none",
        mask0: MaskLike | None = None,
        mask1: MaskLike | None = None,
    ) -> Matches:
        """Find points that two pictures' things have in common: mutual nearest neighbours.

        The first picture's points are centres of cells, the second's lie between cells. They
        come best first. Without masks, the things are what stands out from the background
        (`matching.foreground`). Of more than `max_matches`, those are kept that are good and far
        apart.

        Args:
            image0: the first picture.
            image1: the second picture.
            max_matches: how many to return at most.
            poses: as for `transfer`; the points are free.
            mask0: the thing in the first picture; matches lie on it.
            mask1: the thing in the second picture; matches lie on it.

        Raises:
            HomologError: an argument cannot be used; the message names it.
        """
        if max_matches < 1:
            raise HomologError(f"max_matches: got {max_matches}, takes at least 1")
        pair = self._read_and_align(image0, image1, poses, mask0, mask1)
        (peaks0, targets, scores), (peaks1, _, _) = self._both_ways(pair)
        view0, view1 = pair.posed0.view, pair.posed1.view
        forward = peaks0[:, 1] * view1.grid.width + peaks0[:, 0]
        backward = peaks1[:, 1] * view0.grid.width + peaks1[:, 0]
        index = pair.side0.allowed_HW.flatten().nonzero().flatten()
        index = index[backward[forward[index]] == index]
        standing_out = pair.side0.weight_HW.flatten()[index]
        standing_out = standing_out * pair.side1.weight_HW.flatten()[forward[index]]
        if standing_out.any():
            index, standing_out = index[standing_out > 0], standing_out[standing_out > 0]
        cells = _tensor(view0.grid.cells, scores)
        index = index[matching.spread(cells[index], scores[index] * standing_out, max_matches)]
        index = index[scores[index].argsort(descending=True, stable=True)]
        return pair.matches(
            view0.clip(view0.to_points(_array(cells[index]))),
            view1.clip(view1.to_points(_array(targets[index]))),
            _array(scores[index]),
        )

    def flow(
        self,
        image0: FeaturesLike,
        image1: FeaturesLike,
        *,
        poses: PosesLike = "none",
        mask0: MaskLike | None = None,
        mask1: MaskLike | None = None,
    ) -> Flow:
        """Where every part of each picture lies in the other.

        Args:
            image0: the first picture.
            image1: the second picture.
            poses: as for `transfer`; the points are free.
            mask0: the thing in the first picture.
            mask1: the thing in the second picture.

        Raises:
            HomologError: an argument cannot be used; the message names it.
        """
        pair = self._read_and_align(image0, image1, poses, mask0, mask1)
        there, back = self._both_ways(pair)
        forward, backward = there[1:], back[1:]
        return Flow(
            _flow_field(pair.posed0, pair.posed1, pair.side0.allowed_HW, forward, backward),
            _flow_field(pair.posed1, pair.posed0, pair.side1.allowed_HW, backward, forward),
            pair.score,
            pair.pose.name,
            pair.note,
        )

    def distance(
        self,
        image0: FeaturesLike,
        image1: FeaturesLike,
        *,
        mask0: MaskLike | None = None,
        mask1: MaskLike | None = None,
    ) -> float:
        """The instance matching distance of two pictures as they are.

        With masks as published: the mean over the first thing's cells of the distance to the
        nearest of the second's. Without, both ways, over what stands out from the background.

        Args:
            image0: the first picture.
            image1: the second picture.
            mask0: the thing in the first picture.
            mask1: the thing in the second picture.

        Raises:
            HomologError: an argument cannot be used; the message names it.
        """
        pair = self._read_and_align(image0, image1, "none", mask0, mask1)
        return _distance(pair.side0, pair.side1, mask0 is not None or mask1 is not None)

    def heatmap(
        self,
        image0: FeaturesLike,
        image1: FeaturesLike,
        points: PointsLike,
        *,
        poses: PosesLike = "none",
        mask0: MaskLike | None = None,
        mask1: MaskLike | None = None,
    ) -> Heatmap:
        """Where in the second picture each of K points of the first could be.

        Args:
            image0: the picture the points are on.
            image1: the picture they are looked for in.
            points: (x, y) in pixels of the first picture.
            poses: as for `transfer`; the points are free.
            mask0: the thing in the first picture.
            mask1: the thing in the second picture.

        Raises:
            HomologError: an argument cannot be used; the message names it.
        """
        search = self._search(image0, image1, points, None, None, poses, mask0, mask1)
        (part,) = search.parts
        scores = _array(self._scores(part))
        found = search.pair.matches(search.keypoints0, search.keypoints1, scores)
        return Heatmap(search.pair.posed1.view, part.similarity_KHW.cpu().numpy(), found)

    # The parts of the way.

    def _posed(self, features: Features, pose: Pose) -> PosedFeatures:
        """Descriptors in a pose; each pose goes through the backbone once."""
        if pose not in features.posed:
            backbone = self.backbone
            view = View(*features.size, pose, backbone.side, backbone.grid)

            def compute() -> Sequence[Tensor]:
                canvas = np.array(view.apply(features.image))
                return backbone(torch.from_numpy(canvas)[None])

            if self.cache is None:
                maps = compute()
            else:
                made_by = f"{self.config.backbone} {backbone.side} {features.size} {pose.name}"
                pixels = features.image.tobytes()
                maps = self.cache.maps(pixels, made_by, backbone.device, compute)
            content = torch.from_numpy(view.content).to(backbone.device)
            fusion = self.config.fusion
            descriptors = fuse(maps, backbone.grids, backbone.grid, content[None], fusion)
            features.posed[pose] = PosedFeatures(view, descriptors[0], content)
        return features.posed[pose]

    def _read_and_align(
        self,
        image0: FeaturesLike,
        image1: FeaturesLike,
        poses: PosesLike,
        mask0: MaskLike | None,
        mask1: MaskLike | None,
    ) -> _Pair:
        source, target = self.read(image0, "image0"), self.read(image1, "image1")
        return self._align(source, target, poses, mask0, mask1)

    def _align(
        self,
        source: Features,
        target: Features,
        poses: PosesLike,
        mask0: MaskLike | None,
        mask1: MaskLike | None,
        named: bool = False,
    ) -> _Pair:
        """The pair with its source in the pose that fits best (adaptive pose alignment)."""
        candidates = as_poses(poses)
        thing0 = self._mask(mask0, source, "mask0")
        thing1 = self._mask(mask1, target, "mask1")
        side1 = self._side(target, IDENTITY, thing1)
        distances = {}
        if len(candidates) > 1:
            masked = mask0 is not None or mask1 is not None
            for pose in candidates:
                distances[pose] = _distance(self._side(source, pose, thing0), side1, masked)
        pose, note = _choose(candidates, distances, named)
        side0 = self._side(source, pose, thing0)
        return _Pair(source, target, thing0, side0, side1, distances, note)

    def _side(self, features: Features, pose: Pose, thing: _Thing | None) -> _Side:
        posed = self._posed(features, pose)
        if thing is None:
            return _Side(posed, posed.content_HW, posed.foreground_HW)
        allowed = torch.from_numpy(posed.view.mask(thing)).to(posed.content_HW.device)
        return _Side(posed, allowed, allowed.float())

    def _mask(self, mask: MaskLike | None, features: Features, name: str) -> _Thing | None:
        if mask is None:
            return None
        return images.read_mask(mask, features.size, max_pixels=self.max_pixels, name=name)

    def _search(
        self,
        image0: FeaturesLike,
        image1: FeaturesLike,
        points: PointsLike,
        schema: KeypointSchema | None,
        point_ids: Sequence[int | str] | None,
        poses: PosesLike,
        mask0: MaskLike | None,
        mask1: MaskLike | None,
    ) -> _Search:
        """Where given points lie in the target, in the pose that fits best."""
        source, target = self.read(image0, "image0"), self.read(image1, "image1")
        keypoints0 = as_points(points, source.size)
        if schema is None and point_ids is not None:
            raise HomologError("point_ids: given without a schema, which says what they mean")
        ids = None if schema is None else schema.resolve(point_ids, len(keypoints0))
        named = schema is not None and schema.sides_known
        pair = self._align(source, target, poses, mask0, mask1, named)
        queries, posed = keypoints0, np.full(len(keypoints0), True)
        if schema is not None and ids is not None and named and pair.pose.flip:
            queries, posed = _counterparts(keypoints0, ids, schema)
        unposed = dataclasses.replace(pair, side0=self._side(source, IDENTITY, pair.thing0))
        parts = [
            self._find(in_pose, rows, queries[rows])
            for in_pose, rows in ((pair, posed), (unposed, ~posed))
            if rows.any()
        ]
        keypoints1, view = np.empty_like(keypoints0), pair.posed1.view
        for part in parts:
            keypoints1[part.rows] = view.clip(view.to_points(_array(part.targets_K2)))
        return _Search(pair, keypoints0, keypoints1, ids, parts)

    def _find(
        self, pair: _Pair, rows: Bool[np.ndarray, "N"], points: Float[np.ndarray, "K 2"]
    ) -> _Part:
        side0, side1 = pair.side0, pair.side1
        source, target = side0.posed.descriptors_HWC, side1.posed.descriptors_HWC
        cells = _tensor(side0.posed.view.to_cells(points), source)
        guide = self._guide(side0, side1)
        if guide is None:
            found = matching.similarity(matching.sample(source, cells), target, side1.allowed_HW)
        else:
            found = guide.similarity(cells)
        targets = matching.window_soft_argmax(found, self.config.window, self.config.temperature)
        return _Part(pair, rows, cells, targets, found)

    @staticmethod
    def _scores(part: _Part) -> Float[Tensor, "K"]:
        """Confidence in answers: whether the way there and the way back are clear."""
        source, target = part.pair.posed0.descriptors_HWC, part.pair.posed1.descriptors_HWC
        backward = matching.similarity(
            matching.sample(target, part.targets_K2), source, part.pair.posed0.content_HW
        )
        return matching.scores(
            matching.window_log_mass(part.similarity_KHW, part.targets_K2),
            matching.window_log_mass(backward, part.cells_K2),
        )

    def _guide(self, side0: _Side, side1: _Side) -> Guide | None:
        if self.config.guidance is None:
            return None
        return Guide(
            side0.posed.descriptors_HWC, side1.posed.descriptors_HWC, side0.weight_HW,
            side1.weight_HW, side0.allowed_HW, side1.allowed_HW, self.config.guidance,
        )  # fmt: skip

    def _both_ways(self, pair: _Pair) -> tuple[_Dense, _Dense]:
        """Where every cell of the source goes in the target, and the reverse."""
        side0, side1 = pair.side0, pair.side1
        source, target = side0.posed.descriptors_HWC, side1.posed.descriptors_HWC
        similarity = source.flatten(0, 1) @ target.flatten(0, 1).T
        there = self._one_way(similarity, side0, side1)
        back = self._one_way(similarity.T, side1, side0)
        # A floor, not -inf: rows and columns of nothing else must still have a softmax.
        similarity[~side0.allowed_HW.flatten()] = _FLOOR
        similarity[:, ~side1.allowed_HW.flatten()] = _FLOOR
        grid0, grid1 = side0.posed.view.grid.shape, side1.posed.view.grid.shape
        return (
            _scored(there, matching.way_back(similarity, there[1], grid0, grid1)),
            _scored(back, matching.way_back(similarity.T, back[1], grid1, grid0)),
        )

    def _one_way(self, similarity_NM: Float[Tensor, "N M"], side0: _Side, side1: _Side) -> _Dense:
        """Best cells, positions between cells, and logarithms of the probability around these."""
        guide = self._guide(side0, side1)
        shape = side1.posed.view.grid.shape

        def maps_of(rows_K: Tensor) -> Tensor:
            if guide is not None:
                return guide.rows(similarity_NM, rows_K)
            found = similarity_NM[rows_K].unflatten(1, shape)
            return found.masked_fill_(~side1.allowed_HW, -torch.inf)

        return matching.dense(
            maps_of, len(similarity_NM), self.config.window, self.config.temperature,
            similarity_NM.device,
        )  # fmt: skip


_FLOOR = -1e4
# Forward and backward flow agree where they meet within this share of the longer side.
_CONSISTENT = 0.05


_Thing = Bool[np.ndarray, "height width"]  # a mask of the picture

# For every source cell: the best target cell, the position between cells, and a probability.
_Dense = tuple[Int[Tensor, "N 2"], Float[Tensor, "N 2"], Float[Tensor, "N"]]


@dataclass(frozen=True)
class _Side:
    """One picture of a pair.

    Attributes:
        posed: its descriptors.
        allowed_HW: the cells that count: those on the mask, or on the picture.
        weight_HW: how much each cell belongs to the thing; the mask's word where there is one.
    """

    posed: PosedFeatures
    allowed_HW: Bool[Tensor, "H W"]
    weight_HW: Float[Tensor, "H W"]


@dataclass(frozen=True)
class _Pair:
    """Two pictures ready to be matched, the source in the pose chosen."""

    source: Features
    target: Features
    thing0: _Thing | None
    side0: _Side
    side1: _Side
    distances: Mapping[Pose, float]
    note: str | None

    @property
    def posed0(self) -> PosedFeatures:
        return self.side0.posed

    @property
    def posed1(self) -> PosedFeatures:
        return self.side1.posed

    @property
    def pose(self) -> Pose:
        return self.posed0.view.pose

    @property
    def score(self) -> float:
        return matching.pair_score(
            self.posed0.descriptors_HWC,
            self.posed1.descriptors_HWC,
            self.side0.allowed_HW,
            self.side1.allowed_HW,
        )

    def matches(
        self,
        keypoints0: Float[np.ndarray, "K 2"],
        keypoints1: Float[np.ndarray, "K 2"],
        scores: Float[np.ndarray, "K"],
        posed: Bool[np.ndarray, "K"] | None = None,
        ids: tuple[int, ...] | None = None,
    ) -> Matches:
        return Matches(
            keypoints0=keypoints0,
            keypoints1=keypoints1,
            matching_scores=scores,
            pair_score=self.score,
            pose=self.pose.name,
            pose_distances={pose.name: distance for pose, distance in self.distances.items()},
            posed=np.full(len(keypoints0), True) if posed is None else posed,
            point_ids=ids,
            note=self.note,
            size0=self.source.size,
            size1=self.target.size,
        )


@dataclass(frozen=True)
class _Part:
    """Points looked up in one pose of the source: all of them, or those that pose can answer."""

    pair: _Pair
    rows: Bool[np.ndarray, "N"]
    cells_K2: Float[Tensor, "K 2"]
    targets_K2: Float[Tensor, "K 2"]
    similarity_KHW: Float[Tensor, "K H W"]


@dataclass(frozen=True)
class _Search:
    """Given points and where they lie in the target."""

    pair: _Pair
    keypoints0: Float[np.ndarray, "N 2"]
    keypoints1: Float[np.ndarray, "N 2"]
    point_ids: tuple[int, ...] | None
    parts: Sequence[_Part]


def _scored(way: _Dense, back_N: Float[Tensor, "N"]) -> _Dense:
    """The same with scores instead of the logarithms of one way's probabilities."""
    peaks, targets, masses = way
    return peaks, targets, matching.scores(masses, back_N)


def _distance(side0: _Side, side1: _Side, masked: bool) -> float:
    """The instance matching distance: over masks if there are any, or over what stands out."""
    descriptors0, descriptors1 = side0.posed.descriptors_HWC, side1.posed.descriptors_HWC
    if masked:
        return instance_matching_distance(
            descriptors0, descriptors1, side0.allowed_HW, side1.allowed_HW
        )
    return weighted_distance(descriptors0, descriptors1, side0.weight_HW, side1.weight_HW)


def _choose(
    candidates: Sequence[Pose], distances: Mapping[Pose, float], named: bool
) -> tuple[Pose, str | None]:
    """The pose to match in, and what there is to say about it."""
    pose = candidates[0]
    if len(candidates) > 1:
        best = min(candidates, key=distances.__getitem__)
        usable = [p for p in candidates if named or not p.flip] or candidates
        pose = min(usable, key=distances.__getitem__)
        if pose != best:
            return pose, (
                f"in pose {best.name} the first picture is nearer to the second "
                f"({distances[best]:.4f} against {distances[pose]:.4f}), but a flip exchanges left "
                "and right: it is used for points named by a schema only"
            )
    if pose.flip and not named:
        return pose, (
            "the first picture was flipped: points on one side of the thing are matched to "
            "their mirrored counterparts"
        )
    return pose, None


def _counterparts(
    keypoints: Float[np.ndarray, "K 2"], ids: Sequence[int], schema: KeypointSchema
) -> tuple[Float[np.ndarray, "K 2"], Bool[np.ndarray, "K"]]:
    """Where to look each keypoint up in the flipped picture, and whether that is known.

    The left paw is seen there where the right paw was.
    """
    place = {keypoint: row for row, keypoint in enumerate(ids)}
    queries, known = keypoints.copy(), np.full(len(ids), True)
    for row, keypoint in enumerate(ids):
        counterpart = place.get(schema.mirror[keypoint])
        if counterpart is None:
            known[row] = False
        else:
            queries[row] = keypoints[counterpart]
    return queries, known


def _flow_field(
    posed0: PosedFeatures,
    posed1: PosedFeatures,
    allowed0: Bool[Tensor, "H W"],
    forward: tuple[Tensor, Tensor],
    backward: tuple[Tensor, Tensor],
) -> FlowField:
    """The flow in pixels, from both directions' targets in cells and scores."""
    view0, view1 = posed0.view, posed1.view
    (targets, scores), (returns, _) = ((_array(x) for x in flow) for flow in (forward, backward))
    allowed = allowed0.cpu().numpy()
    # Cells beside the picture, or off the mask, have no match of their own: they go where the
    # nearest cell goes that has, so that values between cells are right up to the border.
    cells = view0.grid.cells
    kept = np.flatnonzero(allowed)
    nearest, _ = matching.nearest_neighbours(torch.from_numpy(cells), torch.from_numpy(cells[kept]))
    targets, scores = targets[kept[nearest]], scores[kept[nearest]]
    points1 = view1.clip(view1.to_points(targets))
    back = interpolate(returns.reshape(view1.grid.height, view1.grid.width, 2), targets)
    errors = np.linalg.norm(view0.to_points(back) - view0.to_points(cells), axis=1)
    errors = errors.reshape(allowed.shape)
    return FlowField(
        view0,
        view1,
        points1.reshape(*allowed.shape, 2),
        scores.reshape(allowed.shape),
        errors,
        allowed & (errors <= _CONSISTENT * max(view0.width, view0.height)),
    )


def _tensor(array: np.ndarray, like: Tensor) -> Tensor:
    return torch.from_numpy(array).to(like)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.double().cpu().numpy()
