"""The mirrored view: an image is also looked at as a mirror shows it.

A network does not see a mirrored image as the mirror image of what it saw. What it says of both
views, brought back to the same cells, is surer than what it says of one: similarities are averaged,
and so is what a side head predicts. The view is the one that pose alignment computes of a flipped
source. Not from the paper; docs/experiments.md measures it.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from homolog.descriptors import DescriptorMap, with_lengths
from homolog.errors import HomologError
from homolog.matching import sample_descriptors
from homolog.matching.sampling import bilinear
from homolog.networks.sides import SideMaps, SidesConfig, append_sides, without_sides


def check_mirror(mirror: Any) -> None:
    """Refuse what does not say whether to look at mirrored images, too.

    Raises:
        HomologError: it is neither True nor False.
    """
    if not isinstance(mirror, (bool, np.bool_)):
        raise HomologError(f"mirror: expected True or False, got {mirror!r}")


def with_mirrored_view(
    own: DescriptorMap, mirrored: DescriptorMap, config: SidesConfig | None
) -> DescriptorMap:
    """The descriptors of an image in a pose, joined with those of its mirrored view.

    The inner product of two such descriptors is the mean of the similarities in both views. They
    are concatenated: their mean would make a left paw more like a right one.

    Args:
        own: the descriptors in the pose.
        mirrored: those in the pose `PoseVariant.mirrored`.
        config: of the side head; None for a model without one.
    """
    assert mirrored.transform.pose == own.transform.pose.mirrored
    # By positions, not by indices: an image need not lie in the middle of its canvas, nor a
    # grid in the middle of it.
    positions = mirrored.cells_of(own.transform.to_points(own.transform.grid.cells))
    shape = own.valid_HW.shape
    looks = [own.descriptors_HWC, mirrored.descriptors_HWC]
    if config is not None and own.sides is not None:
        looks = [without_sides(look, config) for look in looks]
    looks[1] = sample_descriptors(looks[1], positions, mirrored.lengths_HW).unflatten(0, shape)
    lengths, coarse = own.lengths_HW, own.coarse
    if lengths is not None:
        looks[0] = looks[0] * lengths[..., None]
    joined = math.sqrt(0.5) * torch.cat(looks, dim=-1)
    if lengths is not None:
        joined, lengths = with_lengths(joined)
    if coarse is not None and mirrored.coarse is not None:
        coarse = with_mirrored_view(coarse, mirrored.coarse, None)

    def sampled(values: Tensor) -> Tensor:
        return bilinear(values, positions).unflatten(0, shape)

    sides = None
    if config is not None and own.sides is not None and mirrored.sides is not None:
        seen = mirrored.sides.seen_in_mirror().stacked
        sides = SideMaps.from_stacked((own.sides.stacked + sampled(seen)) / 2)
        joined = append_sides(joined, sides, config)
    salient = (own.saliency_HW + sampled(mirrored.saliency_HW[..., None])[..., 0]) / 2
    return dataclasses.replace(
        own, descriptors_HWC=joined, saliency_HW=salient, sides=sides, lengths_HW=lengths,
        coarse=coarse,
    )  # fmt: skip
