"""Objects that are made up, against what geometry says of their parts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homolog.synth import appearance
from homolog.synth.distractors import (
    KINDS,
    _curve,
    _cylinder,
    _ellipsoid,
    _lump,
    _ring,
    _rounded,
    _tube,
    random_shape,
)
from homolog.synth.gltf import Material


def volume(mesh):
    """Of a closed mesh, positive if its triangles are counter-clockwise seen from outside."""
    points, faces = mesh
    a, b, c = (points[faces[:, k]] for k in range(3))
    return (a * np.cross(b, c)).sum() / 6


def open_edges(mesh):
    """How many edges are not shared by two triangles that run along them in opposite directions."""
    points, faces = mesh
    _, place = np.unique(points.round(9), axis=0, return_inverse=True)
    corners = place.ravel()[faces]
    corners = corners[(corners != np.roll(corners, 1, 1)).all(1)]
    edges = np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]])
    there, counts = np.unique(edges, axis=0, return_counts=True)
    known = {tuple(edge): n for edge, n in zip(there.tolist(), counts, strict=True)}
    return sum(known.get((b, a)) != n for (a, b), n in known.items())


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(list(KINDS)), st.integers(0, 10_000))
def test_objects_stand_on_the_ground_and_are_cheap(kind, seed):
    shape = random_shape(np.random.default_rng(seed), kind)
    assert shape.kind == kind
    low, high = shape.vertices.min(0), shape.vertices.max(0)
    assert (high - low).max() == pytest.approx(2)
    np.testing.assert_allclose([low[1], *(low + high)[[0, 2]]], 0, atol=1e-9)
    assert shape.triangles.min() >= 0 and shape.triangles.max() < len(shape.vertices)
    assert 4 <= len(shape.triangles) == len(shape.material) < 15_000
    assert set(shape.material) == set(range(len(shape.materials)))
    assert sum(shape.areas) == pytest.approx(1)
    again = random_shape(np.random.default_rng(seed), kind)
    np.testing.assert_array_equal(shape.vertices, again.vertices)


def test_all_kinds_come_up():
    kinds = [random_shape(np.random.default_rng(seed)).kind for seed in range(120)]
    assert set(kinds) == set(KINDS)


@pytest.mark.parametrize(
    ("mesh", "expected"),
    [
        (_rounded((0.5, 0.7, 0.9), rings=40), 4 / 3 * np.pi * 0.5 * 0.7 * 0.9),
        (_rounded((0.5, 0.7, 0.9), 0.01, 0.01, rings=40), 8 * 0.5 * 0.7 * 0.9),
        (_cylinder((1, 2, 3), (1, 4, 3), 0.5, 90), np.pi * 0.25 * 2),
        (_cylinder((0, 0, 0), (1, 0, 0), 0.5, 90, 0.0), np.pi * 0.25 / 3),
        (_tube(np.linspace((0, 0, 0), (1, 2, 2), 5), 0.1, 90), np.pi * 0.01 * 3),
        (_ring(0.8, 0.1, 90, 60), 2 * np.pi**2 * 0.8 * 0.01),
        (_lump([_ellipsoid((1, 0, 2), (0.5, 0.5, 0.5))], 0.02), 4 / 3 * np.pi * 0.125),
        (_lump([_ellipsoid((0, 0, 0), (0.5, 0.3, 0.4)), _ellipsoid((2, 1, 0), (0.4, 0.4, 0.4))],
               0.02, cells=60), 4 / 3 * np.pi * (0.06 + 0.064)),
    ],
    ids=["ball", "block", "cylinder", "cone", "tube", "ring", "lump", "two lumps"],
)  # fmt: skip
def test_solids_are_closed_and_of_their_volume(mesh, expected):
    assert open_edges(mesh) == 0
    assert abs(volume(mesh)) == pytest.approx(expected, rel=0.06)


def test_lumps_that_touch_are_one_smooth_body():
    two = [_ellipsoid((x, 0, 0), (0.5, 0.5, 0.5)) for x in (-0.4, 0.4)]
    points, faces = _lump(two, 0.05)
    assert open_edges((points, faces)) == 0
    assert np.hypot(points[:, 1], points[:, 2])[np.abs(points[:, 0]) < 0.03].min() > 0.28
    # Without a blend the waist would be at sqrt(0.5**2 - 0.4**2) = 0.3.
    waist = np.hypot(points[:, 1], points[:, 2])[np.abs(points[:, 0]) < 0.02]
    assert waist.mean() > 0.31


def test_curves_go_through_their_points():
    points = np.random.default_rng(0).normal(size=(5, 3))
    np.testing.assert_allclose(_curve(points, 41)[::10], points, atol=1e-6)


def test_finishes():
    """Hair and colours are anyone's; mirrors are mostly objects'; tyres are dull, chrome shines."""

    def coats(animal):
        made = [
            appearance.Coat(np.random.default_rng(seed), [Material("body", (0.3, 0.2, 0.1))], [1.0],
                       animal)
            for seed in range(400)
        ]  # fmt: skip
        return np.mean([coat.mirror[0] > 0 for coat in made]), np.mean(
            [coat.clear[0] > 0 for coat in made]
        )

    (animals, clear), (others, seen_through) = coats(True), coats(False)
    assert 0.05 < animals < 0.16 and clear == 0
    assert 0.4 < others < 0.58 and 0.04 < seen_through < 0.13
    parts = [Material(name, (0.3, 0.2, 0.1)) for name in ("black tyre", "chrome rim", "window")]
    made = [
        appearance.Coat(np.random.default_rng(seed), parts, [0.3, 0.4, 0.3], False)
        for seed in range(60)
    ]
    assert not any(coat.mirror[0] for coat in made)
    assert np.mean([coat.metal[1] for coat in made]) > 0.6
    assert all(coat.mirror[2] > 0 and coat.colours[2].max() < 0.15 for coat in made)
