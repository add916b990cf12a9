"""The COCO document of an annotated folder, merged with what was edited by hand before."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homolog.data.exemplars import ExemplarSet
from homolog.data.formats.document import DESCRIPTION
from homolog.data.formats.entries import InstanceId
from homolog.data.labels import EXTRA, Labels, manual_keypoints
from homolog.data.reading import abbreviate
from homolog.image import reading
from homolog.labelling.annotator import Record
from homolog.labelling.earlier import EarlierLabels
from homolog.labelling.edits import Entry, MergedImage, merge, with_wider_box
from homolog.labelling.instances import INSTANCE

_SEEN = 1.0
"""Pixels by which a box must be widened to be worth a note: tools round boxes and points."""


@dataclass(frozen=True)
class Summary:
    """What `annotate` did.

    Attributes:
        images: number of annotated images.
        points: number of labelled keypoints in these.
        doubtful: number of keypoints that should be reviewed.
        manual: number of keypoints kept as somebody labelled or corrected them.
        failed: names of the images that could not be read, and why.
        objects: number of annotated objects in these images.
        unlabelled: names of images and instance ids of the objects given that are like none of the
            exemplars.
        kept: names of images and instance ids of earlier objects that were not found again, but
            that somebody has drawn, labelled or corrected.
        retained: names of the images that could not be read, but have been before, and keep their
            annotations.
        notes: what else was decided, a line each.
    """

    images: int
    points: int
    doubtful: int
    manual: int
    failed: Sequence[tuple[str, str]]
    objects: int
    unlabelled: Sequence[tuple[str, InstanceId]] = ()
    kept: Sequence[tuple[str, InstanceId | None]] = ()
    retained: Sequence[str] = ()
    notes: Sequence[str] = ()


def make_document(
    files: Sequence[Path],
    name_of: Callable[[Path], str],
    records: Mapping[str, Record],
    exemplars: ExemplarSet,
    previous: Labels | None,
    categories: Sequence[Mapping[str, Any]],
) -> tuple[dict[str, Any], Summary]:
    """The COCO document of all images of a folder, and a summary of it.

    Args:
        files: the images.
        name_of: gives the name of each in the document.
        records: what was predicted for each, by name. Images without a record are labelled by the
            exemplars, which keep all that their file says of them.
        exemplars: the labelled images.
        previous: labels that are written over, of which nothing is lost, with these categories.
        categories: of the document.
    """
    earlier = EarlierLabels(previous, exemplars, files, name_of)
    document = _Document(earlier, categories)
    unlabelled: list[tuple[str, InstanceId]] = []
    retained: list[str] = []
    for path in files:
        name = name_of(path)
        record = records.get(name)
        if record is not None and "failed" in record:
            document.failed.append(record)
            if name in earlier.images:
                retained.append(name)
                document.add_image(name, {}, earlier.all_of(name))
            continue
        entries, settled = _number_exemplars(earlier, name, record)
        if record is None:
            own = earlier.own[name]
            size = own[0][0].annotation.size if own else None
            width, height = size or reading.image_size(path)
            merged = earlier.all_of(name)
        else:
            width, height = record["width"], record["height"]
            for each in record.get("unlabelled", ()):
                document.unlabelled.append({"file_name": name, **each})
                unlabelled.append((name, each[INSTANCE]))
            merged = merge(
                entries, earlier.annotations[name], earlier.deleted[name], settled,
                [position for _, position in earlier.own[name] if position is not None],
            )  # fmt: skip
        document.add_image(name, {"width": width, "height": height}, merged)
    names = set(map(name_of, files))
    elsewhere = [name for name in earlier.images if name not in names]
    for name in elsewhere:
        document.add_image(name, {}, earlier.all_of(name))
    data = document.finish()
    annotations = data["annotations"]
    labelled = [each for each in annotations if "keypoints" in each]
    failed = [(record["file_name"], record["failed"]) for record in document.failed]
    return data, Summary(
        len(data["images"]),
        sum(v > 0 for each in labelled for v in each["keypoints"][2::3]),
        len(Labels(data).doubtful()),
        sum(len(manual_keypoints(each)) for each in labelled),
        failed, len(annotations), unlabelled, document.kept, retained,
        _notes(earlier, elsewhere, document),
    )  # fmt: skip


def _number_exemplars(
    earlier: EarlierLabels, name: str, record: Record | None
) -> tuple[list[Entry], set[int]]:
    """Give the exemplars of an image their instance ids.

    Returns:
        What was predicted for the image, and positions of the annotations that were not looked for.
    """
    own, annotations = earlier.own[name], earlier.annotations[name]
    numbers = [each.instance if len(own) > 1 else None for each, _ in own]
    if record is not None:
        numbers = record.get("exemplars", numbers)
    settled = set()
    for (each, position), number in zip(own, numbers, strict=True):
        if position is None:
            continue
        entry = annotations[position]
        if number is not None and (record is not None or INSTANCE not in entry):
            annotations[position] = {INSTANCE: number, **entry, **{INSTANCE: number}}
        if each.complete:
            settled.add(position)
    if record is None:
        return [], settled
    # Images of one object have one annotation, as they did before there could be several.
    predicted = record["annotations"] if "annotations" in record else [record["annotation"]]
    return predicted, settled


def _notes(earlier: EarlierLabels, elsewhere: Sequence[str], document: _Document) -> list[str]:
    """What a person should know of labels that were kept."""
    notes = []
    names = [name for name in elsewhere if earlier.annotations[name]]
    if names:
        notes.append(
            f"labels of images that are not in the folder are kept: {abbreviate(elsewhere)}"
        )
    if document.left:
        notes.append(
            "objects that were not found again are kept, although nobody has edited them: "
            f"{document.left}"
        )
    if earlier.differing:
        notes.append(
            "images in which exemplars differ from labels that somebody made, which are kept: "
            f"{abbreviate(earlier.differing)}"
        )
    if document.widened:
        notes.append(
            "boxes that did not contain all labelled keypoints are widened in "
            f"{abbreviate(dict.fromkeys(document.widened))}"
        )
    return notes


class _Document:
    """A COCO document under construction, which keeps ids and members of an earlier one."""

    def __init__(self, earlier: EarlierLabels, categories: Sequence[Mapping[str, Any]]):
        self._earlier = earlier
        self._categories = list(categories)
        self._images: list[dict[str, Any]] = []
        self._annotations: list[Entry] = []
        self._deleted: list[Entry] = []
        gone = [{"id": each["image_id"]} for each in earlier.stray]
        self._image_ids = _free_ids([*earlier.images.values(), *gone])
        several = [*earlier.annotations.values(), *earlier.deleted.values(), earlier.stray]
        self._ids = _free_ids(each for entries in several for each in entries)
        self.failed: list[Record] = []
        self.unlabelled: list[dict[str, Any]] = []
        self.kept: list[tuple[str, InstanceId | None]] = []
        self.left = 0
        self.widened: list[str] = []

    def add_image(self, name: str, size: Mapping[str, int], merged: MergedImage) -> None:
        """Add an image with its annotations."""
        image = {"file_name": name, **self._earlier.images.get(name, {}), **size}
        image = {"id": image["id"] if "id" in image else next(self._image_ids), **image}
        self._images.append(image)
        for entry in merged.entries:
            number = entry["id"] if "id" in entry else next(self._ids)
            wider = with_wider_box(entry)
            if EXTRA not in entry and _grown(entry.get("bbox"), wider.get("bbox")) > _SEEN:
                self.widened.append(name)
            self._annotations.append({"id": number, "image_id": image["id"]} | wider)
        self._deleted += [{"image_id": image["id"], **entry} for entry in merged.deleted]
        self.kept += [(name, instance) for instance in merged.kept]
        self.left += merged.left

    def finish(self) -> dict[str, Any]:
        """The document."""
        before = self._earlier.data
        described = {"description": DESCRIPTION, **before["info"]}
        described.pop("unlabelled", None)
        info = {**described, "failed": self.failed}
        if self.unlabelled:
            info["unlabelled"] = self.unlabelled
        data = {
            "info": info,
            "images": self._images,
            "annotations": self._annotations,
            "categories": self._categories,
        }
        own = {k: v for k, v in before[EXTRA].items() if k != "deleted"}
        if deleted := [*self._deleted, *self._earlier.stray]:
            own["deleted"] = [
                {"id": next(self._ids), **entry} if "id" not in entry else entry
                for entry in deleted
            ]
        known = (*data, EXTRA)
        data |= {member: value for member, value in before.items() if member not in known}
        return data | {EXTRA: own} if own else data


def _grown(box: Sequence[float] | None, wider: Sequence[float] | None) -> float:
    """By how many pixels a box was widened."""
    return max((abs(a - b) for a, b in zip(box or (), wider or (), strict=True)), default=0)


def _free_ids(entries: Iterable[Mapping[str, Any]]) -> Iterator[int]:
    """Numbers from 1 on that are no entry's id."""
    taken = {entry["id"] for entry in entries if "id" in entry}
    return (number for number in itertools.count(1) if number not in taken)
