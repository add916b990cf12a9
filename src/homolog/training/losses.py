"""Training losses: the sparse contrastive loss and the dense soft-argmax loss.

Both need the descriptors at keypoints only: of the similarity of two images, just the rows of the
keypoints are computed. From Zhang et al., CVPR 2024 (arXiv 2311.17034).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from homolog.matching import bilinear, similarity, window_soft_argmax

PointLoss = Callable[[Float[Tensor, "P H W"], Float[Tensor, "P 2"]], Float[Tensor, "P"]]
"""The loss of each of P points, from its similarity map and its true (x, y) in cells."""

_LEAST_PROBABILITY = 1e-6  # added to every cell's, so that none has an infinite logarithm


def contrastive_loss(
    source_KC: Float[Tensor, "K C"],
    target_KC: Float[Tensor, "K C"],
    logit_scale: Float[Tensor, ""] | float,
) -> Float[Tensor, ""]:
    """The sparse loss: tell each keypoint's match from the pair's other keypoints.

    Symmetric cross-entropy as in CLIP, the mean of both directions.

    Args:
        source_KC: descriptors of the keypoints in the source, of unit length.
        target_KC: descriptors of the same keypoints in the target, of unit length.
        logit_scale: the factor of the similarities (not its logarithm).
    """
    logits = logit_scale * source_KC @ target_KC.T
    labels = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def dense_loss(
    source_HWC: Float[Tensor, "H W C"],
    target_HWC: Float[Tensor, "H2 W2 C"],
    source_cells_K2: Float[Tensor, "K 2"],
    target_cells_K2: Float[Tensor, "K 2"],
    temperature: float = 0.02,
    window: int | None = None,
) -> Float[Tensor, ""]:
    """The dense loss: the mean distance of the soft-argmax from the true position, in cells.

    Args:
        source_HWC: descriptors of the source, of unit length.
        target_HWC: descriptors of the target, of unit length.
        source_cells_K2: (x, y) of the keypoints in cells of the source; descriptors between cells
            are interpolated bilinearly.
        target_cells_K2: (x, y) in cells of the target, not rounded.
        temperature: of the soft-argmax.
        window: half-width of the soft-argmax window in cells; None, as published, for all cells.
    """
    queries_KC = bilinear(source_HWC, source_cells_K2)
    similarity_KHW = similarity(queries_KC, target_HWC)
    return soft_argmax_distance(similarity_KHW, target_cells_K2, temperature, window).mean()


def soft_argmax_distance(
    similarity_PHW: Float[Tensor, "P H W"],
    cells_P2: Float[Tensor, "P 2"],
    temperature: float = 0.02,
    window: int | None = None,
) -> Float[Tensor, "P"]:
    """The distance of each map's soft-argmax from its true position, in cells.

    `dense_loss` is its mean.

    Args:
        similarity_PHW: similarity maps.
        cells_P2: (x, y) in cells, not rounded.
        temperature: of the soft-argmax.
        window: half-width of its window in cells; None, as published, for all cells.
    """
    estimated_P2 = window_soft_argmax(similarity_PHW, window, temperature)
    return torch.linalg.vector_norm(estimated_P2 - cells_P2, dim=1)


def heatmap_cross_entropy(
    similarity_PHW: Float[Tensor, "P H W"],
    cells_P2: Float[Tensor, "P 2"],
    scale: Float[Tensor, ""] | float,
    sigma: float = 0.8,
) -> Float[Tensor, "P"]:
    """Cross-entropy between softmax(scale * similarity) and a Gaussian around the true position.

    Not from the paper: with few images and rotations it trains faster than the distance
    (docs/experiments.md).

    Args:
        similarity_PHW: similarity maps.
        cells_P2: (x, y) in cells, not rounded.
        scale: the factor of the similarities.
        sigma: of the Gaussian, in cells.
    """
    height, width = similarity_PHW.shape[1:]
    x = torch.arange(width, device=cells_P2.device) - cells_P2[:, :1]
    y = torch.arange(height, device=cells_P2.device) - cells_P2[:, 1:]
    weights = [(axis.square() / (-2 * sigma**2)).softmax(1) for axis in (y, x)]
    log_probability = (scale * similarity_PHW).flatten(1).log_softmax(1)
    gaussian = (weights[0][:, :, None] * weights[1][:, None, :]).flatten(1)
    return -(gaussian * log_probability).sum(1)


def gaussian_cross_entropy(
    similarity_PHW: Float[Tensor, "P H W"],
    cells_P2: Float[Tensor, "P 2"],
    sigma: float,
    temperature: Float[Tensor, ""] | float = 10.0,
    window: int = 7,
) -> Float[Tensor, "P"]:
    """Cross-entropy between softmax(similarity / temperature) and a Gaussian around the truth.

    As published for MARCO (CVPR 2026, arXiv 2604.18267): the softmax is sampled in a square window
    around the true position, whose points beyond the grid do not count; the Gaussian is a density
    and not normalised over them.

    Args:
        similarity_PHW: similarity maps.
        cells_P2: (x, y) in cells, not rounded.
        sigma: standard deviation of the Gaussian, in cells.
        temperature: of the softmax.
        window: half-width of the window, in cells.
    """
    count, height, width = similarity_PHW.shape
    offsets = torch.arange(-window, window + 1, device=cells_P2.device, dtype=cells_P2.dtype)
    y, x = torch.meshgrid(offsets, offsets, indexing="ij")
    around_S2 = torch.stack([x, y], dim=-1).flatten(0, 1)
    points_PS2 = cells_P2[:, None] + around_S2
    limit = points_PS2.new_tensor([width - 1, height - 1])
    inside_PS = ((points_PS2 > 0) & (points_PS2 < limit)).all(-1)
    probability = (similarity_PHW / temperature).flatten(1).softmax(1) + _LEAST_PROBABILITY
    grid = (2 * points_PS2 / limit - 1)[:, None]
    sampled_PS = F.grid_sample(
        probability.view(count, 1, height, width), grid, padding_mode="border", align_corners=True
    )[:, 0, 0]
    density_S = (around_S2.square().sum(1) / (-2 * sigma**2)).exp() / (2 * math.pi * sigma**2)
    return -(density_S * sampled_PS.log() * inside_PS).sum(1)


def relative_distance(
    similarity_PHW: Float[Tensor, "P H W"],
    cells_P2: Float[Tensor, "P 2"],
    temperature: Float[Tensor, ""] | float = 10.0,
) -> Float[Tensor, "P"]:
    """The distance of each map's soft-argmax over all cells from its true position.

    As `soft_argmax_distance`, but as a share of half the grid's width and height, as published for
    MARCO's dense matches.

    Args:
        similarity_PHW: similarity maps.
        cells_P2: (x, y) in cells, not rounded.
        temperature: of the soft-argmax.
    """
    height, width = similarity_PHW.shape[1:]
    estimated_P2 = window_soft_argmax(similarity_PHW / temperature, None, 1.0)
    halves = cells_P2.new_tensor([width - 1, height - 1]) / 2
    return torch.linalg.vector_norm((estimated_P2 - cells_P2) / halves, dim=1)


def all_pairs_loss(
    descriptors_BHWC: Float[Tensor, "B H W C"],
    cells_BK2: Float[Tensor, "B K 2"],
    sparse_weights_BB: Float[Tensor, "B B"],
    dense_weights_BB: Float[Tensor, "B B"],
    logit_scale: Float[Tensor, ""] | float,
    point_loss: PointLoss = soft_argmax_distance,
    noise_BK2: Float[Tensor, "B K 2"] | None = None,
    selected_BBK: Bool[Tensor, "B B K"] | None = None,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Both losses of all ordered pairs among B images, each described once.

    The sums over pairs (i, j) of weight times `contrastive_loss` and of weight times `dense_loss`,
    at a fraction of the cost of pair after pair. Mirror images count as images of their own, with
    weights for the pairs that they are in ("pose-variant augmentation").

    Args:
        descriptors_BHWC: of unit length.
        cells_BK2: (x, y) of each image's keypoints in cells, NaN where not visible.
        sparse_weights_BB: of each ordered pair, source by target, in the contrastive loss; 0 to
            leave a pair out. A pair without keypoints in common has no loss.
        dense_weights_BB: the same for the dense loss.
        logit_scale: as for `contrastive_loss`.
        point_loss: of the dense loss.
        noise_BK2: added to the target positions of the dense loss, in cells.
        selected_BBK: the keypoints of each pair that enter the dense loss; None for all that are
            visible in both images.

    Returns:
        The weighted sums of the sparse and of the dense losses.
    """
    visible_BK = cells_BK2.isfinite().all(-1)
    cells_BK2 = cells_BK2.nan_to_num()
    queries_BKC = torch.stack(
        [bilinear(d, c) for d, c in zip(descriptors_BHWC, cells_BK2, strict=True)]
    )
    shared_BBK = visible_BK[:, None] & visible_BK[None]
    counts_BB = shared_BBK.sum(-1).clamp_min(1)

    # All keypoints of all images against each other; in each pair, those visible in both.
    logits = logit_scale * torch.einsum("ikc,jlc->ijkl", queries_BKC, queries_BKC)
    logits = logits.masked_fill(~shared_BBK[:, :, None, :], -1e9)
    log_probability_BBK = logits.log_softmax(-1).diagonal(dim1=2, dim2=3)
    # The loss of (i, j) has the cross-entropies of both directions, as has that of (j, i).
    per_point_BB = (sparse_weights_BB + sparse_weights_BB.T) / 2 / counts_BB
    sparse = -(log_probability_BBK * shared_BBK * per_point_BB[..., None]).sum()

    if selected_BBK is not None:
        shared_BBK = shared_BBK & selected_BBK
        counts_BB = shared_BBK.sum(-1).clamp_min(1)
    per_point_BB = dense_weights_BB / counts_BB
    dense = descriptors_BHWC.new_zeros(())
    targets_BK2 = cells_BK2 if noise_BK2 is None else cells_BK2 + noise_BK2
    for target, descriptors_HWC in enumerate(descriptors_BHWC):
        selected_BK = shared_BBK[:, target] & (dense_weights_BB[:, target] != 0)[:, None]
        source, keypoint = selected_BK.nonzero().unbind(1)
        if len(source) == 0:
            continue
        similarity_PHW = similarity(queries_BKC[source, keypoint], descriptors_HWC)
        losses = point_loss(similarity_PHW, targets_BK2[target, keypoint])
        dense = dense + losses @ per_point_BB[source, target]
    return sparse, dense
