"""A transparent toy backbone, and images whose every place looks different."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from homolog.image.geometry import Grid


class ColourBackbone:
    """Colour of each patch, and how it changes to the right and downwards.

    When two images are turned alike, so are the answers; when one is, its descriptors change,
    as those of real backbones do. Colours become random Fourier features, so that only like
    colours have like descriptors.
    """

    canvas_size = 96
    grid = Grid.from_patches(96, 8)
    grids = (grid, grid)
    device = torch.device("cpu")

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, canvases: Tensor) -> list[Tensor]:
        self.seen += len(canvases)
        colour = F.avg_pool2d(canvases.permute(0, 3, 1, 2).float(), 8)
        generator = torch.manual_seed(0)
        waves = torch.randn(64, 3, generator=generator) / 25
        phases = torch.rand(64, 1, 1, generator=generator) * 2 * torch.pi
        around = F.pad(colour, (1, 1, 1, 1), mode="replicate")
        right = around[:, :, 1:-1, 2:] - around[:, :, 1:-1, :-2]
        down = around[:, :, 2:, 1:-1] - around[:, :, :-2, 1:-1]
        return [
            torch.cos(torch.einsum("dc,bchw->bdhw", waves, colour) + phases),
            torch.cat([right, down], dim=1),
        ]


def random_image(width: int, height: int, seed: int = 0) -> Image.Image:
    """Soft patches of random colours: every place looks different."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def unit(*shape: int, seed: int = 0) -> Tensor:
    """Random descriptors of unit length."""
    return F.normalize(torch.randn(*shape, generator=torch.manual_seed(seed)), dim=-1)
