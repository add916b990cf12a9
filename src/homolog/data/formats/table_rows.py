"""The rows of tables of keypoints: their headings, objects and keypoints, without their images."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from homolog.data.formats.entries import InstanceId, as_instance
from homolog.errors import HomologError
from homolog.utils.delimited import (
    COLUMNS,
    MISSING,
    DelimitedRows,
    column_key,
    find_columns,
    read_text,
    split_rows,
    visibility,
)

DEFAULT_CATEGORY = "thing"
"""Of rows without a category; it is in files that were written with it, so it stays."""

_UNLABELLED = ((-1.0, -1.0), (0.0, 0.0))
"""What tools write for keypoints that are not labelled, in tables without visibilities."""

_ROW_NUMBERS = ("", "id", "index", "row", "no", "nr", "unnamed:_0")
_KEYPOINT = ("image", "keypoint", "x", "y", "category", "instance", "v", "score")
_OBJECT = ("image", "category", "instance")
_SUFFIXES = {name: COLUMNS[name] for name in ("v", "score")} | {"x": ("x",), "y": ("y",)}
_OF_KEYPOINT = re.compile(
    rf"(.+)[ _.-]({'|'.join(key for keys in _SUFFIXES.values() for key in keys)})",
    re.IGNORECASE | re.DOTALL,
)

Row = tuple[float, float, int]
"""x and y in pixels and v of a keypoint: 0 not labelled, 1 occluded, 2 visible."""


@dataclass(frozen=True)
class TableObject:
    """An object of a table.

    Attributes:
        line: the first one of it.
        image: the name of its image as the table has it.
        category: its category.
        instance: its id; None where the table has none.
        points: its keypoints by their names; those that are not labelled have v = 0.
        lines: those of the keypoints.
        scores: of the keypoints that have one.
    """

    line: int
    image: str
    category: str
    instance: InstanceId | None
    points: dict[str, Row] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """What a table holds.

    Attributes:
        images: the names of all images, those without objects among them, and their first lines.
        objects: in the order of the table.
        notes: what was decided or left out in reading, a line each.
    """

    images: dict[str, int]
    objects: list[TableObject]
    notes: list[str]


def parse(path: Path, argument: str, problems: list[str] | None = None) -> Table:
    """Read a table of keypoints without looking for its images.

    Args:
        path: the table.
        argument: what error messages call it.
        problems: gets a line for each row that is malformed, in place of an error for the first.

    Raises:
        HomologError: the file cannot be read, or a row is malformed.
    """
    try:
        rows = split_rows(read_text(path))
    except (OSError, ValueError) as error:
        raise HomologError(f"{argument}: expected a CSV table {path}, got: {error}") from None
    where = f"{argument}: {path}"
    if not rows.rows:
        raise HomologError(f"{where}: expected a heading with image, keypoint, x and y, got none")
    number, heading = rows.rows[0]
    try:
        layout = find_layout(heading)
    except ValueError as error:
        raise HomologError(f"{where}, line {number}: {error}") from None
    parser = _Parser(heading, layout, rows)
    for number, cells in rows.rows[1:]:
        try:
            parser.read(number, cells)
        except ValueError as error:
            if problems is None:
                raise HomologError(f"{where}, line {number}: {error}") from None
            problems.append(f"{path}, line {number}: {error}")
    return Table(parser.images, list(parser.objects.values()), parser.notes())


@dataclass(frozen=True)
class Layout:
    """Which columns of a table mean what.

    Attributes:
        columns: by their meaning, those that are not of one keypoint.
        keypoints: in a wide table the columns of each keypoint by their meaning, by its name.
        flag: whether `v` is called something else, which may mean only visible or not.
    """

    columns: Mapping[str, int]
    keypoints: Mapping[str, Mapping[str, int]]
    flag: bool


def find_layout(heading: Sequence[str]) -> Layout:
    """The columns of a heading.

    Raises:
        ValueError: they are not those of a table of keypoints.
    """
    keys = [column_key(cell) for cell in heading]
    got = ", ".join(heading)
    got = got if len(got) <= 200 else f"{got[:199]}…"
    if "region_shape_attributes" in keys:
        raise ValueError("expected a table of keypoints, got one of VIA; try its COCO export")
    if keys[0] == "scorer":
        raise ValueError("expected a table of keypoints, got one of DeepLabCut; try its format")
    expected = "image, keypoint, x and y, or image and nose_x and nose_y for each keypoint"
    if "image" not in find_columns(heading, ["image"]):
        raise ValueError(f"expected a heading with {expected}, got {got!r}")
    if find_columns(heading, ["keypoint"]):
        columns = find_columns(heading, _KEYPOINT)
        if {"x", "y"} <= {*columns}:
            return Layout(columns, {}, "v" in columns and keys[columns["v"]] != "v")
    keypoints: dict[str, dict[str, int]] = {}
    flag = False
    for index, cell in enumerate(heading):
        match = _OF_KEYPOINT.fullmatch(cell.strip())
        if match:
            name, suffix = match[1], match[2].lower()
            meaning = next(key for key, known in _SUFFIXES.items() if suffix in known)
            if meaning in keypoints.setdefault(name, {}):
                raise ValueError(f"expected each column once, got {cell!r} again")
            keypoints[name][meaning] = index
            flag = flag or (meaning == "v" and suffix != "v")
    keypoints = {name: each for name, each in keypoints.items() if {"x", "y"} <= {*each}}
    if not keypoints or {"x", "y"} <= {*keys}:
        raise ValueError(f"expected a heading with {expected}, got {got!r}")
    return Layout(find_columns(heading, _OBJECT), keypoints, flag)


class _Parser:
    """Reads the rows of a table.

    Args:
        heading: of the table.
        layout: what its columns mean.
        table: all rows.
    """

    def __init__(self, heading: Sequence[str], layout: Layout, table: DelimitedRows):
        self.images: dict[str, int] = {}
        self.objects: dict[tuple[str, str, InstanceId | int | None], TableObject] = {}
        self._heading = heading
        self._layout = layout
        self._table = table
        self._counted: Counter[str] = Counter()
        used = {
            *layout.columns.values(),
            *(i for of in layout.keypoints.values() for i in of.values()),
        }
        self._unread = [
            cell
            for index, cell in enumerate(heading)
            if index not in used and column_key(cell) not in _ROW_NUMBERS
        ]
        columns = [of["v"] for of in [layout.columns, *layout.keypoints.values()] if "v" in of]
        states = {cells[i] for _, cells in table.rows[1:] for i in columns if i < len(cells)}
        self._flag = layout.flag and not any(state.startswith("2") for state in states)

    def notes(self) -> list[str]:
        """What was decided or left out."""
        lines = [f"{kind}: {number}" for kind, number in self._counted.items()]
        if self._unread:
            lines.append(f"columns that are not read: {', '.join(self._unread)}")
        return lines

    def read(self, number: int, cells: list[str]) -> None:
        """Read a row.

        Raises:
            ValueError: it is malformed.
        """
        if any(cells[len(self._heading) :]):
            raise ValueError(f"expected {len(self._heading)} values, got {len(cells)}")
        cells = [*cells, *[""] * (len(self._heading) - len(cells))]
        given = {name: cells[index] for name, index in self._layout.columns.items()}
        if not given["image"]:
            raise ValueError("expected the name of an image, got none")
        if self._layout.keypoints:
            self._read_object(number, given, cells)
        else:
            self._read_keypoint(number, given)

    def _object(self, number: int, given: Mapping[str, str], own: bool) -> TableObject:
        """The object of a row.

        Args:
            number: of the line.
            given: the cells by their meaning.
            own: whether each row has an object of its own.
        """
        image = given["image"]
        category = given.get("category") or DEFAULT_CATEGORY
        instance = as_instance(given["instance"]) if given.get("instance") else None
        self.images.setdefault(image, number)
        key = image, category, number if own and instance is None else instance
        if own and key in self.objects:
            raise ValueError(f"expected each object of {image} once, got {instance!r} again")
        return self.objects.setdefault(key, TableObject(number, image, category, instance))

    def _read_keypoint(self, number: int, given: Mapping[str, str]) -> None:
        """Read a row of a long table."""
        name = given["keypoint"]
        row = self._row(given)
        if not name:  # of an image without objects
            if row is not None and row[2]:
                raise ValueError("expected the name of a keypoint, got none")
            self.images.setdefault(given["image"], number)
            return
        found = self._object(number, given, own=False)
        if name in found.points:
            raise ValueError(
                f"expected each keypoint of {found.image} once, got {name!r} again"
                + ("; try a column instance" if found.instance is None else "")
            )
        self._add(found, name, row or (0.0, 0.0, 0), number, given)

    def _read_object(self, number: int, given: Mapping[str, str], cells: Sequence[str]) -> None:
        """Read a row of a wide table."""
        rows = {}
        for name, columns in self._layout.keypoints.items():
            own = {meaning: cells[index] for meaning, index in columns.items()}
            try:
                row = self._row(own)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
            if row is not None:
                rows[name] = row, own
        if not rows and not given.get("category") and not given.get("instance"):
            self.images.setdefault(given["image"], number)
            return
        found = self._object(number, given, own=True)
        for name, (row, own) in rows.items():
            self._add(found, name, row, number, own)

    def _add(
        self, found: TableObject, name: str, row: Row, number: int, given: Mapping[str, str]
    ) -> None:
        found.points[name], found.lines[name] = row, number
        score = given.get("score", "")
        if score.lower() not in MISSING:
            found.scores[name] = self._table.number(score)

    def _row(self, given: Mapping[str, str]) -> Row | None:
        """x, y and v of a keypoint; None if a table with visibilities has nothing of it."""
        seen = visibility(given["v"], self._flag) if "v" in given else None
        values = given["x"], given["y"]
        missing = [value.lower() in MISSING for value in values]
        if all(missing):
            if seen:
                raise ValueError(f"expected x and y where v is {given['v']}, got none")
            return None if "v" in given and seen is None else (0.0, 0.0, 0)
        try:
            x, y = (self._table.number(value) for value in values)
        except ValueError:
            raise ValueError(
                f"expected numbers as x and y, got {values[0]!r}, {values[1]!r}"
            ) from None
        if seen == 0:
            if (x, y) not in _UNLABELLED:
                self._counted["keypoints with coordinates that are not labelled, for v is 0"] += 1
            return 0.0, 0.0, 0
        if seen is None and (x, y) in _UNLABELLED:
            self._counted[f"keypoints at ({x:g}, {y:g}), which count as not labelled"] += 1
            return 0.0, 0.0, 0
        return x, y, 2 if seen is None else int(seen)
