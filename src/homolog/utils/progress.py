"""How far long work is: a bar on a terminal, plain lines elsewhere, nothing if it is quick."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_PATIENCE = 2.0
"""Seconds of silence before anything is shown."""
_INTERVAL = 10.0
"""Seconds between two lines of work in more than a few steps."""
_FEW = 20


class ProgressBar:
    """A piece of work in a known number of steps.

    Args:
        total: how many steps there are.
        console: where to show them; standard error by default.

    >>> with Steps(2) as steps:
    ...     steps.next("reading")
    ...     steps.next("matching")
    """

    def __init__(self, total: int, console: Console | None = None):
        self._console = console or Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TimeElapsedColumn(),
            *([TextColumn("left:"), TimeRemainingColumn()] if total > _FEW else []),
            console=self._console,
            transient=True,
        )
        self._task = self._bar.add_task("starting", total=total)
        self._total = total
        self._done = -1
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

    def say(self, line: str) -> None:
        """A line that stays."""
        self._console.print(line, highlight=False, soft_wrap=True)

    def next(self, description: str, done: int | None = None) -> None:
        """The step before is done, this one begins; or so many are done."""
        self._done = self._done + 1 if done is None else done
        self._bar.update(self._task, description=description, completed=self._done)
        now = time.monotonic()
        if now > self._quiet_until and not self._console.is_terminal:
            left = ""
            if self._total > _FEW and self._done > 0:
                seconds = (now - self._began) / self._done * (self._total - self._done)
                left = f", {timedelta(seconds=round(seconds))} left"
            self._console.print(
                f"{description} … {self._done}/{self._total}{left}", highlight=False
            )
            self._quiet_until = now + (_INTERVAL if self._total > _FEW else 0)
