"""A rendered set of boxes, and training on it, as functions for tests and as a script.

python toy_sides.py SET OUT STEPS SAVE_EVERY
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch

from helpers.toy_training import toy_matcher
from helpers.toys import random_image
from homolog.training.sides import Examples, Score, SidesRecipe, fitting, train

SIZE = 96
NAMES = ["nose", "left_ear", "right_ear"]


def rendered(folder: Path, count: int = 4, models: tuple[str, ...] = ("Fox", "Cow")) -> Path:
    """A set as `homolog synth` writes it, of boxes whose left half is on the right."""
    (folder / "pictures").mkdir(parents=True)
    (folder / "coordinates").mkdir()
    images, annotations = [], []
    for index in range(count):
        name = f"{index:06d}"
        random_image(SIZE, SIZE, index).save(folder / "pictures" / f"{name}.jpg")
        coordinates = np.full((SIZE, SIZE, 3), np.nan, np.float16)
        instance = np.zeros((SIZE, SIZE), np.uint8)
        x = np.arange(20, 80)
        coordinates[30:70, 20:80, 0] = (x - 50) / 100
        coordinates[30:70, 20:80, 1] = 0.5
        coordinates[30:70, 20:80, 2] = -0.25
        instance[30:70, 20:80] = 1
        np.savez(folder / "coordinates" / f"{name}.npz", coordinates=coordinates, instance=instance)
        images.append({"id": index + 1, "file_name": f"pictures/{name}.jpg"})
        annotations.append({
            "id": index + 1, "image_id": index + 1, "category_id": 1, "instance": 1,
            "model": models[index % len(models)], "facing": [0.6, 0.0, -0.8], "area": 2400,
            "bbox": [20, 30, 60, 40], "keypoints": [50, 35, 2, 70, 40, 2, 30, 41, 1],
        })  # fmt: skip
    plain = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "animal", "keypoints": NAMES, "flip_indices": [0, 2, 1]}],
    }
    (folder / "annotations.json").write_text(json.dumps(plain))
    return folder


def corner_cue(count: int, seed: int) -> Examples:
    """Examples whose sides can be told only by a cue in a corner, far from the object."""
    generator = torch.Generator().manual_seed(seed)
    reduced = 0.1 * torch.randn(count, 12, 12, 6, generator=generator)
    direction = torch.where(torch.rand(count, generator=generator) < 0.5, 1.0, -1.0)
    reduced[:, :4, :4, 0] += 2 * direction[:, None, None]
    coverage = torch.zeros(count, 12, 12)
    coverage[:, 6:11, 3:9] = 1
    reduced[..., 1] += 2 * coverage
    column = torch.linspace(-1, 1, 12).sign()[None, None]
    side = coverage * column * direction[:, None, None]
    canonical_xyz = torch.zeros(count, 12, 12, 3)
    heading = torch.zeros(count, 12, 12, 3)
    heading[..., 0] = direction[:, None, None]
    keypoints = torch.tensor([[4.0, 8.0], [7.0, 8.0]]).expand(count, 2, 2)
    keypoint_sides = direction[:, None] * torch.tensor([-1.0, 1.0])
    half = [x.half() for x in (reduced, coverage, side, canonical_xyz, heading)]
    return Examples(*half, keypoints, keypoint_sides)


def run(renders: Path, out: Path, steps: int) -> Score | None:
    recipe = SidesRecipe(steps=steps, batch_size=2)
    return train(renders, out, toy_matcher(), recipe, held_out=["Cow"])


if __name__ == "__main__":
    torch.set_num_threads(1)
    fitting.SAVE_EVERY = int(sys.argv[4])
    run(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
