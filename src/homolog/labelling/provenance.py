"""Where annotations come from: a person, another tool, the page, or a prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from homolog.data.exemplars import ExemplarSet
from homolog.data.formats.entries import InstanceId
from homolog.data.labels import EXTRA, manual_keypoints
from homolog.data.pairs import Annotation
from homolog.labelling.instances import Identity


class OwnObject:
    """An exemplar, in the image that it comes from.

    Attributes:
        annotation: the exemplar.
        instance: its instance id, unique in the image; None if it has none.
        record: its entry in the document of its file; None if it comes from none.
        known: of which keypoints somebody has said where they are, or that they are not visible.
    """

    def __init__(
        self,
        annotation: Annotation,
        instance: InstanceId | None,
        record: Mapping[str, Any] | None,
    ):
        self.annotation = annotation
        self.instance = instance
        self.record = record
        self.known: Bool[np.ndarray, "K"] = np.ones(len(annotation.keypoints), dtype=bool)
        if record is not None and not is_foreign(record):
            self.known[:] = False
            self.known[sorted(manual_keypoints(dict(record)))] = True

    @property
    def complete(self) -> bool:
        """Whether nothing of it is left to be predicted."""
        return bool(self.known.all())

    @property
    def identity(self) -> Identity:
        """Its instance id and box."""
        return self.instance, self.annotation.xywh


def own_objects(exemplars: ExemplarSet) -> dict[Path, list[OwnObject]]:
    """The exemplars by the resolved paths of their images."""
    nothing = [None] * len(exemplars.annotations)
    instances: Sequence[InstanceId | None] = exemplars.instances or nothing
    records: Sequence[Mapping[str, Any] | None] = exemplars.records or nothing
    found: dict[Path, list[OwnObject]] = {}
    for each in map(OwnObject, exemplars.annotations, instances, records):
        found.setdefault(each.annotation.path.resolve(), []).append(each)
    return found


def file_annotations(exemplars: ExemplarSet) -> dict[Path, list[Mapping[str, Any]]]:
    """All annotations of the exemplars' file by the resolved paths of their images.

    Besides exemplars these are objects that are not labelled, or only by a prediction.
    """
    if exemplars.file is None:
        return {}
    found: dict[Path, list[Mapping[str, Any]]] = {}
    paths = {number: path.resolve() for number, path in exemplars.file.paths.items()}
    for annotation in exemplars.file.document["annotations"]:
        if annotation["image_id"] in paths:
            found.setdefault(paths[annotation["image_id"]], []).append(annotation)
    return found


def labelled_keypoints(annotation: Mapping[str, Any]) -> list[int]:
    """The keypoints of an annotation that are labelled, occluded ones included."""
    return [k for k, v in enumerate(annotation.get("keypoints", [])[2::3]) if v > 0]


def is_foreign(annotation: Mapping[str, Any]) -> bool:
    """Whether an annotation was labelled by another tool or by hand, and not on the page.

    It may have been corrected on the page. All of it is somebody's: keypoints that it has not are
    not visible.
    """
    if EXTRA not in annotation:
        return bool(labelled_keypoints(annotation))
    extra = annotation[EXTRA]
    return not extra.get("scores") and any(extra["predicted"][2::3])


def is_drawn(annotation: Mapping[str, Any]) -> bool:
    """Whether somebody drew an object, whose keypoints have not been predicted since."""
    if EXTRA not in annotation:
        return not labelled_keypoints(annotation)
    extra = annotation[EXTRA]
    drawn = bool(extra.get("box_reviewed")) and not extra.get("scores")
    return drawn and not any(extra["predicted"][2::3])


def is_done(annotation: Mapping[str, Any]) -> bool:
    """Whether nothing of an annotation is left to be predicted."""
    if is_foreign(annotation):
        return True
    count = len(annotation.get("keypoints", [])) // 3
    return EXTRA in annotation and len(manual_keypoints(dict(annotation))) == count
