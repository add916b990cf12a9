"""Rigs: where they face, and how their bones hang together."""

import numpy as np
from helpers.toy_models import BONES, rigged_animal
from helpers.toy_scenes import load_rigs

from homolog.synth import load_models
from homolog.synth.canonical import build_rigs
from homolog.synth.posing import find_legs
from homolog.synth.rig import Pose
from homolog.synth.transforms import axis_rotation


def test_the_bind_pose_is_that_of_the_file(tmp_path):
    (rig,), _ = load_rigs(
        rigged_animal(tmp_path / "beast.glb", rotation=axis_rotation([0, 1, 0], 90))
    )
    np.testing.assert_allclose(rig.skin(rig.pose_transforms(Pose())), rig.positions, atol=1e-9)


def test_feet_without_a_parent_follow_their_legs(tmp_path):
    (rig,), _ = load_rigs(rigged_animal(tmp_path / "a.glb", loose=True))
    node = {name: i for i, name in enumerate(rig.model.node_names)}
    for name, parent, _ in BONES:
        if parent is not None:
            assert rig.parents[node[name]] == node[parent]
    legs = find_legs(rig)
    assert sorted((leg.front, leg.side, len(leg.bones)) for leg in legs) == [
        (False, -1, 2), (False, 1, 2), (True, -1, 2), (True, 1, 2),
    ]  # fmt: skip
    longer = Pose(scales={node["FrontUpperLeg.L"]: np.diag([1, 2.0, 1])})
    moved = rig.pose_transforms(longer)
    lower = moved[node["FrontLowerLeg.L"]] @ [*rig.origins[node["FrontLowerLeg.L"]], 1]
    np.testing.assert_allclose(lower[:3], [0.25, 0.9 - 0.9, 0.5], atol=1e-6)


def test_left_bones_named_right_are_detected(tmp_path):
    swap = {".L": ".R", ".R": ".L"}
    models, _ = load_models(
        rigged_animal(tmp_path / "a.glb", rename=lambda n: n[:-2] + swap.get(n[-2:], n[-2:])).parent
    )
    rigs, skipped, _ = build_rigs(models)
    assert not rigs and "its head behind its tail" in skipped["a"]
