"""Training with adapters and upsamplers that takes seconds, for tests and as a script.

python toy_marco.py FOLDER STEPS GROUPS
"""

from __future__ import annotations

import dataclasses
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from helpers.foundation import save_dino
from helpers.toy_training import toy_data
from homolog import Matcher, backbones
from homolog.backbones import DinoConfig, TuningConfig
from homolog.data import Annotation, DataSet, Pair
from homolog.presets import zero_shot
from homolog.training import DistillationConfig, MiningConfig, TrainingConfig, marco, train
from homolog.training import run as training_run

SIZE = 112
MARCO = dataclasses.replace(
    marco(),
    epochs=None,
    images_per_group=3,
    tuning=TuningConfig(2, rank=None, bottleneck=8),
    canvas_scale=0.75,
    # So near is everything: what a random network finds is learned from.
    distillation=DistillationConfig(
        pairs=2, mining=MiningConfig(points=30, least_matches=5, radius=SIZE)
    ),
    save_every=2,
    validate_every=100,
)


def dino(folder: Path) -> Path:
    """A small random DINOv2 with registers."""
    path = folder / "dino"
    return path if path.exists() else save_dino(path, "dinov2_with_registers")


def marco_matcher(folder: Path) -> Matcher:
    config = zero_shot(DinoConfig(str(dino(folder)), SIZE, padding="right-bottom"), (0,))
    return Matcher(backbones.create(config.backbone, torch.device("cpu")), config)


def _ellipse(size: tuple[int, int]) -> np.ndarray:
    y, x = np.mgrid[: size[1], : size[0]]
    return ((x - size[0] / 2) / 40) ** 2 + ((y - size[1] / 2) / 35) ** 2 < 1


def masked_data(folder: Path, images: int = 3) -> DataSet:
    """The toy's images, with an ellipse as the mask of each."""
    data = toy_data(folder, images)
    masked: dict[Annotation, Annotation] = {
        each: dataclasses.replace(each, mask=partial(_ellipse, each.size))
        for each in data.annotations
    }
    pairs = [Pair.of(p.name, masked[p.source], masked[p.target]) for p in data.pairs]
    return dataclasses.replace(data, pairs=pairs)


def run(folder: Path, config: TrainingConfig = MARCO, **options: Any) -> Path:
    data = masked_data(folder.parent / "images")
    return train(data, folder, marco_matcher(folder.parent), config, **options)


if __name__ == "__main__":
    torch.set_num_threads(1)
    training_run.write_report = lambda *_: None
    folder, steps, groups = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    run(folder, dataclasses.replace(MARCO, steps=steps, grad_accum_groups=groups))
