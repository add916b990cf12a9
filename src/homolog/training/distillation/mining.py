"""Mining: points of a dense flow that the annotated keypoints bear out, as targets for a student.

As published for MARCO (CVPR 2026, arXiv 2604.18267).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from homolog.training.distillation.clusters import colour_clusters
from homolog.training.distillation.dense_flow import dense_flow, enlarge_flow, flow_colours
from homolog.training.recipes import MiningConfig


@dataclass(frozen=True)
class ObjectView:
    """An object as a teacher sees it.

    Attributes:
        features_HWC: the teacher's, of any length.
        mask: the pixels of the canvas that show the object.
        points_K2: (x, y) of the keypoints in pixels of the canvas, NaN where not visible.
    """

    features_HWC: Float[Tensor, "H W C"]
    mask: Bool[Tensor, "size size"]
    points_K2: Float[Tensor, "K 2"]


def mine_matches(
    source: ObjectView, target: ObjectView, config: MiningConfig, generator: torch.Generator
) -> Float[Tensor, "2 P 2"] | None:
    """Matches of two objects that their common keypoints bear out.

    Args:
        source: an object.
        target: another of its category.
        config: which matches are kept.
        generator: draws them, on the CPU.

    Returns:
        (x, y) of points of the source and of the target in pixels of the canvas; None where there
        are too few.

    Raises:
        HomologError: `scipy` is not installed.
    """
    masks = torch.stack([source.mask, target.mask])
    height, width = source.features_HWC.shape[:2]
    size = masks.shape[1]
    both = (source.points_K2.isfinite() & target.points_K2.isfinite()).all(1)
    keypoints = torch.stack([source.points_K2[both], target.points_K2[both]])
    cells = keypoints.new_tensor([width / size, height / size])
    flow_HW2 = dense_flow(
        torch.stack([source.features_HWC, target.features_HWC]),
        mask_cells(masks, (height, width)),
        keypoints * cells,
    )
    if flow_HW2 is None:
        return None
    flow = enlarge_flow(flow_HW2, size)
    colours = flow_colours(flow, masks[0])
    valid = (colours > 0).any(-1)
    if int(valid.sum()) < config.points:
        return None
    clusters = colour_clusters(colours[valid], generator, config.clusters)
    starts = valid.nonzero().flip(1)
    ends = (starts + flow[valid]).round().long().clamp(0, size - 1)
    good = consistent_clusters(starts, ends, clusters, keypoints, config, size)
    kept = good[clusters] & target.mask[ends[:, 1], ends[:, 0]]
    matches = torch.stack([starts[kept], ends[kept]]).float()
    if matches.shape[1] < config.least_matches:
        return None
    drawn = torch.randperm(matches.shape[1], generator=generator)[: config.points]
    return matches[:, drawn.to(matches.device)]


def mask_cells(
    masks_NSS: Bool[Tensor, "N size size"], shape: tuple[int, int]
) -> Bool[Tensor, "N H W"]:
    """The cells between whose corners' pixels masks show anything, on a grid over the canvas.

    Args:
        masks_NSS: masks of the canvas.
        shape: height and width of the grid.
    """
    maps = F.interpolate(masks_NSS[None].float(), shape, mode="bilinear", align_corners=True)
    return maps[0] > 0


def consistent_clusters(
    starts_N2: Int[Tensor, "N 2"],
    ends_N2: Int[Tensor, "N 2"],
    clusters_N: Int[Tensor, "N"],
    keypoints_2K2: Float[Tensor, "2 K 2"],
    config: MiningConfig,
    size: int,
) -> Bool[Tensor, "S"]:
    """The clusters of a flow whose keypoints it carries near enough to where they are annotated.

    A cluster without a keypoint near it is none of them.

    Args:
        starts_N2: (x, y) of the flow's pixels in the source.
        ends_N2: of the pixels in the target that it carries them to.
        clusters_N: the cluster of each, from 0.
        keypoints_2K2: (x, y) of keypoints in both.
        config: how near is near enough, and for how many.
        size: of the canvas, to whose border keypoints beyond it are moved.
    """
    near = []
    for points, keypoints in zip((starts_N2, ends_N2), keypoints_2K2, strict=True):
        pixels = keypoints.round().long().clamp(0, size - 1)
        count = int(clusters_N.max()) + 1
        found = torch.zeros(count, len(pixels), dtype=torch.bool, device=points.device)
        for column, pixel in enumerate(pixels):
            within = ((points - pixel).abs() <= config.radius).all(1)
            found[clusters_N[within].unique(), column] = True
        near.append(found)
    tested = near[0].sum(1)
    return (tested > 0) & ((near[0] & near[1]).sum(1) >= config.agreement * tested)
