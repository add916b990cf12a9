"""Instance matching distance (IMD): which pose of one object is most like another object."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from homolog.errors import HomologError
from homolog.matching.neighbours import mutual_nearest_neighbours, nearest_neighbours
from homolog.matching.sampling import subsample_cells, widened


def instance_matching_distance(
    source_HWC: Float[Tensor, "H W C"],
    target_HWC: Float[Tensor, "H2 W2 C"],
    source_mask: Bool[Tensor, "H W"] | None = None,
    target_mask: Bool[Tensor, "H2 W2"] | None = None,
) -> float:
    """The instance matching distance of two objects, in the space of descriptors.

    With masks, the mean over the source's cells of the Euclidean distance to the nearest target
    descriptor. Without any, the mean distance of mutual nearest neighbours over the whole grids.
    Descriptors are taken as they are; usually they have unit length. From Zhang et al., CVPR
    2024 (arXiv 2311.17034), where it decides the pose alignment.

    Args:
        source_HWC: descriptors of the source.
        target_HWC: descriptors of the target.
        source_mask: the source's cells that show the object; None for all.
        target_mask: the target's cells that show the object; None for all.

    Raises:
        HomologError: a mask has another shape than its grid, or is empty.
    """
    _check_mask(source_mask, source_HWC, "source_mask")
    _check_mask(target_mask, target_HWC, "target_mask")
    source, target = source_HWC.flatten(0, 1), target_HWC.flatten(0, 1)
    if source_mask is None and target_mask is None:
        return _mean_distance(source, target, *mutual_nearest_neighbours(source, target))
    source_rows, target_rows = (
        None if mask is None else mask.flatten().nonzero()[:, 0]
        for mask in (source_mask, target_mask)
    )
    nearest, _ = nearest_neighbours(source, target, source_rows, target_rows)
    if source_rows is None:
        source_rows = torch.arange(len(source), device=source.device)
    return _mean_distance(source, target, source_rows, nearest)


def saliency_weighted_imd(
    source_HWC: Float[Tensor, "H W C"],
    target_HWC: Float[Tensor, "H2 W2 C"],
    source_weight_HW: Float[Tensor, "H W"],
    target_weight_HW: Float[Tensor, "H2 W2"],
) -> float:
    """The instance matching distance where no masks say which cells show the object.

    Symmetric: the Euclidean distance of each cell to the nearest descriptor of the other image,
    averaged over each image with its saliency as weights, and the mean of the two. Over every
    other row and column, which costs a sixteenth and chooses poses as well (docs/experiments.md).

    Args:
        source_HWC: descriptors of unit length.
        target_HWC: descriptors of unit length.
        source_weight_HW: the saliency of the source's cells, 0 to 1; not all 0.
        target_weight_HW: the same for the target.
    """
    subsets = [
        (widened(descriptors[cells]), weight[cells])
        for descriptors, weight, cells in (
            (source_HWC, source_weight_HW, subsample_cells(source_weight_HW > 0).unbind(1)),
            (target_HWC, target_weight_HW, subsample_cells(target_weight_HW > 0).unbind(1)),
        )
    ]
    similarity = subsets[0][0] @ subsets[1][0].T
    means = []
    for axis, (_, weight) in zip((1, 0), subsets, strict=True):
        distances = (2 - 2 * similarity.amax(axis)).clamp_min(0).sqrt()
        means.append(distances @ weight / weight.sum())
    return float(means[0] + means[1]) / 2


def _mean_distance(source_NC: Tensor, target_MC: Tensor, index0: Tensor, index1: Tensor) -> float:
    # In chunks that stay in the processor's cache.
    distances = [
        torch.linalg.vector_norm(source_NC.index_select(0, i) - target_MC.index_select(0, j), dim=1)
        for i, j in zip(index0.split(128), index1.split(128), strict=True)
    ]
    return float(torch.cat(distances).mean())


def _check_mask(mask: Tensor | None, features_HWC: Tensor, name: str) -> None:
    if mask is None:
        return
    if mask.shape != features_HWC.shape[:2]:
        raise HomologError(
            f"{name}: expected the grid's shape {tuple(features_HWC.shape[:2])}, "
            f"got {tuple(mask.shape)}"
        )
    if not mask.any():
        raise HomologError(f"{name}: expected at least one cell, got an empty mask")
