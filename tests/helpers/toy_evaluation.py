"""A data set of three images, one the mirror image of another, and what evaluations write of it."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from helpers.toys import random_image
from homolog import KeypointSchema, evaluation
from homolog.data import Annotation, DataSet, Pair
from homolog.evaluation.metrics import PCKAccumulator
from homolog.image.poses import FLIP, IDENTITY

SCHEMA = KeypointSchema.from_names(["nose", "left_paw", "right_paw"])
BOTH = (IDENTITY, FLIP)


def make_data(folder: Path) -> DataSet:
    """All ordered pairs of the images a, its mirror image b, and c, with a keypoint hidden."""
    first, second = random_image(96, 96), random_image(96, 64, seed=1)
    points = np.array([(48.0, 20), (30, 60), (66, 60)])
    mirrored = FLIP.points(points, (96, 96))[[0, 2, 1]]
    hidden = np.array([(48.0, 20), (30, 40), (np.nan, np.nan)])
    annotations = []
    for name, image, keypoints in (
        ("a", first, points),
        ("b", FLIP.apply(first), mirrored),
        ("c", second, hidden),
    ):
        path = folder / f"{name}.png"
        image.save(path)
        box = (0.0, 0.0, 96.0, 64.0)
        annotations.append(
            Annotation(name, path, "toy", keypoints, box, image.size, azimuth=ord(name) - 97)
        )
    pairs = [
        Pair.of(f"{a.name}-{b.name}", a, b) for a in annotations for b in annotations if a is not b
    ]
    return DataSet("toys", folder, {"toy": SCHEMA}, pairs, "box", (0.1, 0.05))


def read_lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def score_file(data: DataSet, path: Path) -> PCKAccumulator:
    return evaluation.score(data, evaluation.read_predictions(path, data)[0])
