"""From a backbone's maps to descriptors: zero-shot, or through a trained network."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from homolog.backbones import Backbone
from homolog.config import MatcherConfig
from homolog.features import FeatureCache, fuse, stack
from homolog.features.foreground import foreground
from homolog.features.precompute import does_not_fit
from homolog.image.geometry import View
from homolog.networks.sides import SideNetwork, with_sides
from homolog.results import PosedFeatures

Maps = Sequence[Float[Tensor, "B _C _h _w"]]


class Describer:
    """Makes descriptors of maps.

    Args:
        backbone: where the maps come from.
        config: how they become descriptors.
        network: the trained network, if the configuration says that there is one.
        sides: the network that tells sides, likewise.
    """

    def __init__(
        self,
        backbone: Backbone,
        config: MatcherConfig,
        network: nn.Module | None,
        sides: SideNetwork | None = None,
    ):
        assert (network is None) == (config.post_processor is None)
        assert (sides is None) == (config.sides is None)
        self.backbone = backbone
        self.config = config
        self.network = network
        self.sides = sides

    def maps(self, canvas: Tensor, cache: FeatureCache | None, category: str | None = None) -> Maps:
        """The backbone's maps of one canvas, perhaps kept on disk.

        Args:
            canvas: (side, side, 3), uint8.
            cache: where they are kept.
            category: what the picture shows, for prompts that ask for it.

        Raises:
            HomologError: the canvas does not fit into the device's memory, a file cannot be
                written, or a prompt asks for a category that is not given.
        """
        backbone = self.backbone
        _, known = self.config.prompt_for(category)

        def make() -> Maps:
            try:
                return backbone(canvas[None], **known)
            except torch.OutOfMemoryError:
                raise does_not_fit(backbone) from None

        if cache is None:
            return make()
        pixels = canvas.numpy().tobytes()
        return cache.maps(pixels, self.made_by(category), backbone.device, make)

    def made_by(self, category: str | None = None) -> str:
        """All that maps depend on but the canvas.

        Args:
            category: what the picture shows, for prompts that ask for it.

        Raises:
            HomologError: one asks for it, and it is not given.
        """
        settings = self.config.post_processor
        tuned = "" if settings is None or settings.tuned is None else f" {settings.tuned}"
        backbone, _ = self.config.prompt_for(category)
        return f"{backbone} {self.backbone.side}{tuned}"

    def zero_shot(self, maps: Maps, content_BHW: Bool[Tensor, "B H W"]) -> Float[Tensor, "B H W C"]:
        """Descriptors without training, of unit length."""
        backbone = self.backbone
        return fuse(maps, backbone.grids, backbone.grid, content_BHW, self.config.fusion)

    def inputs(self, maps: Maps, content_BHW: Bool[Tensor, "B H W"]) -> Float[Tensor, "B H W C"]:
        """What the network is given."""
        settings = self.config.post_processor
        if settings is not None and settings.input == "maps":
            return stack(maps, self.backbone.grids, self.backbone.grid)
        return self.zero_shot(maps, content_BHW)

    @torch.no_grad()
    def __call__(self, maps: Maps, view: View) -> PosedFeatures:
        """Descriptors of one picture in one pose.

        What stands out is judged by zero-shot descriptors: a trained network need not tell things
        from backgrounds.
        """
        content = torch.from_numpy(view.content).to(self.backbone.device)
        zero_shot = self.zero_shot(maps, content[None])
        descriptors, sides = zero_shot[0], None
        if self.network is not None and self.config.post_processor is not None:
            settings = self.config.post_processor
            given = self.inputs(maps, content[None]) if settings.input == "maps" else zero_shot
            learned = self.network(given.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
            descriptors = F.normalize(learned.float(), dim=-1)[0]
            if settings.zero_shot > 0:
                parts = ((1 - settings.zero_shot, descriptors), (settings.zero_shot, zero_shot[0]))
                descriptors = torch.cat([math.sqrt(share) * part for share, part in parts], dim=-1)
        if self.sides is not None and self.config.sides is not None:
            sides = self.sides(zero_shot)[0]
            descriptors = with_sides(descriptors, sides, self.config.sides)
        if self.network is None and sides is None:
            return PosedFeatures(view, descriptors, content)
        return PosedFeatures(view, descriptors, content, foreground(zero_shot[0], content), sides)

    @property
    def digest(self) -> str | None:
        """Tells the networks' weights from others'; None without any."""
        networks = [network for network in (self.network, self.sides) if network is not None]
        if not networks:
            return None
        found = hashlib.sha256()
        for network in networks:
            for name, tensor in sorted(network.state_dict().items()):
                found.update(name.encode())
                found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return found.hexdigest()[:16]
