"""What decides where a point goes, and the settings that come with the package."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from homolog.errors import HomologError
from homolog.features import (
    BackboneConfig,
    DinoConfig,
    FusedConfig,
    FusionConfig,
    StableDiffusionConfig,
    TuningConfig,
    backbone_from_dict,
)
from homolog.guidance import GuidanceConfig


@dataclass(frozen=True)
class PostProcessorConfig:
    """What a trained network is given, and what becomes of its answer.

    Attributes:
        input: `maps` as the backbone makes them, as published, or zero-shot `descriptors`.
        zero_shot: the share of the zero-shot similarity in the similarity of two descriptors.
        tuning: what of the backbone was trained with it.
        tuned: tells what was trained from what others trained.
    """

    input: Literal["maps", "descriptors"]
    zero_shot: float = 0.0
    tuning: TuningConfig | None = None
    tuned: str | None = None


@dataclass(frozen=True)
class SidesConfig:
    """The network that tells sides (`homolog.sides`), and its part in similarity.

    Attributes:
        feature_dim: channels of the zero-shot descriptors.
        components: principal components kept of them.
        widths: channels at the full resolution, at half and at a quarter of it.
        layers: of self-attention at a quarter.
        side: how much two cells' agreement in side counts; 0 for not at all.
        place: how much their agreement in place counts.
        reach: how far apart places still agree, in about half the length of a body.
        presence: slope and offset of the logit that a picture shows such a thing at all, as a
            function of `homolog.sides.certainty`; None where that was not learnt, and is taken as
            sure.
    """

    feature_dim: int
    components: int = 256
    widths: tuple[int, int, int] = (64, 96, 192)
    layers: int = 3
    side: float = 0.0
    place: float = 0.0
    reach: float = 0.5
    presence: tuple[float, float] | None = None


@dataclass(frozen=True)
class MatcherConfig:
    """Everything that decides where a point goes.

    Attributes:
        backbone: name of a registered backbone, or the configuration of a foundation model.
        fusion: how its maps become descriptors.
        window: half-width of the soft-argmax window, in cells; None for all cells.
        temperature: of the soft-argmax.
        guidance: how much the rest of both pictures guides where a point goes; None for similarity
            alone, as published.
        same_kind: the pair score from which two pictures probably show things of one kind; None
            if that has not been measured.
        post_processor: how a trained network takes part; None for zero-shot descriptors.
        sides: how a network that tells sides takes part; None for none.
    """

    backbone: str | BackboneConfig
    fusion: FusionConfig
    window: int | None
    temperature: float
    guidance: GuidanceConfig | None
    same_kind: float | None
    post_processor: PostProcessorConfig | None = None
    sides: SidesConfig | None = None

    def prompt_for(self, category: str | None) -> tuple[str | BackboneConfig, dict[str, str]]:
        """The backbone with its prompt for a picture, and what it is given besides the picture.

        Args:
            category: what the picture shows, where that is known.

        Raises:
            HomologError: the prompt asks for it, and it is not known.
        """
        backbone = self.backbone
        if isinstance(backbone, str) or not backbone.by_category:
            return backbone, {}
        if category is None:
            raise HomologError(
                "prompt: asks for the {category} of a picture, which is not known here: write it "
                "out, or give it to extract"
            )
        return backbone.prompted(category), {"category": category}

    def with_models(self, weights: str | Sequence[str] | None, prompt: str | None) -> MatcherConfig:
        """The same with other foundation models, or another prompt.

        Args:
            weights: a folder or hub name for each, in order, and one for a UNet put in the place of
                Stable Diffusion's own, after it; None for those there are.
            prompt: of Stable Diffusion; None for the one there is.

        Raises:
            HomologError: there are more or fewer models, none takes a prompt, or it asks for
                something else than `{category}`.
        """
        if weights is None and prompt is None:
            return self
        if isinstance(self.backbone, str):
            raise HomologError(f"weights: {self.backbone} brings its own, and takes no prompt")
        fused = isinstance(self.backbone, FusedConfig)
        parts = self.backbone.parts if isinstance(self.backbone, FusedConfig) else (self.backbone,)
        if weights is not None:
            names = [weights] if isinstance(weights, str) else list(weights)
            slots = [
                (index, field)
                for index, part in enumerate(parts)
                for field in ("model", "unet")
                if getattr(part, field, None) is not None
            ]
            if len(names) != len(slots):
                takes = ", ".join(str(getattr(parts[index], field)) for index, field in slots)
                raise HomologError(
                    f"weights: got {len(names)}, takes {len(slots)}, in place of {takes}"
                )
            changed = list(parts)
            for (index, field), name in zip(slots, names, strict=True):
                changes: dict[str, Any] = {field: name}
                changed[index] = dataclasses.replace(changed[index], **changes)
            parts = tuple(changed)
        if prompt is not None:
            if not any(isinstance(part, StableDiffusionConfig) for part in parts):
                raise HomologError("prompt: only Stable Diffusion takes one")
            if strange := set(re.findall(r"{.*?}", prompt)) - {"{category}"}:
                raise HomologError(f"prompt: {', '.join(sorted(strange))} is not {{category}}")
            parts = tuple(
                dataclasses.replace(part, prompt=prompt)
                if isinstance(part, StableDiffusionConfig)
                else part
                for part in parts
            )
        backbone = FusedConfig(parts) if fused else parts[0]
        return dataclasses.replace(self, backbone=backbone)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> MatcherConfig:
        """The configuration that `dataclasses.asdict` made a dictionary of, perhaps through JSON.

        Raises:
            KeyError, TypeError: it is none.
        """
        values = dict(plain)
        if not isinstance(values["backbone"], str):
            values["backbone"] = backbone_from_dict(values["backbone"])
        fusion = dict(values["fusion"])
        fusion["groups"] = tuple(map(tuple, fusion["groups"]))
        fusion["weights"] = tuple(fusion["weights"])
        values["fusion"] = FusionConfig(**fusion)
        settings = values.get("post_processor")
        if settings is not None and settings.get("tuning") is not None:
            tuning = TuningConfig(**settings["tuning"])
            values["post_processor"] = {**settings, "tuning": tuning}
        if values.get("sides") is not None:
            settings = values["sides"]
            tuples = {n: tuple(v) for n, v in settings.items() if isinstance(v, (list, tuple))}
            values["sides"] = {**settings, **tuples}
        parts = {
            "guidance": GuidanceConfig,
            "post_processor": PostProcessorConfig,
            "sides": SidesConfig,
        }
        for name, kind in parts.items():
            if values.get(name) is not None:
                values[name] = kind(**values[name])
        return cls(**values)


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
        guidance=GuidanceConfig(),
        same_kind=0.42,
    )


def embedded() -> MatcherConfig:
    """The default: the same with sides, learned and calibrated as told in docs/synthetic.md."""
    sides = SidesConfig(1032, side=0.2, place=0.3, presence=(15.08, -7.67))
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
        guidance=None,
        same_kind=None,
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
