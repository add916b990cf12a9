"""Parts of networks that attend to the whole image."""

from __future__ import annotations

import functools
import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

HEADS = 4
"""Attention heads; widths are multiples of their number."""


class TransformerBlock(nn.Module):
    """A transformer block: self-attention and a perceptron, both residual, initialised to zero."""

    def __init__(self, width: int):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        last = nn.Linear(2 * width, width)
        self.perceptron = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), last)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(last.weight)

    def forward(
        self, tokens: Float[Tensor, "B N C"], positions: Float[Tensor, "N C"]
    ) -> Float[Tensor, "B N C"]:
        """The tokens after attention to all others.

        Args:
            tokens: one a cell.
            positions: their positional encoding (`sincos_encoding`).
        """
        mixed = self.queries_keys_values(self.norm1(tokens) + positions)
        mixed = mixed.unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(*mixed.unbind(0))
        tokens = tokens + self.out(attended.transpose(1, 2).flatten(2))
        return tokens + self.perceptron(self.norm2(tokens))


def principal_directions(features_NC: Float[Tensor, "N C"], count: int) -> Float[Tensor, "C _K"]:
    """The first principal components as an orthonormal basis; all, if there are not as many.

    Args:
        features_NC: descriptors, whose mean is taken to be 0.
        count: how many.
    """
    wide = features_NC.double()
    _, vectors = torch.linalg.eigh(wide.T @ wide / len(wide))
    return vectors.flip(1)[:, :count].contiguous().to(features_NC)


def principal_components(
    features_NC: Float[Tensor, "N C"], count: int
) -> Float[Tensor, "C {count}"]:
    """The first principal components, scaled halfway to unit variance.

    Args:
        features_NC: descriptors, whose mean is taken to be 0.
        count: how many.
    """
    wide = features_NC.double()
    values, vectors = torch.linalg.eigh(wide.T @ wide / len(wide))
    values = values.flip(0)[:count].clamp_min(1e-9)
    scales = (values.mean() / values) ** 0.25 / values.mean().sqrt()
    return (vectors.flip(1)[:, :count] * scales).to(features_NC)


@functools.lru_cache(maxsize=8)
def sincos_encoding(
    height: int, width: int, channels: int, device: torch.device
) -> Float[Tensor, "N C"]:
    """Positional encoding of the cells of a grid: sines and cosines from low to high frequency."""
    frequencies = math.pi * torch.logspace(-0.3, 1.0, channels // 4, dtype=torch.float32)
    rows, columns = (torch.linspace(-1, 1, n, dtype=torch.float32) for n in (height, width))
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    angles = [axis.reshape(-1, 1) * frequencies for axis in (x, y)]
    waves = [wave(angle) for angle in angles for wave in (torch.sin, torch.cos)]
    return torch.cat(waves, dim=1).to(device)
