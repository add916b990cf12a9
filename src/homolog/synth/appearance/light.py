"""The light of a scene."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Light:
    """A sun or lamp, and diffuse light from above and below; in the world, where y is up.

    Attributes:
        direction: unit vector towards the sun or lamp.
        sun: its colour and strength.
        sky: diffuse light from above.
        bounce: diffuse light from below.
        spread: how far the sun's rays differ in direction, as a tangent; 0 makes hard shadows.
    """

    direction: Float[np.ndarray, "3"]
    sun: Float[np.ndarray, "3"]
    sky: Float[np.ndarray, "3"]
    bounce: Float[np.ndarray, "3"]
    spread: float


def random_light(rng: np.random.Generator) -> Light:
    """Random light, from the sun at noon to a lamp indoors."""
    elevation = np.deg2rad(rng.uniform(12, 88))
    azimuth = rng.uniform(0, 2 * np.pi)
    direction = np.array(
        [
            np.cos(elevation) * np.cos(azimuth),
            np.sin(elevation),
            np.cos(elevation) * np.sin(azimuth),
        ]
    )
    warmth = rng.normal(0, 0.13)
    sun = np.array([1 + warmth, 1.0, 1 - warmth])
    coldness = rng.normal(0, 0.1)
    sky = np.array([1 - coldness, 1.0, 1 + coldness])
    share = rng.uniform(0.1, 0.85)
    strength = rng.uniform(0.9, 1.6)
    bounce = rng.uniform(0.1, 0.6) * (1 + rng.normal(0, 0.1, 3))
    above = sky * (1 - share) * strength
    return Light(
        direction.astype(np.float32),
        (sun * share * strength * 1.5).astype(np.float32),
        above.astype(np.float32),
        (above * bounce).astype(np.float32),
        float(rng.choice([0.01, 0.1, 0.4])),
    )
