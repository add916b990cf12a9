"""Points from lists, files and grids."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from homolog import HomologError
from homolog.image.points import as_points, grid_points

SIZE = (100, 50)


def test_points_pass_through_unchanged():
    given_points = [[0.1, 0.2], [100, 50], [33.333333333333336, 7]]
    tensor = torch.tensor(given_points, dtype=torch.float64)
    for points in (given_points, np.array(given_points), tensor):
        found = as_points(points, SIZE)
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found, np.array(given_points))


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        ([], "expected at least one point"),
        (np.zeros((0, 2)), "expected at least one point"),
        ([[1, 2, 3]], "expected an array of K x 2"),
        ([[1, 2], [3]], "pairs of numbers"),
        (np.array([["a", "b"]]), "pairs of numbers"),
        (np.array([3, 4]), "expected an array of K x 2"),
        ([[1, 2], [float("nan"), 2]], "expected finite numbers, .* at index 1"),
        ([[float("inf"), 2]], "expected finite numbers, .* at index 0"),
        ([[1, 2], [100.1, 2]], "expected points in the image of 100 x 50 pixels, .* at index 1"),
        ([[1, -0.1]], "expected points in the image .* at index 0"),
    ],
)
def test_points_that_cannot_be_used(points, reason):
    with pytest.raises(HomologError, match=f"^points: .*{reason}"):
        as_points(points, SIZE)


@given(width=st.integers(1, 5000), height=st.integers(1, 5000), count=st.integers(1, 12))
def test_grids_are_even_and_inside(width, height, count):
    points = grid_points((width, height), count)
    as_points(points, (width, height))
    x, y = np.unique(points[:, 0]), np.unique(points[:, 1])
    assert max(len(x), len(y)) == count and len(points) == len(x) * len(y)
    np.testing.assert_allclose(points.mean(axis=0), (width / 2, height / 2))


def test_grids_on_a_mask():
    mask = np.zeros((50, 100), bool)
    mask[:, :50] = True
    points = grid_points(SIZE, 10, mask)
    assert len(points) == 25 and points[:, 0].max() < 50
    mask[:] = False
    mask[0, 0] = True
    for count, reason in ((2, "expected a point on the mask"), (0, "at least 1")):
        with pytest.raises(HomologError, match=reason):
            grid_points(SIZE, count, mask)
