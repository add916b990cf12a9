"""The whole way, from two pictures to matching points."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast, overload

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from homolog import backbones
from homolog.backbones import Backbone
from homolog.config import MatcherConfig
from homolog.errors import HomologError
from homolog.extractor import Describer
from homolog.features import FeatureCache
from homolog.image import reading
from homolog.image.geometry import FLIP, IDENTITY, Pose, PoseSet, View, as_poses
from homolog.image.points import PointsLike, as_points
from homolog.image.reading import MAX_PIXELS
from homolog.keypoints import KeypointSchema
from homolog.networks.sides import SideNetwork, shipped
from homolog.pair import (
    Located,
    Pairing,
    Side,
    Thing,
    by_facing,
    choose,
    choose_facing,
    counterparts,
)
from homolog.presets import PRESETS
from homolog.results import (
    Features,
    FeaturesLike,
    Flow,
    Heatmap,
    MaskLike,
    Matches,
    PosedFeatures,
    Sides,
    is_one_picture,
)

PosesLike = PoseSet | Pose | Sequence[str | Pose]


class Matcher:
    """Finds the parts of a thing in one picture on a thing of its kind in another.

    Wherever a picture is taken, a path, a `PIL.Image`, an array, a tensor or the `Features` of
    an earlier `extract` will do; with `Features`, nothing is computed twice.

    Args:
        backbone: turns canvases into feature maps.
        config: the rest.
        max_pixels: refuse picture files with more pixels than this.
        cache: keeps the backbone's maps on disk.
        network: the trained network, if the configuration has a `post_processor`.
        sides: the network that tells sides, if the configuration has `sides`.
    """

    def __init__(
        self,
        backbone: Backbone,
        config: MatcherConfig,
        max_pixels: int = MAX_PIXELS,
        cache: FeatureCache | None = None,
        network: nn.Module | None = None,
        sides: SideNetwork | None = None,
    ):
        self.backbone = backbone
        self.config = config
        self.max_pixels = max_pixels
        self.cache = cache
        self.network = network
        self.side_network = sides
        self._describer = Describer(backbone, config, network, sides)
        self.weights_digest = self._describer.digest
        # Of all the configuration, features depend on these alone.
        made_by = dataclasses.asdict(config)
        parts = [made_by[name] for name in ("backbone", "fusion", "post_processor", "sides")]
        self._made_by = json.dumps([*parts, self.weights_digest])

    @classmethod
    def from_pretrained(
        cls,
        name: str = "embedded",
        *,
        device: str | torch.device | None = None,
        max_pixels: int = MAX_PIXELS,
        weights: str | Sequence[str] | None = None,
        prompt: str | None = None,
    ) -> Matcher:
        """A matcher with its weights.

        Args:
            name: a preset; `embedded` comes with the package and needs nothing more. Or a folder
                that training or conversion made, or a model hub's `owner/name` of one.
            device: where to compute; a CUDA device if there is one, otherwise the CPU.
            max_pixels: refuse picture files with more pixels than this.
            weights: folders or hub names to take a foundation model's weights from, if not those
                the preset names; several for a preset of several models, in its order.
            prompt: the text that conditions Stable Diffusion, such as `a photo of a cat`.

        Raises:
            HomologError: there is no such preset, folder or device, or weights are missing or
                damaged.
        """
        try:
            # Of several processes that torchrun started, each has a GPU of its own.
            own = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
            place = torch.device(device or (own if torch.cuda.is_available() else "cpu"))
            torch.empty(0, device=place)
        except (RuntimeError, AssertionError):
            raise HomologError(f"device: {str(device)!r} is not available here") from None
        if name not in PRESETS:
            # Imported late: what talks to model hubs takes longer to import than all the rest.
            from homolog.checkpoints import backbone_of, load, sides_of

            config, network = load(name, place)
            sides = sides_of(name, config, place)
            config = config.with_models(weights, prompt)
            backbone = backbone_of(name, config, place)
            return cls(backbone, config, max_pixels, network=network, sides=sides)
        config = PRESETS[name]().with_models(weights, prompt)
        sides = None if config.sides is None else shipped(config.sides).to(place)
        return cls(backbones.create(config.backbone, place), config, max_pixels, sides=sides)

    def replace(self, **changes: Any) -> Matcher:
        """A matcher with the same backbone and some of its configuration changed.

        Features extracted by the one are taken by the other, unless `fusion` or `sides` is changed.

        Args:
            changes: fields of `MatcherConfig`, such as `window=7`, or `sides=None` for a matcher
                that does not tell them.
        """
        config = dataclasses.replace(self.config, **changes)
        sides = None if config.sides is None else self.side_network
        return Matcher(self.backbone, config, self.max_pixels, self.cache, self.network, sides)

    def read(
        self, picture: FeaturesLike, name: str = "image", category: str | None = None
    ) -> Features:
        """A picture read, in no pose yet: features that will be filled when they are needed.

        Args:
            picture: a picture; features are checked and returned as they are.
            name: what error messages call it.
            category: what it shows; only prompts that ask for it need to know.

        Raises:
            HomologError: it cannot be read, or its features come from another matcher.
        """
        if isinstance(picture, Features):
            if picture.made_by != self._made_by:
                raise HomologError(f"{name}: its features were extracted by another matcher")
            return picture
        read = reading.read(picture, side=self.backbone.side, max_pixels=self.max_pixels, name=name)
        return Features(read.width, read.height, read.image, self._made_by, category)

    @overload
    def extract(  # type: ignore[overload-overlap]  # a path is a sequence of strings, too
        self, pictures: FeaturesLike, poses: PosesLike = "none", category: str | None = None
    ) -> Features: ...

    @overload
    def extract(
        self,
        pictures: Iterable[FeaturesLike],
        poses: PosesLike = "none",
        category: str | None = None,
    ) -> list[Features]: ...

    def extract(
        self,
        pictures: FeaturesLike | Iterable[FeaturesLike],
        poses: PosesLike = "none",
        category: str | None = None,
    ) -> Features | list[Features]:
        """Features of a picture, or of several, to be used again.

        Args:
            pictures: a picture, or several; an array or a tensor is one picture.
            poses: the poses that will be wanted; others are added when first asked for.
            category: what they show; only prompts that ask for it need to know.

        Raises:
            HomologError: a picture cannot be read, or a prompt asks for a category.
        """
        wanted = as_poses(poses)
        if is_one_picture(pictures):
            features = self.read(pictures, category=category)
            for pose in wanted:
                self._posed(features, pose)
            return features
        several = cast(Iterable[FeaturesLike], pictures)
        read = [self.read(picture, f"image {i}", category) for i, picture in enumerate(several)]
        return [self.extract(features, wanted) for features in read]

    def maps(self, picture: FeaturesLike) -> list[Float[Tensor, "1 _C _h _w"]]:
        """The backbone's maps of a picture as it is, not taken from a cache.

        Raises:
            HomologError: it cannot be read.
        """
        return list(self._describer.maps(self.canvas(picture, IDENTITY), None))

    @property
    def maps_made_by(self) -> str:
        """All that maps depend on but the canvas, for `FeatureCache`.

        Raises:
            HomologError: a prompt asks for the category of a picture.
        """
        return self._describer.made_by()

    def canvas(self, picture: FeaturesLike, pose: Pose) -> UInt8[Tensor, "side side 3"]:
        """What the backbone sees of a picture in a pose.

        Raises:
            HomologError: it cannot be read.
        """
        features = self.read(picture)
        return self._canvas(features, self._view(features, pose))

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
        Where a model tells sides and knows the thing, which way it faces decides on a flip,
        without a further pass through the backbone.

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
        for rows, located in search.parts:
            scores[rows] = located.scores()
            posed[rows] = located.pairing.pose == search.pairing.pose
        return search.pairing.matches(
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
        """The `keypoints1` of `transfer`, without scores, which makes it quicker.

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
        pairing = self._read_and_align(image0, image1, poses, mask0, mask1)
        return pairing.matches(*pairing.mutual(max_matches))

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
        pairing = self._read_and_align(image0, image1, poses, mask0, mask1)
        forward, backward = pairing.flow_fields()
        return Flow(forward, backward, pairing.score, pairing.pose.name, pairing.note)

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
        pairing = self._read_and_align(image0, image1, "none", mask0, mask1)
        return pairing.side0.distance(pairing.side1, mask0 is not None or mask1 is not None)

    def sides(self, picture: FeaturesLike) -> Sides:
        """Which side of a thing each cell of a picture shows, and which way the thing faces.

        Sides are the thing's own: an animal that looks at us has its left on the picture's right.
        Known for kinds of things like those that the model's sides were trained on; the
        confidence says where that is so.

        Args:
            picture: the picture.

        Raises:
            HomologError: it cannot be read, or the model was not taught to tell sides.
        """
        if self.side_network is None:
            raise HomologError(
                "sides: this model was not taught to tell them (homolog train-sides)"
            )
        posed = self._posed(self.read(picture), IDENTITY)
        assert posed.sides is not None
        return Sides.of(posed.sides, posed.view)

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
        ((_, located),) = search.parts
        found = search.pairing.matches(search.keypoints0, search.keypoints1, located.scores())
        return Heatmap(search.pairing.side1.posed.view, located.similarity_KHW.cpu().numpy(), found)

    # The parts of the way.

    def _posed(self, features: Features, pose: Pose) -> PosedFeatures:
        """Descriptors in a pose; each pose goes through the backbone once."""
        if pose not in features.posed:
            view = self._view(features, pose)
            canvas = self._canvas(features, view)
            maps = self._describer.maps(canvas, self.cache, features.category)
            features.posed[pose] = self._describer(maps, view)
        return features.posed[pose]

    def _view(self, features: Features, pose: Pose) -> View:
        return View(*features.size, pose, self.backbone.side, self.backbone.grid)

    def _canvas(self, features: Features, view: View) -> Tensor:
        return torch.from_numpy(np.array(view.apply(features.image)))

    def _read_and_align(
        self,
        image0: FeaturesLike,
        image1: FeaturesLike,
        poses: PosesLike,
        mask0: MaskLike | None,
        mask1: MaskLike | None,
    ) -> Pairing:
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
    ) -> Pairing:
        """The pair with its source in the pose that fits best (adaptive pose alignment)."""
        candidates = as_poses(poses)
        thing0 = self._mask(mask0, source, "mask0")
        thing1 = self._mask(mask1, target, "mask1")
        side1 = Side.of(self._posed(target, IDENTITY), thing1)
        sides, distances = {}, {}
        known = set(candidates) == {IDENTITY, FLIP} and self.side_network is not None
        facing = by_facing(self._posed(source, IDENTITY), side1.posed) if known else None
        if facing is not None:
            pose, note = choose_facing(facing, named)
        else:
            if len(candidates) > 1:
                sides = {pose: Side.of(self._posed(source, pose), thing0) for pose in candidates}
            masked = mask0 is not None or mask1 is not None
            distances = {pose: side.distance(side1, masked) for pose, side in sides.items()}
            pose, note = choose(candidates, distances, named)
        side0 = sides.get(pose) or Side.of(self._posed(source, pose), thing0)
        return Pairing(source, target, side0, side1, distances, note, self.config)

    def _mask(self, mask: MaskLike | None, features: Features, name: str) -> Thing | None:
        if mask is None:
            return None
        return reading.read_mask(mask, features.size, max_pixels=self.max_pixels, name=name)

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
        pairing = self._align(source, target, poses, mask0, mask1, named)
        queries, posed = keypoints0, np.full(len(keypoints0), True)
        if schema is not None and ids is not None and named and pairing.pose.flip:
            queries, posed = counterparts(keypoints0, ids, schema)
        parts = [(posed, pairing.locate(queries[posed]))] if posed.any() else []
        if not posed.all():
            unposed = Side.of(self._posed(source, IDENTITY), pairing.side0.thing)
            as_it_is = dataclasses.replace(pairing, side0=unposed)
            parts.append((~posed, as_it_is.locate(queries[~posed])))
        keypoints1 = np.empty_like(keypoints0)
        for rows, located in parts:
            keypoints1[rows] = located.points
        return _Search(pairing, keypoints0, keypoints1, ids, parts)


@dataclass(frozen=True)
class _Search:
    """Given points and where they lie in the target.

    In a flipped picture only those can be looked up whose counterpart was given; the parts are the
    rows that were, and those that were looked up in the picture as it is.
    """

    pairing: Pairing
    keypoints0: Float[np.ndarray, "N 2"]
    keypoints1: Float[np.ndarray, "N 2"]
    point_ids: tuple[int, ...] | None
    parts: Sequence[tuple[Bool[np.ndarray, "N"], Located]]
