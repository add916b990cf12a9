"""Distractors: furniture and machines."""

from __future__ import annotations

import numpy as np

from homolog.synth.distractors.primitives import (
    box,
    catmull_rom,
    cylinder,
    rod,
    superellipsoid,
    tube,
    vec,
)
from homolog.synth.distractors.shape import MeshBuilder
from homolog.synth.distractors.vehicles import add_wheel


def build_furniture(parts: MeshBuilder, rng: np.random.Generator) -> None:
    """Build a table, stool, chair, sofa, shelf, bed or screen."""
    kind = rng.random()
    x, z = rng.uniform(0.35, 0.9), rng.uniform(0.3, 0.6)
    thin = rng.uniform(0.02, 0.06)
    if kind < 0.45:  # table, stool, chair
        high = rng.uniform(0.4, 0.9)
        round_top = rng.random() < 0.3
        if round_top:
            x = z = rng.uniform(0.3, 0.7)
            parts.add(cylinder((0, high - thin, 0), (0, high + thin, 0), x, 36), "top")
        else:
            parts.add(box((x, thin, z)), "top", (0, high, 0))
        legs, wide, splay = rng.random(), rng.uniform(0.02, 0.05), rng.uniform(0.8, 1.15)
        inset = 0.65 if round_top else 0.9
        if legs < 0.2:
            parts.add(cylinder((0, 0, 0), (0, high, 0), wide * 2), "leg")
            parts.add(cylinder((0, 0, 0), (0, 0.05, 0), x * 0.6), "leg")
        else:
            for a in (-1, 1):
                for b in (-1, 1):
                    head = (a * x * inset, high, b * z * inset)
                    foot = (a * x * inset * splay, 0, b * z * inset * splay)
                    if legs < 0.6:
                        parts.add(cylinder(foot, head, wide * 0.7, 12, wide), "leg")
                    else:
                        parts.add(box((wide, high / 2, wide)), "leg", (head[0], high / 2, head[2]))
        if rng.random() < 0.5:  # a back
            tall = rng.uniform(0.3, 0.8)
            if rng.random() < 0.5:
                parts.add(box((x, tall / 2, thin)), "back", (0, high + tall / 2, -z * 0.95))
            else:
                for at in np.linspace(-x * 0.9, x * 0.9, int(rng.integers(2, 7))):
                    parts.add(
                        rod((at, high, -z * 0.95), (at, high + tall, -z * 1.1), wide * 0.6), "leg"
                    )
                parts.add(box((x, 0.07, thin)), "back", (0, high + tall, -z * 1.1))
        elif rng.random() < 0.5:  # with ware on it
            for _ in range(int(rng.integers(1, 6))):
                half = rng.uniform(0.04, 0.2, 3)
                at = (rng.uniform(-0.7, 0.7) * x, high + thin + half[1], rng.uniform(-0.7, 0.7) * z)
                name = f"ware {rng.integers(3)}"
                parts.add(
                    box(half) if rng.random() < 0.5 else superellipsoid(half, rings=10), name, at
                )
    elif kind < 0.65:  # sofa, bed
        roundness = rng.uniform(0.1, 0.5)
        parts.add(superellipsoid((x, 0.16, z), roundness, roundness), "cushion", (0, 0.25, 0))
        back = rng.uniform(0.2, 0.45)
        parts.add(
            superellipsoid((x, back, 0.12), roundness, roundness), "body", (0, 0.2 + back, -z)
        )
        if rng.random() < 0.7:
            for side in (-1, 1):
                parts.add(
                    superellipsoid((0.12, 0.25, z), roundness, roundness),
                    "body",
                    (side * x, 0.32, 0),
                )
        for at in np.linspace(-0.6, 0.6, int(rng.integers(0, 4))) * x:
            parts.add(
                superellipsoid((0.17, 0.17, 0.08), 0.7, 0.6, 10), "pillow", (at, 0.5, -z * 0.7)
            )
        for a in (-1, 1):
            for b in (-1, 1):
                parts.add(
                    cylinder(
                        (a * x * 0.85, 0, b * z * 0.85),
                        (a * x * 0.85, 0.15, b * z * 0.85),
                        0.03,
                        10,
                    ),
                    "leg",
                )
    elif kind < 0.85:  # shelf, cupboard
        high, boards = rng.uniform(0.8, 1.8), int(rng.integers(2, 6))
        z = rng.uniform(0.12, 0.35)
        for side in (-1, 1):
            parts.add(box((thin, high / 2, z)), "board", (side * x, high / 2, 0))
        for y in np.linspace(thin, high - thin, boards):
            parts.add(box((x, thin * 0.8, z)), "board", (0, y, 0))
            at = -x
            while y < high - 0.2 and at < x * 0.8:
                half = vec(rng.uniform(0.02, 0.12), rng.uniform(0.05, 0.4 / boards), z * 0.8)
                at += half[0] + rng.choice([0.005, 0.15])
                if at + half[0] < x:
                    ware = f"ware {rng.integers(3)}"
                    parts.add(box(half), ware, (at, y + thin + half[1], 0))
                at += half[0]
        if rng.random() < 0.5:
            parts.add(box((x, high / 2, thin / 2)), "back", (0, high / 2, -z))
    else:  # a screen, a case
        high = rng.uniform(0.3, 0.6)
        deep = rng.uniform(0.03, 0.4)
        parts.add(superellipsoid((x, high, deep), 0.15, 0.15), "case", (0, high + 0.2, 0))
        parts.add(box((x * 0.9, high * 0.85, 0.01)), "window", (0, high + 0.2, deep))
        parts.add(box((x * 0.4, 0.02, 0.2)), "case", (0, 0.02, 0))
        parts.add(box((0.06, 0.15, 0.04)), "case", (0, 0.15, 0))


def build_machine(parts: MeshBuilder, rng: np.random.Generator) -> None:
    """Build a machine of boxes, drums and pipes."""
    centres: list[np.ndarray] = []
    for k in range(int(rng.integers(3, 9))):
        half = np.exp(rng.uniform(-2.4, -0.7, 3))
        if centres and rng.random() < 0.75:
            at = centres[int(rng.integers(len(centres)))] + rng.normal(0, 0.35, 3)
        else:
            at = np.array([rng.normal(0, 0.3), 0, rng.normal(0, 0.3)])
        at[1] = max(float(at[1]), half[1])
        centres.append(at)
        name, shape = f"part {k % 4}", rng.random()
        if shape < 0.4:
            parts.add(box(half, rng.uniform(0.6, 1, 2) if rng.random() < 0.3 else (1, 1)), name, at)
        elif shape < 0.75:
            axis = np.eye(3)[int(rng.integers(3))] * half
            parts.add(cylinder(at - axis, at + axis, float(half.mean()), 24), name)
        else:
            parts.add(superellipsoid(half, *rng.uniform(0.15, 1, 2)), name, at)
    for _ in range(int(rng.integers(1, 6))):
        a, b = (centres[int(i)] for i in rng.integers(len(centres), size=2))
        bow = [a, a + rng.normal(0, 0.3, 3), b + rng.normal(0, 0.3, 3), b]
        path = catmull_rom(bow, 20)
        path[:, 1] = np.maximum(path[:, 1], 0.05)
        parts.add(tube(path, rng.uniform(0.02, 0.07)), "chrome pipe")
    if rng.random() < 0.4:
        add_wheel(parts, rng, centres[0] + vec(0.3, 0, 0), rng.uniform(0.15, 0.35), 0.08, 6)
