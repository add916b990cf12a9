"""Any COCO file with keypoints as a data set: all pairs of objects of one category."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from homolog import moved
from homolog.data.formats import coco as file_format
from homolog.data.formats.coco import CocoFile
from homolog.data.formats.coco_entries import id_order
from homolog.data.pairs import Annotation, DataSet, LazyPairs, shared_keypoints
from homolog.data.reading import ErrorCollector, ImageFinder, abbreviate
from homolog.errors import HomologError
from homolog.image import reading
from homolog.image.regions import as_box

HOMEPAGE = file_format.SPECIFICATION
_ROWS = 1024
"""Objects whose pairs are found at once, which bounds the memory needed."""


def load(
    path: Path,
    *,
    images: Path | None = None,
    single: bool = False,
    problems: ErrorCollector | None = None,
) -> DataSet:
    """Load all ordered pairs of objects of one category with a visible keypoint in common.

    Every annotation with a visible keypoint is an object. Where an image has several, each is
    named by the image and the id of its annotation, and told from the others by its box. Two
    objects of one image are no pair: they share the light, the camera and often the pose, so that
    such a pair is easier than others.

    Args:
        path: the COCO file.
        images: the folder of its images. Without it they are looked up near the file
            (`homolog.data.reading.ImageFinder`). Where the file states other sizes than they have,
            its labels are scaled, or turned with the photo, and a note says so.
        single: leave out images with several objects.
        problems: collects errors, instead of raising the first. An object that is not alone in its
            image and has a box that cannot be right is left out, with a note.

    Raises:
        HomologError: the file cannot be read, an entry is malformed, or an image is missing.
    """
    problems = problems or ErrorCollector()
    file = file_format.read(path, problems, ImageFinder(path, images), check_places=True)
    members, notes = _members(file, path, single, problems)
    notes = [*file.notes, *notes]
    schemas = {c.name: c.schema for c in file.categories.values() if c.schema is not None}
    annotations: list[Annotation] = []
    index = [np.empty((0, 2), dtype=np.int32)]
    for category in sorted(schemas):
        index.append(_ordered_pairs(members[category]) + len(annotations))
        annotations += members[category]
    if file.unlisted:
        numbers = abbreviate(map(str, file.unlisted))
        notes.append(
            f"category ids that are not listed, taken to have the others' keypoints: {numbers}"
        )
    if without_keypoints := sorted(members.keys() - schemas.keys()):
        notes.append(f"categories without keypoints: {abbreviate(without_keypoints)}")
    if small := [name for name in sorted(schemas) if len({a.path for a in members[name]}) < 2]:
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
    file: CocoFile, path: Path, single: bool, problems: ErrorCollector
) -> tuple[dict[str, list[Annotation]], list[str]]:
    """Annotations by category, sorted by file name and id, and notes on images with several."""
    instances = [each for each in file.instances if np.isfinite(each.keypoints).any()]
    per_image = Counter(each.image_id for each in instances)
    members: dict[str, list[Annotation]] = {c.name: [] for c in file.categories.values()}
    beside = []  # other objects
    wrong = []
    for instance in sorted(instances, key=lambda each: (each.file_name, id_order(each.id))):
        several = per_image[instance.image_id] > 1
        if several and single:
            continue
        if instance.image_id in file.missing:
            problems.add(path, f"annotation {instance.id}: {file.missing[instance.image_id]}")
            continue
        annotation = instance.annotation(file.paths[instance.image_id], several)
        if several:
            try:
                as_box(annotation.xywh, annotation.size or reading.image_size(annotation.path))
            except HomologError as error:
                wrong.append(f"annotation {instance.id}: {error}")
                continue
            beside.append(annotation)
        members[instance.category].append(annotation)
    images = sum(1 for count in per_image.values() if count > 1)
    notes = []
    if images and single:
        notes.append(f"images with several annotated objects, left out: {images}")
    elif images:
        notes.append(
            f"images with several annotated objects: {images}, with {len(beside)} objects, which "
            "are paired with those of other images alone"
        )
    if wrong:
        notes.append(f"objects left out for their boxes: {abbreviate(wrong)}")
        if problems.collect:
            for message in wrong:
                problems.add(path, message)
    return members, notes


def _ordered_pairs(annotations: list[Annotation]) -> Int[np.ndarray, "P 2"]:
    """Positions of all ordered pairs with a keypoint in common, by source, then by target."""
    found = [np.empty((0, 2), dtype=np.int32)]
    _, image = np.unique([str(each.path) for each in annotations], return_inverse=True)
    for start in range(0, len(annotations), _ROWS):
        shared = shared_keypoints(annotations[start : start + _ROWS], annotations) > 0
        # Nothing is paired with itself, nor with others of its image.
        shared &= image[start : start + _ROWS, None] != image
        found.append((np.argwhere(shared) + np.array([start, 0])).astype(np.int32))
    return np.concatenate(found)


def __getattr__(name: str) -> Any:
    return moved.attribute(__name__, name)
