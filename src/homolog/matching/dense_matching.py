"""Matches for every cell, and a choice of good ones that are far apart."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from homolog.matching.confidence import window_log_prob
from homolog.matching.consensus import Consensus
from homolog.matching.soft_argmax import argmax

_CHUNK = 512  # rows of the similarity treated at once
_APART = 0.1  # the distance of the first matches from each other, in shares of the objects' size
_CLOSE = 0.02  # below which no more is asked for than that matches differ


def dense_matches(
    similarity_NM: Float[Tensor, "N M"],
    allowed_HW: Bool[Tensor, "H W"],
    locate: Callable[[Tensor], Tensor],
    consensus: Consensus | None = None,
) -> tuple[Int[Tensor, "N 2"], Float[Tensor, "N 2"], Float[Tensor, "N"]]:
    """The match of every source cell, some rows at a time, so that no copy of all maps is made.

    Args:
        similarity_NM: of all source cells to all target cells, row by row; M is H x W.
        allowed_HW: the target cells where a match may lie.
        locate: from similarity maps (K x H x W) to positions (K x 2), such as `window_soft_argmax`.
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
        targets = locate(maps)
        parts.append((argmax(maps), targets, window_log_prob(maps, targets)))
    peaks, targets, log_probs = (torch.cat(part) for part in zip(*parts, strict=True))
    return peaks, targets, log_probs


def spread_matches(
    distances_KK: Float[Tensor, "K K"] | Callable[[int], Float[Tensor, "K"]],
    quality_K: Float[Tensor, "K"],
    count: int,
) -> Int[Tensor, "P"]:
    """Indices of at most `count` matches that are good and far apart, in that order.

    First the best ones that are a tenth of the objects' size from all better ones; where there are
    no more, those that are half as far from all that were taken, and so on. So the first ones of
    many are the same as a few.

    Args:
        distances_KK: of the matches from each other, in shares of the objects' size; or what
            returns those of one match from all, where there are many.
        quality_K: larger is better.
        count: how many to take.
    """
    nearest = torch.full_like(quality_K, torch.inf)
    left = quality_K.clone()
    chosen: list[int] = []
    apart = _APART
    while len(chosen) < min(count, len(quality_K)):
        best = left.masked_fill(nearest < apart, -torch.inf)
        index = int(best.argmax())
        if best[index] == -torch.inf:
            apart = apart / 2 if apart > _CLOSE else 0.0
            continue
        chosen.append(index)
        left[index] = -torch.inf
        own = distances_KK(index) if callable(distances_KK) else distances_KK[index]
        nearest = torch.minimum(nearest, own)
    return torch.tensor(chosen, dtype=torch.long, device=quality_K.device)
