"""Nearest and mutual nearest neighbours among descriptors, without their whole similarity."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

_CHUNK = 512  # rows of the similarity held at a time
# From this width on (fused foundation features have 3,968 channels) neighbours are searched in
# bfloat16, which is twice as fast where the processor has it; below, time is no concern.
_COARSE_CHANNELS = 2048


def nearest_neighbours(
    source_NC: Float[Tensor, "N C"],
    target_MC: Float[Tensor, "M C"],
    source_rows: Int[Tensor, "P"] | None = None,
    target_rows: Int[Tensor, "Q"] | None = None,
) -> tuple[Int[Tensor, "P"], Int[Tensor, "Q"]]:
    """For each source descriptor the index of the nearest target descriptor, and the reverse.

    Nearest by Euclidean distance; descriptors need not have unit length. From 2,048 channels
    on the search is made in bfloat16 where that is fast, so that of neighbours whose distances
    differ by less than about a thousandth either may be returned. Works in chunks: the N x M
    similarity is never held whole.

    Args:
        source_NC: descriptors.
        target_MC: descriptors.
        source_rows: the source descriptors that take part; None for all.
        target_rows: the target descriptors that take part; None for all.
    """
    coarse = source_NC.shape[1] >= _COARSE_CHANNELS and has_fast_bfloat16(source_NC.device)
    dtype = torch.bfloat16 if coarse else source_NC.dtype
    count = len(target_MC) if target_rows is None else len(target_rows)
    target = target_MC.new_empty((count, target_MC.shape[1]), dtype=dtype)
    for part, block in zip(target.split(_CHUNK), _blocks(target_MC, target_rows), strict=True):
        part.copy_(block)
    # |a - b|^2 = |a|^2 + |b|^2 - 2 a.b: the nearest b has the largest a.b - |b|^2 / 2.
    source_bias, target_bias = (
        torch.linalg.vector_norm(features, dim=1).square() / -2
        for features in (source_NC, target_MC)
    )
    if coarse:
        # Products are rounded to eight bits. Off the mean they are small, and so are the errors;
        # any shift will do, so that of every eighth row is near enough.
        mean = target[::8].mean(0)
        target.sub_(mean)
        source_bias += source_NC @ mean.to(source_NC.dtype)
    if source_rows is not None:
        source_bias = source_bias[source_rows]
    if target_rows is not None:
        target_bias = target_bias[target_rows]
    forward, start = [], 0
    backward = torch.zeros(len(target), dtype=torch.long, device=target.device)
    backward_best = target_bias - torch.inf
    for block in _blocks(source_NC, source_rows):
        products = (block.to(dtype) @ target.T).to(target_bias.dtype)
        forward.append((products + target_bias).argmax(1))
        best, index = products.add_(source_bias[start : start + len(block), None]).max(0)
        better = best > backward_best
        backward_best = torch.where(better, best, backward_best)
        backward = torch.where(better, index + start, backward)
        start += len(block)
    nearest = torch.cat(forward)
    return (
        nearest if target_rows is None else target_rows[nearest],
        backward if source_rows is None else source_rows[backward],
    )


def _blocks(features_NC: Tensor, rows: Tensor | None) -> Iterator[Float[Tensor, "P C"]]:
    """Some rows of the features, block by block; whole copies would cost more than arithmetic."""
    if rows is None:
        yield from features_NC.split(_CHUNK)
    else:
        for part in rows.split(_CHUNK):
            yield features_NC.index_select(0, part)


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether products in bfloat16 are quicker than in single precision."""
    return device.type == "cuda" or torch.backends.cpu.get_cpu_capability() == "AVX512"


def mutual_nearest_neighbours(
    source_NC: Float[Tensor, "N C"], target_MC: Float[Tensor, "M C"]
) -> tuple[Int[Tensor, "P"], Int[Tensor, "P"]]:
    """Indices of the pairs of descriptors each of which is the other's nearest neighbour.

    As precise as `nearest_neighbours`.
    """
    forward, backward = nearest_neighbours(source_NC, target_MC)
    index = torch.arange(len(forward), device=forward.device)
    mutual = backward[forward] == index
    return index[mutual], forward[mutual]
