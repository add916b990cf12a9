"""Published checkpoints of post-processors, turned into homolog's folders."""

from __future__ import annotations

import pickle
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from homolog.errors import HomologError
from homolog.post_processor import PostProcessor


def convert(checkpoint: Path, folder: Path) -> PostProcessor:
    """Save a published checkpoint as `config.json` and `model.safetensors`.

    The checkpoint is read without unpickling any code. Widths are read from the weights.

    Args:
        checkpoint: a `.pth` file with the state of the published aggregation network, perhaps
            nested in a `state_dict` or prefixed as data-parallel training leaves it.
        folder: made if it is not there; must not hold a model yet.

    Returns:
        The post-processor that was saved.

    Raises:
        HomologError: the file cannot be read, holds something else than that network's state, or
            the folder holds a model or cannot be written.
    """
    target = folder / "model.safetensors"
    if target.exists():
        raise HomologError(f"out: {folder} holds a model already; name another folder")
    network = from_state(read_state(checkpoint), str(checkpoint))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # All files are made beside the folder first, so that it never holds half a model.
        with tempfile.TemporaryDirectory(dir=folder, prefix=".converting-") as temporary:
            network.save_pretrained(temporary)
            for name in ("config.json", "model.safetensors"):
                (Path(temporary) / name).replace(folder / name)
    except OSError as error:
        raise HomologError(f"out: cannot write {folder}: {error.strerror}") from error
    return network


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name.

    Raises:
        HomologError: the file cannot be read, would have to run code, or holds no tensors.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on other pickle protocols; what matters is raised
            found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise HomologError(f"checkpoint: cannot read {path}: {error.strerror}") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise HomologError(f"checkpoint: {path} is not a file of weights: {reason}") from None
    for nested in ("state_dict", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(nested), Mapping):
            found = found[nested]
    if not isinstance(found, Mapping) or not all(isinstance(x, Tensor) for x in found.values()):
        raise HomologError(f"checkpoint: {path} holds no state of a network")
    return {str(name).removeprefix("module."): tensor for name, tensor in found.items()}


def from_state(state: Mapping[str, Tensor], name: str) -> PostProcessor:
    """The post-processor that a published state belongs to.

    Args:
        state: tensors under the published names.
        name: what error messages call it.

    Raises:
        HomologError: names or shapes are not those of the network.
    """
    count = sum(key.endswith(".0.conv1.weight") for key in state)
    try:
        dims = [state[f"bottleneck_layers.{i}.0.conv1.weight"].shape[1] for i in range(count)]
        width = state["bottleneck_layers.0.0.conv3.weight"].shape[0]
    except (KeyError, IndexError) as error:
        raise HomologError(
            f"checkpoint: {name} is not of a post-processor: lacks {error}"
        ) from None
    network = PostProcessor(dims, width)
    own = network.state_dict()
    missing, strange = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    if missing or strange:
        what = f"lacks {missing[0]}" if missing else f"has {strange[0]}, which is none of it"
        raise HomologError(f"checkpoint: {name} is not of a post-processor: {what}")
    for key, tensor in own.items():
        if state[key].shape != tensor.shape:
            raise HomologError(
                f"checkpoint: {name}: {key} is {tuple(state[key].shape)}, takes "
                f"{tuple(tensor.shape)}"
            )
    network.load_state_dict(dict(state))
    return network
