"""From a backbone's feature maps to descriptors: zero-shot, or through trained networks."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from homolog.backbones import Backbone
from homolog.backbones.batching import FeatureMaps, in_batches
from homolog.config import MatcherConfig
from homolog.descriptors import DescriptorMap
from homolog.features import FeatureCache, fuse, stack
from homolog.features.foreground import saliency
from homolog.image.geometry import CanvasTransform
from homolog.networks.sides import SideHead, SideMaps, append_sides, presence
from homolog.utils.serialization import stable_repr

BATCH = 8  # canvases that go through the backbone at once


class DescriptorExtractor:
    """Extracts descriptors: backbone, fusion, and the trained networks a configuration names.

    Args:
        backbone: makes the feature maps.
        config: how feature maps become descriptors.
        network: the post-processor, if the configuration has one.
        side_head: the network that tells sides, likewise.
        cache: keeps feature maps on disk.
    """

    def __init__(
        self,
        backbone: Backbone,
        config: MatcherConfig,
        network: nn.Module | None = None,
        side_head: SideHead | None = None,
        cache: FeatureCache | None = None,
    ):
        assert (network is None) == (config.post_processor is None)
        assert (side_head is None) == (config.sides is None)
        self.backbone = backbone
        self.config = config
        self.network = network
        self.side_head = side_head
        self.cache = cache

    def feature_maps(
        self,
        canvases: Iterable[UInt8[Tensor, "size size 3"]],
        category: str | None = None,
    ) -> Iterator[FeatureMaps]:
        """The backbone's feature maps of canvases, a batch at a time, or from the cache.

        Args:
            canvases: letterboxed images.
            category: what they show, for prompts that ask for it.

        Raises:
            HomologError: a canvas does not fit into the device's memory, a file cannot be
                written, or a prompt asks for a category that is not given.
        """
        _, prompt = self.config.resolve_prompt(category)
        if self.cache is None:
            yield from in_batches(self.backbone, canvases, BATCH, **prompt)
            return
        key = self.cache_key(category)
        for canvas in canvases:

            def make(canvas: Tensor = canvas) -> FeatureMaps:
                return next(in_batches(self.backbone, [canvas], 1, **prompt))

            pixels = canvas.numpy().tobytes()
            yield self.cache.get_or_compute(pixels, key, self.backbone.device, make)

    def cache_key(self, category: str | None = None) -> str:
        """Everything that feature maps depend on besides the canvas.

        Args:
            category: what the image shows, for prompts that ask for it.

        Raises:
            HomologError: a prompt asks for the category, and it is not given.
        """
        settings = self.config.post_processor
        digest = (
            ""
            if settings is None or settings.backbone_digest is None
            else f" {settings.backbone_digest}"
        )
        backbone, _ = self.config.resolve_prompt(category)
        name = backbone if isinstance(backbone, str) else stable_repr(backbone)
        return f"{name} {self.backbone.canvas_size}{digest}"

    def zero_shot(
        self, maps: FeatureMaps, valid_BHW: Bool[Tensor, "B H W"]
    ) -> Float[Tensor, "B H W C"]:
        """Descriptors without training, of unit length."""
        backbone = self.backbone
        return fuse(maps, backbone.grids, backbone.grid, valid_BHW, self.config.fusion)

    def network_inputs(
        self, maps: FeatureMaps, valid_BHW: Bool[Tensor, "B H W"]
    ) -> Float[Tensor, "B H W C"]:
        """The input of the post-processor: the feature maps, or zero-shot descriptors."""
        settings = self.config.post_processor
        if settings is not None and settings.input == "maps":
            return stack(maps, self.backbone.grids, self.backbone.grid)
        return self.zero_shot(maps, valid_BHW)

    @torch.no_grad()
    def __call__(self, maps: FeatureMaps, transform: CanvasTransform) -> DescriptorMap:
        """Descriptors of one image in one pose.

        Saliency comes from zero-shot descriptors: a post-processor need not tell objects from
        backgrounds.

        Args:
            maps: the feature maps of its canvas.
            transform: from points of the image to cells.
        """
        valid = torch.from_numpy(transform.valid_cells).to(self.backbone.device)
        zero_shot = self.zero_shot(maps, valid[None])
        learned, sides = None, None
        if self.network is not None and self.config.post_processor is not None:
            given = zero_shot
            if self.config.post_processor.input == "maps":
                given = stack(maps, self.backbone.grids, self.backbone.grid)
            learned = self.network(given.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)[0]
        if self.side_head is not None:
            sides = self.side_head(zero_shot)[0]
        salient = saliency(zero_shot[0], valid)
        coarse = None
        if learned is not None and learned.shape[:2] != valid.shape:
            coarse = DescriptorMap(transform, zero_shot[0], valid, valid, salient, sides)
            transform = dataclasses.replace(
                transform, grid=transform.grid.refined(len(learned) // len(valid))
            )
            valid = torch.from_numpy(transform.valid_cells).to(valid.device)
            salient = coarse.at(salient[..., None], transform.grid)[..., 0] * valid
            if sides is not None:
                sides = SideMaps.from_stacked(coarse.at(sides.stacked, transform.grid))
            if zero_shot_share(sides, self.config) > 0:
                zero_shot = F.normalize(coarse.at(zero_shot[0], transform.grid), dim=-1)[None]
        descriptors = join_descriptors(zero_shot[0], learned, sides, self.config)
        lengths = None
        if learned is not None and self.config.similarity == "inner-product":
            lengths = torch.linalg.vector_norm(learned.float(), dim=-1)
        return DescriptorMap(transform, descriptors, valid, valid, salient, sides, lengths, coarse)

    @property
    def digest(self) -> str | None:
        """A digest of the trained networks' weights; None without any."""
        networks: Sequence[nn.Module] = [
            network for network in (self.network, self.side_head) if network is not None
        ]
        if not networks:
            return None
        found = hashlib.sha256()
        for network in networks:
            for name, tensor in sorted(network.state_dict().items()):
                found.update(name.encode())
                found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return found.hexdigest()[:16]


def join_descriptors(
    zero_shot_HWC: Float[Tensor, "_H _W C"],
    learned_HWD: Float[Tensor, "H W D"] | None,
    sides: SideMaps | None,
    config: MatcherConfig,
) -> Float[Tensor, "H W E"]:
    """Descriptors of unit length whose inner product mixes all similarities of a configuration.

    Args:
        zero_shot_HWC: zero-shot descriptors, of unit length; on the same grid as the others, if
            they have a share.
        learned_HWD: the post-processor's output, not normalised; None without one.
        sides: the side head's predictions; None without one.
        config: has the weight of each.
    """
    descriptors = zero_shot_HWC
    if learned_HWD is not None and config.post_processor is not None:
        descriptors = F.normalize(learned_HWD.float(), dim=-1)
        if (share := zero_shot_share(sides, config)) > 0:
            parts = ((1 - share, descriptors), (share, zero_shot_HWC))
            descriptors = torch.cat([math.sqrt(weight) * part for weight, part in parts], dim=-1)
    if sides is not None and config.sides is not None:
        descriptors = append_sides(descriptors, sides, config.sides)
    return descriptors


def zero_shot_share(sides: SideMaps | None, config: MatcherConfig) -> float:
    """The share of the zero-shot similarity in that of a descriptor with itself.

    In the similarity of two descriptors it is the geometric mean of both images' shares.

    Args:
        sides: the side head's predictions; None without one.
        config: has a post-processor.
    """
    settings = config.post_processor
    assert settings is not None, "a configuration with a post-processor"
    share, recognised = settings.zero_shot, settings.zero_shot_recognised
    if recognised is None or sides is None or config.sides is None:
        return share
    return share + (recognised - share) * float(presence(sides.objectness, config.sides))
