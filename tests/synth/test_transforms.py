"""Rotations and transforms, against SciPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation, Slerp

from homolog.synth.transforms import quaternion, rotation_between, slerp, transform_matrices

angles = st.floats(-np.pi, np.pi)


rotations = st.tuples(angles, angles, angles).map(lambda a: Rotation.from_euler("xyz", a))


@given(rotations, rotations, st.floats(0, 1))
def test_slerp(a, b, along):
    found = Rotation.from_quat(slerp(a.as_quat(), b.as_quat(), along))
    expected = Slerp([0, 1], Rotation.concatenate([a, b]))(along)
    if (a.inv() * b).magnitude() < np.pi - 1e-3:  # at 180 degrees both ways are short
        assert (found.inv() * expected).magnitude() < 1e-3


@given(rotations)
def test_matrices_and_quaternions(rotation):
    matrix = transform_matrices(np.zeros((1, 3)), rotation.as_quat()[None], np.ones((1, 3)))[
        0, :3, :3
    ]
    np.testing.assert_allclose(matrix, rotation.as_matrix(), atol=1e-12)
    back = Rotation.from_quat(quaternion(matrix))
    assert (back.inv() * rotation).magnitude() < 1e-6


@given(rotations, st.one_of(rotations.map(lambda b: b.as_matrix()[0]), st.floats(-12, 0)))
def test_rotations_between_directions(a, b):
    x = a.as_matrix()[0]
    if isinstance(b, float):  # all but opposite
        b = 10**b * a.as_matrix()[1] - x
        b /= np.linalg.norm(b)
    y = b
    rotation = rotation_between(x, y)
    np.testing.assert_allclose(rotation @ x, y, atol=1e-6)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-6)
    assert np.linalg.det(rotation) > 0
    angle = Rotation.from_matrix(rotation).magnitude()
    assert angle == pytest.approx(np.arccos(np.clip(x @ y, -1, 1)), abs=1e-4)
