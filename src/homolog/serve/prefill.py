"""Predictions for images that are labelled for the first time, from those labelled before."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from homolog.data.exemplars import ExemplarSet
from homolog.data.labels import EXTRA, manual_keypoints
from homolog.data.pairs import Annotation
from homolog.errors import HomologError
from homolog.labelling.annotator import AnnotateConfig, Annotator
from homolog.labelling.posed_exemplars import PreparedExemplar
from homolog.matcher import Matcher
from homolog.serve.history import Entry, Id
from homolog.serve.review import Review
from homolog.serve.uploads import hide_path

_MAX_EXEMPLARS = 12
"""Of the labelled images the last ones, which predictions are made from: more would take longer."""

_REVIEW = 0.8  # points with a lower score are doubtful

_log = logging.getLogger(__name__)


class Prefill:
    """Predicts the keypoints of an image from those that are labelled.

    Args:
        matcher: extracts the descriptors.
        review: the labels.
    """

    def __init__(self, matcher: Matcher, review: Review):
        self._matcher, self._review = matcher, review
        # Annotations as they were, and what was computed of them: what takes time is kept.
        self._annotations: dict[tuple[Id, bytes], Annotation] = {}
        self._prepared: dict[Annotation, PreparedExemplar] = {}
        self._predicted: dict[Id, Entry] = {}

    def take(self, image: Id) -> Entry | None:
        """Category, box, keypoints and the member `homolog` of what was predicted for an image.

        Args:
            image: id of the image in the labels.

        Returns:
            None where nothing was, or it was taken before.
        """
        return self._predicted.pop(image, None)

    def predict(self, image: Id) -> bool:
        """Predict the keypoints of an image; for one thread only.

        Args:
            image: id of the image in the labels.

        Returns:
            Whether there is a prediction to take: not where no other image is labelled yet.

        Raises:
            HomologError: the image is not in the folder, or cannot be read.
        """
        exemplars = self._exemplars(image)
        if not exemplars.annotations:
            return False
        if image not in self._review.images:
            raise HomologError(f"image: expected one that is in the folder, got {image!r}")
        stored = self._review.images[image]
        _log.info("predicting %s from %d images", stored.name, len(exemplars.annotations))
        for annotation in list(self._prepared):
            if annotation not in exemplars.annotations:
                del self._prepared[annotation]
        with hide_path(stored):
            annotator = Annotator(
                self._matcher, exemplars, AnnotateConfig(_REVIEW), prepared=self._prepared
            )
            record = annotator.record(stored.name, annotator.load(stored.path))
            if "failed" in record:
                raise HomologError(record["failed"])
        self._predicted[image] = record["annotation"]
        return True

    def _exemplars(self, image: Id) -> ExemplarSet:
        """The last images that are labelled completely, without one of them."""
        document = self._review.document()
        categories = {c["id"]: c for c in document["categories"] if c.get("keypoints")}
        kept: dict[tuple[Id, bytes], Annotation] = {}
        for entry in document["annotations"]:
            category, own = categories.get(entry["category_id"]), entry["image_id"]
            if category is None or own == image or own not in self._review.images:
                continue
            if not is_labelled(entry) or not any(entry["keypoints"][2::3]):
                continue
            key = own, repr([entry["category_id"], entry["keypoints"], entry["bbox"]]).encode()
            if key not in self._annotations:
                self._annotations[key] = self._annotation(entry, category["name"])
            kept[key] = self._annotations[key]
        self._annotations = dict(list(kept.items())[-_MAX_EXEMPLARS:])
        annotations = list(self._annotations.values())
        used = {annotation.category for annotation in annotations}
        return ExemplarSet(annotations, [c for c in categories.values() if c["name"] in used])

    def _annotation(self, entry: Entry, category: str) -> Annotation:
        stored = self._review.images[entry["image_id"]]
        rows = np.array(entry["keypoints"], dtype=float).reshape(-1, 3)
        x, y, width, height = map(float, entry["bbox"])
        return Annotation(
            name=stored.name, path=stored.path, category=category,
            keypoints=np.where(rows[:, 2:] > 0, rows[:, :2], np.nan),
            box=(x, y, x + width, y + height), occluded=rows[:, 2] == 1,
        )  # fmt: skip


def is_labelled(entry: dict[str, Any]) -> bool:
    """Whether a person has labelled or reviewed every keypoint of an annotation."""
    return EXTRA not in entry or len(manual_keypoints(entry)) == len(entry["keypoints"]) // 3
