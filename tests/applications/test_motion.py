"""A known motion is found again, though some of the points are wrong."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homolog.applications.motion import AT_REST, Motion, fit_motion


@given(
    scale=st.floats(0.92, 1.08),
    angle=st.floats(-0.2, 0.2),
    offset=st.tuples(st.floats(-50, 50), st.floats(-50, 50)),
    wrong=st.lists(st.integers(0, 35), max_size=12, unique=True),
    seed=st.integers(0, 99),
)
def test_motion_is_that_of_most_points(scale, angle, offset, wrong, seed):
    """Known where two thirds of the points agree, wherever the others are."""
    points = np.stack(np.meshgrid(range(6), range(6)), axis=-1).reshape(-1, 2) * 10.0
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    truth = points @ np.array([[cos, sin], [-sin, cos]]) + offset
    found = truth.copy()
    found[wrong] += np.random.default_rng(seed).uniform(40, 90, (len(wrong), 2))
    weights = np.random.default_rng(seed + 1).uniform(0.5, 1, 36)
    motion, agree = fit_motion(points, found, weights, AT_REST, 6.0)
    assert motion.scale == pytest.approx(scale, abs=0.02)
    assert np.abs(motion(points) - truth).max() < 1.5
    assert set(np.flatnonzero(~agree)) == set(wrong)


def test_sizes_change_by_little_from_frame_to_frame():
    points = np.stack(np.meshgrid(range(6), range(6)), axis=-1).reshape(-1, 2) * 10.0
    before = Motion(0.8 * np.eye(2), np.array([3.0, 5.0]))
    for wanted, expected in ((0.84, 0.84), (0.5, 0.8 / 1.1), (2.0, 0.8 * 1.1)):
        motion, _ = fit_motion(points, wanted * points, np.ones(36), before, 6.0)
        assert motion.scale == pytest.approx(expected, rel=1e-3)


def test_without_a_point_to_trust_nothing_breaks():
    points = np.array([[10.0, 10.0]] * 3)
    motion, agree = fit_motion(points, points + 5, np.zeros(3), AT_REST, 6.0)
    assert np.isfinite(motion.matrix).all() and agree.all()
