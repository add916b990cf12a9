"""The log of a run: its curves as lines of JSON, and for TensorBoard where it is installed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from homolog.errors import HomologError
from homolog.utils.outputs import write_atomically

LOG, TENSORBOARD = "log.jsonl", "tensorboard"


class TrainLog:
    """Writes the curves of a run; a context manager.

    Args:
        folder: of the run.
        step: steps done; whatever an interrupted run has logged of later steps is dropped, since
            they are done again.

    Raises:
        HomologError: the folder cannot be written.
    """

    def __init__(self, folder: Path, step: int):
        self.path = folder / LOG
        self._lines: list[str] = []
        kept = []
        if self.path.exists():
            lines = self.path.read_bytes().splitlines()
            kept = [line + b"\n" for line in lines if _step_of(line) <= step]
        write_atomically(self.path, b"".join(kept))
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self._writer = None
        else:
            # TensorBoard drops what it has of this step and later ones.
            self._writer = SummaryWriter(str(folder / TENSORBOARD), purge_step=step + 1)

    def __enter__(self) -> TrainLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()
        if self._writer is not None:
            self._writer.close()

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Log values after a step."""
        self._lines.append(json.dumps({"step": step, **values}))
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name.replace(" ", "/"), value, step)

    def flush(self) -> None:
        """Write everything that has been logged to disk.

        Raises:
            HomologError: the file cannot be written.
        """
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in self._lines)
        except OSError as error:
            raise HomologError(f"out: cannot write {self.path}: {error.strerror}") from error
        self._lines.clear()
        if self._writer is not None:
            self._writer.flush()


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The lines that a run has logged."""
    return [json.loads(line) for line in (folder / LOG).read_text("utf-8").splitlines()]


def curve(lines: list[dict[str, Any]], name: str) -> tuple[list[float], list[float]]:
    """Steps and values of one of the logged quantities; a long curve is averaged to 100 points.

    Args:
        lines: of the log.
        name: of the quantity.
    """
    points = [(line["step"], line[name]) for line in lines if name in line]
    size = max(1, len(points) // 100)
    parts = [points[start : start + size] for start in range(0, len(points), size)]
    means = [np.mean(part, axis=0) for part in parts]
    return [float(step) for step, _ in means], [float(value) for _, value in means]


def _step_of(line: bytes) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return math.inf  # cut off when the process was killed, or damaged
