"""Instances of models, placed in a scene."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from homolog.synth.appearance.materials import ProceduralMaterial
from homolog.synth.instances import place_on_ground
from homolog.synth.posing import random_pose


@settings(max_examples=40)
@given(st.integers(0, 10_000))
def test_nothing_is_ever_mirrored(rigs, seed):
    rng = np.random.default_rng(seed)
    rig = rigs.all[0]
    pose, name = random_pose(rig, rng)
    material = ProceduralMaterial(rng, rig.model.materials, [1])
    instance = place_on_ground(rig, pose, name, material)
    instance = instance.moved(rng.uniform(0, 360), rng.normal(size=3))
    np.testing.assert_allclose(np.linalg.det(instance.axes), 1)
    # Its left, up and front in that order are right-handed, as seen on its own skeleton.
    across = instance.keypoints["left_back_upper_leg"] - instance.keypoints["right_back_upper_leg"]
    along = instance.keypoints["neck"] - instance.keypoints["torso"]
    up = (
        instance.keypoints["torso"]
        - (
            instance.keypoints["left_back_lower_leg_tip"]
            + instance.keypoints["right_back_lower_leg_tip"]
        )
        / 2
    )
    assert np.linalg.det(np.stack([across, up, along], 1)) > 0
    assert across @ instance.axes[:, 0] > 0 and along @ instance.axes[:, 2] > 0
