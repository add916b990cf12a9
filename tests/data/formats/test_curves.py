"""Curves: equal distances along lines, circles and polygons; names and sliders."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homolog.data.formats.landmarks.curves import curves_of, resample, sliders


def test_a_line_drawn_at_other_places():
    along = np.array([0, 0.1, 0.15, 0.7, 0.95, 1])
    points = np.array([2.0, 3.0]) + along[:, None] * np.array([8.0, -4.0])
    wanted = np.array([2.0, 3.0]) + np.linspace(0, 1, 9)[:, None] * np.array([8.0, -4.0])
    np.testing.assert_allclose(resample(points, 9), wanted, atol=1e-12)


def test_a_circle():
    angles = 2 * np.pi * np.linspace(0, 1, 5000) ** 3
    circle = 50 + 20 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    equal = 2 * np.pi * np.linspace(0, 1, 13)
    wanted = 50 + 20 * np.stack([np.cos(equal), np.sin(equal)], axis=1)
    np.testing.assert_allclose(resample(circle, 13), wanted, atol=1e-3)


@given(st.lists(st.tuples(*2 * [st.integers(0, 9)]), min_size=1, max_size=6), st.integers(2, 9))
def test_by_walking_along_the_curve(corners, count):
    points = np.array(corners, float)
    found = resample(points, count)
    assert found.shape == (count, 2)
    np.testing.assert_array_equal(found[[0, -1]], points[[0, -1]])
    lengths = np.linalg.norm(np.diff(points, axis=0), axis=1)
    for number, point in enumerate(found):
        left = lengths.sum() * number / (count - 1)
        at = points[0]
        for start, end, length in zip(points, points[1:], lengths, strict=False):
            if length and left > 0:
                at = start + (end - start) * min(left / length, 1)
            left -= length
        np.testing.assert_allclose(point, at, atol=1e-9)


def test_sliders_have_their_neighbours():
    assert sliders(0, [2, 1, 0]) == []
    assert sliders(3, [4, 3]) == [(4, 5, 6), (5, 6, 7), (8, 9, 10)]


@pytest.mark.parametrize("curves", [None, "ab", [[0, "x"]], [[5]], [[]], {"a": [0]}, [[True, -1]]])
def test_members_of_other_tools_are_no_curves(curves):
    assert curves_of({"keypoints": ["a", "b"], "curves": curves}) == []
