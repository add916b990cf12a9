"""Values and descriptors at positions between cells, and subsets of cells."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

LARGE = 10_000
"""Cells of a map from which on more costs so much that it is treated as large."""

_COARSE = 64  # cells along the longer axis of a large map made coarse
_ROWS = 1024  # positions whose descriptors are widened to single precision at a time


def sample_descriptors(
    descriptors_HWC: Float[Tensor, "H W C"],
    cells_K2: Float[Tensor, "K 2"],
    lengths_HW: Float[Tensor, "H W"] | None = None,
) -> Float[Tensor, "K C"]:
    """Descriptors at positions between cells: bilinear, normalised to unit length.

    Args:
        descriptors_HWC: descriptors on the grid.
        cells_K2: (x, y) in cells; positions beyond the grid are moved to its border.
        lengths_HW: of the descriptors before they were normalised, where their plain inner product
            is wanted: then what is returned is not normalised, either.
    """
    if lengths_HW is not None:
        return bilinear(descriptors_HWC, cells_K2, lengths_HW)
    return F.normalize(bilinear(descriptors_HWC, cells_K2), dim=1)


def bilinear(
    values_HWC: Float[Tensor, "H W C"],
    cells_K2: Float[Tensor, "K 2"],
    factors_HW: Float[Tensor, "H W"] | None = None,
) -> Float[Tensor, "K C"]:
    """Values at positions between cells, differentiable in the values.

    Args:
        values_HWC: values on the grid.
        cells_K2: (x, y) in cells; positions beyond the grid are moved to its border.
        factors_HW: by which values are multiplied before; None for 1.
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
    if factors_HW is not None:
        weights = weights * factors_HW.flatten()[corners]
    # A weighted bag of rows: its backward pass touches these rows only.
    values = values_HWC.flatten(0, 1)
    if values.dtype in (torch.float16, torch.bfloat16):
        return torch.cat(
            [
                (share[:, None] @ widened(values[some]))[:, 0]
                for some, share in zip(
                    corners.split(_ROWS), weights.float().split(_ROWS), strict=True
                )
            ]
        )
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


def cell_places(cells: Int[Tensor, "*S"], width: int) -> Int[Tensor, "*S 2"]:
    """(x, y) of cells that are given by number, row by row.

    Args:
        cells: their numbers.
        width: of the grid, in cells.
    """
    return torch.stack([cells % width, cells // width], dim=-1)


def widened(values: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
    """Values as they are, or in single precision if they are kept in half."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def coarsening(shape: tuple[int, ...]) -> int:
    """How many cells of a large map make up one along an axis, to be treated as others are.

    1 up to 10,000 cells; above, so many that at most 64 are left along the longer axis.

    Args:
        shape: height and width of the map.
    """
    height, width = shape
    return 1 if height * width <= LARGE else -(-max(height, width) // _COARSE)


def subsample_cells(allowed_HW: Bool[Tensor, "H W"]) -> Int[Tensor, "N 2"]:
    """(y, x) of every other cell along both axes, of those allowed; of large maps fewer.

    Args:
        allowed_HW: the cells that count; all of these are returned if the subset has none.
    """
    height, width = allowed_HW.shape
    step = 2 * coarsening((height, width))
    subset = allowed_HW[::step, ::step].nonzero() * step
    return subset if len(subset) else allowed_HW.nonzero()
