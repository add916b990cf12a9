"""The COCO document of an annotated folder, merged with what was edited by hand before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from homolog.data.exemplars import ExemplarSet
from homolog.data.labels import EXTRA, Labels, manual_keypoints
from homolog.data.pairs import Annotation
from homolog.image import reading
from homolog.labelling.annotator import Record


@dataclass(frozen=True)
class Summary:
    """What `annotate` did.

    Attributes:
        images: number of annotated images.
        points: number of visible keypoints in these.
        doubtful: number of keypoints that should be reviewed.
        manual: number of keypoints kept as somebody labelled or corrected them.
        failed: names of the images that could not be read, and why.
    """

    images: int
    points: int
    doubtful: int
    manual: int
    failed: Sequence[tuple[str, str]]


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
        records: what was predicted for each, by name. Images without a record are exemplars,
            which keep their own labels.
        exemplars: the labelled images.
        previous: labels whose manual edits are kept.
    """
    own = {annotation.path.resolve(): annotation for annotation in exemplars.annotations}
    earlier = {} if previous is None else _annotations_by_name(previous)
    ids = {c["name"]: c["id"] for c in exemplars.categories}
    data: dict[str, Any] = {
        "info": {"description": "Keypoints carried over by homolog", "failed": []},
        "images": [],
        "annotations": [],
        "categories": list(exemplars.categories),
    }
    manual = 0
    for path in files:
        name = name_of(path)
        record = records.get(name)
        if record is not None and "failed" in record:
            data["info"]["failed"].append(record)
            continue
        if record is None:
            annotation = own[path.resolve()]
            size = annotation.size or reading.image_size(path)
            entries = [_exemplar_entry(annotation, ids[annotation.category])]
        else:
            size, entries = (record["width"], record["height"]), [record["annotation"]]
        entries = _with_manual_edits(entries, earlier.get(name, []))
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
    return data, Summary(len(data["images"]), points, len(labels.doubtful()), manual, failed)


def _annotations_by_name(labels: Labels) -> dict[str, list[dict[str, Any]]]:
    names = {image["id"]: image["file_name"] for image in labels.images}
    by_name: dict[str, list[dict[str, Any]]] = {}
    for annotation in labels.annotations:
        by_name.setdefault(names[annotation["image_id"]], []).append(annotation)
    return by_name


def _with_manual_edits(
    entries: Iterable[dict[str, Any]], earlier: Iterable[dict[str, Any]]
) -> list[dict[str, Any]]:
    """New annotations of an image, with what somebody edited in the earlier ones."""
    foreign = [a for a in earlier if EXTRA not in a]
    if foreign:  # made by another tool or by hand: kept as they are
        return [{k: v for k, v in a.items() if k not in ("id", "image_id")} for a in foreign]
    merged = list(entries)
    for entry in merged:
        for old in earlier:
            if EXTRA not in entry or len(old["keypoints"]) != len(entry["keypoints"]):
                continue
            for keypoint in manual_keypoints(old):
                row = slice(3 * keypoint, 3 * keypoint + 3)
                entry["keypoints"][row] = old["keypoints"][row]
                entry[EXTRA]["reviewed"] = sorted({*entry[EXTRA]["reviewed"], keypoint})
            entry["num_keypoints"] = sum(v > 0 for v in entry["keypoints"][2::3])
    return merged


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
