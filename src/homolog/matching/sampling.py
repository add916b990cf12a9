"""Values and descriptors at positions between cells, and subsets of cells."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor


def sample_descriptors(
    descriptors_HWC: Float[Tensor, "H W C"], cells_K2: Float[Tensor, "K 2"]
) -> Float[Tensor, "K C"]:
    """Descriptors at positions between cells: bilinear, normalised to unit length.

    Args:
        descriptors_HWC: descriptors on the grid.
        cells_K2: (x, y) in cells; positions beyond the grid are moved to its border.
    """
    return F.normalize(bilinear(descriptors_HWC, cells_K2), dim=1)


def bilinear(
    values_HWC: Float[Tensor, "H W C"], cells_K2: Float[Tensor, "K 2"]
) -> Float[Tensor, "K C"]:
    """Values at positions between cells, differentiable in the values.

    Args:
        values_HWC: values on the grid.
        cells_K2: (x, y) in cells; positions beyond the grid are moved to its border.
    """
    height, width = values_HWC.shape[:2]
    limit = cells_K2.new_tensor([width - 1, height - 1])
    cells = torch.minimum(cells_K2.clamp_min(0), limit)
    low = cells.floor()
    high = torch.minimum(low + 1, limit)
    (right, down), (left, up) = (cells - low).unbind(1), (1 - (cells - low)).unbind(1)
    (x0, y0), (x1, y1) = low.long().unbind(1), high.long().unbind(1)
    corners = torch.stack([y0 * width + x0, y0 * width + x1, y1 * width + x0, y1 * width + x1], 1)
    weights = torch.stack([up * left, up * right, down * left, down * right], 1)
    # A weighted bag of rows: its backward pass touches these rows only.
    values = values_HWC.flatten(0, 1)
    return F.embedding_bag(corners, values, per_sample_weights=weights.to(values), mode="sum")


def nearest_cells(
    positions_P2: Float[Tensor, "P 2"], maps_KHW: Float[Tensor, "K H W"]
) -> Int[Tensor, "P 2"]:
    """The grid cell (x, y) nearest to each position, at the border for positions beyond it.

    Args:
        positions_P2: (x, y) in cells; those beyond the grid get the nearest cell on its border.
        maps_KHW: maps on the grid; only their shape counts.
    """
    height, width = maps_KHW.shape[1:]
    limit = torch.tensor([width - 1, height - 1], device=maps_KHW.device)
    return torch.minimum(positions_P2.round().long().clamp_min(0), limit)


def subsample_cells(allowed_HW: Bool[Tensor, "H W"]) -> Int[Tensor, "N 2"]:
    """(y, x) of every other cell along both axes, of those allowed.

    Args:
        allowed_HW: the cells that count; all of these are returned if the subset has none.
    """
    subset = allowed_HW[::2, ::2].nonzero() * 2
    return subset if len(subset) else allowed_HW.nonzero()
