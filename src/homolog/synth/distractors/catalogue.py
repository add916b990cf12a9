"""All kinds of distractors, and a random one of them."""

from __future__ import annotations

import numpy as np

from homolog.synth.appearance.colour import random_coat_colour
from homolog.synth.distractors.blobs import build_blob, build_tubes
from homolog.synth.distractors.creatures import build_bird, build_insect
from homolog.synth.distractors.furniture import build_furniture, build_machine
from homolog.synth.distractors.plants import build_plant
from homolog.synth.distractors.shape import MeshBuilder, Shape
from homolog.synth.distractors.vehicles import (
    build_bicycle,
    build_car,
    build_craft,
    build_motorbike,
)
from homolog.synth.distractors.vessels import build_vessel
from homolog.synth.model import Material
from homolog.synth.transforms import axis_rotation

KINDS = {
    "vessel": build_vessel,
    "car": build_car,
    "motorbike": build_motorbike,
    "bicycle": build_bicycle,
    "furniture": build_furniture,
    "machine": build_machine,
    "blob": build_blob,
    "tubes": build_tubes,
    "plant": build_plant,
    "craft": build_craft,
    "bird": build_bird,
    "insect": build_insect,
}
"""The function that builds each kind of distractor."""

_PROBABILITIES = (0.15, 0.1, 0.06, 0.07, 0.1, 0.07, 0.12, 0.04, 0.06, 0.03, 0.1, 0.1)


def random_shape(rng: np.random.Generator, kind: str | None = None) -> Shape:
    """The mesh of a random distractor, a made-up object such as a vehicle, a plant or a bird.

    Args:
        rng: source of randomness.
        kind: one of `KINDS`; any by default.
    """
    if kind is None:
        kind = str(rng.choice(list(KINDS), p=_PROBABILITIES))
    parts = MeshBuilder()
    KINDS[kind](parts, rng)
    points = np.concatenate(parts.points)
    points = points * np.exp(rng.normal(0, 0.1, 3))
    if rng.random() < (0.15 if kind in ("vessel", "blob", "tubes") else 0.02):  # knocked over
        points = points @ axis_rotation([1, 0, 0], float(rng.choice([-90, 90]))).T
    low, high = points.min(0), points.max(0)
    points = points - [(low[0] + high[0]) / 2, low[1], (low[2] + high[2]) / 2]
    materials = []
    for name in parts.material_names:
        r, g, b = (float(v) for v in random_coat_colour(rng, 0.5))
        materials.append(Material(name, (r, g, b)))
    return Shape(
        kind,
        points * 2 / (high - low).max(),
        np.concatenate(parts.faces),
        np.concatenate(parts.material_ids),
        tuple(materials),
    )
