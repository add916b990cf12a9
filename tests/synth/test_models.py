"""Models as they are read, posed, reshaped and brought into one space."""

import io
import json
from dataclasses import replace

import numpy as np
import pygltflib as gl
import pytest
from helpers.toy_models import BONES, BOXES, CHAIR, beast, box, still
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.interpolate import CubicHermiteSpline
from scipy.spatial import KDTree
from scipy.spatial.transform import Rotation, Slerp

from homolog import HomologError, KeypointSchema
from homolog.synth import load_models
from homolog.synth.canonical import prepare
from homolog.synth.gltf import ModelError, Track, matrices, normals, quaternion, read
from homolog.synth.names import base_of, group_of, keypoint_name, side_of
from homolog.synth.posing import legs, random_pose, random_shape, unposable
from homolog.synth.rig import Pose, about, at, slerp, swing
from homolog.synth.symmetry import symmetry

angles = st.floats(-np.pi, np.pi)
turns = st.tuples(angles, angles, angles).map(lambda a: Rotation.from_euler("xyz", a))


def prepared(*paths):
    rigs, left_out, keypoints = prepare([read(path) for path in paths])
    assert not left_out
    return rigs, keypoints


# Reading.


def test_a_model_stands_as_its_file_says(tmp_path):
    model = read(beast(tmp_path / "beast.glb"))
    corners = np.concatenate([box(*ends)[0] for ends in BOXES.values()])
    np.testing.assert_allclose(model.positions[: len(corners)], corners, atol=1e-6)
    assert model.name == "beast" and model.skinned and list(model.animations) == ["Nod"]
    np.testing.assert_allclose(model.weights.sum(1), 1)
    assert len(model.triangles) >= 6000 and model.triangles.max() < len(model.positions)
    np.testing.assert_allclose(model.materials[0].colour, (0.5, 0.3, 0.2))


def test_normals_point_outwards(tmp_path):
    model = read(still(tmp_path / "box.glb", [((-1, -1, -1), (1, 1, 1))]))
    found = normals(model.positions, model.triangles, model.welded)
    assert ((found * model.positions).sum(1) > 0).all()
    # Boxes stay boxes however fine they are made.
    np.testing.assert_allclose(np.abs(model.positions).max(1), 1, atol=1e-6)


def test_a_mirrored_node_does_not_turn_a_model_inside_out(tmp_path):
    model = read(still(tmp_path / "box.glb", [((-1, -1, -1), (1, 1, 1))], scale=[-1, 1, 1]))
    found = normals(model.positions, model.triangles, model.welded)
    assert ((found * model.positions).sum(1) > 0).all()


def test_textures(tmp_path):
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (10, 200, 30)).save(buffer, "PNG")
    painted = read(beast(tmp_path / "painted.glb", texture=buffer.getvalue()))
    assert painted.uv is not None and painted.materials[0].texture[0, 0].tolist() == [10, 200, 30]
    # A broken one is done without.
    broken = read(beast(tmp_path / "broken.glb", texture=buffer.getvalue()[:20]))
    assert broken.materials[0].texture is None


def test_what_cannot_be_used_is_left_out_with_the_reason(tmp_path):
    whole = beast(tmp_path / "whole.glb").read_bytes()
    (tmp_path / "cut.glb").write_bytes(whole[:-2000])
    (tmp_path / "noise.glb").write_bytes(bytes(range(256)) * 9)
    (tmp_path / "none.glb").write_bytes(b"")
    (tmp_path / "text.gltf").write_text("{")
    description = {
        "asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}], "buffers": [{"uri": "gone.bin", "byteLength": 36}],
        "bufferViews": [{"buffer": 0, "byteLength": 36}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
    }  # fmt: skip
    (tmp_path / "lacking.gltf").write_text(json.dumps(description))
    description["extensionsRequired"] = ["KHR_draco_mesh_compression"]
    (tmp_path / "packed.gltf").write_text(json.dumps(description))
    flat = gl.GLTF2(scene=0, scenes=[gl.Scene(nodes=[0])], nodes=[gl.Node(name="empty")])
    flat.save(str(tmp_path / "empty.gltf"))
    models, left_out = load_models(tmp_path)
    assert [model.name for model in models] == ["whole"]
    assert set(left_out) == {
        "cut.glb", "noise.glb", "none.glb", "text.gltf", "lacking.gltf", "packed.gltf",
        "empty.gltf",
    }  # fmt: skip
    assert "gone.bin, which is not there" in left_out["lacking.gltf"]
    assert "KHR_draco_mesh_compression" in left_out["packed.gltf"]
    assert "no triangles" in left_out["empty.gltf"]
    assert all("\n" not in reason for reason in left_out.values())


@given(st.integers(0, 4000), st.integers(0, 255))
def test_a_broken_byte_never_gets_through_as_another_error(tmp_path_factory, place, value):
    folder = tmp_path_factory.getbasetemp()
    path = folder / "fuzzed.glb"
    if not (folder / "fuzz.glb").exists():
        still(folder / "fuzz.glb", CHAIR)
    data = bytearray((folder / "fuzz.glb").read_bytes())
    data[place % len(data)] = value
    path.write_bytes(bytes(data))
    try:
        model = read(path)
    except ModelError:
        return
    assert np.isfinite(model.positions).all()


def test_folders(tmp_path):
    with pytest.raises(HomologError, match="there is no folder"):
        load_models(tmp_path / "nowhere")
    with pytest.raises(HomologError, match="holds no"):
        load_models(tmp_path)
    (tmp_path / "a.glb").write_bytes(b"glTF")
    with pytest.raises(HomologError, match=r"none in .* can be used: a.glb"):
        load_models(tmp_path)
    beast(tmp_path / "b.glb")
    with pytest.raises(HomologError, match="'c' is none of a, b"):
        load_models(tmp_path, ["b", "c"])
    models, left_out = load_models(tmp_path, ["b"])
    assert [model.name for model in models] == ["b"] and not left_out


# Interpolation, against SciPy.


@given(turns, turns, st.floats(0, 1))
def test_rotations_between_two(a, b, along):
    found = Rotation.from_quat(slerp(a.as_quat(), b.as_quat(), along))
    expected = Slerp([0, 1], Rotation.concatenate([a, b]))(along)
    if (a.inv() * b).magnitude() < np.pi - 1e-3:  # at half a turn, both ways are short
        assert (found.inv() * expected).magnitude() < 1e-3


@given(turns)
def test_matrices_and_quaternions(turn):
    matrix = matrices(np.zeros((1, 3)), turn.as_quat()[None], np.ones((1, 3)))[0, :3, :3]
    np.testing.assert_allclose(matrix, turn.as_matrix(), atol=1e-12)
    back = Rotation.from_quat(quaternion(matrix))
    assert (back.inv() * turn).magnitude() < 1e-6


@given(st.floats(-0.5, 2.5))
def test_values_between_frames(time):
    times, values = np.array([0.0, 0.5, 2.0]), np.array([[0.0, 1, 2], [3, 1, 0], [-1, 4, 1]])
    inside = float(np.clip(time, 0, 2))
    linear = at(Track(0, "translation", times, values, "LINEAR"), time)
    np.testing.assert_allclose(linear, [np.interp(time, times, column) for column in values.T])
    step = at(Track(0, "translation", times, values, "STEP"), time)
    np.testing.assert_allclose(step, values[np.searchsorted(times, inside, side="right") - 1])
    tangents = np.array([[1.0, 0, -1], [2, 2, 2], [0, 1, 0]])
    spline = Track(
        0, "translation", times, np.stack([tangents, values, tangents], 1), "CUBICSPLINE"
    )
    np.testing.assert_allclose(
        at(spline, time), CubicHermiteSpline(times, values, tangents)(inside), atol=1e-9
    )


def test_an_animation_moves_what_hangs_on_its_bone(tmp_path):
    (rig,), _ = prepared(beast(tmp_path / "beast.glb"))
    half = rig.skinned(rig.moved(Pose("Nod", 0.5)))
    above = np.isin(
        rig.dominant, [n for n, b in enumerate(rig.bases) if b in ("neck", "head", "ear")]
    )
    neck = np.array([0, 1, 0.6])
    turn = Rotation.from_euler("x", 15, degrees=True)
    expected = np.where(above[:, None], turn.apply(rig.positions - neck) + neck, rig.positions)
    np.testing.assert_allclose(half, expected, atol=1e-6)


@given(turns, st.one_of(turns.map(lambda b: b.as_matrix()[0]), st.floats(-12, 0)))
def test_swings(a, b):
    x = a.as_matrix()[0]
    if isinstance(b, float):  # all but opposite
        b = 10**b * a.as_matrix()[1] - x
        b /= np.linalg.norm(b)
    y = b
    turn = swing(x, y)
    np.testing.assert_allclose(turn @ x, y, atol=1e-6)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-6)
    assert np.linalg.det(turn) > 0
    angle = Rotation.from_matrix(turn).magnitude()
    assert angle == pytest.approx(np.arccos(np.clip(x @ y, -1, 1)), abs=1e-4)


# Names.


def test_sides_of_names():
    left = ["Paw.L", "paw_l", "LeftPaw", "mixamorig:LeftHand", "L_Paw", "paw.L_end", "PawL"]
    assert [side_of(name) for name in left] == [1] * len(left)
    right = [name.replace("Left", "Right").replace("L", "R").replace("_l", "_r") for name in left]
    assert [side_of(name) for name in right] == [-1] * len(right)
    assert all(base_of(a) == base_of(b) for a, b in zip(left, right, strict=True))
    none = ["Tail", "Skull", "Collar", "Pelvis", "Root", "upper", "", "Wheel"]
    assert [side_of(name) for name in none] == [0] * len(none)
    assert [keypoint_name("paw", side) for side in (0, 1, -1)] == ["paw", "left_paw", "right_paw"]
    assert [group_of(b) for b in ("front_paw", "ear2", "heart", "tail3", "torso")] == [
        "leg", "ear", "other", "tail", "trunk",
    ]  # fmt: skip


# Skeletons and the space they share.

CONVENTIONS = {
    "dots": lambda name: name,
    "words": lambda name: (
        ("Left" if ".L" in name else "Right" if ".R" in name else "") + name.partition(".")[0]
    ),
    "underscores": lambda name: name.lower().replace(".", "_"),
    "glued": lambda name: name.replace(".", ""),
}


def test_the_bind_pose_is_what_the_file_has(tmp_path):
    (rig,), _ = prepared(beast(tmp_path / "beast.glb", turn=about([0, 1, 0], 90)))
    np.testing.assert_allclose(rig.skinned(rig.moved(Pose())), rig.positions, atol=1e-9)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("angle", [0, 90, 217])
def test_left_is_left_however_it_is_called_and_wherever_it_looks(tmp_path, convention, angle):
    path = beast(tmp_path / "a.glb", rename=CONVENTIONS[convention], turn=about([0, 1, 0], angle))
    (rig,), keypoints = prepared(path)
    assert rig.sided
    corners = np.concatenate([box(*ends)[0] for ends in BOXES.values()])  # unturned: left is +x
    found = rig.canonical[: len(corners)]
    off = np.abs(corners[:, 0]) > 0.01
    assert (np.sign(found[off, 0]) == np.sign(corners[off, 0])).all()
    # A vertex and its mirror image are each other's mirror image.
    for vertex, place in zip(corners, found, strict=True):
        other = np.flatnonzero(np.abs(corners - vertex * [-1, 1, 1]).max(1) < 1e-9)
        gaps = np.abs(found[other] - place * [-1, 1, 1]).max(1)
        assert gaps.min() < 1e-6
    assert keypoints["nose"][1] > 0.5 > -0.5 > keypoints["tail_tip"][1]
    assert found[:, 2].argmax() in np.flatnonzero(corners[:, 1] > 2)


def test_the_same_part_has_the_same_coordinates_in_all_models(tmp_path):
    paths = [
        beast(tmp_path / "a.glb"),
        beast(tmp_path / "b.glb", stretch=(1.5, 0.8, 1.1), turn=about([0, 1, 0], 120)),
        beast(tmp_path / "c.glb", stretch=(30, 55, 60), ears=False),
        beast(tmp_path / "d.glb", loose=True),
    ]
    (a, b, c, d), keypoints = prepared(*paths)
    for other in (b, d):
        assert np.abs(a.canonical - other.canonical).max() < 0.12
    ears = np.array([base == "ear" for base in a.bases])[a.dominant]  # c has no bones there
    assert np.abs(a.canonical - c.canonical)[~ears].max() < 0.15
    assert "left_ear" not in c.landmarks and "left_ear" in a.landmarks
    tails = np.array([base.startswith("tail") for base in a.bases])[a.dominant]
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


def test_feet_that_hang_on_nothing_follow_their_legs(tmp_path):
    (rig,), _ = prepared(beast(tmp_path / "a.glb", loose=True))
    node = {name: i for i, name in enumerate(rig.model.node_names)}
    for name, above, _ in BONES:
        if above is not None:
            assert rig.parents[node[name]] == node[above]
    four = legs(rig)
    assert sorted((leg.front, leg.side, len(leg.bones)) for leg in four) == [
        (False, -1, 2), (False, 1, 2), (True, -1, 2), (True, 1, 2),
    ]  # fmt: skip
    longer = Pose(scales={node["FrontUpperLeg.L"]: np.diag([1, 2.0, 1])})
    moved = rig.moved(longer)
    lower = moved[node["FrontLowerLeg.L"]] @ [*rig.heads[node["FrontLowerLeg.L"]], 1]
    np.testing.assert_allclose(lower[:3], [0.25, 0.9 - 0.9, 0.5], atol=1e-6)


@given(st.integers(0, 1000))
def test_shapes_are_symmetric(tmp_path_factory, seed):
    path = tmp_path_factory.getbasetemp() / "shape.glb"
    if not path.exists():
        beast(path)
    if "rig" not in _made:
        (_made["rig"],), _ = prepared(path)
    rig = _made["rig"]
    pose = Pose(scales=random_shape(rig, np.random.default_rng(seed)))
    count = 8 * len(BOXES)
    found = rig.skinned(rig.moved(pose))[:count]
    start = rig.positions[:count]
    for vertex, place in zip(start, found, strict=True):
        other = np.abs(start - vertex * [-1, 1, 1]).max(1) < 1e-6
        assert np.abs(found[other] - place * [-1, 1, 1]).max(1).min() < 1e-6
    assert not np.allclose(found, start)


_made: dict = {}


@pytest.mark.parametrize("seed", range(5))
def test_poses_keep_the_body_together(tmp_path, seed):
    (rig,), _ = prepared(beast(tmp_path / "a.glb"))
    pose, kind = random_pose(rig, np.random.default_rng(seed))
    vertices = rig.skinned(rig.moved(pose))
    assert kind == "Nod" and np.isfinite(vertices).all()
    assert 0.4 < np.ptp(vertices, axis=0).max() / np.ptp(rig.positions, axis=0).max() < 2.5
    turn = rig.facing(vertices)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-9)
    assert turn[2, 2] > 0.9 and np.linalg.det(turn) > 0


def test_left_named_right_is_found_out(tmp_path):
    swap = {".L": ".R", ".R": ".L"}
    models, _ = load_models(
        beast(tmp_path / "a.glb", rename=lambda n: n[:-2] + swap.get(n[-2:], n[-2:])).parent
    )
    rigs, left_out, _ = prepare(models)
    assert not rigs and "its head is behind its tail" in left_out["a"]


def test_without_sides_in_names_the_symmetry_plane_tells(tmp_path):
    numbered = {name: f"bone {i}" for i, (name, _, _) in enumerate(BONES)}
    (rig,), keypoints = prepared(beast(tmp_path / "a.glb", rename=numbered.get))
    assert not rig.sided and rig.notes and not keypoints
    off = np.abs(rig.positions[:, 0]) > 0.01
    assert (np.sign(rig.canonical[off, 0]) == np.sign(rig.positions[off, 0])).all()


# What has no skeleton.


@pytest.mark.parametrize("angle", [0, 20, -35])
def test_the_symmetry_plane_of_a_chair(tmp_path, angle):
    quaternion_ = Rotation.from_euler("y", angle, degrees=True).as_quat().tolist()
    model = read(still(tmp_path / "chair.glb", CHAIR, rotation=quaternion_, translation=[3, 0, 1]))
    (rig,), left_out, _ = prepare([model])
    assert not left_out
    expected = Rotation.from_euler("y", -angle, degrees=True).as_matrix()
    np.testing.assert_allclose(rig.turn[:3, :3], expected, atol=0.03)
    assert np.abs(rig.canonical).max() == pytest.approx(1, abs=0.02)
    back = rig.canonical[rig.canonical[:, 2] > 0.5]
    assert (back[:, 1] < -0.7).all()  # it faces forward


def test_things_that_do_not_tell_left_from_right(tmp_path):
    things = {
        "plate": [((0, 0, 0), (3, 0.1, 1)), ((0, 0, 0), (1, 0.1, 2)), ((2.6, 0, 1), (3, 0.1, 1.5))],
        "across": [((-2, 0, -0.5), (2, 0.3, 0.5)), ((1, 0.3, -0.5), (2, 2, 0.5))],
        "heap": [
            ((0, 0, 0), (3, 0.3, 1)), ((2, 0.3, 0.4), (3, 2, 2)), ((-1, 0.3, 0), (0.5, 1, 0.3)),
        ],
    }  # fmt: skip
    for name, boxes in things.items():
        still(tmp_path / f"{name}.glb", boxes)
    models, _ = load_models(tmp_path)
    rigs, left_out, _ = prepare(models)
    assert not rigs
    assert "level" in left_out["plate"]
    assert "lies across" in left_out["across"]
    assert "nor a symmetry plane" in left_out["heap"]


def test_the_plane_against_all_planes(tmp_path):
    """No upright plane through the middle is better than the one found."""
    model = read(still(tmp_path / "chair.glb", CHAIR))
    points = model.positions
    nearest = KDTree(points)
    turn = symmetry(points, model.triangles)
    own = points @ turn[:3, :3].T + turn[:3, 3]

    def gap(normal, offset):
        mirrored = points - 2 * np.outer(points @ normal - offset, normal)
        return nearest.query(mirrored[::7])[0].mean()

    found = gap(turn[0, :3], -turn[0, 3])
    assert np.abs(own[:, 0]).max() == pytest.approx(0.5, abs=0.02)
    middle = points.mean(0)
    for angle in np.linspace(10, 170, 9):
        normal = np.array([np.cos(np.deg2rad(angle)), 0, np.sin(np.deg2rad(angle))])
        assert gap(normal, middle @ normal) >= found - 1e-9


def test_a_model_that_falls_apart_is_found_out(tmp_path):
    model = read(beast(tmp_path / "a.glb"))
    (rig,), _, _ = prepare([model])
    assert unposable(rig) is None
    track = model.animations["Nod"][0]
    far = Track(track.node, "translation", track.times, np.full((2, 3), 1e3), "LINEAR")
    (wild,), _, _ = prepare([replace(model, animations={"Blast": (far,)})])
    assert unposable(wild) == "falls apart when it is posed (Blast)"
