"""The state of a run, in one file, from which it goes on to the last bit."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from homolog.backbones.hub import load_state, tensor_bytes
from homolog.errors import HomologError
from homolog.utils.outputs import write_atomically

_MODEL, _OPTIMIZER = "model.", "optimizer."


@dataclass
class TrainState:
    """How far a run is.

    Attributes:
        step: steps done.
        best: the best validation figure so far.
    """

    step: int = 0
    best: float = -1.0


def write_state(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    progress: TrainState,
) -> None:
    """Write all that a run needs to go on.

    Raises:
        HomologError: it cannot be written; what was there before is untouched.
    """
    tensors = {f"{_MODEL}{name}": tensor for name, tensor in model.state_dict().items()}
    state = optimizer.state_dict()
    for index, values in state["state"].items():
        tensors |= {f"{_OPTIMIZER}{index}.{name}": value for name, value in values.items()}
    plain = {
        "step": progress.step,
        "best": progress.best,
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
    """Take up a run where it was left; at the start if there is no file.

    Raises:
        HomologError: the file is damaged, or of another network.
    """
    if not path.exists():
        return TrainState()
    try:
        with safe_open(path, framework="pt") as file:
            plain: dict[str, Any] = json.loads(file.metadata()["progress"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise HomologError(f"out: {path} is not the state of a run: {error}") from None
    model_state = {
        name.removeprefix(_MODEL): tensor
        for name, tensor in tensors.items()
        if name.startswith(_MODEL)
    }
    load_state(model, model_state, str(path))
    values: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith(_OPTIMIZER):
            index, key = name.removeprefix(_OPTIMIZER).split(".", 1)
            values.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": values, "param_groups": plain["groups"]})
    schedule.load_state_dict(plain["schedule"])
    return TrainState(plain["step"], plain["best"])


def _is_plain(value: object) -> bool:
    return isinstance(value, (int, float, str, list, tuple, dict, type(None)))
