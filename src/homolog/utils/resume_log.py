"""Logs of finished work, from which an interrupted run resumes."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from homolog.errors import HomologError
from homolog.utils.outputs import write_atomically

_log = logging.getLogger(__name__)

_CHECKSUM = "crc32"
"""The member of a line with the checksum of the others."""


class _DamagedError(Exception):
    """A line is not as it was written."""


class ResumeLog:
    """A file of JSON lines, one record for each finished item; a context manager for appending.

    A line that was being written when the earlier run was killed is removed, and so are lines that
    repeat an earlier one, which two processes leave that have written one log.

    Attributes:
        path: the file.
        records: those of earlier runs and of this one, by the value of their `key`.

    Args:
        path: the file; it need not exist.
        key: the member that identifies a record.
        header: everything that decides on the records; the first line of the file, so that the
            log of one run is not taken for that of another. None for a file without one.
        restart: drop the records of another run, instead of refusing them.
        check: raises LookupError, TypeError or ValueError for what is no record of this work. With
            it, every line has a checksum; damaged ones are removed, and their work is done again.
            Lines from before there were checksums are only checked.

    Raises:
        HomologError: the file belongs to another run, holds something else or two records of one
            item that differ, or cannot be written.
    """

    def __init__(
        self,
        path: Path,
        key: str,
        header: Mapping[str, Any] | None = None,
        restart: bool = False,
        check: Callable[[Mapping[str, Any]], object] | None = None,
    ):
        self.path = path
        self.records: dict[Any, dict[str, Any]] = {}
        self._key = key
        self._check = check
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
        kept = [first] if first else []
        lines = complete[len(first) :].splitlines(keepends=True)
        for number, line in enumerate(lines, start=1 + bool(first)):
            try:
                record = self._parse(line)
                found = self.records.setdefault(record[key], record)
            except _DamagedError:
                _log.warning("%s, line %d is damaged; it is computed again", path, number)
                continue
            except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
                raise HomologError(
                    f"out: expected records with {key!r} in {path}, got another line {number}; "
                    "try another name"
                ) from None
            if found is record:
                kept.append(line)
            elif not _agree(found, record):
                raise HomologError(
                    f"out: expected one record of each {key} in {path}, got another of "
                    f"{str(record[key])[:200]!r} in line {number}; try removing that line"
                )
        if (whole := b"".join(kept)) != content:
            write_atomically(path, whole)

    def __enter__(self) -> ResumeLog:
        try:
            # Unbuffered: what could not be written when the disk was full is not tried again.
            self._file = self.path.open("ab", buffering=0)
        except OSError as error:
            raise self._not_written(error) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._file.close()
        except OSError as failed:
            if kind is None:
                raise self._not_written(failed) from failed

    def append(self, record: dict[str, Any]) -> None:
        """Add a record and write it to disk at once.

        Raises:
            HomologError: the file cannot be written.
        """
        text = json.dumps(record)
        if self._check is not None:
            text = json.dumps({**record, _CHECKSUM: _checksum(text)})
        line = memoryview(text.encode() + b"\n")
        end = None
        try:
            end = self.path.stat().st_size
            while line:
                line = line[self._file.write(line) :]
        except OSError as error:
            if end is not None:
                with contextlib.suppress(OSError):
                    self._file.truncate(end)  # half a line
            raise self._not_written(error) from error
        self.records[record[self._key]] = record

    def _parse(self, line: bytes) -> dict[str, Any]:
        """The record of a line.

        Raises:
            _DamagedError: it had a checksum when it was written, and is not as it was.
            LookupError, TypeError, ValueError, AttributeError, RecursionError: it is none.
        """
        if self._check is None:
            return json.loads(line)
        try:
            record = json.loads(line)
            written = record.pop(_CHECKSUM, None)
        except (ValueError, TypeError, AttributeError, RecursionError):
            if _CHECKSUM.encode() in line:
                raise _DamagedError from None
            raise
        if written is None:
            self._check(record)
        elif written != _checksum(json.dumps(record)):
            raise _DamagedError
        return record

    def remove(self) -> None:
        """Delete the file: the work is finished."""
        self.path.unlink(missing_ok=True)

    def _not_written(self, error: OSError) -> HomologError:
        return HomologError(f"out: cannot write {self.path}: {error.strerror}")


def _checksum(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"


def _agree(first: Any, second: Any) -> bool:
    """Whether two records say the same, but for how their numbers are rounded."""
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(_agree(first[k], second[k]) for k in first)
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(_agree, first, second))
    if isinstance(first, float) and isinstance(second, float):
        same = math.isclose(first, second, rel_tol=1e-4, abs_tol=1e-4)
        return same or (math.isnan(first) and math.isnan(second))
    return type(first) is type(second) and first == second


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
