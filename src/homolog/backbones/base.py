"""The interface of a backbone."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from homolog.image.geometry import CanvasTransform, Grid, Padding
from homolog.image.poses import IDENTITY, PoseVariant
from homolog.image.regions import Region
from homolog.utils.forking import use_one_thread_in_children

use_one_thread_in_children()


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


def padding_of(backbone: Backbone) -> Padding:
    """Where a backbone wants images on its canvas: in the middle, unless it says otherwise."""
    found: Padding = getattr(backbone, "padding", "centred")
    return found


def canvas_transform(
    backbone: Backbone,
    width: int,
    height: int,
    pose: PoseVariant = IDENTITY,
    region: Region | None = None,
) -> CanvasTransform:
    """From points of an image to cells of a backbone's grid, by way of the canvas it wants.

    Args:
        backbone: has the canvas and the grid.
        width: of the upright image, in pixels.
        height: of the upright image, in pixels.
        pose: of the image.
        region: the part of it that fills the canvas; None for the whole.
    """
    return CanvasTransform(
        width, height, pose, backbone.canvas_size, backbone.grid, region, padding_of(backbone)
    )
