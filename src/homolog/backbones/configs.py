"""What a foundation backbone is made of; small, so that no heavy library is needed to name one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from homolog.errors import HomologError

Precision = Literal["auto", "float32", "bfloat16", "float16"]

_CATEGORY = "{category}"


@dataclass(frozen=True)
class DinoConfig:
    """A DINOv2 or DINOv3 model, with or without registers, transformer or ConvNeXt.

    Attributes:
        model: a hub's `owner/name`, or a folder in the form of `transformers`.
        side: of the canvas in pixels, a multiple of the patch (of 32 for a ConvNeXt).
        layers: blocks (stages of a ConvNeXt) whose output is taken, counted from 0 or from the end;
            the last is taken after the final norm.
        facet: of a transformer's block: its output `tokens`, or the `keys` of its attention.
        positions: how DINOv2's position embeddings are brought to the canvas: `exact`, to its
            size, as `transformers` does, or `published`, with the scale factor of the original
            code, whose target size has 0.1 added. Published post-processors were trained on the
            latter.
        native: leave out the patches of the canvas that are black all over at its border, so that
            the model sees the picture in its own shape.
        precision: `auto` is bfloat16 on GPUs and single elsewhere.
    """

    model: str = "facebook/dinov2-base"
    side: int = 840
    layers: tuple[int, ...] = (-1,)
    facet: Literal["tokens", "keys"] = "tokens"
    positions: Literal["exact", "published"] = "exact"
    native: bool = False
    precision: Precision = "auto"
    family: Literal["dino"] = field(default="dino", init=False)

    @property
    def by_category(self) -> bool:
        """Never: it takes no prompt."""
        return False

    def prompted(self, category: str) -> DinoConfig:
        """The same."""
        return self


@dataclass(frozen=True)
class FreeUConfig:
    """FreeU (Si et al., CVPR 2024, arXiv 2309.11497), by the number of channels.

    Attributes:
        b1: factor of the first half of hidden states of 1,280 channels.
        b2: the same for 640 channels.
        s1: factor of the low frequencies of what is joined to 1,280 channels.
        s2: the same for 640 channels.
    """

    b1: float = 1.2
    b2: float = 1.4
    s1: float = 0.9
    s2: float = 0.2


@dataclass(frozen=True)
class StableDiffusionConfig:
    """The UNet of Stable Diffusion 1.5 or 2.1, as features (maps s5, s4, s3 of its decoder).

    Attributes:
        model: a hub's `owner/name`, or a folder in the form of `diffusers`.
        unet: another UNet to put in its place, such as CleanDIFT's; None for the model's own.
        side: of the canvas in pixels, a multiple of 64.
        timesteps: of the noise; maps are means over all.
        ensemble: how many draws of the noise for each timestep.
        seed: of the noise, which is always the same.
        noise: whether noise is added to the latents at all; CleanDIFT sees clean ones.
        prompt: the text that conditions it; `{category}` in it becomes the picture's category.
        freeu: settings of FreeU; None for none.
        precision: `auto` is half on GPUs and single elsewhere.
        slicing: attention in slices and the encoder in tiles of a batch, for small GPUs.
    """

    model: str = "stable-diffusion-v1-5/stable-diffusion-v1-5"
    unet: str | None = None
    side: int = 960
    timesteps: tuple[int, ...] = (50,)
    ensemble: int = 1
    seed: int = 42
    noise: bool = True
    prompt: str = ""
    freeu: FreeUConfig | None = FreeUConfig()
    precision: Precision = "auto"
    slicing: bool = False
    family: Literal["stable-diffusion"] = field(default="stable-diffusion", init=False)

    @property
    def by_category(self) -> bool:
        """Whether the prompt depends on what a picture shows."""
        return _CATEGORY in self.prompt

    def prompted(self, category: str) -> StableDiffusionConfig:
        """The same with the prompt for a category."""
        return replace(self, prompt=self.prompt.replace(_CATEGORY, category))


@dataclass(frozen=True)
class FusedConfig:
    """Several backbones side by side, on the grid of the last.

    Attributes:
        parts: each looks at the canvas of the largest, reduced to its own size.
    """

    parts: tuple[DinoConfig | StableDiffusionConfig, ...]
    family: Literal["fused"] = field(default="fused", init=False)

    @property
    def by_category(self) -> bool:
        """Whether a part's prompt depends on what a picture shows."""
        return any(part.by_category for part in self.parts)

    def prompted(self, category: str) -> FusedConfig:
        """The same with the prompts for a category."""
        return FusedConfig(tuple(part.prompted(category) for part in self.parts))


@dataclass(frozen=True)
class TuningConfig:
    """What of a DINO backbone is trained.

    Attributes:
        blocks: how many, counted from the last.
        rank: of the adapters (LoRA, Hu et al., ICLR 2022); None to train whole blocks.
        learning_rate: the largest of the one-cycle schedule.
    """

    blocks: int
    rank: int | None = 8
    learning_rate: float = 1e-4


BackboneConfig = DinoConfig | StableDiffusionConfig | FusedConfig


def backbone_from_dict(plain: Mapping[str, Any]) -> BackboneConfig:
    """The configuration that `dataclasses.asdict` made a dictionary of, perhaps through JSON.

    Raises:
        HomologError: no family of that name is known.
        KeyError, TypeError: it is none.
    """
    values = dict(plain)
    family = values.pop("family")
    if family == "dino":
        values["layers"] = tuple(values["layers"])
        return DinoConfig(**values)
    if family == "stable-diffusion":
        values["timesteps"] = tuple(values["timesteps"])
        if values["freeu"] is not None:
            values["freeu"] = FreeUConfig(**values["freeu"])
        return StableDiffusionConfig(**values)
    if family == "fused":
        parts = tuple(backbone_from_dict(part) for part in values["parts"])
        return FusedConfig(parts)  # type: ignore[arg-type]
    raise HomologError(f"backbone: the family {family!r} is not known to this version")
