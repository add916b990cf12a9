"""Annotated photos for measuring, read from a folder that is not part of the repository.

The folder is named by the environment variable HOMOLOG_DATA, by default ../shared/data beside
the checkout. It holds `dogs` and `bees` (COCO keypoints) and `PF-WILLOW` (Ham et al., CVPR 2016).
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.io import loadmat

ROOT = Path(os.environ.get("HOMOLOG_DATA", Path(__file__).parents[2] / "shared" / "data"))


@dataclass(frozen=True)
class Photo:
    """A picture, its keypoints (K x 2), which are visible, and the side of its box."""

    path: Path
    kind: str
    keypoints: np.ndarray
    visible: np.ndarray
    box_side: float
    counterparts: np.ndarray


@dataclass(frozen=True)
class PhotoSet:
    name: str
    photos: list[Photo]
    schema_category: dict | None

    def pairs(self) -> Iterator[tuple[Photo, Photo]]:
        """All ordered pairs of one kind with a keypoint visible in both."""
        for source, target in itertools.permutations(self.photos, 2):
            if source.kind == target.kind and (source.visible & target.visible).any():
                yield source, target


def _coco(name: str, file: str) -> PhotoSet:
    folder = ROOT / name
    data = json.loads((folder / file).read_text())
    names = {image["id"]: image["file_name"] for image in data["images"]}
    category = data["categories"][0]
    photos = []
    for annotation in data["annotations"]:
        keypoints = np.array(annotation["keypoints"], dtype=float).reshape(-1, 3)
        photos.append(
            Photo(
                folder / names[annotation["image_id"]],
                category["name"],
                keypoints[:, :2],
                keypoints[:, 2] > 0,
                max(annotation["bbox"][2:]),
                np.array(category["flip_indices"]),
            )
        )
    return PhotoSet(f"{name} ({Path(file).stem})" if name == "bees" else name, photos, category)


def dogs() -> PhotoSet:
    return _coco("dogs", "annotations.json")


def bees(split: str) -> PhotoSet:
    return _coco("bees", f"{split}.json")


def pf_willow() -> PhotoSet:
    photos = []
    for mat in sorted((ROOT / "PF-WILLOW").glob("*/*.mat")):
        keypoints = loadmat(mat)["pts_coord"].T[:, :2].astype(float)
        photos.append(
            Photo(
                mat.with_suffix(".png"),
                mat.parent.name,
                keypoints,
                np.full(len(keypoints), True),
                float(np.ptp(keypoints, axis=0).max()),
                np.arange(len(keypoints)),
            )
        )
    return PhotoSet("PF-WILLOW", photos, None)
