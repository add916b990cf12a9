"""Smooth random functions of space and of the image plane."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from PIL import Image

_CELLS = 64
"""Cells of the noise volume along each axis, a power of two."""


@functools.cache
def _volume() -> Float[np.ndarray, "P"]:
    """Smooth periodic noise, flattened: mean 0, standard deviation 1, features 4 cells wide."""
    n = _CELLS
    white = np.random.default_rng(7).standard_normal((n, n, n))
    f = np.fft.fftfreq(n)
    square = f[:, None, None] ** 2 + f[None, :, None] ** 2 + f[None, None, :] ** 2
    smooth = np.fft.ifftn(np.fft.fftn(white) * np.exp(-square * 180)).real
    return (smooth / smooth.std()).astype(np.float32).ravel()


class Noise:
    """Smooth noise in space of one frequency, rotated and shifted at random.

    Args:
        rng: source of randomness.
        frequency: features per unit, roughly; one number, or one an axis.
    """

    def __init__(self, rng: np.random.Generator, frequency: float | Sequence[float]):
        rotation, _ = np.linalg.qr(rng.standard_normal((3, 3)))
        scale = np.broadcast_to(np.asarray(frequency, float), (3,))
        self.matrix = (np.diag(scale) @ rotation * 4).astype(np.float32)
        self.offset = (rng.random(3) * _CELLS + 1000 * _CELLS).astype(np.float32)

    def __call__(
        self, points: Float[np.ndarray, "P 3"], dither: Float[np.ndarray, "P 3"] | float = 0.0
    ) -> Float[np.ndarray, "P"]:
        """The noise at points; its mean is 0, its standard deviation 1.

        Args:
            points: in space.
            dither: offsets in cells, which blur the cells' hard edges into something like fur.
        """
        cell = (points @ self.matrix + self.offset + dither).astype(np.int32) & (_CELLS - 1)
        return _volume()[(cell[:, 0] * _CELLS + cell[:, 1]) * _CELLS + cell[:, 2]]


def fractal_noise(
    rng: np.random.Generator,
    size: int,
    octaves: Sequence[int],
    persistence: float = 0.6,
    aspect: float = 1.0,
) -> Float[np.ndarray, "size size"]:
    """An image of smooth noise at several scales, about -1..1.

    Args:
        rng: source of randomness.
        size: of the image in pixels.
        octaves: cells across of each scale.
        persistence: amplitude of each scale relative to the one before.
        aspect: cells down for each across.
    """
    total = np.zeros((size, size), np.float32)
    amplitude = norm = 1.0
    for k, cells in enumerate(octaves):
        down = max(2, min(size, round(cells * aspect)))
        grid = rng.standard_normal((down, max(2, min(size, cells)))).astype(np.float32)
        total += amplitude * np.asarray(
            Image.fromarray(grid).resize((size, size), Image.Resampling.BICUBIC)
        )
        norm += amplitude**2 if k else 0
        amplitude *= persistence
    return total / np.float32(1.6 * np.sqrt(norm))
