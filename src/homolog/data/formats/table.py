"""Tables of keypoints (`.csv`): columns `image`, `keypoint`, `x`, `y`, perhaps others.

The others are `instance`, which tells the objects of an image from each other, and `category`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from homolog.data.formats.entries import InstanceId, as_instance
from homolog.data.pairs import Annotation, box_around
from homolog.data.reading import ImageFinder
from homolog.errors import HomologError
from homolog.image import reading
from homolog.utils.outputs import write_atomically

_DEFAULT_CATEGORY = "thing"
"""Of rows without a category; it is in files that were written with it, so it stays."""


def read(
    path: Path, folder: Path | None = None
) -> tuple[list[Annotation], list[InstanceId | None], Sequence[Mapping[str, Any]]]:
    """Read a table of keypoints, a row each, x and y in pixels.

    Args:
        path: the table.
        folder: where images are looked up that are not beside it.

    Returns:
        The annotations, one for each image, category and instance; their instances, None
        where the table does not give them; and the categories as in a COCO file, with
        keypoints in order of first appearance.

    Raises:
        HomologError: the file cannot be read, a row is malformed, or an image is missing.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise HomologError(f"exemplars: expected a CSV table {path}, got: {error}") from None
    finder = ImageFinder(path, fallback=folder)
    points: dict[tuple[str, str, InstanceId | None], dict[str, tuple[float, float]]] = {}
    names: dict[str, list[str]] = {}
    for number, row in enumerate(rows, start=2):
        try:
            category = row.get("category") or _DEFAULT_CATEGORY
            instance = as_instance(row["instance"]) if row.get("instance") else None
            of_object = points.setdefault((row["image"], category, instance), {})
            if row["keypoint"] in of_object:
                raise ValueError(
                    f"expected each keypoint of {row['image']} once, got {row['keypoint']!r} again"
                    + ("; try a column instance" if instance is None else "")
                )
            of_object[row["keypoint"]] = float(row["x"]), float(row["y"])
            if row["keypoint"] not in names.setdefault(category, []):
                names[category].append(row["keypoint"])
        except (KeyError, TypeError, ValueError) as error:
            message = (
                f"expected a column {error}, got none" if isinstance(error, KeyError) else error
            )
            raise HomologError(f"exemplars: {path}, line {number}: {message}") from None
    annotations = []
    for (image, category, _), known in points.items():
        keypoints = np.array([known.get(name, (np.nan, np.nan)) for name in names[category]])
        found, box = finder.find(image), box_around(keypoints)
        size = reading.image_size(found)
        annotations.append(Annotation(image, found, category, keypoints, box, size))
    categories = [
        {"id": number, "name": category, "keypoints": keypoints}
        for number, (category, keypoints) in enumerate(names.items(), start=1)
    ]
    return annotations, [instance for *_, instance in points], categories


def write(path: Path, document: Mapping[str, Any]) -> None:
    """Write the visible keypoints of labels as a table, a row each.

    Columns are `image`, `instance`, `category`, `keypoint`, `x`, `y` and `score`. An object that is
    alone in its image may have no instance, and a keypoint made by hand has no score.

    Args:
        path: the table.
        document: of a COCO file with keypoints, as `homolog annotate` makes it.

    Raises:
        HomologError: it cannot be written.
    """
    names = {image["id"]: image["file_name"] for image in document["images"]}
    categories = {category["id"]: category for category in document["categories"]}
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["image", "instance", "category", "keypoint", "x", "y", "score"])
    for annotation in document["annotations"]:
        category = categories[annotation["category_id"]]
        points = np.reshape(annotation["keypoints"], (-1, 3)).tolist()
        scores = annotation.get("homolog", {}).get("scores") or [""] * len(points)
        first = (names[annotation["image_id"]], annotation.get("instance_id", ""), category["name"])
        for name, (x, y, visible), score in zip(category["keypoints"], points, scores, strict=True):
            if visible:
                rows.writerow([*first, name, x, y, score])
    write_atomically(path, text.getvalue().encode())
