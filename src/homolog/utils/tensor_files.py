"""Tensors in safetensors files, and networks that are given them."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from homolog.errors import HomologError

_METADATA = "__metadata__"
_CHECKSUM = b'"crc32":"'
"""Before the checksum in a file's header; it is that of the file with zeros in its place."""
_ZEROS = b"00000000"
_FIELDS = 100  # more than any configuration has


def read_tensors(path: Path, name: str = "name") -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Args:
        path: the file.
        name: the argument that error messages name.

    Raises:
        HomologError: the file cannot be read, or is damaged: it has another checksum than its own,
            where it has one.
    """
    try:
        return parse_tensors(path.read_bytes())
    except OSError as error:
        raise HomologError(f"{name}: cannot read {path}: {error.strerror}") from error
    except SafetensorError as error:
        raise HomologError(
            f"{name}: expected a safetensors file, got {path}, which is damaged: {error}"
        ) from None


def tensor_bytes(tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> bytes:
    """The contents of a safetensors file that holds the tensors, with a checksum of all of it."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    content = safetensors.torch.save(plain, metadata)
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    known = {**(metadata or {}), "crc32": _ZEROS.decode()}
    header[_METADATA] = {name: known[name] for name in sorted(known)}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    start = len(text).to_bytes(8, "little") + text
    data = memoryview(content)[8 + length :]
    checksum = b"%08x" % zlib.crc32(data, zlib.crc32(start))
    return b"".join([start.replace(_CHECKSUM + _ZEROS, _CHECKSUM + checksum, 1), data])


def parse_tensors(content: bytes) -> dict[str, Tensor]:
    """The tensors of a safetensors file with these contents.

    Raises:
        SafetensorError: they are damaged.
    """
    tensors = safetensors.torch.load(content)
    end = 8 + int.from_bytes(content[:8], "little")
    place = content.find(_CHECKSUM, 8, end) + len(_CHECKSUM)
    if place >= len(_CHECKSUM):  # files from elsewhere, and older ones, have none
        view = memoryview(content)
        found = zlib.crc32(_ZEROS, zlib.crc32(view[:place]))
        found = zlib.crc32(view[place + len(_ZEROS) :], found)
        if b"%08x" % found != view[place : place + len(_ZEROS)]:
            raise SafetensorError("it is not as it was written")
    return tensors


def read_metadata(path: Path) -> dict[str, Any]:
    """The metadata of a safetensors file that could be read."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        found: dict[str, Any] = json.loads(file.read(length)).get(_METADATA, {})
    return found


def check_sizes(config: Any, state: Mapping[str, Tensor], name: str) -> None:
    """Check that weights can be those of a network, before one is made that fills the memory.

    Args:
        config: of the network, as plain data: widths and depths, of which none is beyond the
            largest dimension or the number of the tensors.
        state: tensors by name.
        name: what error messages call the weights, such as their path.

    Raises:
        HomologError: they cannot.
    """
    largest = max([len(state), *(size for tensor in state.values() for size in tensor.shape)])
    if isinstance(config, (dict, list, tuple)):
        if len(config) > max(largest, _FIELDS):
            raise HomologError(
                f"checkpoint: expected weights of a network of {len(config)} parts in {name}, got "
                f"those of at most {largest}"
            )
        for each in config.values() if isinstance(config, dict) else config:
            check_sizes(each, state, name)
    elif isinstance(config, int) and config > largest:
        raise HomologError(
            f"checkpoint: expected weights of a network of size {str(config)[:200]} in {name}, got "
            f"those of one of at most {largest}"
        )


def load_state(network: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    """Load weights into a network that they fit exactly.

    Args:
        network: changed in place.
        state: tensors by name.
        name: what error messages call the weights, such as their path.

    Raises:
        HomologError: names or shapes differ from those of the network, or a weight is not finite.
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
    for key, tensor in state.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise HomologError(
                f"checkpoint: expected finite weights in {name}, got others in {key}"
            )
    network.load_state_dict(dict(state))
