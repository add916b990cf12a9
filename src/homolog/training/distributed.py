"""Training in several processes that torchrun starts, each with a part of the batches."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist

T = TypeVar("T")


@dataclass(frozen=True)
class Process:
    """One of the processes of a run.

    Attributes:
        rank: its number, from 0.
        world_size: how many there are.
    """

    rank: int = 0
    world_size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    def mean(self, values: dict[str, float], device: torch.device) -> dict[str, float]:
        """The means of values over all processes, as a collective call that each must make."""
        if self.world_size == 1:
            return values
        total = torch.tensor(list(values.values()), dtype=torch.float64, device=device)
        dist.all_reduce(total)
        return dict(zip(values, (total / self.world_size).tolist(), strict=True))

    def gather(self, value: T) -> list[T]:
        """The values of all processes in the order of their ranks; all must ask for them."""
        if self.world_size == 1:
            return [value]
        values: list[T | None] = [None] * self.world_size
        dist.all_gather_object(values, value)
        return values  # type: ignore[return-value]  # every process has put its own in


SINGLE_PROCESS = Process()
"""The process of a run that is not shared."""


@contextlib.contextmanager
def process_group(device: torch.device) -> Iterator[Process]:
    """Join the processes that torchrun has started; a single process is a group of its own.

    Args:
        device: where this process computes.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1:
        yield SINGLE_PROCESS
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Process(dist.get_rank(), world_size)
        dist.barrier()  # none leaves while another still needs it
    finally:
        dist.destroy_process_group()


def is_main_process() -> bool:
    """Whether this process is to print: the only one, or the first that torchrun has started."""
    return os.environ.get("RANK", "0") == "0"
