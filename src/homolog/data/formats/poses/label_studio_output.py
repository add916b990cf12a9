"""Label Studio's tasks (`.json`, `.jsonl`), written with annotations and predictions."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from homolog.data.formats.document import Document, WriteOptions
from homolog.data.formats.poses.members import (
    keypoint_rows,
    posed,
    predicted_scores,
    reviewed_keypoints,
    without_keypoints,
)
from homolog.data.formats.writing import image_size, nowhere_labelled, unheld
from homolog.data.labels import EXTRA, manual_keypoints
from homolog.utils.outputs import write_atomically

KEYPOINTS, RECTANGLES, IMAGE = "keypoint", "object", "image"
"""The names of the tags of a labelling configuration, and of the image in the data of a task."""
LOCAL_FILES = "/data/local-files/?d="
"""How Label Studio addresses a file of its local storage."""
INSTANCE_PREFIX = "instance-"
"""What the id of a rectangle begins with that tells the instance id of its object."""
OCCLUDED = "occluded"
"""The remark of a keypoint that is occluded."""
MANUAL = "manual"
"""The origin of a region that a person made."""
MODEL_VERSION = "homolog"

Tags = tuple[str, str | None, str]
"""The names of the tags of keypoints, of rectangles, if there is one, and of the image."""


def write(path: Path, document: Document, options: WriteOptions = WriteOptions()) -> list[str]:
    """Write a task for each image.

    Its objects are an annotation where a person made all of them, or else a prediction, of which
    the keypoints that a person made or reviewed are marked.

    Returns:
        What the format cannot hold, a line each.

    Raises:
        HomologError: the size of an image is not known, or the file cannot be written.
    """
    held = {"keypoints", "num_keypoints", "instance_id", "score", "bbox", EXTRA}
    notes = unheld(document, "Label Studio", held, {"keypoints"}, ("url",))
    notes += without_keypoints(document, "Label Studio")
    notes += _not_said(document)
    tasks = make_tasks(path, document, options)
    if path.suffix.lower() == ".jsonl":
        text = "".join(f"{json.dumps(task)}\n" for task in tasks)
    else:
        text = json.dumps(tasks, indent=1) + "\n"
    write_atomically(path, text.encode(), options.argument)
    return notes


def _not_said(document: Document) -> list[str]:
    """Lines on what regions do not tell, which are only of keypoints that are labelled."""
    counted: Counter[str] = Counter()
    for annotation in posed(document):
        labelled = {k for k, (_, _, v) in enumerate(keypoint_rows(annotation)) if v > 0}
        if EXTRA in annotation:
            counted["state of review of boxes"] += bool(annotation[EXTRA].get("box_reviewed"))
            hidden = manual_keypoints(dict(annotation)) - labelled
            counted["state of review of keypoints that are not labelled"] += len(hidden)
    counted["keypoints that are nowhere labelled"] = nowhere_labelled(document)
    return [f"Label Studio holds no {kind}: {number}" for kind, number in counted.items() if number]


def make_tasks(path: Path, document: Document, options: WriteOptions) -> list[dict[str, Any]]:
    """The tasks that hold a document.

    Args:
        path: of the file to be written, near which images are looked up whose size is not known.
        document: the labels.
        options: the folder of images.

    Raises:
        HomologError: the size of an image is not known.
    """
    categories = {each["id"]: each for each in document["categories"] if each.get("keypoints")}
    by_image: dict[Any, list[Mapping[str, Any]]] = {}
    for annotation in posed(document):
        by_image.setdefault(annotation["image_id"], []).append(annotation)
    tasks = []
    for image in document["images"]:
        name = str(image["file_name"]).replace("\\", "/")
        task: dict[str, Any] = {"data": {IMAGE: image.get("url") or LOCAL_FILES + quote(name)}}
        annotations = by_image.get(image["id"], [])
        if annotations:
            size = image_size(image, options, path)
            if all(reviewed_keypoints(each) is None for each in annotations):
                task["annotations"] = [{"result": make_regions(annotations, categories, size)}]
            else:
                task["predictions"] = [make_prediction(annotations, categories, size)]
        tasks.append(task)
    return tasks


def make_prediction(
    annotations: Sequence[Mapping[str, Any]],
    categories: Mapping[Any, Mapping[str, Any]],
    size: tuple[int, int],
    tags: Tags = (KEYPOINTS, RECTANGLES, IMAGE),
) -> dict[str, Any]:
    """The objects of an image as a prediction.

    Args:
        annotations: of a COCO file.
        categories: by id.
        size: width and height of the image.
        tags: of the labelling configuration.
    """
    scores = [float(each["score"]) for each in annotations if each.get("score") is not None]
    return {
        "model_version": MODEL_VERSION,
        "score": sum(scores) / len(scores) if scores else 0.0,
        "result": make_regions(annotations, categories, size, tags),
    }


def make_regions(
    annotations: Sequence[Mapping[str, Any]],
    categories: Mapping[Any, Mapping[str, Any]],
    size: tuple[int, int],
    tags: Tags = (KEYPOINTS, RECTANGLES, IMAGE),
) -> list[dict[str, Any]]:
    """The objects of an image as regions: a rectangle each, to which its keypoints belong.

    Args:
        annotations: of a COCO file.
        categories: by id.
        size: width and height of the image.
        tags: of the labelling configuration; without rectangles nothing tells objects apart.
    """
    width, height = size
    keypoints, rectangles, image = tags
    shared: dict[str, Any] = {
        "to_name": image,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
    }
    regions: list[dict[str, Any]] = []
    taken: set[str] = set()
    for number, annotation in enumerate(annotations, start=1):
        category = categories[annotation["category_id"]]
        given = annotation.get("instance_id")
        owner = f"object-{number}" if given is None else f"{INSTANCE_PREFIX}{given}"
        if owner in taken:
            owner = f"object-{number}"
        taken.add(owner)
        if rectangles is not None:
            x, y, w, h = annotation["bbox"]
            value: dict[str, Any] = {
                "x": 100 * x / width,
                "y": 100 * y / height,
                "width": 100 * w / width,
                "height": 100 * h / height,
                "rotation": 0,
                "rectanglelabels": [str(category["name"])],
            }
            box: dict[str, Any] = {"id": owner, "type": "rectanglelabels", **shared}
            box["from_name"] = rectangles
            if annotation.get("score") is not None:
                box["score"] = float(annotation["score"])
            regions.append({**box, "value": value})
        scores, reviewed = predicted_scores(annotation), reviewed_keypoints(annotation)
        for index, (x, y, v) in enumerate(keypoint_rows(annotation)):
            if v == 0:
                continue
            value = {
                "x": 100 * x / width,
                "y": 100 * y / height,
                "width": 0.5,
                "keypointlabels": [str(category["keypoints"][index])],
            }
            point = {"id": f"{owner}-{index}", "type": "keypointlabels", **shared}
            point |= {"from_name": keypoints, "value": value}
            if rectangles is not None:
                point["parentID"] = owner
            if scores is not None:
                point["score"] = scores[index]
            if reviewed is None or index in reviewed:
                point["origin"] = MANUAL
            if v == 1:
                point["meta"] = {"text": [OCCLUDED]}
            regions.append(point)
    return regions
