"""Closer looks at a pair: crops of both images around the matches, shared by those nearby.

`matching.refinement` says how matches are refined; here is where the crops come from. A crop goes
through the backbone once for each pose, however many pairs its image is part of: `Features` keep
their crops' descriptors. Crops are cut out of the file, or of the image that `Features` were made
of, so that they show more detail than the first look has, if the image does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
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
            (each[index], look.pose)
            for look, several in zip((source, target), crops, strict=True)
            for each, chosen in several
            for index in np.unique(chosen)
        )
        closer = [
            self._closer_look(source, target, own, other, points0, points1, extents)
            for own, other in zip(*crops, strict=True)
        ]
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
    ) -> tuple[list[Features], Int[np.ndarray, "K"]]:
        """The crops of an image, and for each point the one in whose middle it lies most.

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
        return self.loader.crops(features, regions), distances.argmin(axis=1)

    def _closer_look(
        self,
        source: Look,
        target: Look,
        crops0: tuple[list[Features], Int[np.ndarray, "K"]],
        crops1: tuple[list[Features], Int[np.ndarray, "K"]],
        points0: Float[np.ndarray, "K 2"],
        points1: Float[np.ndarray, "K 2"],
        extents: tuple[Region, Region],
    ) -> Float[Tensor, "K L L"]:
        """Similarity of points around their first matches, by crops of one scale."""
        size = 2 * self.config.steps + 1
        found: Float[Tensor, "K L L"] | None = None
        for index0, index1 in sorted(set(zip(crops0[1].tolist(), crops1[1].tolist(), strict=True))):
            rows = (crops0[1] == index0) & (crops1[1] == index1)
            own = self._descriptors(crops0[0][index0], source)
            other = self._descriptors(crops1[0][index1], target)
            cells0, cells1 = (
                torch.from_numpy(each.transform.to_cells(points[rows])).to(each.descriptors_HWC)
                for each, points in ((own, points0), (other, points1))
            )
            asked = queries(
                own.descriptors_HWC, cells0, cells_in(extents[0], own.transform), self.config
            )
            similar = local_similarity(
                asked, other.descriptors_HWC, other.matchable_HW, cells1,
                cells_in(extents[1], other.transform), self.config,
            )  # fmt: skip
            if found is None:
                found = similar.new_empty(len(points0), size, size)
            found[torch.from_numpy(rows).to(found.device)] = similar
        assert found is not None, "there is no match without points"
        return found

    def _descriptors(self, crop: Features, look: Look) -> DescriptorMap:
        found = crop.by_pose[look.pose]
        return found if look.mask is None else found.masked(look.mask)


def cells_in(extent: Region, transform: CanvasTransform) -> float:
    """Cells of a grid in an object's extent, the longer side of the region around it.

    Args:
        extent: the region.
        transform: from points of the image to cells of the grid.
    """
    longer = max(extent.width, extent.height)
    return longer * transform.letterbox.scale / transform.grid.stride
