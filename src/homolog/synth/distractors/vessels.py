"""Distractors: vessels and lamps."""

from __future__ import annotations

import numpy as np

from homolog.synth.distractors.primitives import catmull_rom, cylinder, lathe, superellipsoid, tube
from homolog.synth.distractors.shape import MeshBuilder


def build_vessel(parts: MeshBuilder, rng: np.random.Generator) -> None:
    """Build a bottle, glass, mug, jug, bowl, lamp, or any solid of revolution."""
    kind = rng.random()
    around = 40
    if kind < 0.3:  # bottle
        wide, neck = rng.uniform(0.1, 0.26), rng.uniform(0.025, 0.06)
        shoulder = rng.uniform(0.4, 0.7)
        throat = shoulder + rng.uniform(0.05, 0.25)
        rim = rng.uniform(1.0, 1.25)
        body = [(wide, y) for y in np.linspace(0.03, shoulder, 6)]
        curve = catmull_rom(
            [
                *body,
                ((wide + neck) / 2, (shoulder + throat) / 2),
                (neck, throat),
                (neck, (throat + rim) / 2),
                (neck, rim),
            ],
            30,
        )
        parts.add(lathe([(0, 0), (wide * 0.9, 0), *curve, (0, rim)], around), "vessel")
        parts.add(cylinder((0, rim - 0.06, 0), (0, rim + 0.01, 0), neck * 1.25), "cap")
        if rng.random() < 0.7:
            low = rng.uniform(0.06, 0.2)
            high = min(low + rng.uniform(0.1, 0.4), shoulder - 0.04)
            parts.add(
                lathe([(wide * 1.015, low), (wide * 1.015, max(high, low + 0.05))], around), "label"
            )
    elif kind < 0.42:  # glass with a stem
        foot, stem, cup = rng.uniform(0.18, 0.32), rng.uniform(0.015, 0.04), rng.uniform(0.2, 0.4)
        start, rim = rng.uniform(0.3, 0.6), rng.uniform(0.9, 1.2)
        outer = catmull_rom(
            [
                (foot, 0.0),
                (foot * 0.9, 0.02),
                (stem * 1.5, 0.06),
                (stem, start * 0.6),
                (stem * 1.3, start),
                (cup, (start + rim) / 2),
                (cup * rng.uniform(0.6, 1.2), rim),
            ],
            34,
        )
        inner = catmull_rom(
            [(outer[-1, 0] - 0.012, rim), (cup - 0.015, (start + rim) / 2), (0.01, start + 0.04)],
            12,
        )
        parts.add(lathe([(0, 0), *outer, *inner], around), "vessel")
        if rng.random() < 0.5:
            parts.add(
                lathe([(0, (start + rim) / 2), (cup * 0.97, (start + rim) / 2)], around), "drink"
            )
    elif kind < 0.62:  # mugs, jugs, bowls, pans
        high, wide = rng.uniform(0.25, 1.2), rng.uniform(0.3, 0.6)
        steps = np.linspace(0, 1, int(rng.integers(3, 6)))
        radii = wide * np.exp(rng.normal(0, 0.2, len(steps)))
        outer = catmull_rom(np.stack([radii, steps * high], 1), 24)
        inner = outer[::-1] * [0.93, 1]
        inner[:, 1] = np.maximum(inner[:, 1], 0.06 * high)
        parts.add(lathe([(0, 0), *outer, *inner, (0, 0.06 * high)], around), "vessel")
        if rng.random() < 0.6:
            r = float(np.interp(0.5, steps, radii))
            loop = catmull_rom(
                [
                    (0, 0.8 * high, r * 0.9),
                    (0, 0.85 * high, r + wide * 0.5),
                    (0, 0.4 * high, r + wide * 0.45),
                    (0, 0.25 * high, r * 0.9),
                ],
                16,
            )
            parts.add(tube(loop, rng.uniform(0.03, 0.07)), "handle")
        if rng.random() < 0.3:
            spout = catmull_rom(
                [
                    (0, 0.35 * high, -wide * 0.8),
                    (0, 0.7 * high, -wide * 1.5),
                    (0, 1.05 * high, -wide * 1.8),
                ],
                10,
            )
            parts.add(tube(spout, np.linspace(0.12, 0.05, 10) * high + 0.02), "vessel")
            parts.add(superellipsoid((wide * 0.9, 0.12, wide * 0.9)), "lid", (0, high, 0))
            parts.add(superellipsoid((0.07, 0.07, 0.07), rings=8), "cap", (0, high + 0.15, 0))
    elif kind < 0.75:  # lamp
        high = rng.uniform(0.5, 1.8)
        foot = rng.uniform(0.15, 0.4)
        parts.add(lathe([(0, 0), (foot, 0), (foot, 0.04), (0, 0.06)], around), "foot")
        swell = rng.uniform(0.02, 0.25)
        pole = catmull_rom(
            [(foot * 0.6, 0.05), (swell, high * 0.3), (0.03, high * 0.7), (0.025, high + 0.2)], 20
        )
        parts.add(lathe(pole, around), "pole")
        low, top = rng.uniform(0.25, 0.5), rng.uniform(0.1, 0.35)
        tall = rng.uniform(0.25, 0.5)
        parts.add(lathe([(low, high), (top, high + tall)], around), "shade")
    else:  # any solid of revolution
        number = int(rng.integers(4, 9))
        heights = np.cumsum(rng.uniform(0.3, 1, number))
        heights = (heights - heights[0]) / (heights[-1] - heights[0]) * rng.uniform(0.7, 1.6)
        radii = rng.uniform(0.08, 0.5, number)
        line = catmull_rom(np.stack([radii, heights], 1), 40)
        line[:, 0] = np.maximum(line[:, 0], 0.03)
        cut = int(rng.integers(12, 28))
        parts.add(lathe([(0, 0), *line[: cut + 1]], around), "vessel")
        parts.add(lathe([*line[cut:], (0, line[-1, 1])], around), "upper")
