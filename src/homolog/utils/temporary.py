"""Temporary files and folders, and the removal of those that killed processes have left.

Whoever uses one holds its lock, which the operating system releases when the process ends: what is
named like one, private as these are, and can be locked is a leftover. Where the file system knows
no locks, and on Windows, nothing is removed.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_ENDING = ".tmp"
_NAME = re.compile(r"(\.(?P<stem>.*)|homolog)-[a-z0-9_]{8}\.tmp(\.[A-Za-z0-9]+)?", re.DOTALL)
"""What `tempfile` makes of the prefixes and suffixes that are given to it here."""


@contextlib.contextmanager
def temporary_folder(parent: Path | None = None, prefix: str = "homolog-") -> Iterator[Path]:
    """A private folder that is removed at the end; leftovers beside it are removed first.

    Args:
        parent: where it is made; None for the system's folder of temporary files.
        prefix: of its name: `homolog-`, or a dot, a word and a hyphen.

    Raises:
        OSError: it cannot be made.
    """
    remove_leftovers(Path(tempfile.gettempdir()) if parent is None else parent)
    while True:
        folder = Path(tempfile.mkdtemp(_ENDING, prefix, parent))
        with contextlib.ExitStack() as lock:
            if not lock.enter_context(_locked(folder)) and not folder.is_dir():
                continue  # another process has just taken it for a leftover
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            return


@contextlib.contextmanager
def temporary_file(path: Path, suffix: str = "") -> Iterator[IO[bytes]]:
    """A file beside another one, which it is going to replace; removed at the end if it is there.

    Args:
        path: of the other file.
        suffix: what the name ends in.

    Raises:
        OSError: it cannot be made or written.
    """
    while True:
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=f".{path.stem}-", suffix=_ENDING + suffix, delete=False
        ) as file:
            temporary = Path(file.name)
            _lock(file.fileno())
            if not temporary.exists():
                continue  # another process has just taken it for a leftover
            try:
                yield file
            finally:
                temporary.unlink(missing_ok=True)
            return


def remove_leftovers(folder: Path, stem: str | None = None) -> None:
    """Remove temporary files and folders whose processes were killed, as far as that can be done.

    Args:
        folder: where they lie.
        stem: of the file that they were to replace; None for any.
    """
    with contextlib.suppress(OSError):
        entries = list(os.scandir(folder))
        for entry in entries:
            found = _NAME.fullmatch(entry.name)
            if found is None or (stem is not None and found["stem"] != stem):
                continue
            with contextlib.suppress(OSError), _locked(Path(entry.path)) as locked:
                if not locked:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    os.unlink(entry.path)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Hold the lock of a private file or folder of this user; whether that could be done."""
    if sys.platform == "win32":
        yield False
        return
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        yield False
        return
    try:
        stat = os.fstat(descriptor)
        yield stat.st_uid == os.getuid() and not stat.st_mode & 0o077 and _lock(descriptor)
    finally:
        os.close(descriptor)


if sys.platform == "win32":

    def _lock(descriptor: int) -> bool:
        return False

else:
    import fcntl

    def _lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
