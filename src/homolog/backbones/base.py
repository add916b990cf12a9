"""What a backbone is, and the registry that finds one by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from homolog.backbones.configs import BackboneConfig
from homolog.errors import HomologError
from homolog.image.geometry import Grid


@runtime_checkable
class Backbone(Protocol):
    """A frozen network that turns canvases into feature maps.

    Attributes:
        side: width and height of the canvas it takes, in pixels.
        grid: the grid on which its maps are fused into descriptors.
        grids: the grid of each map it returns, in order.
    """

    side: int
    grid: Grid
    grids: tuple[Grid, ...]

    def __call__(self, canvases: UInt8[Tensor, "B side side 3"]) -> list[Float[Tensor, "B C H W"]]:
        """The feature maps of letterboxed RGB canvases, one a grid, on the backbone's device.

        Where its configuration is `by_category` it is given a `category`, too.
        """
        ...

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        ...


class BackboneModule(nn.Module):
    """A backbone that is a module, and computes where its weights are."""

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return next(self.parameters()).device


Loader = Callable[[torch.device], Backbone]

_FAMILIES = {
    "dino": "homolog.backbones.dino",
    "stable-diffusion": "homolog.backbones.stable_diffusion",
    "fused": "homolog.backbones.fused",
}

# "module:function" is imported only when asked for, so that heavy libraries stay optional.
_loaders: dict[str, Loader | str] = {
    "efficientnet-lite": "homolog.backbones.efficientnet_lite:load",
}


def register(name: str, loader: Loader) -> None:
    """Make a backbone available under a name.

    Args:
        name: what `create` and a `MatcherConfig` call it.
        loader: called with a device, returns the backbone ready to use.
    """
    _loaders[name] = loader


def create(name: str | BackboneConfig, device: torch.device) -> Backbone:
    """The backbone of that name or configuration, ready to use on the device.

    Raises:
        HomologError: no backbone of that name is registered, or what it needs cannot be had.
    """
    if not isinstance(name, str):
        # Imported only when asked for: the libraries of these families are large.
        found: Backbone = importlib.import_module(_FAMILIES[name.family]).load(name, device)
        return found
    loader = _loaders.get(name)
    if loader is None:
        raise HomologError(f"backbone: {name!r} is none of {', '.join(sorted(_loaders))}")
    if isinstance(loader, str):
        module, function = loader.split(":")
        loader = getattr(importlib.import_module(module), function)
    return loader(device)
