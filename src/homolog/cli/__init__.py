"""The `homolog` command: parses its arguments, calls the library, prints results."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence

from homolog import __version__
from homolog.errors import HomologError


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; a user's error prints one line and exits with status 2."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="surrogateescape")  # names of files need not be UTF-8
    if words == ["--version"]:
        print(__version__)
        return
    # Imported late: what parses takes longer to import than --version may take.
    from cyclopts import CycloptsError

    from homolog.cli.commands import app
    from homolog.cli.errors import describe

    try:
        app.meta(words)
    except (CycloptsError, HomologError) as error:
        line = describe(error) if isinstance(error, CycloptsError) else str(error)
        print(f"homolog: {' '.join(line.split())}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
