"""Neighbourhood consensus: similarity corrected by what the rest of both images knows.

Three corrections that a descriptor by itself cannot make, found to help on every kind of object
that was measured (docs/experiments.md):

- *Hubness.* A target cell that is similar to many source cells is down-weighted. The geometric mean
  of the probabilities of both directions is, but for a factor of each point, a softmax of
  s - T/2 logsumexp(s / T) over the source ("dual softmax").
- *Neighbourhood.* What lies near the point should lie near the match.
- *Affine prior.* Points roughly keep the layout of the whole object, an affine map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from homolog.matching.sampling import sample_descriptors, subsample_cells, widened
from homolog.matching.soft_argmax import products, similarity

_RIDGE = 0.002  # keeps the affine map of an object that is a line from turning about it
_TOLERANCE = 0.05  # least standard deviation around the affine map, in shares of the grid's size
_FLOOR = 0.05  # of the likelihood of a position, for parts that do not follow the affine map


@dataclass(frozen=True)
class ConsensusConfig:
    """How much consensus corrects similarity.

    Attributes:
        temperature: of the dual softmax, in units of similarity.
        neighbourhood_weight: share of the similarity that comes from the neighbourhood.
        neighbourhood_radius: distance of the neighbours, in cells.
        affine_weight: penalty of a position off the affine map, in units of similarity; three
            times this at most.
    """

    temperature: float = 0.05
    neighbourhood_weight: float = 0.3
    neighbourhood_radius: int = 2
    affine_weight: float = 0.02

    @cached_property
    def offsets(self) -> tuple[tuple[int, int], ...]:
        """Where similarity is sampled: (x, y) in cells from the point, the point itself first."""
        radius = self.neighbourhood_radius
        return ((0, 0), (radius, 0), (-radius, 0), (0, radius), (0, -radius))


class SimilarityCorrection:
    """The three corrections of similarity, made once from some of the source's cells.

    Args:
        logits_NM: similarity of N source cells to all M cells of the target, row by row, divided
            by the temperature.
        source_N2: (x, y) of these source cells.
        source_weight_N: how much each belongs to the object, 0 to 1; None if all do.
        target_weight_HW: how much each target cell belongs to the object, 0 to 1.
        target_allowed_HW: the target's cells that take part; matches lie on these.
        config: the strength of each correction.

    Attributes:
        hubness_HW: what is subtracted from the similarity to each target cell.
        affine_prior: where matches are expected; None where no cell has any weight.
    """

    def __init__(
        self,
        logits_NM: Float[Tensor, "N M"],
        source_N2: Int[Tensor, "N 2"],
        source_weight_N: Float[Tensor, "N"] | None,
        target_weight_HW: Float[Tensor, "H W"],
        target_allowed_HW: Bool[Tensor, "H W"],
        config: ConsensusConfig,
    ):
        self.target_allowed_HW = target_allowed_HW
        self.config = config
        height, width = target_allowed_HW.shape
        self.hubness_HW = logits_NM.logsumexp(0).view(height, width)
        self.hubness_HW *= config.temperature / 2
        target_cells = subsample_cells(target_allowed_HW)
        y, x = target_cells.unbind(1)
        logits = logits_NM[:, y * width + x]
        likelihood = logits.softmax(1) * logits.softmax(0)
        if source_weight_N is not None:
            likelihood *= source_weight_N[:, None]
        likelihood *= target_weight_HW[y, x]
        self.affine_prior = AffinePrior.fit(
            likelihood, source_N2, target_cells.flip(1), max(height, width) - 1
        )

    def correct(
        self, maps: Sequence[Float[Tensor, "K H W"]], cells_K2: Float[Tensor, "K 2"]
    ) -> Float[Tensor, "K H W"]:
        """Corrected similarity of K source points to every target cell; -inf where none may lie.

        Args:
            maps: similarity of the points, and of their neighbours at `ConsensusConfig.offsets`,
                in that order.
            cells_K2: (x, y) of the points in source cells.
        """
        height, width = self.hubness_HW.shape
        corrected = neighbourhood_average([each - self.hubness_HW for each in maps], self.config)
        if self.affine_prior is not None:
            likelihood = self.affine_prior.log_likelihood(cells_K2, (height, width))
            corrected.add_(likelihood, alpha=self.config.affine_weight)
        return corrected.masked_fill_(~self.target_allowed_HW, -torch.inf)


class Consensus(SimilarityCorrection):
    """Consensus of a pair of images, computed once and applied to any query.

    Made from every other row and column of the grids, at a sixteenth of the cost of the whole.

    Args:
        source_HWC: descriptors of unit length.
        target_HWC: descriptors of unit length.
        source_weight_HW: how much each cell belongs to the object, 0 to 1 (saliency, or a mask).
        target_weight_HW: the same for the target.
        source_allowed_HW: the cells that take part.
        target_allowed_HW: the same for the target; matches lie on these.
        config: the strength of each correction.
    """

    def __init__(
        self,
        source_HWC: Float[Tensor, "H W C"],
        target_HWC: Float[Tensor, "H2 W2 C"],
        source_weight_HW: Float[Tensor, "H W"],
        target_weight_HW: Float[Tensor, "H2 W2"],
        source_allowed_HW: Bool[Tensor, "H W"],
        target_allowed_HW: Bool[Tensor, "H2 W2"],
        config: ConsensusConfig,
    ):
        self.source_HWC, self.target_HWC = source_HWC, target_HWC
        self.source_weight_HW, self.target_weight_HW = source_weight_HW, target_weight_HW
        cells = subsample_cells(source_allowed_HW)
        source = widened(source_HWC[cells.unbind(1)])
        logits = products(source, target_HWC.flatten(0, 1)) / config.temperature
        super().__init__(
            logits, cells.flip(1), source_weight_HW[cells.unbind(1)],
            target_weight_HW, target_allowed_HW, config,
        )  # fmt: skip

    def similarity(self, cells_K2: Float[Tensor, "K 2"]) -> Float[Tensor, "K H2 W2"]:
        """Corrected similarity of K source points to every target cell; -inf where none may lie.

        Args:
            cells_K2: (x, y) of the points in source cells.
        """
        offsets = cells_K2.new_tensor(self.config.offsets)
        queries = (cells_K2[None] + offsets[:, None]).flatten(0, 1)
        maps = similarity(sample_descriptors(self.source_HWC, queries), self.target_HWC)
        return self.correct(maps.chunk(len(offsets)), cells_K2)

    def rows(
        self, similarity_NM: Float[Tensor, "N M"], rows_K: Int[Tensor, "K"]
    ) -> Float[Tensor, "K H2 W2"]:
        """The same for whole source cells, from the similarity of all cells to all cells.

        Args:
            similarity_NM: of all source cells to all target cells, row by row.
            rows_K: indices of the source cells.
        """
        height, width = self.source_HWC.shape[:2]
        x, y = rows_K % width, rows_K // width
        maps = []
        for dx, dy in self.config.offsets:
            rows = (y + dy).clamp(0, height - 1) * width + (x + dx).clamp(0, width - 1)
            maps.append(similarity_NM[rows].unflatten(1, self.target_HWC.shape[:2]))
        return self.correct(maps, torch.stack([x, y], dim=1).to(similarity_NM))


def neighbourhood_average(
    maps: Sequence[Float[Tensor, "K H W"]], config: ConsensusConfig
) -> Float[Tensor, "K H W"]:
    """Similarity maps of points averaged with those of their neighbours, shifted onto the points.

    Args:
        maps: similarity maps of the points, and of the neighbours at `ConsensusConfig.offsets`,
            in that order.
        config: the weight of the neighbours, and their distance.
    """
    share, radius = config.neighbourhood_weight, config.neighbourhood_radius
    own, *neighbours = maps
    height, width = own.shape[1:]
    average = own * (1 - share)
    for (dx, dy), neighbour in zip(config.offsets[1:], neighbours, strict=True):
        padded = F.pad(neighbour[None], (radius,) * 4, mode="replicate")[0]
        rows, columns = (
            slice(radius + step, radius + step + count)
            for step, count in ((dy, height), (dx, width))
        )
        average.add_(padded[:, rows, columns], alpha=share / len(neighbours))
    return average


@dataclass(frozen=True)
class AffinePrior:
    """An affine map of source cells to target cells, and how far matches stray from it.

    Attributes:
        grid_size: cells along the target's longer axis, less one: the unit of positions.
        source_mean: weighted mean of the source positions.
        target_mean: weighted mean of the target positions.
        affine: acts on row vectors from the source mean, from the right.
        variance: of the target positions around the map.
    """

    grid_size: int
    source_mean: Float[Tensor, "2"]
    target_mean: Float[Tensor, "2"]
    affine: Float[Tensor, "2 2"]
    variance: Float[Tensor, ""]

    @classmethod
    def fit(
        cls,
        likelihood_NM: Float[Tensor, "N M"],
        source_N2: Int[Tensor, "N 2"],
        target_M2: Int[Tensor, "M 2"],
        grid_size: int,
    ) -> AffinePrior | None:
        """Weighted least squares over all matches; None if there are none.

        Args:
            likelihood_NM: weight of each match.
            source_N2: (x, y) of the source cells.
            target_M2: (x, y) of the target cells.
            grid_size: the unit of positions, in cells.
        """
        total = likelihood_NM.sum()
        if total <= 0:
            return None
        pairs = likelihood_NM / total
        grid_size = max(grid_size, 1)
        source, target = (cells.to(pairs) / grid_size for cells in (source_N2, target_M2))
        source_mean, target_mean = pairs.sum(1) @ source, pairs.sum(0) @ target
        source, target = source - source_mean, target - target_mean
        ridge = _RIDGE * torch.eye(2).to(pairs)
        covariance = source.T @ pairs @ target
        affine = torch.linalg.solve(source.T @ (pairs.sum(1)[:, None] * source) + ridge, covariance)
        residual = (pairs.sum(0)[:, None] * target**2).sum() - (affine * covariance).sum()
        variance = residual.clamp_min(0) / 2 + _TOLERANCE**2
        return cls(grid_size, source_mean, target_mean, affine, variance)

    def log_likelihood(
        self, cells_K2: Float[Tensor, "K 2"], shape: tuple[int, int]
    ) -> Float[Tensor, "K H W"]:
        """How well target cells fit the mapped points: from 0 down to about -3.

        Args:
            cells_K2: (x, y) of the points in source cells.
            shape: height and width of the target grid.
        """
        mapped = self.mapped(cells_K2)
        y, x = (torch.arange(count).to(mapped) / self.grid_size for count in shape)
        squared = (y - mapped[:, 1:])[:, :, None] ** 2 + (x - mapped[:, :1])[:, None, :] ** 2
        return ((squared / (-2 * self.variance)).exp_() + _FLOOR).log_()

    def mapped(self, cells_K2: Float[Tensor, "*K 2"]) -> Float[Tensor, "*K 2"]:
        """Where source cells are mapped to, in units of `grid_size`."""
        return (cells_K2 / self.grid_size - self.source_mean) @ self.affine + self.target_mean

    def at(
        self, cells_GQ2: Float[Tensor, "G Q 2"], targets_GR2: Float[Tensor, "G R 2"]
    ) -> Float[Tensor, "G Q R"]:
        """The same for some target cells (x, y) of each group of points."""
        away = targets_GR2[:, None] / self.grid_size - self.mapped(cells_GQ2)[:, :, None]
        squared = away.square().sum(3)
        return ((squared / (-2 * self.variance)).exp_() + _FLOOR).log_()
