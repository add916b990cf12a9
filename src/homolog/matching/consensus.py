"""Similarity guided by the rest of both pictures: what is known before any point is asked for.

Three things that a descriptor by itself does not know, found to help on every kind of thing that
was measured (docs/experiments.md):

- *Is the target cell any point's match?* A cell that much of the source resembles counts less. The
  geometric mean of the probabilities there and back is, but for a factor of each point, a softmax
  of s - T/2 logsumexp(s / T) over the source ("dual softmax").
- *What lies around?* What is near the point should be near the answer.
- *Where is it on the thing?* Points keep roughly the layout of the whole thing, an affine map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from homolog.matching import correspondence

_RIDGE = 0.002  # keeps the affine map of a thing that is a line from turning about it
_TOLERANCE = 0.05  # least standard deviation around the layout, in shares of the grid's side
_FLOOR = 0.05  # of the likelihood of a place, for what does not keep the layout


@dataclass(frozen=True)
class GuidanceConfig:
    """How much similarity is guided.

    Attributes:
        temperature: of the dual softmax, in units of similarity.
        surroundings: the share of the similarity that is that of the surroundings.
        reach: how far away these are, in cells.
        layout: what a place off the layout costs, in units of similarity; three times this at most.
    """

    temperature: float = 0.05
    surroundings: float = 0.3
    reach: int = 2
    layout: float = 0.02

    @property
    def steps(self) -> tuple[tuple[int, int], ...]:
        """Where similarity is looked at: (x, y) in cells from the point, itself first."""
        return ((0, 0), (self.reach, 0), (-self.reach, 0), (0, self.reach), (0, -self.reach))


class Guide:
    """What is known of a pair of pictures before any point is asked.

    Made from every other row and column of the grids, at a sixteenth of the cost of the whole.

    Args:
        source_HWC: descriptors of unit length.
        target_HWC: descriptors of unit length.
        source_weight_HW: how much each cell belongs to the thing, 0 to 1; 0 for what does not
            count (`matching.foreground`, or a mask).
        target_weight_HW: the same for the target.
        source_allowed_HW: the cells that count at all.
        target_allowed_HW: the same for the target; answers lie on these.
        config: how much to guide.
    """

    def __init__(
        self,
        source_HWC: Float[Tensor, "H W C"],
        target_HWC: Float[Tensor, "H2 W2 C"],
        source_weight_HW: Float[Tensor, "H W"],
        target_weight_HW: Float[Tensor, "H2 W2"],
        source_allowed_HW: Bool[Tensor, "H W"],
        target_allowed_HW: Bool[Tensor, "H2 W2"],
        config: GuidanceConfig,
    ):
        self.source_HWC, self.target_HWC = source_HWC, target_HWC
        self.target_allowed_HW = target_allowed_HW
        self.config = config
        source_cells = correspondence.thinned_cells(source_allowed_HW)
        source = source_HWC[source_cells.unbind(1)]
        logits = (source @ target_HWC.flatten(0, 1).T) / config.temperature
        self.popularity_HW = logits.logsumexp(0).view(target_HWC.shape[:2])
        self.popularity_HW *= config.temperature / 2
        target_cells = correspondence.thinned_cells(target_allowed_HW)
        y, x = target_cells.unbind(1)
        logits = logits[:, y * target_HWC.shape[1] + x]
        likelihood_NM = logits.softmax(1) * logits.softmax(0)
        likelihood_NM *= source_weight_HW[source_cells.unbind(1)][:, None]
        likelihood_NM *= target_weight_HW[y, x]
        self.layout = Layout.of(
            likelihood_NM, source_cells.flip(1), target_cells.flip(1), max(target_HWC.shape[:2]) - 1
        )

    def similarity(self, cells_K2: Float[Tensor, "K 2"]) -> Float[Tensor, "K H2 W2"]:
        """Guided similarity of K source points to every target cell; -inf where no answer may lie.

        Args:
            cells_K2: (x, y) of the points in source cells.
        """
        queries = (cells_K2[None] + cells_K2.new_tensor(self.config.steps)[:, None]).flatten(0, 1)
        found = correspondence.similarity(
            correspondence.sample(self.source_HWC, queries), self.target_HWC
        )
        return self._guided(found.chunk(len(self.config.steps)), cells_K2)

    def rows(
        self, similarity_NM: Float[Tensor, "N M"], rows_K: Int[Tensor, "K"]
    ) -> Float[Tensor, "K H2 W2"]:
        """The same for whole source cells, from the similarity of all to all.

        Args:
            similarity_NM: of all source cells to all target cells, row by row.
            rows_K: which source cells.
        """
        height, width = self.source_HWC.shape[:2]
        x, y = rows_K % width, rows_K // width
        maps = []
        for dx, dy in self.config.steps:
            rows = (y + dy).clamp(0, height - 1) * width + (x + dx).clamp(0, width - 1)
            maps.append(similarity_NM[rows].unflatten(1, self.target_HWC.shape[:2]))
        return self._guided(maps, torch.stack([x, y], dim=1).to(similarity_NM))

    def _guided(
        self, found: Sequence[Float[Tensor, "K H2 W2"]], cells_K2: Float[Tensor, "K 2"]
    ) -> Float[Tensor, "K H2 W2"]:
        """Guidance of similarities of points and of what lies around them, in that order."""
        height, width = self.popularity_HW.shape
        maps = with_surroundings([maps - self.popularity_HW for maps in found], self.config)
        if self.layout is not None:
            likelihood = self.layout.log_likelihood(cells_K2, (height, width))
            maps.add_(likelihood, alpha=self.config.layout)
        return maps.masked_fill_(~self.target_allowed_HW, -torch.inf)


def with_surroundings(
    found: Sequence[Float[Tensor, "K H W"]], config: GuidanceConfig
) -> Float[Tensor, "K H W"]:
    """Similarity of points together with that of what lies around them.

    Args:
        found: similarity maps of the points, and of what lies around them, in the order of
            `GuidanceConfig.steps`.
        config: the share of the surroundings, and how far away they are.
    """
    share, reach = config.surroundings, config.reach
    own, *around = found
    height, width = own.shape[1:]
    maps = own * (1 - share)
    for (dx, dy), neighbours in zip(config.steps[1:], around, strict=True):
        # Moved back onto the point.
        padded = F.pad(neighbours[None], (reach,) * 4, mode="replicate")[0]
        rows, columns = (
            slice(reach + step, reach + step + count) for step, count in ((dy, height), (dx, width))
        )
        maps.add_(padded[:, rows, columns], alpha=share / len(around))
    return maps


@dataclass(frozen=True)
class Layout:
    """An affine map of source cells to target cells, and how far matches stray from it."""

    side: int
    source_mean: Float[Tensor, "2"]
    target_mean: Float[Tensor, "2"]
    affine: Float[Tensor, "2 2"]
    variance: Float[Tensor, ""]

    @classmethod
    def of(
        cls,
        likelihood_NM: Float[Tensor, "N M"],
        source_N2: Int[Tensor, "N 2"],
        target_M2: Int[Tensor, "M 2"],
        side: int,
    ) -> Layout | None:
        """Weighted least squares over all matches; None if there are none."""
        total = likelihood_NM.sum()
        if total <= 0:
            return None
        pairs = likelihood_NM / total
        side = max(side, 1)
        source, target = (cells.to(pairs) / side for cells in (source_N2, target_M2))
        source_mean, target_mean = pairs.sum(1) @ source, pairs.sum(0) @ target
        source, target = source - source_mean, target - target_mean
        ridge = _RIDGE * torch.eye(2).to(pairs)
        crossed = source.T @ pairs @ target
        affine = torch.linalg.solve(source.T @ (pairs.sum(1)[:, None] * source) + ridge, crossed)
        spread = (pairs.sum(0)[:, None] * target**2).sum() - (affine * crossed).sum()
        variance = spread.clamp_min(0) / 2 + _TOLERANCE**2
        return cls(side, source_mean, target_mean, affine, variance)

    def log_likelihood(
        self, cells_K2: Float[Tensor, "K 2"], shape: tuple[int, int]
    ) -> Float[Tensor, "K H W"]:
        """How well target cells fit where the map puts points: from 0 down to about -3."""
        places = (cells_K2 / self.side - self.source_mean) @ self.affine + self.target_mean
        y, x = (torch.arange(count).to(places) / self.side for count in shape)
        squared = (y - places[:, 1:])[:, :, None] ** 2 + (x - places[:, :1])[:, None, :] ** 2
        return ((squared / (-2 * self.variance)).exp_() + _FLOOR).log_()
