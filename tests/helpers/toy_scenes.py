"""Rigs of toy models, a scene to look at from behind, and a tracer to compare with."""

from __future__ import annotations

import numpy as np

from homolog.synth.appearance.light import random_light
from homolog.synth.appearance.materials import ProceduralMaterial
from homolog.synth.camera import Camera
from homolog.synth.canonical import build_rigs
from homolog.synth.gltf import read_model
from homolog.synth.instances import place_on_ground
from homolog.synth.rig import Pose
from homolog.synth.scene import Scene

SIZE = 40


def load_rigs(*paths):
    """Rigs of models that can all be used, and their keypoints."""
    rigs, skipped, keypoints = build_rigs([read_model(path) for path in paths])
    assert not skipped
    return rigs, keypoints


def scene_from_behind(rig, height=0.3):
    """A scene whose only object faces away from the camera."""
    material = ProceduralMaterial(np.random.default_rng(0), rig.model.materials, [1])
    instance = place_on_ground(rig, Pose(), "bind", material)
    camera = Camera(
        np.array([0, height, -6.0]), np.array([[-1.0, 0, 0], [0, -1, 0], [0, 0, 1]]),
        2 * SIZE, np.array([SIZE / 2, SIZE / 2 + 8]),
    )  # fmt: skip
    light = random_light(np.random.default_rng(0))
    return Scene([instance], [], camera, light, np.full((SIZE, SIZE, 3), 0.5, np.float32), None)


def trace_by_brute_force(vertices, triangles, origin, directions):
    """The first hit of each ray, by Möller and Trumbore's test with every triangle.

    Returns:
        The triangles (-1 for none), barycentric coordinates, and distances, in double precision.
    """
    a, b, c = (vertices[triangles[:, k]].astype(float) for k in range(3))
    ab, ac, start = b - a, c - a, origin - a
    best = np.full(len(directions), np.inf)
    which = np.full(len(directions), -1)
    weights = np.zeros((len(directions), 3))
    q = np.cross(start, ab)
    for i, ray in enumerate(directions.astype(float)):
        p = np.cross(ray, ac)
        det = (ab * p).sum(1)
        with np.errstate(divide="ignore", invalid="ignore"):
            u, v = (start * p).sum(1) / det, (q @ ray) / det
            t = (q * ac).sum(1) / det
            hit = (u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0) & np.isfinite(t)
        if hit.any():
            k = np.flatnonzero(hit)[np.argmin(t[hit])]
            best[i], which[i], weights[i] = t[k], k, (1 - u[k] - v[k], u[k], v[k])
    return which, weights, best
