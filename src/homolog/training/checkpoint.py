"""Checkpoints: everything from which a run resumes to the last bit, in one file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from homolog.errors import HomologError
from homolog.utils.outputs import write_atomically
from homolog.utils.tensor_files import load_state, read_metadata, read_tensors, tensor_bytes

_MODEL, _OPTIMIZER, _RNG = "model.", "optimizer.", "rng."


@dataclass
class TrainState:
    """How far a run is.

    Attributes:
        step: optimizer steps done.
        best_score: the best validation score so far.
        rng: states of torch's random generators by kind of device; empty for a run whose batches
            are seeded one by one.
    """

    step: int = 0
    best_score: float = -1.0
    rng: Mapping[str, Tensor] = field(default_factory=dict)


def write_state(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    progress: TrainState,
) -> None:
    """Write a checkpoint.

    Args:
        path: the file.
        model: everything that is trained.
        optimizer: with its moments.
        schedule: of the learning rate.
        progress: how far the run is.

    Raises:
        HomologError: it cannot be written; what was there before is untouched.
    """
    tensors = {f"{_MODEL}{name}": tensor for name, tensor in model.state_dict().items()}
    state = optimizer.state_dict()
    for index, values in state["state"].items():
        tensors |= {f"{_OPTIMIZER}{index}.{name}": value for name, value in values.items()}
    tensors |= {f"{_RNG}{device}": value for device, value in progress.rng.items()}
    plain = {
        "step": progress.step,
        "best": progress.best_score,
        "groups": state["param_groups"],
        "schedule": {k: v for k, v in schedule.state_dict().items() if _is_plain(v)},
    }
    write_atomically(path, tensor_bytes(tensors, {"progress": json.dumps(plain)}))


def read_state(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> TrainState:
    """Restore a run from its checkpoint; without one, it is at its start.

    Args:
        path: the file; it need not exist.
        model: gets its weights.
        optimizer: gets its moments.
        schedule: gets its state.

    Raises:
        HomologError: the file is damaged, or of another network.
    """
    if not path.exists():
        return TrainState()
    try:
        tensors = read_tensors(path)
        plain: dict[str, Any] = json.loads(read_metadata(path)["progress"])
        state = TrainState(plain["step"], plain["best"], _with_prefix(tensors, _RNG))
        _check_state(state)
        moments = _moments(_with_prefix(tensors, _OPTIMIZER), model)
    except (OSError, KeyError, TypeError, ValueError, RecursionError, RuntimeError) as error:
        reason = " ".join(str(error).split()).partition(", which is damaged: ")
        raise HomologError(
            f"out: expected the checkpoint of a run, got {path}, which cannot be read: "
            f"{reason[2] or reason[0]}"
        ) from None
    load_state(model, _with_prefix(tensors, _MODEL), str(path))
    try:
        optimizer.load_state_dict({"state": moments, "param_groups": plain["groups"]})
        schedule.load_state_dict(plain["schedule"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise HomologError(
            f"out: expected the checkpoint of this run, got {path} of another optimizer: {error}"
        ) from None
    return state


def _check_state(state: TrainState) -> None:
    """Check how far a run is said to be.

    Raises:
        RuntimeError, TypeError, ValueError: no run can be there.
    """
    if type(state.step) is not int or state.step < 0 or not math.isfinite(state.best_score):
        raise ValueError(f"expected steps and a score, got {state.step}, {state.best_score}")
    if "cpu" in state.rng:
        torch.Generator().set_state(state.rng["cpu"])


def _moments(tensors: Mapping[str, Tensor], model: nn.Module) -> dict[int, dict[str, Tensor]]:
    """What the optimizer remembers, by the number of the parameter.

    Raises:
        ValueError: it is not finite, or of no parameter of that shape.
    """
    shapes = {parameter.shape for parameter in model.parameters()} | {torch.Size()}
    found: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, key = name.split(".", 1)
        if tensor.shape not in shapes or not tensor.isfinite().all():
            raise ValueError(f"expected a finite {key} of each weight, got another")
        found.setdefault(int(index), {})[key] = tensor
    return found


def _with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names have a prefix, without it."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def _is_plain(value: object) -> bool:
    return isinstance(value, (int, float, str, list, tuple, dict, type(None)))
