"""What decides where a point goes, and the settings that come with the package."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from homolog import moved
from homolog.backbones import (
    BackboneConfig,
    FusedConfig,
    StableDiffusionConfig,
    TuningConfig,
    backbone_from_dict,
)
from homolog.errors import HomologError
from homolog.features import FusionConfig
from homolog.matching.consensus import GuidanceConfig
from homolog.networks.sides import SidesConfig


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


def __getattr__(name: str) -> Any:
    return moved.attribute(__name__, name)
