"""Keypoint schemas: mirror counterparts, groups, and how points are given names."""

import json

import pytest

from homolog import HomologError, KeypointSchema
from homolog.keypoints import builtin_schemas

SPAIR = sorted(builtin_schemas()["spair"])
ALL = [*(f"spair:{category}" for category in SPAIR), "ap10k"]


def test_all_categories_are_included():
    assert len(SPAIR) == 18


@pytest.mark.parametrize("name", ALL)
def test_counterparts_come_in_pairs(name):
    schema = KeypointSchema.load(name)
    assert all(schema.mirror[schema.mirror[i]] == i for i in range(len(schema)))
    for i, other in enumerate(schema.mirror):
        if other != i and "left" in schema.names[i]:
            assert "right" in schema.names[other], (
                "the counterpart of a left keypoint is a right one"
            )


@pytest.mark.parametrize("name", ALL)
def test_groups_are_disjoint(name):
    members = [i for group in KeypointSchema.load(name).groups for i in group]
    assert len(members) == len(set(members))


def test_spair_keeps_its_ids():
    cat = KeypointSchema.spair("cat")
    assert len(cat) == 15
    with pytest.raises(HomologError, match="unicorn"):
        KeypointSchema.spair("unicorn")


def test_ap10k_by_name():
    schema = KeypointSchema.ap10k()
    left, right = schema.names.index("left_front_paw"), schema.names.index("right_front_paw")
    assert schema.mirror[left] == right
    assert schema.mirror[schema.names.index("nose")] == schema.names.index("nose")
    assert any({left, right} < set(group) for group in schema.groups)


@pytest.mark.parametrize(
    "names",
    [
        ["nose", "left_eye", "right_eye"],
        ["Nose", "L_Eye", "R_Eye"],
        ["nose", "eye.L", "eye.R"],
        ["nose", "leftEye", "rightEye"],
        ["nose", "eye left", "eye right"],
        ["nose", "eye-l", "eye-r"],
    ],
)
def test_sides_are_read_from_names(names):
    assert KeypointSchema.from_names(names).mirror == (0, 2, 1)
    assert KeypointSchema.from_names(names).groups == ((1, 2),)


def test_a_name_without_a_counterpart_is_its_own():
    names = ["left_horn", "lower_lip", "roller", "copyright"]
    assert KeypointSchema.from_names(names).mirror == (0, 1, 2, 3)
    with pytest.raises(HomologError, match="names: expected each keypoint once"):
        KeypointSchema.from_names(["Eye", "eye"])


def test_coco_categories(tmp_path):
    category = {"name": "bee", "keypoints": ["a", "b", "c"], "flip_indices": [1, 0, 2]}
    assert KeypointSchema.coco(category).mirror == (1, 0, 2)
    named = {"name": "bee", "keypoints": ["wing_left", "wing_right"]}
    assert KeypointSchema.coco(named).mirror == (1, 0)
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps({"categories": [{"name": "thing"}, category]}))
    assert KeypointSchema.load(str(path)) == KeypointSchema.coco(category)


def test_coco_flip_pairs():
    category = {"keypoints": ["Nose", "Ankle_Left ", "Ankle_Right"], "flip_pairs": [[1, 2]]}
    schema = KeypointSchema.coco(category)
    assert schema.names == ("Nose", "Ankle_Left", "Ankle_Right")
    assert schema.mirror == (0, 2, 1) and schema.groups == ((1, 2),)
    assert KeypointSchema.coco({"keypoints": category["keypoints"]}) == schema
    both = {**category, "flip_indices": [0, 1, 2]}
    assert KeypointSchema.coco(both).mirror == (0, 1, 2), (
        "flip_indices take precedence, for they name every keypoint"
    )


@pytest.mark.parametrize(
    ("category", "reason"),
    [
        ({"name": "bee"}, "category: expected a list of keypoints"),
        ({"name": "bee", "keypoints": "abc"}, "category: expected a list of keypoints"),
        ({"keypoints": ["a", "b"], "flip_indices": [0]}, "mirror: expected counterparts"),
        (
            {"keypoints": ["a", "b", "c"], "flip_indices": [1, 2, 0]},
            "mirror: expected counterparts",
        ),
        ({"keypoints": ["a", "b"], "flip_indices": [0, 7]}, "mirror: expected counterparts"),
        (
            {"keypoints": ["a", "b"], "flip_indices": ["x", 0]},
            "flip_indices: expected a list of ids",
        ),
        (
            {"keypoints": ["a", "b"], "flip_pairs": [[0, 2]]},
            "flip_pairs: expected pairs of ids from 0 to 1",
        ),
        ({"keypoints": ["a", "b"], "flip_pairs": [[0, 1, 2]]}, "flip_pairs: expected pairs of ids"),
        (
            {"keypoints": ["a", "b"], "flip_pairs": [["a", "b"]]},
            "flip_pairs: expected pairs of ids",
        ),
        ({"keypoints": ["a", "b"], "flip_pairs": 3}, "flip_pairs: expected pairs of ids"),
        ({"keypoints": ["a", "b"], "flip_pairs": [[0, -1]]}, "mirror: expected counterparts"),
        (
            {"keypoints": ["a", "b", "c"], "flip_pairs": [[0, 1], [1, 2]]},
            "mirror: expected counterparts",
        ),
    ],
)
def test_malformed_categories(category, reason):
    with pytest.raises(HomologError, match=reason):
        KeypointSchema.coco(category)


def test_malformed_groups():
    for groups in (((0, 1), (1,)), ((0, 5),)):
        with pytest.raises(HomologError, match="groups"):
            KeypointSchema(("a", "b"), (0, 1), groups)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"categories": [{"name": "x"}]}', "\xff"])
def test_files_that_are_not_schemas(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(HomologError, match="schema"):
        KeypointSchema.load(str(path))
    with pytest.raises(HomologError, match="schema: expected ap10k"):
        KeypointSchema.load(str(tmp_path / "none.json"))


def test_ids_and_names_resolve():
    schema = KeypointSchema.from_names(["nose", "left_eye", "right_eye"])
    assert schema.resolve(["right_eye", 0], 2) == (2, 0)
    assert schema.resolve(["2", "0"], 2) == (2, 0)
    assert schema.resolve(None, 3) == (0, 1, 2)
    for ids, count, reason in (
        (None, 2, "expected a point for each of 3 keypoints, got 2"),
        ([0], 2, "expected 2, one for each point, got 1"),
        (["ear"], 1, "expected one of nose, .*, got 'ear'"),
        ([3], 1, "expected 0 to 2, got 3"),
        ([-1], 1, "expected 0 to 2, got -1"),
        ([1, "left_eye"], 2, "each keypoint once"),
    ):
        with pytest.raises(HomologError, match=reason):
            schema.resolve(ids, count)
