"""Colours of drawings."""

from __future__ import annotations

import colorsys

import numpy as np
from jaxtyping import Float

from homolog.image.geometry import interpolate

Colour = tuple[float, float, float]
"""Red, green and blue, 0 to 1."""

INK = "#1c1c28"
"""Colour of text."""
LEFT, RIGHT = (0.12, 0.47, 0.96), (1.0, 0.5, 0.05)
"""Colours of an object's own left and right side."""
CORRECT, WRONG = "#1a9850", "#d73027"
"""Colours of correct and of wrong predictions."""
CURVES = ("#1f4e9e", "#d9660a", "#1a9850", "#8b2fa3")
"""Colours of the curves of a chart, in order."""


def colours_by_position(points: Float[np.ndarray, "K 2"], size: tuple[int, int]) -> list[Colour]:
    """A distinct colour for each point, such that neighbouring points have similar hues.

    Args:
        points: (x, y) in pixels.
        size: width and height of the image that they are on.
    """
    from matplotlib.colors import hsv_to_rgb

    if not len(points):
        return []
    positions = points / size
    from_centre = positions - positions.mean(axis=0)
    angles = np.arctan2(from_centre[:, 1], from_centre[:, 0])
    # Evenly spaced hues in the order of the angles: distinct wherever the points lie.
    hue = np.empty(len(points))
    hue[np.argsort(angles, kind="stable")] = np.arange(len(points)) / max(1, len(points))
    radius = np.linalg.norm(from_centre, axis=1)
    value = 0.72 + 0.25 * radius / max(radius.max(), 1e-9)
    colours = hsv_to_rgb(np.stack([hue, np.full_like(hue, 0.85), value], axis=1))
    return [tuple(colour) for colour in colours]


def colours_by_index(count: int) -> list[Colour]:
    """Distinct colours that depend on the number of points alone, for points that move."""
    return [colorsys.hsv_to_rgb(index / count, 0.85, 0.95) for index in range(count)]


def colour_map(
    positions: Float[np.ndarray, "height width 2"],
) -> Float[np.ndarray, "height width 3"]:
    """Colours of positions in an image, blended from one colour at each corner.

    Args:
        positions: (x, y) in shares of the image's width and height; clipped to 0..1.
    """
    corners = np.array(
        [[[0.90, 0.20, 0.20], [0.98, 0.80, 0.10]], [[0.35, 0.20, 0.80], [0.10, 0.70, 0.45]]]
    )
    flat = np.clip(positions, 0, 1).reshape(-1, 2)
    return interpolate(corners, flat).reshape(*positions.shape[:2], 3)


def text_colour_on(colour: Colour) -> str:
    """The colour, dark or white, in which text is readable on a background."""
    luminance = float(np.dot(colour, (0.299, 0.587, 0.114)))
    return INK if luminance > 0.55 else "white"
