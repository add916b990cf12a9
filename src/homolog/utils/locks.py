"""Locks on folders and files, so that no two processes write them; killed ones release them."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from homolog.errors import HomologError
from homolog.utils.temporary import remove_leftovers

LOCK = ".lock"
"""Name of the file that is locked; it stays in the folder, and means nothing by itself."""

_BUSY = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)


@contextlib.contextmanager
def lock_folder(folder: Path, name: str = "out") -> Iterator[None]:
    """Hold a folder's lock, which the operating system releases when the process ends.

    Where the file system knows no locks, nothing is locked. Temporary files that a killed process
    has left in the folder are removed.

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
            if error.errno in _BUSY:
                raise HomologError(
                    f"{name}: expected a folder that no other process writes into, got {folder}, "
                    f"where {_owner(file)} is at work; try another folder"
                ) from None
        else:
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            for each in (folder, *(path for path in folder.iterdir() if path.is_dir())):
                remove_leftovers(each)
        yield


@contextlib.contextmanager
def lock_file(path: Path, name: str = "out") -> Iterator[None]:
    """Hold the lock of a file that is going to be written; it is a file beside it, removed again.

    Where the file system knows no locks, nothing is locked.

    Args:
        path: the file, which need not be there.
        name: what error messages call it.

    Raises:
        HomologError: another process holds the lock, or the folder cannot be written.
    """
    beside = path.with_name(f".{path.name}{LOCK}")
    while True:
        try:
            file = beside.open("a+", encoding="utf-8")
        except OSError as error:
            raise HomologError(f"{name}: cannot write {path}: {error.strerror}") from error
        try:
            _lock(file)
        except OSError as error:
            with file:
                if error.errno in _BUSY:
                    raise HomologError(
                        f"{name}: expected a file that no other process writes, got {path}, where "
                        f"{_owner(file)} is at work; try another name, or again when it is done"
                    ) from None
            break
        try:
            if os.path.samestat(os.fstat(file.fileno()), beside.stat()):
                file.truncate(0)
                file.write(str(os.getpid()))
                file.flush()
                break
        except FileNotFoundError:
            pass
        file.close()  # whoever held the lock has just removed it
    remove_leftovers(path.parent, path.stem)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows removes no open files
            beside.unlink()
        file.close()


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
