"""What is known of a folder of images before it is annotated, image by image.

It comes from labels that are written over, and from the file of the exemplars. Where both know the
same object, what somebody did to the former stays, for nothing else remembers it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from homolog.data.exemplars import ExemplarSet
from homolog.data.formats import coco
from homolog.data.formats.document import box_of_keypoints
from homolog.data.labels import EXTRA, Labels, is_manual, manual_keypoints
from homolog.labelling.edits import Entry, MergedImage, identity, without_image
from homolog.labelling.instances import INSTANCE, SAME_PLACE, match_instances
from homolog.labelling.neighbours import overlap
from homolog.labelling.provenance import (
    OwnObject,
    file_annotations,
    is_foreign,
    labelled_keypoints,
    own_objects,
)

_SAME_POINT = 0.01
"""Pixels up to which two positions are the same, because files have few digits."""


class EarlierLabels:
    """Labels that are there before a folder is annotated, by the names of its images.

    Attributes:
        data: the members of a COCO document besides its lists.
        images: the entries of images that are known, by their names.
        annotations: of each image.
        deleted: of each image those that somebody deleted.
        stray: deleted annotations of images that another tool has taken out of the file.
        own: of each image the exemplars, and where they are among its annotations; None of those
            that somebody deleted.
        differing: names of images where exemplars differ from labels that somebody made.

    Args:
        labels: those that are written over, with the categories of the exemplars; None if there
            are none.
        exemplars: the labelled images.
        files: the images of the folder.
        name_of: gives the name of each.
    """

    def __init__(
        self,
        labels: Labels | None,
        exemplars: ExemplarSet,
        files: Sequence[Path],
        name_of: Callable[[Path], str],
    ):
        self.images: dict[str, dict[str, Any]] = {}
        self.annotations: dict[str, list[Entry]] = defaultdict(list)
        self.deleted: dict[str, list[Entry]] = defaultdict(list)
        self.stray: list[Entry] = []
        self.own: dict[str, list[tuple[OwnObject, int | None]]] = defaultdict(list)
        self.differing: list[str] = []
        document = {} if exemplars.file is None else exemplars.file.document
        before = {} if labels is None else labels.data
        self.data: dict[str, Any] = {**document, **before}
        for member in ("info", EXTRA):
            self.data[member] = {**_object(document, member), **_object(before, member)}
        if labels is not None:
            self._add_labels(labels)
        self._image_ids = {image["id"] for image in self.images.values()}
        self._image_ids |= {each["image_id"] for each in self.stray}
        everything = [*self.annotations.values(), *self.deleted.values(), self.stray]
        self._ids = {each["id"] for several in everything for each in several}
        self._add_exemplars(exemplars, files, name_of)

    def all_of(self, name: str) -> MergedImage:
        """The annotations of an image as they were."""
        return MergedImage(self.annotations[name], self.deleted[name])

    def _add_labels(self, labels: Labels) -> None:
        names = {image["id"]: image["file_name"] for image in labels.images}
        self.images = {image["file_name"]: image for image in labels.images}
        for annotation in labels.annotations:
            name = names[annotation["image_id"]]
            self.annotations[name].append(self._completed(without_image(annotation), name))
        for annotation in labels.deleted:
            if annotation["image_id"] in names:
                name = names[annotation["image_id"]]
                self.deleted[name].append(without_image(annotation))
            else:
                self.stray.append(annotation)

    def _add_exemplars(
        self, exemplars: ExemplarSet, files: Sequence[Path], name_of: Callable[[Path], str]
    ) -> None:
        """Add what the exemplars' file says of the images of the folder."""
        own, others = own_objects(exemplars), file_annotations(exemplars)
        numbers = {category["name"]: category["id"] for category in exemplars.categories}
        images: dict[Path, Mapping[str, Any]] = {}
        deleted: dict[Path, list[Entry]] = defaultdict(list)
        if exemplars.file is not None and exemplars.file.format == coco.FORMAT.name:
            document, paths = exemplars.file.document, exemplars.file.paths
            listed = {image["id"]: image for image in document["images"]}
            images = {path.resolve(): listed[number] for number, path in paths.items()}
            for each in Labels(document).deleted:
                if each["image_id"] in paths:
                    deleted[paths[each["image_id"]].resolve()].append(without_image(each))
        for path in files:
            name, real = name_of(path), path.resolve()
            objects = own.get(real, [])
            given: list[tuple[Mapping[str, Any], OwnObject | None]] = []
            if real in images:
                self._add_image(name, images[real])
            if exemplars.file is not None:
                known = {each.record["id"]: each for each in objects if each.record is not None}
                given += [(entry, known.get(entry["id"])) for entry in others.get(real, [])]
            else:
                given += [(each.record or _as_entry(each, numbers), each) for each in objects]
            entries = [without_image(entry) for entry, _ in given]
            if real not in images:  # ids of other formats only count what is in the file
                entries = [_without(each) for each in entries]
            positions = self._combine(name, [self._completed(each, name) for each in entries])
            for (_, exemplar), position in zip(given, positions, strict=True):
                if exemplar is not None:
                    self.own[name].append((exemplar, position))
            self._add_deleted(name, deleted[real])

    def _add_image(self, name: str, image: Mapping[str, Any]) -> None:
        """Add an image of the exemplars' file; its id, unless another image has that."""
        known = self.images.get(name)
        entry = {**image, **(known or {}), "file_name": name}
        if known is None:
            if image["id"] in self._image_ids:
                del entry["id"]
            self._image_ids.add(image["id"])
        self.images[name] = entry

    def _add_deleted(self, name: str, deleted: Iterable[Entry]) -> None:
        """Add objects that somebody deleted, unless they are there again."""
        there = [*self.annotations[name], *self.deleted[name]]
        for entry in deleted:
            if any(each["id"] == entry["id"] and _overlap(each, entry) > 0 for each in there):
                continue
            self.deleted[name].append(self._with_own_id(entry))

    def _with_own_id(self, entry: Entry) -> Entry:
        """An annotation that keeps its id, unless another one has that."""
        if entry.get("id") in self._ids:
            return _without(entry)
        self._ids.add(entry.get("id"))
        return entry

    def _combine(self, name: str, entries: Sequence[Entry]) -> list[int | None]:
        """Add annotations of the exemplars' file to those of an image.

        Returns:
            The position of each among the image's annotations; None if somebody deleted it.
        """
        before = self.annotations[name]
        same = _pair_up(entries, before)
        positions: list[int | None] = []
        for entry, position in zip(entries, same, strict=True):
            if position is not None:
                before[position], differs = _combine_entries(before[position], entry)
                if differs and name not in self.differing:
                    self.differing.append(name)
            elif any(_is_deleted(entry, old) for old in self.deleted[name]):
                position = None
            else:
                position = len(before)
                before.append(self._with_own_id(entry))
            positions.append(position)
        return positions

    def _completed(self, entry: Entry, name: str) -> Entry:
        """An annotation with the members that readers of COCO files expect, if it lacks them."""
        points = [entry["keypoints"][3 * k : 3 * k + 3] for k in labelled_keypoints(entry)]
        box = entry.get("bbox")
        if points and not (box and min(box[2:]) > 0):
            image = self.images.get(name, {})
            size = (image["width"], image["height"]) if image.get("width") else None
            box = box_of_keypoints(points, size)
        if not box or "keypoints" not in entry:
            return entry
        derived = {"area": box[2] * box[3], "iscrowd": 0, "num_keypoints": len(points)}
        return entry | {k: v for k, v in derived.items() if k not in entry} | {"bbox": box}


def _pair_up(entries: Sequence[Entry], before: Sequence[Entry]) -> list[int | None]:
    """For each annotation the position of the same one among others: by ids, then by places."""
    found: list[int | None] = []
    ids = {each["id"]: position for position, each in enumerate(before)}
    for entry in entries:
        position = ids.get(entry.get("id"))
        if position is not None and (
            entry.get("keypoints") != before[position].get("keypoints")
            and _overlap(entry, before[position]) < SAME_PLACE
        ):
            position = None  # another file has given the id to another object
        found.append(position)
    rows = [row for row, position in enumerate(found) if position is None]
    left = [position for position in range(len(before)) if position not in found]
    matched = match_instances(
        [identity(entries[row]) for row in rows], [identity(before[k]) for k in left]
    )
    for row, index in zip(rows, matched, strict=True):
        found[row] = None if index is None else left[index]
    return found


def _is_deleted(entry: Entry, deleted: Entry) -> bool:
    """Whether somebody deleted this very annotation, and not another one of its object."""
    if _overlap(entry, deleted) < SAME_PLACE:
        return False
    same_id = "id" in entry and entry["id"] == deleted["id"]
    return same_id or entry.get("keypoints") == deleted.get("keypoints")


def _combine_entries(before: Entry, entry: Entry) -> tuple[Entry, bool]:
    """One annotation of an object that two files have, and whether these differ in what is manual.

    Args:
        before: of the labels that are written over.
        entry: of the exemplars' file.
    """
    own = ("id", EXTRA, "score", INSTANCE)
    result = {k: v for k, v in entry.items() if k not in own} | before
    if before["category_id"] != entry["category_id"]:
        if is_manual(before) or not labelled_keypoints(entry):
            return result, is_manual(before) and bool(labelled_keypoints(entry))
        return {**{k: v for k, v in before.items() if k not in own[1:3]}, **_without(entry)}, False
    if "keypoints" not in entry or not is_manual(entry):
        return result, False
    theirs, ours = _manual(entry), _manual(before)
    points = list(before.get("keypoints") or [0] * len(entry["keypoints"]))
    replaced = is_foreign(entry) and bool(before.get(EXTRA, {}).get("scores"))
    if replaced:  # a person has labelled what was only predicted
        result = {k: v for k, v in result.items() if k not in (EXTRA, "score")}
    differs = False
    for keypoint in range(len(points) // 3):
        row = slice(3 * keypoint, 3 * keypoint + 3)
        if keypoint in ours:
            differs |= keypoint in theirs and _differ(points[row], entry["keypoints"][row])
        elif keypoint in theirs or replaced:
            points[row] = entry["keypoints"][row]
    result["keypoints"] = points
    result["num_keypoints"] = sum(v > 0 for v in points[2::3])
    if EXTRA in result:
        reviewed = {*result[EXTRA]["reviewed"], *(theirs - ours)}
        result[EXTRA] = {**result[EXTRA], "reviewed": sorted(reviewed)}
    elif replaced and "bbox" in entry:
        result["bbox"] = entry["bbox"]
    return result, differs


def _manual(annotation: Entry) -> set[int]:
    """The keypoints that somebody labelled, or hid on the page."""
    if EXTRA not in annotation:
        return set(labelled_keypoints(annotation))
    return manual_keypoints(annotation)


def _without(entry: Entry) -> Entry:
    """An annotation without its id."""
    return {k: v for k, v in entry.items() if k != "id"}


def _differ(point: Sequence[float], other: Sequence[float]) -> bool:
    if point[2] != other[2]:
        return True
    return point[2] > 0 and math.dist(point[:2], other[:2]) > _SAME_POINT


def _overlap(entry: Entry, other: Entry) -> float:
    return overlap(identity(entry)[1], identity(other)[1])


def _object(document: Mapping[str, Any], member: str) -> Mapping[str, Any]:
    """A member of a document that should be an object."""
    found = document.get(member, {})
    return found if isinstance(found, dict) else {}


def _as_entry(exemplar: OwnObject, numbers: Mapping[str, Any]) -> Entry:
    """An exemplar that comes from no file as a COCO annotation."""
    annotation = exemplar.annotation
    x0, y0, x1, y1 = annotation.box
    visible = annotation.visible
    visibility = np.full(len(visible), 2)
    if annotation.occluded is not None:
        visibility[annotation.occluded] = 1
    points = np.column_stack(
        [np.nan_to_num(annotation.keypoints), np.where(visible, visibility, 0)]
    )
    return {
        "category_id": numbers[annotation.category],
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": (x1 - x0) * (y1 - y0),
        "iscrowd": 0,
        "num_keypoints": int(visible.sum()),
        "keypoints": points.flatten().tolist(),
    }
