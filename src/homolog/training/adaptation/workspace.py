"""The working folder of a run: what its stages leave for each other and for a resumed run."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from homolog.errors import HomologError
from homolog.training.distributed import Process
from homolog.utils.outputs import write_atomically

_SECONDS = "seconds.json"


class Workspace:
    """A folder into which the first process writes what all of them read.

    Args:
        folder: made if it is not there.
        process: this process among those of the run.

    Raises:
        HomologError: the folder cannot be made.
    """

    def __init__(self, folder: Path, process: Process):
        self.folder = folder
        self.process = process
        make_folder(folder)

    def subfolder(self, name: str) -> Path:
        """A folder in it.

        Args:
            name: of the folder; made if it is not there.

        Raises:
            HomologError: it cannot be made.
        """
        make_folder(self.folder / name)
        return self.folder / name

    def exists(self, name: str) -> bool:
        """Whether a file is there; the same in all processes, each of which must ask."""
        return self.process.gather((self.folder / name).exists())[0]

    def write(self, name: str, plain: Any) -> None:
        """Write a file of JSON in the first process; the others wait until it is there.

        Args:
            name: of the file.
            plain: for JSON; that of the first process counts.

        Raises:
            HomologError: it cannot be written.
        """
        if self.process.is_main:
            write_json(self.folder / name, plain)
        self.process.gather(None)

    def read(self, name: str) -> Any:
        """Read a file of JSON.

        Args:
            name: of the file.

        Raises:
            HomologError: it cannot be read.
        """
        path = self.folder / name
        try:
            return json.loads(path.read_text("utf-8"))
        except OSError as error:
            raise HomologError(f"out: cannot read {path}: {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise HomologError(f"out: expected JSON, got {path}: {error}") from None

    @contextlib.contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add up the seconds that a stage takes, over all starts of the run.

        Args:
            stage: its name.
        """
        began = time.monotonic()
        yield
        if self.process.is_main:
            seconds = self.seconds()
            seconds[stage] = seconds.get(stage, 0.0) + time.monotonic() - began
            write_json(self.folder / _SECONDS, seconds)

    def seconds(self) -> dict[str, float]:
        """The seconds of each stage, in their order."""
        return dict(self.read(_SECONDS)) if (self.folder / _SECONDS).exists() else {}


def make_folder(folder: Path) -> None:
    """Make a folder of a run, if it is not there.

    Args:
        folder: with all that it is in.

    Raises:
        HomologError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HomologError(f"out: cannot make {folder}: {error.strerror}") from error


def write_json(path: Path, plain: Any) -> None:
    """Write a file of JSON atomically.

    Args:
        path: of the file.
        plain: for JSON.

    Raises:
        HomologError: it cannot be written.
    """
    write_atomically(path, (json.dumps(plain, indent=1) + "\n").encode())
