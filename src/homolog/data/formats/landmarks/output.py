"""Labels as specimens with numbered landmarks, for the writers of formats of morphometrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from homolog.data.formats.document import Document, WriteOptions
from homolog.data.formats.landmarks import curves
from homolog.data.formats.landmarks.names import write_names
from homolog.data.formats.landmarks.specimens import TOLERANCE, Specimen
from homolog.data.formats.writing import image_size, unheld
from homolog.data.reading import abbreviate
from homolog.errors import HomologError


@dataclass(frozen=True)
class Written:
    """Labels as they are written to a file of landmarks.

    Attributes:
        category: of all specimens.
        specimens: with y from the bottom, in the order of the document.
        landmarks: the indices of keypoints that belong to no curve.
        curves: those along each curve.
        notes: what the format cannot hold, so far.
    """

    category: Mapping[str, Any]
    specimens: Sequence[Specimen]
    landmarks: Sequence[int]
    curves: Sequence[Sequence[int]]
    notes: list[str]


def disassemble(
    path: Path,
    document: Document,
    options: WriteOptions,
    title: str,
    attributes: bool = False,
    from_bottom: bool = True,
) -> Written:
    """The specimens of labels, and what a format of landmarks cannot hold of them.

    Args:
        path: of the file to be written.
        document: the labels.
        options: the folder of images.
        title: of the format.
        attributes: whether it holds the attributes of annotations.
        from_bottom: whether y runs from the bottom, and negative numbers mean missing landmarks.

    Raises:
        HomologError: there are no annotations, categories have different keypoints, or the size of
            an image is not known.
    """
    used = {annotation["category_id"] for annotation in document["annotations"]}
    categories = [c for c in document["categories"] if c["id"] in used and c.get("keypoints")]
    if not categories:
        raise HomologError(f"{options.argument}: expected labels with keypoints, got none")
    category = categories[0]
    if any(each["keypoints"] != category["keypoints"] for each in categories):
        listed = abbreviate(str(each["name"]) for each in categories)
        raise HomologError(
            f"{options.argument}: expected one list of keypoints in {title}, got those of "
            f"{listed}; try a file for each category"
        )
    kept = {"keypoints", "num_keypoints", "instance_id", *(["attributes"] if attributes else [])}
    notes = unheld(document, title, kept, {"keypoints", "flip_indices", "curves"})
    if len(categories) > 1:
        notes.append(f"{title} holds no names of categories")
    images = {image["id"]: image for image in document["images"]}
    specimens = []
    counted: Counter[str] = Counter()
    labelled = set()
    along = curves.curves_of(category)
    landmarks = sorted(set(range(len(category["keypoints"]))) - {p for c in along for p in c})
    for annotation in document["annotations"]:
        if annotation["category_id"] not in {each["id"] for each in categories}:
            counted["objects without keypoints"] += 1
            continue
        image = images[annotation["image_id"]]
        labelled.add(image["id"])
        name = str(image["file_name"])
        if not name.isprintable():
            raise HomologError(
                f"{options.argument}: expected names of printable characters, got {name!r}"
            )
        rows = np.array(annotation["keypoints"], float).reshape(-1, 3)
        counted["that keypoints are occluded"] += int((rows[:, 2] == 1).sum())
        points = np.where(rows[:, 2:] > 0, rows[:, :2], np.nan)
        size = image_size(image, options, path)
        outside = _unholdable(points, size, from_bottom)
        counted["keypoints outside their images"] += int(outside.sum())
        points[outside] = np.nan
        if from_bottom:
            points[:, 1] = size[1] - points[:, 1]
        pairs = [(float(x), float(y)) for x, y in points]
        specimens.append(
            Specimen(
                f"annotation {annotation['id']}", name, [pairs[i] for i in landmarks],
                [[pairs[i] for i in curve] for curve in along], annotation.get("attributes") or {},
            )
        )  # fmt: skip
    counted["images without labels"] = len(images.keys() - labelled)
    notes += [f"{title} holds no {kind}: {number}" for kind, number in counted.items() if number]
    return Written(category, specimens, landmarks, along, notes)


def name_landmarks(written: Written, path: Path, argument: str) -> list[str]:
    """Write the names of landmarks beside a file that numbers them, where they are not numbers.

    Returns:
        A line that says where they are, or why they are not written.

    Raises:
        HomologError: the file of names cannot be written, or there is one with other names.
    """
    order = [*written.landmarks, *(point for curve in written.curves for point in curve)]
    counts = [len(curve) for curve in written.curves]
    return write_names(path, written.category, order, counts, argument)


def _unholdable(points: np.ndarray, size: tuple[int, int], from_bottom: bool) -> np.ndarray:
    """Which points a reader would take for missing or refuse."""
    width, height = size
    x, y = points.T
    if from_bottom:
        bad = (x < 0) | (y > height) | (x > width + TOLERANCE) | (y < -TOLERANCE)
        return np.asarray(bad | ((x == 0) & (y == height)))
    bad = (np.minimum(x, y) < -TOLERANCE) | (x > width + TOLERANCE) | (y > height + TOLERANCE)
    return np.asarray(bad | ((x == 0) & (y == 0)))
