"""Dense correspondence: where every part of each of two images lies in the other."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from PIL import Image
from torch import Tensor

from homolog.descriptors import DescriptorMap
from homolog.errors import HomologError
from homolog.image.geometry import CanvasTransform, as_size, interpolate
from homolog.image.points import PointsLike, as_pairs
from homolog.matching import nearest_neighbours
from homolog.results import Drawable, present

# Forward and backward flow are consistent where they meet within this share of the longer edge.
_CONSISTENT = 0.05

DenseMatches = tuple[Int[Tensor, "N 2"], Float[Tensor, "N 2"], Float[Tensor, "N"]]
"""For every source cell: the best target cell, the position between cells, and the confidence."""


@dataclass(frozen=True, eq=False)
class FlowField:
    """Where every part of the source lies in the target.

    Kept on the grid of cells, so that its size does not depend on the images'; `at` and `dense`
    give it at any point.

    Attributes:
        transform0: from points of the source to its cells and back.
        transform1: the same for the target.
        points1: for each cell of the source its (x, y) in pixels of the target.
        scores: confidence in each, 0 to 1.
        cycle_error: distance, in pixels of the source, between a cell's centre and the end of
            the way to its match and back.
        consistent: the valid cells (or those on the mask) whose cycle error is at most a
            twentieth of the image's longer edge.
    """

    transform0: CanvasTransform
    transform1: CanvasTransform
    points1: Float[np.ndarray, "H W 2"]
    scores: Float[np.ndarray, "H W"]
    cycle_error: Float[np.ndarray, "H W"]
    consistent: Bool[np.ndarray, "H W"]

    @classmethod
    def from_matches(
        cls,
        source: DescriptorMap,
        target: DescriptorMap,
        forward: DenseMatches,
        returns_M2: Float[Tensor, "M 2"],
    ) -> FlowField:
        """The flow in pixels, from the matches of all cells in both directions.

        Args:
            source: the source.
            target: the target.
            forward: the match of every source cell.
            returns_M2: (x, y) in source cells of the match of every target cell.
        """
        transform0, transform1 = source.transform, target.transform
        targets, scores, returns = (
            each.double().cpu().numpy() for each in (forward[1], forward[2], returns_M2)
        )
        matchable = source.matchable_HW.cpu().numpy()
        # Cells beside the image, or off the mask, have no match of their own: they go where the
        # nearest cell goes that has one, so that values between cells are right up to the border.
        cells = transform0.grid.cells
        kept, others = np.flatnonzero(matchable), np.flatnonzero(~matchable)
        if len(others):
            ends = torch.from_numpy(cells[others]), torch.from_numpy(cells[kept])
            nearest, _ = nearest_neighbours(*ends)
            targets[others], scores[others] = targets[kept[nearest]], scores[kept[nearest]]
        points1 = transform1.to_points(targets, clip=True)
        returned = interpolate(returns.reshape(*transform1.grid.shape, 2), targets)
        error = np.linalg.norm(transform0.to_points(returned) - transform0.to_points(cells), axis=1)
        error = error.reshape(matchable.shape)
        return cls(
            transform0,
            transform1,
            points1.reshape(*matchable.shape, 2),
            scores.reshape(matchable.shape),
            error,
            matchable & (error <= _CONSISTENT * max(transform0.extent)),
        )

    def at(self, points: PointsLike) -> Float[np.ndarray, "K 2"]:
        """Where points (x, y) of the source lie in the target, in pixels of each.

        Points beyond the source go where its border goes.

        Raises:
            HomologError: they are not pairs of finite numbers.
        """
        return interpolate(self.points1, self.transform0.to_cells(as_pairs(points)))

    def dense(self, size: tuple[int, int] | None = None) -> Float[np.ndarray, "height width 2"]:
        """Where each pixel of the source lies in the target.

        Pixels beyond the region that was matched have the values of its border, and no confidence.

        Args:
            size: width and height of the result; the source's own by default. Another size
                samples the same flow; the values stay pixels of the target.
        """
        return self.transform0.resample(self.points1, as_size(size, self.transform0.size))

    def confidence(self, size: tuple[int, int] | None = None) -> Float[np.ndarray, "height width"]:
        """Scores for each pixel of the source, 0 where the flow is not consistent.

        And 0 beyond the region that was matched, if it was not the whole image.

        Args:
            size: width and height of the result; the source's own by default.
        """
        kept = np.where(self.consistent, self.scores, 0.0)
        size = as_size(size, self.transform0.size)
        valid = self.transform0.resample(kept[..., None], size, outside=0.0)
        return valid[..., 0]

    def smoothed(self, radius: float = 2.0) -> FlowField:
        """The same flow made smooth, for warping; doubtful cells follow the confident ones nearby.

        Each cell moves as most of its neighbourhood does: a mean of the displacements around it,
        weighted by distance, by confidence, and, in three rounds, by agreement with the mean so
        far, so that neighbours on another part drop out. The score becomes the share of the
        neighbourhood that agrees, and cells with more than a tenth are consistent. Displacements
        are those between the images in their poses: only there do neighbours move alike.

        Args:
            radius: standard deviation of the weight of distance, in cells.

        Raises:
            HomologError: it is not greater than 0, or larger than the grid.
        """
        height, width = self.scores.shape
        try:
            radius = float(radius)
            if not 0 < radius <= max(height, width):
                raise ValueError
        except (TypeError, ValueError, ArithmeticError, RuntimeError):
            raise HomologError(
                f"radius: expected a number of cells from 0 to {max(height, width)}, got {radius!r}"
            ) from None
        own = self.transform0.to_shares(self.transform0.to_points(self.transform0.grid.cells))
        own = own.reshape(height, width, 2)
        # Displacement in shares of the two images: a part keeps it roughly from cell to cell.
        shift = self.transform1.to_shares(self.points1.reshape(-1, 2)).reshape(own.shape) - own
        confidence = np.where(self.consistent, self.scores, 0.0)
        reach = max(1, round(2 * radius))
        window = range(-reach, reach + 1)
        near = [
            (dy, dx, np.exp(-(dy**2 + dx**2) / (2 * radius**2))) for dy in window for dx in window
        ]
        pad = ((reach, reach), (reach, reach))
        shifts, weights = np.pad(shift, (*pad, (0, 0)), mode="edge"), np.pad(confidence, pad)
        mean, agreement = shift, 0.5
        for _ in range(3):
            total, norm = np.zeros_like(shift), np.full((height, width), 1e-9)
            for dy, dx, weight in near:
                rows, columns = (
                    slice(reach + d, reach + d + n) for d, n in ((dy, height), (dx, width))
                )
                neighbour, w = shifts[rows, columns], weights[rows, columns] * weight
                w = w * np.exp(-((neighbour - mean) ** 2).sum(-1) / (2 * agreement**2))
                total += w[..., None] * neighbour
                norm += w
            mean = np.where(norm[..., None] > 1e-6, total / norm[..., None], mean)
            agreement /= 2
        points1 = self.transform1.from_shares((mean + own).reshape(-1, 2))
        scores = norm / sum(weight for _, _, weight in near)
        return dataclasses.replace(
            self,
            points1=points1.reshape(height, width, 2),
            scores=scores,
            consistent=self.transform0.valid_cells & (scores > 0.1),
        )


@dataclass(frozen=True, eq=False, repr=False)
class Flow(Drawable):
    """Dense correspondence of two images, both ways.

    Attributes:
        forward: from the source to the target.
        backward: from the target to the source; a warp of the source onto the target's shape
            needs this one.
        pair_score: as in `Matches`.
        pose: name of the pose of the source that was matched.
        warning: what alignment could not do here, otherwise None.
        image0: the source, reduced; for drawing, not pickled.
        image1: the target, reduced; for drawing, not pickled.
    """

    forward: FlowField
    backward: FlowField
    pair_score: float
    pose: str
    warning: str | None
    image0: Image.Image | None = field(default=None, compare=False)
    image1: Image.Image | None = field(default=None, compare=False)

    def __repr__(self) -> str:
        share = self.forward.consistent.sum() / max(1, self.forward.transform0.valid_cells.sum())
        return (
            f"Flow({share:.0%} of the source consistent, pair_score={self.pair_score:.2f}, "
            f"pose={self.pose!r})"
        )

    def _drawing(self) -> Image.Image:
        from homolog.viz import plot_flow

        return plot_flow(present(self.image0), present(self.image1), self)

    def _rows(self) -> tuple[list[str], list[list[Any]]]:
        fields = (("source to target", self.forward), ("target to source", self.backward))
        return ["direction", "consistent", "mean score"], [
            [name, f"{each.consistent.mean():.0%}", f"{each.scores.mean():.2f}"]
            for name, each in fields
        ]
