"""Text of files with numbers: lines of any system, decimal commas, words for what is missing."""

from __future__ import annotations

import math
import re
from pathlib import Path

from homolog.data.reading import unreadable
from homolog.errors import HomologError

_LINE_END = re.compile(r"\r\n?|\n")
_NO_TEXT = "\0\x1a\ufeff"  # the second one ends files of DOS
_ABSENT = {"", "na", "nan", "n/a", "null", "none", "-", "."}


def read_lines(path: Path, argument: str) -> list[tuple[int, str]]:
    """The lines of a text file that are not blank, with their numbers from 1 on.

    Its text is UTF-8, UTF-16 with a byte order mark, or else Windows-1252, and lines end as on any
    system.

    Raises:
        HomologError: it cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise HomologError(f"{argument}: {unreadable(path, error)}") from error
    encodings = ("utf-16",) if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig", "cp1252")
    text = data.decode("latin-1")
    for encoding in encodings:
        try:
            text = data.decode(encoding)
            break
        except UnicodeDecodeError:
            continue
    lines = (line.strip(_NO_TEXT) for line in _LINE_END.split(text))
    return [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]


def as_number(text: str) -> float:
    """A coordinate, perhaps with a decimal comma; NaN for `NA` and the like.

    Raises:
        ValueError: it is no number.

    >>> as_number("12,5"), as_number("NA")
    (12.5, nan)
    """
    if text.strip().lower() in _ABSENT:
        return math.nan
    value = float(text.replace(",", "."))
    if "_" in text or not math.isfinite(value):  # which Python takes for numbers
        raise ValueError(f"expected a number, got {text!r}")
    return value


def format_number(value: float) -> str:
    """A coordinate as text, to a hundred-millionth of a pixel; `NA` where it is missing.

    >>> format_number(12.50), format_number(float("nan"))
    ('12.5', 'NA')
    """
    return "NA" if math.isnan(value) else f"{value:.8f}".rstrip("0").rstrip(".")
