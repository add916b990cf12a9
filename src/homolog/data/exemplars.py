"""Labelled objects to transfer keypoints from."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from homolog.data import label_files
from homolog.data.formats import coco, coco_boxes
from homolog.data.formats.document import LabelFile, ReadOptions
from homolog.data.formats.entries import InstanceId, as_instance, number_instances
from homolog.data.labels import EXTRA, manual_keypoints
from homolog.data.pairs import Annotation, out_of_bounds
from homolog.data.reading import ErrorCollector, abbreviate
from homolog.errors import HomologError
from homolog.image import reading
from homolog.image.regions import as_box
from homolog.keypoints import KeypointSchema


@dataclass(frozen=True)
class ExemplarSet:
    """Labelled objects, one or several in an image.

    Attributes:
        annotations: with at least one visible keypoint each. Where an image has several, each is
            named by the image and its instance, such as `a.png#2`.
        categories: those of the annotations, as in a COCO file.
        notes: what was left out.
        instances: the instance id of each annotation, unique in its image.
        records: the entry of each annotation in the document of its file.
        file: all that their file holds; None if they come from none.
    """

    annotations: Sequence[Annotation]
    categories: Sequence[Mapping[str, Any]]
    notes: tuple[str, ...] = ()
    instances: Sequence[InstanceId] = ()
    records: Sequence[Mapping[str, Any]] = ()
    file: LabelFile | None = None

    @property
    def schemas(self) -> dict[str, KeypointSchema]:
        """The keypoints of each category, by its name."""
        return {c["name"]: KeypointSchema.coco(c) for c in self.categories}


def read(path: Path, folder: Path | None = None, *, images: Path | None = None) -> ExemplarSet:
    """Read objects with labelled keypoints from a file of labels.

    Of labels that `homolog annotate` wrote only the keypoints count that somebody reviewed. Every
    object of an image is an exemplar. Where there are several, their boxes tell them apart, and
    those without a usable box are left out. So are those whose images have been moved since
    `homolog annotate` wrote the file.

    Args:
        path: the file, in one of the formats of `homolog.data.label_files`.
        folder: where images are looked up that are not beside the file.
        images: the folder where they lie; they are then looked up nowhere else.

    Raises:
        HomologError: the format is another, an entry is malformed, an image is missing, or there
            are no labels.
    """
    if images is not None and not images.is_dir():
        raise HomologError(f"exemplar_images: expected a folder, got {images}")
    options = ReadOptions(images or folder, argument="exemplars", elsewhere=images is None)
    file = label_files.read(path, options)
    annotations, instances, records, categories, moved = _labelled_objects(path, file)
    numbered = number_instances([annotation.path for annotation in annotations], instances)
    labelled = [
        each for each in zip(annotations, numbered, records, strict=True) if each[0].visible.any()
    ]
    per_image = Counter(annotation.path for annotation, *_ in labelled)
    usable: list[tuple[Annotation, InstanceId, dict[str, Any]]] = []
    notes = list(file.notes)
    if moved:
        notes.append(f"{path}: images that are not there any more, no exemplars: {moved}")
    taken: set[tuple[Path, InstanceId]] = set()
    for annotation, instance, record in labelled:
        if per_image[annotation.path] > 1:
            name = f"{annotation.name}#{instance}"
            annotation = dataclasses.replace(annotation, name=name, shares_image=True)
            try:
                if (annotation.path, instance) in taken:
                    raise HomologError("expected each instance once in an image, got it again")
                size = annotation.size or reading.image_size(annotation.path)
                as_box(annotation.xywh, size)
                if annotation.visible.sum() == 1 and annotation.box == (0, 0, *size):
                    raise HomologError("box: expected one to tell it from others, got none")
            except HomologError as error:
                notes.append(f"{path}: {name}: {error}; it is left out")
                continue
        taken.add((annotation.path, instance))
        usable.append((annotation, instance, record))
    if not usable:
        reason = f"; {notes[0]}" if notes else ""
        raise HomologError(
            f"exemplars: expected objects with visible keypoints, got none in {path}{reason}"
        )
    outside = list(out_of_bounds(annotation for annotation, *_ in usable))
    if outside:
        notes.append(f"{path}: keypoints outside their images: {len(outside)} ({outside[0]})")
    used = {annotation.category for annotation, *_ in usable}
    return ExemplarSet(
        [annotation for annotation, *_ in usable],
        [c for c in categories if c["name"] in used],
        tuple(notes),
        [instance for _, instance, _ in usable],
        [record for *_, record in usable],
        file,
    )


def _labelled_objects(
    path: Path, file: LabelFile
) -> tuple[
    list[Annotation], list[InstanceId | None], list[dict[str, Any]], list[dict[str, Any]], str
]:
    """The annotations of a file; predicted keypoints that nobody reviewed are not visible in them.

    Returns:
        The annotations, their instances as far as the file gives them, their entries in the
        document, the categories of the document with keypoints, and the names of images that have
        been moved.
    """
    parsed = coco.parse(file.document, path, ErrorCollector(), check_places=True)
    entries = {entry["id"]: entry for entry in parsed.data["annotations"]}
    annotations: list[Annotation] = []
    instances: list[InstanceId | None] = []
    records: list[dict[str, Any]] = []
    given = any(coco_boxes.instance_of(entry) is not None for entry in entries.values())
    moved: dict[str, None] = {}
    info = parsed.data.get("info")
    again = any(EXTRA in entry for entry in entries.values())
    again |= isinstance(info, dict) and "failed" in info  # `homolog annotate` wrote the file
    for instance in parsed.instances:
        entry = entries[instance.id]
        if instance.image_id not in file.paths and not np.isfinite(instance.keypoints).any():
            continue  # nothing of it is needed
        try:
            annotation = instance.annotation(file.path(instance.image_id))
        except HomologError as error:
            if not again:
                message = f"exemplars: {path}: annotation {instance.id}: {error}"
                raise HomologError(message) from None
            moved[instance.file_name] = None
            continue
        if EXTRA in entry:
            manual = sorted(manual_keypoints(entry))
            keypoints = np.full_like(annotation.keypoints, np.nan)
            keypoints[manual] = annotation.keypoints[manual]
            annotation = dataclasses.replace(annotation, keypoints=keypoints)
        annotations.append(annotation)
        # The ids of a COCO file are a person's, those of other formats are only counted.
        own = as_instance(instance.id) if file.format == coco.FORMAT.name and not given else None
        instances.append(_instance(path, entry) if given else own)
        records.append(entry)
    listed = {c["id"]: c for c in file.document["categories"]}
    categories = [
        {**listed.get(number, {"keypoints": list(c.schema.names)}), "name": c.name, "id": number}
        for number, c in parsed.categories.items()
        if c.schema is not None
    ]
    return annotations, instances, records, categories, abbreviate(moved)


def _instance(path: Path, entry: Mapping[str, Any]) -> InstanceId | None:
    """The instance id that an annotation of a COCO file gives."""
    given = coco_boxes.instance_of(entry)
    try:
        return None if given is None else as_instance(given)
    except ValueError as error:
        raise HomologError(f"exemplars: {path}: annotation {entry['id']}: {error}") from None
