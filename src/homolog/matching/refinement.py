"""Refinement: matches moved to where closer looks at both images agree with the first one.

A first match is as fine as the cells of a whole object. Descriptors of crops have smaller cells,
and know less of what lies around: so each match is looked for again near where it was found, on a
fine lattice, by the mean similarity of all looks. Not from the paper; docs/experiments.md measures
it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from homolog.matching.sampling import sample_descriptors
from homolog.matching.soft_argmax import window_soft_argmax

LOWEST = -1e4
"""Similarity of places where no match may lie; not -inf, so that sums with it stay finite."""


@dataclass(frozen=True)
class RefinementConfig:
    """How matches are refined. The extent is the longer side of the region around an object.

    Attributes:
        scales: width and height of the crops, one value a closer look, as shares of the extent.
        step: from one crop to the next at most, as a share of a crop.
        radius: how far a match may move, as a share of the target's extent.
        spacing: of the lattice that matches are looked for on, likewise.
        first_weight: share of the first look in the similarity; the closer looks share the rest.
        neighbourhood_weight: share of a closer look's similarity that comes from the neighbourhood.
        neighbourhood_distance: of the neighbours, as a share of the extent.
        temperature: of the softmax whose expected position is the match, in units of similarity.
        window: half-width of the square that it is taken over, as a share of the extent.
    """

    scales: tuple[float, ...] = (0.6,)
    step: float = 2 / 3
    radius: float = 0.05
    spacing: float = 0.01
    first_weight: float = 0.5
    neighbourhood_weight: float = 0.3
    neighbourhood_distance: float = 0.03
    temperature: float = 0.03
    window: float = 0.1

    @cached_property
    def steps(self) -> int:
        """Half-width of the lattice in steps."""
        return round(self.radius / self.spacing)

    @cached_property
    def offsets(self) -> tuple[tuple[float, float], ...]:
        """Where descriptors are sampled: (x, y) in extents from the point, itself first."""
        far = self.neighbourhood_distance
        return ((0.0, 0.0), (far, 0.0), (-far, 0.0), (0.0, far), (0.0, -far))


def lattice(config: RefinementConfig, like: Tensor) -> Float[Tensor, "L L 2"]:
    """Offsets (x, y) in extents of the places that are compared, row by row.

    Args:
        config: their spacing, and how far they reach.
        like: a tensor of the wanted type and device.
    """
    axis = torch.arange(-config.steps, config.steps + 1).to(like) * config.spacing
    return torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1)


def sample_maps(
    maps_KHW: Float[Tensor, "K H W"], cells_KP2: Float[Tensor, "K P 2"]
) -> Float[Tensor, "K P"]:
    """K maps, each at P positions of its own between cells; beyond the grid those of its border.

    Args:
        maps_KHW: values on a grid.
        cells_KP2: (x, y) in cells.
    """
    height, width = maps_KHW.shape[1:]
    limit = cells_KP2.new_tensor([max(width - 1, 1), max(height - 1, 1)])
    places = (2 * cells_KP2 / limit - 1)[:, :, None]
    found = F.grid_sample(maps_KHW[:, None], places, padding_mode="border", align_corners=True)
    return found[:, 0, :, 0]


def queries(
    source_HWC: Float[Tensor, "H W C"],
    cells_K2: Float[Tensor, "K 2"],
    unit: float,
    config: RefinementConfig,
) -> Float[Tensor, "S K C"]:
    """Descriptors of points and of their neighbours, at `RefinementConfig.offsets`.

    Args:
        source_HWC: descriptors of unit length.
        cells_K2: (x, y) of the points in cells.
        unit: cells in the source's extent.
        config: where the neighbours are.
    """
    offsets = cells_K2.new_tensor(config.offsets) * unit
    places = (cells_K2[None] + offsets[:, None]).flatten(0, 1)
    return sample_descriptors(source_HWC, places).unflatten(0, (len(offsets), len(cells_K2)))


def local_similarity(
    queries_SKC: Float[Tensor, "S K C"],
    target_HWC: Float[Tensor, "H W C"],
    allowed_HW: Bool[Tensor, "H W"],
    cells_K2: Float[Tensor, "K 2"],
    unit: float,
    config: RefinementConfig,
) -> Float[Tensor, "K L L"]:
    """Similarity of points to the places of a lattice around each one's first match.

    Averaged with the similarity of the points' neighbours to the places' neighbours.

    Args:
        queries_SKC: descriptors of the points and their neighbours (`queries`).
        target_HWC: descriptors of unit length.
        allowed_HW: the target's cells where a match may lie; other places get a very low value.
        cells_K2: (x, y) of the first matches in target cells.
        unit: cells in the target's extent.
        config: the lattice, and the weight of the neighbours.
    """
    places = lattice(config, cells_K2).flatten(0, 1) * unit
    around = cells_K2[:, None] + places[None]
    share = config.neighbourhood_weight
    maps = (queries_SKC @ target_HWC.flatten(0, 1).T).unflatten(2, target_HWC.shape[:2])
    found = sample_maps(maps[0], around) * (1 - share)
    for offset, neighbour in zip(config.offsets[1:], maps[1:], strict=True):
        shifted = around + around.new_tensor(offset) * unit
        found = found + sample_maps(neighbour, shifted) * (share / (len(maps) - 1))
    allowed = places_allowed(allowed_HW, around)
    size = 2 * config.steps + 1
    return found.masked_fill(~allowed, LOWEST).unflatten(1, (size, size))


def places_allowed(
    allowed_HW: Bool[Tensor, "H W"], cells_KP2: Float[Tensor, "K P 2"]
) -> Bool[Tensor, "K P"]:
    """Whether the cell that each position lies in takes part; beyond the grid none does.

    Args:
        allowed_HW: the cells that take part.
        cells_KP2: (x, y) in cells.
    """
    height, width = allowed_HW.shape
    x, y = cells_KP2.round().long().unbind(-1)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return inside & allowed_HW[y.clamp(0, height - 1), x.clamp(0, width - 1)]


def refine(
    first_KLL: Float[Tensor, "K L L"],
    closer: Sequence[Float[Tensor, "K L L"]],
    config: RefinementConfig,
) -> Float[Tensor, "K 2"]:
    """How far each match moves, (x, y) in extents: never farther than the radius.

    Args:
        first_KLL: similarity in the first look, at the places of the lattice.
        closer: the same in each closer look; very low where it does not see a place.
        config: the weights of the looks, and how the position is read.
    """
    weight = (1 - config.first_weight) / len(closer)
    joint = config.first_weight * first_KLL + weight * sum(closer)
    places = lattice(config, joint)
    reachable = places.norm(dim=-1) <= config.radius * (1 + 1e-6)
    # The expected position of places in a disc lies in the disc, too.
    joint = joint.masked_fill(~reachable, -torch.inf)
    window = round(config.window / config.spacing)
    found = window_soft_argmax(joint, window, config.temperature)
    moved = (found - config.steps) * config.spacing
    # A match that the closer looks do not see stays where it is.
    seen = joint[:, config.steps, config.steps] > LOWEST / 2 * weight
    return torch.where(seen[:, None], moved, torch.zeros_like(moved))
