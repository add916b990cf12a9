"""Random poses and proportions."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.toy_models import BOXES, rigged_animal
from helpers.toy_scenes import load_rigs
from hypothesis import given
from hypothesis import strategies as st

from homolog.synth.canonical import build_rigs
from homolog.synth.gltf import read_model
from homolog.synth.model import Track
from homolog.synth.posing import posing_error, random_bone_scales, random_pose
from homolog.synth.rig import Pose


@given(st.integers(0, 1000))
def test_random_proportions_are_symmetric(rigs, seed):
    rig = rigs.all[0]
    pose = Pose(scales=random_bone_scales(rig, np.random.default_rng(seed)))
    count = 8 * len(BOXES)
    found = rig.skin(rig.pose_transforms(pose))[:count]
    start = rig.positions[:count]
    for vertex, point in zip(start, found, strict=True):
        other = np.abs(start - vertex * [-1, 1, 1]).max(1) < 1e-6
        assert np.abs(found[other] - point * [-1, 1, 1]).max(1).min() < 1e-6
    assert not np.allclose(found, start)


@pytest.mark.parametrize("seed", range(5))
def test_poses_keep_the_body_together(tmp_path, seed):
    (rig,), _ = load_rigs(rigged_animal(tmp_path / "a.glb"))
    pose, name = random_pose(rig, np.random.default_rng(seed))
    vertices = rig.skin(rig.pose_transforms(pose))
    assert name == "Nod" and np.isfinite(vertices).all()
    assert 0.4 < np.ptp(vertices, axis=0).max() / np.ptp(rig.positions, axis=0).max() < 2.5
    rotation = rig.trunk_rotation(vertices)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
    assert rotation[2, 2] > 0.9 and np.linalg.det(rotation) > 0


def test_a_model_that_falls_apart_is_detected(tmp_path):
    model = read_model(rigged_animal(tmp_path / "a.glb"))
    (rig,), _, _ = build_rigs([model])
    assert posing_error(rig) is None
    track = model.animations["Nod"][0]
    far = Track(track.node, "translation", track.times, np.full((2, 3), 1e3), "LINEAR")
    (wild,), _, _ = build_rigs([replace(model, animations={"Blast": (far,)})])
    assert posing_error(wild) == "falls apart when it is posed (Blast)"
