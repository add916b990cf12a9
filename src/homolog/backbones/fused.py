"""Several backbones side by side."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from homolog.backbones.base import Backbone, create
from homolog.backbones.configs import FusedConfig
from homolog.image.geometry import Grid


class FusedBackbone(nn.Module):
    """The maps of all parts, on the canvas of the largest.

    Args:
        parts: backbones; the grid is that of the last.
        config: what they are.
    """

    def __init__(self, parts: Sequence[Backbone], config: FusedConfig):
        super().__init__()
        self.config = config
        self.parts = list(parts)
        self.modules_of_parts = nn.ModuleList(p for p in parts if isinstance(p, nn.Module))
        self.side = max(part.side for part in parts)
        self.grids = tuple(
            _enlarged(grid, self.side / part.side) for part in parts for grid in part.grids
        )
        self.grid = _enlarged(parts[-1].grid, self.side / parts[-1].side)

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return self.parts[0].device

    @torch.no_grad()
    def forward(
        self, canvases: UInt8[Tensor, "B side side 3"], category: str | None = None
    ) -> list[Float[Tensor, "B _C _h _w"]]:
        """The maps of the first part, then those of the next.

        Args:
            canvases: the pictures.
            category: what they show, for parts whose prompts ask for it.
        """
        maps = []
        for part, config in zip(self.parts, self.config.parts, strict=True):
            known = {"category": category} if config.by_category else {}
            maps += part(_reduced(canvases, part.side), **known)
        return maps


def _enlarged(grid: Grid, factor: float) -> Grid:
    """The same cells, on a canvas that is larger by a factor."""
    return dataclasses.replace(grid, stride=grid.stride * factor, origin=grid.origin * factor)


def _reduced(canvases: UInt8[Tensor, "B _S _S 3"], side: int) -> UInt8[Tensor, "B _T _T 3"]:
    """Canvases of another side, each pixel a mean, as Pillow resizes."""
    if canvases.shape[1] == side:
        return canvases
    pictures = canvases.permute(0, 3, 1, 2).float()
    resized = F.interpolate(pictures, size=(side, side), mode="bilinear", antialias=True)
    return resized.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


def load(config: FusedConfig, device: torch.device) -> FusedBackbone:
    """All parts on a device.

    Raises:
        HomologError: one of them cannot be had.
    """
    return FusedBackbone([create(part, device) for part in config.parts], config)
