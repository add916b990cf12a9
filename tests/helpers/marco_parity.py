"""Figures of MARCO's published implementation on small random weights, where they are there."""

import json
from typing import Any

import pytest
import real_images
import torch
from safetensors.torch import load_file
from torch import Tensor

from homolog import Matcher, presets
from homolog.backbones import DinoConfig, TuningConfig, adapters, create
from homolog.networks.upsampler import Upsampler

FOLDER = real_images.ROOT.parent / "parity" / "marco"
needs_figures = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"needs the figures in {FOLDER}")


def tensors() -> dict[str, Tensor]:
    return load_file(FOLDER / "marco.safetensors")


def facts() -> Any:
    return json.loads((FOLDER / "marco.json").read_text())


def weights() -> dict[str, Tensor]:
    return load_file(FOLDER / "marco_weights.safetensors")


def adapter_weights() -> dict[str, Tensor]:
    """The adapters' weights under our names."""
    names = {"dino.": "", "adapter_layer_norm_before": "norm"}
    found = {name: w for name, w in weights().items() if name.startswith("dino.")}
    for published, own in names.items():
        found = {name.replace(published, own): w for name, w in found.items()}
    return found


def error(found: Tensor, expected: Tensor) -> float:
    """The largest difference, as a share of the largest value."""
    assert found.shape == expected.shape
    return float((found - expected).abs().max() / expected.abs().max())


def matcher() -> Matcher:
    """A matcher with the published weights, on canvases of 140 pixels."""
    tuning = TuningConfig((2, 3), rank=None, bottleneck=32)
    config = presets.marco(DinoConfig(str(FOLDER / "dinov2_tiny"), 140), tuning)
    backbone = create(config.backbone, torch.device("cpu"))
    adapters.apply(backbone, tuning, adapter_weights(), str(FOLDER))
    network = Upsampler(64)
    state = weights()
    network.load_state_dict({n: w for n, w in state.items() if n.startswith("upscale.")})
    return Matcher(backbone, config, network=network.eval().requires_grad_(False))
