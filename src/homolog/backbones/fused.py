"""Several backbones that are used together."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from homolog.backbones.base import Backbone, padding_of
from homolog.backbones.configs import FusedConfig
from homolog.backbones.registry import create
from homolog.errors import HomologError
from homolog.image.geometry import Grid


class FusedBackbone(nn.Module):
    """The feature maps of several backbones, all on the canvas of the largest.

    Args:
        parts: the backbones; the grid of the descriptors is that of the last.
        config: their configurations.
    """

    def __init__(self, parts: Sequence[Backbone], config: FusedConfig):
        super().__init__()
        if any(padding_of(part) != "centred" for part in parts):
            raise HomologError(
                "padding: expected 'centred' of backbones used together, got 'right-bottom'"
            )
        self.config = config
        self.parts = list(parts)
        self.modules_of_parts = nn.ModuleList(p for p in parts if isinstance(p, nn.Module))
        self.canvas_size = max(part.canvas_size for part in parts)
        self.grids = tuple(
            _scaled(grid, self.canvas_size / part.canvas_size)
            for part in parts
            for grid in part.grids
        )
        self.grid = _scaled(parts[-1].grid, self.canvas_size / parts[-1].canvas_size)

    @property
    def device(self) -> torch.device:
        """The device of its weights."""
        return self.parts[0].device

    @torch.no_grad()
    def forward(
        self, canvases: UInt8[Tensor, "B size size 3"], category: str | None = None
    ) -> list[Float[Tensor, "B _C _h _w"]]:
        """The feature maps of the first part, then those of the next, and so on.

        Args:
            canvases: letterboxed images.
            category: what they show, for parts whose prompts ask for it.
        """
        maps = []
        for part, config in zip(self.parts, self.config.parts, strict=True):
            prompt = {"category": category} if config.needs_category else {}
            maps += part(_resized(canvases, part.canvas_size), **prompt)
        return maps


def _scaled(grid: Grid, factor: float) -> Grid:
    """The same cells on a canvas that is larger by a factor."""
    return dataclasses.replace(grid, stride=grid.stride * factor, origin=grid.origin * factor)


def _resized(canvases: UInt8[Tensor, "B _S _S 3"], size: int) -> UInt8[Tensor, "B _T _T 3"]:
    """Canvases reduced to another size, antialiased as Pillow does."""
    if canvases.shape[1] == size:
        return canvases
    images = canvases.permute(0, 3, 1, 2).float()
    resized = F.interpolate(images, size=(size, size), mode="bilinear", antialias=True)
    return resized.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


def load(config: FusedConfig, device: torch.device) -> FusedBackbone:
    """Load all parts onto a device.

    Raises:
        HomologError: the weights or libraries of one of them are missing.
    """
    return FusedBackbone([create(part, device) for part in config.parts], config)
