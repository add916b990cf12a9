"""Tables of keypoints (`.csv`) are written: long, a row for each keypoint, or wide, as R likes it.

Names are written as they are, for other programs have to find them. A spreadsheet takes a name that
begins with `=`, `+`, `-` or `@` for a formula; a note says if there is one.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homolog.data.formats import coco_boxes
from homolog.data.formats.document import Document, WriteOptions
from homolog.data.formats.entries import InstanceId, as_instance
from homolog.data.formats.writing import unheld
from homolog.errors import HomologError
from homolog.utils.outputs import write_atomically

_FORMULA = ("=", "+", "-", "@")


@dataclass(frozen=True)
class _Object:
    """An object to be written.

    Attributes:
        image: the name of its image.
        instance: its id; empty if it has none.
        category: its category.
        points: x, y, v and the score of each keypoint, by its name; empty where there is nothing.
    """

    image: str
    instance: InstanceId
    category: str
    points: Mapping[str, tuple[Any, Any, int, Any]]


def write(path: Path, document: Document, options: WriteOptions) -> list[str]:
    """Write labels as a table with a row for each keypoint.

    Columns are `image`, `instance`, `category`, `keypoint`, `x`, `y`, `v` and `score`. A keypoint
    that is not labelled has v = 0 and neither x nor y, one made by hand has no score, and an image
    without objects has a row with its name alone. Objects that share an image get an `instance`
    where they have none.

    Returns:
        What the table cannot hold, a line each.

    Raises:
        HomologError: it cannot be written.
    """
    objects, notes = _objects(document, options)
    rows: list[Sequence[Any]] = [
        ["image", "instance", "category", "keypoint", "x", "y", "v", "score"]
    ]
    for each in objects:
        owner = each.image, each.instance, each.category
        rows += [[*owner, name, *point] for name, point in each.points.items()]
    rows += [[image, *[""] * 7] for image in _without_objects(document, objects)]
    _write(path, rows)
    return notes + _formulas(rows)


def write_wide(path: Path, document: Document, options: WriteOptions) -> list[str]:
    """Write labels as a table with a row for each object.

    Columns are `image`, `instance`, `category`, and for each keypoint of any category its name with
    `_x`, `_y`, `_v`, and `_score` if any keypoint has a score. Keypoints that the category of an
    object does not have are empty.

    Returns:
        What the table cannot hold, a line each.

    Raises:
        HomologError: it cannot be written.
    """
    objects, notes = _objects(document, options)
    names = list(dict.fromkeys(name for each in objects for name in each.points))
    scored = any(point[3] != "" for each in objects for point in each.points.values())
    suffixes = ["x", "y", "v", *(["score"] if scored else [])]
    heading = [f"{name}_{suffix}" for name in names for suffix in suffixes]
    if not names:
        raise HomologError(f"{options.argument}: expected labels with keypoints, got none")
    rows: list[Sequence[Any]] = [["image", "instance", "category", *heading]]
    for each in objects:
        cells = [
            cell
            for name in names
            for cell in each.points.get(name, ("",) * len(suffixes))[: len(suffixes)]
        ]
        rows.append([each.image, each.instance, each.category, *cells])
    rows += [[image, *[""] * (2 + len(heading))] for image in _without_objects(document, objects)]
    _write(path, rows)
    return notes + _formulas(rows)


def _objects(document: Document, options: WriteOptions) -> tuple[list[_Object], list[str]]:
    """The objects of labels, and what tables cannot hold of them."""
    names = {image["id"]: str(image["file_name"]) for image in document["images"]}
    categories = {category["id"]: category for category in document["categories"]}
    kept = {"keypoints", "num_keypoints", "instance_id", "keypoint_scores", "homolog"}
    notes = unheld(document, "CSV", kept, {"keypoints"})
    counted: Counter[str] = Counter()
    annotations = []
    for annotation in document["annotations"]:
        if categories[annotation["category_id"]].get("keypoints") and annotation.get("keypoints"):
            annotations.append(annotation)
        else:
            counted["objects without keypoints"] += 1
    states = [annotation.get("homolog") or {} for annotation in annotations]
    counted["state of review"] = sum(any(v for k, v in s.items() if k != "scores") for s in states)
    used = {annotation["category_id"] for annotation in annotations}
    counted["categories without objects"] = len(categories.keys() - used)
    objects: dict[Any, _Object] = {}
    for annotation, instance in zip(annotations, _instances(annotations), strict=True):
        category = categories[annotation["category_id"]]
        points = dict(_points(annotation, category["keypoints"], options))
        name = names[annotation["image_id"]]
        key = name, category["id"], instance
        if key in objects:
            raise HomologError(
                f"{options.argument}: expected each instance once in an image, got {instance!r} of "
                f"{name} again in annotation {annotation['id']}"
            )
        objects[key] = _Object(name, instance, str(category["name"]), points)
    notes += [f"CSV holds no {kind}: {number}" for kind, number in counted.items() if number]
    return list(objects.values()), notes


def _instances(annotations: Sequence[Mapping[str, Any]]) -> list[InstanceId]:
    """The instance ids of objects; the lowest free number where several share an image."""
    objects = Counter(annotation["image_id"] for annotation in annotations)
    taken: dict[Any, set[InstanceId]] = {}
    given = []
    for annotation in annotations:
        value = coco_boxes.instance_of(annotation)
        given.append("" if value is None else as_instance(value))
        taken.setdefault(annotation["image_id"], set()).add(given[-1])
    for index, annotation in enumerate(annotations):
        image = annotation["image_id"]
        if given[index] == "" and objects[image] > 1:
            given[index] = next(n for n in range(1, len(given) + 1) if n not in taken[image])
            taken[image].add(given[index])
    return given


def _points(
    annotation: Mapping[str, Any], names: Sequence[Any], options: WriteOptions
) -> Iterator[tuple[str, tuple[Any, Any, int, Any]]]:
    """x, y, v and the score of each keypoint of an object, by its name."""
    values = annotation["keypoints"]
    if len(values) != 3 * len(names):
        raise HomologError(
            f"{options.argument}: expected x, y and v of {len(names)} keypoints in annotation "
            f"{annotation['id']}, got {len(values)} numbers"
        )
    own = annotation.get("homolog") or {}
    scores = own.get("scores") or annotation.get("keypoint_scores") or []
    for index, name in enumerate(names):
        x, y, v = values[3 * index : 3 * index + 3]
        score = scores[index] if index < len(scores) and scores[index] is not None else ""
        yield str(name), (x, y, int(v), score) if v else ("", "", 0, score)


def _without_objects(document: Document, objects: Sequence[_Object]) -> list[str]:
    used = {each.image for each in objects}
    names = [str(image["file_name"]) for image in document["images"]]
    return [name for name in names if name not in used]


def _formulas(rows: Sequence[Sequence[Any]]) -> list[str]:
    """A line if spreadsheets would take names for formulas."""
    texts = {cell for row in rows for cell in row if isinstance(cell, str)}
    found = sorted(text for text in texts if text.startswith(_FORMULA))
    if not found:
        return []
    return [f"spreadsheets take names that begin with {found[0][0]} for formulas: {found[0]}"]


def _write(path: Path, rows: Sequence[Sequence[Any]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_atomically(path, text.getvalue().encode())
