"""Matches for every cell, and a choice of good ones that are far apart."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from homolog.matching.confidence import window_log_prob
from homolog.matching.consensus import Consensus
from homolog.matching.soft_argmax import argmax, window_soft_argmax

_CHUNK = 512  # rows of the similarity treated at once


def dense_matches(
    similarity_NM: Float[Tensor, "N M"],
    allowed_HW: Bool[Tensor, "H W"],
    window: int | None,
    temperature: float,
    consensus: Consensus | None = None,
) -> tuple[Int[Tensor, "N 2"], Float[Tensor, "N 2"], Float[Tensor, "N"]]:
    """The match of every source cell, some rows at a time, so that no copy of all maps is made.

    Args:
        similarity_NM: of all source cells to all target cells, row by row; M is H x W.
        allowed_HW: the target cells where a match may lie.
        window: as for `window_soft_argmax`.
        temperature: as for `window_soft_argmax`.
        consensus: corrects the similarity, and has `allowed_HW` of its own.

    Returns:
        The best target cells (x, y), positions between cells, and the logarithms of the
        probabilities that the matches lie near these (`window_log_prob`).
    """
    parts = []
    for rows in torch.arange(len(similarity_NM), device=similarity_NM.device).split(_CHUNK):
        if consensus is not None:
            maps = consensus.rows(similarity_NM, rows)
        else:
            maps = similarity_NM[rows].unflatten(1, allowed_HW.shape)
            maps = maps.masked_fill_(~allowed_HW, -torch.inf)
        targets = window_soft_argmax(maps, window, temperature)
        parts.append((argmax(maps), targets, window_log_prob(maps, targets)))
    peaks, targets, log_probs = (torch.cat(part) for part in zip(*parts, strict=True))
    return peaks, targets, log_probs


def adaptive_nms(
    points_K2: Float[Tensor, "K 2"], quality_K: Float[Tensor, "K"], count: int
) -> Int[Tensor, "P"]:
    """Indices of at most `count` points that are good and far apart, best first.

    Adaptive non-maximal suppression (Brown, Szeliski and Winder, CVPR 2005): points are ranked by
    the distance to the nearest better point, here multiplied by their own quality.

    Args:
        points_K2: (x, y) in any unit.
        quality_K: larger is better, 0 or more.
        count: how many to keep.
    """
    distances = torch.cdist(points_K2, points_K2)
    better = quality_K[None, :] > quality_K[:, None]
    room = distances.masked_fill(~better, torch.inf).amin(1)
    room = room.clamp_max(distances.max().clamp_min(1))  # the best has no better one
    return (room * quality_K).argsort(descending=True, stable=True)[:count]
