"""Tensors in safetensors files, and networks that are given them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from homolog.errors import HomologError


def read_tensors(path: Path, name: str = "name") -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Args:
        path: the file.
        name: the argument that error messages name.

    Raises:
        HomologError: the file cannot be read, or is damaged.
    """
    try:
        return safetensors.torch.load(path.read_bytes())
    except OSError as error:
        raise HomologError(f"{name}: cannot read {path}: {error.strerror}") from error
    except SafetensorError as error:
        raise HomologError(
            f"{name}: expected a safetensors file, got {path}, which is damaged: {error}"
        ) from None


def tensor_bytes(tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> bytes:
    """The contents of a safetensors file that holds the tensors."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return safetensors.torch.save(plain, metadata)


def load_state(network: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    """Load weights into a network that they fit exactly.

    Args:
        network: changed in place.
        state: tensors by name.
        name: what error messages call the weights, such as their path.

    Raises:
        HomologError: names or shapes differ from those of the network.
    """
    if torch.get_default_dtype() == torch.float64:  # in which the network was made
        network.float()
    own = network.state_dict()
    missing, unexpected = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    if missing or unexpected:
        got = f"none called {missing[0]}" if missing else f"one called {unexpected[0]}"
        raise HomologError(f"checkpoint: expected the weights of this network in {name}, got {got}")
    for key, tensor in own.items():
        if state[key].shape != tensor.shape:
            raise HomologError(
                f"checkpoint: expected {key} of shape {tuple(tensor.shape)} in {name}, got "
                f"{tuple(state[key].shape)}"
            )
    network.load_state_dict(dict(state))
