"""Closer looks at a pair: crops of both images around the matches, shared by those nearby.

`matching.refinement` says how matches are refined; here is where the crops come from. A crop goes
through the backbone once for each pose, however many pairs its image is part of: `Features` keep
their crops' descriptors. Crops are cut out of the file, or of the image that `Features` were made
of, so that they show more detail than the first look has, if the image does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from homolog.descriptors import DescriptorMap, Features
from homolog.image.geometry import CanvasTransform
from homolog.image.poses import PoseVariant
from homolog.image.regions import Region, box_of_mask, tiles
from homolog.loading import ImageLoader
from homolog.matching.refinement import (
    LOWEST,
    RefinementConfig,
    lattice,
    local_similarity,
    places_allowed,
    queries,
    refine,
    sample_maps,
)
from homolog.networks.sides import SidesConfig
from homolog.zoom import find_object

Mask = Bool[np.ndarray, "height width"]

_LEAST = -1.0  # in place of -inf, so that places beside a mask keep the rest of their similarity


@dataclass(frozen=True, eq=False)
class Look:
    """What a first match is refined from: one image of a pair, in a pose.

    Attributes:
        features: of the image, or of the region around its object.
        descriptor_map: its descriptors in the pose, as the first match was found with them.
        mask: the pixels that show the object, if they are known.
    """

    features: Features
    descriptor_map: DescriptorMap
    mask: Mask | None

    @property
    def pose(self) -> PoseVariant:
        """The pose of the descriptors."""
        return self.descriptor_map.transform.pose


@dataclass(frozen=True, eq=False)
class Crops:
    """Crops of an image at one scale, and which of them each of K points is looked at in.

    Attributes:
        features: of each crop.
        chosen_K: index of the crop in whose middle each point lies most.
    """

    features: Sequence[Features]
    chosen_K: Int[np.ndarray, "K"]

    @property
    def used(self) -> list[Features]:
        """Those that a point lies in."""
        return [self.features[index] for index in np.unique(self.chosen_K)]


class Refiner:
    """Refines matches on crops of both images.

    Args:
        loader: cuts the crops.
        extract: adds the descriptors of several features in a pose each, in few passes.
        sides: of the side head, which finds objects; None for a model without one.
        config: how matches are refined.
    """

    def __init__(
        self,
        loader: ImageLoader,
        extract: Callable[[Iterable[tuple[Features, PoseVariant]]], None],
        sides: SidesConfig | None,
        config: RefinementConfig,
    ):
        self.loader = loader
        self.config = config
        self._extract, self._sides = extract, sides

    def extent(self, look: Look) -> Region:
        """The region that crops cover: that of the descriptors, or around the object found.

        Args:
            look: the image.
        """
        features, found = look.features, look.descriptor_map
        if features.region is not None:
            return features.region
        if look.mask is not None:
            return self.loader.region_around(box_of_mask(look.mask), features.size)
        box = find_object(found, self._sides)
        if box is None:
            box = found.transform.box_of((found.saliency_HW > 0).cpu().numpy())
        return self.loader.region_around(box, features.size)

    def refine(
        self,
        source: Look,
        target: Look,
        points0: Float[np.ndarray, "K 2"],
        points1: Float[np.ndarray, "K 2"],
        similarity_KHW: Float[Tensor, "K H W"],
    ) -> Float[np.ndarray, "K 2"]:
        """Matches of K points after closer looks, in pixels of the target.

        Args:
            source: the image that the points are on.
            target: the image that they were found in.
            points0: (x, y) in pixels of the source.
            points1: their first matches, in pixels of the target.
            similarity_KHW: the similarity maps that these were read from.
        """
        extents = self.extent(source), self.extent(target)
        crops = [
            [self.crops(scale, *each) for scale in self.config.scales]
            for each in (
                (source.features, points0, extents[0]),
                (target.features, points1, extents[1]),
            )
        ]
        self._extract(
            (crop, look.pose)
            for look, several in zip((source, target), crops, strict=True)
            for each in several
            for crop in each.used
        )
        closer = []
        for own, other in zip(*crops, strict=True):
            asked = self.queries(own, source.pose, points0, extents[0], source.mask)
            closer.append(
                self.similarity(asked, other, target.pose, points1, extents[1], target.mask)
            )
        return self.moved(target, points1, similarity_KHW, closer, extents[1])

    def moved(
        self,
        target: Look,
        points1: Float[np.ndarray, "K 2"],
        similarity_KHW: Float[Tensor, "K H W"],
        closer: Sequence[Float[Tensor, "K L L"]],
        extent: Region,
    ) -> Float[np.ndarray, "K 2"]:
        """Where matches are by all looks, in pixels of the target.

        Args:
            target: the image that they were found in.
            points1: the first matches, in pixels of the target.
            similarity_KHW: the similarity maps that these were read from.
            closer: similarity around the first matches in closer looks.
            extent: of the target.
        """
        transform = target.descriptor_map.transform
        cells = torch.from_numpy(transform.to_cells(points1)).to(similarity_KHW)
        unit = cells_in(extent, transform)
        around = cells[:, None] + lattice(self.config, cells).flatten(0, 1) * unit
        first = sample_maps(similarity_KHW.clamp_min(_LEAST), around)
        allowed = places_allowed(target.descriptor_map.matchable_HW, around)
        first = first.masked_fill(~allowed, LOWEST).view_as(closer[0])
        moved = refine(first, closer, self.config) * unit
        return transform.to_points((cells + moved).double().cpu().numpy(), clip=True)

    def crops(
        self,
        scale: float,
        features: Features,
        points: Float[np.ndarray, "K 2"],
        extent: Region,
    ) -> Crops:
        """The crops of an image, chosen for points.

        Args:
            scale: of the crops, as a share of the extent.
            features: of the image, or of a region of it.
            points: (x, y) in pixels.
            extent: the region that crops cover.

        Raises:
            HomologError: the image can no longer be read.
        """
        smallest = self.loader.smallest_region
        regions = tiles(extent, features.size, scale, self.config.step, smallest)
        centres = np.array([[r.x + r.width / 2, r.y + r.height / 2] for r in regions])
        distances = np.abs(points[:, None] - centres[None]).max(axis=2)
        return Crops(self.loader.crops(features, regions), distances.argmin(axis=1))

    def queries(
        self,
        crops: Crops,
        pose: PoseVariant,
        points: Float[np.ndarray, "K 2"],
        extent: Region,
        mask: Mask | None = None,
    ) -> Float[Tensor, "S K C"]:
        """Descriptors of points and of their neighbours, each in its crop.

        Args:
            crops: of the points' image, with descriptors in the pose.
            pose: of the image.
            points: (x, y) in pixels of the upright image, at least one.
            extent: of the image.
            mask: the pixels that show the object, if they are known.
        """
        parts = []
        for rows, found, cells in _by_crop(crops, pose, points, mask):
            unit = cells_in(extent, found.transform)
            parts.append((rows, queries(found.descriptors_HWC, cells, unit, self.config)))
        size, _, channels = parts[0][1].shape
        asked = parts[0][1].new_empty(size, len(points), channels)
        for rows, own in parts:
            asked[:, rows] = own
        return asked

    def similarity(
        self,
        queries_SKC: Float[Tensor, "S K C"],
        crops: Crops,
        pose: PoseVariant,
        points: Float[np.ndarray, "K 2"],
        extent: Region,
        mask: Mask | None = None,
    ) -> Float[Tensor, "K L L"]:
        """Similarity of points around their first matches, each in its crop.

        Args:
            queries_SKC: descriptors of the points and of their neighbours.
            crops: of the image that they were found in, with descriptors in the pose.
            pose: of that image.
            points: the first matches, (x, y) in pixels of the upright image.
            extent: of that image.
            mask: the pixels that show its object, if they are known.
        """
        size = 2 * self.config.steps + 1
        similar = queries_SKC.new_empty(len(points), size, size)
        for rows, found, cells in _by_crop(crops, pose, points, mask):
            similar[rows] = local_similarity(
                queries_SKC[:, rows], found.descriptors_HWC, found.matchable_HW, cells,
                cells_in(extent, found.transform), self.config,
            )  # fmt: skip
        return similar


def _by_crop(
    crops: Crops, pose: PoseVariant, points: Float[np.ndarray, "K 2"], mask: Mask | None
) -> Iterator[tuple[Int[Tensor, "P"], DescriptorMap, Float[Tensor, "P 2"]]]:
    """For each crop the rows of its points, its descriptors, and its points in their cells."""
    for index in np.unique(crops.chosen_K):
        found = crops.features[index].descriptor_map(pose)
        if mask is not None:
            found = found.masked(mask)
        rows = np.flatnonzero(crops.chosen_K == index)
        cells = found.cells_of(points[rows])
        yield torch.from_numpy(rows).to(cells.device), found, cells


def cells_in(extent: Region, transform: CanvasTransform) -> float:
    """Cells of a grid in an object's extent, the longer side of the region around it.

    Args:
        extent: the region.
        transform: from points of the image to cells of the grid.
    """
    longer = max(extent.width, extent.height)
    return longer * transform.letterbox.scale / transform.grid.stride
