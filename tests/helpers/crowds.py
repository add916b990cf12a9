"""Generated COCO files of images that show several alike objects, with exact truth."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from helpers.toys import random_image

NAMES = ("nose", "left_paw", "right_paw", "tail", "chin")
SHARES = np.array([(0.5, 0.2), (0.2, 0.7), (0.8, 0.6), (0.6, 0.85), (0.4, 0.4)])
"""Where on an object its keypoints are, in shares of its width and height."""

SIZE = (480, 320)
_ROOM = 160  # pixels of a square that holds one object


def make_crowds(folder: Path, counts: Sequence[int], *, sized: bool = True) -> Path:
    """A COCO file of images with so many objects each, at most six: equal but for place and scale.

    Args:
        folder: gets `crowds.json`, and the images in `images`.
        counts: of objects of each image.
        sized: whether the file gives the sizes of its images.
    """
    rng = np.random.default_rng(0)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for number, count in enumerate(counts, start=1):
        image = random_image(*SIZE, seed=100 + number)
        columns = SIZE[0] // _ROOM
        for place in rng.permutation(6)[:count]:
            size = rng.integers(90, 130, 2) // 2 * 2
            corner = np.array(divmod(int(place), columns))[::-1] * _ROOM
            corner = corner + rng.integers(4, _ROOM - size - 4)
            image.paste(random_image(*map(int, size), seed=7), tuple(map(int, corner)))
            points = np.column_stack([corner + SHARES * size, np.full(len(NAMES), 2)])
            annotations.append(
                {
                    "id": 3 * len(annotations) + 11, "image_id": number, "category_id": 1,
                    "bbox": [*map(int, corner), *map(int, size)],
                    "keypoints": points.ravel().tolist(),
                }
            )  # fmt: skip
        name = f"crowd{number:02}.png"
        image.save(folder / "images" / name)
        entry: dict[str, Any] = {"id": number, "file_name": name}
        images.append(entry | ({"width": SIZE[0], "height": SIZE[1]} if sized else {}))
    path = folder / "crowds.json"
    categories = [{"id": 1, "name": "toy", "keypoints": list(NAMES)}]
    path.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
    return path


def crop_to_objects(path: Path, folder: Path, margin: float) -> Path:
    """The same objects, each in an image of its own: cut out with a margin by hand.

    Args:
        path: a file that `make_crowds` made.
        folder: gets a file of the same name, and the images.
        margin: on either side, as a share of the box's longer side.
    """
    file = json.loads(path.read_text())
    names = {image["id"]: image["file_name"] for image in file["images"]}
    (folder / "images").mkdir(parents=True)
    images = []
    for annotation in file["annotations"]:
        number, (x, y, width, height) = annotation["id"], annotation["bbox"]
        pad = margin * max(width, height)
        left, top = max(0, int(np.floor(x - pad))), max(0, int(np.floor(y - pad)))
        right = min(SIZE[0], int(np.ceil(x + width + pad)))
        bottom = min(SIZE[1], int(np.ceil(y + height + pad)))
        name = f"{names[annotation['image_id']]}#{number}"  # as the object is called
        with Image.open(path.parent / "images" / names[annotation["image_id"]]) as image:
            image.crop((left, top, right, bottom)).save(folder / "images" / name, "PNG")
        images.append(
            {"id": number, "file_name": name, "width": right - left, "height": bottom - top}
        )
        points = np.reshape(annotation["keypoints"], (-1, 3)) - (left, top, 0)
        annotation |= {
            "image_id": number, "bbox": [x - left, y - top, width, height],
            "keypoints": points.ravel().tolist(),
        }  # fmt: skip
    copy = folder / path.name
    copy.write_text(json.dumps({**file, "images": images}))
    return copy
