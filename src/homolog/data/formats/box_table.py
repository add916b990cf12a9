"""Tables of boxes (`.csv`): a header, then a row for each object; columns are known by name."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from homolog.data.formats import deeplabcut
from homolog.data.formats.entries import BoxForm, Entries, Entry, corners_around
from homolog.errors import HomologError

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
    `instance`, `score` and `category`; or those of a table of keypoints: `image`, `keypoint`, `x`,
    `y`. DeepLabCut's tables are recognised, too.

    Raises:
        HomologError: the file cannot be read, or lacks a column.
    """
    try:
        text = path.read_text("utf-8-sig")
        rows = csv.reader(io.StringIO(text), delimiter=max(",;\t", key=_first_line(text).count))
        lines = [(rows.line_num, row) for row in rows if any(value.strip() for value in row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise HomologError(f"boxes: expected a CSV table {path}, got: {error}") from None
    header = [name.strip().lower().removeprefix("bbox_") for name in (lines or [(0, [])])[0][1]]
    if header[:1] == ["scorer"]:
        return deeplabcut.read_entries(path, lines)
    form, names = next((each for each in _BOXES if {*each[1]} <= {*header}), _NO_BOX)
    image = next((name for name in _IMAGE if name in header), None)
    keypoints = not names and {"keypoint", "x", "y"} <= {*header}
    if image is None or not (names or keypoints):
        raise HomologError(
            f"boxes: {path}: expected a header with image, x, y, width and height, or the corners "
            f"x0, y0, x1 and y1, got {_first_line(text)!r}"
        )
    entries, problems = [], []
    groups: dict[tuple[Any, ...], tuple[str, list[tuple[float, float]]]] = {}
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
        elif names:
            numbers = [values[name] for name in names]
            entries.append(Entry(location, values[image], numbers, form, instance, score, category))
        else:
            try:
                point = float(values["x"]), float(values["y"])
            except ValueError:
                got = f"{values['x']!r} and {values['y']!r}"
                problems.append(f"{location}: expected numbers as x and y, got {got}")
                continue
            key = values[image], instance, category
            groups.setdefault(key, (location, []))[1].append(point)
    for (name, instance, category), (location, points) in groups.items():
        corners = corners_around(points)
        entries.append(Entry(location, name, corners, "corners", instance, None, category))
    return Entries(entries, problems=problems)


def _first_line(text: str) -> str:
    return text.partition("\n")[0].strip()
