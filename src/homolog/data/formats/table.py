"""Tables of keypoints (`.csv`): long, a row for each keypoint, or wide, a row for each object.

A long table has columns `image`, `keypoint`, `x`, `y`, and perhaps `instance`, which tells the
objects of an image from each other, `category`, `v` and `score`. A wide one has `image`, perhaps
`instance` and `category`, and for each keypoint `nose_x`, `nose_y`, and perhaps `nose_v` and
`nose_score`. Other names of columns are known, too (`homolog.utils.delimited.COLUMNS`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from homolog.data.formats.document import DocumentBuilder, LabelFile, LabelFormat, ReadOptions
from homolog.data.formats.table_output import write, write_wide
from homolog.data.formats.table_rows import Table, find_layout, parse
from homolog.data.reading import ImageFinder
from homolog.errors import HomologError
from homolog.image import reading
from homolog.utils.delimited import COLUMNS, column_key, read_text, split_rows

_BEYOND = 0.1
"""The share of an image's longer edge by which a keypoint may lie outside it, as boxes may."""


def read(path: Path, options: ReadOptions) -> LabelFile:
    """Read a table of keypoints, x and y in pixels, long or wide.

    Keypoints of a category are in order of their first appearance. Where nothing tells whether a
    keypoint is labelled, it is not at (-1, -1) or (0, 0), and where x and y are empty.

    Raises:
        HomologError: the file cannot be read, a row is malformed, or coordinates are impossible:
            not finite, negative, far outside the image, or fractions of it.
    """
    table = parse(path, options.argument)
    finder = options.finder(path)
    builder = DocumentBuilder()
    sizes = {name: _add_image(builder, name, finder) for name in table.images}
    _check_places(f"{options.argument}: {path}", table, sizes)
    ids = {name: builder.add_image(name) for name in table.images}
    for each in table.objects:
        named: dict[str, Any] = {} if each.instance is None else {"instance_id": each.instance}
        builder.add_annotation(ids[each.image], each.category, each.points, **named)
    for line in table.notes:
        builder.note(f"{path}: {line}")
    found = builder.build()
    names = {c["id"]: c["keypoints"] for c in found.document["categories"]}
    for annotation, each in zip(found.document["annotations"], table.objects, strict=True):
        if each.scores:
            scores = [each.scores.get(name) for name in names[annotation["category_id"]]]
            annotation["keypoint_scores"] = scores
    return found


def _add_image(builder: DocumentBuilder, name: str, finder: ImageFinder) -> tuple[int, int] | None:
    """Add an image; its size, if it is there."""
    try:
        path = finder.find(name)
    except HomologError as error:
        builder.add_image(name, missing=str(error))
        return None
    size = reading.image_size(path)
    builder.add_image(name, size, path)
    return size


def _check_places(where: str, table: Table, sizes: Mapping[str, tuple[int, int] | None]) -> None:
    """Check that keypoints lie in their images."""
    outside = 0
    labelled = []
    for each in table.objects:
        for name, (x, y, v) in each.points.items():
            if not v:
                continue
            line = f"{where}, line {each.lines[name]}"
            labelled.append((x, y, line))
            size = sizes[each.image]
            if size is None:
                beyond, limit = max(-x, -y, 0.0), 0.0
                extent = "the image"
            else:
                beyond, limit = max(-x, -y, x - size[0], y - size[1], 0.0), _BEYOND * max(size)
                extent = f"the image of {size[0]} x {size[1]} pixels"
            if beyond > limit:
                raise HomologError(f"{line}: expected a point in {extent}, got ({x:g}, {y:g})")
            outside += beyond > 0
    if len(labelled) > 1 and all(0 <= x <= 1 and 0 <= y <= 1 for x, y, _ in labelled):
        x, y, line = labelled[0]
        raise HomologError(
            f"{line}: expected pixels, got ({x:g}, {y:g}), and no number above 1 in the file: "
            "fractions of the images; try multiplying them by width and height"
        )
    if outside:
        table.notes.append(f"keypoints a little outside their images, kept as they are: {outside}")


def recognise(path: Path) -> bool:
    """Whether a table is one of keypoints of images, or of something that `read` can name."""
    heading = _heading(path)
    if heading and column_key(heading[0]) == "scorer":
        return False
    keys = {column_key(cell) for cell in heading}
    return bool(keys & {*COLUMNS["image"]}) or not {"x", "y"} <= keys


def recognise_wide(path: Path) -> bool:
    """Whether a table has a row for each object."""
    try:
        return bool(find_layout(_heading(path)).keypoints)
    except ValueError:
        return False


def _heading(path: Path) -> list[str]:
    """The heading of a table; empty if it cannot be read."""
    try:
        text = read_text(path)
        lines = [line for line in text.split("\n") if line.strip() and line.lstrip()[0] != "#"]
        rows = split_rows("\n".join(lines[:2])).rows
    except (OSError, ValueError):
        return []
    return rows[0][1] if rows else []


FORMAT = LabelFormat("csv", "table, a row for each keypoint", (".csv",), read, write, recognise)

WIDE_FORMAT = LabelFormat(
    "csv-wide", "table, a row for each object", (".csv",), read, write_wide, recognise_wide
)
