"""Where keypoints lie on the grid of the descriptors that a network makes in training."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from homolog.image.geometry import Grid


@dataclass(frozen=True)
class Placement:
    """The grids of the descriptors of a source and of a target, on one canvas.

    Published models read points of a source in another way than those of a target; for all
    others both are where the cells are.

    Attributes:
        canvas_size: width and height of the canvas, in pixels.
        base: the grid that keypoints are given on.
        source: that of a source's descriptors.
        target: that of a target's descriptors.
    """

    canvas_size: int
    base: Grid
    source: Grid
    target: Grid

    @classmethod
    def of(cls, canvas_size: int, base: Grid, scale: int, corners: bool) -> Placement:
        """The placement of a network's descriptors.

        Args:
            canvas_size: width and height of the canvas, in pixels.
            base: the grid of its input.
            scale: how many times as many rows and columns its output has.
            corners: whether MARCO's conventions are kept.
        """
        grid = base if scale == 1 else base.refined(scale)
        if not corners:
            return cls(canvas_size, base, grid, grid)
        return cls(
            canvas_size, base, grid.edge_aligned(canvas_size), grid.corner_aligned(canvas_size)
        )

    def to_canvas(self, cells: Float[Tensor, "*B 2"]) -> Float[Tensor, "*B 2"]:
        """Points in cells of the base, in pixels of the canvas."""
        return cells * self.base.stride + self.base.origin

    def on_source(self, cells: Float[Tensor, "*B 2"]) -> Float[Tensor, "*B 2"]:
        """Points in cells of the base, in cells of a source's descriptors."""
        return cells if self.source == self.base else _cells(self.to_canvas(cells), self.source)

    def on_target(self, cells: Float[Tensor, "*B 2"]) -> Float[Tensor, "*B 2"]:
        """Points in cells of the base, in cells of a target's descriptors."""
        return cells if self.target == self.base else _cells(self.to_canvas(cells), self.target)

    def pixels_to_cells(
        self, matches_2P2: Float[Tensor, "2 P 2"]
    ) -> tuple[Float[Tensor, "P 2"], Float[Tensor, "P 2"]]:
        """Points of a source and of a target in pixels of the canvas, in cells of both."""
        source, target = matches_2P2
        return _cells(source, self.source), _cells(target, self.target)


def _cells(points: Float[Tensor, "*B 2"], grid: Grid) -> Float[Tensor, "*B 2"]:
    return (points - grid.origin) / grid.stride
