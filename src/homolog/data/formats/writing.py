"""What writers of formats share: sizes of images, and what a format has no place for."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from homolog.data.formats.document import (
    DESCRIPTION,
    SECTIONS,
    Document,
    WriteOptions,
    box_of_keypoints,
)
from homolog.data.reading import ImageFinder
from homolog.image import reading


def image_size(image: Mapping[str, Any], options: WriteOptions, path: Path) -> tuple[int, int]:
    """Width and height of an image of a document, from its file where the document has none.

    Raises:
        HomologError: it cannot be found or read.
    """
    if image.get("width") and image.get("height"):
        return int(image["width"]), int(image["height"])
    finder = ImageFinder(path, fallback=options.images)
    return reading.image_size(finder.find(str(image["file_name"])))


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
        "the file": {key for key in document if key not in SECTIONS and not _is_own(key, document)},
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


def nowhere_labelled(document: Document) -> int:
    """How many keypoints of categories no annotation has labelled.

    Formats that list what is labelled, and no categories, lose them.
    """
    labelled = {
        (annotation["category_id"], keypoint)
        for annotation in document["annotations"]
        for keypoint, v in enumerate((annotation.get("keypoints") or [])[2::3])
        if v > 0
    }
    return sum(
        (category["id"], keypoint) not in labelled
        for category in document["categories"]
        for keypoint in range(len(category.get("keypoints") or ()))
    )


def _is_own(member: str, document: Document) -> bool:
    """Whether a member of a file is what `homolog annotate` writes into every one."""
    info = document[member]
    own = member == "info" and isinstance(info, dict) and info.get("description") == DESCRIPTION
    return own and not any(value for key, value in info.items() if key != "description")


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
