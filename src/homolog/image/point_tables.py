"""Tables of points, with a heading or without one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from homolog.utils.delimited import (
    MISSING,
    DelimitedRows,
    column_key,
    find_columns,
    split_rows,
    visibility,
)

_AXES = re.compile(r"axis_(\d+)")
_TRY = "try a heading with x and y"


@dataclass(frozen=True)
class FilePoint:
    """A point as a file gives it.

    Attributes:
        location: where it is in the file.
        x: None where the point is not labelled.
        y: likewise.
        name: None where it has none.
    """

    location: str
    x: float | None
    y: float | None
    name: str | None = None


def from_table(text: str) -> list[FilePoint]:
    """The points of a table.

    Without a heading, lines are x, y and perhaps a name; or a name, x and y; or x, y and a
    visibility of 0, 1 or 2.

    Raises:
        ValueError: it is not clearly a table of points; the message names the line.
    """
    table = split_rows(text, comments=True)
    if not table.rows:
        return []
    heading = _heading(table)
    if heading is None:
        return _without_heading(table)
    rows = table.rows if _is_data(table, table.rows[0][1]) else table.rows[1:]
    if rows and all(len(cells) == len(heading) + 1 and cells[-1] for _, cells in rows):
        # R writes names of rows without a heading, which are numbers by default.
        first = [cells[0] for _, cells in rows]
        if not any(map(table.is_number, first)):
            heading = ["name", *heading]
        elif first == [str(number) for number in range(1, len(rows) + 1)] and len(rows) > 1:
            heading = ["", *heading]
    return _with_heading(table, rows, heading)


def _heading(table: DelimitedRows) -> list[str] | None:
    """The heading: the first row if it has no numbers, or a comment that names x and y."""
    number, first = table.rows[0]
    if not _is_data(table, first):
        return first
    for separator in (table.separator, ",", None):
        cells = [cell.strip() for cell in table.comment.split(separator)]
        if {"x", "y"} <= {*find_columns(cells, ("x", "y"))}:
            return cells
    if len(table.rows) > 1 and first == [str(index) for index in range(len(first))]:
        raise ValueError(
            f"line {number}: expected a point or a heading, got {' '.join(first)}, which are "
            f"numbers of columns; {_TRY}"
        )
    return None


def _is_data(table: DelimitedRows, cells: Sequence[str]) -> bool:
    return any(table.is_number(cell) for cell in cells)


def _without_heading(table: DelimitedRows) -> list[FilePoint]:
    """Points of lines that are x, y and perhaps a name; or a name, x, y; or x, y, v."""
    rows = []
    for number, cells in table.rows:
        while len(cells) > 2 and not cells[-1]:
            cells = cells[:-1]  # spreadsheets fill rows up
        if table.separator == " " and len(cells) > 3 and table.is_number(cells[1]):
            cells = [*cells[:2], " ".join(cells[2:])]
        rows.append((number, cells))
    numbers = [cells for _, cells in rows if len(cells) == 3 and all(map(table.is_number, cells))]
    with_v = False
    if numbers:
        number = next(number for number, cells in rows if cells in numbers)
        with_v = has_visibility([table.number(cells[2]) for cells in numbers])
        if not with_v or len(numbers) < len(rows):
            raise ValueError(
                f"line {number}: expected x, y and perhaps a name, got three numbers; {_TRY}"
            )
    points = []
    for number, cells in rows:
        location = f"line {number}"
        name = None
        if with_v:
            *cells, seen = cells
            if not table.number(seen):
                points.append(FilePoint(location, None, None))
                continue
        elif len(cells) == 3 and not table.is_number(cells[0]) and table.is_number(cells[2]):
            name, *cells = cells
        elif len(cells) == 3:
            *cells, name = cells
        if len(cells) != 2:
            got = table.separator.join(cells)
            raise ValueError(f"{location}: expected x, y and perhaps a name, got {got!r}")
        try:
            points.append(FilePoint(location, table.number(cells[0]), table.number(cells[1]), name))
        except ValueError:
            raise _no_numbers(location, cells) from None
    return points


def _no_numbers(location: str, cells: Sequence[str]) -> ValueError:
    return ValueError(f"{location}: expected numbers as x and y, got {', '.join(map(repr, cells))}")


def has_visibility(values: Sequence[float]) -> bool:
    """Whether third numbers are visibilities: only 0, 1 and 2, and not a count of the points."""
    return {*values} <= {0.0, 1.0, 2.0} and (len(values) == 1 or len({*values}) < len(values))


def _with_heading(
    table: DelimitedRows,
    rows: Sequence[tuple[int, list[str]]],
    heading: Sequence[str],
) -> list[FilePoint]:
    columns = _point_columns(heading)
    keys = [column_key(cell) for cell in heading]
    _check_one_place(columns, rows)
    flag = "v" in columns and keys[columns["v"]] != "v"
    points = []
    for number, cells in rows:
        location = f"line {number}"
        if any(cells[len(heading) :]):
            raise ValueError(f"{location}: expected {len(heading)} values, got {len(cells)}")
        cells = [*cells, *[""] * (len(heading) - len(cells))]
        given = {name: cells[index] for name, index in columns.items()}
        name = given.get("keypoint") or None
        coordinates = given["x"], given["y"]
        if all(value.lower() in MISSING for value in coordinates):
            points.append(FilePoint(location, None, None, name))
            continue
        try:
            x, y = (table.number(value) for value in coordinates)
        except ValueError:
            raise _no_numbers(location, coordinates) from None
        try:
            seen = visibility(given["v"], flag) if "v" in given else None
        except ValueError as error:
            raise ValueError(f"{location}: {error}") from None
        labelled = seen is None or seen > 0
        points.append(FilePoint(location, x if labelled else None, y if labelled else None, name))
    names = [point.name for point in points]
    counts = [[str(index) for index in range(start, len(names) + start)] for start in (0, 1)]
    is_id = "keypoint" in columns and keys[columns["keypoint"]] == "id"
    if names in counts or (is_id and all(table.is_number(name or "0") for name in names)):
        return [FilePoint(each.location, each.x, each.y) for each in points]
    return points


def _point_columns(heading: Sequence[str]) -> dict[str, int]:
    """The columns of a heading by their meaning, among them x and y.

    Raises:
        ValueError: they are not there, or the table holds something else.
    """
    keys = [column_key(cell) for cell in heading]
    got = ", ".join(heading)
    if keys[0] == "scorer":
        raise ValueError(f"expected a table of points, got one of DeepLabCut; {_TRY}")
    columns = find_columns(heading, ("x", "y", "image", "keypoint", "instance", "v", "frame"))
    axes = [int(found[1]) for found in map(_AXES.fullmatch, keys) if found]
    if axes and "x" not in columns and sorted(axes) == list(range(len(axes))) and len(axes) > 1:
        # napari: rows before columns, and frames or slices before both
        *others, row, column = (keys.index(f"axis_{axis}") for axis in range(len(axes)))
        columns |= {"y": row, "x": column} | ({"frame": others[-1]} if others else {})
    if "x" not in columns and "y" not in columns and {"row", "col"} <= {*keys}:
        columns |= {"x": keys.index("col"), "y": keys.index("row")}
    if not {"x", "y"} <= {*columns}:
        raise ValueError(f"expected a heading with x and y in pixels, got {got!r}")
    lengths = {"w", "h", "width", "height"} & {*keys}
    if lengths and "bx" not in keys:  # of ImageJ's results, which have the corner as BX, BY
        raise ValueError(
            f"expected points, got boxes: {got!r}; try --boxes where that is possible, or a file "
            "without width and height"
        )
    if "z" in keys:
        raise ValueError(f"expected points in an image, got points in space: {got!r}")
    if "keypoint" not in columns:
        columns |= {"keypoint": keys.index("id")} if "id" in keys else {}
    return columns


def _check_one_place(columns: Mapping[str, int], rows: Sequence[tuple[int, list[str]]]) -> None:
    """Check that points are those of one image and one frame."""
    for name in ("image", "frame"):
        if name in columns:
            index = columns[name]
            values = list(dict.fromkeys(cells[index] for _, cells in rows if len(cells) > index))
            if len(values) > 1:
                raise ValueError(
                    f"expected the points of one {name}, got those of {len(values)}, "
                    f"{values[0]}, {values[1]}{', …' if len(values) > 2 else ''}"
                )
