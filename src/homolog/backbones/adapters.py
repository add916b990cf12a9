"""Fine-tuning of the last blocks of a DINO model, whole or by low-rank adapters.

The trained tensors are kept apart from the model, so that a model folder holds only these.
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
from homolog.errors import HomologError
from homolog.utils.tensor_files import load_state


class LoRALinear(nn.Module):
    """A frozen linear layer plus a trainable low-rank update (LoRA, Hu et al., ICLR 2022).

    The update starts at zero.

    Args:
        linear: the layer; it is frozen.
        rank: of the update.
    """

    def __init__(self, linear: nn.Linear, rank: int):
        super().__init__()
        self.linear = linear.requires_grad_(False)
        device = linear.weight.device
        self.down = nn.Parameter(torch.empty(rank, linear.in_features, device=device))
        self.up = nn.Parameter(torch.zeros(linear.out_features, rank, device=device))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, inputs: Float[Tensor, "*B _C"]) -> Float[Tensor, "*B _D"]:
        """The layer's output plus the update's."""
        update = inputs.to(self.down.dtype) @ self.down.T @ self.up.T
        return self.linear(inputs) + update.to(inputs.dtype)


def prepare(backbone: Backbone, config: TuningConfig) -> dict[str, nn.Parameter]:
    """Make part of a backbone trainable and freeze the rest.

    Activations of the trainable blocks are recomputed in the backward pass instead of being
    stored, so that a large canvas takes little memory.

    Args:
        backbone: a DINO transformer; changed in place.
        config: which part.

    Returns:
        The trainable parameters by name.

    Raises:
        HomologError: the backbone is of another kind, or has fewer blocks.
    """
    if not isinstance(backbone, DinoBackbone) or backbone.is_convnext:
        kind = "a ConvNeXt" if isinstance(backbone, DinoBackbone) else type(backbone).__name__
        raise HomologError(f"tuning: expected a DINO transformer as the backbone, got {kind}")
    blocks = backbone.blocks
    if not 1 <= config.blocks <= len(blocks):
        raise HomologError(f"tuning: expected 1 to {len(blocks)} blocks, got {config.blocks}")
    backbone.requires_grad_(False)
    if backbone.config.debias:
        _ = backbone.positional_bases  # of the weights as they are now
    for block in blocks[len(blocks) - config.blocks :]:
        block.forward = partial(_checkpointed, block.forward)
        if config.rank is None:
            block.float().requires_grad_(True)
            continue
        linears = [(n, m) for n, m in block.named_modules() if isinstance(m, nn.Linear)]
        for name, linear in linears:
            parent, _, leaf = name.rpartition(".")
            setattr(block.get_submodule(parent), leaf, LoRALinear(linear, config.rank))
    return trainable(backbone)


def _checkpointed(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """A block's output, whose inner activations are recomputed in the backward pass."""
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    return checkpoint(forward, *args, use_reentrant=False, **kwargs)


def trainable(backbone: DinoBackbone) -> dict[str, nn.Parameter]:
    """The trainable parameters of a backbone by name."""
    return {name: p for name, p in backbone.named_parameters() if p.requires_grad}


def tuned_state(backbone: DinoBackbone) -> dict[str, Tensor]:
    """The values of the trainable parameters by name, as model folders hold them."""
    return {name: parameter.detach() for name, parameter in trainable(backbone).items()}


def applied_state(backbone: Backbone, config: TuningConfig) -> dict[str, Tensor]:
    """The fine-tuned weights of a backbone that is ready for inference, by name.

    Args:
        backbone: one that `apply` has loaded them into.
        config: the part that was fine-tuned.

    Raises:
        HomologError: it computes in half precision, in which whole blocks are rounded.
    """
    assert isinstance(backbone, DinoBackbone)
    blocks = backbone.blocks[len(backbone.blocks) - config.blocks :]
    tuned = [p for block in blocks for p in block.parameters()]
    if config.rank is not None:
        adapted = [m for block in blocks for m in block.modules() if isinstance(m, LoRALinear)]
        tuned = [parameter for each in adapted for parameter in (each.down, each.up)]
    if any(parameter.dtype != torch.float32 for parameter in tuned):
        raise HomologError(
            "precision: expected float32 weights to save, got rounded ones; try loading the model "
            "with device='cpu'"
        )
    own = set(map(id, tuned))
    return {name: p.detach() for name, p in backbone.named_parameters() if id(p) in own}


def apply(backbone: Backbone, config: TuningConfig, state: Mapping[str, Tensor], name: str) -> None:
    """Load fine-tuned weights into a backbone, ready for inference.

    Args:
        backbone: a DINO transformer; changed in place.
        config: the part that was fine-tuned.
        state: what `tuned_state` returned.
        name: what error messages call the weights.

    Raises:
        HomologError: they do not fit the backbone.
    """
    dtype = next(backbone.parameters()).dtype if isinstance(backbone, DinoBackbone) else None
    parameters = prepare(backbone, config)
    holder = nn.Module()
    for key, parameter in parameters.items():
        holder.register_parameter(key.replace(".", "/"), parameter)
    load_state(holder, {key.replace(".", "/"): tensor for key, tensor in state.items()}, name)
    assert isinstance(backbone, DinoBackbone)
    backbone.requires_grad_(False)
    if config.rank is None:
        backbone.to(dtype)
