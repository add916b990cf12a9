"""A toy image store, images that show parts of one scene, and a side head that knows a rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from helpers.toy_training import toy_matcher
from helpers.toys import random_image
from homolog import Matcher
from homolog.networks.sides import SideHead, SideMaps, SidesConfig
from homolog.training.adaptation.store import ImageStore

CHANNELS = 70
"""Of the toy backbone's zero-shot descriptors."""


def save_images(
    folder: Path, images: Mapping[str, Image.Image] | Sequence[Image.Image]
) -> list[Path]:
    """Write images; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    named = images if isinstance(images, Mapping) else dict(enumerate(images))
    paths = [folder / f"{name}.png" for name in named]
    for path, image in zip(paths, named.values(), strict=True):
        image.save(path)
    return paths


def toy_store(
    folder: Path,
    images: Mapping[str, Image.Image] | Sequence[Image.Image],
    components: int = CHANNELS,
    matcher: Matcher | None = None,
) -> ImageStore:
    """A store of images, by default with all components of their descriptors."""
    paths = save_images(folder / "images", images)
    return ImageStore(folder / "store", matcher or toy_matcher(), paths, components)


def cuts(
    *corners: tuple[int, int], size: tuple[int, int] = (96, 96), seed: int = 0
) -> list[Image.Image]:
    """Parts of one scene, by their upper left corners."""
    scene = random_image(200, 200, seed)
    width, height = size
    return [scene.crop((x, y, x + width, y + height)) for x, y in corners]


class RuledSides(SideHead):
    """A side head that recognises what it is told to, by a fixed rule.

    Args:
        objectness: of all cells.
        sides_weight: of agreement in side and in coordinates.
    """

    def __init__(self, objectness: float = 0.9, sides_weight: float = 0.0):
        torch.manual_seed(0)
        config = SidesConfig(
            CHANNELS, 8, (16, 16, 16), 1, side_weight=sides_weight, coordinate_weight=sides_weight
        )
        super().__init__(config)
        self.objectness = objectness
        self.rule = torch.randn(CHANNELS, 7, generator=torch.manual_seed(1))
        self.eval().requires_grad_(False)

    def forward(self, features_BHWC: Tensor) -> SideMaps:
        found = features_BHWC @ self.rule.to(features_BHWC)
        objectness = torch.full_like(found[..., 0], self.objectness)
        return SideMaps(objectness, found[..., 0].tanh(), found[..., 1:4], found[..., 4:7])
