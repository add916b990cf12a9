"""From images to features: what a matcher reads, cuts out, and extracts descriptors of."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, overload

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from homolog.backbones.base import canvas_transform
from homolog.descriptors import DescriptorMap, Features, FeaturesLike, is_one_image
from homolog.errors import HomologError
from homolog.image.geometry import CanvasTransform
from homolog.image.poses import IDENTITY, PoseSet, PoseVariant, as_pose, as_poses
from homolog.image.regions import BoxLike, box_of_mask
from homolog.loading import MaskLike, mirrored, uncut
from homolog.mirror import check_mirror, with_mirrored_view
from homolog.model import Model
from homolog.quality import QualityName, ZoomChoice, choose
from homolog.results import Sides
from homolog.zoom import Zoom, check_zoom, find_object, with_context

PosesLike = PoseSet | PoseVariant | Sequence[str | PoseVariant] | None


class FeatureExtractor(Model):
    """A model that reads images and extracts their features; the base of `Matcher`."""

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
        forget_pixels(image, whole, features)
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
        forget_pixels(image, whole, *found)
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
        return self.stored_map(image, pose).widened()

    def stored_map(self, image: FeaturesLike, pose: PoseVariant = IDENTITY) -> DescriptorMap:
        """The same as `Features` keep it: of large maps, in half precision.

        Arguments and errors are those of `descriptor_map`.
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
                features.by_pose[transform.pose] = found.stored()
        for features, pose in needed:
            if features.plain is None or pose in features.by_pose:
                continue
            views_of = features.plain.by_pose
            found = with_mirrored_view(views_of[pose], views_of[pose.mirrored], self.config.sides)
            if features.context is not None:
                found = with_context(found, features.context.by_pose[pose])
            features.by_pose[pose] = found.stored()

    def _transform(self, features: Features, pose: PoseVariant) -> CanvasTransform:
        return canvas_transform(
            self.backbone, features.width, features.height, pose, features.region
        )


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


def forget_pixels(image: FeaturesLike, *made: Features) -> None:
    """Of features made of a file, keep the file and not the decoded image."""
    if isinstance(image, (str, os.PathLike)):
        for each in made:
            each.original = image
            if each.plain is not None:
                each.plain.original = image


def _renamed(name: str, what: str) -> str:
    """What messages call the box or mask of an image: `box0` for `image0`."""
    return name.replace("image", what) if "image" in name else what
