"""Backbones that learn: the last blocks of a DINO model, or low-rank adapters in them.

What a step of fine-tuning changes is kept apart from the model, so that a trained folder holds the
change alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from homolog.backbones.base import Backbone
from homolog.backbones.configs import TuningConfig
from homolog.backbones.dino import DinoBackbone
from homolog.backbones.hub import load_state
from homolog.errors import HomologError


class Adapted(nn.Module):
    """A linear layer, and what is learnt added to it: a product of two narrow matrices.

    Starts as the layer alone.

    Args:
        linear: frozen.
        rank: width between the two matrices.
    """

    def __init__(self, linear: nn.Linear, rank: int):
        super().__init__()
        self.linear = linear.requires_grad_(False)
        device = linear.weight.device
        self.down = nn.Parameter(torch.empty(rank, linear.in_features, device=device))
        self.up = nn.Parameter(torch.zeros(linear.out_features, rank, device=device))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, inputs: Float[Tensor, "*B _C"]) -> Float[Tensor, "*B _D"]:
        """The layer's output and the addition."""
        added = inputs.to(self.down.dtype) @ self.down.T @ self.up.T
        return self.linear(inputs) + added.to(inputs.dtype)


def prepare(backbone: Backbone, config: TuningConfig) -> dict[str, nn.Parameter]:
    """Make a part of a backbone trainable; all else is frozen.

    Activations of the blocks are not kept but computed again on the way back, so that a canvas
    takes little memory.

    Args:
        backbone: a DINO transformer; changed in place.
        config: which part.

    Returns:
        The trainable parameters by name.

    Raises:
        HomologError: another kind of backbone, or more blocks than there are.
    """
    if not isinstance(backbone, DinoBackbone) or backbone.is_convnext:
        raise HomologError("tuning: takes a DINO transformer")
    blocks = backbone.blocks
    if not 1 <= config.blocks <= len(blocks):
        raise HomologError(f"tuning: got {config.blocks} blocks of {len(blocks)}")
    backbone.requires_grad_(False)
    for block in blocks[len(blocks) - config.blocks :]:
        block.forward = partial(_recomputed, block.forward)
        if config.rank is None:
            block.float().requires_grad_(True)
            continue
        linears = [(n, m) for n, m in block.named_modules() if isinstance(m, nn.Linear)]
        for name, linear in linears:
            parent, _, leaf = name.rpartition(".")
            setattr(block.get_submodule(parent), leaf, Adapted(linear, config.rank))
    return trainable(backbone)


def _recomputed(forward: Callable[..., Any], *given: Any, **named: Any) -> Any:
    """A block's output, whose inner activations are not kept."""
    if not torch.is_grad_enabled():
        return forward(*given, **named)
    return checkpoint(forward, *given, use_reentrant=False, **named)


def trainable(backbone: DinoBackbone) -> dict[str, nn.Parameter]:
    """The parameters that are trained, by name."""
    return {name: p for name, p in backbone.named_parameters() if p.requires_grad}


def tuned_state(backbone: DinoBackbone) -> dict[str, Tensor]:
    """What was trained, by name."""
    return {name: parameter.detach() for name, parameter in trainable(backbone).items()}


def apply(backbone: Backbone, config: TuningConfig, state: Mapping[str, Tensor], name: str) -> None:
    """Give a backbone what was trained, ready for inference.

    Args:
        backbone: as `prepare` takes it; changed in place.
        config: what was trained.
        state: as `tuned_state` gave it.
        name: what error messages call it.

    Raises:
        HomologError: it does not fit the backbone.
    """
    dtype = next(backbone.parameters()).dtype if isinstance(backbone, DinoBackbone) else None
    trained = prepare(backbone, config)
    holder = nn.Module()
    for key, parameter in trained.items():
        holder.register_parameter(key.replace(".", "/"), parameter)
    load_state(holder, {key.replace(".", "/"): tensor for key, tensor in state.items()}, name)
    assert isinstance(backbone, DinoBackbone)
    backbone.requires_grad_(False)
    if config.rank is None:
        backbone.to(dtype)
