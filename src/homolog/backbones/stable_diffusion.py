"""Stable Diffusion's UNet (Rombach et al., CVPR 2022) as a backbone.

As in SD+DINO (Zhang et al., NeurIPS 2023, arXiv 2305.15347): the latents get a little noise, go
through the UNet once, and the features are the hidden states that enter the third residual block of
each of the decoder's first three stages.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from homolog.backbones.base import BackboneModule
from homolog.backbones.configs import FreeUConfig, StableDiffusionConfig
from homolog.backbones.hub import dtype_of, from_pretrained
from homolog.errors import HomologError
from homolog.image.geometry import Grid
from homolog.utils.optional import require
from homolog.utils.tensor_files import load_state, read_tensors

_STAGES, _BLOCK = 3, 2  # stages of the decoder; the block whose inputs are the feature maps
_NOISE_SIZE = 64  # height and width of the noise as drawn, before it is resized to the latents
_MULTIPLE = 64  # of the canvas: latents are an eighth of its size, and are halved three times


class _LastMapStored(Exception):
    """Raised once the last feature map is stored, so that the rest is not computed."""


class StableDiffusionBackbone(BackboneModule):
    """The decoder's feature maps s3, s4 and s5: 60 x 60, 30 x 30 and 15 x 15 cells at 960 pixels.

    They come in the order in which published post-processors take them.

    Args:
        vae: encodes images into latents.
        unet: the denoising network.
        scheduler: adds the noise of a timestep.
        embed: returns the embedding of a prompt, (1, tokens, channels).
        config: canvas size, timesteps, prompt and so on.

    Raises:
        HomologError: a canvas size that is no multiple of 64, or a timestep out of range.
    """

    def __init__(
        self,
        vae: Any,
        unet: Any,
        scheduler: Any,
        embed: Callable[[str], Float[Tensor, "1 T C"]],
        config: StableDiffusionConfig,
    ):
        super().__init__()
        if config.canvas_size < _MULTIPLE or config.canvas_size % _MULTIPLE:
            raise HomologError(
                f"canvas_size: expected a multiple of {_MULTIPLE}, got {config.canvas_size}"
            )
        last = len(scheduler.alphas_cumprod) - 1
        if not config.timesteps or not all(0 <= t <= last for t in config.timesteps):
            raise HomologError(
                f"timesteps: expected numbers from 0 to {last}, got {list(config.timesteps)}"
            )
        if config.ensemble < 1:
            raise HomologError(f"ensemble: expected at least 1, got {config.ensemble}")
        self.vae, self.unet, self.config = vae, unet, config
        self.scheduler = scheduler
        # A prompt that is the same for all images is embedded once, and the text encoder freed.
        self._embed = embed if config.needs_category else None
        self._embeddings = {} if config.needs_category else {config.prompt: embed(config.prompt)}
        self.canvas_size = config.canvas_size
        deepest = config.canvas_size // 8 // 2 ** (len(unet.config.block_out_channels) - 1)
        counts = [deepest * 2**stage for stage in reversed(range(_STAGES))]
        self.grids = tuple(
            Grid.from_patches(config.canvas_size, config.canvas_size // count) for count in counts
        )
        self.grid = self.grids[0]
        self._stored: list[Tensor] = []
        for stage, block in enumerate(unet.up_blocks[:_STAGES]):
            for number, resnet in enumerate(block.resnets):
                resnet.register_forward_pre_hook(self._block_hook(stage, number))

    @torch.no_grad()
    def forward(
        self, canvases: UInt8[Tensor, "B size size 3"], category: str | None = None
    ) -> list[Float[Tensor, "B _C _h _w"]]:
        """The feature maps s3, s4 and s5, averaged over timesteps and draws of the noise.

        Args:
            canvases: letterboxed images.
            category: what they show, where the prompt asks for it.
        """
        dtype = next(self.unet.parameters()).dtype
        images = canvases.to(self.device).permute(0, 3, 1, 2).float() / 127.5 - 1
        latents = self.latents(images.to(dtype))
        text = self._embedding(category).to(latents).expand(len(latents), -1, -1)
        total: list[Tensor] = []
        runs = [(t, draw) for t in self.config.timesteps for draw in self._draws(latents)]
        for timestep, noise in runs:
            step = torch.tensor(timestep, device=self.device)
            noisy = latents
            if self.config.noise:
                noisy = self.scheduler.add_noise(latents, noise, step[None].expand(len(latents)))
            self._stored = []
            with contextlib.suppress(_LastMapStored):
                self.unet(noisy, step, encoder_hidden_states=text)
            maps = [features.float() for features in reversed(self._stored)]
            total = maps if not total else [a + b for a, b in zip(total, maps, strict=True)]
        self._stored = []
        return [features / len(runs) for features in total]

    def latents(self, images: Float[Tensor, "B 3 size size"]) -> Float[Tensor, "B 4 _h _w"]:
        """The means of the encoder's posterior, times its scaling factor."""
        return self.vae.encode(images).latent_dist.mean * self.vae.config.scaling_factor

    def _embedding(self, category: str | None) -> Float[Tensor, "1 T C"]:
        """The embedding of the prompt."""
        config = self.config if category is None else self.config.with_category(category)
        if config.prompt not in self._embeddings:
            assert self._embed is not None and category is not None
            self._embeddings[config.prompt] = self._embed(config.prompt)
        return self._embeddings[config.prompt]

    def _draws(self, latents: Tensor) -> list[Float[Tensor, "B 4 _h _w"]]:
        """The noise, always the same: drawn at 64 x 64 and resized to the latents."""
        generator = torch.Generator().manual_seed(self.config.seed)
        draws = []
        for _ in range(self.config.ensemble):
            shape = (1, latents.shape[1], _NOISE_SIZE, _NOISE_SIZE)
            noise = torch.randn(shape, generator=generator)
            noise = F.interpolate(noise, size=latents.shape[2:], mode="bicubic")
            draws.append(noise.to(latents).expand_as(latents))
        return draws

    def _block_hook(self, stage: int, number: int) -> Callable[[nn.Module, Any], Any]:
        """A hook before a residual block, which applies FreeU and stores the feature map."""
        channels = list(reversed(self.unet.config.block_out_channels))
        hidden = channels[max(stage - 1, 0)] if number == 0 else channels[stage]

        def hook(_: nn.Module, inputs: tuple[Any, ...]) -> Any:
            joined = inputs[0]
            if self.config.freeu is not None:
                joined = free_u(joined, hidden, channels[0], self.config.freeu)
            if number == _BLOCK:
                self._stored.append(joined[:, :hidden])
                if stage == _STAGES - 1:
                    raise _LastMapStored
            return (joined, *inputs[1:])

        return hook


def free_u(
    joined_BCHW: Float[Tensor, "B C H W"], hidden: int, widest: int, config: FreeUConfig
) -> Float[Tensor, "B C H W"]:
    """The input of a decoder's residual block, rescaled as FreeU does.

    The factors depend on the number of channels of the hidden state, as in FreeU's own release: the
    widest get the first pair, those of half as many the second, and others are left unchanged.

    Args:
        joined_BCHW: the hidden state and, after it, the skip connection from the encoder.
        hidden: channels of the hidden state.
        widest: the largest number of channels: 1,280 in Stable Diffusion 1.5 and 2.1.
        config: the factors.
    """
    factors = {widest: (config.b1, config.s1), widest // 2: (config.b2, config.s2)}
    if hidden not in factors:
        return joined_BCHW
    backbone, skip = factors[hidden]
    state, joined = joined_BCHW[:, :hidden].clone(), joined_BCHW[:, hidden:]
    state[:, : hidden // 2] *= backbone
    # The low frequencies of the release's filter of radius 1: -1 and 0, along each axis.
    spectrum = torch.fft.fft2(joined.float())
    for row in (0, -1):
        for column in (0, -1):
            spectrum[..., row, column] *= skip
    filtered = torch.fft.ifft2(spectrum).real.to(joined.dtype)
    return torch.cat([state, filtered], dim=1)


def load(config: StableDiffusionConfig, device: torch.device) -> StableDiffusionBackbone:
    """Load Stable Diffusion onto a device.

    Raises:
        HomologError: `diffusers` or the model is missing, or the configuration does not fit it.
    """
    diffusers = require("diffusers", "diffusion")
    transformers = require("transformers", "diffusion")
    dtype = dtype_of(config.precision, device, torch.float16)

    def part(kind: Any, folder: str, **options: Any) -> Any:
        return from_pretrained(kind, config.model, subfolder=folder, **options)

    weights = {"use_safetensors": True, "torch_dtype": dtype}
    vae = part(diffusers.AutoencoderKL, "vae", **weights)
    unet = part(diffusers.UNet2DConditionModel, "unet", **weights)
    if config.unet is not None:
        unet = _replaced_unet(diffusers, unet, config.unet, weights)
    scheduler = part(diffusers.DDPMScheduler, "scheduler")
    tokenizer = part(transformers.CLIPTokenizer, "tokenizer")
    encoder = part(transformers.CLIPTextModel, "text_encoder", use_safetensors=True)

    @torch.no_grad()
    def embed(prompt: str) -> Tensor:
        tokens = tokenizer(
            prompt, padding="max_length", max_length=tokenizer.model_max_length,
            truncation=True, return_tensors="pt",
        )  # fmt: skip
        return encoder(tokens.input_ids).last_hidden_state

    if config.slicing:
        vae.enable_slicing()
        unet.set_attention_slice("auto")
    backbone = StableDiffusionBackbone(vae, unet, scheduler, embed, config)
    return backbone.eval().requires_grad_(False).to(device)


def _replaced_unet(diffusers: Any, unet: Any, name: str, weights: dict[str, Any]) -> Any:
    """Another UNet: from a folder or the hub, or the given one with the weights in a file."""
    if not name.endswith(".safetensors"):
        return from_pretrained(diffusers.UNet2DConditionModel, name, **weights)
    load_state(unet, read_tensors(Path(name), "unet"), name)
    return unet
