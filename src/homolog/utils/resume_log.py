"""Logs of finished work, from which an interrupted run resumes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from homolog.errors import HomologError
from homolog.utils.outputs import write_atomically


class ResumeLog:
    """A file of JSON lines, one record for each finished item; a context manager for appending.

    A line that was being written when the earlier run was killed is removed.

    Attributes:
        path: the file.
        records: those of earlier runs and of this one, by the value of their `key`.

    Args:
        path: the file; it need not exist.
        key: the member that identifies a record.
        header: everything that decides on the records; the first line of the file, so that the
            log of one run is not taken for that of another. None for a file without one.
        restart: drop the records of another run, instead of refusing them.

    Raises:
        HomologError: the file belongs to another run, holds something else, or cannot be written.
    """

    def __init__(
        self,
        path: Path,
        key: str,
        header: Mapping[str, Any] | None = None,
        restart: bool = False,
    ):
        self.path = path
        self.records: dict[Any, dict[str, Any]] = {}
        self._key = key
        try:
            content = path.read_bytes() if path.exists() else b""
        except OSError as error:
            raise HomologError(f"out: cannot read {path}: {error.strerror}") from error
        first = b"" if header is None else json.dumps(header).encode() + b"\n"
        if not content.startswith(first):
            if content and not restart:
                raise HomologError(
                    f"out: expected to resume the same run, got {path} of one with other "
                    f"{_differences(content, header)}; try another name, or removing it"
                )
            write_atomically(path, first)
            content = first
        complete = content[: content.rfind(b"\n") + 1]
        if complete != content:
            write_atomically(path, complete)
        lines = complete[len(first) :].splitlines()
        for number, line in enumerate(lines, start=1 + bool(first)):
            try:
                record = json.loads(line)
                self.records[record[key]] = record
            except (ValueError, LookupError, TypeError):
                raise HomologError(
                    f"out: expected records with {key!r} in {path}, got another line {number}; "
                    "try another name"
                ) from None

    def __enter__(self) -> ResumeLog:
        try:
            self._file = self.path.open("ab")
        except OSError as error:
            raise self._not_written(error) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def append(self, record: dict[str, Any]) -> None:
        """Add a record and write it to disk at once.

        Raises:
            HomologError: the file cannot be written.
        """
        self.records[record[self._key]] = record
        try:
            self._file.write(json.dumps(record).encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise self._not_written(error) from error

    def remove(self) -> None:
        """Delete the file: the work is finished."""
        self.path.unlink(missing_ok=True)

    def _not_written(self, error: OSError) -> HomologError:
        return HomologError(f"out: cannot write {self.path}: {error.strerror}")


def _differences(content: bytes, header: Mapping[str, Any] | None) -> str:
    """What differs between the run that a log is of and another: names of members of headers."""
    try:
        found = json.loads(content[: content.find(b"\n")])
        wanted = json.loads(json.dumps(header))
        names = {*found, *wanted}
    except (ValueError, TypeError):
        return "settings"
    differing = sorted(
        name.removesuffix("_sha256").replace("_", " ")
        for name in names
        if found.get(name) != wanted.get(name)
    )
    return f"settings ({', '.join(dict.fromkeys(differing))})"
