"""Configurations of foundation backbones; importing them needs no heavy library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

from homolog.backbones.licences import (
    APACHE_2,
    DINOV3,
    OPENRAIL_M,
    OPENRAIL_PLUS_PLUS_M,
    Licence,
    published_json,
)
from homolog.errors import HomologError
from homolog.image.geometry import Padding
from homolog.utils.serialization import field_values

Precision = Literal["auto", "float32", "bfloat16", "float16"]

_CATEGORY = "{category}"
_Self = TypeVar("_Self", bound="BackboneConfig")


@dataclass(frozen=True)
class BackboneConfig:
    """Base of the configurations of backbone families.

    A subclass is a frozen dataclass whose last field is `family`, the name of its registry entry.
    """

    @property
    def licences(self) -> tuple[Licence, ...]:
        """The licences of the weights, as far as they are known."""
        return ()

    @property
    def needs_category(self) -> bool:
        """Whether feature maps depend on the category of what an image shows, by a prompt."""
        return False

    def with_category(self: _Self, category: str) -> _Self:
        """The configuration with the prompt for a category filled in."""
        return self

    @classmethod
    def from_plain(cls: type[_Self], plain: Mapping[str, Any]) -> _Self:
        """The configuration that `to_plain` turned into a dictionary, perhaps by way of JSON.

        Args:
            plain: the dictionary, without `family`; lists stand for tuples.

        Raises:
            KeyError, TypeError: it is not such a dictionary.
        """
        values = field_values(cls, plain)
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


@dataclass(frozen=True)
class DinoConfig(BackboneConfig):
    """A DINOv2 or DINOv3 model: a vision transformer, with or without registers, or a ConvNeXt.

    Attributes:
        model: `owner/name` on the hub, or a folder in the format of `transformers`.
        canvas_size: width and height of the canvas in pixels, a multiple of the patch size (of 32
            for a ConvNeXt).
        layers: the blocks (stages of a ConvNeXt) whose outputs are the feature maps, counted from
            0, or from the end if negative; the last is taken after the final norm.
        facet: what is taken of a transformer's block: its output `tokens`, or the `keys` of its
            attention.
        pos_embed_mode: how DINOv2's position embeddings are interpolated: `exact`, to the size of
            the canvas, as `transformers` does, or `published`, with the scale factor of the
            original code, to whose target size 0.1 is added. Published post-processors were
            trained with the latter.
        crop_padding: drop the patches at the canvas's border that are entirely black, so that the
            model sees the image in its own aspect ratio.
        precision: `auto` is bfloat16 on GPUs and float32 elsewhere.
        debias: how many directions of the feature space, those along which features of a black
            canvas vary most from position to position, are removed from feature maps, which are of
            unit length then (INSID3, Cuttano et al., CVPR 2026, arXiv 2603.28480); 0 for none.
            Meant for DINOv3.
        padding: what surrounds the image on its canvas: `centred`, black on both sides, or
            `right-bottom`, as MARCO has it: the mean colour, which is zero to the network, to the
            right or below.
    """

    model: str = "facebook/dinov2-base"
    canvas_size: int = 840
    layers: tuple[int, ...] = (-1,)
    facet: Literal["tokens", "keys"] = "tokens"
    pos_embed_mode: Literal["exact", "published"] = "exact"
    crop_padding: bool = False
    precision: Precision = "auto"
    debias: int = 0
    padding: Padding = "centred"
    family: Literal["dino"] = field(default="dino", init=False)

    @property
    def licences(self) -> tuple[Licence, ...]:
        """The licence of the weights published for its architecture."""
        architecture = str(published_json(self.model, "config.json").get("model_type", self.model))
        known = {"dinov3": DINOV3, "dinov2": APACHE_2}
        return tuple(found for name, found in known.items() if name in architecture.lower())[:1]


@dataclass(frozen=True)
class FreeUConfig:
    """The factors of FreeU (Si et al., CVPR 2024, arXiv 2309.11497).

    Attributes:
        b1: factor of the first half of the hidden states with 1,280 channels.
        b2: the same for 640 channels.
        s1: factor of the low frequencies of the skip connections joined to 1,280 channels.
        s2: the same for 640 channels.
    """

    b1: float = 1.2
    b2: float = 1.4
    s1: float = 0.9
    s2: float = 0.2


@dataclass(frozen=True)
class StableDiffusionConfig(BackboneConfig):
    """The UNet of Stable Diffusion 1.5 or 2.1; its decoder's maps s5, s4, s3 are the features.

    Attributes:
        model: `owner/name` on the hub, or a folder in the format of `diffusers`.
        unet: another UNet to use instead, such as CleanDIFT's; None for the model's own.
        canvas_size: width and height of the canvas in pixels, a multiple of 64.
        timesteps: of the noise; feature maps are averaged over all of them.
        ensemble: number of draws of the noise for each timestep.
        seed: of the noise, which is the same for every image.
        noise: whether noise is added to the latents; CleanDIFT takes clean ones.
        prompt: the text that conditions the UNet; `{category}` in it stands for the category of
            what the image shows.
        freeu: the factors of FreeU; None to do without.
        precision: `auto` is float16 on GPUs and float32 elsewhere.
        slicing: compute attention in slices, and encode the images of a batch one by one, for small
            GPUs.
    """

    model: str = "stable-diffusion-v1-5/stable-diffusion-v1-5"
    unet: str | None = None
    canvas_size: int = 960
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
    def licences(self) -> tuple[Licence, ...]:
        """The licence of Stable Diffusion 1.5, or of 2.1, whose text embeddings are wider."""
        width = published_json(self.model, "unet/config.json").get("cross_attention_dim")
        if width is None:
            width = 768 if "1-5" in self.model else 1024 if "2-1" in self.model else None
        known = {768: OPENRAIL_M, 1024: OPENRAIL_PLUS_PLUS_M}
        return (known[width],) if width in known else ()

    @property
    def needs_category(self) -> bool:
        """Whether the prompt has a place for the category."""
        return _CATEGORY in self.prompt

    def with_category(self, category: str) -> StableDiffusionConfig:
        """The configuration with the category filled into the prompt."""
        return replace(self, prompt=self.prompt.replace(_CATEGORY, category))

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> StableDiffusionConfig:
        """The configuration of a plain dictionary, in which `freeu` is a dictionary, too."""
        freeu = plain["freeu"]
        return super().from_plain({**plain, "freeu": freeu and FreeUConfig(**freeu)})


@dataclass(frozen=True)
class FusedConfig(BackboneConfig):
    """Several backbones whose feature maps are used together, on the grid of the last.

    Attributes:
        parts: the backbones; each sees the canvas of the largest, reduced to its own size.
    """

    parts: tuple[BackboneConfig, ...]
    family: Literal["fused"] = field(default="fused", init=False)

    @property
    def licences(self) -> tuple[Licence, ...]:
        """The licences of the weights of all parts."""
        return tuple(dict.fromkeys(found for part in self.parts for found in part.licences))

    @property
    def needs_category(self) -> bool:
        """Whether the prompt of any part has a place for the category."""
        return any(part.needs_category for part in self.parts)

    def with_category(self, category: str) -> FusedConfig:
        """The configuration with the category filled into the prompts of all parts."""
        return FusedConfig(tuple(part.with_category(category) for part in self.parts))


@dataclass(frozen=True)
class TuningConfig:
    """Which part of a DINO backbone is fine-tuned, and how fast.

    Attributes:
        blocks: number of transformer blocks, counted from the last; or the numbers of the chosen
            ones, counted from 0.
        rank: of the LoRA adapters (Hu et al., ICLR 2022); None to train whole blocks.
        learning_rate: the maximum of the one-cycle schedule.
        bottleneck: channels inside the adapters that stand beside the blocks' perceptrons
            (AdaptFormer, Chen et al., NeurIPS 2022), which are trained in place of all else then;
            None for no such adapters.
        adapter_scale: factor of these adapters' output.
    """

    blocks: int | tuple[int, ...]
    rank: int | None = 8
    learning_rate: float = 1e-4
    bottleneck: int | None = None
    adapter_scale: float = 0.1

    def __post_init__(self) -> None:
        """Refuse two kinds of adapters at once."""
        if self.bottleneck is not None and self.rank is not None:
            raise HomologError(f"rank: expected None with a bottleneck, got {self.rank}")

    def chosen(self, count: int) -> tuple[int, ...]:
        """The numbers of the blocks that are fine-tuned, counted from 0.

        Args:
            count: of the blocks that the backbone has.

        Raises:
            HomologError: it has fewer.
        """
        blocks = self.blocks
        if isinstance(blocks, int):
            if not 1 <= blocks <= count:
                raise HomologError(f"tuning: expected 1 to {count} blocks, got {blocks}")
            return tuple(range(count - blocks, count))
        if not blocks or not set(blocks) <= set(range(count)) or len(set(blocks)) < len(blocks):
            raise HomologError(
                f"tuning: expected different blocks from 0 to {count - 1}, got {list(blocks)}"
            )
        return blocks

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> TuningConfig:
        """The configuration that `to_plain` turned into a dictionary, perhaps by way of JSON.

        Args:
            plain: the dictionary; a list stands for a tuple.

        Raises:
            TypeError: it is not such a dictionary.
        """
        values: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in plain.items()
        }
        return cls(**values)
