"""The same five objects in three images, written in every format that holds boxes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from helpers import datasets
from homolog.data.boxes import BoxSet

Xywh = tuple[float, float, float, float]

SIZES = {"a.png": (64, 48), "b.png": (80, 100), "sub/c.png": (50, 50)}
OBJECTS = {
    "a.png": [((4.0, 5.0, 20.0, 12.0), "mouse", 0.9), ((30.0, 8.0, 16.0, 32.0), "rat", 0.25)],
    "b.png": [((10.0, 20.0, 30.0, 40.0), "mouse", 0.5)],
    "sub/c.png": [((0.0, 0.0, 50.0, 50.0), "rat", 0.75), ((5.0, 7.0, 2.0, 3.0), "rat", 1.0)],
}
CATEGORIES = {3: "mouse", 8: "rat"}


def flat() -> Iterator[tuple[int, str, int, Xywh, str, float]]:
    """All objects with their number in the file, their image, and their number in that."""
    number = 0
    for name, objects in OBJECTS.items():
        for index, (box, category, score) in enumerate(objects, start=1):
            number += 1
            yield number, name, index, box, category, score


def as_coco() -> dict[str, Any]:
    ids = {name: number for number, name in enumerate(SIZES, start=7)}
    to_category = {name: number for number, name in CATEGORIES.items()}
    return {
        "images": [
            {"id": ids[name], "file_name": name, "width": width, "height": height}
            for name, (width, height) in SIZES.items()
        ],
        "annotations": [
            {"id": number, "image_id": ids[name], "category_id": to_category[category],
             "bbox": list(box), "area": box[2] * box[3], "iscrowd": 0}
            for number, name, _, box, category, _ in flat()
        ],
        "categories": [{"id": number, "name": name} for number, name in CATEGORIES.items()],
    }  # fmt: skip


def as_results(names: dict[str, int | str] | None = None) -> list[dict[str, Any]]:
    """Results, whose image ids are those of the COCO file or the given ones."""
    to_category = {name: number for number, name in CATEGORIES.items()}
    ids = names or {name: number for number, name in enumerate(SIZES, start=7)}
    return [
        {"image_id": ids[name], "category_id": to_category[category], "bbox": list(box),
         "score": score}
        for _, name, _, box, category, score in flat()
    ]  # fmt: skip


def as_rows(**names: str) -> pd.DataFrame:
    """A table, with other names for some of its columns."""
    rows = [
        {"image": name, "x": box[0], "y": box[1], "width": box[2], "height": box[3],
         "instance": f"m{number}", "score": score, "category": category}
        for number, name, _, box, category, score in flat()
    ]  # fmt: skip
    return pd.DataFrame(rows).rename(columns=names)


def fractions(size: tuple[int, int], box: Xywh) -> np.ndarray:
    x, y, width, height = box
    return np.array([x + width / 2, y + height / 2, width, height]) / (*size, *size)


def write_yolo(
    root: Path,
    rows_of: Callable[[tuple[int, int], Xywh], Any] = fractions,
    names: tuple[str, ...] = ("mouse", "rat"),
    **extra: Any,
) -> Path:
    """Labels beside a folder of images; a data set's YAML file, if there are names."""
    for name, size in SIZES.items():
        lines = []
        for box, category, _ in OBJECTS[name]:
            values = rows_of(size, box)
            label = list(CATEGORIES.values()).index(category)
            lines.append(" ".join([str(label), *(f"{value:.8g}" for value in values)]))
        path = (root / "labels" / name).with_suffix(".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n")
    content = {"path": ".", "train": "images", "names": list(names), **extra}
    if names:
        (root / "data.yaml").write_text(yaml.safe_dump(content))
    return root / "data.yaml"


def assert_same(
    found: BoxSet,
    folder: Path,
    ids: dict[int, int | str] | None = None,
    scores: bool = False,
    categories: bool = True,
) -> None:
    """Check that these are the objects; with the ids by number in the file, or else numbered."""
    assert found.problems == ()
    assert set(found.objects) == {(folder / name).resolve() for name in SIZES}
    assert found.count == 5
    for number, name, index, box, category, score in flat():
        got = found.of(folder / name)[index - 1]
        np.testing.assert_allclose(got.box, box, atol=1e-4)
        assert got.instance == (ids or {}).get(number, index)
        assert got.score == (score if scores else None)
        assert got.category == (category if categories else None)


def save_images(root: Path) -> Path:
    """The three images, in the folder `images`."""
    for seed, (name, size) in enumerate(SIZES.items()):
        datasets.save_image(root / "images" / name, seed, size)
    return root / "images"
