"""Small objects around the subject of a scene: stones, boxes, bars in front of it, grass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from homolog.synth.appearance.colour import random_coat_colour
from homolog.synth.appearance.noise import Noise
from homolog.synth.camera import Camera
from homolog.synth.distractors.primitives import CUBE_CORNERS, CUBE_TRIANGLES
from homolog.synth.transforms import axis_rotation


@dataclass(eq=False)
class Prop:
    """A small object in a scene, of plain colours.

    Attributes:
        vertices: in the world.
        triangles: vertex indices.
        colours: of the vertices, linear RGB.
    """

    vertices: Float[np.ndarray, "V 3"]
    triangles: Int[np.ndarray, "M 3"]
    colours: Float[np.ndarray, "V 3"]


def random_props(
    subject: Float[np.ndarray, "V 3"],
    camera: Camera,
    rng: np.random.Generator,
    size: int,
    with_ground: bool,
) -> list[Prop]:
    """Random props around and in front of a subject.

    Args:
        subject: its vertices in the world.
        camera: that looks at it.
        rng: source of randomness.
        size: of the image in pixels.
        with_ground: whether there is ground for grass to grow on.
    """
    props: list[Prop] = []
    middle = (subject.min(0) + subject.max(0)) / 2
    height = float(np.ptp(subject[:, 1]))
    if with_ground and rng.random() < 0.4:
        props.append(_grass(subject, height, rng))
    if rng.random() < 0.35:  # around it
        for _ in range(int(rng.integers(1, 6))):
            angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(1.3, 4)
            half = np.exp(rng.uniform(-2.6, -0.4, 3))
            offset = [distance * np.cos(angle), 0, distance * np.sin(angle)]
            position = middle * [1, 0, 1] + offset
            position[1] = half[1] * rng.uniform(0.6, 1)
            depth = (position - camera.position) @ camera.rotation[2]
            if depth > 0.6 * ((middle - camera.position) @ camera.rotation[2]):
                rotation = axis_rotation([0, 1, 0], rng.uniform(0, 360))
                props.append(_random_solid(rng, position, half, rotation))
    if rng.random() < 0.22:  # in front of it
        depth = (middle - camera.position) @ camera.rotation[2]
        if rng.random() < 0.45:
            props += _random_bars(camera, rng, size, depth)
        else:
            for _ in range(int(rng.integers(1, 4))):
                pixel = rng.uniform(0, 1, 2) * size
                near = depth * rng.uniform(0.35, 0.6)
                position = camera.position + camera.rays(pixel[None])[0] * near
                half = np.exp(rng.uniform(-3.2, -1.7, 3)) * near * size / camera.focal
                props.append(_random_solid(rng, position, half, camera.rotation.T))
    return props


def _random_bars(camera: Camera, rng: np.random.Generator, size: int, depth: float) -> list[Prop]:
    """Parallel bars, as of a fence or cage, in front of a subject at this depth."""
    horizontal, number = rng.random() < 0.4, int(rng.integers(1, 6))
    step, start = rng.uniform(0.12, 0.35), rng.uniform(0, 0.4)
    width = rng.uniform(0.004, 0.03)
    colour = random_coat_colour(rng, 0.4)
    slant = rng.normal(0, 6)
    bars = []
    for k in range(number):
        along = start + k * step
        pixel = np.array([0.5, along] if horizontal else [along, 0.5]) * size
        near = depth * rng.uniform(0.5, 0.56)
        position = camera.position + camera.rays(pixel[None])[0] * near
        long, thin = near * size / camera.focal * 1.5, width * near * size / camera.focal
        half = np.array([long, thin, thin] if horizontal else [thin, long, thin])
        rotation = camera.rotation.T @ axis_rotation([0, 0, 1], slant)
        bars.append(_box(position, half, rotation, colour))
    return bars


def _random_solid(
    rng: np.random.Generator,
    position: Float[np.ndarray, "3"],
    half: Float[np.ndarray, "3"],
    rotation: Float[np.ndarray, "3 3"],
) -> Prop:
    """A box or a lumpy ball, with these half axes."""
    if rng.random() < 0.4:
        return _box(position, half, rotation, random_coat_colour(rng, 0.5))
    points, faces = _ball()
    lumps = Noise(rng, rng.uniform(0.4, 1.2))
    points = points * (1 + rng.uniform(0, 0.25) * lumps(points.astype(np.float32)))[:, None]
    colours = random_coat_colour(rng, 0.5) * np.ones((len(points), 1))
    return Prop((points * half) @ rotation.T + position, faces, colours.astype(np.float32))


def _box(
    position: Float[np.ndarray, "3"],
    half: Float[np.ndarray, "3"],
    rotation: Float[np.ndarray, "3 3"],
    colour: Float[np.ndarray, "3"],
) -> Prop:
    """A box with sharp edges: its triangles share no vertices."""
    points = CUBE_CORNERS[CUBE_TRIANGLES].reshape(-1, 3)
    colours = (colour * np.ones((len(points), 1))).astype(np.float32)
    triangles = np.arange(36).reshape(-1, 3)
    return Prop((points * half) @ rotation.T + position, triangles, colours)


def _ball(rings: int = 10) -> tuple[Float[np.ndarray, "V 3"], Int[np.ndarray, "M 3"]]:
    """Vertices and triangles of a unit sphere."""
    across = 2 * rings
    v, u = np.meshgrid(
        np.linspace(0, np.pi, rings + 1), np.linspace(0, 2 * np.pi, across + 1), indexing="ij"
    )
    points = np.stack([np.sin(v) * np.cos(u), np.cos(v), np.sin(v) * np.sin(u)], -1).reshape(-1, 3)
    i, j = np.meshgrid(np.arange(rings), np.arange(across), indexing="ij")
    a = (i * (across + 1) + j).ravel()
    b, c, d = a + 1, a + across + 1, a + across + 2
    return points, np.concatenate([np.stack([a, b, c], 1), np.stack([b, d, c], 1)])


def _grass(vertices: Float[np.ndarray, "V 3"], height: float, rng: np.random.Generator) -> Prop:
    """Blades of grass around the feet of a subject."""
    count = int(rng.integers(300, 4000))
    low, high = vertices.min(0), vertices.max(0)
    spread = (high - low) * rng.uniform(0.2, 1.0) + 0.2
    x, z = rng.uniform(low[[0, 2]] - spread[[0, 2]], high[[0, 2]] + spread[[0, 2]], (count, 2)).T
    tall = height * rng.uniform(0.03, 0.3) * rng.uniform(0.3, 1.2, count)
    angle, lean = rng.uniform(0, 2 * np.pi, count), rng.normal(0, 0.35, (2, count)) * tall
    wide = tall * rng.uniform(0.02, 0.07)
    foot = np.stack([x, np.zeros(count), z], 1)
    across = np.stack([np.cos(angle) * wide, np.zeros(count), np.sin(angle) * wide], 1)
    tip = foot + np.stack([lean[0], tall, lean[1]], 1)
    points = np.stack([foot - across, foot + across, tip], 1).reshape(-1, 3)
    tone = np.array([0.12, 0.2, 0.05]) * rng.uniform(0.4, 2) + rng.random(3) * 0.1
    shade = (
        np.repeat(rng.uniform(0.5, 1.4, (count, 1)), 3, axis=0)
        * np.tile([0.6, 0.6, 1.1], count)[:, None]
    )
    return Prop(points, np.arange(3 * count).reshape(-1, 3), (tone * shade).astype(np.float32))
