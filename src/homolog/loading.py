"""Images read and reduced for the canvas: whole, and the regions around boxes of objects."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool
from PIL import Image
from torch import Tensor

from homolog.descriptors import Features, FeaturesLike
from homolog.errors import HomologError
from homolog.image import masks, reading
from homolog.image.regions import MAX_UPSAMPLING, Region

MaskLike = str | os.PathLike[str] | np.ndarray | Tensor


class ImageLoader:
    """Makes the `Features` of images, without descriptors yet.

    Args:
        canvas_size: pixels of the canvas along either axis.
        fingerprint: of the model that will make the descriptors.
        max_pixels: refuse image files with more pixels than this.
    """

    def __init__(self, canvas_size: int, fingerprint: str, max_pixels: int):
        self.canvas_size = canvas_size
        self.fingerprint = fingerprint
        self.max_pixels = max_pixels

    def whole(
        self,
        image: FeaturesLike,
        name: str = "image",
        category: str | None = None,
        keep: bool = False,
    ) -> Features:
        """The features of a whole image.

        Args:
            image: an image; features are checked and returned as they are.
            name: what error messages call it.
            category: what it shows.
            keep: whether a file is decoded in full and kept, because regions of it will be wanted.

        Raises:
            HomologError: the image cannot be read, or its features come from another matcher.
        """
        if category is not None and not isinstance(category, str):
            raise HomologError(f"category: expected the name of one, got {category!r}")
        if isinstance(image, Features):
            if image.fingerprint != self.fingerprint:
                raise HomologError(
                    f"{name}: expected features of this matcher, got those of another matcher"
                )
            return image
        size, limit = self.canvas_size, self.max_pixels
        if isinstance(image, (str, os.PathLike)) and not keep:
            loaded = reading.load_image(image, longest_edge=size, max_pixels=limit, name=name)
            original: str | os.PathLike[str] | Image.Image = image
        else:
            original = reading.load_image(image, max_pixels=limit, name=name).image
            loaded = reading.reduce(original, size)
        return Features(
            loaded.width, loaded.height, loaded.image, self.fingerprint, category, original=original
        )

    def regions(
        self,
        whole: Features,
        boxes: Sequence[Any] | np.ndarray | Tensor,
        names: Sequence[str],
        *,
        context: bool,
        mask: Bool[np.ndarray, "height width"] | None = None,
    ) -> list[Features]:
        """The features of the regions around boxes of an image, which is decoded once.

        Args:
            whole: the features of the image.
            boxes: (x, y, width, height) of each object; whatever users gave, which is checked.
            names: what error messages call the boxes.
            context: whether the whole image's descriptors are joined with those of the regions.
            mask: the object.

        Raises:
            HomologError: a box cannot be right or has nothing of the mask, or the image can no
                longer be read.
        """
        regions = [
            self.region_around(box, whole.size, name)
            for box, name in zip(boxes, names, strict=True)
        ]
        pixels, found = self._pixels(whole), []
        for region, name in zip(regions, names, strict=True):
            left, top, right, bottom = region.box
            if mask is not None and not mask[top:bottom, left:right].any():
                raise HomologError(f"{name}: expected a box with something of the mask, got none")
            view = reading.reduce(pixels.crop(region.box), self.canvas_size).image
            found.append(joined(whole, region, view) if context else part_of(whole, region, view))
            found[-1].mask = mask
        return found

    @property
    def smallest_region(self) -> float:
        """Pixels of the longer side of a region at least, if the image has them."""
        return self.canvas_size / MAX_UPSAMPLING

    def region_around(self, box: Any, size: tuple[int, int], name: str = "box") -> Region:
        """The region that shows an object.

        Args:
            box: (x, y, width, height) of the object; whatever users gave, which is checked.
            size: width and height of the image.
            name: what error messages call the box.

        Raises:
            HomologError: the box cannot be right.
        """
        return Region.around(box, size, self.smallest_region, name=name)

    def crops(self, features: Features, regions: Sequence[Region]) -> list[Features]:
        """The features of parts of an image by themselves, which its features keep.

        Of one view, whatever the features are of: at the crops' scale a mirrored one brings nothing
        (docs/experiments.md).

        Args:
            features: of the image, or of a region of it.
            regions: the parts; the image is decoded again if one of them is new.

        Raises:
            HomologError: the image can no longer be read.
        """
        kept = features.crops
        missing = [region for region in regions if region not in kept]
        if missing:
            whole = uncut(features.plain or features)
            pixels = self._pixels(whole)
            for region in missing:
                view = reading.reduce(pixels.crop(region.box), self.canvas_size).image
                # Crops of their own: what holds itself is not freed at once.
                kept[region] = dataclasses.replace(part_of(whole, region, view), crops={})
        return [kept[region] for region in regions]

    def mask(self, mask: MaskLike, whole: Features, name: str) -> Bool[np.ndarray, "height width"]:
        """The mask of an image's object.

        Raises:
            HomologError: it cannot be used.
        """
        return masks.read_mask(mask, whole.size, max_pixels=self.max_pixels, name=name)

    def _pixels(self, whole: Features) -> Image.Image:
        original = whole.original
        if isinstance(original, Image.Image):
            return original
        assert original is not None, "features of a matcher know their image"
        found = reading.load_image(original, max_pixels=self.max_pixels, name="image")
        if (found.width, found.height) != whole.size:
            raise HomologError(
                f"image: expected {original} as it was when its features were extracted, "
                f"{whole.width} x {whole.height} pixels, got {found.width} x {found.height}"
            )
        return found.image


def uncut(features: Features) -> Features:
    """The whole image that features are of, or are of a region of."""
    if features.context is not None:
        return features.context
    if features.region is None:
        return features
    return dataclasses.replace(
        features,
        by_pose={},
        region=None,
        view=features.image,
        mask=None,
        plain=None if features.plain is None else uncut(features.plain),
        both_views={},
    )


def part_of(whole: Features, region: Region, view: Image.Image) -> Features:
    """The features of a region by themselves.

    Args:
        whole: the features of the image.
        region: the region.
        view: the region cut out of the image, reduced for the canvas.
    """
    return dataclasses.replace(
        whole,
        by_pose={},
        region=region,
        view=view,
        zoomed={},
        context=None,
        plain=None if whole.plain is None else part_of(whole.plain, region, view),
        both_views={},
    )


def joined(
    whole: Features, region: Region | None = None, view: Image.Image | None = None
) -> Features:
    """The features of a region that are joined with those of the whole image.

    Args:
        whole: the features of the image; descriptors of the region are kept there.
        region: the region; None joins features with themselves, for a match with joined ones.
        view: the region cut out of the image, reduced for the canvas.
    """
    plain = whole.plain
    if plain is not None and region is not None:
        plain = part_of(plain, region, view or whole.view)
    return dataclasses.replace(
        whole,
        by_pose=whole.zoomed.setdefault((region, whole.mirror), {}),
        region=region or whole.region,
        view=view or whole.view,
        zoomed={},
        context=whole,
        plain=plain,
        both_views={},
    )


def mirrored(features: Features) -> Features:
    """The features joined with those of the mirrored view; as they are if they already are so.

    Args:
        features: of an image or a region; their descriptors are used, and the joined ones kept
            there.
    """
    if features.mirror:
        return features
    if features.context is None:
        return dataclasses.replace(
            features, by_pose=features.both_views, plain=features, both_views={}
        )
    found = joined(mirrored(features.context), features.region, features.view)
    return dataclasses.replace(found, mask=features.mask)


def without_descriptors(features: Features) -> Features:
    """The same image or region as if it had just been read."""
    context, plain = features.context, features.plain
    return dataclasses.replace(
        features,
        by_pose={},
        zoomed={},
        context=None if context is None else without_descriptors(context),
        plain=None if plain is None else without_descriptors(plain),
        both_views={},
        crops={},
    )
