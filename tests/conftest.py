"""Fixtures: devices, a transparent toy backbone, the embedded matcher, pictures."""

from __future__ import annotations

import os

import numpy as np
import pytest
import real_pictures
import torch
import torch.nn.functional as F
from hypothesis import settings
from PIL import Image
from torch import Tensor

from homolog import Matcher, MatcherConfig
from homolog.features import FusionConfig
from homolog.geometry import Grid

# Small tensors gain nothing from threads; with two test processes on two cores, threads that wait
# for each other cost several times the work.
torch.set_num_threads(1)
# What a test finds does not depend on how busy the machine is.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


def pytest_configure() -> None:
    """Forget what the shell says: it may be a cluster's job, or have a terminal of its own."""
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "RAY_ADDRESS", "FORCE_COLOR", "COLUMNS"):
        os.environ.pop(name, None)


def pytest_report_header() -> str:
    there = "found" if real_pictures.ROOT.is_dir() else "not there, checks on them are skipped:"
    return f"real photos: {there} {real_pictures.ROOT} (HOMOLOG_DATA)"


@pytest.fixture(params=["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"])
def device(request: pytest.FixtureRequest) -> torch.device:
    return torch.device(request.param)


class ColourBackbone:
    """Colour of each patch, and how it changes to the right and downwards.

    When two pictures are turned alike, so are the answers; when one is, its descriptors change,
    as those of real backbones do. Colours become random Fourier features, so that only like
    colours have like descriptors.
    """

    side = 96
    grid = Grid.of_patches(96, 8)
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


@pytest.fixture
def colour_matcher() -> Matcher:
    config = MatcherConfig(
        backbone="colour",
        fusion=FusionConfig(groups=((0,), (1,)), weights=(1.0, 1.0)),
        window=2,
        temperature=0.02,
        guidance=None,
        same_kind=0.5,
    )
    return Matcher(ColourBackbone(), config)


@pytest.fixture(scope="session")
def matcher() -> Matcher:
    return Matcher.from_pretrained("embedded", device="cpu")


def random_picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """Soft patches of random colours: every place looks different."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
