"""Solids that distractors are built from, against geometry."""

import numpy as np
import pytest

from homolog.synth.distractors.primitives import (
    blend_ellipsoids,
    catmull_rom,
    cylinder,
    ellipsoid,
    superellipsoid,
    torus,
    tube,
)

TWO = [ellipsoid((0, 0, 0), (0.5, 0.3, 0.4)), ellipsoid((2, 1, 0), (0.4, 0.4, 0.4))]


def volume(mesh):
    """The volume of a closed mesh; positive if triangles are counter-clockwise from outside."""
    points, faces = mesh
    a, b, c = (points[faces[:, k]] for k in range(3))
    return (a * np.cross(b, c)).sum() / 6


def open_edges(mesh):
    """How many edges are not shared by two triangles that run along them in opposite directions."""
    points, faces = mesh
    _, weld_ids = np.unique(points.round(9), axis=0, return_inverse=True)
    corners = weld_ids.ravel()[faces]
    corners = corners[(corners != np.roll(corners, 1, 1)).all(1)]
    edges = np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]])
    there, counts = np.unique(edges, axis=0, return_counts=True)
    known = {tuple(edge): n for edge, n in zip(there.tolist(), counts, strict=True)}
    return sum(known.get((b, a)) != n for (a, b), n in known.items())


@pytest.mark.parametrize(
    ("mesh", "expected"),
    [
        (superellipsoid((0.5, 0.7, 0.9), rings=40), 4 / 3 * np.pi * 0.5 * 0.7 * 0.9),
        (superellipsoid((0.5, 0.7, 0.9), 0.01, 0.01, rings=40), 8 * 0.5 * 0.7 * 0.9),
        (cylinder((1, 2, 3), (1, 4, 3), 0.5, 90), np.pi * 0.25 * 2),
        (cylinder((0, 0, 0), (1, 0, 0), 0.5, 90, 0.0), np.pi * 0.25 / 3),
        (tube(np.linspace((0, 0, 0), (1, 2, 2), 5), 0.1, 90), np.pi * 0.01 * 3),
        (torus(0.8, 0.1, 90, 60), 2 * np.pi**2 * 0.8 * 0.01),
        (blend_ellipsoids([ellipsoid((1, 0, 2), (0.5, 0.5, 0.5))], 0.02), 4 / 3 * np.pi * 0.125),
        (blend_ellipsoids(TWO, 0.02, cells=60), 4 / 3 * np.pi * (0.06 + 0.064)),
    ],
    ids=["ball", "block", "cylinder", "cone", "tube", "ring", "lump", "two lumps"],
)
def test_solids_are_closed_and_have_their_volume(mesh, expected):
    assert open_edges(mesh) == 0
    assert abs(volume(mesh)) == pytest.approx(expected, rel=0.06)


def test_ellipsoids_that_touch_blend_into_one_body():
    two = [ellipsoid((x, 0, 0), (0.5, 0.5, 0.5)) for x in (-0.4, 0.4)]
    points, faces = blend_ellipsoids(two, 0.05)
    assert open_edges((points, faces)) == 0
    assert np.hypot(points[:, 1], points[:, 2])[np.abs(points[:, 0]) < 0.03].min() > 0.28
    # Without a blend the waist would be at sqrt(0.5**2 - 0.4**2) = 0.3.
    waist = np.hypot(points[:, 1], points[:, 2])[np.abs(points[:, 0]) < 0.02]
    assert waist.mean() > 0.31


def test_splines_pass_through_their_points():
    points = np.random.default_rng(0).normal(size=(5, 3))
    np.testing.assert_allclose(catmull_rom(points, 41)[::10], points, atol=1e-6)
