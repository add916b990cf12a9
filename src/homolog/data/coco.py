"""Any COCO file with keypoints as a data set: all pairs of images of one category."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from homolog import moved
from homolog.data.formats import coco as file_format
from homolog.data.formats.coco import CocoFile
from homolog.data.pairs import Annotation, DataSet, LazyPairs, shared_keypoints
from homolog.data.reading import ErrorCollector, ImageFinder, abbreviate
from homolog.errors import HomologError

HOMEPAGE = file_format.SPECIFICATION
_ROWS = 1024
"""Images whose pairs are found at once, which bounds the memory needed."""


def load(
    path: Path, *, images: Path | None = None, problems: ErrorCollector | None = None
) -> DataSet:
    """Load all ordered pairs of images of one category with a visible keypoint in common.

    Whole images are matched, so those with several annotated objects are left out.

    Args:
        path: the COCO file.
        images: the folder of its images. Without it they are looked up in the file's folder, in its
            parent, and in `images` and `data` of either.
        problems: collects errors, instead of raising the first.

    Raises:
        HomologError: the file cannot be read, an entry is malformed, or an image is missing.
    """
    problems = problems or ErrorCollector()
    file = file_format.read(path, problems)
    members, several = _members(file, ImageFinder(path, images), path, problems)
    schemas = {c.name: c.schema for c in file.categories.values() if c.schema is not None}
    annotations: list[Annotation] = []
    index = [np.empty((0, 2), dtype=np.int32)]
    for category in sorted(schemas):
        index.append(_ordered_pairs(members[category]) + len(annotations))
        annotations += members[category]
    notes = []
    if several:
        notes.append(f"images with several annotated objects, left out: {several}")
    if file.unlisted:
        numbers = abbreviate(map(str, file.unlisted))
        notes.append(
            f"category ids that are not listed, taken to have the others' keypoints: {numbers}"
        )
    if without_keypoints := sorted(members.keys() - schemas.keys()):
        notes.append(f"categories without keypoints: {abbreviate(without_keypoints)}")
    if small := [name for name in sorted(schemas) if len(members[name]) < 2]:
        notes.append(f"categories with fewer than two images: {abbreviate(small)}")
    return DataSet(
        f"{path.absolute().parent.name} {path.stem}",
        path,
        {name: schema for name, schema in sorted(schemas.items()) if members[name]},
        LazyPairs(annotations, np.concatenate(index)),
        threshold="box",
        alphas=(0.1, 0.05, 0.01),
        notes=tuple(notes),
    )


def _members(
    file: CocoFile, finder: ImageFinder, path: Path, problems: ErrorCollector
) -> tuple[dict[str, list[Annotation]], int]:
    """Annotations by category and file name, and how many images have several and are left out."""
    instances = [each for each in file.instances if np.isfinite(each.keypoints).any()]
    per_image = Counter(each.image_id for each in instances)
    members: dict[str, list[Annotation]] = {c.name: [] for c in file.categories.values()}
    for instance in sorted(instances, key=lambda each: each.file_name):
        if per_image[instance.image_id] > 1:
            continue
        try:
            annotation = instance.annotation(finder.find(instance.file_name))
            members[instance.category].append(annotation)
        except HomologError as error:
            problems.add(path, f"annotation {instance.id}: {error}")
    return members, sum(1 for count in per_image.values() if count > 1)


def _ordered_pairs(annotations: list[Annotation]) -> Int[np.ndarray, "P 2"]:
    """Positions of all ordered pairs with a keypoint in common, by source, then by target."""
    found = [np.empty((0, 2), dtype=np.int32)]
    for start in range(0, len(annotations), _ROWS):
        shared = shared_keypoints(annotations[start : start + _ROWS], annotations) > 0
        rows = np.arange(len(shared))
        shared[rows, start + rows] = False  # nothing is paired with itself
        found.append((np.argwhere(shared) + np.array([start, 0])).astype(np.int32))
    return np.concatenate(found)


def __getattr__(name: str) -> Any:
    return moved.attribute(__name__, name)
