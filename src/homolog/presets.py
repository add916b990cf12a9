"""The configurations that come with the package, by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial

from homolog.backbones import BackboneConfig, DinoConfig, FusedConfig, StableDiffusionConfig
from homolog.config import MatcherConfig
from homolog.features import FusionConfig
from homolog.matching.consensus import ConsensusConfig
from homolog.networks.sides import SidesConfig


def embedded_zero_shot() -> MatcherConfig:
    """EfficientNet-Lite0 and -Lite2, chosen as told in docs/experiments.md."""
    lite0, lite2 = (0.36, 0.36, 0.36), (1.0, 1.0, 1.0)
    return MatcherConfig(
        backbone="efficientnet-lite",
        fusion=FusionConfig(
            groups=((0,), (1,), (2,), (3,), (4,), (5,)),
            weights=lite0 + lite2,
            kernel=2.0,
            center=True,
        ),
        window=4,
        temperature=0.02,
        consensus=ConsensusConfig(),
        same_category_threshold=0.42,
    )


def embedded() -> MatcherConfig:
    """The default: the same with sides, learned and calibrated as told in docs/synthetic.md."""
    sides = SidesConfig(
        1032, side_weight=0.2, coordinate_weight=0.3, presence_calibration=(15.08, -7.67)
    )
    return dataclasses.replace(embedded_zero_shot(), sides=sides)


def zero_shot(backbone: BackboneConfig, *groups: tuple[int, ...]) -> MatcherConfig:
    """Zero-shot matching as published: parts normalised separately, window soft-argmax.

    Args:
        backbone: a foundation model, or several.
        groups: indices of maps that are normalised together.
    """
    return MatcherConfig(
        backbone=backbone,
        fusion=FusionConfig(groups=groups, weights=(1.0,) * len(groups)),
        window=5,
        temperature=0.02,
        consensus=None,
        same_category_threshold=None,
    )


def dino(model: str, side: int) -> MatcherConfig:
    """The last layer's tokens of a DINO model."""
    return zero_shot(DinoConfig(model, side), (0,))


def sd15() -> MatcherConfig:
    """Stable Diffusion 1.5 alone."""
    return zero_shot(StableDiffusionConfig(), (0, 1, 2))


def sd15_dinov2_base() -> MatcherConfig:
    """The published system: 3,968 channels on 60 x 60 cells."""
    dinov2 = DinoConfig("facebook/dinov2-base", positions="published")
    return zero_shot(FusedConfig((StableDiffusionConfig(), dinov2)), (0, 1, 2), (3,))


def cleandift_dinov2_base() -> MatcherConfig:
    """CleanDIFT's UNet in place of Stable Diffusion 2.1's, which sees clean latents."""
    unet = StableDiffusionConfig(
        model="stabilityai/stable-diffusion-2-1",
        unet="cleandift_sd21_unet.safetensors",
        timesteps=(0,),
        noise=False,
        freeu=None,
    )
    return zero_shot(FusedConfig((unet, DinoConfig("facebook/dinov2-base"))), (0, 1, 2), (3,))


PRESETS: Mapping[str, Callable[[], MatcherConfig]] = {
    "embedded": embedded,
    "embedded-zero-shot": embedded_zero_shot,
    **{
        f"dinov2-{size}": partial(dino, f"facebook/dinov2-{size}", 840)
        for size in ("small", "base", "large")
    },
    **{
        f"dinov3-{size}": partial(dino, f"facebook/dinov3-vit{letter}16-pretrain-lvd1689m", 960)
        for size, letter in (("small", "s"), ("base", "b"), ("large", "l"))
    },
    "sd15": sd15,
    "sd15+dinov2-base": sd15_dinov2_base,
    "cleandift+dinov2-base": cleandift_dinov2_base,
}
