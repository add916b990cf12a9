"""Fusion of a backbone's feature maps into zero-shot descriptors."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from homolog.image.geometry import Grid


@dataclass(frozen=True)
class FusionConfig:
    """How feature maps are fused into descriptors.

    Based on the zero-shot descriptor of SD+DINO (Zhang et al., NeurIPS 2023, arXiv 2305.15347):
    groups of maps are normalised separately, concatenated and normalised again.

    Attributes:
        groups: indices of maps; the maps of a group are concatenated, then normalised together.
        weights: of each group in the similarity of two descriptors; only their ratios matter.
        kernel: half-width, in cells of the descriptors' grid, of the triangular kernel with which
            maps are resampled to that grid. 1 is bilinear interpolation; more smooths finer maps.
        center: subtract from each map its mean over the image, which all cells share and which
            therefore does not distinguish them.
    """

    groups: tuple[tuple[int, ...], ...]
    weights: tuple[float, ...]
    kernel: float = 1.0
    center: bool = False


def fuse(
    maps: Sequence[Float[Tensor, "B _C _h _w"]],
    grids: Sequence[Grid],
    grid: Grid,
    valid_BHW: Bool[Tensor, "B H W"],
    config: FusionConfig,
) -> Float[Tensor, "B H W C"]:
    """Descriptors of unit length from feature maps.

    Args:
        maps: feature maps, each on its own grid.
        grids: the grid of each map.
        grid: the grid of the descriptors.
        valid_BHW: the cells of `grid` that show the image; means are taken over these.
        config: the groups and their weights.
    """
    total = math.fsum(config.weights)
    descriptors = []
    for group, weight in zip(config.groups, config.weights, strict=True):
        parts = [_resample(maps[i], grids[i], grid, valid_BHW, config) for i in group]
        part = parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)
        length = torch.linalg.vector_norm(part, dim=-1, keepdim=True)
        descriptors.append(part.mul_(math.sqrt(weight / total) / length.clamp_min(1e-6)))
    return torch.cat(descriptors, dim=-1)


def stack(
    maps: Sequence[Float[Tensor, "B _C _h _w"]], grids: Sequence[Grid], grid: Grid
) -> Float[Tensor, "B H W C"]:
    """Feature maps interpolated to one grid and concatenated: a published post-processor's input.

    Args:
        maps: feature maps, each on its own grid.
        grids: the grid of each map.
        grid: the grid to interpolate to.
    """
    parts = [
        _on_grid(features.float().permute(0, 2, 3, 1), source, grid, kernel=1.0)
        for features, source in zip(maps, grids, strict=True)
    ]
    return torch.cat(parts, dim=-1)


def _resample(
    features_BChw: Tensor, source: Grid, grid: Grid, valid_BHW: Tensor, config: FusionConfig
) -> Float[Tensor, "B H W C"]:
    features = features_BChw.float().permute(0, 2, 3, 1)
    if config.center:
        content = F.adaptive_avg_pool2d(valid_BHW.float(), (source.height, source.width))
        weights = content.flatten(1) / content.sum((1, 2))[:, None]
        features = features - (weights[:, None] @ features.flatten(1, 2))[:, :, None]
    return _on_grid(features, source, grid, config.kernel)


def _on_grid(
    features_BhwC: Float[Tensor, "B h w C"], source: Grid, grid: Grid, kernel: float
) -> Float[Tensor, "B H W C"]:
    rows, columns = (m.to(features_BhwC) for m in _matrices(grid, source, kernel))
    # Rows first, as one product over (width, channels), then columns within each row.
    features = (rows @ features_BhwC.flatten(2)).unflatten(2, features_BhwC.shape[2:])
    return columns @ features


@functools.cache  # a backbone has only a few grids, needed for every image
def _matrices(grid: Grid, source: Grid, kernel: float) -> tuple[Tensor, Tensor]:
    return grid.resampling(source, kernel)
