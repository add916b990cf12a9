"""Tables of keypoints (`.csv`): columns `image`, `keypoint`, `x`, `y`, perhaps others.

The others are `instance`, which tells the objects of an image from each other, and `category`.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np

from homolog.data.formats.document import (
    Document,
    DocumentBuilder,
    LabelFile,
    LabelFormat,
    ReadOptions,
    WriteOptions,
)
from homolog.data.formats.entries import InstanceId, as_instance
from homolog.errors import HomologError
from homolog.utils.outputs import write_atomically

_DEFAULT_CATEGORY = "thing"
"""Of rows without a category; it is in files that were written with it, so it stays."""


def read(path: Path, options: ReadOptions) -> LabelFile:
    """Read a table of keypoints, a row each, x and y in pixels.

    Keypoints of a category are in order of their first appearance.

    Raises:
        HomologError: the file cannot be read, or a row is malformed.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise HomologError(
            f"{options.argument}: expected a CSV table {path}, got: {error}"
        ) from None
    finder = options.finder(path)
    points: dict[tuple[str, str, InstanceId | None], dict[str, tuple[float, float, int]]] = {}
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
            of_object[row["keypoint"]] = float(row["x"]), float(row["y"]), 2
        except (KeyError, TypeError, ValueError) as error:
            message = (
                f"expected a column {error}, got none" if isinstance(error, KeyError) else error
            )
            raise HomologError(f"{options.argument}: {path}, line {number}: {message}") from None
    builder = DocumentBuilder()
    for (image, category, instance), known in points.items():
        image_id = builder.find_image(image, finder)
        named: dict[str, Any] = {} if instance is None else {"instance_id": instance}
        builder.add_annotation(image_id, category, known, **named)
    return builder.build()


def write(path: Path, document: Document, options: WriteOptions) -> list[str]:
    """Write the visible keypoints of labels as a table, a row each.

    Columns are `image`, `instance`, `category`, `keypoint`, `x`, `y` and `score`. An object that is
    alone in its image may have no instance, and a keypoint made by hand has no score.

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
    return []


FORMAT = LabelFormat("csv", "table, a row for each keypoint", (".csv",), read, write)
