"""Distractors: rounded lumps and bundles of tubes."""

from __future__ import annotations

import numpy as np

from homolog.synth.appearance.noise import Noise
from homolog.synth.distractors.primitives import (
    blend_ellipsoids,
    catmull_rom,
    ellipsoid,
    superellipsoid,
    torus,
    tube,
    vec,
)
from homolog.synth.distractors.shape import MeshBuilder
from homolog.synth.transforms import axis_rotation


def build_blob(parts: MeshBuilder, rng: np.random.Generator) -> None:
    """Build a rounded object: a duck without legs, a stone, fruit, a ball or a plush-like lump."""
    kind = rng.random()
    if kind < 0.25:  # duck
        long, wide, high = rng.uniform(0.5, 0.8), rng.uniform(0.28, 0.42), rng.uniform(0.24, 0.4)
        neck, head = rng.uniform(0.05, 0.5), rng.uniform(0.13, 0.26)
        front = long * rng.uniform(0.5, 0.9)
        top = high + neck + head
        solids = [
            ellipsoid((0, high, 0), (wide, high, long)),
            ellipsoid(
                (0, (high + top) / 2, front * 0.9), (head * 0.6, neck / 2 + 0.12, head * 0.7)
            ),
            ellipsoid((0, top, front), (head * 0.9, head, head * 1.1)),
            ellipsoid(
                (0, high * 1.5, -long * 0.9),
                (wide * 0.4, 0.08, 0.25),
                axis_rotation([1, 0, 0], rng.uniform(10, 40)),
            ),
        ]
        parts.add(blend_ellipsoids(solids, rng.uniform(0.02, 0.06)), "body")
        beak = rng.uniform(0.08, 0.2)
        parts.add(
            superellipsoid((head * 0.5, head * 0.22, beak), 0.8, 0.8, 10),
            "beak",
            (0, top - head * 0.2, front + head + beak * 0.4),
        )
        if rng.random() < 0.7:
            for side in (-1, 1):
                parts.add(
                    superellipsoid(np.full(3, head * 0.14), rings=8),
                    "eye",
                    (side * head * 0.72, top + head * 0.25, front + head * 0.5),
                )
        if rng.random() < 0.6:
            for side in (-1, 1):
                parts.add(
                    superellipsoid((0.06, high * 0.6, long * 0.65), 1, 1, 10),
                    "wing",
                    (side * wide * 0.92, high * 1.15, -0.1),
                )
    elif kind < 0.45:  # stone
        solids = [
            ellipsoid(
                rng.normal(0, 0.25, 3).tolist(),
                rng.uniform(0.25, 0.6, 3).tolist(),
                axis_rotation([0, 1, 0], rng.uniform(0, 360)),
            )
            for _ in range(int(rng.integers(1, 4)))
        ]
        rough = Noise(rng, rng.uniform(0.7, 2))
        parts.add(blend_ellipsoids(solids, 0.05, rough, rng.uniform(0.01, 0.06)), "stone")
    elif kind < 0.7:  # fruit, balls, pumpkins
        number = int(rng.choice([1, 1, 1, 3, 12]))
        size = 0.6 / number ** (1 / 3)
        ribs = int(rng.choice([0, 0, 8, 12]))
        for k in range(number):
            half = size * np.exp(rng.normal(0, 0.08, 3)) * [1, rng.uniform(0.7, 1.2), 1]
            points, faces = superellipsoid(half, 1, 1, 24 if number == 1 else 12)
            if ribs:
                angle = np.arctan2(points[:, 2], points[:, 0])
                points = points * (1 - 0.08 * np.abs(np.cos(angle * ribs / 2)))[:, None]
            if rng.random() < 0.5:  # a dent at the top
                near = np.hypot(points[:, 0], points[:, 2]) / half[0]
                points[:, 1] -= (
                    np.sign(points[:, 1]) * 0.25 * half[1] * np.exp(-((near / 0.3) ** 2))
                )
            level = k // 4
            at = rng.normal(0, size * 0.15, 3) + (
                vec(
                    size * 1.8 * ((k % 4) % 2),
                    size * (1 + 1.5 * level),
                    size * 1.8 * ((k % 4) // 2),
                )
            )
            parts.add((points, faces), f"fruit {k % 2}", at)
            if number < 4 and rng.random() < 0.5:
                stalk = catmull_rom(
                    [
                        at + vec(0, half[1] * 0.7, 0),
                        at + vec(0.02, half[1] * 1.1, 0),
                        at + vec(0.1, half[1] * 1.3, 0.03),
                    ],
                    6,
                )
                parts.add(tube(stalk, size * 0.06, 6), "stalk")
    else:  # lumps of anything
        number = int(rng.integers(2, 7))
        solids = []
        at = np.zeros(3)
        for _ in range(number):
            rotation = axis_rotation([0, 1, 0], rng.uniform(0, 360)) @ axis_rotation(
                [1, 0, 0], rng.uniform(0, 360)
            )
            half = rng.uniform(0.12, 0.45, 3)
            solids.append(ellipsoid(at.tolist(), half.tolist(), rotation))
            away = rng.normal(size=3)
            at = at + away / np.linalg.norm(away) * rng.uniform(0.25, 0.55)
        parts.add(blend_ellipsoids(solids, rng.uniform(0.02, 0.08)), "body")
        for k in range(int(rng.integers(0, 4))):
            middle, half, _ = solids[k % number]
            parts.add(
                superellipsoid(half * 0.5, rings=10),
                f"patch {k % 2}",
                middle + half * rng.choice([-1, 1], 3) * 0.5,
            )


def build_tubes(parts: MeshBuilder, rng: np.random.Generator) -> None:
    """Build a bundle of wires, hoses, coils and rings."""
    if rng.random() < 0.4:  # a coil
        turns, r = rng.uniform(2, 6), rng.uniform(0.3, 0.6)
        angle = np.linspace(0, 2 * np.pi * turns, int(26 * turns))
        grow = np.linspace(1, rng.uniform(0.4, 1.3), len(angle))
        thick = rng.uniform(0.03, 0.1)
        up = np.linspace(thick, thick + rng.uniform(0.1, 1.4), len(angle))
        path = np.stack([r * grow * np.cos(angle), up, r * grow * np.sin(angle)], 1)
        parts.add(tube(path, thick), "tube")
    for k in range(int(rng.integers(1, 5))):
        points = rng.normal(0, 0.5, (int(rng.integers(3, 8)), 3))
        points[:, 1] = np.abs(points[:, 1]) + 0.05
        parts.add(tube(catmull_rom(points, 60), rng.uniform(0.02, 0.1)), f"tube {k % 3}")
    for _ in range(int(rng.integers(0, 4))):
        points, faces = torus(rng.uniform(0.2, 0.6), rng.uniform(0.02, 0.09))
        rotation = axis_rotation([0, 1, 0], rng.uniform(0, 360)) @ axis_rotation(
            [0, 0, 1], rng.uniform(0, 180)
        )
        parts.add((points @ rotation.T, faces), "ring", rng.normal(0, 0.4, 3) + vec(0, 0.6, 0))
