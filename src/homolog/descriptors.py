"""Descriptors of an image, by pose: what `Matcher.extract` returns and every match starts from."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeGuard

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor

from homolog.features import stack
from homolog.image.geometry import CanvasTransform, Grid
from homolog.image.poses import IDENTITY, PoseVariant
from homolog.image.reading import ImageLike
from homolog.image.regions import Region
from homolog.matching.sampling import LARGE
from homolog.networks.sides import SideMaps


@dataclass(frozen=True, eq=False)
class DescriptorMap:
    """Descriptors of an image in one pose, on a grid of cells.

    Attributes:
        transform: from points of the image to cells of the grid and back.
        descriptors_HWC: of unit length; float32, or float16 as `Features` keep large maps.
        valid_HW: the cells that show the image rather than the black around it.
        matchable_HW: the cells that take part in matching: those on a mask, or all valid ones.
        saliency_HW: how much each cell belongs to the object, 0 to 1: `features.foreground`, or
            what a mask says.
        sides: what a side head predicts for each cell, where the model has one.
        lengths_HW: of the descriptors before they were normalised, where their plain inner product
            is the similarity; None where it is their cosine.
        coarse: zero-shot descriptors on the backbone's own grid, where a network has made the
            descriptors finer.
    """

    transform: CanvasTransform
    descriptors_HWC: Float[Tensor, "H W C"]
    valid_HW: Bool[Tensor, "H W"]
    matchable_HW: Bool[Tensor, "H W"]
    saliency_HW: Float[Tensor, "H W"]
    sides: SideMaps | None = None
    lengths_HW: Float[Tensor, "H W"] | None = None
    coarse: DescriptorMap | None = None

    def masked(self, mask: Bool[np.ndarray, "height width"]) -> DescriptorMap:
        """The same with the object given by a mask of the image."""
        cells = torch.from_numpy(self.transform.mask_cells(mask)).to(self.valid_HW.device)
        coarse = None if self.coarse is None else self.coarse.masked(mask)
        return dataclasses.replace(
            self, matchable_HW=cells, saliency_HW=cells.float(), coarse=coarse
        )

    def stored(self) -> DescriptorMap:
        """The same as `Features` keep it: of large maps, descriptors in half precision."""
        if self.valid_HW.numel() <= LARGE:
            return self
        return dataclasses.replace(self, descriptors_HWC=self.descriptors_HWC.half())

    def widened(self) -> DescriptorMap:
        """The same with descriptors in single precision."""
        if self.descriptors_HWC.dtype != torch.float16:
            return self
        return dataclasses.replace(self, descriptors_HWC=self.descriptors_HWC.float())

    def cells_of(self, points: Float[np.ndarray, "K 2"]) -> Float[Tensor, "K 2"]:
        """Points (x, y) of the image in cells, on the descriptors' device, in single precision."""
        cells = torch.from_numpy(self.transform.to_cells(points))
        return cells.to(self.descriptors_HWC.device, torch.float32)

    @cached_property
    def typical_length(self) -> float:
        """The length of the descriptors: 1, or the root mean square of `lengths_HW`.

        An inner product divided by both maps' is of the size of a cosine.
        """
        if self.lengths_HW is None:
            return 1.0
        return float(self.lengths_HW[self.valid_HW].square().mean().sqrt())

    def at(self, values_HWD: Float[Tensor, "H W D"], grid: Grid) -> Float[Tensor, "H2 W2 D"]:
        """Values on this map's grid, bilinearly interpolated to another's cells.

        Args:
            values_HWD: on this map's grid.
            grid: the other.
        """
        return stack([values_HWD.permute(2, 0, 1)[None]], [self.transform.grid], grid)[0]

    def on_grid(self, grid: Grid) -> DescriptorMap:
        """The same with its cells in other places.

        Args:
            grid: where they are, as many of them.
        """
        assert grid.shape == self.transform.grid.shape
        return dataclasses.replace(self, transform=dataclasses.replace(self.transform, grid=grid))


def with_lengths(
    descriptors_HWC: Float[Tensor, "H W C"],
) -> tuple[Float[Tensor, "H W C"], Float[Tensor, "H W"]]:
    """Descriptors of unit length, and what their lengths were before."""
    lengths = torch.linalg.vector_norm(descriptors_HWC, dim=-1)
    return descriptors_HWC / lengths.clamp_min(1e-12)[..., None], lengths


@dataclass(eq=False)
class Features:
    """An image and its descriptors in every pose asked for so far.

    Made by `Matcher.extract`, and accepted wherever a matcher takes an image. Poses are added
    when a match first needs them, so that each goes through the backbone once. Points are pixels
    of the original image, whatever part of it the descriptors are of.

    Attributes:
        width: of the upright image, in pixels.
        height: of the upright image, in pixels.
        image: the upright image, reduced to the size that the backbone sees.
        fingerprint: of the model that makes the descriptors; other matchers refuse them.
        category: what the image shows, where that is known.
        by_pose: the descriptors in each pose, as they are stored; `descriptor_map` returns them.
        region: the part of the image that the descriptors are of; None for the whole.
        view: what fills the canvas: `image`, or the region cut out of the original and reduced.
        mask: the pixels of the image that show the object, if they are known.
        context: the whole image's features, which those of a zoomed region are joined with.
        original: where other regions are cut out of: the file, or the upright image itself.
        zoomed: descriptors of regions joined with these features, by region and by whether these
            are joined with a mirrored view, and pose.
        plain: the same features of one view, where these are joined with those of the mirrored
            view (`homolog.mirror`).
        both_views: descriptors joined with those of the mirrored view, by pose.
        crops: of parts of the image by themselves, by region: closer looks at it
            (`homolog.refining`).
        size: width and height.
    """

    width: int
    height: int
    image: Image.Image = field(repr=False)
    fingerprint: str = field(repr=False)
    category: str | None = None
    by_pose: dict[PoseVariant, DescriptorMap] = field(default_factory=dict, repr=False)
    region: Region | None = None
    view: Image.Image = field(default=None, repr=False)  # type: ignore[assignment]
    mask: Bool[np.ndarray, "height width"] | None = field(default=None, repr=False)
    context: Features | None = field(default=None, repr=False)
    original: str | os.PathLike[str] | Image.Image | None = field(default=None, repr=False)
    zoomed: dict[tuple[Region | None, bool], dict[PoseVariant, DescriptorMap]] = field(
        default_factory=dict, repr=False
    )
    plain: Features | None = field(default=None, repr=False)
    both_views: dict[PoseVariant, DescriptorMap] = field(default_factory=dict, repr=False)
    crops: dict[Region, Features] = field(default_factory=dict, repr=False)
    size: tuple[int, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.size = self.width, self.height
        if self.view is None:
            self.view = self.image

    @property
    def descriptors(self) -> Float[Tensor, "H W C"]:
        """Descriptors of the image as it is, of unit length."""
        return self.descriptor_map().descriptors_HWC

    def descriptor_map(self, pose: PoseVariant = IDENTITY) -> DescriptorMap:
        """Descriptors in a pose that was asked for before, in single precision.

        Args:
            pose: the pose.
        """
        return self.by_pose[pose].widened()

    @property
    def mirror(self) -> bool:
        """Whether the mirrored view is joined in."""
        return self.plain is not None

    @property
    def nbytes(self) -> int:
        """Bytes that the descriptors take, in all poses."""
        maps = [*self.by_pose.values()]
        maps += [found.coarse for found in maps if found.coarse is not None]
        return sum(found.descriptors_HWC.nbytes for found in maps)


FeaturesLike = ImageLike | Features


def is_one_image(given: FeaturesLike | Iterable[FeaturesLike]) -> TypeGuard[FeaturesLike]:
    """Whether this is one image, as against several of them."""
    return isinstance(given, (str, os.PathLike, Image.Image, np.ndarray, Tensor, Features))
