"""Figures of the published implementation, as small files in tests/parity."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

_FOLDER = Path(__file__).parents[1] / "parity"


def tensors(name: str) -> dict[str, Tensor]:
    """The arrays of a file, by name."""
    with np.load(_FOLDER / f"{name}.npz") as arrays:
        return {key: torch.from_numpy(array) for key, array in arrays.items()}


def facts(name: str) -> Any:
    """What a JSON file holds."""
    return json.loads((_FOLDER / f"{name}.json").read_text())
