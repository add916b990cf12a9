"""The forms in which a cache keeps maps: half precision, eight bits, or principal components."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

CodecName = Literal["half", "int8", "compact"]

_LEVELS = 127
_SHARE = 0.375  # of the channels, as principal components


class Half:
    """Half precision."""

    def encode(self, maps: Sequence[Float[Tensor, "B _C _h _w"]]) -> dict[str, Tensor]:
        """What to write."""
        return {str(i): features.half().contiguous().cpu() for i, features in enumerate(maps)}

    def decode(self, tensors: dict[str, Tensor]) -> list[Float[Tensor, "B _C _h _w"]]:
        """The maps."""
        return [tensors[str(index)].float() for index in range(len(tensors))]


class Int8:
    """Eight bits, with a scale for each channel of a map: half the size of half precision."""

    def encode(self, maps: Sequence[Float[Tensor, "B _C _h _w"]]) -> dict[str, Tensor]:
        """What to write."""
        tensors = {}
        for index, features in enumerate(maps):
            scales = features.abs().amax((2, 3), keepdim=True).clamp_min(1e-12) / _LEVELS
            tensors[str(index)] = (features / scales).round().to(torch.int8).contiguous().cpu()
            tensors[f"{index}.scales"] = scales.cpu()
        return tensors

    def decode(self, tensors: dict[str, Tensor]) -> list[Float[Tensor, "B _C _h _w"]]:
        """The maps."""
        count = len(tensors) // 2
        return [tensors[str(i)].float() * tensors[f"{i}.scales"] for i in range(count)]


@dataclass(frozen=True)
class Compact:
    """Three eighths of the channels as principal components, in eight bits.

    Attributes:
        means: of each map's channels.
        bases: orthonormal, channels by components, of each map.
    """

    means: Sequence[Float[Tensor, "_C"]]
    bases: Sequence[Float[Tensor, "_C _K"]]

    @classmethod
    def fit(cls, samples: Sequence[Sequence[Float[Tensor, "B _C _h _w"]]]) -> Compact:
        """The principal components of some pictures' maps."""
        means, bases = [], []
        for maps in zip(*samples, strict=True):
            rows = torch.cat([features.permute(0, 2, 3, 1).flatten(0, 2) for features in maps])
            mean = rows.mean(0)
            rows = rows.double() - mean
            _, vectors = torch.linalg.eigh(rows.T @ rows)
            means.append(mean.cpu())
            bases.append(vectors.flip(1)[:, : max(1, int(_SHARE * rows.shape[1]))].float().cpu())
        return cls(means, bases)

    def tensors(self) -> dict[str, Tensor]:
        """Ready to be written."""
        named = {f"{index}.mean": mean for index, mean in enumerate(self.means)}
        return named | {f"{i}.basis": basis.contiguous() for i, basis in enumerate(self.bases)}

    @classmethod
    def of(cls, tensors: dict[str, Tensor]) -> Compact:
        """From what `tensors` gave."""
        count = range(len(tensors) // 2)
        return cls([tensors[f"{i}.mean"] for i in count], [tensors[f"{i}.basis"] for i in count])

    def encode(self, maps: Sequence[Float[Tensor, "B _C _h _w"]]) -> dict[str, Tensor]:
        """What to write."""
        components = [
            torch.einsum("bchw,ck->bkhw", features.cpu() - mean[:, None, None], basis)
            for features, mean, basis in zip(maps, self.means, self.bases, strict=True)
        ]
        return Int8().encode(components)

    def decode(self, tensors: dict[str, Tensor]) -> list[Float[Tensor, "B _C _h _w"]]:
        """The maps, without what the components left out."""
        return [
            torch.einsum("bkhw,ck->bchw", components, basis) + mean[:, None, None]
            for components, mean, basis in zip(
                Int8().decode(tensors), self.means, self.bases, strict=True
            )
        ]


Codec = Half | Int8 | Compact
"""Turns maps into tensors to be written, and back; a `KeyError` if some are missing."""
