"""The match of every cell of two images, both ways.

Where maps are small, from the similarity of all cells to all cells. Where this would take
gigabytes, coarse to fine (`matching.coarse_to_fine`), or exhaustively in chunks.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from homolog import matching
from homolog.config import MatcherConfig
from homolog.descriptors import DescriptorMap
from homolog.flow import DenseMatches
from homolog.matching.coarse_to_fine import CHUNK_BYTES, CellMap, CellMatcher
from homolog.matching.consensus import Consensus
from homolog.matching.sampling import LARGE, cell_places, coarsening, nearest_cells
from homolog.utils.memory import require_memory

_FLOOR = -1e4  # of cells that take no part; not -inf, for rows of them must have a softmax
_ROWS = 8192  # matches whose confidence is read at once
_REACH = 2  # standard deviations of the suppression within which positions are read


def is_large(source: DescriptorMap, target: DescriptorMap) -> bool:
    """Whether the similarity of all cells to all cells is too large to be held.

    Args:
        source: descriptors of the source.
        target: descriptors of the target.
    """
    return source.valid_HW.numel() * target.valid_HW.numel() > LARGE**2


@dataclass(frozen=True, eq=False)
class MutualMatches:
    """Source cells and target cells each of which is the other's best match.

    Attributes:
        cells_P: numbers of the source cells, row by row.
        partners_P: numbers of the target cells.
        sources_P2: (x, y) of the source cells.
        targets_P2: (x, y) of the matches in target cells; whole numbers where maps are large.
        confidence_P: in each match.
    """

    cells_P: Int[Tensor, "P"]
    partners_P: Int[Tensor, "P"]
    sources_P2: Float[Tensor, "P 2"]
    targets_P2: Float[Tensor, "P 2"]
    confidence_P: Float[Tensor, "P"]

    def select(self, rows: Int[Tensor, "K"] | Bool[Tensor, "P"]) -> MutualMatches:
        """Some of the matches.

        Args:
            rows: which.
        """
        values = (getattr(self, each.name)[rows] for each in dataclasses.fields(self))
        return MutualMatches(*values)


class DenseMatcher:
    """Matches all cells of two images, both ways.

    Args:
        source: descriptors of the source, in its pose.
        target: descriptors of the target.
        consensus: of the source with the target, and of the target with the source; None for a
            model that uses none.
        config: how positions are read from similarity.

    Raises:
        HomologError: there is too little memory.
    """

    def __init__(
        self,
        source: DescriptorMap,
        target: DescriptorMap,
        consensus: tuple[Consensus | None, Consensus | None],
        config: MatcherConfig,
    ):
        self.source, self.target = source, target
        self.consensus = consensus
        self.config = config
        self.large = is_large(source, target)
        self.scale = source.typical_length * target.typical_length
        if self.large:
            require_memory(
                memory_needed(source, target), f"matching {_described(source, target)}",
                source.valid_HW.device,
            )  # fmt: skip

    @cached_property
    def matches(self) -> tuple[DenseMatches, DenseMatches]:
        """The match of every cell of the source, and of every cell of the target."""
        if not self.large:
            return self._of_whole_similarity()
        return self._read(0), self._read(1)

    def mutual(self) -> MutualMatches:
        """The matches that are each other's best, of cells that take part."""
        if self.large:
            forward, backward = self._best
        else:
            (peaks0, targets, confidence), (peaks1, _, _) = self.matches
            width0, width1 = (each.valid_HW.shape[1] for each in (self.source, self.target))
            forward = peaks0[:, 1] * width1 + peaks0[:, 0]
            backward = peaks1[:, 1] * width0 + peaks1[:, 0]
        index = self.source.matchable_HW.flatten().nonzero().flatten()
        index = index[backward[forward[index]] == index]
        partners = forward[index]
        if self.large:
            targets = _places(partners, self.target)
            confidence = self._confidence(0, index, targets)
        else:
            targets, confidence = targets[index], confidence[index]
        return MutualMatches(index, partners, _places(index, self.source), targets, confidence)

    def return_exactly(self, mutual: MutualMatches) -> Bool[Tensor, "P"]:
        """Whether matches of large maps are the best ones of their target cells, of all cells.

        Coarse to fine may take others for these.

        Args:
            mutual: some of the matches.
        """
        one = self._matchers[1]
        best = [one.maps(cells).flatten(1).argmax(1)
                for cells in mutual.partners_P.split(one.maps_at_once)]  # fmt: skip
        return torch.cat(best) == mutual.cells_P

    def _of_whole_similarity(self) -> tuple[DenseMatches, DenseMatches]:
        source, target, scale = self.source, self.target, self.scale
        similarity = source.descriptors_HWC.flatten(0, 1) @ target.descriptors_HWC.flatten(0, 1).T
        if source.lengths_HW is not None and target.lengths_HW is not None:
            # Inner products of the size of cosines, which confidence is for.
            similarity *= source.lengths_HW.flatten()[:, None] / source.typical_length
            similarity *= target.lengths_HW.flatten() / target.typical_length

        def locate(maps_KHW: Tensor) -> Tensor:
            return self.config.locate(maps_KHW if scale == 1 else maps_KHW * scale)

        own, other = self.consensus
        forward = matching.dense_matches(similarity, target.matchable_HW, locate, own)
        backward = matching.dense_matches(similarity.T, source.matchable_HW, locate, other)
        similarity[~source.matchable_HW.flatten()] = _FLOOR
        similarity[:, ~target.matchable_HW.flatten()] = _FLOOR
        grid0, grid1 = source.transform.grid.shape, target.transform.grid.shape
        back0 = matching.cycle_log_prob(similarity, forward[1], grid0, grid1)
        back1 = matching.cycle_log_prob(similarity.T, backward[1], grid1, grid0)
        return (
            (*forward[:2], matching.match_confidence(forward[2], back0)),
            (*backward[:2], matching.match_confidence(backward[2], back1)),
        )

    @cached_property
    def _matchers(self) -> tuple[CellMatcher, CellMatcher]:
        """What searches the target for cells of the source, and the reverse."""
        maps = [cell_map(each) for each in (self.source, self.target)]
        own, other = self.consensus
        return CellMatcher(maps[0], maps[1], own), CellMatcher(maps[1], maps[0], other)

    @cached_property
    def _best(self) -> tuple[Int[Tensor, "N"], Int[Tensor, "M"]]:
        """The best cell of the other image for every cell of each; -1 for none."""
        forward, backward = (
            each.exhaustive() if self.config.exhaustive else each.coarse_to_fine()
            for each in self._matchers
        )
        return forward, backward

    @cached_property
    def _coarse_maps(self) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Of blocks, for each direction: the maps matches are found in, and those of the way back.

        All are of the size of cosines.
        """
        found = []
        for one in self._matchers:
            blocks = torch.arange(len(one.source.blocks), device=one.source.blocks.device)
            there = one.coarse_maps(blocks) / self.scale
            back = (one.coarse_similarity.T / self.scale).unflatten(1, one.source.coarse_shape)
            found.append((there, back.masked_fill(~one.source.coarse_allowed, _FLOOR)))
        return found[0], found[1]

    def _confidence(
        self, direction: int, cells_P: Int[Tensor, "P"], targets_P2: Float[Tensor, "P 2"]
    ) -> Float[Tensor, "P"]:
        """Confidence in matches of some cells, read from the similarity of blocks."""
        one = self._matchers[direction]
        there, back = self._coarse_maps[direction]
        places = _places(cells_P, (self.source, self.target)[direction])
        own, other = (
            (at - (each.factor - 1) / 2) / each.factor
            for at, each in ((places, one.source), (targets_P2, one.target))
        )
        x, y = nearest_cells(other, there).unbind(1)
        blocks = y * there.shape[2] + x
        logs = [torch.empty(0, device=own.device)], [torch.empty(0, device=own.device)]
        for some in torch.arange(len(cells_P), device=own.device).split(_ROWS):
            begin = one.source.block_of[cells_P[some]]
            logs[0].append(matching.window_log_prob(there, other[some], begin))
            logs[1].append(matching.window_log_prob(back, own[some], blocks[some]))
        return matching.match_confidence(torch.cat(logs[0]), torch.cat(logs[1]))

    def _read(self, direction: int) -> DenseMatches:
        """The matches of one direction, where maps are large."""
        best, one, config = self._best[direction], self._matchers[direction], self.config
        reach = config.window
        if config.suppression_sigma is not None:
            reach = math.ceil(_REACH * config.suppression_sigma)
        targets = one.positions(best, reach, config.locate)
        cells = (best >= 0).nonzero()[:, 0]
        confidence = torch.zeros(len(best), device=best.device)
        confidence[cells] = self._confidence(direction, cells, targets[cells])
        return one.target.places(best.clamp_min(0)), targets, confidence


def instance_matching_distance(source: DescriptorMap, target: DescriptorMap) -> float:
    """`matching.instance_matching_distance` of the cells that take part, coarse to fine.

    Args:
        source: descriptors of the source.
        target: descriptors of the target.
    """
    one, other = (CellMap(each.descriptors_HWC, each.matchable_HW, coarsening(each.valid_HW.shape))
                  for each in (source, target))  # fmt: skip
    best = CellMatcher(one, other).coarse_to_fine()
    distances = []
    for cells in (best >= 0).nonzero()[:, 0].split(one.chunk(2)):
        apart = one.rows(cells) - other.rows(best[cells])
        distances.append(torch.linalg.vector_norm(apart, dim=1))
    return float(torch.cat(distances).mean())


def cell_map(found: DescriptorMap) -> CellMap:
    """An image's descriptors and their blocks, of cells that take part.

    Args:
        found: the descriptors.
    """
    return CellMap(
        found.descriptors_HWC, found.matchable_HW, coarsening(found.valid_HW.shape),
        found.lengths_HW,
    )  # fmt: skip


def memory_needed(source: DescriptorMap, target: DescriptorMap) -> int:
    """Bytes that matching takes beside the descriptors, where maps are large.

    Args:
        source: descriptors of the source.
        target: descriptors of the target.
    """
    blocks = [-(-each.valid_HW.numel() // coarsening(each.valid_HW.shape) ** 2)
              for each in (source, target)]  # fmt: skip
    cells = source.valid_HW.numel() + target.valid_HW.numel()
    channels = source.descriptors_HWC.shape[2]
    return 8 * CHUNK_BYTES + 4 * (8 * blocks[0] * blocks[1] + channels * sum(blocks) + 64 * cells)


def _places(cells_P: Int[Tensor, "P"], found: DescriptorMap) -> Float[Tensor, "P 2"]:
    return cell_places(cells_P, found.valid_HW.shape[1]).float()


def _described(source: DescriptorMap, target: DescriptorMap) -> str:
    return " with ".join(
        " x ".join(map(str, reversed(each.valid_HW.shape))) + " cells" for each in (source, target)
    )
