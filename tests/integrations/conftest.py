from __future__ import annotations

import json
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from homolog import example

BOXES = ((10, 15, 320, 240), (330, 215, 320, 240))
SIZE = 660, 480


def tray(animals: list[Image.Image]) -> Image.Image:
    """Both animals, at half their size, in one image."""
    image = Image.new("RGB", SIZE, "white")
    for animal, (x, y, width, height) in zip(animals, BOXES, strict=True):
        image.paste(animal.resize((width, height)), (x, y))
    return image


@pytest.fixture(scope="session")
def animals(tmp_path_factory) -> Iterator[SimpleNamespace]:
    """The example pair, of which `few` labels the fox.

    Attributes `images` are both images, `keypoints` the keypoints of both, `visible` which are
    seen in both, `names` their names, `folder` where the files lie; and `tray` is an image of
    both, with the keypoints `halved`.
    """
    folder = tmp_path_factory.mktemp("animals")
    with example.pair() as pair:
        images = [Image.open(path).convert("RGB") for path in (pair.image0, pair.image1)]
        keypoints = [pair.keypoints0, pair.keypoints1]
        names, visible = pair.schema.names, pair.visible
    images[0].save(folder / "fox.png")
    both = tray(images)
    halved = [points / 2 + box[:2] for points, box in zip(keypoints, BOXES, strict=True)]
    width, height = images[0].size
    category = {
        "id": 7,
        "name": "animal",
        "keypoints": list(names),
        "skeleton": [[1, 2], [2, 3]],
    }
    content = {
        "images": [{"id": 1, "file_name": "fox.png", "width": width, "height": height}],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "category_id": 7,
                "bbox": [0, 0, width, height],
                "keypoints": np.column_stack([keypoints[0], 2 * visible]).flatten().tolist(),
            }
        ],
        "categories": [category],
    }
    (folder / "few.json").write_text(json.dumps(content))
    return SimpleNamespace(
        folder=folder, images=images, keypoints=keypoints, halved=halved, visible=visible,
        names=names, tray=both, few=folder / "few.json",
    )  # fmt: skip


@pytest.fixture(scope="session")
def predictor(animals):
    from homolog.integrations.predictor import Predictor

    return Predictor(animals.few)


@pytest.fixture(scope="session")
def tray_predictor(animals):
    from homolog.integrations.predictor import Predictor

    return Predictor(animals.few, max_objects=2)
