"""A training run that takes seconds, as functions for tests and as a script for processes.

python toy_training.py FOLDER STEPS GROUPS
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import ImageDraw

from helpers.toys import ColourBackbone, random_image
from homolog import KeypointSchema, Matcher, MatcherConfig, backbones
from homolog.data import Annotation, DataSet, Pair
from homolog.features import FusionConfig
from homolog.training import LossConfig, NetworkConfig, TrainingConfig, ViewsConfig, train
from homolog.training import run as training_run

COLOURS = ("red", "lime", "blue", "white", "black")
SCHEMA = KeypointSchema.from_names(["nose", "left_paw", "right_paw", "tail", "chin"])

CONTEXT = TrainingConfig(
    recipe="toy",
    network=NetworkConfig("context", 32, zero_shot=0.2),
    images_per_group=4,
    learning_rate=2e-3,
    element_dropout=0.0,
    channel_dropout=0.1,
    loss=LossConfig(point="heatmap", keypoint_fraction=0.5, prototypes=1.0, landmarks=0.5),
    variants=None,
    views=ViewsConfig(count=2),
    window=2,
    validate_every=4,
    save_every=2,
)
PUBLISHED = TrainingConfig(
    recipe="toy",
    network=NetworkConfig("published", 128),
    images_per_group=3,
    window=2,
    save_every=2,
    validate_every=4,
)
RESIDUAL = dataclasses.replace(PUBLISHED, network=NetworkConfig("residual", 128))


def register() -> None:
    backbones.register("colour", lambda device: ColourBackbone())


def toy_matcher() -> Matcher:
    fusion = FusionConfig(groups=((0,), (1,)), weights=(1.0, 1.0))
    return Matcher(ColourBackbone(), MatcherConfig("colour", fusion, 2, 0.02, None, 0.5))


def toy_data(folder: Path, images: int = 5, category: str = "toy") -> DataSet:
    """Random images with a spot of its own colour on every keypoint; all ordered pairs."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    annotations = []
    for index in range(images):
        path = folder / f"{category}{index}.png"
        image = random_image(96, 80, seed=index)
        keypoints = rng.uniform(8, 72, (len(SCHEMA), 2))
        pen = ImageDraw.Draw(image)
        for (x, y), colour in zip(keypoints, COLOURS, strict=True):
            pen.ellipse((x - 7, y - 7, x + 7, y + 7), fill=colour)
        whole = path.with_suffix(f".{os.getpid()}.png")  # processes share the folder
        image.save(whole)
        whole.replace(path)
        if index == 1:
            keypoints[4] = np.nan
        box = (4.0, 4.0, 90.0, 76.0)
        annotations.append(
            Annotation(f"{category}{index}", path, category, keypoints, box, image.size)
        )
    pairs = [
        Pair.of(f"{a.name}:{b.name}", a, b) for a in annotations for b in annotations if a is not b
    ]
    return DataSet("toys", folder, {category: SCHEMA}, pairs, "box", (0.1, 0.05))


def run(folder: Path, config: TrainingConfig, **options: Any) -> Path:
    data = toy_data(folder.parent / "images")
    return train(data, folder, toy_matcher(), config, validation=data, **options)


def log_lines(folder: Path) -> list[dict[str, Any]]:
    """What a run has logged."""
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


if __name__ == "__main__":
    torch.set_num_threads(1)
    # The report takes several times as long as the toy's steps.
    training_run.write_report = lambda *_: None
    register()
    folder, steps, groups = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    run(folder, dataclasses.replace(CONTEXT, steps=steps, grad_accum_groups=groups, clip=1.0))
