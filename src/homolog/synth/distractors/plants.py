"""Distractors: plants, mushrooms and trees."""

from __future__ import annotations

import numpy as np

from homolog.synth.appearance.noise import Noise
from homolog.synth.distractors.primitives import (
    blend_ellipsoids,
    catmull_rom,
    cylinder,
    ellipsoid,
    lathe,
    superellipsoid,
    tube,
    vec,
)
from homolog.synth.distractors.shape import MeshBuilder
from homolog.synth.transforms import axis_rotation


def build_plant(parts: MeshBuilder, rng: np.random.Generator) -> None:
    """Build a plant with leaves, in a pot or not, a cactus, a mushroom or a tree."""
    kind = rng.random()
    base = 0.0
    if kind < 0.6 and rng.random() < 0.6:
        base, r = rng.uniform(0.2, 0.5), rng.uniform(0.15, 0.35)
        line = catmull_rom([(r * rng.uniform(0.6, 1), 0), (r, base * 0.6), (r * 1.1, base)], 12)
        parts.add(lathe([(0, 0), *line, (r, base * 0.95), (0, base * 0.9)], 28), "pot")
    if kind < 0.6:
        leaf_long, leaf_wide = rng.uniform(0.12, 0.5), rng.uniform(0.15, 0.6)
        points, faces = [], []
        stems, count = int(rng.integers(3, 12)), 0
        each = max(2, int(rng.integers(20, 140)) // stems)
        droop = rng.uniform(0, 0.5)
        for _ in range(stems):
            angle, out, high = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.6), rng.uniform(0.4, 1.2)
            end = np.array([out * np.cos(angle), base + high, out * np.sin(angle)])
            path = catmull_rom(
                [
                    (0, base * 0.9, 0),
                    end * [0.3, 0, 0.3] + vec(0, base + high * 0.6, 0),
                    end - [0, droop * out, 0],
                ],
                10,
            )
            parts.add(tube(path, rng.uniform(0.008, 0.02), 5), "stem")
            for t in rng.uniform(2, 9, each):
                foot = path[int(t)] + (t % 1) * (path[min(int(t) + 1, 9)] - path[int(t)])
                rotation = axis_rotation([0, 1, 0], rng.uniform(0, 360)) @ axis_rotation(
                    [1, 0, 0], rng.uniform(-50, 70)
                )
                long = leaf_long * rng.uniform(0.5, 1.2)
                wide = long * leaf_wide / 2
                shape = np.array(
                    [
                        [0, 0, 0],
                        [-wide, 0.03, long * 0.45],
                        [0, -0.02, long * 0.5],
                        [wide, 0.03, long * 0.45],
                        [0, -0.06 - droop * 0.1, long],
                    ]
                )
                points.append(shape @ rotation.T + foot)
                faces.append(np.array([[0, 1, 2], [0, 2, 3], [1, 4, 2], [2, 4, 3]]) + 5 * count)
                count += 1
            if rng.random() < 0.3:
                parts.add(
                    superellipsoid(np.full(3, rng.uniform(0.04, 0.14)), rings=8), "flower", path[-1]
                )
        parts.add((np.concatenate(points), np.concatenate(faces)), "leaf")
    elif kind < 0.75:  # cactus
        high, r = rng.uniform(0.6, 1.2), rng.uniform(0.12, 0.25)
        parts.add(superellipsoid((r, high / 2, r), 0.6, 1, 20), "leaf", (0, high / 2, 0))
        for _ in range(int(rng.integers(0, 4))):
            angle, y = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 0.7) * high
            outward = np.array([np.cos(angle), 0, np.sin(angle)])
            path = catmull_rom(
                [
                    [0, y, 0],
                    outward * r * 2 + vec(0, y, 0),
                    outward * r * 2.3 + vec(0, y + 0.3, 0),
                ],
                12,
            )
            parts.add(tube(path, r * 0.5, 10), "leaf")
    elif kind < 0.88:  # mushroom
        for _ in range(int(rng.integers(1, 4))):
            foot = np.array([rng.normal(0, 0.4), 0, rng.normal(0, 0.4)])
            high, r = rng.uniform(0.4, 1), rng.uniform(0.06, 0.16)
            line = catmull_rom([(r * 1.3, 0), (r, high / 2), (r, high)], 10)
            parts.add(lathe(line, 24), "stem", foot)
            wide, cap = r * rng.uniform(2, 4), rng.uniform(0.15, 0.4)
            hat = catmull_rom(
                [(wide, high - 0.05), (wide * 0.8, high + cap * 0.6), (0, high + cap)], 12
            )
            parts.add(lathe([(0, high), *hat], 28), "cap", foot)
    else:  # tree
        high = rng.uniform(0.5, 1.2)
        parts.add(cylinder((0, 0, 0), (0, high, 0), 0.1, 14, 0.06), "trunk")
        solids = [
            ellipsoid(
                (rng.normal(0, 0.25), high + rng.uniform(0, 0.5), rng.normal(0, 0.25)),
                rng.uniform(0.2, 0.45, 3).tolist(),
            )
            for _ in range(int(rng.integers(2, 6)))
        ]
        parts.add(blend_ellipsoids(solids, 0.03, Noise(rng, 3.0), 0.06), "leaf")
