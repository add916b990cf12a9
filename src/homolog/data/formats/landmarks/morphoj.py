"""MorphoJ's row/column files (`.txt`): a row for each specimen, its label and x and y in columns.

Columns are separated by tabs, commas or semicolons. The first line may name them. Labels name the
images, with their suffixes or without. y runs from the bottom edge of the image.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

from homolog.data.formats.document import (
    Document,
    LabelFile,
    LabelFormat,
    ReadOptions,
    WriteOptions,
)
from homolog.data.formats.landmarks.output import disassemble, name_landmarks
from homolog.data.formats.landmarks.specimens import Specimen, assemble
from homolog.data.formats.text import as_number, format_number, read_lines
from homolog.errors import HomologError
from homolog.utils.outputs import write_atomically

_AXIS = re.compile(r"(?P<x>[xy])[\s_.-]*(?P<name>.*)|(?P<name_>.*?)[\s_.-]*(?P<x_>[xy])", re.I)

_LONGEST = 200  # characters in the name of a column


def read(path: Path, options: ReadOptions = ReadOptions()) -> LabelFile:
    """Read the specimens of a MorphoJ file.

    Raises:
        HomologError: the file cannot be read, a row is malformed, or an image is missing.
    """
    where = f"{options.argument}: {path}"
    rows = _rows(read_lines(path, options.argument))
    if not rows:
        raise HomologError(f"{where}: expected a row for each specimen, got none")
    names = None
    if not all(_is_number(text) for text in rows[0][1][1:]):
        names = _names(where, *rows.pop(0))
    specimens = []
    for number, (label, *texts) in rows:
        if not label or not texts or len(texts) % 2:
            raise HomologError(
                f"{where}, line {number}: expected a label, and x and y of each landmark, got "
                f"{len(texts)} numbers of {label!r}"
            )
        if names is not None and len(texts) != 2 * len(names):
            raise HomologError(
                f"{where}, line {number}: expected {2 * len(names)} numbers, as the first line has "
                f"columns, got {len(texts)}"
            )
        try:
            values = [as_number(text) for text in texts]
        except ValueError as error:
            raise HomologError(f"{where}, line {number}: {error}") from None
        points = list(zip(values[::2], values[1::2], strict=True))
        specimens.append(Specimen(f"line {number}", label, points))
    notes = [f"{path}: y is taken to run from the bottom of the images, as in TPS files"]
    return assemble(path, specimens, options, notes, names)


def _rows(lines: Sequence[tuple[int, str]]) -> list[tuple[int, list[str]]]:
    """The fields of each line, without empty ones at its end."""
    first = lines[0][1] if lines else ""
    separator = "\t" if "\t" in first else ";" if ";" in first else ","
    rows = []
    for number, line in lines:
        try:
            fields = [field.strip() for field in next(csv.reader([line], delimiter=separator))]
        except csv.Error as error:
            fields = [f"{error}"]
        while len(fields) > 1 and not fields[-1]:
            fields.pop()
        rows.append((number, fields))
    return rows


def _names(where: str, number: int, header: Sequence[str]) -> list[str]:
    """The names of landmarks as the first line has them.

    Raises:
        HomologError: its columns are not x and y of one landmark after the other.
    """
    found = [_AXIS.fullmatch(text) if len(text) < _LONGEST else None for text in header[1:]]
    axes = [((m["x"] or m["x_"]).lower(), m["name"] or m["name_"] or "") for m in found if m]
    if len(axes) != len(header) - 1 or [axis for axis, _ in axes] != ["x", "y"] * (len(axes) // 2):
        raise HomologError(
            f"{where}, line {number}: expected columns x and y of one landmark after the other, "
            f"got {', '.join(header[1:4])} …"
        )
    names = [name for _, name in axes[::2]]
    if names != [name for _, name in axes[1::2]] or len(set(names)) != len(names):
        return [str(n) for n in range(1, len(names) + 1)]
    return names


def _is_number(text: str) -> bool:
    try:
        as_number(text)
    except ValueError:
        return False
    return True


def write(path: Path, document: Document, options: WriteOptions = WriteOptions()) -> list[str]:
    """Write labels as a MorphoJ file; labels of rows are the names of images.

    Returns:
        What the format cannot hold, a line each, and which file is beside it.

    Raises:
        HomologError: the labels cannot be written as specimens, or the file cannot be written.
    """
    written = disassemble(path, document, options, "MorphoJ")
    notes = [*written.notes, *name_landmarks(written, path, options.argument)]
    if written.curves:
        notes.append("MorphoJ tells no semilandmarks from landmarks, which they follow here")
    rows = []
    for specimen in written.specimens:
        rows.append(
            [specimen.image, *(format_number(v) for point in specimen.all_points for v in point)]
        )
    missing = sum(row.count("NA") for row in rows) // 2
    if missing:
        notes.append(f"MorphoJ reads no missing landmarks, which are NA here: {missing}")
    columns = [f"{axis}{n}" for n in range(1, len(rows[0]) // 2 + 1) for axis in "xy"]
    text = io.StringIO()
    csv.writer(text, "excel-tab", lineterminator="\n").writerows([["ID", *columns], *rows])
    write_atomically(path, text.getvalue().encode(), options.argument)
    return notes


def _recognise(path: Path) -> bool:
    """Whether a file has a label and an even number of columns in its first row of numbers."""
    try:
        rows = _rows(read_lines(path, "labels"))[:2]
    except HomologError:
        return False
    return any(
        len(row) >= 3 and len(row) % 2 == 1 and all(map(_is_number, row[1:])) for _, row in rows
    )


FORMAT = LabelFormat("morphoj", "MorphoJ (row/column)", (".txt",), read, write, _recognise)
