"""The distiller: mines the teacher's dense matches of the pairs of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from homolog.training.distillation.mining import ObjectView, mine_matches
from homolog.training.recipes import DistillationConfig


@dataclass(frozen=True)
class MinedPair:
    """Matches of two images of a batch.

    Attributes:
        source: the position of the source in the batch.
        target: the position of the target.
        matches_2P2: (x, y) of points of both in pixels of the canvas.
    """

    source: int
    target: int
    matches_2P2: Float[Tensor, "2 P 2"]


def mine_batch(
    features_BHWC: Float[Tensor, "B H W C"],
    masks: Sequence[Bool[Tensor, "size size"] | None],
    points_BK2: Float[Tensor, "B K 2"],
    weights_BB: Float[np.ndarray, "B B"],
    config: DistillationConfig,
    seed: int,
) -> list[MinedPair]:
    """The matches of a batch's pairs that their keypoints bear out.

    Args:
        features_BHWC: the teacher's, of any length.
        masks: the pixels of the canvas that show the objects; pairs without are left out.
        points_BK2: (x, y) of the keypoints in pixels of the canvas, NaN where not visible.
        weights_BB: of each ordered pair, source by target; 0 for pairs that are not learned from.
        config: which pairs and matches are taken.
        seed: of what is drawn at random.

    Raises:
        HomologError: `scipy` is not installed.
    """
    device = features_BHWC.device
    generator = torch.Generator().manual_seed(seed)
    known = [mask is not None for mask in masks]
    listed = [(i, j) for i, j in np.argwhere(weights_BB).tolist() if known[i] and known[j]]
    drawn = torch.randperm(len(listed), generator=generator)[: config.pairs].tolist()
    views = {
        index: ObjectView(features_BHWC[index], mask.to(device), points_BK2[index])
        for index, mask in enumerate(masks)
        if mask is not None
    }
    mined = []
    for source, target in (listed[number] for number in sorted(drawn)):
        matches = mine_matches(views[source], views[target], config.mining, generator)
        if matches is not None:
            mined.append(MinedPair(source, target, matches))
    return mined
