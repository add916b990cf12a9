"""Interpolation of animations, against NumPy and SciPy."""

import numpy as np
from helpers.toy_models import rigged_animal
from helpers.toy_scenes import load_rigs
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import CubicHermiteSpline
from scipy.spatial.transform import Rotation

from homolog.synth.animation import sample_track
from homolog.synth.model import Track
from homolog.synth.rig import Pose


@given(st.floats(-0.5, 2.5))
def test_interpolation_between_key_frames(time):
    times, values = np.array([0.0, 0.5, 2.0]), np.array([[0.0, 1, 2], [3, 1, 0], [-1, 4, 1]])
    inside = float(np.clip(time, 0, 2))
    linear = sample_track(Track(0, "translation", times, values, "LINEAR"), time)
    np.testing.assert_allclose(linear, [np.interp(time, times, column) for column in values.T])
    step = sample_track(Track(0, "translation", times, values, "STEP"), time)
    np.testing.assert_allclose(step, values[np.searchsorted(times, inside, side="right") - 1])
    tangents = np.array([[1.0, 0, -1], [2, 2, 2], [0, 1, 0]])
    spline = Track(
        0, "translation", times, np.stack([tangents, values, tangents], 1), "CUBICSPLINE"
    )
    np.testing.assert_allclose(
        sample_track(spline, time), CubicHermiteSpline(times, values, tangents)(inside), atol=1e-9
    )


def test_an_animation_moves_all_that_follows_its_bone(tmp_path):
    (rig,), _ = load_rigs(rigged_animal(tmp_path / "beast.glb"))
    posed = rig.skin(rig.pose_transforms(Pose("Nod", 0.5)))
    moving = np.isin(
        rig.dominant_node, [n for n, b in enumerate(rig.base_names) if b in ("neck", "head", "ear")]
    )
    neck = np.array([0, 1, 0.6])
    rotation = Rotation.from_euler("x", 15, degrees=True)
    expected = np.where(moving[:, None], rotation.apply(rig.positions - neck) + neck, rig.positions)
    np.testing.assert_allclose(posed, expected, atol=1e-6)
