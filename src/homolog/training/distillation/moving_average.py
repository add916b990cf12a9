"""The teacher: a moving average of everything of a student that is trained."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn


class MovingAverage(nn.Module):
    """An exponential moving average of a student's parameters, kept as buffers of its own.

    It is saved and restored with the state of whatever module it is a part of. The student itself
    computes with it, for a while: no second network is needed.

    Args:
        parameters: the student's, by name.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter]):
        super().__init__()
        self._student = dict(parameters)
        for name, parameter in parameters.items():
            self.register_buffer(_buffer(name), parameter.detach().clone())

    def pairs(self) -> Iterator[tuple[nn.Parameter, Tensor]]:
        """Each of the student's parameters, and its average."""
        for name, parameter in self._student.items():
            yield parameter, self.get_buffer(_buffer(name))

    @torch.no_grad()
    def update(self, momentum: float) -> None:
        """Move the average towards the student.

        Args:
            momentum: what is left of the average; the rest is the student's.
        """
        for parameter, average in self.pairs():
            average.mul_(momentum).add_(parameter, alpha=1 - momentum)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """The student has the average's values; afterwards, it has its own again."""
        own = {name: parameter.data for name, parameter in self._student.items()}
        try:
            for parameter, average in self.pairs():
                parameter.data = average
            yield
        finally:
            for name, parameter in self._student.items():
                parameter.data = own[name]


def _buffer(name: str) -> str:
    return name.replace(".", "/")
