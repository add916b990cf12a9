"""The annotator: from an image to COCO annotations with a score for each keypoint."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from homolog.data.boxes import BoxedObject, BoxSet
from homolog.data.exemplars import ExemplarSet
from homolog.data.formats.document import box_of_keypoints
from homolog.data.formats.entries import InstanceId, as_instance
from homolog.data.labels import EXTRA
from homolog.data.pairs import Annotation
from homolog.descriptors import DescriptorMap, Features
from homolog.errors import HomologError
from homolog.image import reading
from homolog.image.poses import PoseVariant
from homolog.image.regions import as_box
from homolog.labelling.closer import CloserLooks
from homolog.labelling.exemplar_features import BATCH
from homolog.labelling.exemplars import EXEMPLAR_POSES, Exemplars, KeypointPrediction
from homolog.labelling.instances import INSTANCE, free_instance, match_instances
from homolog.labelling.neighbours import Territories
from homolog.labelling.objects import ObjectFinder
from homolog.labelling.posed_exemplars import PreparedExemplar
from homolog.labelling.provenance import OwnObject, file_annotations, own_objects
from homolog.loading import joined
from homolog.matcher import Matcher
from homolog.zoom import Zoom

Record = dict[str, Any]
"""The entry of an image in the resume log: its size and annotations, or why there are none."""

ZOOM: Zoom = None
"""Whether images are zoomed in on by default."""


@dataclass(frozen=True)
class AnnotateConfig:
    """Which predicted keypoints a person should review, and how objects are looked at.

    Attributes:
        review: keypoints with a lower score are marked doubtful; None to choose that threshold.
        poses: that exemplars are tried in.
        zoom: `auto` takes a second look at objects that do not fill their images.
        max_objects: how many objects an image may show, which are found; None for one, which is
            labelled wherever it is.
        errors: the share of the keypoints that are not doubtful which may be wrong, as expected
            from their scores, where the threshold is chosen.
        refine: whether keypoints are refined by closer looks (`homolog.labelling.closer`).
        mirror: whether images are also looked at mirrored (`homolog.mirror`).
    """

    review: float | None = None
    poses: tuple[PoseVariant, ...] = EXEMPLAR_POSES
    zoom: Zoom = ZOOM
    max_objects: int | None = None
    errors: float = 0.05
    refine: bool = False
    mirror: bool = False


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
        self._labelled = own_objects(exemplars)
        known = {
            each.annotation: each.known
            for several in self._labelled.values()
            for each in several
            if not each.complete
        }
        self.exemplars = Exemplars(
            matcher, exemplars.annotations, exemplars.schemas, config.poses,
            regions=self.several, zoom=config.zoom, mirror=config.mirror, prepared=prepared,
            known=known,
        )  # fmt: skip
        self._closer = CloserLooks(matcher, exemplars.schemas) if config.refine else None
        self._finder = None
        if config.max_objects is not None:
            self._finder = ObjectFinder(matcher, exemplars.annotations)
        self._ids = {c["name"]: c["id"] for c in exemplars.categories}
        self._names = {number: name for name, number in self._ids.items()}
        # Where labels that are given again have several objects, they also say where these are.
        self._crowds = {
            path: entries for path, entries in file_annotations(exemplars).items()
            if len(entries) > 1 and any(EXTRA in entry for entry in entries)
        }  # fmt: skip

    def load(self, path: Path) -> LoadedImage | HomologError:
        """An image without descriptors yet, or why it cannot be read."""
        try:
            if self.boxes is not None and not self.boxes.of(path):
                return LoadedImage(path, reading.image_size(path), None)
            # With several categories, that of the image is not known before it is annotated.
            (category,) = self._ids if len(self._ids) == 1 else (None,)
            image: Any = path
            crowded = self.several or path.resolve() in self._crowds
            if crowded or self.config.zoom is not None:  # parts of it will be cut out
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
        own = self._labelled.get(image.path.resolve(), [])
        if not self.several and image.path.resolve() not in self._crowds:
            return {"file_name": name, **size, **self._single(image.path, image.features, own)}
        try:
            return {"file_name": name, **size, **self._instances(image.path, image.features, own)}
        except HomologError as error:
            return {"file_name": name, "failed": str(error)}

    def _single(self, path: Path, features: Features, own: Sequence[OwnObject]) -> Record:
        """The annotation of the only object of an image; none if only itself is known of it."""
        category = own[0].annotation.category if own else None
        without = [each.annotation for each in own]  # it would find itself
        if own and not self.exemplars.has_others(without, category):
            return {"annotations": [], "unlabelled": []}
        whole = self._whole(features)
        prediction = self.exemplars.find(whole, category, None, without, path.name)
        prediction = self._refined(whole, whole.descriptor_map(), prediction)
        return {"annotation": self._annotation(prediction, features.size)}

    def _refined(
        self, features: Features, descriptor_map: DescriptorMap, prediction: KeypointPrediction
    ) -> KeypointPrediction:
        """The prediction after closer looks, if these are wanted."""
        if self._closer is None:
            return prediction
        return self._closer.refine(features, descriptor_map, prediction)

    def _whole(self, features: Features) -> Features:
        """Descriptors of an image of one object, zoomed in on if that is wanted."""
        zoom = self.config.zoom
        features = self.matcher.load_image(features, zoom=zoom, mirror=self.config.mirror)
        if zoom is not None and features.context is None:
            features = joined(features)  # exemplars are joined, too
        return self.matcher.extract(features)

    def _instances(self, path: Path, features: Features, own: Sequence[OwnObject]) -> Record:
        """The annotations of all objects of an image but those that are labelled already."""
        objects = list(self._objects(path, features, own))
        found_in = match_instances(
            [each.identity for each in own], [(o.instance, o.box) for o in objects]
        )
        record: Record = {"annotations": [], "unlabelled": []}
        numbers: list[InstanceId | None] = [each.instance for each in objects]
        exemplar_of: dict[int, OwnObject] = {}
        for each, index in zip(own, found_in, strict=True):
            number = each.instance
            if index is not None:
                number = objects[index].instance
            elif number is None or number in numbers:
                number = free_instance(numbers)
            numbers.append(number)
            if index is None and not each.complete:  # known, although nobody has given its box
                index = self._append(objects, each, number, features.size)
            if index is not None:
                exemplar_of[index] = each
        if own:
            record["exemplars"] = numbers[-len(own) :]
        territories = Territories([o.box for o in objects], [o.mask for o in objects])
        todo = [
            index
            for index in range(len(objects))
            if index not in exemplar_of or not exemplar_of[index].complete
        ]
        for start in range(0, len(todo), BATCH):
            chosen = todo[start : start + BATCH]
            boxes = [objects[index].box for index in chosen]
            loaded = self.matcher.load_regions(
                features, boxes, str(path), features.category, zoom=self.config.zoom,
                mirror=self.config.mirror,
            )  # fmt: skip
            for index, found in zip(chosen, self.matcher.extract(loaded), strict=True):
                cells, log_shares = territories.restrict(found.descriptor_map(), index)
                category = objects[index].category
                itself = [exemplar_of[index].annotation] if index in exemplar_of else []
                if itself:
                    category = itself[0].category
                category = category if category in self._ids else None
                if not self.exemplars.has_others(itself, category):
                    continue
                prediction = self.exemplars.find(cells, category, log_shares, itself, path.name)
                prediction = self._refined(found, cells, prediction)
                self._add(record, objects[index], prediction, features.size)
            features.zoomed.clear()  # a thousand regions would fill the memory
            features.crops.clear()
        return record

    def _append(
        self,
        objects: list[BoxedObject],
        exemplar: OwnObject,
        number: InstanceId,
        size: tuple[int, int],
    ) -> int | None:
        """Add an exemplar to the objects of its image; its position, None if its box is no box."""
        try:
            box = as_box(exemplar.annotation.xywh, size)
        except HomologError:
            return None
        objects.append(BoxedObject(number, box, None, exemplar.annotation.category))
        return len(objects) - 1

    def _objects(
        self, path: Path, features: Features, own: Sequence[OwnObject]
    ) -> Sequence[BoxedObject]:
        """The objects of an image: those given, found and numbered from 1, or known."""
        if self.boxes is not None:
            return self.boxes.of(path)
        if self._finder is not None and self.config.max_objects is not None:
            found = self._finder.find(features, self.config.max_objects, str(path))
            return [
                BoxedObject(number, each.box, each.score, each.category)
                for number, each in enumerate(found, start=1)
            ]
        known: list[BoxedObject] = []
        for entry in self._crowds[path.resolve()]:
            try:
                box = as_box(entry["bbox"], features.size)
                number = as_instance(entry.get(INSTANCE, entry["id"]))
            except (HomologError, KeyError, ValueError):
                continue  # it stays as it is
            for each in own:
                if each.record is entry and each.instance is not None:
                    number = each.instance
            if number in [each.instance for each in known]:
                number = free_instance(each.instance for each in known)
            category = self._names.get(entry["category_id"])
            known.append(BoxedObject(number, box, None, category))
        return known

    def _add(
        self,
        record: Record,
        given: BoxedObject,
        prediction: KeypointPrediction,
        size: tuple[int, int],
    ) -> None:
        """Add the prediction of an object to the record of its image, if it is like an exemplar."""
        x, y, width, height = given.box
        if prediction.likeness < self.matcher.config.calibration.least_likeness:
            box = [round(value, 2) for value in given.box]
            record["unlabelled"].append({INSTANCE: given.instance, "bbox": box})
            return
        prediction = replace(prediction, box=(x, y, x + width, y + height))
        annotation = self._annotation(prediction, size)
        record["annotations"].append({INSTANCE: given.instance, **annotation})

    def _annotation(self, prediction: KeypointPrediction, size: tuple[int, int]) -> dict[str, Any]:
        """A prediction as a COCO annotation, with what is needed to review it.

        A keypoint is labelled if it is in half of the blended exemplars or more, by their weights;
        it is occluded (v = 1) if it is that in half or more of those that have it.

        Args:
            prediction: what was predicted.
            size: width and height of the image.
        """
        visible = prediction.visibility >= 0.5
        points = np.round(np.where(visible[:, None], prediction.points, 0), 2)
        visibility = np.where(prediction.occlusion >= 0.5, 1, 2)
        keypoints = np.column_stack([points, np.where(visible, visibility, 0)])
        x0, y0, x1, y1 = prediction.box
        if round(x1 - x0, 2) <= 0 or round(y1 - y0, 2) <= 0:  # flat, as around a single keypoint
            x0, y0, width, height = box_of_keypoints(keypoints, size)
            x1, y1 = x0 + width, y0 + height
        # A threshold is chosen when all scores are known (`homolog.labelling.review`). A keypoint
        # is doubtful, too, where the exemplars disagree on whether it is visible.
        doubtful = (prediction.scores < (self.config.review or 0.0)) & visible
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
                **({"mirrored": True} if prediction.mirrored else {}),
            },
        }
