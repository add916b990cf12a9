"""What cameras do to light: blur, colour cast, contrast, noise, vignetting, compression."""

from __future__ import annotations

import io

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageFilter

from homolog.synth.appearance.colour import linear_to_srgb, power


def apply_camera_effects(
    image: Float[np.ndarray, "s s 3"], rng: np.random.Generator
) -> Float[np.ndarray, "s s 3"]:
    """A rendered image as a camera would take it, with random faults.

    Args:
        image: linear RGB, not limited to 1.
        rng: source of randomness.

    Returns:
        An sRGB image, 0..1.
    """
    size = len(image)
    image = image * (1 + rng.normal(0, 0.06, 3)).astype(np.float32)
    image = linear_to_srgb(image * np.float32(np.exp(rng.normal(0, 0.22))))
    draw = rng.random()
    if draw < 0.12:
        image = _motion_blur(image, rng)
    elif draw < 0.4:
        image = gaussian_blur(image, float(rng.uniform(0.4, 1.8)) * size / 480)
    gamma, contrast = np.exp(rng.normal(0, 0.15)), np.exp(rng.normal(0, 0.15))
    image = power(np.clip(image, 0, 1), gamma)
    image = (image - 0.5) * np.float32(contrast) + np.float32(0.5 + rng.normal(0, 0.03))
    grey = (image @ np.full(3, 1 / 3, np.float32))[..., None]
    saturation = rng.uniform(0.5, 1.35) if rng.random() > 0.05 else 0.0
    image = grey + (image - grey) * np.float32(saturation)
    strength = float(rng.choice([0.003, rng.uniform(0.005, 0.06)]))
    grain = rng.standard_normal(image.shape[:2], np.float32)[..., None]
    colour = rng.standard_normal(image.shape, np.float32)
    image = image + np.float32(strength) * (0.7 * grain + 0.5 * colour)
    if rng.random() < 0.3:  # a vignette
        r = np.linspace(-1, 1, size, dtype=np.float32) ** 2
        image = image * (
            1 - np.float32(rng.uniform(0, 0.35)) * (r[:, None] + r[None])[..., None] / 2
        )
    return np.clip(image, 0, 1)


def gaussian_blur(image: Float[np.ndarray, "h w 3"], radius: float) -> Float[np.ndarray, "h w 3"]:
    """The image convolved with a Gaussian of this standard deviation in pixels, to 8 bits."""
    if radius < 0.2:
        return image
    pixels = Image.fromarray((np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8))
    return np.asarray(pixels.filter(ImageFilter.GaussianBlur(radius)), np.float32) / 255


def _motion_blur(
    image: Float[np.ndarray, "s s 3"], rng: np.random.Generator
) -> Float[np.ndarray, "s s 3"]:
    """The image as if the camera had moved along a line while its shutter was open."""
    size = len(image)
    angle, length = rng.uniform(0, np.pi), rng.uniform(2, 9) * size / 480
    total = np.zeros_like(image)
    steps = np.linspace(-0.5, 0.5, 7)
    for t in steps:
        dx, dy = round(float(np.cos(angle) * length * t)), round(float(np.sin(angle) * length * t))
        total += np.roll(image, (dy, dx), (0, 1))
    return total / np.float32(len(steps))


def encode_jpeg(image: Float[np.ndarray, "s s 3"], rng: np.random.Generator) -> bytes:
    """The image (sRGB, 0..1) as a JPEG file of random quality, at times compressed twice."""
    pixels = Image.fromarray((image * 255 + 0.5).astype(np.uint8))
    times = 2 if rng.random() < 0.25 else 1
    data = b""
    for _ in range(times):
        buffer = io.BytesIO()
        pixels.save(buffer, "JPEG", quality=int(rng.integers(40, 96)))
        data = buffer.getvalue()
        pixels = Image.open(io.BytesIO(data))
    return data
