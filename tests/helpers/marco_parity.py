"""Figures of MARCO's published implementation on small random weights, where they are there."""

import json
from typing import Any

import pytest
import real_images
from safetensors.torch import load_file
from torch import Tensor

FOLDER = real_images.ROOT.parent / "parity" / "marco"
needs_figures = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"needs the figures in {FOLDER}")


def tensors() -> dict[str, Tensor]:
    return load_file(FOLDER / "marco.safetensors")


def facts() -> Any:
    return json.loads((FOLDER / "marco.json").read_text())
