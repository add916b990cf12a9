"""Shapes laid over each other by similarities, against scipy and closed forms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import orthogonal_procrustes

from homolog.labelling import shapes

RNG = np.random.default_rng(0)


def test_the_fit_is_that_of_procrustes_analysis():
    """Without reflections, as scipy has it where its solution is a rotation."""
    source, target = RNG.normal(size=(2, 7, 2))
    source[:, 0] += 0.3 * target[:, 0]
    source, target = source - source.mean(0), target - target.mean(0)
    rotation, scale = orthogonal_procrustes(source, target)
    if np.linalg.det(rotation) < 0:  # scipy would reflect
        target = target * (-1, 1)
        rotation, scale = orthogonal_procrustes(source, target)
    factor, shift = shapes.fit_similarity(
        shapes.as_complex(source)[None], shapes.as_complex(target), np.ones((1, 7))
    )
    fitted = factor * shapes.as_complex(source) + shift
    expected = scale / (source**2).sum() * source @ rotation
    np.testing.assert_allclose(fitted, shapes.as_complex(expected), atol=1e-12)


@given(
    st.floats(-180, 180), st.floats(0.1, 10), st.floats(-100, 100), st.floats(-100, 100),
    st.integers(0, 5),
)  # fmt: skip
def test_a_similarity_is_undone_whatever_is_missing(angle, scale, x, y, missing):
    shape = shapes.as_complex(np.random.default_rng(1).normal(size=(8, 2)))
    moved = scale * np.exp(1j * np.radians(angle)) * shape + complex(x, y)
    given_shape = moved.copy()
    given_shape[:missing] = np.nan
    placed, distances = shapes.align(given_shape[None], shape)
    np.testing.assert_allclose(placed[0, missing:], shape[missing:], atol=1e-7)
    assert np.isnan(placed[0, :missing]).all()
    assert distances == pytest.approx([0], abs=1e-6)
    clockwise = shapes.turn(shape, moved)
    assert np.cos(np.radians(clockwise - angle)) == pytest.approx(1)


def test_a_mirror_image_does_not_fit():
    shape = shapes.as_complex(RNG.normal(size=(8, 2)))
    _, (same, reflected) = shapes.align(np.stack([shape, np.conj(shape)]), shape)
    assert same < 1e-9 < 0.2 < reflected


def test_mirroring_exchanges_the_names_of_both_sides():
    """An object that is symmetric is its own mirror image, and twice mirrored is once not."""
    left, right, tail = -1 + 0j, 1 + 0j, 0.3j
    shape = np.array([[left, right, tail]]) * np.exp(0.4j)
    mirror = (1, 0, 2)
    reflected = shapes.mirrored(shape, mirror)
    _, distance = shapes.align(reflected, shape[0])
    assert distance == pytest.approx([0], abs=1e-9)
    np.testing.assert_array_equal(shapes.mirrored(reflected, mirror), shape)


def test_one_misplaced_keypoint_does_not_turn_the_rest():
    shape = shapes.as_complex(RNG.normal(size=(12, 2)))
    spoiled = shape.copy()
    spoiled[0] += 4
    (placed,), _ = shapes.align(spoiled[None], shape)
    assert np.abs(placed - shape)[1:].max() < 0.05
    factor, shift = shapes.fit_similarity(spoiled[None], shape, np.ones((1, 12)))
    assert np.abs(factor * spoiled + shift - shape)[1:].max() > 0.3  # least squares alone


def test_too_few_shared_keypoints_are_infinitely_far():
    shape = shapes.as_complex(RNG.normal(size=(5, 2)))
    few = shape.copy()
    few[2:] = np.nan
    _, distances = shapes.align(np.stack([few, np.full(5, np.nan + 0j)]), shape)
    assert np.isinf(distances).all()


def test_the_size_does_not_depend_on_place_or_what_is_missing():
    points = np.array([0, 2, 2j, 2 + 2j, np.nan])
    assert shapes.shape_size(points) == pytest.approx(np.sqrt(2))
    assert shapes.shape_size(points + 7) == pytest.approx(np.sqrt(2))
