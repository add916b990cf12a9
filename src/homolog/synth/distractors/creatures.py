"""Distractors: birds and insects."""

from __future__ import annotations

import numpy as np

from homolog.synth.distractors.primitives import (
    blend_ellipsoids,
    catmull_rom,
    ellipsoid,
    rod,
    superellipsoid,
    tube,
    vec,
)
from homolog.synth.distractors.shape import MeshBuilder
from homolog.synth.transforms import axis_rotation


def build_bird(parts: MeshBuilder, rng: np.random.Generator) -> None:
    """Build a bird that stands, sits, swims or spreads its wings."""
    long, wide, high = rng.uniform(0.35, 0.6), rng.uniform(0.16, 0.34), rng.uniform(0.16, 0.32)
    lean = rng.uniform(-5, 65)
    upright = axis_rotation([1, 0, 0], -lean)
    legs = float(rng.choice([0.0, rng.uniform(0.05, 0.2), rng.uniform(0.2, 0.9)]))
    middle = vec(0, legs + max(high, long * np.sin(np.deg2rad(abs(lean)))), 0)

    def on(x: float, y: float, z: float) -> np.ndarray:
        """A point on the body, in units of its half axes."""
        return middle + upright @ (np.array([x, y, z]) * [wide, high, long])

    head = rng.uniform(0.09, 0.2)
    neck = float(rng.choice([head, rng.uniform(0.15, 0.8)]))
    chest = on(0, 0.4, 0.75)
    top = chest + neck * np.array([0, rng.uniform(0.7, 1), rng.uniform(-0.1, 0.7)])
    bend = (chest + top) / 2 + vec(0, 0, rng.uniform(-0.3, 0.3) * neck)
    path = catmull_rom([on(0, 0.1, 0.4), chest, bend, top], 12)
    solids = [ellipsoid(middle, (wide, high, long), upright)]
    solids += [ellipsoid(p, np.full(3, head * rng.uniform(0.6, 0.8))) for p in path[2::2]]
    solids.append(ellipsoid(top, (head * 0.85, head, head * 1.1)))
    parts.add(blend_ellipsoids(solids, rng.uniform(0.015, 0.05)), "body")
    look = axis_rotation([0, 1, 0], rng.normal(0, 30)) @ axis_rotation(
        [1, 0, 0], rng.uniform(-15, 25)
    )
    beak = head * rng.uniform(0.4, 2)
    deep = rng.uniform(0.15, 0.4)
    hook = catmull_rom(
        [
            (0, 0, head * 0.8),
            (0, 0, head + beak * 0.5),
            (0, -beak * rng.uniform(0, 0.3), head + beak),
        ],
        8,
    )
    parts.add(tube(hook @ look.T + top, head * np.linspace(deep, 0.04, 8)), "beak")
    for side in (-1, 1):
        eye = np.array([side * head * 0.72, head * 0.2, head * 0.55])
        parts.add(superellipsoid(np.full(3, head * 0.15), rings=8), "black eye", look @ eye + top)
    tail = rng.uniform(0.1, 0.7)
    points, faces = superellipsoid((wide * rng.uniform(0.3, 0.9), 0.025, tail), 0.8, 0.7, 10)
    points[:, 0] *= 1 + points[:, 2] / tail * rng.uniform(-0.5, 0.3)
    fanned = upright @ axis_rotation([1, 0, 0], rng.uniform(-30, 40))
    parts.add((points @ fanned.T, faces), "tail", on(0, 0.2, -0.85) - fanned[:, 2] * tail * 0.7)
    spread = rng.random() < 0.3
    for side in (-1, 1):
        if spread:
            span, broad = rng.uniform(0.5, 0.8), rng.uniform(0.15, 0.25)
            points, faces = superellipsoid((span, 0.02, broad), 0.8, 0.8, 12)
            points[:, 2] -= 0.25 * np.abs(points[:, 0] + side * span)
            rotation = axis_rotation([0, 0, 1], side * rng.uniform(-20, 60))
            points = (points + vec(side * span, 0, 0)) @ rotation.T
            parts.add((points, faces), "wing", on(side * 0.6, 0.6, 0.25))
        else:
            folded = upright @ axis_rotation([1, 0, 0], rng.uniform(-5, 15))
            points, faces = superellipsoid((0.05, high * 0.7, long * rng.uniform(0.6, 1)), 1, 1, 12)
            parts.add((points @ folded.T, faces), "wing", on(side * 0.95, 0.25, -0.2))
        if legs:
            hip = on(side * 0.4, -0.5, 0)
            knee = hip * [1, 0.5, 1] + vec(0, 0, -rng.uniform(0, 0.2) * legs)
            foot = np.array([hip[0], 0.02, hip[2] + rng.normal(0, 0.1)])
            parts.add(tube(catmull_rom([hip, knee, foot], 8), rng.uniform(0.012, 0.035), 6), "leg")
            toe = rng.uniform(0.06, 0.18)
            for angle in (-40, 0, 40, 180):
                tip = foot + axis_rotation([0, 1, 0], angle) @ vec(0, 0, toe)
                parts.add(rod(foot, tip, rng.uniform(0.008, 0.02), 5), "leg")


def build_insect(parts: MeshBuilder, rng: np.random.Generator) -> None:
    """Build an insect like a bee, beetle, fly, ant or butterfly."""
    size, waist = rng.uniform(0.18, 0.3), rng.uniform(0, 0.12)
    high = rng.uniform(0.15, 0.4)
    tall = rng.uniform(0.75, 1.05)
    middle = vec(0, high + size * tall, 0)
    parts.add(superellipsoid(size * np.array([1, tall, rng.uniform(0.9, 1.3)])), "thorax", middle)
    long, wide = size * rng.uniform(1.2, 2.8), size * rng.uniform(0.6, 1.25)
    droop = axis_rotation([1, 0, 0], -rng.uniform(-10, 40))
    points, faces = superellipsoid(
        (wide, wide * rng.uniform(0.6, 1), long), rng.uniform(0.8, 1.1), 1, 20
    )
    points[:, 0] *= 1 - 0.25 * np.clip(-points[:, 2] / long, 0, 1)
    rear = middle - vec(0, 0, size * 0.8 + waist) - droop[:, 2] * long * 0.85
    bands = int(rng.choice([0, 4, 6, 8]))
    placed = points @ droop.T + rear
    if bands:
        band = (points[faces].mean(1)[:, 2] / long * bands / 2 % 1 < rng.uniform(0.3, 0.7)) + 0
        for k in range(2):
            parts.add((placed, faces[band == k]), f"band {k}")
    else:
        parts.add((placed, faces), "abdomen")
    if waist:
        parts.add(rod(middle, rear, size * 0.2), "thorax")
    head = size * rng.uniform(0.55, 0.95)
    front = middle + vec(0, -size * rng.uniform(0, 0.4), size + head * 0.7)
    parts.add(superellipsoid(head * np.array([1.1, 0.9, rng.uniform(0.6, 0.9)])), "head", front)
    feeler, apart = rng.uniform(0.2, 0.7), rng.uniform(0.1, 0.5)
    for side in (-1, 1):
        parts.add(
            superellipsoid(head * np.array([0.35, 0.6, 0.5]), rings=10),
            "black eye",
            front + head * np.array([side * 0.8, 0.15, 0.25]),
        )
        bent = front + head * np.array([side * 0.4, 0.6, 0.6])
        tip = bent + feeler * np.array([side * apart, rng.uniform(-0.3, 0.6), 0.8])
        path = catmull_rom([front + head * np.array([side * 0.3, 0.2, 0.5]), bent, tip], 8)
        parts.add(tube(path, rng.uniform(0.012, 0.03), 5), "feeler")
        out = rng.uniform(0.35, 0.8)
        thick = rng.uniform(0.015, 0.04)
        for z, ahead in ((0.5, 0.4), (0, 0.0), (-0.5, -0.6)):
            hip = middle + size * np.array([side * 0.6, -0.5, z])
            foot = np.array([side * (0.15 + out), 0.02, hip[2] + ahead * rng.uniform(0.3, 0.9)])
            knee = (hip + foot) / 2 + vec(side * 0.08, rng.uniform(0.05, 0.3), 0)
            path = catmull_rom([hip, knee, foot], 10)
            parts.add(tube(path, thick * np.linspace(1.4, 0.5, 10), 6), "leg")
    kind = rng.random()
    if kind < 0.2:  # a beetle's
        for side in (-1, 1):
            half = np.array([wide * 0.55, wide * 0.5, long * 1.1])
            parts.add(
                superellipsoid(half), "shell", rear + vec(side * wide * 0.5, wide * 0.5, 0.05)
            )
    elif kind < 0.9:
        clear = "window wing" if rng.random() < 0.6 else "wing"
        span, broad = rng.uniform(0.5, 1), rng.uniform(0.1, 0.45)
        back, up = rng.uniform(5, 80), rng.uniform(-5, 75)
        for side in (-1, 1):
            for k in range(int(rng.integers(1, 3))):
                length = span * (1 - 0.3 * k)
                points, faces = superellipsoid(
                    (length / 2, 0.012, broad * length / 2), 0.9, 0.9, 12
                )
                points = points + vec(length / 2, 0, 0)
                rotation = axis_rotation([0, 0, 1], up) @ axis_rotation(
                    [0, 1, 0], min(back + 25 * k, 85)
                )
                points = points @ rotation.T * [side, 1, 1]
                parts.add((points, faces), clear, middle + size * np.array([side * 0.4, 0.7, 0]))
