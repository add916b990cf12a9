"""Distractors: cars, motorbikes, bicycles, aeroplanes, boats."""

from __future__ import annotations

import numpy as np

from homolog.synth.distractors.primitives import (
    Vector,
    box,
    catmull_rom,
    cylinder,
    lathe,
    rod,
    superellipsoid,
    torus,
    tube,
    vec,
)
from homolog.synth.distractors.shape import MeshBuilder


def add_wheel(
    parts: MeshBuilder,
    rng: np.random.Generator,
    at: Vector,
    radius: float,
    wide: float,
    spokes: int,
) -> None:
    """Add a wheel around the x axis, centred at `at`; without spokes it is a disc."""
    thick = min(wide / 2, radius * 0.3)
    parts.add(torus(radius - thick, thick, 28), "black tyre", at)
    hub = np.asarray(at, float)
    side = np.array([wide * 0.42, 0, 0])
    if not spokes:
        parts.add(cylinder(hub - side, hub + side, radius - thick, 28), "chrome rim")
        return
    parts.add(torus(radius - 1.9 * thick, thick * 0.5, 28, 6), "chrome rim", at)
    parts.add(cylinder(hub - side, hub + side, radius * 0.12, 12), "chrome rim")
    for angle in np.linspace(0, 2 * np.pi, spokes, endpoint=False) + rng.uniform(0, 1):
        end = hub + (radius - 1.6 * thick) * np.array([0, np.cos(angle), np.sin(angle)])
        parts.add(rod(hub, end, max(0.004, thick * rng.uniform(0.1, 0.14)), 4), "chrome rim")


def build_car(parts: MeshBuilder, rng: np.random.Generator) -> None:
    """Build a car, van, truck, cart or three-wheeler."""
    wide = rng.uniform(0.36, 0.5)
    wheel = rng.uniform(0.14, 0.26)
    low, tall = wheel * rng.uniform(0.6, 1.1), rng.uniform(0.12, 0.24)
    sharp = rng.uniform(0.12, 0.5)
    middle = low + tall
    parts.add(
        superellipsoid((wide, tall, 1.0), sharp, rng.uniform(0.15, 0.4)), "body", (0, middle, 0)
    )
    top = middle + tall
    kind = rng.random()
    cabin = rng.uniform(0.14, 0.3) if kind < 0.7 else rng.uniform(0.25, 0.5)
    half = rng.uniform(0.4, 0.65) if kind < 0.5 else rng.uniform(0.25, 0.95)
    back = rng.uniform(-1, 1) * (0.95 - half)
    taper = rng.uniform(0.7, 1, 2)
    if rng.random() < 0.5:
        parts.add(box((wide * 0.9, cabin, half), taper), "body", (0, top + cabin * 0.85, back))
        pane = rng.uniform(0.5, 0.8)
        parts.add(
            box((wide * 0.915, cabin * pane, half * 0.86), taper),
            "window",
            (0, top + cabin * 0.9, back),
        )
        parts.add(
            box((wide * 0.8, cabin * pane, half * 1.012), taper),
            "window",
            (0, top + cabin * 0.9, back),
        )
        for z in rng.uniform(-0.6, 0.6, int(rng.integers(1, 4))):
            parts.add(
                box((wide * 0.93, cabin * 0.98, 0.03), taper),
                "body",
                (0, top + cabin * 0.85, back + z * half),
            )
    else:
        parts.add(
            superellipsoid((wide * 0.88, cabin * 1.5, half), 0.7, 0.4),
            "window",
            (0, top - cabin * 0.1, back),
        )
        parts.add(
            superellipsoid((wide * 0.8, cabin * 0.35, half * 0.7), 0.6, 0.4),
            "body",
            (0, top + cabin * 1.2, back),
        )
        for z in (-0.25, 0.15):
            parts.add(
                box((wide * 0.885, cabin * 0.6, 0.04)),
                "body",
                (0, top + cabin * 0.5, back + z * half),
            )
    if rng.random() < 0.25:  # a load
        parts.add(
            box((wide, rng.uniform(0.2, 0.5), (0.9 - half) / 1.6 + 0.1)),
            "load",
            (0, top + 0.3, -np.sign(back) * half),
        )
    for x in (-wide * 0.7, wide * 0.7):
        for z, name in ((0.98, "white lamp"), (-0.98, "lamp")):
            parts.add(superellipsoid((0.08, 0.05, 0.04), rings=8), name, (x, middle + 0.02, z))
    for z in (-1.0, 1.0):
        parts.add(box((wide * 0.95, 0.04, 0.05)), "bumper", (0, low + 0.06, z))
    axles = [(wide * 0.95, rng.uniform(0.5, 0.75)), (wide * 0.95, -rng.uniform(0.5, 0.75))]
    three = rng.random() < 0.12
    for k, (x, z) in enumerate(axles):
        for side in (0,) if three and k == 0 else (-1, 1):
            add_wheel(
                parts,
                rng,
                (side * x, wheel, z),
                wheel,
                wheel * rng.uniform(0.5, 0.8),
                int(rng.choice([0, 0, 5, 8])),
            )


def build_motorbike(parts: MeshBuilder, rng: np.random.Generator) -> None:
    """Build a motorbike."""
    r, thick = rng.uniform(0.26, 0.38), rng.uniform(0.1, 0.2)
    z = rng.uniform(0.58, 0.75)
    spokes = int(rng.choice([0, 6, 10, 24]))
    for end in (-z, z):
        add_wheel(parts, rng, (0, r, end), r, thick, spokes)
    head = np.array([0, rng.uniform(0.75, 0.95), z - rng.uniform(0.2, 0.35)])
    for x in (-thick * 0.7, thick * 0.7):
        parts.add(rod((x, r, z), (x, *head[1:]), 0.025), "chrome fork")
        parts.add(rod((x, r, -z), (x, r + 0.25, -0.15), 0.03), "frame")
        parts.add(rod((x, r + 0.05, -z), (x, 0.72, -0.55), 0.03), "chrome fork")
    bar = rng.uniform(0.25, 0.42)
    parts.add(
        tube(
            catmull_rom(
                [
                    (-bar, head[1] + 0.12, head[2] - 0.2),
                    (-0.1, head[1] + 0.06, head[2]),
                    (0.1, head[1] + 0.06, head[2]),
                    (bar, head[1] + 0.12, head[2] - 0.2),
                ],
                14,
            ),
            0.02,
        ),
        "chrome bar",
    )
    parts.add(superellipsoid((0.08, 0.08, 0.07), rings=10), "lamp", head + vec(0, -0.03, 0.1))
    parts.add(superellipsoid((0.14, 0.12, 0.3), 0.8, 0.7), "body", (0, 0.75, 0.12))
    parts.add(
        superellipsoid((0.13, 0.06, rng.uniform(0.25, 0.45)), 0.5, 0.5),
        "black seat",
        (0, rng.uniform(0.68, 0.78), -0.4),
    )
    parts.add(superellipsoid((0.16, 0.16, 0.22), 0.3, 0.3), "engine", (0, 0.36, 0.0))
    for k in range(int(rng.integers(1, 4))):
        tilt = rng.uniform(-0.2, 0.2)
        parts.add(cylinder((0, 0.4, 0), (0, 0.62, 0.15 * k - 0.1 + tilt), 0.09), "engine")
    parts.add(rod((0, 0.3, -0.3), (0, head[1], head[2]), 0.035), "frame")
    side = rng.choice([-1, 1]) * 0.17
    parts.add(
        tube(
            catmull_rom(
                [(side, 0.5, 0.2), (side, 0.25, 0.15), (side, 0.2, -0.3), (side, 0.28, -z - 0.2)],
                16,
            ),
            rng.uniform(0.03, 0.06),
        ),
        "chrome pipe",
    )
    if rng.random() < 0.6:  # mudguards
        for end in (-z, z):
            angle = np.linspace(0.1, 2.4, 10)
            arc = np.stack(
                [0 * angle, r + (r + 0.05) * np.sin(angle), end - (r + 0.05) * np.cos(angle)], 1
            )
            parts.add(tube(arc, thick * 0.6, 6), "body")
    if rng.random() < 0.4:  # a fairing
        parts.add(superellipsoid((0.2, 0.22, 0.22), 0.8, 0.8), "body", head + vec(0, -0.05, 0.05))


def build_bicycle(parts: MeshBuilder, rng: np.random.Generator) -> None:
    """Build a bicycle."""
    r, z, thick = rng.uniform(0.3, 0.42), rng.uniform(0.48, 0.62), rng.uniform(0.025, 0.07)
    for end in (-z, z):
        add_wheel(parts, rng, (0, r, end), r, thick, int(rng.integers(8, 25)))
    pipe = rng.uniform(0.014, 0.035)
    crank, seat = np.array([0, r * 0.95, -0.1]), np.array([0, rng.uniform(0.75, 0.95), -0.25])
    head = np.array([0, rng.uniform(0.75, 0.95), z - 0.2])
    low = head - [0, 0.12, -0.04]
    lines = [
        (crank, seat),
        (seat - [0, 0.08, 0], head),
        (crank, low),
        (head, (0, r, z)),
        (crank, (0, r, -z)),
        (seat - [0, 0.1, 0], (0, r, -z)),
        (head, head + vec(0, 0.13, -0.03)),
    ]
    bent = rng.random() < 0.3
    for a, b in lines:
        a, b = np.asarray(a, float), np.asarray(b, float)
        sag = np.array([0, rng.uniform(-0.12, 0.06), 0]) if bent else np.zeros(3)
        parts.add(tube(catmull_rom([a, (a + b) / 2 + sag, b], 8), pipe), "frame")
    top, bar = head + vec(0, 0.14, -0.03), rng.uniform(0.2, 0.32)
    back, up = rng.uniform(-0.15, 0.2), rng.uniform(-0.15, 0.1)
    parts.add(
        tube(
            catmull_rom(
                [
                    top + vec(-bar, up, back),
                    top + vec(-bar * 0.8, up / 2, 0.06),
                    top,
                    top + vec(bar * 0.8, up / 2, 0.06),
                    top + vec(bar, up, back),
                ],
                20,
            ),
            pipe * 0.8,
        ),
        "chrome bar",
    )
    parts.add(
        superellipsoid((0.07, 0.035, 0.13), 0.6, 0.9, 10), "black saddle", seat + vec(0, 0.03, 0)
    )
    parts.add(cylinder(crank - [0.03, 0, 0], crank + vec(0.03, 0, 0), 0.09), "chrome crank")
    for side in (-1, 1):
        end = crank + vec(side * 0.06, side * 0.16, 0)
        parts.add(rod(crank + vec(side * 0.06, 0, 0), end, 0.012), "chrome crank")
        parts.add(box((0.05, 0.012, 0.04)), "black pedal", end + vec(side * 0.05, 0, 0))
    if rng.random() < 0.3:
        parts.add(box((0.18, 0.12, 0.14), (1.2, 1.2)), "basket", head + vec(0, 0, 0.25))


def build_craft(parts: MeshBuilder, rng: np.random.Generator) -> None:
    """Build an aeroplane or a boat."""
    r = rng.uniform(0.08, 0.18)
    if rng.random() < 0.55:
        line = np.array([(0.02, -1), (0.4, -0.8), (1, -0.3), (1, 0.6), (0.7, 0.85), (0.05, 1)])
        line[:, 0] *= r
        points, faces = lathe(catmull_rom(line, 30), 24)
        up = rng.uniform(0.2, 0.45)
        parts.add((points[:, [0, 2, 1]], faces), "body", (0, up, 0))
        span, deep = rng.uniform(0.6, 1.2), rng.uniform(0.12, 0.25)
        at = up + rng.uniform(-0.7, 0.9) * r
        back = rng.uniform(-0.4, 0.4)
        for side in (-1, 1):
            points, faces = superellipsoid((span / 2, 0.03, deep), 0.6, 0.5, 12)
            points[:, 2] -= np.abs(points[:, 0] + side * span / 2) * back
            parts.add((points, faces), "wing", (side * span / 2, at, 0.15))
            parts.add(
                superellipsoid((0.18, 0.02, 0.09), 0.6, 0.5, 10), "wing", (side * 0.18, up, -0.85)
            )
            parts.add(
                cylinder(
                    (side * span * 0.4, at - 0.08, 0), (side * span * 0.4, at - 0.08, 0.3), 0.06
                ),
                "engine",
            )
        parts.add(superellipsoid((0.02, 0.2, 0.12), 0.6, 0.6, 10), "wing", (0, up + r + 0.1, -0.85))
        parts.add(
            superellipsoid((r * 0.9, r * 0.5, 0.15), rings=10), "window", (0, up + r * 0.7, 0.55)
        )
        for x, z in ((0, 0.6), (-0.15, -0.05), (0.15, -0.05)):
            parts.add(rod((x, 0.05, z), (x, up, z), 0.015, 6), "chrome gear")
            parts.add(torus(0.04, 0.025, 14, 6), "black tyre", (x, 0.06, z))
        return
    wide, high = rng.uniform(0.2, 0.4), rng.uniform(0.12, 0.3)
    points, faces = superellipsoid((wide, high, 1.0), 0.7, rng.uniform(0.8, 1.1), 20)
    points[:, 1] = np.minimum(points[:, 1], 0) + 0.12 * points[:, 2] ** 2
    parts.add((points, faces), "hull", (0, high, 0))
    if rng.random() < 0.6:
        parts.add(box((wide * 0.6, 0.14, 0.3), (0.9, 0.8)), "cabin", (0, high + 0.1, -0.2))
        parts.add(box((wide * 0.61, 0.06, 0.26)), "window", (0, high + 0.14, -0.2))
    if rng.random() < 0.7:
        tall = rng.uniform(0.7, 1.6)
        parts.add(rod((0, high, 0.1), (0, high + tall, 0.1), 0.015), "mast")
        sail = np.array(
            [
                [0, high + 0.15, 0.1],
                [0, high + tall, 0.1],
                [0.08, high + 0.15, -0.8],
                [0.06, high + 0.15, 0.85],
            ]
        )
        parts.add((sail[[0, 1, 2]], np.array([[0, 1, 2]])), "sail")
        parts.add((sail[[0, 1, 3]] * [1, 0.9, 1], np.array([[0, 1, 2]])), "sail")
