"""Canonical coordinates: the same part has the same ones in all models."""

import numpy as np
import pytest
from helpers.toy_models import BONES, BOXES, box, rigged_animal
from helpers.toy_scenes import load_rigs

from homolog import KeypointSchema
from homolog.synth.transforms import axis_rotation

CONVENTIONS = {
    "dots": lambda name: name,
    "words": lambda name: (
        ("Left" if ".L" in name else "Right" if ".R" in name else "") + name.partition(".")[0]
    ),
    "underscores": lambda name: name.lower().replace(".", "_"),
    "glued": lambda name: name.replace(".", ""),
}


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("angle", [0, 90, 217])
def test_left_is_left_whatever_the_naming_and_orientation(tmp_path, convention, angle):
    path = rigged_animal(
        tmp_path / "a.glb", rename=CONVENTIONS[convention], rotation=axis_rotation([0, 1, 0], angle)
    )
    (rig,), keypoints = load_rigs(path)
    assert rig.has_sides
    corners = np.concatenate(
        [box(*ends)[0] for ends in BOXES.values()]
    )  # before rotation: left is +x
    found = rig.canonical[: len(corners)]
    off = np.abs(corners[:, 0]) > 0.01
    assert (np.sign(found[off, 0]) == np.sign(corners[off, 0])).all()
    # A vertex and its mirror image are each other's mirror image.
    for vertex, point in zip(corners, found, strict=True):
        other = np.flatnonzero(np.abs(corners - vertex * [-1, 1, 1]).max(1) < 1e-9)
        gaps = np.abs(found[other] - point * [-1, 1, 1]).max(1)
        assert gaps.min() < 1e-6
    assert keypoints["nose"][1] > 0.5 > -0.5 > keypoints["tail_tip"][1]
    assert found[:, 2].argmax() in np.flatnonzero(corners[:, 1] > 2)


def test_the_same_part_has_the_same_coordinates_in_all_models(tmp_path):
    paths = [
        rigged_animal(tmp_path / "a.glb"),
        rigged_animal(
            tmp_path / "b.glb", stretch=(1.5, 0.8, 1.1), rotation=axis_rotation([0, 1, 0], 120)
        ),
        rigged_animal(tmp_path / "c.glb", stretch=(30, 55, 60), ears=False),
        rigged_animal(tmp_path / "d.glb", loose=True),
    ]
    (a, b, c, d), keypoints = load_rigs(*paths)
    for other in (b, d):
        assert np.abs(a.canonical - other.canonical).max() < 0.12
    ears = np.array([base == "ear" for base in a.base_names])[
        a.dominant_node
    ]  # c has no bones there
    assert np.abs(a.canonical - c.canonical)[~ears].max() < 0.15
    assert "left_ear" not in c.landmarks and "left_ear" in a.landmarks
    tails = np.array([base.startswith("tail") for base in a.base_names])[a.dominant_node]
    body = np.concatenate([r.canonical[~tails] for r in (a, b)])
    assert body[:, 1].min() == pytest.approx(-1, abs=0.1)
    assert body[:, 1].max() == pytest.approx(1, abs=0.1)
    # Keypoints are where their bones are, and pair up.
    schema = KeypointSchema.from_names(list(keypoints))
    sided = [n for n in keypoints if n.startswith(("left_", "right_"))]
    assert len(sided) >= 14
    for name in sided:
        twin = schema.names[schema.mirror[schema.names.index(name)]]
        assert twin != name
        np.testing.assert_allclose(
            np.array(keypoints[name]) * [-1, 1, 1], keypoints[twin], atol=1e-3
        )


def test_without_sides_in_names_the_symmetry_plane_is_used(tmp_path):
    numbered = {name: f"bone {i}" for i, (name, _, _) in enumerate(BONES)}
    (rig,), keypoints = load_rigs(rigged_animal(tmp_path / "a.glb", rename=numbered.get))
    assert not rig.has_sides and rig.notes and not keypoints
    off = np.abs(rig.positions[:, 0]) > 0.01
    assert (np.sign(rig.canonical[off, 0]) == np.sign(rig.positions[off, 0])).all()
