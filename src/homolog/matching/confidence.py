"""How far matches, and pairs of images, can be trusted."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from homolog.matching.neighbours import mutual_nearest_neighbours
from homolog.matching.sampling import (
    nearest_cells,
    sample_descriptors,
    subsample_cells,
    widened,
)
from homolog.matching.soft_argmax import similarity, similarity_window

SCORE_TEMPERATURE = 0.05
"""Temperature of the distributions that scores are read from (docs/experiments.md)."""

_CHUNK = 512  # rows of a similarity in one pass, where a whole copy of it would cost too much


def window_log_prob(
    similarity_KHW: Float[Tensor, "K H W"],
    centres_P2: Float[Tensor, "P 2"],
    maps_P: Int[Tensor, "P"] | None = None,
    temperature: float = SCORE_TEMPERATURE,
) -> Float[Tensor, "P"]:
    """Logarithm of the probability that a match lies near a position.

    The share of softmax(similarity / temperature) over all cells that falls on the cells at most
    a tenth of the grid's longer side away, along x and along y.

    Args:
        similarity_KHW: similarity maps; -inf where no match may lie.
        centres_P2: (x, y) in cells, taken to the nearest cell.
        maps_P: the map that each position is on; None for one position a map, in order.
        temperature: of the softmax, in units of similarity.
    """
    window = round(0.1 * max(similarity_KHW.shape[1:]))
    nearest = nearest_cells(centres_P2, similarity_KHW)
    patch, _ = similarity_window(similarity_KHW, nearest, window, maps_P)
    inside = (patch.flatten(1) / temperature).logsumexp(1)
    whole = torch.cat(
        [
            (rows.to(patch.dtype).flatten(1) / temperature).logsumexp(1)
            for rows in similarity_KHW.split(_CHUNK)
        ]
    )
    return inside - (whole if maps_P is None else whole[maps_P])


def match_confidence(
    forward_P: Float[Tensor, "P"], backward_P: Float[Tensor, "P"]
) -> Float[Tensor, "P"]:
    """Confidence in matches, 0 to 1, by cycle consistency in probability.

    The geometric mean of the probability that the source point's match in the target lies near
    the position found, and of the probability that the way back from there ends near the point.

    Args:
        forward_P: logarithms of the former (`window_log_prob`).
        backward_P: logarithms of the latter.
    """
    return ((forward_P + backward_P) / 2).exp()


def cycle_confidence(
    source_HWC: Float[Tensor, "H W C"],
    target_HWC: Float[Tensor, "H2 W2 C"],
    source_valid_HW: Bool[Tensor, "H W"],
    cells_K2: Float[Tensor, "K 2"],
    targets_K2: Float[Tensor, "K 2"],
    similarity_KHW: Float[Tensor, "K H2 W2"],
) -> Float[Tensor, "K"]:
    """Confidence in the matches of K points, each followed back to the source.

    Args:
        source_HWC: descriptors of unit length.
        target_HWC: descriptors of unit length.
        source_valid_HW: the source's cells where the way back may end.
        cells_K2: (x, y) of the points in source cells.
        targets_K2: (x, y) of their matches in target cells.
        similarity_KHW: the similarity maps that the matches were read from.
    """
    queries = sample_descriptors(target_HWC, targets_K2)
    backward = similarity(queries, source_HWC, source_valid_HW)
    return match_confidence(
        window_log_prob(similarity_KHW, targets_K2), window_log_prob(backward, cells_K2)
    )


def cycle_log_prob(
    similarity_NM: Float[Tensor, "N M"],
    targets_N2: Float[Tensor, "N 2"],
    source_shape: tuple[int, int],
    target_shape: tuple[int, int],
) -> Float[Tensor, "N"]:
    """Logarithms of the probabilities that each match, followed back, ends at its source cell.

    Args:
        similarity_NM: of all source cells to all target cells, row by row.
        targets_N2: (x, y) in target cells for each source cell.
        source_shape: height and width of the source grid, N cells.
        target_shape: height and width of the target grid, M cells.
    """
    backward = similarity_NM.T.unflatten(1, source_shape)
    x, y = nearest_cells(targets_N2, similarity_NM.unflatten(1, target_shape)).unbind(1)
    index = torch.arange(len(similarity_NM), device=similarity_NM.device)
    cells = torch.stack([index % source_shape[1], index // source_shape[1]], dim=1)
    return window_log_prob(backward, cells.to(targets_N2), maps_P=y * target_shape[1] + x)


def pair_similarity(
    source_HWC: Float[Tensor, "H W C"],
    target_HWC: Float[Tensor, "H2 W2 C"],
    source_allowed: Bool[Tensor, "H W"],
    target_allowed: Bool[Tensor, "H2 W2"],
) -> float:
    """How similar two images' objects are: mean cosine similarity of mutual nearest neighbours.

    Over every other row and column, and of large maps fewer, which makes it cheap and no less
    informative (docs/experiments.md). It is the mutual-neighbour instance matching distance read
    as a similarity: 1 for an image with itself, near 0 for images that share nothing.

    Args:
        source_HWC: descriptors of unit length.
        target_HWC: descriptors of unit length.
        source_allowed: the source's cells that count.
        target_allowed: the target's cells that count.
    """
    source, target = (
        widened(each[subsample_cells(allowed).unbind(1)])
        for each, allowed in ((source_HWC, source_allowed), (target_HWC, target_allowed))
    )
    index0, index1 = mutual_nearest_neighbours(source, target)
    return float((source[index0] * target[index1]).sum(1).mean())
