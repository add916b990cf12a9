"""Distractors: their size, position and kinds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homolog.synth.distractors import KINDS, random_shape


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(list(KINDS)), st.integers(0, 10_000))
def test_distractors_stand_on_the_ground_and_have_few_triangles(kind, seed):
    shape = random_shape(np.random.default_rng(seed), kind)
    assert shape.kind == kind
    low, high = shape.vertices.min(0), shape.vertices.max(0)
    assert (high - low).max() == pytest.approx(2)
    np.testing.assert_allclose([low[1], *(low + high)[[0, 2]]], 0, atol=1e-9)
    assert shape.triangles.min() >= 0 and shape.triangles.max() < len(shape.vertices)
    assert 4 <= len(shape.triangles) == len(shape.material_ids) < 15_000
    assert set(shape.material_ids) == set(range(len(shape.materials)))
    assert sum(shape.area_fractions) == pytest.approx(1)
    again = random_shape(np.random.default_rng(seed), kind)
    np.testing.assert_array_equal(shape.vertices, again.vertices)


def test_all_kinds_are_drawn():
    kinds = [random_shape(np.random.default_rng(seed)).kind for seed in range(120)]
    assert set(kinds) == set(KINDS)
