"""Procrustes superimposition and repeatability, against SciPy, closed forms and brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import orthogonal_procrustes
from scipy.spatial import procrustes

from homolog.labelling.morphometrics import object_lengths, repeatability, superimpose


def moved(shape, rng):
    """A shape somewhere else, of another size, turned."""
    angle, scale = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 5)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return scale * shape @ turn + rng.uniform(-100, 100, 2)


def shapes(count, landmarks=7, noise=0.1, seed=0):
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(landmarks, 2))
    varied = [base + noise * rng.normal(size=base.shape) for _ in range(count)]
    return np.array([moved(shape, rng) for shape in varied])


def test_similar_shapes_lie_over_each_other():
    found = superimpose(shapes(5, noise=0))
    assert found.residuals.max() < 1e-9 and found.distances.max() < 1e-9
    np.testing.assert_allclose(found.mean.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(found.mean), 1)


def test_centroid_sizes():
    square = np.array([[0, 0], [2, 0], [2, 2], [0, 2]], float)
    assert superimpose(square[None]).centroid_sizes.tolist() == pytest.approx([np.sqrt(8)])


def test_two_shapes_as_scipy_has_them():
    for seed in range(5):
        pair = shapes(2, noise=0.1, seed=seed)
        aligned = superimpose(pair).aligned
        *_, disparity = procrustes(*pair)
        # SciPy scales the second one, too: its disparity is the sine of the angle, squared, and
        # two shapes of size 1 are twice the sine of half that angle apart.
        angle = np.arcsin(np.sqrt(disparity))
        apart = np.linalg.norm(aligned[0] - aligned[1])
        assert apart == pytest.approx(2 * np.sin(angle / 2), rel=1e-6)


def test_each_shape_is_turned_best():
    found = superimpose(shapes(9, noise=0.2))
    for shape in found.aligned:
        rotation, _ = orthogonal_procrustes(shape, found.mean)
        np.testing.assert_allclose(rotation, np.eye(2), atol=1e-6)
        assert np.linalg.norm(shape) == pytest.approx(1)
    np.testing.assert_allclose(found.aligned.mean(axis=0), found.mean, atol=1e-12)


def test_nothing_is_reflected():
    shape = shapes(1)[0]
    found = superimpose(np.array([shape, shape * (-1, 1)]))
    assert found.distances.min() > 0.1
    assert procrustes(shape, shape * (-1, 1))[2] < 1e-12  # which reflects


def test_missing_landmarks():
    whole = shapes(6, noise=0)
    some = whole.copy()
    some[0, 0], some[1, [2, 3]], some[2, :5] = np.nan, np.nan, np.nan
    found = superimpose(some)
    np.testing.assert_allclose(np.nan_to_num(found.residuals), 0, atol=1e-9)
    assert (np.isnan(found.residuals) == np.isnan(some[..., 0])).all()
    rng = np.random.default_rng(0)
    noisy = shapes(30, noise=0.05)
    complete = superimpose(noisy).mean
    noisy[rng.random(noisy.shape[:2]) < 0.1] = np.nan
    incomplete = superimpose(noisy).mean
    *_, disparity = procrustes(complete, incomplete)
    assert disparity < 1e-3


def test_objects_without_shape():
    some = shapes(4)
    some[1] = np.nan
    some[2, 1:] = np.nan  # one landmark
    some[3] = some[3, 0]  # all in one place
    found = superimpose(some)
    assert np.isfinite(found.distances).tolist() == [True, False, False, False]
    assert np.isnan(superimpose(np.full((2, 3, 2), np.nan)).mean).all()
    never = shapes(3)
    never[:, 2] = np.nan
    found = superimpose(never)
    assert np.isnan(found.mean[2]).all() and np.isfinite(found.distances).all()


@given(st.lists(st.tuples(*2 * [st.integers(-9, 9)]), min_size=2, max_size=6))
def test_lengths_by_brute_force(points):
    shape = np.array(points, float)
    wanted = max(np.linalg.norm(p - q) for p, q in itertools.product(shape, shape))
    incomplete = np.concatenate([shape, [[np.nan, 3]]])
    assert object_lengths(incomplete[None])[0] == pytest.approx(wanted)
    assert np.isnan(object_lengths(np.full((1, 2, 2), np.nan)))[0]


def test_repeatability():
    first = shapes(40, noise=0.2)
    again = np.array([moved(shape, np.random.default_rng(n)) for n, shape in enumerate(first)])
    overall, each = repeatability(first, again)
    assert overall == pytest.approx(1) and each.tolist() == pytest.approx([1] * 7)
    # Labels of other objects say nothing of these.
    overall, _ = repeatability(first, shapes(40, noise=0.2, seed=0)[::-1].copy())
    assert abs(overall) < 0.2
    # The variance among objects is s², that of a label e²: the share is s² / (s² + e²).
    rng = np.random.default_rng(0)
    base = rng.normal(size=(9, 2)) * 10
    real = base + 0.3 * rng.normal(size=(1000, 9, 2))
    labels = [real + 0.4 * rng.normal(size=real.shape) for _ in range(2)]
    overall, each = repeatability(*labels)
    assert overall == pytest.approx(0.09 / 0.25, abs=0.03)
    assert np.abs(each - 0.36).max() < 0.12
    assert np.isnan(repeatability(first[:2], first[:2])[0])
