"""Stable Diffusion's UNet (Rombach et al., CVPR 2022) as a backbone.

As in SD+DINO (Zhang et al., NeurIPS 2023, arXiv 2305.15347): one pass with little noise, and the
hidden states that enter the third residual block of the first three stages of the decoder.
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
from homolog.backbones.hub import dtype_of, load_state, pretrained
from homolog.errors import HomologError
from homolog.image.geometry import Grid
from homolog.utils.optional import require

_STAGES, _BLOCK = 3, 2  # of the decoder; the block that the maps enter
_NOISE_SIDE = 64  # of the one draw that is resized to the latents
_MULTIPLE = 64  # of the canvas: latents are an eighth, and are halved three times


class _Enough(Exception):
    """Raised when the last map has been caught, so that the rest is not computed."""


class StableDiffusionBackbone(BackboneModule):
    """Maps s3, s4 and s5: at 960 pixels, 60 x 60, 30 x 30 and 15 x 15.

    In the order in which published post-processors take them.

    Args:
        vae: the encoder of pictures into latents.
        unet: the network.
        scheduler: says how much noise a timestep has.
        embed: turns a prompt into its embedding, (1, tokens, channels).
        config: the rest.

    Raises:
        HomologError: a side that is no multiple of 64, or a timestep that there is not.
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
        if config.side < _MULTIPLE or config.side % _MULTIPLE:
            raise HomologError(f"side: got {config.side}, takes a multiple of {_MULTIPLE}")
        last = len(scheduler.alphas_cumprod) - 1
        if not config.timesteps or not all(0 <= t <= last for t in config.timesteps):
            raise HomologError(f"timesteps: got {list(config.timesteps)}, takes 0 to {last}")
        if config.ensemble < 1:
            raise HomologError(f"ensemble: got {config.ensemble}, takes at least 1")
        self.vae, self.unet, self.config = vae, unet, config
        self.scheduler = scheduler
        # A prompt that is the same for all pictures is embedded once, and the encoder let go.
        self._embed = embed if config.by_category else None
        self._texts = {} if config.by_category else {config.prompt: embed(config.prompt)}
        self.side = config.side
        deepest = config.side // 8 // 2 ** (len(unet.config.block_out_channels) - 1)
        sides = [deepest * 2**stage for stage in reversed(range(_STAGES))]
        self.grids = tuple(Grid.from_patches(config.side, config.side // count) for count in sides)
        self.grid = self.grids[0]
        self._caught: list[Tensor] = []
        for stage, block in enumerate(unet.up_blocks[:_STAGES]):
            for number, resnet in enumerate(block.resnets):
                resnet.register_forward_pre_hook(self._entering(stage, number))

    @torch.no_grad()
    def forward(
        self, canvases: UInt8[Tensor, "B side side 3"], category: str | None = None
    ) -> list[Float[Tensor, "B _C _h _w"]]:
        """The maps s3, s4 and s5, means over timesteps and draws of the noise.

        Args:
            canvases: the pictures.
            category: what they show, where the prompt asks for it.
        """
        dtype = next(self.unet.parameters()).dtype
        pictures = canvases.to(self.device).permute(0, 3, 1, 2).float() / 127.5 - 1
        latents = self.latents(pictures.to(dtype))
        text = self._text(category).to(latents).expand(len(latents), -1, -1)
        total: list[Tensor] = []
        runs = [(t, draw) for t in self.config.timesteps for draw in self._draws(latents)]
        for timestep, noise in runs:
            at = torch.tensor(timestep, device=self.device)
            noisy = latents
            if self.config.noise:
                noisy = self.scheduler.add_noise(latents, noise, at[None].expand(len(latents)))
            self._caught = []
            with contextlib.suppress(_Enough):
                self.unet(noisy, at, encoder_hidden_states=text)
            maps = [features.float() for features in reversed(self._caught)]
            total = maps if not total else [a + b for a, b in zip(total, maps, strict=True)]
        self._caught = []
        return [features / len(runs) for features in total]

    def latents(self, pictures: Float[Tensor, "B 3 side side"]) -> Float[Tensor, "B 4 _h _w"]:
        """Means of the encoder's posterior, times its scaling factor."""
        return self.vae.encode(pictures).latent_dist.mean * self.vae.config.scaling_factor

    def _text(self, category: str | None) -> Float[Tensor, "1 T C"]:
        """The embedding of the prompt."""
        config = self.config if category is None else self.config.prompted(category)
        if config.prompt not in self._texts:
            assert self._embed is not None and category is not None
            self._texts[config.prompt] = self._embed(config.prompt)
        return self._texts[config.prompt]

    def _draws(self, latents: Tensor) -> list[Float[Tensor, "B 4 _h _w"]]:
        """The noise, the same each time: drawn at 64 x 64, resized to the latents."""
        generator = torch.Generator().manual_seed(self.config.seed)
        draws = []
        for _ in range(self.config.ensemble):
            shape = (1, latents.shape[1], _NOISE_SIDE, _NOISE_SIDE)
            noise = torch.randn(shape, generator=generator)
            noise = F.interpolate(noise, size=latents.shape[2:], mode="bicubic")
            draws.append(noise.to(latents).expand_as(latents))
        return draws

    def _entering(self, stage: int, number: int) -> Callable[[nn.Module, Any], Any]:
        """What happens before a residual block: FreeU, and the map is caught."""
        channels = list(reversed(self.unet.config.block_out_channels))
        hidden = channels[max(stage - 1, 0)] if number == 0 else channels[stage]

        def hook(_: nn.Module, given: tuple[Any, ...]) -> Any:
            joined = given[0]
            if self.config.freeu is not None:
                joined = free_u(joined, hidden, channels[0], self.config.freeu)
            if number == _BLOCK:
                self._caught.append(joined[:, :hidden])
                if stage == _STAGES - 1:
                    raise _Enough
            return (joined, *given[1:])

        return hook


def free_u(
    joined_BCHW: Float[Tensor, "B C H W"], hidden: int, widest: int, config: FreeUConfig
) -> Float[Tensor, "B C H W"]:
    """What enters a residual block of the decoder, changed as FreeU does.

    By the number of channels of the hidden state, as in FreeU's own release: the widest get the
    first pair of factors, those of half as many the second, others stay as they are.

    Args:
        joined_BCHW: the hidden state and, after it, what is joined to it from the encoder.
        hidden: channels of the hidden state.
        widest: 1,280 in Stable Diffusion 1.5 and 2.1.
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
    """The backbone on a device.

    Raises:
        HomologError: `diffusers` or the model cannot be had, or the settings do not fit it.
    """
    diffusers = require("diffusers", "diffusion")
    transformers = require("transformers", "diffusion")
    dtype = dtype_of(config.precision, device, torch.float16)

    def part(kind: Any, folder: str, **options: Any) -> Any:
        return pretrained(kind, config.model, subfolder=folder, **options)

    weights = {"use_safetensors": True, "torch_dtype": dtype}
    vae = part(diffusers.AutoencoderKL, "vae", **weights)
    unet = part(diffusers.UNet2DConditionModel, "unet", **weights)
    if config.unet is not None:
        unet = _other_unet(diffusers, unet, config.unet, weights)
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


def _other_unet(diffusers: Any, unet: Any, name: str, weights: dict[str, Any]) -> Any:
    """Another UNet: a folder, a hub's name, or a file of weights for the one there is."""
    if not name.endswith(".safetensors"):
        return pretrained(diffusers.UNet2DConditionModel, name, **weights)
    import safetensors.torch
    from safetensors import SafetensorError

    try:
        state = safetensors.torch.load(Path(name).read_bytes())
    except OSError as error:
        raise HomologError(f"unet: cannot read {name}: {error.strerror}") from error
    except SafetensorError as error:
        raise HomologError(f"unet: {name} is damaged: {error}") from None
    load_state(unet, state, name)
    return unet
