"""The instances of labels under review: added, changed, deleted, all of which can be undone.

What is deleted stays in the file, in the list `deleted` of its member `homolog`, from where it can
be restored. Members of the file and of annotations that are not known here are left as they are.
"""

from __future__ import annotations

import bisect
import copy
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from homolog.data.formats.document import box_of_keypoints
from homolog.data.formats.entries import InstanceId, as_instance
from homolog.data.labels import EXTRA, Labels
from homolog.errors import HomologError
from homolog.labelling.instances import free_instance

Id = int | str
"""The id of an image, a category or an annotation, as it is in the file."""

Entry = dict[str, Any]
"""An annotation as in a COCO file."""

_INSTANCE_MEMBERS = ("track_id", "instance_id", "instance")
"""Members of an annotation that hold the id of its instance."""

_MAX_CHANGES = 500  # that can be undone


@dataclass(frozen=True)
class Edited:
    """What a change was about.

    Attributes:
        ids: of the annotations that it changed.
        keypoint: index of the keypoint of the first one, if it was about one.
    """

    ids: tuple[Id, ...]
    keypoint: int | None = None


@dataclass(frozen=True)
class _State:
    """How an annotation is in the file: there, deleted, or neither.

    Attributes:
        entry: the annotation, if it is there.
        position: where in the file's list.
        deleted: the annotation, if it was deleted.
    """

    entry: Entry | None = None
    position: int = 0
    deleted: Entry | None = None


@dataclass(frozen=True)
class _Change:
    """Annotations before and after a change, which is undone as a whole."""

    edited: Edited
    before: tuple[_State, ...]
    after: tuple[_State, ...]


class Instances:
    """The annotations of labels as instances of their images, and the history of their changes.

    Attributes:
        labels: as they are now.
        deleted: the annotations that were deleted, which can be restored.

    Args:
        labels: their document is changed in place.

    Raises:
        HomologError: what is kept of deleted annotations cannot be read.
    """

    def __init__(self, labels: Labels):
        self._data = labels.data
        self.labels = labels
        self._done: list[_Change] = []
        self._undone: list[_Change] = []
        self.deleted: list[Entry] = labels.deleted
        used = {entry["id"] for entry in self.labels.annotations}
        for entry in self.deleted:
            if entry["id"] in used:  # another program has given it to a new annotation
                entry["id"] = self._new_id()
            used.add(entry["id"])
        self.deleted.sort(key=_order)

    @property
    def can_undo(self) -> bool:
        """Whether there is a change to undo."""
        return bool(self._done)

    @property
    def can_redo(self) -> bool:
        """Whether there is a change to make again."""
        return bool(self._undone)

    def __getitem__(self, id: Id) -> Entry:
        """The annotation of an id.

        Raises:
            HomologError: there is none.
        """
        position = self._position(id)
        if position is None:
            raise HomologError(f"annotation: expected the id of an annotation, got {id!r}")
        return self.labels.annotations[position]

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
        return self._record(entry["id"], _State(entry, len(self.labels.annotations)))

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
        self._put(entry["id"], _State(entry, len(self.labels.annotations)))
        try:
            return self._correct(entry["id"], keypoint, point, visible, occluded, _State())
        except HomologError:
            self._put(entry["id"], _State())
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
            return self._record(entry["id"], _State(entry, len(self.labels.annotations)))
        begun = copy.deepcopy(there[0])
        for keypoint in _open_keypoints(begun, predicted):
            row = slice(3 * keypoint, 3 * keypoint + 3)
            begun["keypoints"][row] = predicted["keypoints"][row]
        begun["num_keypoints"] = sum(v > 0 for v in begun["keypoints"][2::3])
        begun[EXTRA] = {**predicted[EXTRA], "reviewed": begun[EXTRA]["reviewed"]}
        for member in ("bbox", "area"):
            begun[member] = predicted[member]
        return self._record(begun["id"], dataclasses.replace(self._state(begun["id"]), entry=begun))

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
        return self._record(id, dataclasses.replace(self._state(id), entry=changed))

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
        member = next((m for m in _INSTANCE_MEMBERS if m in changed), "instance_id")
        changed[member] = name
        return self._record(id, dataclasses.replace(self._state(id), entry=changed))

    def delete(self, id: Id) -> Edited:
        """Delete an instance; it stays in the file, to be restored.

        Raises:
            HomologError: there is no such annotation.
        """
        return self._record(id, _State(deleted=self[id]))

    def restore(self, id: Id) -> Edited:
        """Restore a deleted instance.

        Raises:
            HomologError: none of that id was deleted.
        """
        deleted = self._state(id).deleted
        if deleted is None:
            raise HomologError(f"annotation: expected the id of a deleted annotation, got {id!r}")
        return self._record(id, _State(deleted, len(self.labels.annotations)))

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
        before = copy.deepcopy(self._state(id))
        return self._correct(id, keypoint, point, visible, occluded, before)

    def _correct(
        self,
        id: Id,
        keypoint: int,
        point: tuple[float, float] | None,
        visible: bool,
        occluded: bool | None,
        before: _State,
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
        self._remember(_Change(edited, (before,), (copy.deepcopy(self._state(id)),)))
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
        before = tuple(copy.deepcopy(self._state(id)) for id in ids)
        for id in ids:
            entry = self[id]
            count = len(entry["keypoints"]) // 3
            fresh = {"scores": [], "doubtful": [], "predicted": list(entry["keypoints"])}
            entry.setdefault(EXTRA, fresh)["reviewed"] = list(range(count))
        edited = Edited(ids)
        after = tuple(copy.deepcopy(self._state(id)) for id in ids)
        self._remember(_Change(edited, before, after))
        return edited

    def undo(self) -> Edited:
        """Undo the last change, and say what it was about.

        Raises:
            HomologError: there is none.
        """
        if not self._done:
            raise HomologError("undo: expected a change to undo, got none")
        change = self._done.pop()
        self._undone.append(change)
        for id, state in zip(reversed(change.edited.ids), reversed(change.before), strict=True):
            self._put(id, state)
        return change.edited

    def redo(self) -> Edited:
        """Make the change again that was undone last, and say what it is about.

        Raises:
            HomologError: there is none.
        """
        if not self._undone:
            raise HomologError("redo: expected a change that was undone, got none")
        change = self._undone.pop()
        self._done.append(change)
        for id, state in zip(change.edited.ids, change.after, strict=True):
            self._put(id, state)
        return change.edited

    def _record(self, id: Id, after: _State) -> Edited:
        """Change an annotation, and remember how it was."""
        edited = Edited((id,))
        self._remember(_Change(edited, (self._state(id),), (after,)))
        self._put(id, after)
        return edited

    def _remember(self, change: _Change) -> None:
        self._done = [*self._done, change][-_MAX_CHANGES:]
        self._undone = []

    def _new_entry(self, image: Id, category: Id) -> Entry:
        """An annotation of a category, without a box, whose keypoints are all to be reviewed."""
        counts = {c["id"]: len(c.get("keypoints", [])) for c in self.labels.categories}
        if category not in counts:
            raise HomologError(
                f"category: expected one of {', '.join(map(str, counts))}, got {category!r}"
            )
        count = counts[category]
        entry: Entry = {
            "id": self._new_id(), "image_id": image, "category_id": category, "bbox": [],
            "area": 0.0, "iscrowd": 0, "num_keypoints": 0, "keypoints": [0] * 3 * count,
            EXTRA: {
                "scores": [], "doubtful": list(range(count)), "reviewed": [],
                "predicted": [0] * 3 * count,
            },
        }  # fmt: skip
        return entry | self._new_instance(image)

    def _new_id(self) -> Id:
        """An id that no annotation has, of the type that most have."""
        ids = [entry["id"] for entry in [*self.labels.annotations, *self.deleted]]
        numbers = [id for id in ids if isinstance(id, int)]
        if 2 * len(numbers) >= len(ids):
            return max(numbers, default=0) + 1
        return next(str(n) for n in range(len(ids) + 1, 2 * len(ids) + 2) if str(n) not in ids)

    def _new_instance(self, image: Id) -> dict[str, InstanceId]:
        """The member that names a new instance, as the file's others are named, or none."""
        entries = [*self.labels.annotations, *self.deleted]
        for member in _INSTANCE_MEMBERS:
            named = [entry for entry in entries if entry.get(member) is not None]
            if named and member == "track_id":  # the same object in several images: this is none
                ids = [entry[member] for entry in named]
                return {member: max((id for id in ids if isinstance(id, int)), default=0) + 1}
            if named:
                return {member: free_instance(e[member] for e in named if e["image_id"] == image)}
        return {}

    def _position(self, id: Id) -> int | None:
        """Where in the file's list an annotation is; of several with one id, the last."""
        places = [i for i, entry in enumerate(self.labels.annotations) if entry["id"] == id]
        return places[-1] if places else None

    def _state(self, id: Id) -> _State:
        position = self._position(id)
        entry = None if position is None else self.labels.annotations[position]
        deleted = [entry for entry in self.deleted if entry["id"] == id]
        return _State(entry, position or 0, deleted[-1] if deleted else None)

    def _put(self, id: Id, state: _State) -> None:
        """Bring an annotation into a state, which later changes leave as it is."""
        now, annotations = self._state(id), self.labels.annotations
        if now.entry is not None:
            del annotations[now.position]
        if state.entry is not None:
            annotations.insert(state.position, copy.deepcopy(state.entry))
        if (now.deleted is None) != (state.deleted is None):
            if now.deleted is not None:
                self.deleted.remove(now.deleted)
            elif state.deleted is not None:
                bisect.insort(self.deleted, copy.deepcopy(state.deleted), key=_order)
            if self.deleted:
                self._data.setdefault(EXTRA, {})["deleted"] = self.deleted
            elif set(self._data.get(EXTRA, {})) == {"deleted"}:
                del self._data[EXTRA]
        self.labels = Labels(self._data)


def _open_keypoints(begun: Entry, predicted: Entry) -> list[int]:
    """The keypoints that nobody has labelled yet, and that are predicted."""
    visible = predicted["keypoints"][2::3]
    return [k for k, v in enumerate(visible) if v > 0 and k not in begun[EXTRA]["reviewed"]]


def _order(entry: Entry) -> tuple[bool, Id]:
    """By id, numbers before text."""
    return isinstance(entry["id"], str), entry["id"]


def _instance(entry: Mapping[str, Any]) -> InstanceId | None:
    """The id of an annotation's instance; without one, that of the annotation."""
    return next((entry[m] for m in _INSTANCE_MEMBERS if entry.get(m) is not None), entry["id"])
