"""Random cameras: what they see of their subject."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homolog.synth.scene import random_scene


@settings(max_examples=40)
@given(st.integers(0, 10_000))
def test_cameras_are_rotations_and_see_their_subject(rigs, seed):
    rng = np.random.default_rng(seed)
    scene = random_scene(rigs.all[:1], rng, 100)
    camera = scene.camera
    np.testing.assert_allclose(camera.rotation @ camera.rotation.T, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(camera.rotation), 1)
    pixels = rng.uniform(0, 100, (5, 2))
    there = camera.position + camera.rays(pixels) * rng.uniform(0.5, 9, (5, 1))
    np.testing.assert_allclose(camera.project(there)[0], pixels, atol=1e-6)
    places, depth = camera.project(scene.instances[0].vertices)
    assert (depth > 0).all()
    extent = np.ptp(places, axis=0).max() / 100
    assert 0.25 < extent < 1.6
    assert scene.instances[0].vertices[:, 1].min() == pytest.approx(0, abs=1e-9)
