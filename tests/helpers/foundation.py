"""Small random foundation models, saved to folders as a user's would be."""

from __future__ import annotations

import json
from pathlib import Path

import torch

SMALL = {
    "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 56,
    "intermediate_size": 32,
}  # fmt: skip


def save_dino(folder: Path, kind: str, layers: int = 3, width: int = 16) -> Path:
    """A small model of a kind; position embeddings are large, so that they matter."""
    import transformers as t

    torch.manual_seed(0)
    if kind == "dinov2":
        small = {**SMALL, "hidden_size": width, "num_hidden_layers": layers}
        model = t.Dinov2Model(t.Dinov2Config(**small, patch_size=14))
    elif kind == "dinov2_with_registers":
        small = {**SMALL, "hidden_size": width, "num_hidden_layers": layers}
        config = t.Dinov2WithRegistersConfig(**small, patch_size=14, num_register_tokens=4)
        model = t.Dinov2WithRegistersModel(config)
    elif kind == "dinov3_vit":
        small = {**SMALL, "hidden_size": width}
        model = t.DINOv3ViTModel(t.DINOv3ViTConfig(**small, patch_size=16, num_register_tokens=4))
    else:
        config = t.DINOv3ConvNextConfig(hidden_sizes=[8, 12, 16, 24], depths=[1, 1, 2, 1])
        model = t.DINOv3ConvNextModel(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    return folder


def save_detector(folder: Path) -> Path:
    """A small RT-DETRv2 that finds cats and dogs wherever it looks, with scores above a half."""
    import transformers as t

    torch.manual_seed(0)
    layers = t.RTDetrResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = t.RTDetrV2Config(
        backbone_config=layers, encoder_hidden_dim=16, encoder_in_channels=[8, 16, 16],
        encoder_ffn_dim=16, encoder_attention_heads=2, d_model=16, num_queries=4,
        decoder_in_channels=[16, 16, 16], decoder_ffn_dim=16, decoder_layers=2,
        decoder_attention_heads=2, num_denoising=0, id2label={0: "cat", 1: "dog"},
        label2id={"cat": 0, "dog": 1},
    )  # fmt: skip
    model = t.RTDetrV2ForObjectDetection(config)
    for layer in model.model.decoder.class_embed:
        torch.nn.init.constant_(layer.bias, 2)
    model.save_pretrained(folder)
    t.RTDetrImageProcessorPil(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


def save_stable_diffusion(folder: Path, **unet) -> Path:
    """A small model with all its parts, perhaps with a UNet of other blocks."""
    import diffusers
    import transformers

    torch.manual_seed(0)
    diffusers.AutoencoderKL(
        block_out_channels=(8, 8, 8, 8), norm_num_groups=4, latent_channels=4, sample_size=64,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
    ).save_pretrained(folder / "vae")  # fmt: skip
    small_unet(**unet).save_pretrained(folder / "unet")
    diffusers.DDPMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"
    ).save_pretrained(folder / "scheduler")
    words = {"<|startoftext|>": 0, "<|endoftext|>": 1, "a</w>": 2, "cat</w>": 3, "c": 4, "a": 5,
             "t</w>": 6, "at</w>": 7}  # fmt: skip
    (folder / "tokenizer").mkdir(parents=True)
    (folder / "tokenizer" / "vocab.json").write_text(json.dumps(words))
    (folder / "tokenizer" / "merges.txt").write_text("#version: 0.2\na t</w>\nc at</w>\n")
    tokenizer = transformers.CLIPTokenizer(
        str(folder / "tokenizer" / "vocab.json"), str(folder / "tokenizer" / "merges.txt"),
        model_max_length=8,
    )  # fmt: skip
    tokenizer.save_pretrained(folder / "tokenizer")
    transformers.CLIPTextModel(
        transformers.CLIPTextConfig(
            vocab_size=8, hidden_size=12, intermediate_size=16, num_hidden_layers=2,
            num_attention_heads=2, max_position_embeddings=8, bos_token_id=0, eos_token_id=1,
        )
    ).save_pretrained(folder / "text_encoder")  # fmt: skip
    return folder


def small_unet(**blocks):
    """The layout of Stable Diffusion's, with few channels, and perhaps other blocks."""
    import diffusers

    return diffusers.UNet2DConditionModel(
        block_out_channels=(8, 16, 32, 32), norm_num_groups=4, cross_attention_dim=12,
        attention_head_dim=2, layers_per_block=2, sample_size=16, **blocks,
    ).eval()  # fmt: skip
