"""The annotations of labels under review, and the history of their changes."""

from __future__ import annotations

import bisect
import copy
from dataclasses import dataclass
from typing import Any

from homolog.data.labels import EXTRA, Labels
from homolog.errors import HomologError

Id = int | str
"""The id of an image, a category or an annotation, as it is in the file."""

Entry = dict[str, Any]
"""An annotation as in a COCO file."""

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
class State:
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
class Change:
    """Annotations before and after a change, which is undone as a whole."""

    edited: Edited
    before: tuple[State, ...]
    after: tuple[State, ...]


class History:
    """The annotations of labels, whose changes can be undone and made again.

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
        self._done: list[Change] = []
        self._undone: list[Change] = []
        self.deleted: list[Entry] = labels.deleted
        used = {entry["id"] for entry in self.labels.annotations}
        for entry in self.deleted:
            if entry["id"] in used:  # another program has given it to a new annotation
                entry["id"] = self.new_id()
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
            self.put(id, state)
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
            self.put(id, state)
        return change.edited

    def record(self, id: Id, after: State) -> Edited:
        """Change an annotation, and remember how it was."""
        edited = Edited((id,))
        self.remember(Change(edited, (self.state(id),), (after,)))
        self.put(id, after)
        return edited

    def remember(self, change: Change) -> None:
        """Remember a change that was made, which ends what could be made again."""
        self._done = [*self._done, change][-_MAX_CHANGES:]
        self._undone = []

    def new_id(self) -> Id:
        """An id that no annotation has, of the type that most have."""
        ids = [entry["id"] for entry in [*self.labels.annotations, *self.deleted]]
        numbers = [id for id in ids if isinstance(id, int)]
        if 2 * len(numbers) >= len(ids):
            return max(numbers, default=0) + 1
        return next(str(n) for n in range(len(ids) + 1, 2 * len(ids) + 2) if str(n) not in ids)

    def _position(self, id: Id) -> int | None:
        """Where in the file's list an annotation is; of several with one id, the last."""
        places = [i for i, entry in enumerate(self.labels.annotations) if entry["id"] == id]
        return places[-1] if places else None

    def state(self, id: Id) -> State:
        """How an annotation is in the file."""
        position = self._position(id)
        entry = None if position is None else self.labels.annotations[position]
        deleted = [entry for entry in self.deleted if entry["id"] == id]
        return State(entry, position or 0, deleted[-1] if deleted else None)

    def put(self, id: Id, state: State) -> None:
        """Bring an annotation into a state, which later changes leave as it is."""
        now, annotations = self.state(id), self.labels.annotations
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


def _order(entry: Entry) -> tuple[bool, Id]:
    """By id, numbers before text."""
    return isinstance(entry["id"], str), entry["id"]
