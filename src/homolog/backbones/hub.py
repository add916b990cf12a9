"""Foundation models from a hub or a folder, and what is said when that fails."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from homolog.backbones.configs import Precision
from homolog.errors import HomologError

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def pretrained(kind: Any, name: str, **options: Any) -> Any:
    """A model, a scheduler or a tokenizer, without ever unpickling anything.

    Args:
        kind: the class whose `from_pretrained` is called.
        name: a hub's `owner/name`, or a folder.
        options: what else it takes.

    Raises:
        HomologError: it cannot be had; the message says what to do.
    """
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    part = options.get("subfolder") or "the model"
    if ("/" not in name or name.startswith((".", "/", "~"))) and not Path(name).is_dir():
        raise HomologError(f"model: there is no folder {name}; a hub's models are owner/name")
    try:
        with _quiet("huggingface_hub"):  # it retries aloud; what matters is raised
            return kind.from_pretrained(name, **options)
    except Exception as error:  # the libraries raise many kinds for the same few reasons
        causes = [error, error.__cause__, error.__context__]
        if any(isinstance(cause, GatedRepoError) for cause in causes):
            what = "its licence has to be accepted on its page first, then: hf auth login"
        elif any(isinstance(cause, RepositoryNotFoundError) for cause in causes):
            what = "the hub has no model of that name; name a mirror or a folder (weights)"
        elif isinstance(error, (OSError, ValueError, ImportError, RuntimeError, KeyError)):
            what = " ".join(str(error).split())
            if not Path(name).is_dir():
                what = (
                    "it is not in the cache and the hub cannot be reached; download it elsewhere "
                    f"with `hf download {name}` and give the folder ({what[:120]})"
                )
        else:
            raise
        raise HomologError(f"model: cannot load {part} of {name}: {what}") from None


@contextlib.contextmanager
def _quiet(name: str) -> Iterator[None]:
    """No warnings of a library meanwhile."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def dtype_of(precision: Precision, device: torch.device, on_gpu: torch.dtype) -> torch.dtype:
    """The number format that a precision means on a device."""
    if precision == "auto":
        return on_gpu if device.type == "cuda" else torch.float32
    return _DTYPES[precision]


def load_state(network: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    """Give a network weights that fit it.

    Raises:
        HomologError: names or shapes are not those of the network.
    """
    own = network.state_dict()
    missing, strange = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    if missing or strange:
        what = f"lacks {missing[0]}" if missing else f"has {strange[0]}, which is none of it"
        raise HomologError(f"checkpoint: {name} is not of this network: {what}")
    for key, tensor in own.items():
        if state[key].shape != tensor.shape:
            raise HomologError(
                f"checkpoint: {name}: {key} is {tuple(state[key].shape)}, takes "
                f"{tuple(tensor.shape)}"
            )
    network.load_state_dict(dict(state))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        HomologError: it cannot be read, or is damaged.
    """
    try:
        return safetensors.torch.load(path.read_bytes())
    except OSError as error:
        raise HomologError(f"name: cannot read {path}: {error.strerror}") from error
    except SafetensorError as error:
        raise HomologError(f"name: {path} is damaged: {error}") from None


def tensor_bytes(tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> bytes:
    """The content of a safetensors file."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return safetensors.torch.save(plain, metadata)
