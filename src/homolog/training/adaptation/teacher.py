"""The teacher: the matcher whose matches become pseudo-labels, on stored descriptors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from homolog.config import MatcherConfig
from homolog.descriptors import DescriptorMap
from homolog.extractor import join_descriptors
from homolog.image import masks
from homolog.image.geometry import CanvasTransform
from homolog.image.poses import IDENTITY, PoseVariant
from homolog.matching import nearest_cells
from homolog.networks.sides import SideHead
from homolog.training.adaptation.store import ImageStore
from homolog.training.augmentation import PoseView
from homolog.utils.lru_cache import LRUCache
from homolog.zoom import object_cells

_CACHE_BYTES = 1_000_000_000


class Teacher:
    """Descriptors as a matcher makes them, from a store of zero-shot descriptors.

    Similarities are those of the matcher, but for what the principal components leave out.

    Args:
        store: the descriptors.
        config: how they are mixed, and how points are matched.
        network: the post-processor, if the configuration has one.
        side_head: the side head, likewise.
        mask_paths: masks of the objects, by the paths of their images.
    """

    def __init__(
        self,
        store: ImageStore,
        config: MatcherConfig,
        network: nn.Module | None,
        side_head: SideHead | None,
        mask_paths: Mapping[Path, Path] | None = None,
    ):
        self.store = store
        self.config = config
        self.network = network
        self.side_head = side_head
        self.mask_paths = mask_paths or {}
        self._maps: LRUCache[tuple[int, PoseVariant], DescriptorMap] = LRUCache(
            _CACHE_BYTES, lambda found: found.descriptors_HWC.nbytes
        )

    def descriptor_map(self, index: int, pose: PoseVariant = IDENTITY) -> DescriptorMap:
        """Descriptors of an image in a pose; masked, if there is a mask.

        Args:
            index: of the image in the store.
            pose: of the image.
        """
        return self._maps.get((index, pose), lambda: self._describe(index, pose))

    def object_cells(self, found: DescriptorMap) -> Bool[Tensor, "H W"]:
        """The cells that show the object: its mask, what the side head knows, or what is salient.

        Args:
            found: the descriptors of the image.
        """
        if not torch.equal(found.matchable_HW, found.valid_HW):
            return found.matchable_HW
        known = object_cells(found, self.config.sides)
        return found.saliency_HW > 0 if known is None else known

    def recognises(self, found: DescriptorMap) -> bool:
        """Whether the side head knows the kind of object that an image shows.

        Args:
            found: the descriptors of the image.
        """
        return object_cells(found, self.config.sides) is not None

    @torch.no_grad()
    def _describe(self, index: int, pose: PoseVariant) -> DescriptorMap:
        store, device = self.store, self.store.matcher.backbone.device
        view = store.view(index, PoseView(pose))
        components = F.normalize(view.components_HWK.to(device).float(), dim=-1)
        learned, sides = None, None
        if self.network is not None or self.side_head is not None:
            zero_shot = store.zero_shot(view)[None]
            if self.network is not None:
                learned = self.network(zero_shot.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)[0]
            if self.side_head is not None:
                sides = self.side_head(zero_shot)[0]
        descriptors = join_descriptors(components, learned, sides, self.config)
        valid = view.valid_HW.to(device)
        upright = store.transform(index)
        transform = CanvasTransform(
            upright.width, upright.height, pose, upright.canvas_size, upright.grid,
            padding=upright.padding,
        )  # fmt: skip
        saliency = view.saliency_HW.to(device)
        found = DescriptorMap(transform, descriptors, valid, valid, saliency, sides)
        if (mask := self.mask_paths.get(store.paths[index])) is None:
            return found
        pixels = store.matcher.max_pixels
        return found.masked(masks.read_mask(mask, upright.size, max_pixels=pixels, name=str(mask)))


def object_size(cells_HW: Bool[Tensor, "H W"]) -> float:
    """The longer side of the box around an object, in cells.

    Args:
        cells_HW: the cells that show it, at least one.
    """
    rows, columns = cells_HW.nonzero().unbind(1)
    return float(max(rows.max() - rows.min(), columns.max() - columns.min()) + 1)


def at_cells(
    values_HWC: Float[Tensor, "H W C"], cells_K2: Float[Tensor, "K 2"]
) -> Float[Tensor, "K C"]:
    """Values at the grid cells nearest to positions; those beyond the grid count as on its border.

    Args:
        values_HWC: values on the grid.
        cells_K2: (x, y) in cells.
    """
    x, y = nearest_cells(cells_K2, values_HWC.permute(2, 0, 1)).unbind(1)
    return values_HWC[y, x]
