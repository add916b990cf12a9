"""A thousand damaged files of each kind, several thousand of labels, and ten times as many slowly.

Each is read, or refused with a `HomologError` of one line: no other error, no warning, no wait, no
large memory, and no end of the process. Input n of a kind is the same in every run.
"""

from __future__ import annotations

import contextlib
import random
import resource
import signal
from pathlib import Path

import pytest

from fuzz.kinds import KINDS
from fuzz.mutation import damaged
from homolog import HomologError

MANY = 10_000
_SECONDS = 5  # of computing, for one file
_MEMORY = 600 * 2**20
_SHOWN = 10
_LONGEST = 1000  # characters of a message: it quotes no more than a part of what is wrong


class _Slow(BaseException):
    """Nothing that is read may catch this."""


@contextlib.contextmanager
def _seconds(limit: float):
    """Stop what computes for longer."""

    def stop(*_):
        raise _Slow

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, limit)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _fault(read, path: Path) -> str | None:
    """What is wrong about how a file is read or refused."""
    try:
        with _seconds(_SECONDS):
            read(path)
    except HomologError as error:
        message = str(error)
        if "\n" in message or len(message) > _LONGEST:
            return f"not one short line: {message[:200]!r} ({len(message)} characters)"
    except _Slow:
        return f"takes more than {_SECONDS} s"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:200]!r}"
    return None


def _peak() -> int:
    """The most memory that this process has had, in bytes, since `_forget_peak`."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _forget_peak() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("many", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_damaged_files_are_read_or_refused(tmp_path, name, many):
    folder, kept = tmp_path / "files", tmp_path / "faults"
    folder.mkdir()
    kind = KINDS[name](folder)
    whole = {path: path.read_bytes() for path in kind.files}
    for path in kind.files:
        kind.read(path)
    _forget_peak()
    before, faults = _peak(), []
    for number in range(kind.inputs, MANY) if many else range(kind.inputs):
        path = kind.files[number % len(kind.files)]
        content = damaged(whole[path], random.Random(f"{name} {number}"))
        path.write_bytes(content)
        fault = _fault(kind.read, path)
        path.write_bytes(whole[path])
        if fault is not None:
            kept.mkdir(exist_ok=True)
            (kept / f"{number}-{path.name}").write_bytes(content)
            faults.append(f"{number} ({path.name}): {fault}")
    more = [f"and {len(faults) - _SHOWN} more"] * (len(faults) > _SHOWN)
    assert not faults, "\n".join([f"the files are in {kept}", *faults[:_SHOWN], *more])
    assert _peak() - before < _MEMORY
