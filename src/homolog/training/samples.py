"""Training samples: the network's input for an augmented object, and where its keypoints are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from homolog.backbones.base import canvas_transform
from homolog.data import Annotation
from homolog.descriptors import Features
from homolog.extractor import DescriptorExtractor
from homolog.keypoints import KeypointSchema
from homolog.loading import ImageLoader
from homolog.training.augmentation import Augmentation
from homolog.utils.lru_cache import LRUCache

CACHE_BYTES = 4_000_000_000
"""Memory for samples; those used least recently are made again when they are needed."""

MaskSource = Callable[[Annotation], Bool[np.ndarray, "height width"] | None]
"""The pixels of its image that show an annotated object; None where that is not known."""

_REGION_BYTES = 500_000_000  # of regions cut out of images, so that not each view decodes the image


@dataclass(frozen=True, eq=False)
class Sample:
    """An augmented image, or region around an object, as the network gets it; and K keypoints.

    Attributes:
        features_HWC: the network's input, half precision.
        cells_K2: (x, y) of the keypoints in cells, NaN where they are not visible.
        reference_length: the longer side of the object's box, in cells.
        mask: the pixels of the canvas that show the object; None where that is not known.
    """

    features_HWC: Float[Tensor, "H W C"]
    cells_K2: Float[Tensor, "K 2"]
    reference_length: float
    mask: Bool[Tensor, "size size"] | None = None

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""
        return self.features_HWC.nbytes + (0 if self.mask is None else self.mask.nbytes)


class SampleLoader:
    """Makes samples from image files; an LRU cache keeps them in memory.

    The region around its box shows an object that shares its image, the whole image any other.

    Args:
        extractor: makes feature maps, and the network's input of these.
        schemas: the keypoints by category; a flip exchanges left and right.
        max_pixels: refuse image files with more pixels than this.
        reduce: applied to the network's input before it is cached.
        canvases: load canvases (0 to 255) in place of features, for a backbone that is trained.
        masks: finds the mask of an annotated object in its image; None where masks are not needed.
    """

    def __init__(
        self,
        extractor: DescriptorExtractor,
        schemas: Mapping[str, KeypointSchema],
        max_pixels: int,
        reduce: Callable[[Tensor], Tensor] = lambda features: features,
        canvases: bool = False,
        masks: MaskSource | None = None,
    ):
        self.extractor = extractor
        self.schemas = schemas
        self.reduce = reduce
        self.canvases = canvases
        self.masks = masks
        self._images = ImageLoader(extractor.backbone.canvas_size, "", max_pixels)
        self._regions: LRUCache[Annotation, Features] = LRUCache(
            _REGION_BYTES,
            lambda found: sum(3 * i.width * i.height for i in (found.view, found.image)),
        )
        self._cache: LRUCache[tuple[Annotation, Augmentation], Sample] = LRUCache(
            CACHE_BYTES, lambda sample: sample.nbytes
        )

    def __call__(self, annotation: Annotation, augmentation: Augmentation) -> Sample:
        """The sample of an annotated object.

        Raises:
            HomologError: the image cannot be read, or the box that tells the object from others of
                its image cannot be right.
        """
        key = annotation, augmentation
        return self._cache.get(key, lambda: self._load(annotation, augmentation))

    @torch.no_grad()
    def _load(self, annotation: Annotation, augmentation: Augmentation) -> Sample:
        backbone = self.extractor.backbone
        if annotation.shares_image:
            shown = self._regions.get(annotation, lambda: self._cut(annotation))
        else:
            shown = self._images.whole(annotation.path, str(annotation.path))
        transform = canvas_transform(backbone, shown.width, shown.height, region=shown.region)
        canvas = torch.from_numpy(np.array(augmentation.canvas(shown.view, transform)))
        if self.canvases:
            inputs = canvas[None]  # half precision holds 0 to 255 exactly
        else:
            maps = next(self.extractor.feature_maps([canvas], annotation.category))
            valid = torch.from_numpy(augmentation.valid_cells(transform)).to(backbone.device)
            inputs = self.extractor.network_inputs(maps, valid[None])
        keypoints = annotation.keypoints
        if shown.region is not None:
            keypoints = np.where(shown.region.contains(keypoints)[:, None], keypoints, np.nan)
        cells = augmentation.to_cells(keypoints, transform)
        if augmentation.mirrored:  # what was the left paw now looks like the right paw
            cells = cells[list(self.schemas[annotation.category].mirror)]
        scale = augmentation.scale * transform.letterbox.scale / backbone.grid.stride
        found = None if self.masks is None else self.masks(annotation)
        mask = None
        if found is not None:
            mask = torch.from_numpy(augmentation.mask_pixels(found, transform))
        return Sample(
            self.reduce(inputs)[0].half().cpu(),
            torch.from_numpy(cells).float(),
            annotation.reference_length("box") * scale,
            mask,
        )

    def _cut(self, annotation: Annotation) -> Features:
        """The region around an object's box."""
        whole = self._images.whole(annotation.path, str(annotation.path), keep=True)
        names = [f"{annotation.name}: box"]
        (region,) = self._images.regions(whole, [annotation.xywh], names, context=False)
        # The image as it was decoded is large; its file will do.
        region.original = annotation.path
        return region
