"""Progress of long work: a bar on a terminal, plain lines elsewhere, nothing if it is quick."""

from __future__ import annotations

import os
import threading
import time
from datetime import timedelta
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

_PATIENCE = 2.0
"""Seconds before anything is shown."""
_INTERVAL = 10.0
"""Seconds between two lines where there are more than a few steps."""
_LONGEST = 200  # characters of a description
_FEW = 20


class ProgressBar:
    """Shows the progress of work that has a known number of steps.

    Args:
        total: number of steps.
        console: where to show it; standard error by default.

    >>> with ProgressBar(2) as progress:
    ...     progress.update("reading")
    ...     progress.update("matching")
    """

    def __init__(self, total: int, console: Console | None = None):
        # Of several processes that torchrun has started, the first speaks for all.
        others = os.environ.get("RANK", "0") != "0"
        self._console = console or Console(stderr=True, quiet=others)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),  # names as they are given
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TimeElapsedColumn(),
            *([TextColumn("left:"), TimeRemainingColumn()] if total > _FEW else []),
            console=self._console,
            transient=True,
        )
        self._task = self._bar.add_task("starting", total=total)
        self._total = total
        self._completed = -1
        self._began = time.monotonic()
        self._quiet_until = self._began + _PATIENCE
        # The bar comes up by itself, also while a single step takes long.
        self._timer = threading.Timer(_PATIENCE, self._bar.start)
        self._timer.daemon = True

    def __enter__(self) -> ProgressBar:
        if self._console.is_terminal:
            self._timer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        if self._timer.ident is not None:
            self._timer.join()  # it may be starting the bar just now
        if self._bar.live.is_started:
            self._bar.stop()

    def log(self, line: str) -> None:
        """Print a line above the bar, where it stays."""
        self._console.print(Text(line), soft_wrap=True)

    def update(self, description: str, completed: int | None = None) -> None:
        """Begin the next step.

        Args:
            description: what the step does.
            completed: how many steps are finished; one more than before by default.
        """
        description = description[:_LONGEST]
        self._completed = self._completed + 1 if completed is None else completed
        self._bar.update(self._task, description=description, completed=self._completed)
        now = time.monotonic()
        if now > self._quiet_until and not self._console.is_terminal:
            left = ""
            if self._total > _FEW and self._completed > 0:
                seconds = (now - self._began) / self._completed * (self._total - self._completed)
                left = f", {timedelta(seconds=round(seconds))} left"
            self._console.print(Text(f"{description} … {self._completed}/{self._total}{left}"))
            self._quiet_until = now + (_INTERVAL if self._total > _FEW else 0)
