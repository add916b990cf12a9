"""The `homolog` command: parses its arguments, calls the library, prints results."""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Sequence
from functools import partial

from homolog import __version__
from homolog.cli import process
from homolog.errors import HomologError

_LONGEST = 200  # characters of a value that are repeated in an error
_NARROWEST = 40  # columns that help and tables need to come to an end


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; a user's error prints one line and exits with status 2.

    Args:
        arguments: of the command; None for those of the process, whose signals are then heeded.
    """
    if arguments is None:
        process.run(partial(_run, sys.argv[1:]))
        return
    try:
        _run(list(arguments))
    except KeyboardInterrupt:
        sys.exit(130)


def _run(words: list[str]) -> None:
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="surrogateescape")  # names of files need not be UTF-8
    if words == ["--version"]:
        print(__version__)
        return
    if shutil.get_terminal_size().columns < _NARROWEST:
        os.environ["COLUMNS"] = str(_NARROWEST)
    # Imported late: what parses takes longer to import than --version may take.
    from cyclopts import CycloptsError

    from homolog.cli.commands import app
    from homolog.cli.errors import describe

    try:
        app.meta(words)
    except CycloptsError as error:
        line = describe(error)
    except HomologError as error:
        line = str(error)
    except OSError as error:
        if error.filename is None:
            raise
        line = f"file: expected one that can be used, got {error.filename}: {error.strerror}"
    else:
        return
    line = " ".join(line.split())
    for word in (*words, *line.split()):
        if len(word) > 1.5 * _LONGEST:
            line = line.replace(word, f"{word[:_LONGEST]}…")
    print(f"homolog: {line}", file=sys.stderr)
    sys.exit(2)
