"""A dense flow from one object to another: mutual matches, and what lies between them.

As published for MARCO (CVPR 2026, arXiv 2604.18267).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from homolog.utils.optional import require

RATIO = 0.9
"""The least ratio of a match's similarity to that of the next best."""

_ROWS = 2048  # cells whose similarities to all others are computed at once


def mutual_matches(
    source_NC: Float[Tensor, "N C"], target_MC: Float[Tensor, "M C"]
) -> tuple[Int[Tensor, "P"], Int[Tensor, "P"]]:
    """Mutual nearest neighbours whose similarity is not far below that of the next best.

    Where the ratio test leaves fewer than three, all mutual nearest neighbours: it is one of
    similarities, which it takes to be positive.

    Args:
        source_NC: descriptors of unit length.
        target_MC: descriptors of unit length, two at least.

    Returns:
        Rows of the source in order, and of the target.
    """
    best, second, nearest = [], [], []
    highest = source_NC.new_full((len(target_MC),), -torch.inf)
    back = torch.zeros(len(target_MC), dtype=torch.long, device=target_MC.device)
    for start in range(0, len(source_NC), _ROWS):
        similarity = source_NC[start : start + _ROWS] @ target_MC.T
        values, rows = similarity.topk(2, dim=1)
        best.append(values[:, 0])
        second.append(values[:, 1])
        nearest.append(rows[:, 0])
        top, row = similarity.max(dim=0)
        better = top > highest
        highest = torch.where(better, top, highest)
        back = torch.where(better, row + start, back)
    to_target = torch.cat(nearest)
    mutual = back[to_target] == torch.arange(len(source_NC), device=source_NC.device)
    kept = mutual & (torch.cat(best) >= RATIO * torch.cat(second))
    if kept.sum() < 3:
        kept = mutual
    source = kept.nonzero()[:, 0]
    return source, to_target[source]


def dense_flow(
    features_2HWC: Float[Tensor, "2 H W C"],
    masks_2HW: Bool[Tensor, "2 H W"],
    keypoints_2K2: Float[Tensor, "2 K 2"],
) -> Float[Tensor, "H W 2"] | None:
    """How far each cell of the source's object lies from its match in the target.

    Mutual matches within the masks, and the keypoints, are the corners of a Delaunay triangulation
    of the source; the flow is affine in each triangle.

    Args:
        features_2HWC: of the source and of the target, of any length.
        masks_2HW: the cells that show the objects.
        keypoints_2K2: (x, y) in cells of both; those outside the masks do not count.

    Returns:
        (x, y) in cells, 0 outside the object and beyond its outermost matches; None where there
        are too few matches for a triangle.

    Raises:
        HomologError: `scipy` is not installed.
    """
    spatial = require("scipy.spatial", "data")
    source_cells, target_cells = (mask.nonzero() for mask in masks_2HW)
    if not len(source_cells) or len(target_cells) < 2:
        return None
    descriptors = [
        F.normalize(features[mask].float(), dim=-1)
        for features, mask in zip(features_2HWC, masks_2HW, strict=True)
    ]
    rows = mutual_matches(*descriptors)
    corners = [
        np.concatenate([cells[row].flip(1).double().cpu().numpy(), keypoints])
        for cells, row, keypoints in zip(
            (source_cells, target_cells),
            rows,
            _within(keypoints_2K2.double().cpu().numpy(), masks_2HW.cpu().numpy()),
            strict=True,
        )
    ]
    if len(rows[0]) < 3:
        return None
    try:
        triangles = spatial.Delaunay(corners[0])
    except spatial.QhullError:  # all in one line
        return None
    points = source_cells.flip(1).double().cpu().numpy()
    flow = torch.zeros(*masks_2HW.shape[1:], 2, device=features_2HWC.device)
    moved = _affine(triangles, corners[1], points) - points
    flow[masks_2HW[0]] = torch.from_numpy(np.nan_to_num(moved)).to(flow)
    return flow


def _within(
    keypoints_2K2: Float[np.ndarray, "2 K 2"], masks_2HW: Bool[np.ndarray, "2 H W"]
) -> Float[np.ndarray, "2 N 2"]:
    """The keypoints that lie on both masks; those beyond the grid count as on its border."""
    limit = np.array(masks_2HW.shape[:0:-1]) - 1
    x, y = np.clip(np.rint(keypoints_2K2).astype(int), 0, limit).transpose(2, 0, 1)
    on_both = masks_2HW[0, y[0], x[0]] & masks_2HW[1, y[1], x[1]]
    return keypoints_2K2[:, on_both]


def _affine(
    triangles: Any, targets_P2: Float[np.ndarray, "P 2"], points_N2: Float[np.ndarray, "N 2"]
) -> Float[np.ndarray, "N 2"]:
    """Where points go that move with the corners of the triangles that they lie in, else NaN."""
    found = triangles.find_simplex(points_N2)
    inverse = triangles.transform[found]
    weights = np.einsum("nij,nj->ni", inverse[:, :2], points_N2 - inverse[:, 2])
    weights = np.concatenate([weights, 1 - weights.sum(axis=1, keepdims=True)], axis=1)
    moved = np.einsum("ni,nij->nj", weights, targets_P2[triangles.simplices[found]])
    moved[found < 0] = np.nan
    return moved


def enlarge_flow(flow_HW2: Float[Tensor, "H W 2"], size: int) -> Float[Tensor, "size size 2"]:
    """A flow in cells as one in pixels, at every pixel of the canvas.

    Args:
        flow_HW2: (x, y) in cells.
        size: width and height of the canvas.
    """
    height, width = flow_HW2.shape[:2]
    maps = F.interpolate(flow_HW2.permute(2, 0, 1)[None], (size, size), mode="bilinear")
    return maps[0].permute(1, 2, 0) * maps.new_tensor([size / width, size / height])


def flow_colours(
    flow_HW2: Float[Tensor, "H W 2"], mask_HW: Bool[Tensor, "H W"]
) -> UInt8[Tensor, "H W 3"]:
    """A flow as colours: its direction as hue, its length as value, black where there is none.

    Args:
        flow_HW2: (x, y); lengths are in units of their 95th percentile, and not longer.
        mask_HW: what lies outside is black.

    Returns:
        Red, green and blue.
    """
    length = torch.linalg.vector_norm(flow_HW2, dim=-1)
    some = length[length > 0]
    longest = _quantile(some, 0.95) if len(some) else length.new_ones(())
    value = (length / (longest + 1e-6)).clamp(0, 1)
    hue = (torch.atan2(flow_HW2[..., 1], flow_HW2[..., 0]) + torch.pi) / (2 * torch.pi)
    # Each channel is full in a third of the circle and none in another (hue to red, green, blue).
    shift = torch.tensor([5.0, 3.0, 1.0], device=hue.device)
    sector = (shift + 6 * hue[..., None]) % 6
    share = 1 - torch.minimum(sector, 4 - sector).clamp(0, 1)
    colours = (255 * value[..., None] * share).to(torch.uint8)
    return colours * mask_HW[..., None]


def _quantile(values_N: Float[Tensor, "N"], share: float) -> Float[Tensor, ""]:
    """A quantile of many numbers, interpolated linearly; `torch.quantile` refuses 2**24."""
    place = share * (len(values_N) - 1)
    low = int(place)
    ordered = values_N.sort().values
    return torch.lerp(ordered[low], ordered[min(low + 1, len(ordered) - 1)], place - low)
