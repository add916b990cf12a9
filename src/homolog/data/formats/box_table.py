"""Tables of boxes (`.csv`): a header, then a row for each object; columns are known by name."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from pathlib import Path
from typing import Any

from homolog.data.formats.entries import BoxForm, Entries, Entry, corners_around
from homolog.data.formats.poses import deeplabcut
from homolog.data.formats.table_rows import DEFAULT_CATEGORY, find_layout, parse
from homolog.errors import HomologError
from homolog.utils.delimited import DelimitedRows, column_key, read_text, split_rows

_IMAGE = ("image", "file_name", "filename", "image_name", "image_path", "path")
_INSTANCE = ("instance", "instance_id", "track_id", "track", "object_id", "id")
_SCORE = ("score", "confidence", "conf", "probability")
_CATEGORY = ("category", "class", "class_name", "label")

_BOXES: Sequence[tuple[BoxForm, tuple[str, ...]]] = (
    ("box", ("x", "y", "width", "height")),
    ("box", ("x", "y", "w", "h")),
    ("corners", ("x0", "y0", "x1", "y1")),
    ("corners", ("x1", "y1", "x2", "y2")),
    ("corners", ("xmin", "ymin", "xmax", "ymax")),
    ("corners", ("x_min", "y_min", "x_max", "y_max")),
    ("corners", ("left", "top", "right", "bottom")),
    ("box", ("left", "top", "width", "height")),
)
"""The columns that may hold boxes; the first four that are all there do."""

_NO_BOX: tuple[BoxForm, tuple[str, ...]] = ("box", ())


def read(path: Path) -> Entries:
    """Read a table of boxes, or of keypoints, whose objects' boxes are those around them.

    Columns are `image`, the box as `x`, `y`, `width`, `height` or by its corners, and perhaps
    `instance`, `score` and `category`; or those of a table of keypoints, long or wide
    (`table`). DeepLabCut's tables are recognised, too.

    Raises:
        HomologError: the file cannot be read, or lacks a column.
    """
    try:
        table = split_rows(read_text(path))
    except (OSError, ValueError) as error:
        raise HomologError(f"boxes: expected a CSV table {path}, got: {error}") from None
    lines = list(table.rows)
    heading = lines[0][1] if lines else []
    header = [column_key(cell).removeprefix("bbox_") for cell in heading]
    if header[:1] == ["scorer"]:
        return deeplabcut.read_entries(path, lines)
    form, names = next((each for each in _BOXES if {*each[1]} <= {*header}), _NO_BOX)
    image = next((name for name in _IMAGE if name in header), None)
    if not names and _has_keypoints(heading):
        return _around_keypoints(path)
    if image is None or not names:
        raise HomologError(
            f"boxes: {path}: expected a header with image, x, y, width and height, or the corners "
            f"x0, y0, x1 and y1, got {', '.join(heading)!r}"
        )
    entries, problems = [], []
    for number, row in lines[1:]:
        location = f"{path}, line {number}"
        values = {name: value.strip() for name, value in zip(header, row, strict=False)}
        if len(row) < len(header):
            problems.append(f"{location}: expected {len(header)} values, got {len(row)}")
            continue
        instance, score, category = (
            next((values[name] for name in known if values.get(name)), None)
            for known in (_INSTANCE, _SCORE, _CATEGORY)
        )
        if not values[image]:
            problems.append(f"{location}: expected the name of an image, got none")
        else:
            numbers = [_plain(table, values[name]) for name in names]
            entries.append(Entry(location, values[image], numbers, form, instance, score, category))
    return Entries(entries, problems=problems)


def _plain(table: DelimitedRows, text: str) -> Any:
    """A number, perhaps with a decimal comma; any other text as it is, to be refused by name."""
    try:
        return table.number(text)
    except ValueError:
        return text


def _has_keypoints(heading: Sequence[str]) -> bool:
    try:
        find_layout(heading)
    except (IndexError, ValueError):
        return False
    return True


def _around_keypoints(path: Path) -> Entries:
    """The boxes around the labelled keypoints of each object of a table."""
    problems: list[str] = []
    table = parse(path, "boxes", problems)
    entries = []
    for each in table.objects:
        points = [(x, y) for x, y, v in each.points.values() if v]
        category = None if each.category == DEFAULT_CATEGORY else each.category
        location, corners = f"{path}, line {each.line}", corners_around(points or [(nan, nan)])
        entries.append(
            Entry(location, each.image, corners, "corners", each.instance, None, category)
        )
    return Entries(entries, list(table.images), {}, problems, table.notes)
