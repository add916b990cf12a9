"""Descriptors of an image, by pose: what `Matcher.extract` returns and every match starts from."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeGuard

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor

from homolog.image.geometry import IDENTITY, CanvasTransform, PoseVariant
from homolog.image.reading import ImageLike
from homolog.networks.sides import SideMaps


@dataclass(frozen=True, eq=False)
class DescriptorMap:
    """Descriptors of an image in one pose, on a grid of cells.

    Attributes:
        transform: from points of the image to cells of the grid and back.
        descriptors_HWC: of unit length, float32.
        valid_HW: the cells that show the image rather than the black around it.
        matchable_HW: the cells that take part in matching: those on a mask, or all valid ones.
        saliency_HW: how much each cell belongs to the object, 0 to 1: `features.foreground`, or
            what a mask says.
        sides: what a side head predicts for each cell, where the model has one.
    """

    transform: CanvasTransform
    descriptors_HWC: Float[Tensor, "H W C"]
    valid_HW: Bool[Tensor, "H W"]
    matchable_HW: Bool[Tensor, "H W"]
    saliency_HW: Float[Tensor, "H W"]
    sides: SideMaps | None = None

    def masked(self, mask: Bool[np.ndarray, "height width"]) -> DescriptorMap:
        """The same with the object given by a mask of the image."""
        cells = torch.from_numpy(self.transform.mask_cells(mask)).to(self.valid_HW.device)
        return dataclasses.replace(self, matchable_HW=cells, saliency_HW=cells.float())


@dataclass(eq=False)
class Features:
    """An image and its descriptors in every pose asked for so far.

    Made by `Matcher.extract`, and accepted wherever a matcher takes an image. Poses are added
    when a match first needs them, so that each goes through the backbone once.

    Attributes:
        width: of the upright image, in pixels.
        height: of the upright image, in pixels.
        image: the upright image, reduced to the size that the backbone sees.
        fingerprint: of the model that makes the descriptors; other matchers refuse them.
        category: what the image shows, where that is known.
        by_pose: the descriptors in each pose.
        size: width and height.
    """

    width: int
    height: int
    image: Image.Image = field(repr=False)
    fingerprint: str = field(repr=False)
    category: str | None = None
    by_pose: dict[PoseVariant, DescriptorMap] = field(default_factory=dict, repr=False)
    size: tuple[int, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.size = self.width, self.height

    @property
    def descriptors(self) -> Float[Tensor, "H W C"]:
        """Descriptors of the image as it is, of unit length."""
        return self.by_pose[IDENTITY].descriptors_HWC

    @property
    def nbytes(self) -> int:
        """Bytes that the descriptors take, in all poses."""
        return sum(found.descriptors_HWC.nbytes for found in self.by_pose.values())


FeaturesLike = ImageLike | Features


def is_one_image(given: FeaturesLike | Iterable[FeaturesLike]) -> TypeGuard[FeaturesLike]:
    """Whether this is one image, as against several of them."""
    return isinstance(given, (str, os.PathLike, Image.Image, np.ndarray, Tensor, Features))
