"""An adaptation that takes a second, as functions for tests and as a script for processes.

python toy_adapt.py IMAGES OUT
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from helpers.toy_training import register, toy_matcher
from helpers.toys import random_image
from homolog.training import adaptation
from homolog.training.adaptation import (
    AdaptationConfig,
    AdaptationResult,
    HeadConfig,
    MiningConfig,
    SideTuningConfig,
    report,
)

CONFIG = AdaptationConfig(
    rounds=1,
    mining=MiningConfig(neighbours=3, random_pairs=2, queries=40, affine_tolerance=0.2),
    head=HeadConfig(projection_dim=32, steps=4, images=4, matches=10),
    sides=SideTuningConfig(steps=3, images=4),
)
RESIDUAL = dataclasses.replace(
    CONFIG, head=dataclasses.replace(CONFIG.head, kind="residual", projection_dim=128)
)


def save_objects(folder: Path, count: int = 14, turned: bool = False, seed: int = 0) -> list[Path]:
    """Images of one object at different places and sizes, perhaps turned by right angles."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    whole, paths = random_image(64, 64, seed=5), []
    for index in range(count):
        image = Image.new("RGB", (96, 96), tuple(rng.integers(90, 150, 3).tolist()))
        size = int(rng.integers(48, 72))
        pose = whole.rotate(90 * int(rng.integers(4))) if turned else whole
        image.paste(pose.resize((size, size)), tuple(rng.integers(4, 92 - size, 2).tolist()))
        noise = np.asarray(image).astype(int) + rng.integers(-6, 7, (96, 96, 3))
        paths.append(folder / f"{index:02d}.png")
        Image.fromarray(noise.clip(0, 255).astype(np.uint8)).save(paths[-1])
    return paths


def adapt(
    images: Any, out: Path, config: AdaptationConfig = CONFIG, **options: Any
) -> AdaptationResult:
    """Adapt the toy matcher."""
    matcher = options.pop("matcher", None) or toy_matcher()
    return adaptation.adapt(images, out, matcher, config, **options)


def weights(out: Path) -> dict[str, bytes]:
    """The files of a model."""
    names = ("config.json", "model.safetensors", "sides.safetensors")
    return {name: (out / name).read_bytes() for name in names if (out / name).exists()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    register()
    report._draw = lambda *_: {}  # type: ignore[assignment]  # takes longer than all the rest
    adapt(Path(sys.argv[1]), Path(sys.argv[2]))
