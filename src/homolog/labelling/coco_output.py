"""The COCO document of an annotated folder, merged with what was edited by hand before."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from homolog.data.exemplars import ExemplarSet
from homolog.data.formats.entries import InstanceId
from homolog.data.labels import EXTRA, Labels, manual_keypoints
from homolog.data.pairs import Annotation
from homolog.image import reading
from homolog.labelling.annotator import Record, own_objects
from homolog.labelling.instances import INSTANCE, Identity, free_instance, match_instances


@dataclass(frozen=True)
class Summary:
    """What `annotate` did.

    Attributes:
        images: number of annotated images.
        points: number of visible keypoints in these.
        doubtful: number of keypoints that should be reviewed.
        manual: number of keypoints kept as somebody labelled or corrected them.
        failed: names of the images that could not be read, and why.
        objects: number of annotated objects in these images.
        unlabelled: names of images and instance ids of the objects given that are like none of the
            exemplars.
        kept: names of images and instance ids of earlier objects that are no longer given, but
            that somebody has labelled or corrected.
    """

    images: int
    points: int
    doubtful: int
    manual: int
    failed: Sequence[tuple[str, str]]
    objects: int
    unlabelled: Sequence[tuple[str, InstanceId]] = ()
    kept: Sequence[tuple[str, InstanceId | None]] = ()


def make_document(
    files: Sequence[Path],
    name_of: Callable[[Path], str],
    records: Mapping[str, Record],
    exemplars: ExemplarSet,
    previous: Labels | None,
) -> tuple[dict[str, Any], Summary]:
    """The COCO document of all images of a folder, and a summary of it.

    Args:
        files: the images.
        name_of: gives the name of each in the document.
        records: what was predicted for each, by name. Images without a record are exemplars.
            Exemplars keep their own labels.
        exemplars: the labelled images.
        previous: labels whose manual edits are kept.
    """
    own = own_objects(exemplars)
    earlier = {} if previous is None else _annotations_by_name(previous)
    ids = {c["name"]: c["id"] for c in exemplars.categories}
    data: dict[str, Any] = {
        "info": {"description": "Keypoints carried over by homolog", "failed": []},
        "images": [],
        "annotations": [],
        "categories": list(exemplars.categories),
    }
    manual = 0
    unlabelled: list[tuple[str, InstanceId]] = []
    kept: list[tuple[str, InstanceId | None]] = []
    for path in files:
        name = name_of(path)
        record = records.get(name)
        if record is not None and "failed" in record:
            data["info"]["failed"].append(record)
            continue
        size, entries = _new_entries(path, record, own.get(path.resolve(), []), ids)
        if record is not None and record.get("unlabelled"):
            given = [{"file_name": name, **each} for each in record["unlabelled"]]
            data["info"].setdefault("unlabelled", []).extend(given)
            unlabelled += [(name, each[INSTANCE]) for each in given]
        entries, vanished = _with_manual_edits(entries, earlier.get(name, []))
        kept += [(name, number) for number in vanished]
        number = len(data["images"]) + 1
        data["images"].append(
            {"id": number, "file_name": name, "width": size[0], "height": size[1]}
        )
        for entry in entries:
            manual += len(manual_keypoints(entry))
            own_ids = {"id": len(data["annotations"]) + 1, "image_id": number}
            data["annotations"].append(own_ids | entry)
    labels = Labels(data)
    points = sum(annotation["num_keypoints"] for annotation in labels.annotations)
    failed = [(record["file_name"], record["failed"]) for record in data["info"]["failed"]]
    return data, Summary(
        len(data["images"]), points, len(labels.doubtful()), manual, failed,
        len(data["annotations"]), unlabelled, kept,
    )  # fmt: skip


def _annotations_by_name(labels: Labels) -> dict[str, list[dict[str, Any]]]:
    names = {image["id"]: image["file_name"] for image in labels.images}
    by_name: dict[str, list[dict[str, Any]]] = {}
    for annotation in labels.annotations:
        by_name.setdefault(names[annotation["image_id"]], []).append(annotation)
    return by_name


def _new_entries(
    path: Path,
    record: Record | None,
    exemplars: Sequence[tuple[Annotation, Identity]],
    ids: Mapping[str, int],
) -> tuple[tuple[int, int], list[dict[str, Any]]]:
    """The size of an image, and its annotations: of exemplars first, then those predicted."""
    instances = [number if len(exemplars) > 1 else None for _, (number, _) in exemplars]
    entries = [_exemplar_entry(each, ids[each.category]) for each, _ in exemplars]
    if record is None:
        size = exemplars[0][0].size or reading.image_size(path)
        predicted: list[dict[str, Any]] = []
    else:
        size = record["width"], record["height"]
        # Images of one object have one annotation, as they did before there could be several.
        predicted = record["annotations"] if "annotations" in record else [record["annotation"]]
        instances = record.get("exemplars", instances)
    entries = [
        entry if number is None else {INSTANCE: number, **entry}
        for entry, number in zip(entries, instances, strict=True)
    ]
    return size, [*entries, *predicted]


def _with_manual_edits(
    entries: Sequence[dict[str, Any]], earlier: Sequence[dict[str, Any]]
) -> tuple[list[dict[str, Any]], list[InstanceId | None]]:
    """New annotations of an image, with what somebody edited in the earlier ones.

    Returns:
        The annotations, and the instance ids of those that are only there because somebody edited
        them.
    """
    single = len(entries) == 1 and INSTANCE not in entries[0]
    if single and len(earlier) == 1 and INSTANCE not in earlier[0]:
        matched: list[int | None] = [0]  # the object of an image, wherever it was seen
    else:
        matched = match_instances(*([_identity(e) for e in each] for each in (entries, earlier)))
    foreign = any(EXTRA not in old for old in earlier)
    merged: list[dict[str, Any]] = []
    for entry, position in zip(entries, matched, strict=True):
        old = None if position is None else earlier[position]
        if old is not None:
            merged.append(_merge(entry, old))
        elif not (single and foreign):  # of one object, what was made by hand is all there is
            merged.append(entry)
    vanished = []
    for position, old in enumerate(earlier):
        if position in matched or not manual_keypoints(old):
            continue
        taken = [each.get(INSTANCE) for each in merged]
        old = _without_ids(old)
        if EXTRA in old:
            vanished.append(old.get(INSTANCE))
        if old.get(INSTANCE) in taken and INSTANCE in old:
            old[INSTANCE] = free_instance(taken)
        merged.append(old)
    return merged, vanished


def _merge(entry: dict[str, Any], old: dict[str, Any]) -> dict[str, Any]:
    """A new annotation with what somebody edited in the earlier one of the same object."""
    named = {INSTANCE: entry[INSTANCE]} if INSTANCE in entry else {}
    if EXTRA not in old:  # made by another tool or by hand: kept as it is
        return {**_without_ids(old), **named}
    edited = manual_keypoints(old)
    if EXTRA not in entry or not edited:
        return entry
    if len(old["keypoints"]) != len(entry["keypoints"]):
        return {**_without_ids(old), **named}
    for keypoint in edited:
        row = slice(3 * keypoint, 3 * keypoint + 3)
        entry["keypoints"][row] = old["keypoints"][row]
        entry[EXTRA]["reviewed"] = sorted({*entry[EXTRA]["reviewed"], keypoint})
    entry["num_keypoints"] = sum(v > 0 for v in entry["keypoints"][2::3])
    return entry


def _without_ids(annotation: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in annotation.items() if k not in ("id", "image_id")}


def _identity(annotation: dict[str, Any]) -> Identity:
    x, y, width, height = annotation["bbox"]
    return annotation.get(INSTANCE), (x, y, width, height)


def _exemplar_entry(annotation: Annotation, category: int) -> dict[str, Any]:
    """An exemplar's own labels as a COCO annotation."""
    x0, y0, x1, y1 = annotation.box
    visible = annotation.visible
    points = np.column_stack([np.nan_to_num(annotation.keypoints), np.where(visible, 2, 0)])
    return {
        "category_id": category,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": (x1 - x0) * (y1 - y0),
        "iscrowd": 0,
        "num_keypoints": int(visible.sum()),
        "keypoints": points.flatten().tolist(),
    }
