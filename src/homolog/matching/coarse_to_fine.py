"""Nearest neighbours of all cells of large maps: coarse to fine, or in chunks.

A map of 220 x 220 cells has 2.3 billion similarities to another one. Coarse to fine, blocks of
cells are compared first, by their mean descriptors, and cells only with those of the blocks that
are most like their own. Maps that were upsampled, or are smooth for other reasons, have the same
nearest neighbours either way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from homolog.matching.consensus import Consensus
from homolog.matching.sampling import cell_places
from homolog.matching.soft_argmax import products

CANDIDATES = 32
"""Blocks of the target whose cells a block's cells are compared with."""

CHUNK_BYTES = 16 * 2**20
"""Bytes of descriptors, and of similarities, that are held in single precision at a time."""


@dataclass(frozen=True, eq=False)
class CellMap:
    """Descriptors of an image whose cells are to be matched, and their blocks.

    Attributes:
        descriptors_HWC: of unit length, in single or half precision.
        allowed_HW: the cells that take part.
        factor: cells along either axis of a block.
        lengths_HW: factors of the descriptors, where their inner product is the similarity.
    """

    descriptors_HWC: Float[Tensor, "H W C"]
    allowed_HW: Bool[Tensor, "H W"]
    factor: int
    lengths_HW: Float[Tensor, "H W"] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in cells."""
        height, width = self.allowed_HW.shape
        return height, width

    @property
    def coarse_shape(self) -> tuple[int, int]:
        """Height and width in blocks."""
        height, width = self.shape
        return -(-height // self.factor), -(-width // self.factor)

    @cached_property
    def blocks(self) -> Int[Tensor, "b S"]:
        """The cells of each block, row by row; -1 beyond the border."""
        height, width = self.shape
        rows, columns = self.coarse_shape
        padded = (0, columns * self.factor - width, 0, rows * self.factor - height)
        cells = torch.arange(height * width, device=self.allowed_HW.device).view(height, width)
        cells = F.pad(cells, padded, value=-1)
        cells = cells.unflatten(0, (rows, -1)).unflatten(2, (columns, -1))
        return cells.permute(0, 2, 1, 3).reshape(rows * columns, -1)

    @cached_property
    def block_of(self) -> Int[Tensor, "N"]:
        """The block of each cell."""
        found = torch.empty(self.allowed_HW.numel(), dtype=torch.long, device=self.blocks.device)
        numbers = torch.arange(len(self.blocks), device=self.blocks.device)
        inside = self.blocks >= 0
        found[self.blocks[inside]] = numbers[:, None].expand_as(self.blocks)[inside]
        return found

    @cached_property
    def coarse_allowed(self) -> Bool[Tensor, "h w"]:
        """The blocks that have a cell that takes part."""
        return self._takes_part(self.blocks).any(1).view(self.coarse_shape)

    @cached_property
    def coarse(self) -> Float[Tensor, "h w C"]:
        """The mean descriptor of each block, over the cells that take part.

        Of unit length, or of the mean length, where descriptors have lengths.
        """
        means = []
        for blocks in self.blocks.split(self.chunk(self.blocks.shape[1])):
            takes_part = self._takes_part(blocks)
            # Blocks without any get the mean of all their cells: they are never looked at.
            weights = torch.where(takes_part.any(1, keepdim=True), takes_part, blocks >= 0).float()
            rows = self.rows(blocks.clamp_min(0))
            mean = (weights[:, None] @ rows)[:, 0] / weights.sum(1, keepdim=True)
            if self.lengths_HW is None:
                mean = F.normalize(mean, dim=1)
            means.append(mean)
        return torch.cat(means).view(*self.coarse_shape, -1)

    def _takes_part(self, blocks: Int[Tensor, "b S"]) -> Bool[Tensor, "b S"]:
        return self.allowed_HW.flatten()[blocks.clamp_min(0)] & (blocks >= 0)

    def rows(self, cells: Int[Tensor, "*S"]) -> Float[Tensor, "*S C"]:
        """The descriptors of cells in single precision, times their lengths."""
        found = self.descriptors_HWC.flatten(0, 1)[cells].float()
        if self.lengths_HW is not None:
            found *= self.lengths_HW.flatten()[cells][..., None]
        return found

    def places(self, cells: Int[Tensor, "*S"]) -> Int[Tensor, "*S 2"]:
        """(x, y) of cells that are given by number."""
        return cell_places(cells, self.shape[1])

    def moved(self, cells: Int[Tensor, "*S"], dx: int, dy: int) -> Int[Tensor, "*S"]:
        """Cells some steps to the right and down; at the border for those beyond it."""
        height, width = self.shape
        x, y = self.places(cells).unbind(-1)
        return (y + dy).clamp(0, height - 1) * width + (x + dx).clamp(0, width - 1)

    def chunk(self, cells: int) -> int:
        """How many times so many cells' descriptors are held in single precision at once."""
        return max(1, CHUNK_BYTES // (4 * cells * self.descriptors_HWC.shape[2]))


@dataclass(frozen=True, eq=False)
class CellMatcher:
    """Similarity of all cells of a source to those of a target, by which these are searched.

    Attributes:
        source: the source.
        target: the target.
        consensus: corrects similarity; None for none.
    """

    source: CellMap
    target: CellMap
    consensus: Consensus | None = None

    def similarity(
        self, cells_GQ: Int[Tensor, "G Q"], targets_GR: Int[Tensor, "G R"]
    ) -> Float[Tensor, "G Q R"]:
        """Similarity of each group's source cells to its target cells; -inf where none may lie.

        Args:
            cells_GQ: source cells, by number; -1 for any.
            targets_GR: target cells; -1 for none.
        """
        own, other = cells_GQ.clamp_min(0), targets_GR.clamp_min(0)
        if self.consensus is None:
            found = self.source.rows(own) @ self.target.rows(other).mT
        else:
            found = self._corrected(self.consensus, own, other)
        allowed = self.target.allowed_HW.flatten()[other] & (targets_GR >= 0)
        return found.masked_fill_(~allowed[:, None], -torch.inf)

    def _corrected(
        self, consensus: Consensus, cells_GQ: Int[Tensor, "G Q"], targets_GR: Int[Tensor, "G R"]
    ) -> Float[Tensor, "G Q R"]:
        config = consensus.config
        share = config.neighbourhood_weight / (len(config.offsets) - 1)
        hubness = consensus.hubness_HW.flatten()
        found: Tensor | None = None
        for index, (dx, dy) in enumerate(config.offsets):
            targets = self.target.moved(targets_GR, dx, dy)
            maps = self.source.rows(self.source.moved(cells_GQ, dx, dy))
            maps = maps @ self.target.rows(targets).mT
            maps -= hubness[targets][:, None]
            if found is None:
                found = maps.mul_(1 - config.neighbourhood_weight)
            else:
                found.add_(maps, alpha=share if index else 1.0)
        assert found is not None
        if consensus.affine_prior is not None:
            places = self.source.places(cells_GQ).float(), self.target.places(targets_GR).float()
            found.add_(consensus.affine_prior.at(*places), alpha=config.affine_weight)
        return found

    @cached_property
    def coarse_similarity(self) -> Float[Tensor, "n m"]:
        """Similarity of all blocks of the source to all of the target, not corrected."""
        return self.source.coarse.flatten(0, 1) @ self.target.coarse.flatten(0, 1).T

    @cached_property
    def coarse_consensus(self) -> Consensus | None:
        """The same consensus for blocks; None for none."""
        if self.consensus is None:
            return None
        weight0, weight1 = (
            F.avg_pool2d(weight[None], own.factor, ceil_mode=True)[0]
            for own, weight in (
                (self.source, self.consensus.source_weight_HW),
                (self.target, self.consensus.target_weight_HW),
            )
        )
        return Consensus(
            self.source.coarse, self.target.coarse, weight0, weight1,
            self.source.coarse_allowed, self.target.coarse_allowed, self.consensus.config,
        )  # fmt: skip

    def coarse_maps(self, blocks: Int[Tensor, "K"]) -> Float[Tensor, "K h w"]:
        """Similarity of some blocks of the source to all of the target; -inf where none may lie."""
        if self.coarse_consensus is not None:
            return self.coarse_consensus.rows(self.coarse_similarity, blocks)
        maps = self.coarse_similarity[blocks].unflatten(1, self.target.coarse_shape)
        return maps.masked_fill_(~self.target.coarse_allowed, -torch.inf)

    def coarse_to_fine(self) -> Int[Tensor, "N"]:
        """The best target cell of every source cell, among those of the best blocks.

        -1 for cells that do not take part.
        """
        best = torch.full_like(self.source.block_of, -1)
        blocks = self.source.coarse_allowed.flatten().nonzero()[:, 0]
        count = min(CANDIDATES, int(self.target.coarse_allowed.sum()))
        size = self.target.blocks.shape[1]
        for some in blocks.split(self.source.chunk(count * size)):
            candidates = self.coarse_maps(some).flatten(1).topk(count).indices
            targets = self.target.blocks[candidates].flatten(1)
            cells = self.source.blocks[some]
            found = self.similarity(cells, targets)
            # Of equal ones the first, row by row, as everywhere.
            equal = found == found.amax(2, keepdim=True)
            first = torch.where(equal, targets[:, None], targets.new_tensor(2**62)).amin(2)
            inside = cells >= 0
            best[cells[inside]] = first[inside]
        return best.masked_fill_(~self.source.allowed_HW.flatten(), -1)

    def maps(self, cells: Int[Tensor, "K"]) -> Float[Tensor, "K H W"]:
        """Similarity of some source cells to all target cells; -inf where none may lie."""
        if self.consensus is not None:
            return self.consensus.similarity(self.source.places(cells).float())
        found = products(self.source.rows(cells), self.target.descriptors_HWC.flatten(0, 1))
        if self.target.lengths_HW is not None:
            found *= self.target.lengths_HW.flatten()
        found = found.unflatten(1, self.target.shape)
        return found.masked_fill_(~self.target.allowed_HW, -torch.inf)

    @property
    def maps_at_once(self) -> int:
        """How many source cells' maps are held at a time."""
        copies = 1 if self.consensus is None else 2 * len(self.consensus.config.offsets)
        return max(1, CHUNK_BYTES // (4 * copies * self.target.allowed_HW.numel()))

    def map_chunks(self) -> Iterator[Int[Tensor, "K"]]:
        """The source cells that take part, a few at a time."""
        yield from self.source.allowed_HW.flatten().nonzero()[:, 0].split(self.maps_at_once)

    def exhaustive(self) -> Int[Tensor, "N"]:
        """The best target cell of every source cell, of all; -1 for those that take no part."""
        best = torch.full_like(self.source.block_of, -1)
        for cells in self.map_chunks():
            best[cells] = self.maps(cells).flatten(1).argmax(1)
        return best

    def positions(
        self,
        best_N: Int[Tensor, "N"],
        reach: int | None,
        locate: Callable[[Tensor, Tensor], Tensor],
    ) -> Float[Tensor, "N 2"]:
        """Matches between cells, read from similarity around the best cells.

        Args:
            best_N: the best target cell of every source cell, by number; -1 for none, which gets
                the first position.
            reach: how many cells around the best one count; None for all cells of the target.
            locate: from similarity maps and their best cells (x, y) to positions.
        """
        found = torch.zeros(len(best_N), 2, device=best_N.device)
        if reach is None:
            for cells in self.map_chunks():
                found[cells] = locate(self.maps(cells), self.target.places(best_N[cells]))
            return found
        # Cells of a block mostly match close together: one square around these serves them all.
        blocks = self.source.blocks[self.source.coarse_allowed.flatten()]
        best = torch.where(blocks >= 0, best_N[blocks.clamp_min(0)], -1)
        x, y = torch.where(best[..., None] < 0, -1, self.target.places(best)).unbind(-1)
        middle = torch.stack([_median(x), _median(y)], dim=1)
        step = self.source.factor
        far = ((x - middle[:, :1]).abs() > step) | ((y - middle[:, 1:]).abs() > step)
        near = torch.where((best >= 0) & ~far, blocks, -1)
        self._read(found, best_N, near, middle, reach + step, locate)
        alone = blocks[(best >= 0) & far]
        peaks = self.target.places(best_N[alone])
        self._read(found, best_N, alone[:, None], peaks, reach, locate)
        return found

    def _read(
        self,
        found_N2: Float[Tensor, "N 2"],
        best_N: Int[Tensor, "N"],
        cells_GQ: Int[Tensor, "G Q"],
        middle_G2: Int[Tensor, "G 2"],
        reach: int,
        locate: Callable[[Tensor, Tensor], Tensor],
    ) -> None:
        """Write the positions of groups of cells, read within a reach of each group's middle."""
        height, width = self.target.shape
        axis = torch.arange(-reach, reach + 1, device=best_N.device)
        size = len(axis)
        step = self.target.chunk(size * size)
        for cells, middle in zip(cells_GQ.split(step), middle_G2.split(step), strict=True):
            x, y = middle[:, :1] + axis, middle[:, 1:] + axis
            inside = (((y >= 0) & (y < height))[:, :, None]) & ((x >= 0) & (x < width))[:, None, :]
            targets = torch.where(inside, y[:, :, None] * width + x[:, None, :], -1).flatten(1)
            maps = self.similarity(cells, targets).unflatten(2, (size, size))
            group, index = (cells >= 0).nonzero(as_tuple=True)
            own = cells[group, index]
            corner = middle[group] - reach
            peaks = self.target.places(best_N[own]) - corner
            found_N2[own] = locate(maps[group, index], peaks) + corner


def _median(values_KQ: Int[Tensor, "K Q"]) -> Int[Tensor, "K"]:
    """The median of each row's numbers from 0 on; 0 where there is none."""
    known = torch.where(values_KQ < 0, math.nan, values_KQ.double())
    return known.nanmedian(1).values.nan_to_num(0).long()
