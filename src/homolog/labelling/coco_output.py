"""The COCO document of an annotated folder, merged with what was edited by hand before."""

from __future__ import annotations

from collections import defaultdict
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
from homolog.labelling.edits import Entry, MergedImage, merge, without_ids
from homolog.labelling.instances import INSTANCE, Identity


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
            that somebody has drawn, labelled or corrected.
        retained: names of the images that could not be read, but have been before, and keep their
            annotations.
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
        previous: labels whose manual edits are kept, with the categories of the exemplars
            (`homolog.labelling.edits.with_categories`).
    """
    own = own_objects(exemplars)
    earlier = _Earlier(previous)
    ids = {c["name"]: c["id"] for c in exemplars.categories}
    document = _Document(earlier, exemplars.categories)
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
        size, entries = _new_entries(path, record, own.get(path.resolve(), []), ids)
        if record is not None and record.get("unlabelled"):
            document.unlabelled += [{"file_name": name, **each} for each in record["unlabelled"]]
            unlabelled += [(name, each[INSTANCE]) for each in record["unlabelled"]]
        merged = merge(entries, earlier.annotations[name], earlier.deleted[name])
        document.add_image(name, {"width": size[0], "height": size[1]}, merged)
    names = set(map(name_of, files))
    for name in earlier.images:
        merged = merge([], earlier.annotations[name], earlier.deleted[name])
        if name not in names and (merged.entries or merged.deleted):  # its image is elsewhere now
            document.add_image(name, {}, merged)
    data = document.finish()
    labels = Labels(data)
    points = sum(annotation["num_keypoints"] for annotation in labels.annotations)
    failed = [(record["file_name"], record["failed"]) for record in document.failed]
    manual = sum(len(manual_keypoints(annotation)) for annotation in labels.annotations)
    return data, Summary(
        len(data["images"]), points, len(labels.doubtful()), manual, failed,
        len(data["annotations"]), unlabelled, document.kept, retained,
    )  # fmt: skip


class _Earlier:
    """Labels that are written over, by the names of their images.

    Attributes:
        data: their document.
        images: its images.
        annotations: of each image.
        deleted: of each image those that somebody deleted.
    """

    def __init__(self, labels: Labels | None):
        self.data: Mapping[str, Any] = {} if labels is None else labels.data
        self.images: dict[str, dict[str, Any]] = {}
        self.annotations: dict[str, list[Entry]] = defaultdict(list)
        self.deleted: dict[str, list[Entry]] = defaultdict(list)
        if labels is None:
            return
        names = {image["id"]: image["file_name"] for image in labels.images}
        self.images = {image["file_name"]: image for image in labels.images}
        for annotation in labels.annotations:
            self.annotations[names[annotation["image_id"]]].append(annotation)
        for annotation in labels.deleted:
            if annotation["image_id"] in names:  # otherwise it cannot be restored either
                self.deleted[names[annotation["image_id"]]].append(annotation)

    def all_of(self, name: str) -> MergedImage:
        """The annotations of an image as they were."""
        entries = [without_ids(each) for each in self.annotations[name]]
        return MergedImage(entries, [without_ids(each) for each in self.deleted[name]])


class _Document:
    """A COCO document under construction; members of an earlier one that are not known are kept."""

    def __init__(self, earlier: _Earlier, categories: Sequence[Mapping[str, Any]]):
        self._earlier = earlier
        self._categories = list(earlier.data.get("categories", categories))
        self._images: list[dict[str, Any]] = []
        self._annotations: list[Entry] = []
        self._deleted: list[Entry] = []
        self.failed: list[Record] = []
        self.unlabelled: list[dict[str, Any]] = []
        self.kept: list[tuple[str, InstanceId | None]] = []

    def add_image(self, name: str, size: Mapping[str, int], merged: MergedImage) -> None:
        """Add an image with its annotations."""
        number = len(self._images) + 1
        image = {"id": number, "file_name": name, **size}
        self._images.append({**self._earlier.images.get(name, {}), **image})
        for entry in merged.entries:
            ids = {"id": len(self._annotations) + 1, "image_id": number}
            self._annotations.append(ids | entry)
        self._deleted += [{"image_id": number, **entry} for entry in merged.deleted]
        self.kept += [(name, instance) for instance in merged.kept]

    def finish(self) -> dict[str, Any]:
        """The document."""
        before = self._earlier.data
        described = {"description": "Keypoints carried over by homolog", **before.get("info", {})}
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
        own = {k: v for k, v in before.get(EXTRA, {}).items() if k != "deleted"}
        if self._deleted:
            first = len(self._annotations) + 1
            own["deleted"] = [{"id": first + k, **entry} for k, entry in enumerate(self._deleted)]
        known = (*data, EXTRA)
        data |= {member: value for member, value in before.items() if member not in known}
        return data | {EXTRA: own} if own else data


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
