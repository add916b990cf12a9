"""ImageJ's tables of results (`.csv`, `.txt`, or `.xls` that is text): `X` and `Y` in each row.

The first column numbers the rows and has no name. Points are the landmarks in order. A column
`Label` names their image, perhaps followed by a colon and a name, which tells objects apart;
without it the image has the name of the table. y runs from the top, in pixels.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
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
from homolog.data.formats.landmarks.specimens import Point, Specimen, assemble, find_image
from homolog.data.formats.text import as_number, read_lines
from homolog.errors import HomologError
from homolog.utils.outputs import write_atomically


def read(path: Path, options: ReadOptions = ReadOptions()) -> LabelFile:
    """Read the points of a table of results.

    Raises:
        HomologError: the file cannot be read, a row is malformed, or an image is missing.
    """
    where = f"{options.argument}: {path}"
    rows = _rows(path, options.argument)
    header = _header(rows[0][1]) if rows else None
    if header is None:
        raise HomologError(f"{where}: expected a table of ImageJ with columns X and Y, got others")
    at_x, at_y, at_label = header["x"], header["y"], header.get("label")
    points: dict[str, list[Point]] = {}
    first_line: dict[str, int] = {}
    for number, row in rows[1:]:
        try:
            label = path.stem if at_label is None else row[at_label].strip()
            point = as_number(row[at_x]), as_number(row[at_y])
        except (IndexError, ValueError):
            raise HomologError(
                f"{where}, line {number}: expected numbers X and Y, got {', '.join(row)[:60]!r}"
            ) from None
        points.setdefault(label, []).append(point)
        first_line.setdefault(label, number)
    finder = options.finder(path)
    specimens = []
    for label, its_points in points.items():
        image = label
        if at_label is not None and ":" in label:
            try:
                find_image(label, finder)
            except HomologError:
                image = label.rpartition(":")[0]
        specimens.append(Specimen(f"line {first_line[label]}", image, its_points))
    return assemble(path, specimens, options, from_bottom=False)


def write(path: Path, document: Document, options: WriteOptions = WriteOptions()) -> list[str]:
    """Write labels as a table of results, with a column `Label` that names images and objects.

    Returns:
        What the format cannot hold, a line each, and which file is beside it.

    Raises:
        HomologError: the labels cannot be written as specimens, or the file cannot be written.
    """
    written = disassemble(path, document, options, "ImageJ", from_bottom=False)
    notes = [*written.notes, *name_landmarks(written, path, options.argument)]
    images = Counter(specimen.image for specimen in written.specimens)
    seen: dict[str, int] = {}
    rows: list[Sequence[object]] = [[" ", "Label", "X", "Y"]]
    for specimen in written.specimens:
        label = specimen.image
        if images[label] > 1:
            seen[label] = seen.get(label, 0) + 1
            label = f"{label}:{seen[label]}"
        for x, y in specimen.all_points:
            shown = ("NaN", "NaN") if x != x else (f"{x:.10g}", f"{y:.10g}")
            rows.append([len(rows), label, *shown])
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_atomically(path, text.getvalue().encode(), options.argument)
    return notes


def _rows(path: Path, argument: str) -> list[tuple[int, list[str]]]:
    """The fields of each line."""
    lines = read_lines(path, argument)
    first = lines[0][1] if lines else ""
    separator = "\t" if "\t" in first else ";" if ";" in first else ","
    rows = []
    for number, line in lines:
        try:
            rows.append((number, next(csv.reader([line], delimiter=separator))))
        except csv.Error as error:
            raise HomologError(f"{argument}: {path}, line {number}: {error}") from None
    return rows


def _header(fields: Sequence[str]) -> dict[str, int] | None:
    """The columns of a table of results by their names in lower case; None of another table."""
    names = [field.strip().lower() for field in fields]
    if not {"x", "y"} <= set(names) or {"image", "keypoint"} & set(names):
        return None
    return {name: index for index, name in enumerate(names)}


def _recognise(path: Path) -> bool:
    """Whether a table begins with a column without a name, and has columns X and Y."""
    try:
        rows = _rows(path, "labels")
    except HomologError:
        return False
    return bool(rows) and not rows[0][1][0].strip() and _header(rows[0][1]) is not None


_SUFFIXES = (".xls", ".csv", ".txt")

FORMAT = LabelFormat("imagej", "ImageJ (results)", _SUFFIXES, read, write, _recognise)
