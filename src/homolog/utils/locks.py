"""A lock on a folder, so that no two processes write into it; a killed process releases it."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from homolog.errors import HomologError

LOCK = ".lock"
"""Name of the file that is locked; it stays in the folder, and means nothing by itself."""


@contextlib.contextmanager
def lock_folder(folder: Path, name: str = "out") -> Iterator[None]:
    """Hold a folder's lock, which the operating system releases when the process ends.

    Where the file system knows no locks, nothing is locked.

    Args:
        folder: made if it is not there.
        name: what error messages call it.

    Raises:
        HomologError: another process holds the lock, or the folder cannot be written.
    """
    path = folder / LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise HomologError(f"{name}: cannot write {folder}: {error.strerror}") from error
    with file:
        try:
            _lock(file)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
                raise HomologError(
                    f"{name}: expected a folder that no other process writes into, got {folder}, "
                    f"where {_owner(file)} is at work; try another folder"
                ) from None
        else:
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
        yield


def _owner(file: IO[str]) -> str:
    """The process that holds the lock, as far as that can be read."""
    try:
        file.seek(0)
        return f"process {file.read()}"
    except OSError:
        return "another process"


if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO[str]) -> None:
        file.seek(1 << 30)  # far from what is written, which stays readable
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(file: IO[str]) -> None:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
