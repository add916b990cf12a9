"""What training minimises: a sparse contrastive loss and a dense soft-argmax loss.

Both work on keypoints' descriptors only; of the similarity of two pictures, the rows of keypoints
are computed and no others. From Zhang et al., CVPR 2024 (arXiv 2311.17034).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from homolog.matching import bilinear, similarity, window_soft_argmax


def contrastive_loss(
    source_KC: Float[Tensor, "K C"],
    target_KC: Float[Tensor, "K C"],
    logit_scale: Float[Tensor, ""] | float,
) -> Float[Tensor, ""]:
    """The sparse loss: each keypoint's own counterpart among all of the pair's.

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
    """The dense loss: how far the soft-argmax lands from the truth, in cells.

    Args:
        source_HWC: descriptors of the source, of unit length.
        target_HWC: descriptors of the target, of unit length.
        source_cells_K2: (x, y) of the keypoints in cells of the source; descriptors between cells
            are bilinear mixtures.
        target_cells_K2: (x, y) in cells of the target, not rounded.
        temperature: of the soft-argmax.
        window: half-width of the soft-argmax window in cells; None, as published, for all cells.
    """
    queries_KC = bilinear(source_HWC, source_cells_K2)
    found_K2 = window_soft_argmax(similarity(queries_KC, target_HWC), window, temperature)
    return torch.linalg.vector_norm(found_K2 - target_cells_K2, dim=1).mean()
