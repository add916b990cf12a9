"""Schedules: how blurred targets and the teacher change in the course of a run.

Both from MARCO (CVPR 2026, arXiv 2604.18267).
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class SigmaSchedule:
    """The standard deviation of a Gaussian target, from coarse to fine.

    It stays at its start for a while, then falls in half a cosine.

    Attributes:
        start: in cells, at first.
        end: in cells, from step `until` on.
        hold: the step at which it begins to fall.
        until: the step at which it has fallen.
    """

    start: float = 3.5
    end: float = 1.0
    hold: int = 1000
    until: int = 12000

    def __call__(self, step: int) -> float:
        """The standard deviation at an optimizer step, counted from 0.

        >>> SigmaSchedule()(0), SigmaSchedule()(11_999)
        (3.5, 1.0)
        """
        done = step + 1
        if done < self.hold:
            return self.start
        if done >= self.until:
            return self.end
        progress = (done - self.hold) / (self.until - self.hold)
        return self.end + (self.start - self.end) * (1 + math.cos(math.pi * progress)) / 2


@dataclass(frozen=True)
class MomentumSchedule:
    """The momentum of a teacher that is a moving average of its student.

    It rises in half a cosine.

    Attributes:
        start: at first.
        end: from step `until` on.
        until: the step at which it has risen.
    """

    start: float = 0.99
    end: float = 0.9995
    until: int = 20000

    def __call__(self, step: int) -> float:
        """The momentum after an optimizer step, counted from 0.

        >>> MomentumSchedule(until=900)(450)
        0.99475
        """
        if step >= self.until:
            return self.end
        share = (1 + math.cos(math.pi * step / self.until)) / 2
        return self.end - (self.end - self.start) * share
