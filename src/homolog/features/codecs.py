"""How a feature cache encodes feature maps: half precision, 8 bits, or principal components."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int8
from torch import Tensor

CodecName = Literal["half", "int8", "compact"]

_MAX_LEVEL = 127
_COMPONENTS = 0.375  # of the channels are kept as principal components


def quantise(
    values: Float[Tensor, "*S"], dims: tuple[int, ...]
) -> tuple[Int8[Tensor, "*S"], Float[Tensor, "*T"]]:
    """Symmetric quantisation to 8 bits.

    Args:
        values: any tensor.
        dims: the dimensions that share a scale.

    Returns:
        Integers from -127 to 127, and the scales to multiply them with; in these, `dims` have
        length 1.
    """
    scales = values.abs().amax(dims, keepdim=True).clamp_min(1e-12) / _MAX_LEVEL
    return (values / scales).round().to(torch.int8), scales


def _check(tensors: dict[str, Tensor], name: str, dtype: torch.dtype) -> torch.Size:
    """The shape of one of a file's feature maps.

    Raises:
        ValueError: it is of another type, or no map.
        KeyError: there is none of that name.
    """
    found = tensors[name]
    if found.dtype != dtype or found.ndim != 4 or not found.numel():
        raise ValueError
    return found.shape


class HalfCodec:
    """Half precision."""

    def encode(self, maps: Sequence[Float[Tensor, "B _C _h _w"]]) -> dict[str, Tensor]:
        """The tensors that a file stores for some feature maps."""
        return {str(i): features.half().contiguous().cpu() for i, features in enumerate(maps)}

    def decode(self, tensors: dict[str, Tensor]) -> list[Float[Tensor, "B _C _h _w"]]:
        """The feature maps that a file's tensors stand for."""
        for index in range(len(tensors)):
            _check(tensors, str(index), torch.float16)
        return [tensors[str(index)].float() for index in range(len(tensors))]


class Int8Codec:
    """Eight bits with a scale for each channel of a map: half the size of half precision."""

    def encode(self, maps: Sequence[Float[Tensor, "B _C _h _w"]]) -> dict[str, Tensor]:
        """The tensors that a file stores for some feature maps."""
        tensors = {}
        for index, features in enumerate(maps):
            levels, scales = quantise(features, (2, 3))
            tensors[str(index)] = levels.contiguous().cpu()
            tensors[f"{index}.scales"] = scales.cpu()
        return tensors

    def decode(self, tensors: dict[str, Tensor]) -> list[Float[Tensor, "B _C _h _w"]]:
        """The feature maps that a file's tensors stand for."""
        count = len(tensors) // 2
        for index in range(count):
            shape = _check(tensors, str(index), torch.int8)
            if _check(tensors, f"{index}.scales", torch.float32) != (*shape[:2], 1, 1):
                raise ValueError
        return [tensors[str(i)].float() * tensors[f"{i}.scales"] for i in range(count)]


@dataclass(frozen=True)
class CompactCodec:
    """Principal components, three eighths as many as channels, in eight bits.

    Attributes:
        means: the mean of each map's channels.
        bases: for each map an orthonormal basis, channels x components.
    """

    means: Sequence[Float[Tensor, "_C"]]
    bases: Sequence[Float[Tensor, "_C _K"]]

    @classmethod
    def fit(cls, samples: Sequence[Sequence[Float[Tensor, "B _C _h _w"]]]) -> CompactCodec:
        """The codec with the principal components of the feature maps of some images."""
        means, bases = [], []
        for maps in zip(*samples, strict=True):
            rows = torch.cat([features.permute(0, 2, 3, 1).flatten(0, 2) for features in maps])
            mean = rows.mean(0)
            rows = rows.double() - mean
            _, vectors = torch.linalg.eigh(rows.T @ rows)
            count = max(1, int(_COMPONENTS * rows.shape[1]))
            means.append(mean.cpu())
            bases.append(vectors.flip(1)[:, :count].float().cpu())
        return cls(means, bases)

    def to_tensors(self) -> dict[str, Tensor]:
        """Means and bases by name, ready to be written to a file."""
        named = {f"{index}.mean": mean for index, mean in enumerate(self.means)}
        return named | {f"{i}.basis": basis.contiguous() for i, basis in enumerate(self.bases)}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> CompactCodec:
        """The codec from what `to_tensors` returned.

        Raises:
            KeyError: some of it is missing.
            ValueError: it is of another shape or type, or not finite.
        """
        count = range(len(tensors) // 2)
        found = cls([tensors[f"{i}.mean"] for i in count], [tensors[f"{i}.basis"] for i in count])
        for mean, basis in zip(found.means, found.bases, strict=True):
            same = mean.dtype == basis.dtype == torch.float32
            if not same or basis.ndim != 2 or mean.shape != basis.shape[:1]:
                raise ValueError
            if not (mean.isfinite().all() and basis.isfinite().all()):
                raise ValueError
        return found

    def encode(self, maps: Sequence[Float[Tensor, "B _C _h _w"]]) -> dict[str, Tensor]:
        """The tensors that a file stores for some feature maps."""
        components = [
            torch.einsum("bchw,ck->bkhw", features.cpu() - mean[:, None, None], basis)
            for features, mean, basis in zip(maps, self.means, self.bases, strict=True)
        ]
        return Int8Codec().encode(components)

    def decode(self, tensors: dict[str, Tensor]) -> list[Float[Tensor, "B _C _h _w"]]:
        """The feature maps projected onto the principal components."""
        return [
            torch.einsum("bkhw,ck->bchw", components, basis) + mean[:, None, None]
            for components, mean, basis in zip(
                Int8Codec().decode(tensors), self.means, self.bases, strict=True
            )
        ]


Codec = HalfCodec | Int8Codec | CompactCodec
"""Turns feature maps into tensors for a file, and back.

A `KeyError` if some are missing, a `ValueError` if some are not those of feature maps.
"""
