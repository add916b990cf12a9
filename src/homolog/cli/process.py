"""The command as a process: signals, and readers of its output that leave or have no room.

Imported before anything that takes long, so that Ctrl-C is quiet from the beginning.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

# What printing raises, without the name of a file.
_NO_OUTPUT = (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def run(command: Callable[[], None]) -> None:
    """Run a command, and end as programs do.

    Ctrl-C ends with status 130 and SIGTERM with 143, both without a word, once temporary files are
    removed. A reader of the output that leaves, such as `head`, ends it with 1, as quietly; output
    that cannot be written is an error of one line and status 2.

    Args:
        command: exits by `SystemExit`, or returns.
    """
    with _heeded_signals() as received:
        try:
            command()
            if sys.stdout is not None:
                sys.stdout.flush()
        except SystemExit:
            _flush()
            raise
        except OSError as error:
            if received:
                sys.exit(_quiet(received[0]))
            if error.filename is not None or error.errno not in _NO_OUTPUT:
                raise
            sys.exit(_explain(error))
        except BaseException as error:
            # What is interrupted in the middle of an import may raise anything.
            if received or isinstance(error, KeyboardInterrupt):
                _flush()
                sys.exit(_quiet(received[0] if received else signal.SIGINT))
            raise


@contextlib.contextmanager
def _heeded_signals() -> Iterator[list[int]]:
    """Numbers of the signals that have told the process to end, while it heeds them."""
    received: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if _is_import(frame):
            # Modules in C print tracebacks by themselves, or take this for a broken installation.
            os._exit(128 + number)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + number)

    own = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    if threading.current_thread() is threading.main_thread():
        for number, handler in own.items():
            if signal.getsignal(number) == handler:  # not under nohup, for one
                signal.signal(number, end)
    yield received


def _is_import(frame: FrameType | None) -> bool:
    """Whether a module is being imported."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _quiet(number: int) -> int:
    """The status of a process that a signal has ended; from now on nothing is printed."""
    signal.signal(number, signal.SIG_DFL)
    sys.unraisablehook = lambda _: None
    threading.excepthook = lambda _: None
    return 128 + number


def _flush() -> None:
    """Write what was printed; says so in one line where that cannot be done."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        _explain(error)


def _explain(error: OSError) -> int:
    """Say why output cannot be written, unless nobody reads it; the status of the process."""
    nowhere = os.open(os.devnull, os.O_WRONLY)  # where the interpreter writes the rest
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(nowhere, sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            os.dup2(nowhere, sys.stderr.fileno())
        return 1
    with contextlib.suppress(OSError):
        print(f"homolog: output: cannot be written: {error.strerror}", file=sys.stderr)
    return 2
