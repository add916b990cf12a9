"""The symmetry plane of a model whose skeleton does not tell left from right."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from homolog import moved
from homolog.synth.model import ModelError


def surface_points(
    positions: Float[np.ndarray, "V 3"], triangles: Int[np.ndarray, "M 3"], count: int
) -> Float[np.ndarray, "count 3"]:
    """Points spread evenly over a mesh, the same ones at every call."""
    generator = np.random.default_rng(0)
    a, b, c = (positions[triangles[:, k]] for k in range(3))
    areas = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    chosen = np.searchsorted(np.cumsum(areas) / areas.sum(), (np.arange(count) + 0.5) / count).clip(
        max=len(a) - 1
    )
    u, v = generator.random((2, count, 1))
    over = u + v > 1
    u, v = np.where(over, 1 - u, u), np.where(over, 1 - v, v)
    return a[chosen] + u * (b - a)[chosen] + v * (c - a)[chosen]


def symmetry_transform(
    positions: Float[np.ndarray, "V 3"], triangles: Int[np.ndarray, "M 3"]
) -> Float[np.ndarray, "4 4"]:
    """The rigid transform after which a mesh is symmetric across the plane x = 0.

    Planes through the centroid are tried: across the coordinate axes, across the principal axes
    and upright in steps of 15 degrees, the best of which is refined. Among upright planes, the one
    across x is preferred, since the front of a glTF model is at +z.

    Raises:
        ModelError: there is no symmetry plane, or it does not tell front from back.
    """
    points = surface_points(positions, triangles, 500)
    dense = surface_points(positions, triangles, 3000)
    centre = surface_points(positions, triangles, 20_000).mean(0)
    size = float(np.linalg.norm(np.ptp(positions, axis=0)))
    centred = points - centre

    def score(normal: Float[np.ndarray, "3"]) -> float:
        mirrored = centred - 2 * np.outer(centred @ normal, normal) + centre
        return _mean_nearest_distance(mirrored, dense) / size

    _, _, principal = np.linalg.svd(centred - centred.mean(0), full_matrices=False)
    candidates = [np.array([1.0, 0, 0]), np.array([0, 0, 1.0]), np.array([0, 1.0, 0])]
    candidates += list(principal) + [_horizontal(angle) for angle in range(15, 180, 15)]
    scores = [score(normal) for normal in candidates]
    upright = [(s, n) for s, n in zip(scores, candidates, strict=True) if abs(n[1]) < 0.05]
    best, normal = min(upright, key=lambda entry: entry[0])
    angle = float(np.rad2deg(np.arctan2(normal[2], normal[0])))
    for step in (6, 3, 1.5, 0.7, 0.3):
        for nearby in (angle - step, angle + step):
            if (nearby_score := score(_horizontal(nearby))) < best:
                best, angle = nearby_score, nearby
    candidates.append(_horizontal(angle))
    scores.append(best)
    limit = max(0.012, 1.3 * min(scores))
    if min(scores) > 0.02:
        raise ModelError("has neither sides in its bones' names nor a symmetry plane")
    vertical = [
        (abs(n[0]) < 0.999, s, n)
        for n, s in zip(candidates, scores, strict=True)
        if abs(n[1]) < 0.05 and s <= limit
    ]
    if not vertical:
        raise ModelError("has a horizontal symmetry plane, which does not tell left from right")
    normal = min(vertical, key=lambda entry: (entry[0], entry[1]))[2]
    if abs(normal[0]) < 0.5:
        raise ModelError(
            "has a symmetry plane across its length, which does not tell front from back"
        )
    normal = normal * np.sign(normal[0])
    normal = np.array([normal[0], 0, normal[2]]) / np.hypot(normal[0], normal[2])
    transform = np.eye(4)
    transform[:3, :3] = np.stack([normal, [0.0, 1, 0], np.cross(normal, [0.0, 1, 0])])
    transform[0, 3] = -(normal @ centre)
    return transform


def _horizontal(angle: float) -> Float[np.ndarray, "3"]:
    """The horizontal unit vector at an angle in degrees from x to z."""
    return np.array([np.cos(np.deg2rad(angle)), 0, np.sin(np.deg2rad(angle))])


def _mean_nearest_distance(
    points: Float[np.ndarray, "p 3"], others: Float[np.ndarray, "q 3"]
) -> float:
    """The mean distance from points to the nearest of other points."""
    total = 0.0
    squares = (others**2).sum(1)
    for start in range(0, len(points), 250):
        part = points[start : start + 250]
        near = (part**2).sum(1)[:, None] - 2 * part @ others.T + squares
        total += float(np.sqrt(near.min(1).clip(min=0)).sum())
    return total / len(points)


def __getattr__(name: str) -> Any:
    return moved.attribute(__name__, name)
