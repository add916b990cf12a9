"""Logs written line by line, which an interrupted run goes on with."""

from __future__ import annotations

from pathlib import Path

from homolog.utils.outputs import write_atomically


def read_complete_lines(path: Path) -> list[bytes]:
    """The lines of a file that is written line by line.

    A line that was being written when that stopped is taken off the file.

    Raises:
        HomologError: the file cannot be written.
    """
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if whole != data:
        write_atomically(path, whole)
    return whole.splitlines()
