"""Random backgrounds and ground textures, sRGB."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw

from homolog.synth.appearance.camera_effects import gaussian_blur
from homolog.synth.appearance.colour import COAT_COLOURS, smoothstep
from homolog.synth.appearance.noise import fractal_noise

_GROUND_COLOURS = (
    (92, 118, 52), (66, 92, 40), (120, 128, 70), (150, 130, 98), (184, 164, 126), (120, 96, 70),
    (130, 128, 124), (170, 168, 164), (226, 230, 236), (92, 88, 84), (160, 110, 70), (70, 62, 52),
    (140, 60, 50), (60, 80, 120), (200, 190, 175),
)  # fmt: skip
"""Colours of grounds, floors and walls, sRGB, 0..255."""


def _single(colour: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3"]:
    # Whole images in double precision take twice as long.
    return colour.astype(np.float32)


def random_texture(rng: np.random.Generator, size: int = 256) -> Float[np.ndarray, "size size 3"]:
    """A random texture of a ground or wall: grass, sand, tiles, planks, carpet; sRGB."""
    base = np.array(_GROUND_COLOURS[int(rng.integers(len(_GROUND_COLOURS)))]) / 255.0
    base = _single(np.clip(base + rng.normal(0, 0.05, 3), 0.02, 0.98))
    other = base * rng.uniform(0.5, 1.4) + rng.normal(0, 0.07, 3)
    other = _single(np.clip(other, 0.02, 0.98))
    mix = fractal_noise(rng, size, (3, 7, 16, 40, 110), rng.uniform(0.55, 0.95))
    mix = smoothstep(mix, -0.9, 0.9)[..., None]
    image = base * (1 - mix) + other * mix
    grain = fractal_noise(
        rng, size, (size // 4, size // 2, size), 0.9, float(rng.choice([1, 1, 0.3, 3]))
    )
    image = image * (1 + rng.uniform(0.05, 0.4) * grain[..., None])
    kind = rng.random()
    if kind < 0.12:  # tiles
        step = size // int(rng.integers(2, 6))
        lines = np.arange(size) % step < max(1, step // 24)
        image[lines | np.zeros((size, 1), bool)] *= 0.6
        image[:, lines] *= 0.6
    elif kind < 0.24:  # planks
        count = int(rng.integers(3, 9))
        tone = np.repeat(rng.uniform(0.75, 1.15, count), -(-size // count))[:size]
        image *= tone[:, None, None]
    return np.clip(image, 0, 1).astype(np.float32)


def random_backdrop(
    rng: np.random.Generator, size: int, horizon: float
) -> Float[np.ndarray, "s s 3"]:
    """A random image to stand behind a scene, sRGB: sky, foliage, walls, noise, clutter.

    Args:
        rng: source of randomness.
        size: of the image in pixels.
        horizon: row of the horizon, as a fraction of the height; may be outside 0..1.
    """
    kind = rng.random()
    y = np.linspace(0, 1, size, dtype=np.float32)[:, None, None]
    a, b = (_single(rng.random(3) * 0.9 + 0.05) for _ in range(2))
    if kind < 0.25:  # sky
        blue = _single(np.array([0.45, 0.62, 0.85]) + rng.normal(0, 0.12, 3))
        pale = _single(np.array([0.85, 0.88, 0.92]) + rng.normal(0, 0.08, 3))
        image = blue + (pale - blue) * np.clip(y / max(horizon, 0.2), 0, 1)
        cloud = smoothstep(fractal_noise(rng, size, (3, 6, 12, 25), 0.6, 2.0), 0.1, 0.9)[..., None]
        image = image + cloud * rng.uniform(0, 0.9) * (0.95 - image)
        if rng.random() < 0.7:  # a row of trees or hills
            edge = (
                horizon
                - rng.uniform(0.02, 0.3)
                + 0.06 * fractal_noise(rng, size, (4, 12, 40), 0.7)[:1].T
            )
            image = np.where(
                y > np.broadcast_to(edge, (size, size)).T[..., None],
                _foliage(rng, size), image,
            )  # fmt: skip
    elif kind < 0.5:
        image = _foliage(rng, size)
    elif kind < 0.6:  # a wall
        texture = random_texture(rng, size)
        image = texture * (1 + 0.3 * fractal_noise(rng, size, (2, 3))[..., None])
    elif kind < 0.7:  # noise of all scales in colours
        image = np.stack(
            [
                0.5
                + 0.3 * fractal_noise(rng, size, (2, 4, 8, 16, 32, 64, 128), rng.uniform(0.6, 1))
                for _ in range(3)
            ],
            axis=-1,
        )
        image = a * 0.5 + image * 0.6
    else:
        image = a + (b - a) * y
        image = image + 0.15 * fractal_noise(rng, size, (2, 4, 9))[..., None] * _single(
            rng.random(3)
        )
    image = np.clip(np.broadcast_to(image, (size, size, 3)), 0, 1)
    if kind >= 0.7 or rng.random() < 0.35:
        image = _clutter(rng, image, size, int(rng.integers(3, 45)))
    if rng.random() < 0.6:
        image = gaussian_blur(
            image, float(rng.choice([rng.uniform(0.5, 2), rng.uniform(2, 12)])) * size / 480
        )
    return image.astype(np.float32)


def _foliage(rng: np.random.Generator, size: int) -> Float[np.ndarray, "size size 3"]:
    """Blurred leaves in shades of green."""
    green = np.clip(np.array([0.2, 0.3, 0.12]) + rng.normal(0, 0.06, 3), 0.03, 1)
    image = np.broadcast_to(_single(green * rng.uniform(0.4, 1.2)), (size, size, 3))
    for _ in range(3):
        tone = np.array([0.3, 0.42, 0.16]) * rng.uniform(0.3, 1.7) + rng.normal(0, 0.06, 3)
        tone = _single(np.clip(tone, 0, 1))
        cells = int(rng.integers(5, 30))
        mask = smoothstep(fractal_noise(rng, size, (cells, cells * 3, cells * 8), 0.75), 0.1, 0.4)
        image = image + mask[..., None] * (tone - image)
    return np.clip(image * (1 + 0.25 * fractal_noise(rng, size, (60, 160))[..., None]), 0, 1)


def _clutter(
    rng: np.random.Generator, image: Float[np.ndarray, "s s 3"], size: int, count: int
) -> Float[np.ndarray, "s s 3"]:
    """The image with random coloured shapes painted over it."""
    canvas = Image.fromarray((image * 255).astype(np.uint8))
    draw = ImageDraw.Draw(canvas)
    natural = rng.random() < 0.7
    for _ in range(count):
        x, y = rng.uniform(-0.1, 1.1, 2) * size
        w, h = size * rng.uniform(0.02, 0.5, 2) ** rng.uniform(1, 1.6)
        ink = (
            COAT_COLOURS[int(rng.integers(len(COAT_COLOURS)))]
            if natural
            else rng.integers(0, 256, 3)
        )
        fill = tuple(int(v) for v in ink)
        shape = rng.random()
        if shape < 0.4:
            draw.rectangle((x - w, y - h, x + w, y + h), fill=fill)
        elif shape < 0.7:
            draw.ellipse((x - w, y - h, x + w, y + h), fill=fill)
        elif shape < 0.85:
            ends = rng.uniform(0, size, 4)
            draw.line(
                [float(v) for v in ends], fill=fill, width=int(rng.integers(2, size // 24 + 3))
            )
        else:
            corners = [(x + w * rng.normal(), y + h * rng.normal()) for _ in range(5)]
            draw.polygon(corners, fill=fill)
    return np.asarray(canvas, np.float32) / 255


def random_crop(
    image: Image.Image, rng: np.random.Generator, size: int
) -> Float[np.ndarray, "s s 3"]:
    """A random square of an image, resized; sRGB."""
    edge = min(image.size) * rng.uniform(0.5, 1)
    x, y = (rng.random() * (length - edge) for length in image.size)
    cut = image.resize((size, size), Image.Resampling.BILINEAR, box=(x, y, x + edge, y + edge))
    return np.asarray(cut, np.float32) / 255
