"""The annotator: from an image to COCO annotations with a score for each keypoint."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from homolog.data.boxes import BoxedObject, BoxSet
from homolog.data.exemplars import ExemplarSet
from homolog.data.formats.entries import InstanceId
from homolog.data.labels import EXTRA
from homolog.data.pairs import Annotation
from homolog.descriptors import Features
from homolog.errors import HomologError
from homolog.image import reading
from homolog.image.geometry import IDENTITY, PoseVariant
from homolog.labelling.exemplar_features import BATCH
from homolog.labelling.exemplars import (
    EXEMPLAR_POSES,
    Exemplars,
    KeypointPrediction,
    PreparedExemplar,
)
from homolog.labelling.instances import INSTANCE, Identity, free_instance, match_instances
from homolog.labelling.neighbours import Territories
from homolog.labelling.objects import ObjectFinder
from homolog.loading import joined
from homolog.matcher import Matcher
from homolog.zoom import Zoom

Record = dict[str, Any]
"""The entry of an image in the resume log: its size and annotations, or why there are none."""

ZOOM: Zoom = None
"""Whether images are zoomed in on by default."""

LEAST_LIKENESS = 0.35
"""The likeness below which a box holds nothing like the exemplars (docs/experiments.md)."""


@dataclass(frozen=True)
class AnnotateConfig:
    """Which predicted keypoints a person should review, and how objects are looked at.

    Attributes:
        review: keypoints with a lower score are marked doubtful.
        poses: that exemplars are tried in.
        zoom: `auto` takes a second look at objects that do not fill their images.
        max_objects: how many objects an image may show, which are found; None for one, which is
            labelled wherever it is.
    """

    review: float = 0.8
    poses: tuple[PoseVariant, ...] = EXEMPLAR_POSES
    zoom: Zoom = ZOOM
    max_objects: int | None = None


@dataclass(frozen=True, eq=False)
class LoadedImage:
    """An image that was read ahead.

    Attributes:
        path: of the image.
        size: width and height in pixels.
        features: of the whole image, without descriptors; None if nothing in it is labelled.
    """

    path: Path
    size: tuple[int, int]
    features: Features | None


class Annotator:
    """Annotates one image after another; each worker process makes one of its own.

    Args:
        matcher: extracts the descriptors.
        exemplars: the labelled objects.
        config: which keypoints are doubtful, and how objects are looked at.
        boxes: the objects of the images; None where an image is one object, or they are found.
        prepared: what was computed before of some of the exemplars (`Exemplars`).

    Raises:
        HomologError: an exemplar cannot be used.
    """

    def __init__(
        self,
        matcher: Matcher,
        exemplars: ExemplarSet,
        config: AnnotateConfig,
        boxes: BoxSet | None = None,
        prepared: MutableMapping[Annotation, PreparedExemplar] | None = None,
    ):
        self.matcher = matcher
        self.config = config
        self.boxes = boxes
        self.several = boxes is not None or config.max_objects is not None
        self.exemplars = Exemplars(
            matcher, exemplars.annotations, exemplars.schemas, config.poses,
            regions=self.several, zoom=config.zoom, prepared=prepared,
        )  # fmt: skip
        self._finder = None
        if config.max_objects is not None:
            self._finder = ObjectFinder(matcher, exemplars.annotations)
        self._ids = {c["name"]: c["id"] for c in exemplars.categories}
        self._labelled = own_objects(exemplars)

    def load(self, path: Path) -> LoadedImage | HomologError:
        """An image without descriptors yet, or why it cannot be read."""
        try:
            if self.boxes is not None and not self.boxes.of(path):
                return LoadedImage(path, reading.image_size(path), None)
            # With several categories, that of the image is not known before it is annotated.
            (category,) = self._ids if len(self._ids) == 1 else (None,)
            image: Any = path
            if self.several or self.config.zoom is not None:  # parts of it will be cut out
                image = reading.load_image(
                    path, max_pixels=self.matcher.max_pixels, name=str(path)
                ).image
            features = self.matcher.load_image(image, str(path), category)
            return LoadedImage(path, features.size, features)
        except HomologError as error:
            return error

    def record(self, name: str, image: LoadedImage | HomologError) -> Record:
        """The entry of an image in the resume log.

        Args:
            name: of the image.
            image: what `load` returned.
        """
        if isinstance(image, HomologError):
            return {"file_name": name, "failed": str(image)}
        size = {"width": image.size[0], "height": image.size[1]}
        if image.features is None:
            return {"file_name": name, **size, "annotations": [], "unlabelled": []}
        if not self.several:
            prediction = self.exemplars.find(self._whole(image.features))
            return {"file_name": name, **size, "annotation": self._annotation(prediction)}
        try:
            return {"file_name": name, **size, **self._instances(image.path, image.features)}
        except HomologError as error:
            return {"file_name": name, "failed": str(error)}

    def _whole(self, features: Features) -> Features:
        """Descriptors of an image of one object, zoomed in on if that is wanted."""
        zoom = self.config.zoom
        features = self.matcher.load_image(features, zoom=zoom)
        if zoom is not None and features.context is None:
            features = joined(features)  # exemplars are joined, too
        return self.matcher.extract(features)

    def _instances(self, path: Path, features: Features) -> Record:
        """The annotations of all objects of an image but those that are exemplars."""
        objects = self._objects(path, features)
        labelled = self._labelled.get(path.resolve(), [])
        own = match_instances(
            [identity for _, identity in labelled], [(o.instance, o.box) for o in objects]
        )
        record: Record = {"annotations": [], "unlabelled": []}
        if labelled:
            taken: list[InstanceId | None] = [each.instance for each in objects]
            for (_, (number, _)), index in zip(labelled, own, strict=True):
                if index is not None:
                    number = objects[index].instance
                elif number is None or number in taken:
                    number = free_instance(taken)
                taken.append(number)
            record["exemplars"] = taken[len(objects) :]
        territories = Territories([o.box for o in objects], [o.mask for o in objects])
        todo = [index for index in range(len(objects)) if index not in own]
        for start in range(0, len(todo), BATCH):
            chosen = todo[start : start + BATCH]
            boxes = [objects[index].box for index in chosen]
            loaded = self.matcher.load_regions(
                features, boxes, str(path), features.category, zoom=self.config.zoom
            )
            for index, found in zip(chosen, self.matcher.extract(loaded), strict=True):
                cells, log_shares = territories.restrict(found.by_pose[IDENTITY], index)
                category = objects[index].category
                prediction = self.exemplars.find(
                    cells, category if category in self._ids else None, log_shares
                )
                self._add(record, objects[index], prediction)
            features.zoomed.clear()  # a thousand regions would fill the memory
        return record

    def _objects(self, path: Path, features: Features) -> Sequence[BoxedObject]:
        """The objects of an image: those given, or those found, numbered from 1."""
        if self.boxes is not None:
            return self.boxes.of(path)
        assert self._finder is not None and self.config.max_objects is not None
        found = self._finder.find(features, self.config.max_objects, str(path))
        return [
            BoxedObject(number, each.box, each.score, each.category)
            for number, each in enumerate(found, start=1)
        ]

    def _add(self, record: Record, given: BoxedObject, prediction: KeypointPrediction) -> None:
        """Add the prediction of an object to the record of its image, if it is like an exemplar."""
        x, y, width, height = given.box
        if prediction.likeness < LEAST_LIKENESS:
            box = [round(value, 2) for value in given.box]
            record["unlabelled"].append({INSTANCE: given.instance, "bbox": box})
            return
        prediction = replace(prediction, box=(x, y, x + width, y + height))
        record["annotations"].append({INSTANCE: given.instance, **self._annotation(prediction)})

    def _annotation(self, prediction: KeypointPrediction) -> dict[str, Any]:
        visible = prediction.visibility >= 0.5
        points = np.round(np.where(visible[:, None], prediction.points, 0), 2)
        keypoints = np.column_stack([points, np.where(visible, 2, 0)])
        x0, y0, x1, y1 = prediction.box
        # A keypoint is doubtful, too, where the exemplars disagree on whether it is visible.
        doubtful = (prediction.scores < self.config.review) & visible
        doubtful |= (prediction.visibility > 0.25) & (prediction.visibility < 0.75)
        flat = [int(v) if v == int(v) else float(v) for v in keypoints.flatten()]
        score = round(float(prediction.scores[visible].mean()), 4) if visible.any() else 0.0
        return {
            "category_id": self._ids[prediction.category],
            "bbox": [round(v, 2) for v in (x0, y0, x1 - x0, y1 - y0)],
            "area": round((x1 - x0) * (y1 - y0), 2),
            "iscrowd": 0,
            "num_keypoints": int(visible.sum()),
            "keypoints": flat,
            "score": score,
            EXTRA: {
                "scores": [round(float(score), 4) for score in prediction.scores],
                "doubtful": np.flatnonzero(doubtful).tolist(),
                "reviewed": [],
                "predicted": list(flat),
                "exemplars": [list(exemplar) for exemplar in prediction.exemplars],
            },
        }


def own_objects(exemplars: ExemplarSet) -> dict[Path, list[tuple[Annotation, Identity]]]:
    """The exemplars by the resolved paths of their images, with their instance ids and boxes."""
    instances: Sequence[InstanceId | None] = exemplars.instances
    if not instances:
        instances = [None] * len(exemplars.annotations)
    found: dict[Path, list[tuple[Annotation, Identity]]] = {}
    for annotation, instance in zip(exemplars.annotations, instances, strict=True):
        identity = instance, annotation.xywh
        found.setdefault(annotation.path.resolve(), []).append((annotation, identity))
    return found
