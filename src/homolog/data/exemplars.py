"""Labelled objects to transfer keypoints from: COCO, Ultralytics YOLO-pose or CSV files."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from homolog.data.formats import coco, coco_boxes, table, yolo
from homolog.data.formats.entries import InstanceId, as_instance, number_instances
from homolog.data.labels import EXTRA, manual_keypoints
from homolog.data.pairs import Annotation
from homolog.data.reading import ErrorCollector, ImageFinder
from homolog.errors import HomologError
from homolog.image import reading
from homolog.image.regions import as_box
from homolog.keypoints import KeypointSchema

_Labelled = tuple[list[Annotation], list[InstanceId | None], Sequence[Mapping[str, Any]]]
"""Annotations, their instances as far as the file gives them, and categories as in a COCO file."""


@dataclass(frozen=True)
class ExemplarSet:
    """Labelled objects, one or several in an image.

    Attributes:
        annotations: with at least one visible keypoint each. Where an image has several, each is
            named by the image and its instance, such as `a.png#2`.
        categories: those of the annotations, as in a COCO file.
        notes: what was left out.
        instances: the instance id of each annotation, unique in its image.
    """

    annotations: Sequence[Annotation]
    categories: Sequence[Mapping[str, Any]]
    notes: tuple[str, ...] = ()
    instances: Sequence[InstanceId] = ()

    @property
    def schemas(self) -> dict[str, KeypointSchema]:
        """The keypoints of each category, by its name."""
        return {c["name"]: KeypointSchema.coco(c) for c in self.categories}


def read(path: Path, folder: Path | None = None) -> ExemplarSet:
    """Read objects with labelled keypoints from a COCO, YOLO or CSV file.

    Of labels that `homolog annotate` wrote only the keypoints count that somebody reviewed. Every
    object of an image is an exemplar. Where there are several, their boxes tell them apart, and
    those without a usable box are left out.

    Args:
        path: COCO keypoints (`.json`), an Ultralytics data set with `kpt_shape` (`.yaml`), or a
            table with a header and columns `image`, `keypoint`, `x`, `y`, and perhaps `instance`
            and `category` (`.csv`).
        folder: where images are looked up that are not beside the file.

    Raises:
        HomologError: the format is another, an entry is malformed, an image is missing, or there
            are no labels.
    """
    suffix = path.suffix.lower()
    if suffix not in _READERS:
        raise HomologError(f"exemplars: expected a file in {', '.join(_READERS)}, got {path}")
    if not path.is_file():
        raise HomologError(f"exemplars: expected an existing file, got {path}")
    annotations, instances, categories = _READERS[suffix](path, folder)
    numbered = number_instances([annotation.path for annotation in annotations], instances)
    labelled = [pair for pair in zip(annotations, numbered, strict=True) if pair[0].visible.any()]
    per_image = Counter(annotation.path for annotation, _ in labelled)
    usable: list[tuple[Annotation, InstanceId]] = []
    notes = []
    taken: set[tuple[Path, InstanceId]] = set()
    for annotation, instance in labelled:
        if per_image[annotation.path] > 1:
            name = f"{annotation.name}#{instance}"
            annotation = dataclasses.replace(annotation, name=name, shares_image=True)
            try:
                if (annotation.path, instance) in taken:
                    raise HomologError("expected each instance once in an image, got it again")
                as_box(annotation.xywh, annotation.size or reading.image_size(annotation.path))
            except HomologError as error:
                notes.append(f"{path}: {name}: {error}; it is left out")
                continue
        taken.add((annotation.path, instance))
        usable.append((annotation, instance))
    if not usable:
        reason = f"; {notes[0]}" if notes else ""
        raise HomologError(
            f"exemplars: expected objects with visible keypoints, got none in {path}{reason}"
        )
    used = {annotation.category for annotation, _ in usable}
    return ExemplarSet(
        [annotation for annotation, _ in usable],
        [c for c in categories if c["name"] in used],
        tuple(notes),
        [instance for _, instance in usable],
    )


def _read_coco(path: Path, folder: Path | None) -> _Labelled:
    """The annotations of a COCO file; predicted keypoints that nobody reviewed are invisible."""
    file = coco.read(path, ErrorCollector())
    finder = ImageFinder(path, fallback=folder)
    entries = {entry["id"]: entry for entry in file.data["annotations"]}
    annotations: list[Annotation] = []
    instances: list[InstanceId | None] = []
    given = any(coco_boxes.instance_of(entry) is not None for entry in entries.values())
    for instance in file.instances:
        annotation = instance.annotation(finder.find(instance.file_name))
        if EXTRA in entries[instance.id]:
            manual = sorted(manual_keypoints(entries[instance.id]))
            keypoints = np.full_like(annotation.keypoints, np.nan)
            keypoints[manual] = annotation.keypoints[manual]
            annotation = dataclasses.replace(annotation, keypoints=keypoints)
        annotations.append(annotation)
        instances.append(_instance(path, entries[instance.id]) if given else instance.id)
    listed = {c["id"]: c for c in file.data["categories"]}
    categories = [
        {**listed.get(number, {"keypoints": list(c.schema.names)}), "name": c.name, "id": number}
        for number, c in file.categories.items()
        if c.schema is not None
    ]
    return annotations, instances, categories


def _instance(path: Path, entry: Mapping[str, Any]) -> InstanceId | None:
    """The instance id that an annotation of a COCO file gives."""
    given = coco_boxes.instance_of(entry)
    try:
        return None if given is None else as_instance(given)
    except ValueError as error:
        raise HomologError(f"exemplars: {path}: annotation {entry['id']}: {error}") from None


_READERS: Mapping[str, Callable[[Path, Path | None], _Labelled]] = {
    ".json": _read_coco,
    ".yaml": yolo.read,
    ".yml": yolo.read,
    ".csv": table.read,
}
"""By the ending of a file the function that reads it."""
