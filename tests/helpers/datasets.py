"""Small data sets in the layouts of the published ones, and how tests look at them."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from helpers.toys import random_image
from homolog import HomologError
from homolog.data import DataSet
from homolog.data.pf_pascal import CATEGORIES
from homolog.keypoints import KeypointSchema

SIZE = (64, 48)
BOX = (4.0, 5.0, 60.0, 44.0)


def make_spair(
    folder: Path,
    categories: Iterable[str] = ("cat", "bus"),
    splits: Iterable[str] = ("trn", "val", "test"),
    images: int = 3,
) -> Path:
    """All ordered pairs of `images` images of each category and split."""
    rng = np.random.default_rng(0)
    for number, split in enumerate(splits):
        pairs = []
        for category in categories:
            count = len(KeypointSchema.spair(category))
            names = [f"2008_{number}{i:05}" for i in range(images)]
            kps = {name: _visible_points(rng, count) for name in names}
            for i, name in enumerate(names):
                save_image(folder / "JPEGImages" / category / f"{name}.jpg", i)
                points = {
                    str(k): None if np.isnan(point).any() else point.tolist()
                    for k, point in enumerate(kps[name])
                }
                entry = {
                    "image_width": SIZE[0],
                    "image_height": SIZE[1],
                    "bndbox": list(BOX),
                    "kps": points,
                    "azimuth_id": i % 8,
                }
                save_json(folder / "ImageAnnotation" / category / f"{name}.json", entry)
            for a, b in itertools.permutations(names, 2):
                ids = np.flatnonzero(np.isfinite(kps[a] + kps[b]).all(axis=1))
                pair = f"{len(pairs):06}-{a}-{b}:{category}"
                entry = {
                    "category": category,
                    "src_imname": f"{a}.jpg",
                    "trg_imname": f"{b}.jpg",
                    "src_imsize": [*SIZE, 3],
                    "trg_imsize": [*SIZE, 3],
                    "src_bndbox": list(BOX),
                    "trg_bndbox": list(BOX),
                    "src_kps": kps[a][ids].tolist(),
                    "trg_kps": kps[b][ids].tolist(),
                    "kps_ids": [str(i) for i in ids],
                }
                save_json(folder / "PairAnnotation" / split / f"{pair}.json", entry)
                pairs.append(pair)
        layout = folder / "Layout" / "large" / f"{split}.txt"
        layout.parent.mkdir(parents=True, exist_ok=True)
        layout.write_text("\n".join(pairs) + "\n")
    return folder


def make_pf_willow(
    folder: Path, categories: Iterable[str] = ("car(G)", "duck(S)"), images: int = 3
) -> Path:
    rng = np.random.default_rng(0)
    for category in categories:
        for i in range(images):
            image = folder / category / f"{category}_{i:03}.png"
            save_image(image, i)
            savemat(image.with_suffix(".mat"), {"pts_coord": _points(rng, 10).T})
    return folder


def make_pf_pascal(
    folder: Path, categories: Iterable[str] = ("aeroplane", "tvmonitor"), images: int = 3
) -> Path:
    """Lists of test and validation pairs with points, and one of training pairs without."""
    rng = np.random.default_rng(0)
    lists: dict[str, list[dict[str, Any]]] = {"test": [], "val": [], "train": []}
    for category in categories:
        kps = {}
        for i in range(images):
            name = f"2008_{i:06}_{category}"
            kps[name] = _visible_points(rng, 9)
            save_image(folder / "JPEGImages" / f"{name}.jpg", i)
            path = folder / "Annotations" / category / f"{name}.mat"
            path.parent.mkdir(parents=True, exist_ok=True)
            savemat(path, {"kps": kps[name], "bbox": np.array([BOX])})
        for a, b in itertools.combinations(kps, 2):
            row: dict[str, Any] = {
                "source_image": f"PF-dataset-PASCAL/JPEGImages/{a}.jpg",
                "target_image": f"PF-dataset-PASCAL/JPEGImages/{b}.jpg",
                "class": CATEGORIES.index(category) + 1,
            }
            lists["train"] += [{**row, "flip": 0}, {**row, "flip": 1}]
            both = np.isfinite(kps[a] + kps[b]).all(axis=1)
            for member, name in (("A", a), ("B", b)):
                for axis, values in zip("XY", kps[name][both].T, strict=True):
                    row[axis + member] = ";".join(map(str, values))
            lists["test"].append(row)
            lists["val"].append(row)
    for split, rows in lists.items():
        save_csv(folder / f"{split}_pairs_pf_pascal.csv", rows)
    return folder


def coco_file(
    labelled: Mapping[int, tuple[str, int]],
    categories: list[dict[str, Any]],
    hidden: float = 0.3,
) -> dict[str, Any]:
    """A COCO file with one annotation for each image.

    Args:
        labelled: by image id the file name and the category id.
        categories: as COCO writes them.
        hidden: fraction of the keypoints that are not visible.
    """
    counts = {category["id"]: len(category.get("keypoints", ())) for category in categories}
    annotations = []
    for image, (_, category) in labelled.items():
        rng = np.random.default_rng(image)
        points = _points(rng, counts[category])
        visibility = np.where(rng.random(len(points)) < hidden, 0, rng.integers(1, 3, len(points)))
        points[visibility == 0] = 0
        x0, y0, x1, y1 = BOX
        annotations.append(
            {
                "id": 7 * image,
                "image_id": image,
                "category_id": category,
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "keypoints": np.column_stack([points, visibility]).ravel().tolist(),
            }
        )
    images = [
        {"id": image, "file_name": name, "width": SIZE[0], "height": SIZE[1]}
        for image, (name, _) in labelled.items()
    ]
    return {"images": images, "annotations": annotations, "categories": categories}


def make_coco(folder: Path, images: int = 4) -> Path:
    """A file of `images` images of each of two categories, in a folder `images`."""
    categories = [
        {"id": 3, "name": "fox", "keypoints": ["nose", "left_eye", "right_eye", "tail"]},
        {"id": 5, "name": "ant", "keypoints": ["head", "jaw_l", "jaw_r"], "flip_pairs": [[1, 2]]},
    ]
    names = {
        10 * category["id"] + i: (f"{category['name']}_{i}.jpg", category["id"])
        for category in categories
        for i in range(images)
    }
    for image, (name, _) in names.items():
        save_image(folder / "images" / name, image)
    return save_json(folder / "annotations.json", coco_file(names, categories))


AP10K_SPECIES = {
    "antelope": ("Bovidae", 56),
    "bison": ("Bovidae", 41),
    "cat": ("Felidae", 52),
    "king cheetah": ("Felidae", 12),
    "panda": ("Ursidae", 35),
}


def make_ap10k(
    folder: Path,
    species: Mapping[str, tuple[str, int]] = AP10K_SPECIES,
    hidden: float = 0.6,
    images: bool = False,
) -> Path:
    """Three annotation files over which the images of each species are dealt.

    Args:
        folder: to be filled.
        species: by name the family and the number of images.
        hidden: fraction of the keypoints that are not visible.
        images: write these, too.
    """
    keypoints = list(KeypointSchema.ap10k().names)
    categories = [
        {"id": number, "name": name, "supercategory": family, "keypoints": keypoints}
        for number, (name, (family, _)) in enumerate(species.items(), start=1)
    ]
    labels = np.repeat(np.arange(1, len(species) + 1), [count for _, count in species.values()])
    # Dealt without random numbers, whose sequences may differ between versions.
    labels = labels[np.arange(len(labels)) * 7919 % len(labels)]
    for part, name in enumerate(("train", "val", "test")):
        some = {
            image: (f"{image:012}.jpg", int(labels[image]))
            for image in range(len(labels))
            if image % 3 == part
        }
        file = coco_file(some, categories, hidden)
        save_json(folder / "annotations" / f"ap10k-{name}-split1.json", file)
        if images:
            for image, (file_name, _) in some.items():
                save_image(folder / "data" / file_name, image)
    return folder


def save_image(path: Path, seed: int, size: tuple[int, int] = SIZE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    random_image(*size, seed).save(path)
    return path


def save_json(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def save_csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def _points(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.uniform(BOX[:2], BOX[2:], (count, 2)).round(2)


def pair_names(dataset: DataSet) -> list[tuple[str, str]]:
    return [(pair.source.name, pair.target.name) for pair in dataset.pairs]


def refused(load: Callable[[], object], *parts: object) -> str:
    """Check that loading raises an error of one line that has all the parts."""
    with pytest.raises(HomologError) as error:
        load()
    message = str(error.value)
    assert "\n" not in message
    for part in parts:
        assert str(part) in message, message
    return message


def edit_json(path: Path, change: Callable[[Any], object]) -> Path:
    """Let `change` change the content of a JSON file in place."""
    content = json.loads(path.read_text())
    change(content)
    return save_json(path, content)


def change_first(section: str, **changes: Any) -> Callable[[Any], object]:
    """A change for `edit_json`: of the first entry in a section of a COCO file."""
    return lambda file: file[section][0].update(changes)


def _visible_points(rng: np.random.Generator, count: int) -> np.ndarray:
    """Points of which some are NaN, for not visible; the first two never are."""
    points = _points(rng, count)
    points[2:][rng.random(count - 2) < 0.3] = np.nan
    return points
