"""Fine-tuning of blocks of a DINO model: whole, by low-rank adapters, or by parallel ones.

The trained tensors are kept apart from the model, so that a model folder holds only these.
"""

from __future__ import annotations

import math
import re
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

_ADAPTER = re.compile(r"^.*?\.(\d+)\.mlp\.adapter\.")


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


class Adapter(nn.Module):
    """A small perceptron that learns what to add to a frozen one's output (AdaptFormer).

    Layer norm, a projection to the bottleneck, ReLU, and a projection back, which starts at zero.

    Args:
        channels: of the tokens.
        bottleneck: channels inside.
        scale: factor of the output.
    """

    def __init__(self, channels: int, bottleneck: int, scale: float):
        super().__init__()
        self.scale = scale
        self.norm = nn.LayerNorm(channels)
        self.down_proj = nn.Linear(channels, bottleneck)
        self.up_proj = nn.Linear(bottleneck, channels)
        nn.init.kaiming_uniform_(self.down_proj.weight, a=math.sqrt(5))
        for parameter in (self.down_proj.bias, self.up_proj.weight, self.up_proj.bias):
            nn.init.zeros_(parameter)

    def forward(self, tokens: Float[Tensor, "*B _C"]) -> Float[Tensor, "*B _C"]:
        """What is added, in the tokens' own number format."""
        inner = self.down_proj(self.norm(tokens.to(self.norm.weight.dtype))).relu()
        return (self.scale * self.up_proj(inner)).to(tokens.dtype)


class AdaptedPerceptron(nn.Module):
    """The second half of a transformer block with an adapter beside it, but for its shortcut.

    Args:
        norm: the block's norm before the perceptron.
        mlp: the perceptron.
        scale: the block's layer scale after it.
        adapter: stands beside all three.
    """

    def __init__(self, norm: nn.Module, mlp: nn.Module, scale: nn.Module, adapter: Adapter):
        super().__init__()
        self.norm, self.mlp, self.layer_scale = norm, mlp, scale
        self.adapter = adapter

    def forward(self, tokens: Float[Tensor, "*B _C"]) -> Float[Tensor, "*B _C"]:
        """What the block adds to its tokens."""
        return self.adapter(tokens) + self.layer_scale(self.mlp(self.norm(tokens)))


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
    chosen = config.chosen(len(blocks))
    backbone.requires_grad_(False)
    if backbone.config.debias:
        _ = backbone.positional_bases  # of the weights as they are now
    for block in (blocks[index] for index in chosen):
        block.forward = partial(_checkpointed, block.forward)
        if config.bottleneck is not None:
            _add_adapter(block, config.bottleneck, config.adapter_scale)
            continue
        if config.rank is None:
            block.float().requires_grad_(True)
            continue
        linears = [(n, m) for n, m in block.named_modules() if isinstance(m, nn.Linear)]
        for name, linear in linears:
            parent, _, leaf = name.rpartition(".")
            setattr(block.get_submodule(parent), leaf, LoRALinear(linear, config.rank))
    return trainable(backbone)


def _add_adapter(block: nn.Module, bottleneck: int, scale: float) -> None:
    """Put an adapter beside a block's perceptron; the block takes over its norm and layer scale."""
    parts = [getattr(block, name, None) for name in ("norm2", "mlp", "layer_scale2")]
    norm, mlp, layer_scale = parts
    if norm is None or mlp is None or layer_scale is None:
        raise HomologError(
            "tuning: expected blocks with a perceptron where transformers keeps it, got one "
            "without; try another version of transformers"
        )
    adapter = Adapter(norm.weight.shape[0], bottleneck, scale).to(norm.weight.device)
    block.mlp = AdaptedPerceptron(norm, mlp, layer_scale, adapter)
    block.norm2, block.layer_scale2 = nn.Identity(), nn.Identity()


def _checkpointed(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """A block's output, whose inner activations are recomputed in the backward pass."""
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    return checkpoint(forward, *args, use_reentrant=False, **kwargs)


def trainable(backbone: DinoBackbone) -> dict[str, nn.Parameter]:
    """The trainable parameters of a backbone by name."""
    return {_name(name): p for name, p in backbone.named_parameters() if p.requires_grad}


def _name(parameter: str) -> str:
    """What a trained parameter is called: those of adapters have names of their own.

    Where `transformers` keeps the blocks differs from one model to another.
    """
    return _ADAPTER.sub(r"blocks.\1.adapter.", parameter)


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
    chosen = config.chosen(len(backbone.blocks))
    modules = [m for index in chosen for m in backbone.blocks[index].modules()]
    if config.bottleneck is not None:
        tuned = [p for each in modules if isinstance(each, Adapter) for p in each.parameters()]
    elif config.rank is not None:
        tuned = [
            p for each in modules if isinstance(each, LoRALinear) for p in (each.down, each.up)
        ]
    else:
        tuned = [p for index in chosen for p in backbone.blocks[index].parameters()]
    if any(parameter.dtype != torch.float32 for parameter in tuned):
        raise HomologError(
            "precision: expected float32 weights to save, got rounded ones; try loading the model "
            "with device='cpu'"
        )
    own = set(map(id, tuned))
    return {_name(name): p.detach() for name, p in backbone.named_parameters() if id(p) in own}


def load_tuned(backbone: DinoBackbone, state: Mapping[str, Tensor], name: str) -> None:
    """Load the values of the trainable parameters of a backbone.

    Args:
        backbone: one that `prepare` has made trainable; changed in place.
        state: what `tuned_state` returned.
        name: what error messages call the weights.

    Raises:
        HomologError: they do not fit the backbone.
    """
    holder = nn.Module()
    for key, parameter in trainable(backbone).items():
        holder.register_parameter(key.replace(".", "/"), parameter)
    load_state(holder, {key.replace(".", "/"): tensor for key, tensor in state.items()}, name)


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
    prepare(backbone, config)
    assert isinstance(backbone, DinoBackbone)
    load_tuned(backbone, state, name)
    backbone.requires_grad_(False)
    if config.rank is None and config.bottleneck is None:
        backbone.to(dtype)
