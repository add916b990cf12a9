"""Labels with everything that files of poses hold: two categories, several instances, states."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZES = {"a.png": (60, 40), "b.png": (60, 40), "c.png": (50, 70)}
BEE = {
    "id": 3,
    "name": "bee",
    "keypoints": ["head", "left_wing", "right_wing", "tail"],
    "flip_indices": [0, 2, 1, 3],
    "skeleton": [[1, 2], [1, 3], [1, 4]],
}
FLY = {"id": 8, "name": "fly", "keypoints": ["eye", "claw"]}


def save_images(folder: Path) -> None:
    """The images, each with other pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (name, (width, height)) in enumerate(SIZES.items()):
        values = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
        Image.fromarray(values).save(folder / name)


def predicted(flat: list[float], reviewed: list[int]) -> dict[str, Any]:
    scores = [0.9, 0.5, 0.75, 0.25][: len(flat) // 3]
    labelled = [index for index in range(len(scores)) if flat[3 * index + 2]]
    return {
        "score": 0.5,
        "homolog": {
            "scores": scores,
            "doubtful": [index for index in labelled if scores[index] < 0.8],
            "reviewed": reviewed,
            "predicted": list(flat),
            "exemplars": [],
        },
    }


def document() -> dict[str, Any]:
    """Made, predicted and partly reviewed objects; occluded and unlabelled keypoints."""
    bees = [
        [10, 11.5, 2, 14, 9, 1, 0, 0, 0, 22, 30.25, 2],
        [30, 11, 2, 34, 9, 2, 28, 8, 2, 40, 30, 2],
        [5, 5, 2, 9, 9, 2, 7, 15, 1, 20, 22, 2],
    ]
    moved = [6.5, 5, 2, 9, 9, 2, 7, 15, 1, 20, 22, 2]
    annotations = [
        {"image_id": 1, "category_id": 3, "keypoints": bees[0], "instance_id": "queen"},
        {"image_id": 1, "category_id": 3, "keypoints": bees[1], "instance_id": 2}
        | predicted(bees[1], []),
        {"image_id": 3, "category_id": 3, "keypoints": moved, "instance_id": "queen"}
        | predicted(bees[2], [0, 1]),
        {"image_id": 3, "category_id": 8, "keypoints": [3, 4, 2, 9, 40, 2], "instance_id": 7},
    ]
    boxes = [[8, 6, 18, 28], [27, 7, 15, 25], [4, 4, 18, 20], [2, 3, 9, 39]]
    for number, (annotation, box) in enumerate(zip(annotations, boxes, strict=True), start=1):
        annotation |= {"id": number, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
        annotation["num_keypoints"] = sum(v > 0 for v in annotation["keypoints"][2::3])
    return {
        "images": [
            {"id": number, "file_name": name, "width": width, "height": height}
            for number, (name, (width, height)) in enumerate(SIZES.items(), start=1)
        ],
        "annotations": annotations,
        "categories": [copy.deepcopy(BEE), copy.deepcopy(FLY)],
    }


def simplified(content: dict[str, Any], *members: str) -> list[dict[str, Any]]:
    """What the annotations of a document say, whatever their ids: one entry for each, sorted.

    Args:
        content: the document.
        members: of annotations that are compared, besides image, category and keypoints.
    """
    images = {image["id"]: image["file_name"] for image in content["images"]}
    categories = {category["id"]: category for category in content["categories"]}
    entries = []
    for each in content["annotations"]:
        category = categories[each["category_id"]]
        rows = np.reshape(each["keypoints"], (-1, 3)).round(3).tolist()
        points = dict(zip(category["keypoints"], rows, strict=True))
        entry = {
            "image": images[each["image_id"]],
            "category": category["name"],
            "points": {name: row for name, row in sorted(points.items()) if row[2]},
        }
        for member in members:
            value = each.get(member)
            entry[member] = np.round(value, 3).tolist() if member == "bbox" else value
        entries.append(entry)
    return sorted(entries, key=lambda entry: (entry["image"], str(entry["points"])))
