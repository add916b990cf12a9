"""The matcher: from two images to matching points.

Longer than other modules for the docstrings of its methods, which are the reference of the library.
"""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, overload

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from homolog import backbones
from homolog.backbones import Backbone
from homolog.config import MatcherConfig
from homolog.descriptors import DescriptorMap, Features, FeaturesLike, is_one_image
from homolog.errors import HomologError
from homolog.extractor import DescriptorExtractor
from homolog.features import FeatureCache
from homolog.flow import Flow
from homolog.image import reading
from homolog.image.geometry import CanvasTransform
from homolog.image.points import PointsLike
from homolog.image.poses import IDENTITY, PoseSet, PoseVariant, as_pose, as_poses
from homolog.image.reading import MAX_PIXELS
from homolog.image.regions import BoxLike, box_of_mask
from homolog.keypoints import KeypointSchema, check_flips
from homolog.loading import ImageLoader, MaskLike, joined, mirrored, uncut
from homolog.matching.refinement import RefinementConfig
from homolog.mirror import check_mirror, with_mirrored_view
from homolog.networks.sides import SideHead, load_bundled
from homolog.pair import ImagePair
from homolog.presets import PRESETS
from homolog.quality import QualityName, ZoomChoice, choose
from homolog.refining import Refiner
from homolog.results import Heatmap, Matches, Sides
from homolog.utils.serialization import field_values, to_plain
from homolog.zoom import Zoom, check_zoom, find_object, with_context

_log = logging.getLogger(__name__)

PosesLike = PoseSet | PoseVariant | Sequence[str | PoseVariant] | None
SchemaLike = KeypointSchema | str | os.PathLike[str]

# Of the configuration: what scores of matches are calibrated for.
_DESCRIBING = ("backbone", "fusion", "consensus", "post_processor", "sides")


class Matcher:
    """Finds the parts of an object in one image on an object of its kind in another.

    Wherever an image is taken, a path, a `PIL.Image`, an array, a tensor or the `Features` of an
    earlier `extract` will do; with `Features`, nothing is computed twice. `pair` prepares two
    images for each other; `transfer`, `match`, `flow` and `heatmap` are short for `pair` and the
    method of that name.

    Args:
        backbone: makes feature maps of canvases.
        config: everything else.
        max_pixels: refuse image files with more pixels than this.
        cache: keeps the backbone's feature maps on disk.
        network: the trained post-processor, if the configuration has one.
        side_head: the network that tells sides, if the configuration has one.
        name: of the model; by default that of the backbone.
    """

    def __init__(
        self,
        backbone: Backbone,
        config: MatcherConfig,
        max_pixels: int = MAX_PIXELS,
        cache: FeatureCache | None = None,
        network: nn.Module | None = None,
        side_head: SideHead | None = None,
        name: str | None = None,
    ):
        self.name = name or (config.backbone if isinstance(config.backbone, str) else "custom")
        self.backbone = backbone
        self.config = config
        self.max_pixels = max_pixels
        self.network = network
        self.side_head = side_head
        self.extractor = DescriptorExtractor(backbone, config, network, side_head, cache)
        self.weights_digest = self.extractor.digest
        # Of all the configuration, features depend on these alone.
        plain = to_plain(config)
        parts = [plain[name] for name in ("backbone", "fusion", "post_processor", "sides")]
        fingerprint = json.dumps([*parts, self.weights_digest])
        self.loader = ImageLoader(backbone.canvas_size, fingerprint, max_pixels)

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike[str] = "embedded",
        *,
        device: str | torch.device | None = None,
        max_pixels: int = MAX_PIXELS,
        weights: str | Sequence[str] | None = None,
        prompt: str | None = None,
        cache: FeatureCache | None = None,
    ) -> Matcher:
        """A matcher with its weights.

        Args:
            name: a preset; `embedded` comes with the package and needs nothing more. Or a folder
                that training or conversion made, or a model hub's `owner/name` of one.
            device: where to compute; a CUDA device if there is one, otherwise the CPU.
            max_pixels: refuse image files with more pixels than this.
            weights: folders or hub names to load a foundation model's weights from, if not those
                the preset names; several for a preset of several models, in its order.
            prompt: the text that conditions Stable Diffusion, such as `a photo of a cat`.
            cache: keeps the backbone's feature maps on disk.

        Raises:
            HomologError: there is no such preset, folder or device, or weights are missing or
                damaged.
        """
        if isinstance(name, os.PathLike):
            name = os.fspath(name)
        for argument, value in (("name", name), ("prompt", prompt)):
            if not isinstance(value, str) and (argument == "name" or value is not None):
                raise HomologError(f"{argument}: expected text, got {value!r}")
        try:
            # Of several processes that torchrun started, each has a GPU of its own.
            own = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
            place = torch.device(device or (own if torch.cuda.is_available() else "cpu"))
            torch.empty(0, device=place)
        except (RuntimeError, AssertionError, TypeError, ValueError, OverflowError):
            raise HomologError(
                f"device: expected one that is available here, got {str(device)!r}"
            ) from None
        reading.check_max_pixels(max_pixels)
        _check_cache(cache)
        if name not in PRESETS:
            # Imported late: what talks to model hubs takes longer to import than all the rest.
            from homolog.checkpoints import load, load_backbone, load_side_head

            config, network = load(name, place)
            side_head = load_side_head(name, config, place)
            config = config.with_weights(weights, prompt)
            backbone = load_backbone(name, config, place)
            found = cls(backbone, config, max_pixels, cache, network, side_head, name)
            _log.info("loaded %r from %s", found, name)
            return found
        config = PRESETS[name]().with_weights(weights, prompt)
        bundled_head: nn.Module | None = None
        if config.post_processor is not None:
            # Imported late: it remembers its arguments with what talks to model hubs.
            from homolog.networks import context

            bundled_head = context.load_bundled(name).to(place)
        side_head = None if config.sides is None else load_bundled(config.sides, name).to(place)
        backbone = backbones.create(config.backbone, place)
        found = cls(backbone, config, max_pixels, cache, bundled_head, side_head, name)
        _log.info("loaded %r, weights %s", found, found.weights_digest or "of the backbone alone")
        return found

    @property
    def cache(self) -> FeatureCache | None:
        """Where feature maps are kept on disk; another one is for `with_cache`."""
        return self.extractor.cache

    def __repr__(self) -> str:
        precision = getattr(self.config.backbone, "precision", "float32")
        return (
            f"Matcher({self.name!r}, device={str(self.backbone.device)!r}, precision={precision!r})"
        )

    def with_config(self, **changes: Any) -> Matcher:
        """A matcher with the same weights and some of its configuration changed.

        Features extracted by the one are accepted by the other, unless `fusion`, `post_processor`
        or `sides` is changed. `post_processor=None, sides=None` gives the zero-shot matcher, on
        which training builds: trained networks that the configuration no longer names are dropped,
        and the pair score's threshold is that of before the post-processor was trained, unless it
        is given. What makes scores probabilities depends on the same, and on `consensus`: it is
        dropped with any of them, unless it is given.

        Args:
            changes: fields of `MatcherConfig`, such as `window=7`, or `sides=None` for a matcher
                that does not tell them.

        Raises:
            HomologError: a field is unknown, there is no network for a `post_processor` or for
                `sides`, or the backbone was fine-tuned with the post-processor that is dropped.
        """
        known = {name: getattr(self.config, name) for name in self.config.__dataclass_fields__}
        if unknown := set(changes) - set(known):
            raise HomologError(
                f"changes: expected {', '.join(known)}, got {', '.join(sorted(unknown))}"
            )
        if "post_processor" in changes and changes["post_processor"] is None:
            threshold = self.config.without_post_processor().same_category_threshold
            changes = {"same_category_threshold": threshold, **changes}
        config = MatcherConfig(**known | changes)  # refuses what cannot be compared
        if any(known[name] != getattr(config, name) for name in _DESCRIBING):
            config = MatcherConfig(**known | {"score_calibration": None, **changes})
        for field, network in (("post_processor", self.network), ("sides", self.side_head)):
            if getattr(config, field) is not None and network is None:
                raise HomologError(f"{field}: expected None for a model without a network for it")
        network = None if config.post_processor is None else self.network
        side_head = None if config.sides is None else self.side_head
        return Matcher(
            self.backbone, config, self.max_pixels, self.cache, network, side_head, self.name
        )

    def with_cache(self, cache: FeatureCache | None) -> Matcher:
        """A matcher with the same weights that keeps feature maps elsewhere.

        Args:
            cache: where; None for nowhere.

        Raises:
            HomologError: it is not a `FeatureCache`.
        """
        _check_cache(cache)
        return Matcher(
            self.backbone, self.config, self.max_pixels, cache, self.network, self.side_head,
            self.name,
        )  # fmt: skip

    def load_image(
        self,
        image: FeaturesLike,
        name: str = "image",
        category: str | None = None,
        *,
        box: BoxLike | None = None,
        mask: MaskLike | None = None,
        zoom: Zoom = None,
        mirror: bool = False,
    ) -> Features:
        """An image, read and reduced, without descriptors yet; these are added when needed.

        Args:
            image: an image; features are checked and, without a box, returned as they are.
            name: what error messages call it.
            category: what it shows; only prompts that ask for it need to know.
            box: (x, y, width, height) of the object in pixels: the region around it fills the
                canvas.
            mask: the object; without a box, the region around the mask fills the canvas.
            zoom: `auto` joins the descriptors of the region with those of the whole image, and
                finds the object if neither box nor mask is given (which takes a first look).
            mirror: whether the descriptors are joined with those of the mirrored view
                (`homolog.mirror`). Features of both views stay so, whatever is asked for.

        Raises:
            HomologError: it cannot be read, or its features come from another matcher.
        """
        check_mirror(mirror)
        if zoom is None and box is None and mask is None:
            whole = self.loader.whole(image, name, category)
            return mirrored(whole) if mirror else whole
        check_zoom(zoom)
        whole = self.loader.whole(image, name, category, keep=True)
        if mirror:
            whole = mirrored(whole)
        if whole.region is not None and box is None and mask is None:
            return whole  # as it was extracted
        whole = uncut(whole)
        pixels = None if mask is None else self.loader.mask(mask, whole, _renamed(name, "mask"))
        if box is None:
            box = self.find_object(whole) if pixels is None else box_of_mask(pixels)
        if box is None:
            return whole
        (features,) = self.loader.regions(
            whole, [box], [_renamed(name, "box")], context=zoom is not None, mask=pixels
        )
        _forget_pixels(image, whole, features)
        return features

    def load_regions(
        self,
        image: FeaturesLike,
        boxes: Sequence[Any] | np.ndarray | Tensor,
        name: str = "image",
        category: str | None = None,
        *,
        zoom: Zoom = None,
        mirror: bool = False,
    ) -> list[Features]:
        """The regions around K boxes of one image, read once, without descriptors yet.

        Args:
            image: the image.
            boxes: (x, y, width, height) of each object, in pixels.
            name: what error messages call it.
            category: what the objects are; only prompts that ask for it need to know.
            zoom: as for `load_image`.
            mirror: as for `load_image`.

        Raises:
            HomologError: the image cannot be read, or a box cannot be right.
        """
        whole = uncut(self.loader.whole(image, name, category, keep=True))
        check_zoom(zoom)
        check_mirror(mirror)
        if mirror:
            whole = mirrored(whole)
        boxes = _as_list(boxes, f"{_renamed(name, 'box')}", "several boxes")
        names = [f"{_renamed(name, 'box')}[{index}]" for index in range(len(boxes))]
        found = self.loader.regions(whole, boxes, names, context=zoom is not None)
        _forget_pixels(image, whole, *found)
        return found

    @overload
    def extract(  # type: ignore[overload-overlap]  # a path is a sequence of strings, too
        self,
        images: FeaturesLike,
        poses: PosesLike = "none",
        category: str | None = None,
        *,
        box: Sequence[float] | None = None,
        mask: MaskLike | None = None,
        quality: QualityName = "default",
        zoom: ZoomChoice = None,
        mirror: bool | None = None,
    ) -> Features: ...

    @overload
    def extract(
        self,
        images: FeaturesLike | Iterable[FeaturesLike],
        poses: PosesLike = "none",
        category: str | None = None,
        *,
        box: Sequence[BoxLike | None] | np.ndarray | Tensor | None = None,
        mask: Sequence[MaskLike | None] | None = None,
        quality: QualityName = "default",
        zoom: ZoomChoice = None,
        mirror: bool | None = None,
    ) -> list[Features]: ...

    def extract(
        self,
        images: FeaturesLike | Iterable[FeaturesLike],
        poses: PosesLike = "none",
        category: str | None = None,
        *,
        box: Any = None,
        mask: Any = None,
        quality: QualityName = "default",
        zoom: ZoomChoice = None,
        mirror: bool | None = None,
    ) -> Features | list[Features]:
        """Features of an image, of regions of it, or of several images, to be used again.

        Several images or regions go through the backbone together, a batch at a time; a batch that
        does not fit into the device's memory is halved.

        Args:
            images: an image, or several; an array or a tensor is one image.
            poses: the poses that will be wanted; others are added when first needed.
            category: what the images show; only prompts that ask for it need to know.
            box: (x, y, width, height) of the object in pixels of the image, which fills the canvas
                with a margin; or K x 4, for the features of K objects of one image; or a list with
                a box or None for each of several images.
            mask: the object, which fills the canvas likewise, and which matches lie on; or a list
                with a mask or None for each of several images.
            quality: `fast`, `default` or `best` (`homolog.quality`), which says what is left open.
            zoom: `auto` joins the descriptors of a region with those of the whole image
                (`homolog.zoom`), and finds the object where none is given; `none` does not.
            mirror: whether the descriptors are joined with those of the mirrored view
                (`homolog.mirror`), which takes one more pass for each image or region; none where
                the flipped pose is wanted, too.

        Raises:
            HomologError: an image cannot be read, a box or a mask cannot be right, or a prompt asks
                for a category.
        """
        wanted, chosen = as_poses(poses), choose(quality, zoom, mirror)
        look: dict[str, Any] = {"zoom": chosen.zoom, "mirror": chosen.mirror}
        if is_one_image(images):
            if not _are_several(box):
                features = self.load_image(images, "image", category, box=box, mask=mask, **look)
                self._add_poses([(features, pose) for pose in wanted])
                return features
            if mask is not None:
                raise HomologError("mask: expected none with several boxes, got one")
            several = self.load_regions(images, box, "image", category, **look)
        else:
            listed = _as_list(images, "images", "an image or several")
            boxes, masks = (
                [None] * len(listed) if given is None else _as_list(given, name, "a list")
                for name, given in (("box", box), ("mask", mask))
            )
            for name, given in (("box", boxes), ("mask", masks)):
                if len(given) != len(listed):
                    raise HomologError(
                        f"{name}: expected one or None for each of {len(listed)} images, got "
                        f"{len(given)}"
                    )
            several = [
                self.load_image(
                    image, f"image {index}", category, box=boxes[index], mask=masks[index], **look
                )
                for index, image in enumerate(listed)
            ]  # fmt: skip
        self._add_poses([(features, pose) for features in several for pose in wanted])
        return several

    def descriptor_map(self, image: FeaturesLike, pose: PoseVariant = IDENTITY) -> DescriptorMap:
        """Descriptors of an image in a pose, on a grid of cells.

        Args:
            image: an image; of `Features`, each pose goes through the backbone once.
            pose: of the image.

        Raises:
            HomologError: it cannot be read.
        """
        features, pose = self.load_image(image), as_pose(pose)
        if pose not in features.by_pose:
            self._add_poses([(features, pose)])
        return features.by_pose[pose]

    def find_object(self, image: FeaturesLike) -> tuple[float, float, float, float] | None:
        """The box (x, y, width, height) of an image's object, or None: where `zoom` would look.

        Args:
            image: the image.

        Raises:
            HomologError: it cannot be read.
        """
        return find_object(self.descriptor_map(image), self.config.sides)

    def feature_maps(self, image: FeaturesLike) -> list[Float[Tensor, "1 _C _h _w"]]:
        """The backbone's feature maps of an image as it is.

        Raises:
            HomologError: it cannot be read.
        """
        return list(next(self.extractor.feature_maps([self.preprocess(image)])))

    @property
    def feature_cache_key(self) -> str:
        """Everything that feature maps depend on besides the canvas, for `FeatureCache`.

        Raises:
            HomologError: a prompt asks for the category of an image.
        """
        return self.extractor.cache_key()

    def preprocess(
        self, image: FeaturesLike, pose: PoseVariant = IDENTITY
    ) -> UInt8[Tensor, "size size 3"]:
        """The canvas that the backbone sees of an image in a pose.

        Raises:
            HomologError: it cannot be read.
        """
        features, pose = self.load_image(image), as_pose(pose)
        return torch.from_numpy(np.array(self._transform(features, pose).apply(features.view)))

    def pair(
        self,
        image0: FeaturesLike,
        image1: FeaturesLike,
        *,
        poses: PosesLike = "none",
        mask0: MaskLike | None = None,
        mask1: MaskLike | None = None,
        box0: BoxLike | None = None,
        box1: BoxLike | None = None,
        quality: QualityName = "default",
        zoom: ZoomChoice = None,
        mirror: bool | None = None,
        refine: bool | RefinementConfig | None = None,
        schema: SchemaLike | None = None,
    ) -> ImagePair:
        """Two images prepared for each other, to be asked for matches as often as wanted.

        With several `poses` the source is compared in each, and matched in the one with the least
        instance matching distance (adaptive pose alignment, Zhang et al., CVPR 2024); where the
        choice is whether to flip and the model recognises both objects, their headings decide.
        A single pose given as a list, such as `["flip"]`, is used as it is.

        Args:
            image0: the source, the image that points are given on.
            image1: the target, the image that they are looked for in.
            poses: `none`, `flip`, `rotations`, `all`, or a list of poses.
            mask0: the object in the source (a grey image or an array of its size, not zero where
                the object is); with it, poses are compared over the object alone.
            mask1: the object in the target; matches lie on it.
            box0: (x, y, width, height) of the object in the source, in pixels; with a margin around
                it, it fills the canvas.
            box1: of the object in the target, likewise; matches lie in it or in its margin.
            quality: `fast`, `default` or `best` (`homolog.quality`), which says what `zoom`,
                `mirror` and `refine` are where they are not given.
            zoom: `auto` takes a second look at each object that does not fill its image, given by
                its box, its mask, or found, and matches both views together (`homolog.zoom`).
                `none` does not. `Features` of a region are used as they were extracted, with a
                second look or not.
            mirror: whether each image is also looked at mirrored, and both views are matched
                together (`homolog.mirror`); so they are where one image is `Features` of both
                views.
            refine: whether the matches of points are looked for again, near where they were found,
                in closer looks at both images (`homolog.refining`), or how.
            schema: what points mean, or a name or file as for `KeypointSchema.load`; needed to
                match them in a flipped source.

        Raises:
            HomologError: an argument cannot be used, or poses are flipped and the schema does not
                know left from right; the message names the argument.
        """
        if schema is not None and not isinstance(schema, KeypointSchema):
            schema = KeypointSchema.load(schema)
        candidates, files = as_poses(poses), (image0, image1)
        if schema is not None:
            check_flips(schema, candidates)
        chosen = choose(quality, zoom, mirror, refine)
        refiner, look = self.refiner(chosen.refine), chosen.zoom
        both = chosen.mirror or any(isinstance(f, Features) and f.mirror for f in files)
        if look is not None:
            given = box0, mask0, box1, mask1
            image0 = self.loader.whole(image0, "image0", keep=True)
            image1 = self.loader.whole(image1, "image1", keep=True)
            if both:
                image0, image1 = mirrored(image0), mirrored(image1)
            if all(each is None for each in (*given, image0.region, image1.region)):
                box0, box1 = self.find_object(image0), self.find_object(image1)
                # One look at the one object and two at the other are worse than one at each.
                if box0 is None or box1 is None:
                    box0 = box1 = look = None
        # By itself, a mask says where matches lie; only a second look cuts it out.
        cut0, cut1 = (
            None if box is None and look is None else mask
            for mask, box in ((mask0, box0), (mask1, box1))
        )
        source = self.load_image(image0, "image0", box=box0, mask=cut0, zoom=look, mirror=both)
        target = self.load_image(image1, "image1", box=box1, mask=cut1, zoom=look, mirror=both)
        for features, file in zip((source, target), files, strict=True):
            _forget_pixels(file, features, features.context or features)
        object0, object1 = source.mask, target.mask
        if mask0 is not None and cut0 is None:
            object0 = self.loader.mask(mask0, source, "mask0")
        if mask1 is not None and cut1 is None:
            object1 = self.loader.mask(mask1, target, "mask1")
        arguments = self.descriptor_map, candidates, self.config, schema, object0, object1
        if source.context is None and target.context is None:
            return ImagePair(source, target, *arguments, refiner=refiner)
        # What is joined with its whole image only matches what is so, too.
        source, target = (
            joined(each) if each.context is None else each for each in (source, target)
        )
        assert source.context is not None and target.context is not None
        whole = ImagePair(source.context, target.context, *arguments, refiner=refiner)
        return ImagePair(source, target, *arguments, whole, refiner)

    def transfer(
        self,
        image0: FeaturesLike,
        image1: FeaturesLike,
        points: PointsLike,
        schema: SchemaLike | None = None,
        point_ids: Sequence[int | str] | None = None,
        *,
        poses: PosesLike = "none",
        mask0: MaskLike | None = None,
        mask1: MaskLike | None = None,
        box0: BoxLike | None = None,
        box1: BoxLike | None = None,
        quality: QualityName = "default",
        zoom: ZoomChoice = None,
        mirror: bool | None = None,
        refine: bool | RefinementConfig | None = None,
    ) -> Matches:
        """Match given points of one image in another: `pair(…).transfer(points, point_ids)`.

        Args:
            image0: the image the points are on.
            image1: the image they are looked for in.
            points: (x, y) in pixels of the first image, K of them.
            schema: what the points mean, as for `pair`; needed for flips.
            point_ids: ids or names of the points in the schema; may be left out if the points
                are all its keypoints in order.
            poses: as for `pair`.
            mask0: as for `pair`.
            mask1: as for `pair`.
            box0: as for `pair`.
            box1: as for `pair`.
            quality: as for `pair`.
            zoom: as for `pair`.
            mirror: as for `pair`.
            refine: as for `pair`.

        Raises:
            HomologError: an argument cannot be used; the message names it.
        """
        pair = self.pair(
            image0, image1, poses=poses, mask0=mask0, mask1=mask1, box0=box0, box1=box1,
            quality=quality, zoom=zoom, mirror=mirror, refine=refine, schema=schema,
        )  # fmt: skip
        return pair.transfer(points, point_ids)

    def match(
        self,
        image0: FeaturesLike,
        image1: FeaturesLike,
        max_matches: int = 200,
        *,
        poses: PosesLike = "none",
        mask0: MaskLike | None = None,
        mask1: MaskLike | None = None,
        box0: BoxLike | None = None,
        box1: BoxLike | None = None,
        quality: QualityName = "default",
        zoom: ZoomChoice = None,
        mirror: bool | None = None,
        refine: bool | RefinementConfig | None = None,
    ) -> Matches:
        """Mutual nearest neighbours of two images' objects: `pair(…).match(max_matches)`.

        Args:
            image0: the source.
            image1: the target.
            max_matches: how many to return at most.
            poses: as for `pair`; the points are free.
            mask0: as for `pair`; matches lie on it.
            mask1: as for `pair`; matches lie on it.
            box0: as for `pair`.
            box1: as for `pair`.
            quality: as for `pair`.
            zoom: as for `pair`.
            mirror: as for `pair`.
            refine: as for `pair`.

        Raises:
            HomologError: an argument cannot be used; the message names it.
        """
        pair = self.pair(
            image0, image1, poses=poses, mask0=mask0, mask1=mask1, box0=box0, box1=box1,
            quality=quality, zoom=zoom, mirror=mirror, refine=refine,
        )  # fmt: skip
        return pair.match(max_matches)

    def flow(
        self,
        image0: FeaturesLike,
        image1: FeaturesLike,
        *,
        poses: PosesLike = "none",
        mask0: MaskLike | None = None,
        mask1: MaskLike | None = None,
        box0: BoxLike | None = None,
        box1: BoxLike | None = None,
        quality: QualityName = "default",
        zoom: ZoomChoice = None,
        mirror: bool | None = None,
    ) -> Flow:
        """Dense correspondence of two images, both ways: `pair(…).flow()`.

        Args:
            image0: the source.
            image1: the target.
            poses: as for `pair`; the points are free.
            mask0: as for `pair`.
            mask1: as for `pair`.
            box0: as for `pair`.
            box1: as for `pair`.
            quality: as for `pair`.
            zoom: as for `pair`.
            mirror: as for `pair`.

        Raises:
            HomologError: an argument cannot be used; the message names it.
        """
        pair = self.pair(
            image0, image1, poses=poses, mask0=mask0, mask1=mask1, box0=box0, box1=box1,
            quality=quality, zoom=zoom, mirror=mirror,
        )  # fmt: skip
        return pair.flow()

    def heatmap(
        self,
        image0: FeaturesLike,
        image1: FeaturesLike,
        points: PointsLike,
        *,
        poses: PosesLike = "none",
        mask0: MaskLike | None = None,
        mask1: MaskLike | None = None,
        box0: BoxLike | None = None,
        box1: BoxLike | None = None,
        quality: QualityName = "default",
        zoom: ZoomChoice = None,
        mirror: bool | None = None,
    ) -> Heatmap:
        """Where in the second image points of the first could be: `pair(…).heatmap(points)`.

        Args:
            image0: the image the points are on.
            image1: the image they are looked for in.
            points: (x, y) in pixels of the first image, K of them.
            poses: as for `pair`; the points are free.
            mask0: as for `pair`.
            mask1: as for `pair`.
            box0: as for `pair`.
            box1: as for `pair`.
            quality: as for `pair`.
            zoom: as for `pair`.
            mirror: as for `pair`.

        Raises:
            HomologError: an argument cannot be used; the message names it.
        """
        pair = self.pair(
            image0, image1, poses=poses, mask0=mask0, mask1=mask1, box0=box0, box1=box1,
            quality=quality, zoom=zoom, mirror=mirror,
        )  # fmt: skip
        return pair.heatmap(points)

    def distance(
        self,
        image0: FeaturesLike,
        image1: FeaturesLike,
        *,
        mask0: MaskLike | None = None,
        mask1: MaskLike | None = None,
        box0: BoxLike | None = None,
        box1: BoxLike | None = None,
        quality: QualityName = "default",
        zoom: ZoomChoice = None,
        mirror: bool | None = None,
    ) -> float:
        """The instance matching distance of two images as they are: `pair(…).distance()`.

        Args:
            image0: the source.
            image1: the target.
            mask0: as for `pair`.
            mask1: as for `pair`.
            box0: as for `pair`.
            box1: as for `pair`.
            quality: as for `pair`.
            zoom: as for `pair`.
            mirror: as for `pair`.

        Raises:
            HomologError: an argument cannot be used; the message names it.
        """
        pair = self.pair(
            image0, image1, mask0=mask0, mask1=mask1, box0=box0, box1=box1,
            quality=quality, zoom=zoom, mirror=mirror,
        )  # fmt: skip
        return pair.distance()

    def sides(
        self, image: FeaturesLike, *, box: BoxLike | None = None, mirror: bool = False
    ) -> Sides:
        """Which side of an object each cell of an image shows, and which way the object faces.

        Sides are the object's own: an animal that faces the camera has its left on the image's
        right. Known for kinds of objects like those that the side head was trained on; the
        confidence says where that is so.

        Args:
            image: the image.
            box: (x, y, width, height) of the object in pixels; the region around it fills the
                canvas.
            mirror: whether the mean is taken of what the image and its mirror image show.

        Raises:
            HomologError: it cannot be read, the box cannot be right, or the model has no side head.
        """
        if self.side_head is None:
            raise HomologError(
                "sides: expected a model that tells them, got one without a side head; try "
                "homolog train-sides"
            )
        features = self.load_image(image, box=box, mirror=mirror)
        found = self.descriptor_map(features)
        assert found.sides is not None
        return Sides.from_maps(found.sides, found.transform, features.image)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        results: str | os.PathLike[str] | None = None,
    ) -> str:
        """Push the trained parts to a model hub, with a model card; returns the commit's address.

        Args:
            repo_id: `owner/name`; made on the hub if it is not there. `from_pretrained` takes it
                afterwards.
            private: whether a repository that is made is private; None for the owner's default.
            results: the folder that `homolog evaluate --out` wrote, or its `results.json`, for the
                card; None for the report of the run that the matcher was loaded from, if any.

        Raises:
            HomologError: nothing was trained, fine-tuned weights are rounded to half precision, the
                name or the results cannot be used, or the hub refuses or cannot be reached.
        """
        # Imported late: what talks to model hubs takes longer to import than all the rest.
        from homolog.hub import push_matcher

        return push_matcher(
            self.config, self.backbone, self.network, self.side_head, self.name, repo_id,
            private=private, results=results,
        )  # fmt: skip

    def refiner(self, refine: Any) -> Refiner | None:
        """What refines matches on closer looks, or None where that is not wanted.

        Args:
            refine: as for `pair`.

        Raises:
            HomologError: it is something else.
        """
        if isinstance(refine, (bool, np.bool_)):
            if not refine:
                return None
            refine = RefinementConfig()
        if not isinstance(refine, RefinementConfig):
            raise HomologError(f"refine: expected True, False or how to, got {refine!r}")
        return Refiner(self.loader, self._add_poses, self.config.sides, refine)

    def replace(self, **changes: Any) -> Matcher:
        """What `with_config` was in version 0.1.0, with the field names of that version."""
        warnings.warn("Matcher.replace is with_config now", DeprecationWarning, stacklevel=2)
        return self.with_config(**field_values(MatcherConfig, changes))

    def _add_poses(self, wanted: Iterable[tuple[Features, PoseVariant]]) -> None:
        """Add descriptors that features lack; images of one category share batches."""
        listed = list(wanted)
        # The whole images' descriptors first, which those of zoomed regions are joined with.
        needed = [(f.context, pose) for f, pose in listed if f.context is not None] + listed
        needed = [(features, pose) for features, pose in needed if pose not in features.by_pose]
        views = [
            (features.plain or features, view)
            for features, pose in needed
            for view in ((pose, pose.mirrored) if features.mirror else (pose,))
        ]
        missing: dict[tuple[int, PoseVariant], tuple[Features, CanvasTransform]] = {
            (id(features.by_pose), pose): (features, self._transform(features, pose))
            for features, pose in views
            if pose not in features.by_pose
        }
        for category in dict.fromkeys(features.category for features, _ in missing.values()):
            own = [(f, transform) for f, transform in missing.values() if f.category == category]
            canvases = (torch.from_numpy(np.array(t.apply(f.view))) for f, t in own)
            maps = self.extractor.feature_maps(canvases, category)
            for (features, transform), each in zip(own, maps, strict=True):
                found = self.extractor(each, transform)
                if features.context is not None:
                    found = with_context(found, features.context.by_pose[transform.pose])
                features.by_pose[transform.pose] = found
        for features, pose in needed:
            if features.plain is None or pose in features.by_pose:
                continue
            views_of = features.plain.by_pose
            found = with_mirrored_view(views_of[pose], views_of[pose.mirrored], self.config.sides)
            if features.context is not None:
                found = with_context(found, features.context.by_pose[pose])
            features.by_pose[pose] = found

    def _transform(self, features: Features, pose: PoseVariant) -> CanvasTransform:
        backbone = self.backbone
        return CanvasTransform(
            features.width, features.height, pose, backbone.canvas_size, backbone.grid,
            features.region,
        )  # fmt: skip


def _check_cache(cache: Any) -> None:
    if cache is not None and not isinstance(cache, FeatureCache):
        raise HomologError(f"cache: expected a FeatureCache, got {cache!r}")


def _as_list(given: Any, name: str, expected: str) -> list[Any]:
    """Several of what is expected, as a list."""
    if isinstance(given, (str, os.PathLike, Mapping)) or not isinstance(given, Iterable):
        raise HomologError(f"{name}: expected {expected}, got {given!r}")
    try:
        return list(given)
    except TypeError:  # an array or a tensor of a single number
        raise HomologError(f"{name}: expected {expected}, got {given!r}") from None


def _are_several(box: Any) -> bool:
    """Whether several boxes are given, as against one, or none."""
    if isinstance(box, (np.ndarray, Tensor)):
        return box.ndim > 1
    if not isinstance(box, Sequence) or isinstance(box, str):
        return False
    return not any(np.ndim(value) == 0 and value is not None for value in box)


def _forget_pixels(image: FeaturesLike, *made: Features) -> None:
    """Of features made of a file, keep the file and not the decoded image."""
    if isinstance(image, (str, os.PathLike)):
        for each in made:
            each.original = image
            if each.plain is not None:
                each.plain.original = image


def _renamed(name: str, what: str) -> str:
    """What messages call the box or mask of an image: `box0` for `image0`."""
    return name.replace("image", what) if "image" in name else what
