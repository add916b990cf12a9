"""The instances of labels under review: added, changed, deleted, all of which can be undone.

What is deleted stays in the file, in the list `deleted` of its member `homolog`, from where it can
be restored. Members of the file and of annotations that are not known here are left as they are.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from homolog.data.formats.coco_boxes import INSTANCE_MEMBERS
from homolog.data.formats.document import box_of_keypoints
from homolog.data.formats.entries import InstanceId, as_instance
from homolog.data.labels import EXTRA
from homolog.errors import HomologError
from homolog.labelling.instances import free_instance
from homolog.serve.history import Change, Edited, Entry, History, Id, State


class Instances(History):
    """The annotations of labels as instances of their images, and the history of their changes.

    Attributes:
        labels: as they are now.
        deleted: the annotations that were deleted, which can be restored.

    Args:
        labels: their document is changed in place.

    Raises:
        HomologError: what is kept of deleted annotations cannot be read.
    """

    def add(self, image: Id, category: Id, box: tuple[float, float, float, float]) -> Edited:
        """Add an instance without keypoints, all of which are to be reviewed.

        Args:
            image: id of the image.
            category: id of the category.
            box: (x, y, width, height) in pixels.

        Raises:
            HomologError: there is no such category.
        """
        entry = self._new_entry(image, category)
        entry |= {"bbox": list(box), "area": box[2] * box[3]}
        entry[EXTRA]["box_reviewed"] = True
        return self.record(entry["id"], State(entry, len(self.labels.annotations)))

    def label(
        self,
        image: Id,
        category: Id,
        size: tuple[int, int],
        keypoint: int,
        point: tuple[float, float] | None,
        visible: bool,
        occluded: bool | None,
    ) -> Edited:
        """Label a keypoint of the only object of an image, which is added if it is not there yet.

        Args:
            image: id of the image.
            category: id of the category.
            size: width and height of the image.
            keypoint: index of the keypoint.
            point: (x, y) in pixels; None to leave it where it is.
            visible: whether the keypoint is labelled at all, be it visible or occluded.
            occluded: whether it is occluded; None to leave that as it is.

        Raises:
            HomologError: the arguments do not fit the labels.
        """
        there = [
            entry["id"] for entry in self.labels.annotations
            if (entry["image_id"], entry["category_id"]) == (image, category)
        ]  # fmt: skip
        if there:
            return self.correct(there[0], keypoint, point, visible, occluded)
        entry = self._new_entry(image, category)
        entry |= {"bbox": [0, 0, *map(float, size)], "area": float(size[0] * size[1])}
        entry[EXTRA]["box_of_keypoints"] = True
        self.put(entry["id"], State(entry, len(self.labels.annotations)))
        try:
            return self._correct(entry["id"], keypoint, point, visible, occluded, State())
        except HomologError:
            self.put(entry["id"], State())
            raise

    def wants(self, image: Id, predicted: Entry) -> bool:
        """Whether a prediction adds to what is labelled in an image.

        Args:
            image: id of the image.
            predicted: category, box, keypoints and the member `homolog` of the prediction.
        """
        there = [entry for entry in self.labels.annotations if entry["image_id"] == image]
        if not there:
            return True
        begun = len(there) == 1 and there[0].get(EXTRA, {}).get("box_of_keypoints", False)
        return begun and bool(_open_keypoints(there[0], predicted))

    def prefill(self, image: Id, predicted: Entry) -> Edited:
        """Add the prediction for an image, or complete what somebody has begun to label there.

        Args:
            image: id of the image.
            predicted: category, box, keypoints and the member `homolog` of the prediction.
        """
        there = [entry for entry in self.labels.annotations if entry["image_id"] == image]
        if not there:
            entry = {**self._new_entry(image, predicted["category_id"]), **predicted}
            return self.record(entry["id"], State(entry, len(self.labels.annotations)))
        begun = copy.deepcopy(there[0])
        for keypoint in _open_keypoints(begun, predicted):
            row = slice(3 * keypoint, 3 * keypoint + 3)
            begun["keypoints"][row] = predicted["keypoints"][row]
        begun["num_keypoints"] = sum(v > 0 for v in begun["keypoints"][2::3])
        begun[EXTRA] = {**predicted[EXTRA], "reviewed": begun[EXTRA]["reviewed"]}
        for member in ("bbox", "area"):
            begun[member] = predicted[member]
        return self.record(begun["id"], dataclasses.replace(self.state(begun["id"]), entry=begun))

    def set_box(self, id: Id, box: tuple[float, float, float, float]) -> Edited:
        """Move or resize the box of an instance; its keypoints stay where they are.

        Raises:
            HomologError: there is no such annotation.
        """
        changed = copy.deepcopy(self[id])
        changed["bbox"] = list(box)
        if not changed.get("segmentation"):  # otherwise the area is the outline's
            changed["area"] = box[2] * box[3]
        if EXTRA in changed:
            if changed[EXTRA].get("scores"):  # one that was drawn was never predicted
                changed[EXTRA].setdefault("predicted_bbox", self[id]["bbox"])
            changed[EXTRA].pop("box_of_keypoints", None)
            changed[EXTRA]["box_reviewed"] = True
        return self.record(id, dataclasses.replace(self.state(id), entry=changed))

    def rename(self, id: Id, name: InstanceId) -> Edited:
        """Give an instance another id, which no other object of its image has.

        Raises:
            HomologError: there is no such annotation, or the name is taken or empty.
        """
        try:
            name = as_instance(name)
        except ValueError as error:
            raise HomologError(f"instance: {error}") from None
        changed = copy.deepcopy(self[id])
        others = [e for e in self.labels.annotations if e["image_id"] == changed["image_id"]]
        if name in [_instance(entry) for entry in others if entry["id"] != id]:
            raise HomologError(f"instance: expected one that no other object has, got {name!r}")
        member = next((m for m in INSTANCE_MEMBERS if m in changed), "instance_id")
        changed[member] = name
        return self.record(id, dataclasses.replace(self.state(id), entry=changed))

    def delete(self, id: Id) -> Edited:
        """Delete an instance; it stays in the file, to be restored.

        Raises:
            HomologError: there is no such annotation.
        """
        return self.record(id, State(deleted=self[id]))

    def restore(self, id: Id) -> Edited:
        """Restore a deleted instance.

        Raises:
            HomologError: none of that id was deleted.
        """
        deleted = self.state(id).deleted
        if deleted is None:
            raise HomologError(f"annotation: expected the id of a deleted annotation, got {id!r}")
        return self.record(id, State(deleted, len(self.labels.annotations)))

    def correct(
        self,
        id: Id,
        keypoint: int,
        point: tuple[float, float] | None,
        visible: bool,
        occluded: bool | None = None,
    ) -> Edited:
        """Accept, move or hide a keypoint (`Labels.correct`).

        Raises:
            HomologError: the arguments do not fit the labels.
        """
        before = copy.deepcopy(self.state(id))
        return self._correct(id, keypoint, point, visible, occluded, before)

    def _correct(
        self,
        id: Id,
        keypoint: int,
        point: tuple[float, float] | None,
        visible: bool,
        occluded: bool | None,
        before: State,
    ) -> Edited:
        self.labels.correct(id, keypoint, point, visible, occluded)
        entry = self[id]
        if entry[EXTRA].get("box_of_keypoints"):
            (image,) = (each for each in self.labels.images if each["id"] == entry["image_id"])
            width, height = image.get("width"), image.get("height")
            size = None if width is None or height is None else (width, height)
            box = box_of_keypoints(np.reshape(entry["keypoints"], (-1, 3)), size)
            entry |= {"bbox": box, "area": box[2] * box[3]}
        edited = Edited((id,), keypoint)
        self.remember(Change(edited, (before,), (copy.deepcopy(self.state(id)),)))
        return edited

    def accept(self, image: Id) -> Edited:
        """Accept all keypoints of an image as they are: those without a position as not visible.

        Raises:
            HomologError: the image has no keypoints to accept.
        """
        ids = tuple(
            entry["id"] for entry in self.labels.annotations
            if entry["image_id"] == image and entry.get("keypoints")
        )  # fmt: skip
        if not ids:
            raise HomologError(f"image: expected one with objects to accept, got {image!r}")
        before = tuple(copy.deepcopy(self.state(id)) for id in ids)
        for id in ids:
            entry = self[id]
            count = len(entry["keypoints"]) // 3
            fresh = {"scores": [], "doubtful": [], "predicted": list(entry["keypoints"])}
            entry.setdefault(EXTRA, fresh)["reviewed"] = list(range(count))
        edited = Edited(ids)
        after = tuple(copy.deepcopy(self.state(id)) for id in ids)
        self.remember(Change(edited, before, after))
        return edited

    def _new_entry(self, image: Id, category: Id) -> Entry:
        """An annotation of a category, without a box, whose keypoints are all to be reviewed."""
        counts = {c["id"]: len(c.get("keypoints", [])) for c in self.labels.categories}
        if category not in counts:
            raise HomologError(
                f"category: expected one of {', '.join(map(str, counts))}, got {category!r}"
            )
        count = counts[category]
        entry: Entry = {
            "id": self.new_id(), "image_id": image, "category_id": category, "bbox": [],
            "area": 0.0, "iscrowd": 0, "num_keypoints": 0, "keypoints": [0] * 3 * count,
            EXTRA: {
                "scores": [], "doubtful": list(range(count)), "reviewed": [],
                "predicted": [0] * 3 * count,
            },
        }  # fmt: skip
        return entry | self._new_instance(image)

    def _new_instance(self, image: Id) -> dict[str, InstanceId]:
        """The member that names a new instance, as the file's others are named, or none."""
        entries = [*self.labels.annotations, *self.deleted]
        for member in INSTANCE_MEMBERS:
            named = [entry for entry in entries if entry.get(member) is not None]
            if named and member == "track_id":  # the same object in several images: this is none
                ids = [entry[member] for entry in named]
                return {member: max((id for id in ids if isinstance(id, int)), default=0) + 1}
            if named:
                return {member: free_instance(e[member] for e in named if e["image_id"] == image)}
        return {}


def _open_keypoints(begun: Entry, predicted: Entry) -> list[int]:
    """The keypoints that nobody has labelled yet, and that are predicted."""
    visible = predicted["keypoints"][2::3]
    return [k for k, v in enumerate(visible) if v > 0 and k not in begun[EXTRA]["reviewed"]]


def _instance(entry: Mapping[str, Any]) -> InstanceId | None:
    """The id of an annotation's instance; without one, that of the annotation."""
    return next((entry[m] for m in INSTANCE_MEMBERS if entry.get(m) is not None), entry["id"])
