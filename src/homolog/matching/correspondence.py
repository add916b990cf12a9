"""From descriptors to correspondences: similarity, window soft-argmax, mutual neighbours, scores.

Everything here works on cells (see `homolog.image.geometry`) and knows nothing of pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from homolog.errors import HomologError

SCORE_TEMPERATURE = 0.05
"""Temperature of the distributions that scores are read from (docs/experiments.md)."""

# Rows of a similarity treated at once where whole copies of it would have to be made.
_CHUNK = 512
# From this width on (fused foundation features have 3,968 channels) neighbours are searched in
# bfloat16, which is twice as fast where the processor has it; below, time is no concern.
_COARSE_CHANNELS = 2048


def sample(
    descriptors_HWC: Float[Tensor, "H W C"], cells_K2: Float[Tensor, "K 2"]
) -> Float[Tensor, "K C"]:
    """Descriptors at cells that need not be whole: bilinear, of unit length.

    Args:
        descriptors_HWC: descriptors on the grid.
        cells_K2: (x, y) in cells; positions beyond the grid are moved to its border.
    """
    return F.normalize(bilinear(descriptors_HWC, cells_K2), dim=1)


def bilinear(
    values_HWC: Float[Tensor, "H W C"], cells_K2: Float[Tensor, "K 2"]
) -> Float[Tensor, "K C"]:
    """Values between cells.

    Args:
        values_HWC: values on the grid.
        cells_K2: (x, y) in cells; positions beyond the grid are moved to its border.
    """
    height, width = values_HWC.shape[:2]
    limit = cells_K2.new_tensor([width - 1, height - 1])
    cells = torch.minimum(cells_K2.clamp_min(0), limit)
    low = cells.floor()
    high = torch.minimum(low + 1, limit)
    (right, down), (left, up) = (cells - low).unbind(1), (1 - (cells - low)).unbind(1)
    (x0, y0), (x1, y1) = low.long().unbind(1), high.long().unbind(1)
    corners = torch.stack([y0 * width + x0, y0 * width + x1, y1 * width + x0, y1 * width + x1], 1)
    weights = torch.stack([up * left, up * right, down * left, down * right], 1)
    # A weighted bag of rows: its backward pass touches these rows only.
    values = values_HWC.flatten(0, 1)
    return F.embedding_bag(corners, values, per_sample_weights=weights.to(values), mode="sum")


def similarity(
    source_KC: Float[Tensor, "K C"],
    target_HWC: Float[Tensor, "H W C"],
    allowed_HW: Bool[Tensor, "H W"] | None = None,
) -> Float[Tensor, "K H W"]:
    """Cosine similarity of K descriptors to every cell of a grid; all of unit length.

    Args:
        source_KC: descriptors of the points asked for.
        target_HWC: descriptors of the picture they are looked for in.
        allowed_HW: cells where an answer may lie; all others get -inf.
    """
    found = (source_KC @ target_HWC.flatten(0, 1).T).unflatten(1, target_HWC.shape[:2])
    return found if allowed_HW is None else found.masked_fill(~allowed_HW, -torch.inf)


def argmax(similarity_KHW: Float[Tensor, "K H W"]) -> Int[Tensor, "K 2"]:
    """The cell (x, y) with the largest similarity; of equals the first, row by row."""
    width = similarity_KHW.shape[2]
    best = similarity_KHW.flatten(1).argmax(1)
    return torch.stack([best % width, best // width], dim=1)


def window_soft_argmax(
    similarity_KHW: Float[Tensor, "K H W"], window: int | None = 5, temperature: float = 0.02
) -> Float[Tensor, "K 2"]:
    """Where the similarity is largest, finer than a cell ("window soft-argmax").

    The expected position under softmax(similarity / temperature) over the cells of a square
    window around the argmax (Zhang et al., CVPR 2024, arXiv 2311.17034). Cells outside the window
    are left out altogether; the published code gives them the weight of a zero similarity.

    Args:
        similarity_KHW: a similarity map a point; -inf where no answer may lie.
        window: half-width in cells, clamped at the border; 0 is the argmax, None all cells.
        temperature: of the softmax, in units of similarity.

    Returns:
        (x, y) in cells, centres at whole numbers.

    Raises:
        HomologError: the window is negative or the temperature not positive.

    >>> peak = torch.zeros(1, 4, 6)
    >>> peak[0, 2, 3] = peak[0, 2, 4] = 1.0
    >>> window_soft_argmax(peak, window=1, temperature=0.02).tolist()
    [[3.5, 2.0]]
    """
    if window is not None and window < 0:
        raise HomologError(f"window: got {window}, takes a half-width of at least 0 cells, or None")
    if not temperature > 0:
        raise HomologError(f"temperature: got {temperature}, takes a number above 0")
    if window is None:
        count, height, width = similarity_KHW.shape
        weights = (_wide(similarity_KHW).flatten(1) / temperature).softmax(1)
        weights = weights.view(count, height, width)
        columns = torch.arange(width, device=weights.device, dtype=weights.dtype)
        rows = torch.arange(height, device=weights.device, dtype=weights.dtype)
        return torch.stack([weights.sum(1) @ columns, weights.sum(2) @ rows], dim=1)
    peak = argmax(similarity_KHW)
    patch, offsets = _patch(similarity_KHW, peak, window)
    weights = (patch.flatten(1) / temperature).softmax(1).view_as(patch)
    shift = torch.stack([weights.sum(1) @ offsets, weights.sum(2) @ offsets], dim=1)
    return peak + shift


def window_log_mass(
    similarity_KHW: Float[Tensor, "K H W"],
    centres_P2: Float[Tensor, "P 2"],
    maps_P: Int[Tensor, "P"] | None = None,
    temperature: float = SCORE_TEMPERATURE,
) -> Float[Tensor, "P"]:
    """Logarithm of the probability that an answer lies near a place.

    The share of softmax(similarity / temperature) over all cells that falls on the cells at most
    a tenth of the grid's longer side away, along x and along y.

    Args:
        similarity_KHW: similarity maps; -inf where no answer may lie.
        centres_P2: (x, y) in cells, taken to the nearest cell.
        maps_P: the map that each place is on; None for one place a map, in order.
        temperature: of the softmax, in units of similarity.
    """
    window = round(0.1 * max(similarity_KHW.shape[1:]))
    patch, _ = _patch(similarity_KHW, nearest_cells(centres_P2, similarity_KHW), window, maps_P)
    inside = (patch.flatten(1) / temperature).logsumexp(1)
    whole = torch.cat(
        [
            (_wide(rows).flatten(1) / temperature).logsumexp(1)
            for rows in similarity_KHW.split(_CHUNK)
        ]
    )
    return inside - (whole if maps_P is None else whole[maps_P])


def scores(forward_P: Float[Tensor, "P"], backward_P: Float[Tensor, "P"]) -> Float[Tensor, "P"]:
    """Confidence in matches, 0 to 1, from the logarithms of two probabilities.

    The geometric mean of the probability that the source point's place in the target is near the
    match, and that the match's place in the source is near the source point.
    """
    return ((forward_P + backward_P) / 2).exp()


def dense(
    maps_of: Callable[[Int[Tensor, "K"]], Float[Tensor, "K H W"]],
    count: int,
    window: int | None,
    temperature: float,
    device: torch.device,
) -> tuple[Int[Tensor, "N 2"], Float[Tensor, "N 2"], Float[Tensor, "N"]]:
    """Where every source cell goes, some rows at a time, so that no copy of all maps is made.

    Args:
        maps_of: gives the similarity maps of some source cells, by their numbers.
        count: how many source cells there are.
        window: as for `window_soft_argmax`.
        temperature: as for `window_soft_argmax`.
        device: where the maps are.

    Returns:
        The best target cells (x, y), positions between cells, and the logarithms of the
        probabilities that the answers lie near these.
    """
    parts = []
    for rows in torch.arange(count, device=device).split(_CHUNK):
        maps = maps_of(rows)
        targets = window_soft_argmax(maps, window, temperature)
        parts.append((argmax(maps), targets, window_log_mass(maps, targets)))
    peaks, targets, masses = (torch.cat(part) for part in zip(*parts, strict=True))
    return peaks, targets, masses


def way_back(
    similarity_NM: Float[Tensor, "N M"],
    targets_N2: Float[Tensor, "N 2"],
    source_shape: tuple[int, int],
    target_shape: tuple[int, int],
) -> Float[Tensor, "N"]:
    """Logarithms of the probabilities that the way back from each target leads to its source cell.

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
    return window_log_mass(backward, cells.to(targets_N2), maps_P=y * target_shape[1] + x)


def spread(
    points_K2: Float[Tensor, "K 2"], quality_K: Float[Tensor, "K"], count: int
) -> Int[Tensor, "P"]:
    """Indices of at most `count` points that are good and far apart.

    After adaptive non-maximal suppression (Brown, Szeliski and Winder, CVPR 2005): a point ranks
    by the room around it before a better one comes, here times its own quality.

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


def nearest_cells(
    positions_P2: Float[Tensor, "P 2"], maps_KHW: Float[Tensor, "K H W"]
) -> Int[Tensor, "P 2"]:
    """The cells of a grid nearest to positions (x, y) in cells."""
    height, width = maps_KHW.shape[1:]
    limit = torch.tensor([width - 1, height - 1], device=maps_KHW.device)
    return torch.minimum(positions_P2.round().long().clamp_min(0), limit)


def _patch(
    similarity_KHW: Tensor,
    centres_P2: Int[Tensor, "P 2"],
    window: int,
    maps_P: Int[Tensor, "P"] | None = None,
) -> tuple[Float[Tensor, "P S S"], Float[Tensor, "S"]]:
    """The square windows around cells, -inf beyond the border, and the offsets along a side."""
    height, width = similarity_KHW.shape[1:]
    window = min(window, max(height, width) - 1)
    offsets = torch.arange(-window, window + 1, device=similarity_KHW.device)
    x, y = (centres_P2[:, axis, None] + offsets for axis in (0, 1))
    inside_x, inside_y = (x >= 0) & (x < width), (y >= 0) & (y < height)
    if maps_P is None:
        maps_P = torch.arange(len(centres_P2), device=similarity_KHW.device)
    patch = similarity_KHW[
        maps_P[:, None, None], y.clamp(0, height - 1)[:, :, None], x.clamp(0, width - 1)[:, None, :]
    ]
    inside = inside_y[:, :, None] & inside_x[:, None, :]
    patch = _wide(patch).masked_fill(~inside, -torch.inf)
    return patch, offsets.to(patch.dtype)


def _wide(tensor: Tensor) -> Tensor:
    """In at least single precision."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def nearest_neighbours(
    source_NC: Float[Tensor, "N C"],
    target_MC: Float[Tensor, "M C"],
    source_rows: Int[Tensor, "P"] | None = None,
    target_rows: Int[Tensor, "Q"] | None = None,
) -> tuple[Int[Tensor, "P"], Int[Tensor, "Q"]]:
    """For each source descriptor the row of the nearest target descriptor, and the reverse.

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


def pair_score(
    source_HWC: Float[Tensor, "H W C"],
    target_HWC: Float[Tensor, "H2 W2 C"],
    source_allowed: Bool[Tensor, "H W"],
    target_allowed: Bool[Tensor, "H2 W2"],
) -> float:
    """How alike two pictures' things are: the mean cosine similarity of mutual neighbours.

    Over every other row and column, which makes it cheap and no less telling
    (docs/experiments.md). It is the mutual-neighbour instance matching distance read as a
    similarity: 1 for a picture with itself, near 0 for pictures that share nothing.

    Args:
        source_HWC: descriptors of unit length.
        target_HWC: descriptors of unit length.
        source_allowed: the cells that count.
        target_allowed: the cells that count.
    """
    source, target = (
        _thinned(descriptors, allowed)
        for descriptors, allowed in ((source_HWC, source_allowed), (target_HWC, target_allowed))
    )
    index0, index1 = mutual_nearest_neighbours(source, target)
    return float((source[index0] * target[index1]).sum(1).mean())


def _thinned(descriptors_HWC: Tensor, allowed_HW: Tensor) -> Float[Tensor, "N C"]:
    return descriptors_HWC[thinned_cells(allowed_HW).unbind(1)]


def thinned_cells(allowed_HW: Bool[Tensor, "H W"]) -> Int[Tensor, "N 2"]:
    """(y, x) of the cells allowed in every other row and column; of all, if there are none."""
    thin = allowed_HW[::2, ::2].nonzero() * 2
    return thin if len(thin) else allowed_HW.nonzero()
