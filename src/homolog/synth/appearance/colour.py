"""Conversion between linear and encoded colours, and functions on colours used everywhere."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

COAT_COLOURS = (
    (24, 21, 20), (38, 34, 33), (58, 38, 26), (84, 54, 34), (112, 72, 42), (142, 88, 48),
    (160, 92, 44), (186, 140, 90), (204, 158, 98), (222, 196, 152), (232, 220, 196),
    (238, 234, 228), (150, 148, 144), (112, 112, 112), (74, 74, 76), (96, 102, 112),
    (128, 104, 84), (176, 160, 140),
)  # fmt: skip
"""Colours of animals' coats, sRGB, 0..255."""

_GAMMA = 2.2


def srgb_to_linear(colour: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Convert sRGB values (0..1) to linear ones.

    A gamma of 2.2 stands for the exact sRGB curve: rendered sets depend on it.
    """
    return power(np.asarray(colour, np.float32), _GAMMA)


def linear_to_srgb(colour: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Convert linear values, clipped to 0..1, to sRGB; with a gamma of 2.2, not its curve."""
    return power(np.clip(colour, 0, 1), 1 / _GAMMA)


def power(x: Float[np.ndarray, "..."], exponent: float) -> Float[np.ndarray, "..."]:
    """Raise values from 0 to a power, in float32."""
    # NumPy vectorises exp and log but not the power: half the time.
    return np.exp(np.log(np.maximum(x, np.float32(1e-12))) * np.float32(exponent))


def smoothstep(x: Float[np.ndarray, "..."], low: float, high: float) -> Float[np.ndarray, "..."]:
    """0 below `low`, 1 above `high`, a cubic in between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def random_coat_colour(rng: np.random.Generator, any_colour: float = 0.1) -> Float[np.ndarray, "3"]:
    """A random colour of an animal's coat, linear RGB.

    Args:
        rng: source of randomness.
        any_colour: probability of any colour at all instead.
    """
    if rng.random() < any_colour:
        return (rng.random(3) ** 1.5 * 0.8 + 0.02).astype(np.float32)
    srgb = np.array(COAT_COLOURS[int(rng.integers(len(COAT_COLOURS)))]) + rng.normal(0, 8, 3)
    return srgb_to_linear(np.clip(srgb, 6, 250) / 255)
