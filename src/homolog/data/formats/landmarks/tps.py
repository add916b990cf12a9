"""TPS files (`.tps`), as tpsDig, geomorph and others write them.

Specimen after specimen: `LM=n` and n lines `x y`, perhaps `CURVES=k` and for each curve `POINTS=m`
and m lines, and lines `KEY=value`: `IMAGE`, `ID`, `SCALE`, `COMMENT`, `VARIABLES` and others. y
runs from the bottom edge of the image: y from the top is its height less y. `NA` and negative
numbers mark missing landmarks.

What is not coordinates or `IMAGE` is kept as the attributes of an annotation, in order: text, with
a line for each where a key is repeated; or, where lines without a key follow, a list of the value
and these lines.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from homolog.data.formats.document import (
    Document,
    LabelFile,
    LabelFormat,
    ReadOptions,
    WriteOptions,
)
from homolog.data.formats.landmarks import curves
from homolog.data.formats.landmarks.output import disassemble, name_landmarks
from homolog.data.formats.landmarks.specimens import Point, Specimen, assemble
from homolog.data.formats.text import as_number, format_number, read_lines
from homolog.errors import HomologError
from homolog.utils.outputs import write_atomically

_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_. -]*")
_DIGITS = 18  # of a whole number
_NUMBER = re.compile(rf"[0-9]{{1,{_DIGITS}}}")
_STRUCTURE = {"LM", "LM3", "CURVES", "POINTS", "IMAGE"}
"""The keys that are not attributes."""


def read(path: Path, options: ReadOptions = ReadOptions()) -> LabelFile:
    """Read the specimens of a TPS file.

    Raises:
        HomologError: the file cannot be read, a line is malformed, specimens differ in their number
            of landmarks, or an image is missing.
    """
    where = f"{options.argument}: {path}"
    parser = _Parser(where)
    for number, line in read_lines(path, options.argument):
        parser.add(number, line.strip())
    specimens, empty = [], []
    for raw in parser.finish():
        if raw.landmarks or raw.curves:
            specimens.append(raw.specimen(where))
        elif raw.image:
            empty.append(raw.image)
    return assemble(path, specimens, options, unlabelled=empty)


def write(path: Path, document: Document, options: WriteOptions = WriteOptions()) -> list[str]:
    """Write labels as a TPS file, with `curveslide.csv` beside it where there are curves.

    Returns:
        What the format cannot hold, a line each, and which files are beside it.

    Raises:
        HomologError: the labels cannot be written as specimens, or the file cannot be written.
    """
    written = disassemble(path, document, options, "TPS", attributes=True)
    notes = [*written.notes, *name_landmarks(written, path, options.argument)]
    lines: list[str] = []
    refused: set[str] = set()
    scaled = 0
    numbers = _free_numbers(written.specimens)
    for specimen in written.specimens:
        lines.append(f"LM={len(specimen.points)}")
        lines += map(_row, specimen.points)
        if specimen.curves:
            lines.append(f"CURVES={len(specimen.curves)}")
            for curve in specimen.curves:
                lines.append(f"POINTS={len(curve)}")
                lines += map(_row, curve)
        lines.append(f"IMAGE={specimen.image}")
        attributes = specimen.attributes if isinstance(specimen.attributes, dict) else {}
        keys = {key.upper() for key in attributes if isinstance(key, str)}
        scaled += "SCALE" in keys
        if "ID" not in keys:
            lines.append(f"ID={next(numbers)}")
        for key, value in attributes.items():
            found = _attribute(key, value)
            lines += found
            if not found:
                refused.add(str(key))
    if refused:
        notes.append(f"TPS has no place for these attributes: {', '.join(sorted(refused))}")
    if 0 < scaled < len(written.specimens):
        notes.append(
            f"specimens without SCALE: {len(written.specimens) - scaled} of "
            f"{len(written.specimens)}; geomorph scales none unless all have it"
        )
    counts = [len(curve) for curve in written.curves]
    write_atomically(path, ("\n".join(lines) + "\n").encode(), options.argument)
    if curves.sliders(0, counts):
        table = curves.write_sliders(path, len(written.landmarks), counts, options.argument)
        notes.append(f"the sliders of the curves, for geomorph, are in {table.name} beside it")
    return notes


def _free_numbers(specimens: Sequence[Specimen]) -> Iterator[int]:
    """Numbers for specimens without an ID, from 0 or from the largest that another one has."""
    given = (each.attributes.get("ID") for each in specimens if isinstance(each.attributes, dict))
    taken = [int(text) for text in map(str, given) if _NUMBER.fullmatch(text)]
    return itertools.count(max(taken, default=-1) + 1)


class _Raw:
    """A specimen as far as it has been read."""

    def __init__(self, number: int, count: int):
        self.number = number
        self.count = count
        self.landmarks: list[Point] = []
        self.curve_total: tuple[int, int] | None = None  # line and value of CURVES
        self.curves: list[tuple[int, int, list[Point]]] = []  # line and value of POINTS
        self.image = ""
        self.attributes: dict[str, Any] = {}

    def check(self, where: str) -> None:
        """Check that there are as many lines as the keys say."""
        sections = [(self.number, "LM", self.count, len(self.landmarks))]
        if self.curve_total is not None:
            line, total = self.curve_total
            sections.append((line, "CURVES", total, len(self.curves)))
        sections += [(line, "POINTS", count, len(rows)) for line, count, rows in self.curves]
        for line, key, expected, found in sections:
            if expected != found:
                what = "curves" if key == "CURVES" else "lines x y"
                raise HomologError(
                    f"{where}, line {line}: {key}={expected}: expected {expected} {what}, "
                    f"got {found}"
                )

    def specimen(self, where: str) -> Specimen:
        """The specimen, whose image is named by `ID` where it has no `IMAGE`."""
        image = self.image or str(self.attributes.get("ID", ""))
        if not image:
            raise HomologError(
                f"{where}, line {self.number}: expected IMAGE= or an ID= that names the specimen's "
                "image, got neither"
            )
        drawn = [rows for _, _, rows in self.curves]
        return Specimen(f"line {self.number}", image, self.landmarks, drawn, self.attributes)


class _Parser:
    """Takes the lines of a TPS file one after the other."""

    def __init__(self, where: str):
        self._where = where
        self._specimens: list[_Raw] = []
        self._rows: list[Point] | None = None  # where coordinates go, None after other keys
        self._key = ""  # the attribute read last

    def add(self, number: int, line: str) -> None:
        """Add a line that is not empty."""
        key, equals, value = line.partition("=")
        key, value = key.strip(), value.strip()
        if not equals:
            self._add_row(number, line)
        elif _KEY.fullmatch(key) is None:
            raise self._error(number, "expected x and y or KEY=value", line)
        elif key.upper() in ("LM", "LM3"):
            if key.upper() == "LM3":
                raise self._error(number, "expected landmarks in two dimensions (LM=)", line)
            self.finish()
            self._specimens.append(_Raw(number, self._count(number, key, value)))
            self._rows = self._specimens[-1].landmarks
        elif not self._specimens:
            raise self._error(number, "expected a specimen to begin with LM=", line)
        else:
            self._add_value(number, key, value)

    def finish(self) -> list[_Raw]:
        """All specimens; the last one is checked."""
        if self._specimens:
            self._specimens[-1].check(self._where)
        return self._specimens

    def _add_value(self, number: int, key: str, value: str) -> None:
        """Add what a key other than LM says of the specimen."""
        specimen, upper = self._specimens[-1], key.upper()
        self._rows, self._key = None, ""
        if upper == "CURVES":
            specimen.curve_total = number, self._count(number, key, value)
        elif upper == "POINTS":
            specimen.curves.append((number, self._count(number, key, value), []))
            self._rows = specimen.curves[-1][2]
        elif upper == "IMAGE":
            specimen.image = value
        else:
            name = upper if upper in ("ID", "SCALE", "COMMENT", "VARIABLES") else key
            before = specimen.attributes.get(name)
            if isinstance(before, list):
                raise self._error(number, f"expected {name}= once with lines below it", value)
            specimen.attributes[name] = value if before is None else f"{before}\n{value}"
            self._key = name

    def _add_row(self, number: int, line: str) -> None:
        """Add a line without a key."""
        if not self._specimens:
            raise self._error(number, "expected a specimen to begin with LM=", line)
        specimen = self._specimens[-1]
        if self._rows is None:
            if not self._key:
                raise self._error(number, "expected KEY=value", line)
            before = specimen.attributes[self._key]
            if isinstance(before, list):
                before.append(line)
            else:
                specimen.attributes[self._key] = [before, line]
            return
        fields = line.split()
        try:
            x, y = map(float, fields)  # most lines, quickly
            if math.isfinite(x + y) and "_" not in line:
                self._rows.append((x, y))
                return
        except ValueError:
            pass
        if len(fields) == 1:
            # Semicolons, or commas that are not decimal ones.
            fields = line.split(";") if ";" in line else line.split(",")
        try:
            x, y = (as_number(text.strip(",;")) for text in fields)
        except ValueError:
            raise self._error(number, "expected x and y", line) from None
        self._rows.append((x, y))

    def _count(self, number: int, key: str, value: str) -> int:
        if not value.isdecimal() or len(value) > _DIGITS:
            raise self._error(number, f"expected {key}= with a whole number", value)
        return int(value)

    def _error(self, number: int, expected: str, found: str) -> HomologError:
        shown = found if len(found) <= 60 else f"{found[:60]}…"
        return HomologError(f"{self._where}, line {number}: {expected}, got {shown!r}")


def _row(point: Point) -> str:
    if point[0] != point[0]:
        return "NA NA"
    return f"{format_number(point[0])} {format_number(point[1])}"


def _attribute(key: Any, value: Any) -> list[str]:
    """The lines of an attribute, none if a TPS file cannot hold it."""
    if not isinstance(key, str) or not _KEY.fullmatch(key) or key.upper() in _STRUCTURE:
        return []
    if isinstance(value, list):
        if not value or not all(isinstance(line, str) and _one_line(line) for line in value):
            return []
        if any("=" in line or not line.strip() for line in value[1:]) or len(value) < 2:
            return []
        return [f"{key}={value[0]}", *value[1:]]
    if isinstance(value, (str, int, float)) and not isinstance(value, bool):
        lines = str(value).split("\n")
        return [f"{key}={line}" for line in lines] if all(map(_one_line, lines)) else []
    return []


def _one_line(text: str) -> bool:
    return len(text.splitlines()) <= 1 and not re.search("[\ud800-\udfff\0]", text)


FORMAT = LabelFormat("tps", "TPS (tpsDig, geomorph)", (".tps",), read, write)
