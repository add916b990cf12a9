"""From similarity maps to positions: argmax, and window soft-argmax between cells."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from homolog.errors import HomologError
from homolog.matching.sampling import cell_places

_WIDENED = 1024  # descriptors at a time: few enough to stay in the processor's cache


def similarity(
    source_KC: Float[Tensor, "K C"],
    target_HWC: Float[Tensor, "H W C"],
    allowed_HW: Bool[Tensor, "H W"] | None = None,
    lengths_HW: Float[Tensor, "H W"] | None = None,
) -> Float[Tensor, "K H W"]:
    """Cosine similarity of K descriptors to every cell of a grid; all of unit length.

    Args:
        source_KC: descriptors of the query points.
        target_HWC: descriptors of the target image.
        allowed_HW: the cells where a match may lie; all others get -inf.
        lengths_HW: of the target's descriptors before they were normalised, where their plain
            inner product is wanted.
    """
    found = products(source_KC, target_HWC.flatten(0, 1)).unflatten(1, target_HWC.shape[:2])
    if lengths_HW is not None:
        found = found * lengths_HW
    return found if allowed_HW is None else found.masked_fill(~allowed_HW, -torch.inf)


def products(
    rows_KC: Float[Tensor, "K C"], descriptors_MC: Float[Tensor, "M C"]
) -> Float[Tensor, "K M"]:
    """Inner products of K rows with all descriptors; those in half precision are widened in parts.

    Args:
        rows_KC: the rows.
        descriptors_MC: the descriptors; products have the rows' precision.
    """
    if descriptors_MC.dtype == rows_KC.dtype:
        return rows_KC @ descriptors_MC.T
    found = rows_KC.new_empty(len(rows_KC), len(descriptors_MC))
    for part, out in zip(descriptors_MC.split(_WIDENED), found.split(_WIDENED, dim=1), strict=True):
        torch.matmul(rows_KC, part.to(rows_KC.dtype).T, out=out)
    return found


def argmax(similarity_KHW: Float[Tensor, "K H W"]) -> Int[Tensor, "K 2"]:
    """The cell (x, y) with the largest similarity; of equal ones the first, row by row."""
    width = similarity_KHW.shape[2]
    best = similarity_KHW.flatten(1).argmax(1)
    return cell_places(best, width)


def window_soft_argmax(
    similarity_KHW: Float[Tensor, "K H W"], window: int | None = 5, temperature: float = 0.02
) -> Float[Tensor, "K 2"]:
    """The position of the largest similarity, finer than a cell ("window soft-argmax").

    The expected position under softmax(similarity / temperature) over the cells of a square
    window around the argmax (Zhang et al., CVPR 2024, arXiv 2311.17034). Cells outside the window
    are left out altogether; the published code gives them the weight of a zero similarity.

    Args:
        similarity_KHW: a similarity map a point; -inf where no match may lie.
        window: half-width in cells, clamped at the border; 0 is the argmax, None all cells.
        temperature: of the softmax, in units of similarity.

    Returns:
        (x, y) in cells, centres at whole numbers.

    Raises:
        HomologError: the window is negative or the temperature not positive.

    >>> peak = torch.zeros(1, 4, 6)
    >>> peak[0, 2, 3] = peak[0, 2, 4] = 1.0
    >>> window_soft_argmax(peak, window=1, temperature=0.02).tolist()
    [[3.5, 2.0]]
    """
    if window is not None and window < 0:
        raise HomologError(
            f"window: expected a half-width of at least 0 cells or None, got {window}"
        )
    if not temperature > 0:
        raise HomologError(f"temperature: expected a number above 0, got {temperature}")
    if window is None:
        count, height, width = similarity_KHW.shape
        wide = similarity_KHW.to(torch.promote_types(similarity_KHW.dtype, torch.float32))
        weights = (wide.flatten(1) / temperature).softmax(1)
        weights = weights.view(count, height, width)
        columns = torch.arange(width, device=weights.device, dtype=weights.dtype)
        rows = torch.arange(height, device=weights.device, dtype=weights.dtype)
        return torch.stack([weights.sum(1) @ columns, weights.sum(2) @ rows], dim=1)
    peak = argmax(similarity_KHW)
    patch, offsets = similarity_window(similarity_KHW, peak, window)
    weights = (patch.flatten(1) / temperature).softmax(1).view_as(patch)
    shift = torch.stack([weights.sum(1) @ offsets, weights.sum(2) @ offsets], dim=1)
    return peak + shift


def suppressed_soft_argmax(
    similarity_KHW: Float[Tensor, "K H W"],
    sigma: float,
    temperature: float,
    peaks_K2: Int[Tensor, "K 2"] | None = None,
) -> Float[Tensor, "K 2"]:
    """The position of the largest similarity, finer than a cell, with all else suppressed.

    The expected position under softmax(similarity · g / temperature) over all cells, where g is a
    Gaussian around the peak. As in MARCO (CVPR 2026, arXiv 2604.18267).

    Args:
        similarity_KHW: a similarity map a point; -inf where no match may lie.
        sigma: standard deviation of the Gaussian, in cells.
        temperature: of the softmax, in units of similarity.
        peaks_K2: (x, y) of the cells that the Gaussians stand on; None for the largest similarity.

    Returns:
        (x, y) in cells, centres at whole numbers.
    """
    height, width = similarity_KHW.shape[1:]
    similarity_KHW = similarity_KHW.to(torch.promote_types(similarity_KHW.dtype, torch.float32))
    peaks = argmax(similarity_KHW) if peaks_K2 is None else peaks_K2
    columns, rows = (
        torch.arange(count, device=peaks.device).to(similarity_KHW) for count in (width, height)
    )
    near_x, near_y = (
        ((axis - peak[:, None]) ** 2 / (-2 * sigma**2)).exp()
        for axis, peak in ((columns, peaks[:, 0]), (rows, peaks[:, 1]))
    )
    nowhere = similarity_KHW == -torch.inf
    logits = similarity_KHW.masked_fill(nowhere, 0.0) * near_y[:, :, None] * near_x[:, None, :]
    logits = (logits / temperature).masked_fill(nowhere, -torch.inf)
    weights = logits.flatten(1).softmax(1).view_as(logits)
    return torch.stack([weights.sum(1) @ columns, weights.sum(2) @ rows], dim=1)


def similarity_window(
    similarity_KHW: Tensor,
    centres_P2: Int[Tensor, "P 2"],
    window: int,
    maps_P: Int[Tensor, "P"] | None = None,
) -> tuple[Float[Tensor, "P S S"], Float[Tensor, "S"]]:
    """The square windows around cells, -inf beyond the border, and the offsets along an axis.

    Args:
        similarity_KHW: similarity maps.
        centres_P2: (x, y) of the windows' centres.
        window: half-width in cells.
        maps_P: the map that each window is on; None for one window a map, in order.
    """
    height, width = similarity_KHW.shape[1:]
    window = min(window, max(height, width) - 1)
    offsets = torch.arange(-window, window + 1, device=similarity_KHW.device)
    x, y = (centres_P2[:, axis, None] + offsets for axis in (0, 1))
    inside_x, inside_y = (x >= 0) & (x < width), (y >= 0) & (y < height)
    if maps_P is None:
        maps_P = torch.arange(len(centres_P2), device=similarity_KHW.device)
    patch = similarity_KHW[
        maps_P[:, None, None], y.clamp(0, height - 1)[:, :, None], x.clamp(0, width - 1)[:, None, :]
    ]
    inside = inside_y[:, :, None] & inside_x[:, None, :]
    patch = patch.to(torch.promote_types(patch.dtype, torch.float32))  # sums need no less
    patch = patch.masked_fill(~inside, -torch.inf)
    return patch, offsets.to(patch.dtype)
