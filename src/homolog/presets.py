"""The configurations that come with the package, by name.

Which presets there are, what they need and where their weights come from is in the registry of
backbones (`homolog.backbones.registry`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Literal

from homolog.backbones import BackboneConfig, DinoConfig, Preset, TuningConfig
from homolog.backbones.registry import FAMILIES, MARCO_BACKBONE, import_function
from homolog.config import MatcherConfig, PostProcessorConfig
from homolog.features import FusionConfig
from homolog.matching.calibration import MatchWeights, ScoreCalibration
from homolog.matching.consensus import ConsensusConfig
from homolog.networks.sides import SidesConfig

_PUBLISHED_WINDOW = 7

MARCO_MATCHING: Mapping[str, Any] = {
    "similarity": "inner-product", "suppression_sigma": 7.0, "coordinates": "corners",
}  # fmt: skip
"""How MARCO reads positions from similarity, with a temperature of its own."""


def embedded_zero_shot() -> MatcherConfig:
    """EfficientNet-Lite0 and -Lite2; docs/experiments.md says how the layers were chosen."""
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
    """The default: the same with a side head, whose weights lie in `assets/embedded`.

    docs/explanation/default-model.md says what they were trained on; the numbers are those of
    `benchmarks/train_default.py`. A post-processor's weights would lie beside them.

    Model folders that were made from an earlier default have networks and a configuration of their
    own, and are not touched by that; features and resumable runs of one default are told from those
    of another by the weights' digest; caches of feature maps depend on the backbone alone.
    """
    sides = SidesConfig(
        1032, side_weight=0.2, coordinate_weight=0.3, presence_calibration=(16.75, -8.19)
    )
    scores = ScoreCalibration(
        right=MatchWeights(0.9, 3.24, 0.29, 1.03, 0.07, 0.22, offset=-2.42),
        visible=MatchWeights(0.4, 2.76, 3.56, 2.4, 0.71, 18.67, offset=-13.2),
    )
    return dataclasses.replace(embedded_zero_shot(), sides=sides, score_calibration=scores)


def zero_shot(backbone: BackboneConfig, *groups: tuple[int, ...]) -> MatcherConfig:
    """Zero-shot matching as published: maps normalised by groups, window soft-argmax.

    Args:
        backbone: a foundation model, or several.
        groups: indices of the feature maps that are normalised together.
    """
    return MatcherConfig(
        backbone=backbone,
        fusion=FusionConfig(groups=groups, weights=(1.0,) * len(groups)),
        window=5,
        temperature=0.02,
        consensus=None,
        same_category_threshold=None,
    )


def dino(model: str, canvas_size: int) -> MatcherConfig:
    """Zero-shot matching with the last layer's tokens of a DINO model.

    Args:
        model: `owner/name` on the hub, or a folder.
        canvas_size: width and height of the canvas in pixels, a multiple of the patch size.
    """
    return zero_shot(DinoConfig(model, canvas_size), (0,))


def marco(backbone: DinoConfig, tuning: TuningConfig) -> MatcherConfig:
    """Matching as MARCO was evaluated (CVPR 2026, arXiv 2604.18267).

    Its upsamplers are the post-processor; the adapters are fine-tuned with it.

    Args:
        backbone: a DINO transformer, and the longest side.
        tuning: where the adapters are.
    """
    backbone = dataclasses.replace(backbone, layers=(-1,), facet="tokens", padding="right-bottom")
    return MatcherConfig(
        backbone=backbone,
        fusion=FusionConfig(groups=((0,),), weights=(1.0,)),
        window=None,
        temperature=10.0,
        consensus=None,
        same_category_threshold=None,
        post_processor=PostProcessorConfig("maps", tuning=tuning),
        **MARCO_MATCHING,
    )


def marco_release() -> MatcherConfig:
    """MARCO with the weights that its authors released, as it was evaluated."""
    tuning = TuningConfig(tuple(range(15, 24)), rank=None, bottleneck=512)
    return marco(MARCO_BACKBONE, tuning)


def with_published_head(
    preset: str, trained_on: Literal["labels", "pseudo-labels"]
) -> MatcherConfig:
    """Matching with a published post-processor, as it was evaluated.

    Args:
        preset: of the feature maps that it was trained on.
        trained_on: what it was trained on.
    """
    config = PRESETS[preset]()
    backbone = config.backbone
    if isinstance(backbone, DinoConfig):
        # Where DINOv2 is used alone, too, the features were made with the original code.
        backbone = dataclasses.replace(backbone, pos_embed_mode="published")
    return dataclasses.replace(
        config,
        backbone=backbone,
        window=_PUBLISHED_WINDOW,
        post_processor=PostProcessorConfig("maps", trained_on=trained_on),
    )


def diy_sc() -> MatcherConfig:
    """DINOv2-B with a head of DIY-SC (Dünkel et al., 2025)."""
    return with_published_head("dinov2-base", "pseudo-labels")


def diy_sc_sd15() -> MatcherConfig:
    """Stable Diffusion 1.5 and DINOv2-B with the head of DIY-SC (Dünkel et al., 2025)."""
    return with_published_head("sd15+dinov2-base", "pseudo-labels")


def sd15() -> MatcherConfig:
    """Zero-shot matching with Stable Diffusion 1.5 alone."""
    return PRESETS["sd15"]()


def sd15_dinov2_base() -> MatcherConfig:
    """The published system: Stable Diffusion 1.5 beside DINOv2, 3,968 channels on 60 x 60 cells."""
    return PRESETS["sd15+dinov2-base"]()


def cleandift_dinov2_base() -> MatcherConfig:
    """The same with CleanDIFT's UNet, which takes clean latents, for Stable Diffusion 2.1's."""
    return PRESETS["cleandift+dinov2-base"]()


class _Presets(Mapping[str, Callable[[], MatcherConfig]]):
    """The presets of all families that are registered now."""

    def __getitem__(self, name: str) -> Callable[[], MatcherConfig]:
        for family in FAMILIES.values():
            if name in family.presets:
                return partial(_matcher_config, family.presets[name])
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return (name for family in FAMILIES.values() for name in family.presets)

    def __len__(self) -> int:
        return sum(len(family.presets) for family in FAMILIES.values())


def _matcher_config(preset: Preset) -> MatcherConfig:
    if preset.matcher is not None:
        made: MatcherConfig = import_function(preset.matcher)()
        return made
    assert not isinstance(preset.backbone, str), "a backbone without maps to group by default"
    return zero_shot(preset.backbone, *preset.groups)


PRESETS: Mapping[str, Callable[[], MatcherConfig]] = _Presets()
"""By name: functions that return the configurations."""
