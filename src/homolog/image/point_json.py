"""JSON with points: lists, names, keypoints as in COCO files, shapes of labelme."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from homolog.image.point_tables import FilePoint, has_visibility
from homolog.utils.delimited import COLUMNS, column_key, is_number, visibility


def from_json(text: str, notes: list[str]) -> list[FilePoint]:
    """The points of a JSON text.

    Args:
        text: the JSON.
        notes: gets a line for what was left out.

    Raises:
        ValueError: it is not clearly one with points; the message names the entry.
    """
    try:
        data: Any = json.loads(text, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        raise ValueError(f"expected JSON, got line {error.lineno}: {error.msg}") from None
    except RecursionError:
        raise ValueError("expected JSON, got too many brackets") from None
    if isinstance(data, dict):
        return _from_object(data, notes)
    return _from_list(data)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"expected each name once, got {twice!r} twice")
    return found


def _from_object(data: dict[str, Any], notes: list[str]) -> list[FilePoint]:
    for member, kind in _OTHER_JSON:
        if isinstance(data.get(member), list):
            raise ValueError(f"expected points, got {kind}")
    if isinstance(data.get("shapes"), list):
        return _from_labelme(data["shapes"], notes)
    key = next((key for key in ("points", "keypoints0", "keypoints") if key in data), None)
    if key is None:
        return _from_names(data)
    points, ids = data[key], data.get("point_ids")
    if isinstance(points, dict):
        return _from_names(points)
    if key == "keypoints" and isinstance(points, list) and points and _are_numbers(points):
        if len(points) % 3:
            raise ValueError(
                f"expected x, y and v for each of the keypoints, got {len(points)} numbers"
            )
        rows = [points[index : index + 3] for index in range(0, len(points), 3)]
        return [_from_triple(f"keypoint {index}", row) for index, row in enumerate(rows)]
    found = _from_list(points)
    if ids is None:
        return found
    if not (isinstance(ids, list) and len(ids) == len(found)):
        raise ValueError(f"expected point_ids to name each of {len(found)} points, got {ids!r}")
    return [FilePoint(p.location, p.x, p.y, str(name)) for p, name in zip(found, ids, strict=True)]


_OTHER_JSON = (
    ("annotations", 'a COCO file; try one annotation of it, {"keypoints": [x, y, v, …]}'),
    ("frames", 'tracks of a video; try the points of one frame, {"points": [[x, y], …]}'),
)
"""Members that tell other files from files of points, and what those are."""


def _from_labelme(shapes: list[Any], notes: list[str]) -> list[FilePoint]:
    points, others = [], 0
    for index, shape in enumerate(shapes):
        if not isinstance(shape, dict) or not isinstance(shape.get("points"), list):
            raise ValueError(f"expected labelme's shapes, got {shape!r} at index {index}")
        if shape.get("shape_type") != "point" or len(shape["points"]) != 1:
            others += 1
            continue
        x, y = _pair(shape["points"][0], f"index {index}")
        points.append(FilePoint(f"index {index}", x, y, str(shape.get("label") or "") or None))
    if others:
        notes.append(f"shapes that are no points are left out: {others}")
    return points


def _from_names(data: dict[str, Any]) -> list[FilePoint]:
    """Points by their names, or a point or columns of points by `x` and `y`."""
    keys = {column_key(key): key for key in data}
    if {"x", "y"} <= {*keys}:
        x, y = data[keys["x"]], data[keys["y"]]
        if isinstance(x, list) and isinstance(y, list) and len(x) == len(y):
            return _from_list([list(pair) for pair in zip(x, y, strict=True)])
        return [_from_member(data, "the object")]
    points = []
    triples = [value for value in data.values() if isinstance(value, list) and len(value) == 3]
    _check_triples(triples, len(data), named=True)
    for name, value in data.items():
        if isinstance(value, dict):
            point = _from_member(value, repr(name))
        elif isinstance(value, list) and len(value) == 3:
            point = _from_triple(repr(name), value)
        else:
            try:
                point = FilePoint(repr(name), *_pair(value, repr(name)))
            except ValueError:
                raise ValueError(
                    "expected 'points' or 'keypoints0', or names with [x, y] each, got "
                    f"{_short(value)} as {name!r}"
                ) from None
        points.append(FilePoint(point.location, point.x, point.y, name))
    return points


def _from_list(data: Any) -> list[FilePoint]:
    if not isinstance(data, list):
        raise ValueError(f"expected a list of [x, y], got {type(data).__name__}")
    triples = [row for row in data if isinstance(row, list) and len(row) == 3]
    _check_triples(triples, len(data))
    points = []
    for index, row in enumerate(data):
        location = f"index {index}"
        if isinstance(row, dict):
            points.append(_from_member(row, location))
        elif triples:
            points.append(_from_triple(location, row))
        else:
            points.append(FilePoint(location, *_pair(row, location)))
    return points


def _check_triples(triples: list[list[Any]], count: int, named: bool = False) -> None:
    """Check that three numbers each are x, y, v and nothing else."""
    if not triples:
        return
    if len(triples) != count or not all(map(_are_numbers, triples)):
        raise ValueError(f"expected [x, y] for all, got {_short(triples[0])} for some")
    values = [_number(row[2]) for row in triples]
    if not (has_visibility(values) or (named and {*values} <= {0.0, 1.0, 2.0})):
        raise ValueError(
            f"expected [x, y], got {_short(triples[0])}, of which it is not clear what the three "
            'numbers are; try [x, y], or {"x": …, "y": …}'
        )


def _from_triple(location: str, row: list[Any]) -> FilePoint:
    x, y, seen = (_number(value) for value in row)
    if seen not in (0, 1, 2):
        raise ValueError(f"expected v of 0, 1 or 2, got {_short(row)} at {location}")
    return FilePoint(location, x, y) if seen else FilePoint(location, None, None)


def _from_member(data: dict[str, Any], location: str) -> FilePoint:
    """A point that is an object with `x` and `y`."""
    keys = {column_key(key): value for key, value in data.items()}
    given = {
        name: next((keys[key] for key in COLUMNS[name] if key in keys), None)
        for name in ("x", "y", "v", "keypoint")
    }
    x, y = _pair([given["x"], given["y"]], location, data)
    name = None if given["keypoint"] is None else str(given["keypoint"])
    if given["v"] is not None and visibility(str(given["v"])) == 0:
        return FilePoint(location, None, None, name)
    return FilePoint(location, x, y, name)


def _pair(value: Any, location: str, got: Any = None) -> tuple[float, float]:
    """A list of two numbers."""
    if isinstance(value, list) and len(value) == 2 and _are_numbers(value):
        return _number(value[0]), _number(value[1])
    raise ValueError(f"expected [x, y], got {_short(value if got is None else got)} at {location}")


def _are_numbers(values: Sequence[Any]) -> bool:
    try:
        for value in values:
            _number(value)
    except ValueError:
        return False
    return True


def _number(value: Any) -> float:
    """A number, perhaps written as text."""
    if isinstance(value, str) and is_number(value.strip()):
        return float(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError):
            if np.isfinite(number := float(value)):
                return number
    raise ValueError(f"expected a number, got {_short(value)}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
