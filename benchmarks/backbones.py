"""Speed of foundation backbones with random weights, at their real sizes.

    python benchmarks/backbones.py [--device cuda] [--presets dinov2-base sd15 ...] [--batch 8]

Without weights accuracy cannot be measured, but speed and memory can. On a CPU only DINOv2-S at 420
pixels is measured unless presets are named.
"""

from __future__ import annotations

import argparse
import time

import torch
from torch.utils.flop_counter import FlopCounterMode

from homolog.backbones import (
    Backbone,
    BackboneConfig,
    DinoConfig,
    FusedConfig,
    StableDiffusionConfig,
)
from homolog.backbones.dino import DinoBackbone
from homolog.backbones.fused import FusedBackbone
from homolog.backbones.hub import dtype_of
from homolog.backbones.stable_diffusion import StableDiffusionBackbone
from homolog.presets import PRESETS

SIZES = {"small": (384, 12, 6), "base": (768, 12, 12), "large": (1024, 24, 16)}
LETTERS = {"vits": "small", "vitb": "base", "vitl": "large"}


def random_backbone(config: BackboneConfig, device: torch.device) -> Backbone:
    """The backbone of that configuration with random weights."""
    import diffusers
    import transformers

    if isinstance(config, FusedConfig):
        return FusedBackbone([random_backbone(part, device) for part in config.parts], config)
    if isinstance(config, DinoConfig):
        size = next(
            (s for s in SIZES if s in config.model),
            next((s for letters, s in LETTERS.items() if letters in config.model), "base"),
        )
        width, depth, heads = SIZES[size]
        shape = {"hidden_size": width, "num_hidden_layers": depth, "num_attention_heads": heads}
        if "dinov3" in config.model:
            kind, made = (
                transformers.DINOv3ViTModel,
                transformers.DINOv3ViTConfig(
                    **shape, patch_size=16, intermediate_size=4 * width, num_register_tokens=4
                ),
            )
        else:
            kind = transformers.Dinov2Model
            made = transformers.Dinov2Config(**shape, patch_size=14, image_size=518)
        dtype = dtype_of(config.precision, device, torch.bfloat16)
        return DinoBackbone(kind(made).to(device, dtype), config).eval().requires_grad_(False)
    unet = diffusers.UNet2DConditionModel(
        block_out_channels=(320, 640, 1280, 1280), cross_attention_dim=768, sample_size=64
    )
    vae = diffusers.AutoencoderKL(
        block_out_channels=(128, 256, 512, 512), layers_per_block=2, sample_size=512,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
    )  # fmt: skip
    assert isinstance(config, StableDiffusionConfig)
    dtype = dtype_of(config.precision, device, torch.float16)
    parts = (vae.to(device, dtype).eval(), unet.to(device, dtype).eval())
    text = torch.randn(1, 77, 768, device=device, dtype=dtype)
    made = StableDiffusionBackbone(*parts, diffusers.DDPMScheduler(), lambda _: text, config)
    return made.eval().requires_grad_(False).to(device)


def measure(name: str, config: BackboneConfig, device: torch.device, batch: int) -> None:
    backbone = random_backbone(config, device)
    canvases = torch.randint(
        0, 256, (batch, backbone.canvas_size, backbone.canvas_size, 3), dtype=torch.uint8
    )
    cuda = device.type == "cuda"

    def run() -> None:
        backbone(canvases)
        if cuda:
            torch.cuda.synchronize()

    run()
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    times = []
    for _ in range(5):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    seconds = sorted(times)[2] / batch
    with FlopCounterMode(display=False) as counter:
        run()
    rate = counter.get_total_flops() / batch / seconds / 1e12
    memory = f"{torch.cuda.max_memory_allocated() / 1e9:.1f}" if cuda else ""
    print(f"| {name} | {batch} | {1 / seconds:.2f} | {seconds:.3f} | {rate:.2f} | {memory} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--presets", nargs="*")
    parser.add_argument("--batch", type=int, default=1)
    given = parser.parse_args()
    device = torch.device(given.device)
    if device.type == "cpu":
        torch.set_num_threads(2)
    where = torch.cuda.get_device_name() if device.type == "cuda" else "two CPU cores"
    print(f"On {where}, random weights.\n")
    print("| preset | batch | images a second | seconds an image | TFLOP a second | GB |")
    print("|---|---|---|---|---|---|")
    if not given.presets and device.type == "cpu":
        small = DinoConfig("facebook/dinov2-small", canvas_size=420)
        measure("dinov2-small at 420 pixels", small, device, given.batch)
        return
    names = given.presets or list(PRESETS)
    for name in names:
        config = PRESETS[name]().backbone
        if not isinstance(config, str):
            measure(name, config, device, given.batch)


if __name__ == "__main__":
    main()
