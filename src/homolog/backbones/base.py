"""The interface of a backbone."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from homolog.image.geometry import Grid


@runtime_checkable
class Backbone(Protocol):
    """A frozen network that turns canvases into feature maps.

    Attributes:
        canvas_size: width and height of the canvases it takes, in pixels.
        grid: the grid of the descriptors that its maps are fused into.
        grids: the grid of each feature map it returns, in order.
    """

    canvas_size: int
    grid: Grid
    grids: tuple[Grid, ...]

    def __call__(self, canvases: UInt8[Tensor, "B size size 3"]) -> list[Float[Tensor, "B C H W"]]:
        """The feature maps of letterboxed RGB canvases, one for each grid, on `device`.

        A backbone whose configuration has `needs_category` is called with a `category` besides.
        """
        ...

    @property
    def device(self) -> torch.device:
        """The device it computes on."""
        ...


class BackboneModule(nn.Module):
    """Base of backbones that are modules: they compute where their weights are."""

    @property
    def device(self) -> torch.device:
        """The device of its weights."""
        return next(self.parameters()).device
