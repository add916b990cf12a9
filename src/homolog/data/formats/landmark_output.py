"""Labels as specimens with numbered landmarks, for the writers of formats of morphometrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from homolog.data.formats import curves
from homolog.data.formats.document import Document, WriteOptions, box_of_keypoints
from homolog.data.formats.landmark_names import write_names
from homolog.data.formats.landmarks import TOLERANCE, Specimen
from homolog.data.reading import ImageFinder, abbreviate
from homolog.errors import HomologError
from homolog.image import reading


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


def image_size(image: Mapping[str, Any], options: WriteOptions, path: Path) -> tuple[int, int]:
    """Width and height of an image of a document, from its file where the document has none.

    Raises:
        HomologError: it cannot be found or read.
    """
    if image.get("width") and image.get("height"):
        return int(image["width"]), int(image["height"])
    finder = ImageFinder(path, fallback=options.images)
    return reading.image_size(finder.find(str(image["file_name"])))


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


def unheld(
    document: Document,
    title: str,
    annotation: Collection[str],
    category: Collection[str],
    image: Collection[str] = (),
) -> list[str]:
    """A line that names the members of a document that a format has no place for, if any.

    Args:
        document: the labels.
        title: of the format.
        annotation: the members of annotations that it holds, besides those that all have.
        category: those of categories.
        image: those of images.
    """
    sizes = {each["id"]: (each.get("width"), each.get("height")) for each in document["images"]}
    lost = {
        "the file": document.keys() - {"images", "annotations", "categories"},
        "images": _members(document["images"])
        - {"id", "file_name", "width", "height"}.union(image),
        "annotations": _members(document["annotations"])
        - {"id", "image_id", "category_id", "area", "iscrowd", "bbox"}.union(annotation),
        "categories": _members(document["categories"]) - {"id", "name"}.union(category),
    }
    if "bbox" not in annotation and any(_own_box(each, sizes) for each in document["annotations"]):
        lost["annotations"].add("bbox")
    parts = [f"of {of}: {', '.join(sorted(names))}" for of, names in lost.items() if names]
    return [f"{title} has no place for these members, {'; '.join(parts)}"] if parts else []


def _members(entries: Sequence[Mapping[str, Any]]) -> set[str]:
    """The members of some entries that say anything."""
    return {key for entry in entries for key, value in entry.items() if value not in (None, [], {})}


def _own_box(annotation: Mapping[str, Any], sizes: Mapping[Any, Any]) -> bool:
    """Whether an annotation's box is another than the one around its keypoints."""
    if annotation.get("bbox") is None:
        return False
    size = sizes.get(annotation["image_id"])
    keypoints = annotation.get("keypoints", [])
    return not any(
        np.allclose(annotation["bbox"], box_of_keypoints(keypoints, known, alone=alone), atol=0.01)
        for known in {None, size if size and all(size) else None}
        for alone in (True, False)
    )


def _unholdable(points: np.ndarray, size: tuple[int, int], from_bottom: bool) -> np.ndarray:
    """Which points a reader would take for missing or refuse."""
    width, height = size
    x, y = points.T
    if from_bottom:
        bad = (x < 0) | (y > height) | (x > width + TOLERANCE) | (y < -TOLERANCE)
        return np.asarray(bad | ((x == 0) & (y == height)))
    bad = (np.minimum(x, y) < -TOLERANCE) | (x > width + TOLERANCE) | (y > height + TOLERANCE)
    return np.asarray(bad | ((x == 0) & (y == 0)))
