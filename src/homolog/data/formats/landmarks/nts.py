"""NTS files (`.nts`, `.dta`) of NTSYSpc, geomorph, Landmark Editor and others.

Comments begin with a quotation mark. The header is `1 n p·k 0 DIM=2`, or `1 n p·k 1 code DIM=2`
where a number marks missing values; `L` after n and p·k says that labels of rows and columns
precede the values, `B` or `E` after n that the label of a row is at its beginning or end. Row
labels name the images. y runs from the bottom edge of the image.

The missing code in headers written by some tools lies. Other codes in use count as well.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

from homolog.data.formats.document import (
    Document,
    LabelFile,
    LabelFormat,
    ReadOptions,
    WriteOptions,
)
from homolog.data.formats.landmarks.output import disassemble, name_landmarks
from homolog.data.formats.landmarks.specimens import Point, Specimen, assemble
from homolog.data.formats.text import as_number, format_number, read_lines
from homolog.errors import HomologError
from homolog.utils.outputs import write_atomically

_HEADER = re.compile(
    r"1\s+(?P<rows>\d{1,18})\s*(?P<row_labels>[LBE]?)\s+(?P<columns>\d{1,18})\s*(?P<column_labels>L?)"
    r"(?:\s+(?P<missing>[01])(?:\s+(?P<code>[-+.\dE]+|NA))?)?(?:\s+DIM\s*=\s*(?P<dim>\d{1,9}))?",
    re.IGNORECASE,
)
_CODE = -999
"""What marks missing values in the files that are written."""
_CODES = {9999.0, 99999.0, 999.0}
"""Numbers that mark missing values although no header says so, where x and y both are one."""


def read(path: Path, options: ReadOptions = ReadOptions()) -> LabelFile:
    """Read the specimens of an NTS file.

    Raises:
        HomologError: the file cannot be read, its header does not fit its values, rows have no
            labels, or an image is missing.
    """
    where = f"{options.argument}: {path}"
    stripped = ((at, line.strip()) for at, line in read_lines(path, options.argument))
    lines = [(at, line) for at, line in stripped if line[0] not in "\"'"]
    if not lines:
        raise HomologError(f"{where}: expected an NTS file, got no header")
    at, text = lines[0]
    header = _HEADER.fullmatch(" ".join(text.split()))
    if header is None:
        raise HomologError(
            f"{where}, line {at}: expected a header such as 1 10L 24 0 DIM=2, got {text[:60]!r}"
        )
    rows, columns, dim = int(header["rows"]), int(header["columns"]), int(header["dim"] or 2)
    if dim != 2 or columns % 2:
        raise HomologError(
            f"{where}, line {at}: expected x and y of each landmark (DIM=2), got {text!r}"
        )
    kind = header["row_labels"].upper()
    if not kind:
        raise HomologError(
            f"{where}, line {at}: expected labels of rows that name the images (such as "
            f"{rows}L), got none"
        )
    labels, values = _labels_and_values(where, lines[1:], header)
    code = None
    if header["missing"] == "1" and header["code"] and header["code"].upper() != "NA":
        try:
            code = as_number(header["code"])
        except ValueError:
            raise HomologError(
                f"{where}, line {at}: expected a number that marks missing values, got "
                f"{header['code'][:60]}"
            ) from None
    specimens = []
    guessed = 0
    for row, label in enumerate(labels):
        points: list[Point] = []
        for column in range(columns * row, columns * (row + 1), 2):
            x, y = values[column], values[column + 1]
            lies = x == y and x in _CODES and x != code
            guessed += lies
            points.append((math.nan, math.nan) if lies or (x == y == code) else (x, y))
        specimens.append(Specimen(f"row {row + 1} ({label})", label, points))
    notes = [f"{path}: y is taken to run from the bottom of the images, as in TPS files"]
    if guessed:
        notes.append(
            f"{path}: landmarks with a missing code that the header does not name: {guessed}"
        )
    return assemble(path, specimens, options, notes)


def _labels_and_values(
    where: str, lines: list[tuple[int, str]], header: re.Match[str]
) -> tuple[list[str], list[float]]:
    """The labels of rows, and all values, a row after the other."""
    rows, columns = int(header["rows"]), int(header["columns"])
    kind = header["row_labels"].upper()
    named = columns if header["column_labels"] else 0
    labels: list[str] = []
    tokens = [token for _, text in lines for token in text.split()]
    wanted = rows * columns
    if kind == "L" and len(tokens) != rows + named + wanted and len(lines) >= rows:
        # Labels with blanks, a line each.
        labels = [text for _, text in lines[:rows]]
        tokens = [token for _, text in lines[rows:] for token in text.split()]
    elif kind == "L":
        labels, tokens = tokens[:rows], tokens[rows:]
    tokens = tokens[named:]
    if kind in "BE" and len(tokens) == rows * (columns + 1):
        starts = range(0, len(tokens), columns + 1)
        label_at, values_at = (0, 1) if kind == "B" else (columns, 0)
        labels = [tokens[start + label_at] for start in starts]
        tokens = [t for s in starts for t in tokens[s + values_at : s + values_at + columns]]
    if len(tokens) != wanted or len(labels) != rows:
        raise HomologError(
            f"{where}: expected {rows} labels and {rows} x {columns} numbers, as the header says, "
            f"got {len(labels)} and {len(tokens)}"
        )
    try:
        return labels, [as_number(token) for token in tokens]
    except ValueError as error:
        raise HomologError(f"{where}: expected numbers after the labels, got: {error}") from None


def write(path: Path, document: Document, options: WriteOptions = WriteOptions()) -> list[str]:
    """Write labels as an NTS file; row labels are the names of images.

    Returns:
        What the format cannot hold, a line each, and which file is beside it.

    Raises:
        HomologError: the labels cannot be written as specimens, or the file cannot be written.
    """
    written = disassemble(path, document, options, "NTS")
    notes = [*written.notes, *name_landmarks(written, path, options.argument)]
    if written.curves:
        notes.append("NTS tells no semilandmarks from landmarks, which they follow here")
    rows, blanks = [], 0
    for specimen in written.specimens:
        rows.append([value for point in specimen.all_points for value in point])
        blanks += any(char.isspace() for char in specimen.image)
    if blanks:
        notes.append(
            f"names of images with blanks: {blanks}; geomorph takes each word of them for a label"
        )
    missing = any(math.isnan(value) for row in rows for value in row)
    flag = f"1 {_CODE}" if missing else "0"
    labels = [specimen.image for specimen in written.specimens]
    lines = [f"1 {len(rows)}L {len(rows[0])} {flag} DIM=2", *labels]
    for row in rows:
        texts = [str(_CODE) if math.isnan(value) else format_number(value) for value in row]
        lines.append(" ".join(texts))
    write_atomically(path, ("\n".join(lines) + "\n").encode(), options.argument)
    return notes


FORMAT = LabelFormat("nts", "NTS (NTSYSpc, geomorph)", (".nts", ".dta"), read, write)
