"""The instances of labels under review: added, changed, deleted, all of which can be undone.

What is deleted stays in the file, in the list `deleted` of its member `homolog`, from where it can
be restored. Members of the file and of annotations that are not known here are left as they are.
"""

from __future__ import annotations

import bisect
import copy
import dataclasses
from dataclasses import dataclass
from typing import Any

from homolog.data.formats.entries import InstanceId
from homolog.data.labels import EXTRA, Labels
from homolog.errors import HomologError
from homolog.labelling.instances import free_instance

Entry = dict[str, Any]
"""An annotation as in a COCO file."""

_INSTANCE_MEMBERS = ("track_id", "instance_id", "instance")
"""Members of an annotation that hold the id of its instance."""

_MAX_CHANGES = 500  # that can be undone


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
    """An annotation before and after a change."""

    id: int
    before: _State
    after: _State


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
        self.deleted.sort(key=_id)

    @property
    def can_undo(self) -> bool:
        """Whether there is a change to undo."""
        return bool(self._done)

    @property
    def can_redo(self) -> bool:
        """Whether there is a change to make again."""
        return bool(self._undone)

    def __getitem__(self, id: int) -> Entry:
        """The annotation of an id.

        Raises:
            HomologError: there is none.
        """
        position = self._position(id)
        if position is None:
            raise HomologError(f"annotation: expected the id of an annotation, got {id}")
        return self.labels.annotations[position]

    def add(self, image: int, category: int, box: tuple[float, float, float, float]) -> int:
        """Add an instance without keypoints, all of which are to be reviewed.

        Args:
            image: id of the image.
            category: id of the category.
            box: (x, y, width, height) in pixels.

        Returns:
            The id of the annotation.

        Raises:
            HomologError: there is no such category.
        """
        counts = {c["id"]: len(c.get("keypoints", [])) for c in self.labels.categories}
        if category not in counts:
            raise HomologError(
                f"category: expected one of {', '.join(map(str, counts))}, got {category}"
            )
        count = counts[category]
        id = self._new_id()
        entry: Entry = {
            "id": id, "image_id": image, "category_id": category, "bbox": list(box),
            "area": box[2] * box[3], "iscrowd": 0, "num_keypoints": 0,
            "keypoints": [0] * 3 * count,
            EXTRA: {
                "scores": [], "doubtful": list(range(count)), "reviewed": [],
                "predicted": [0] * 3 * count, "box_reviewed": True,
            },
        }  # fmt: skip
        entry.update(self._new_instance(image))
        self._record(id, _State(entry, len(self.labels.annotations)))
        return id

    def set_box(self, id: int, box: tuple[float, float, float, float]) -> None:
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
            changed[EXTRA]["box_reviewed"] = True
        self._record(id, dataclasses.replace(self._state(id), entry=changed))

    def delete(self, id: int) -> None:
        """Delete an instance; it stays in the file, to be restored.

        Raises:
            HomologError: there is no such annotation.
        """
        self._record(id, _State(deleted=self[id]))

    def restore(self, id: int) -> None:
        """Restore a deleted instance.

        Raises:
            HomologError: none of that id was deleted.
        """
        deleted = self._state(id).deleted
        if deleted is None:
            raise HomologError(f"annotation: expected the id of a deleted annotation, got {id}")
        self._record(id, _State(deleted, len(self.labels.annotations)))

    def correct(
        self, id: int, keypoint: int, point: tuple[float, float] | None, visible: bool
    ) -> None:
        """Accept, move or hide a keypoint (`Labels.correct`).

        Raises:
            HomologError: the arguments do not fit the labels.
        """
        before = copy.deepcopy(self._state(id))
        self.labels.correct(id, keypoint, point, visible)
        self._remember(_Change(id, before, copy.deepcopy(self._state(id))))

    def undo(self) -> int:
        """Undo the last change; the id of its annotation.

        Raises:
            HomologError: there is none.
        """
        if not self._done:
            raise HomologError("undo: expected a change to undo, got none")
        change = self._done.pop()
        self._undone.append(change)
        self._put(change.id, change.before)
        return change.id

    def redo(self) -> int:
        """Make the change again that was undone last; the id of its annotation.

        Raises:
            HomologError: there is none.
        """
        if not self._undone:
            raise HomologError("redo: expected a change that was undone, got none")
        change = self._undone.pop()
        self._done.append(change)
        self._put(change.id, change.after)
        return change.id

    def _record(self, id: int, after: _State) -> None:
        """Change an annotation, and remember how it was."""
        self._remember(_Change(id, self._state(id), after))
        self._put(id, after)

    def _remember(self, change: _Change) -> None:
        self._done = [*self._done, change][-_MAX_CHANGES:]
        self._undone = []

    def _new_id(self) -> int:
        entries = [*self.labels.annotations, *self.deleted]
        return max((entry["id"] for entry in entries), default=0) + 1

    def _new_instance(self, image: int) -> dict[str, InstanceId]:
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

    def _position(self, id: int) -> int | None:
        """Where in the file's list an annotation is; of several with one id, the last."""
        places = [i for i, entry in enumerate(self.labels.annotations) if entry["id"] == id]
        return places[-1] if places else None

    def _state(self, id: int) -> _State:
        position = self._position(id)
        entry = None if position is None else self.labels.annotations[position]
        deleted = [entry for entry in self.deleted if entry["id"] == id]
        return _State(entry, position or 0, deleted[-1] if deleted else None)

    def _put(self, id: int, state: _State) -> None:
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
                bisect.insort(self.deleted, copy.deepcopy(state.deleted), key=_id)
            if self.deleted:
                self._data.setdefault(EXTRA, {})["deleted"] = self.deleted
            elif set(self._data.get(EXTRA, {})) == {"deleted"}:
                del self._data[EXTRA]
        self.labels = Labels(self._data)


def _id(entry: Entry) -> int:
    id: int = entry["id"]
    return id
