"""Vocabularies of keypoints: pairs by names and by images, and maps applied to labels."""

import json
from pathlib import Path

import numpy as np
import pytest
import real_images

from homolog import HomologError
from homolog.keypoints import KeypointSchema
from homolog.labelling.vocabularies.landing import LabelledVocabulary, landing_scores
from homolog.labelling.vocabularies.maps import KeypointMap, read_map, write_map
from homolog.labelling.vocabularies.proposals import describe, name_scores, propose, same_side

# The vocabularies of StanfordExtra, AP-10K and Animal-Pose, as their files have them.
DOGS = [
    *(
        f"{side}_{limb}_leg_{part}"
        for side in ("left", "right")
        for limb in ("front", "rear")
        for part in ("paw", "middle_joint", "top")
    ),
    "tail_start", "tail_end", "base_of_left_ear", "base_of_right_ear", "nose", "chin",
    "left_ear_tip", "right_ear_tip", "left_eye", "right_eye", "withers", "throat",
]  # fmt: skip
AP10K = list(KeypointSchema.ap10k().names)
ANIMAL_POSE = [
    "L_Eye",
    "R_Eye",
    "L_EarBase",
    "R_EarBase",
    "Nose",
    "Throat",
    "TailBase",
    "Withers",
    "L_F_Elbow",
    "R_F_Elbow",
    "L_B_Elbow",
    "R_B_Elbow",
    "L_F_Knee",
    "R_F_Knee",
    "L_B_Knee",
    "R_B_Knee",
    "L_F_Paw",
    "R_F_Paw",
    "L_B_Paw",
    "R_B_Paw",
]


def both(pairs: dict[str, str]) -> dict[str, str]:
    """Pairs of left keypoints with those of their right counterparts."""
    found = {}
    for source, target in pairs.items():
        found[source] = target
        other = target.replace("left", "right")
        found[source.replace("left", "right")] = f"R{other[1:]}" if other[:2] == "L_" else other
    return found


# What is which, by hand. What names alone cannot tell comes second.
TRUTH = {
    ("dogs", "ap10k"): (
        both({"left_front_leg_paw": "left_front_paw", "left_rear_leg_paw": "left_back_paw",
              "left_eye": "left_eye"}) | {"nose": "nose", "tail_start": "root_of_tail"},
        {},
    ),
    ("dogs", "animal pose"): (
        both({"left_front_leg_paw": "L_F_Paw", "left_rear_leg_paw": "L_B_Paw",
              "left_eye": "L_Eye", "base_of_left_ear": "L_EarBase"})
        | {"nose": "Nose", "tail_start": "TailBase", "withers": "Withers", "throat": "Throat"},
        both({"left_front_leg_middle_joint": "L_F_Knee", "left_front_leg_top": "L_F_Elbow",
              "left_rear_leg_middle_joint": "L_B_Knee", "left_rear_leg_top": "L_B_Elbow"}),
    ),
    ("ap10k", "animal pose"): (
        both({"left_eye": "L_Eye", "left_front_paw": "L_F_Paw", "left_back_paw": "L_B_Paw",
              "left_elbow": "L_F_Elbow"}) | {"nose": "Nose", "root_of_tail": "TailBase"},
        {},
    ),
}  # fmt: skip
NAMES = {"dogs": DOGS, "ap10k": AP10K, "animal pose": ANIMAL_POSE}
FILES = {
    "dogs": "dogs/annotations.json",
    "ap10k": "coco_samples/ap10k/test_ap10k.json",
    "animal pose": "coco_samples/animalpose/test_animalpose.json",
}


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("pair", TRUTH, ids=" to ".join)
def test_names_of_published_vocabularies(pair, turned):
    truth, _ = TRUTH[pair]
    source, target = (KeypointSchema.from_names(NAMES[name]) for name in pair)
    if turned:
        source, target, truth = target, source, {b: a for a, b in truth.items()}
    proposal = propose(source, target)
    found = {each.source: each.target for each in proposal.pairs}
    assert truth.items() <= found.items()
    assert set(found) | set(proposal.unmatched_source) == set(source.names)
    assert set(found.values()) | set(proposal.unmatched_target) == set(target.names)
    assert len(set(found.values())) == len(found)


@pytest.mark.slow
@pytest.mark.parametrize("pair", TRUTH, ids=" to ".join)
def test_images_tell_what_names_do_not(pair, matcher):
    """Points carried between the images of both sets, with the shipped model."""
    if not real_images.ROOT.is_dir():
        pytest.skip(f"no annotated photos in {real_images.ROOT}")
    source, target = (LabelledVocabulary.read(real_images.ROOT / FILES[name]) for name in pair)
    assert 1 <= source.count <= 6 and 1 <= target.count <= 6
    proposal = propose(source.schema, target.schema, landing_scores(matcher, source, target))
    found = {each.source: each.target for each in proposal.pairs}
    by_name, by_image = TRUTH[pair]
    assert (by_name | by_image).items() <= found.items()


def test_left_is_never_paired_with_right():
    """Even where images say so: a model may take one for the other."""
    source = KeypointSchema.from_names(["nose", "left_paw", "right_paw"])
    target = KeypointSchema.from_names(["snout", "L_foot", "R_foot", "tail"])
    landing = np.array([[0.9, 0, 0, 0], [0, 0, 1, 0.2], [0, 1, 0, 0.2]])
    found = propose(source, target, landing)
    assert [(each.source, each.target) for each in found.pairs] == [
        ("nose", "snout"), ("left_paw", "L_foot"), ("right_paw", "R_foot"),
    ]  # fmt: skip
    assert found.unmatched_source == () and found.unmatched_target == ("tail",)
    crossed = ~same_side(source, target)
    assert crossed[1, 2] and crossed[1, 3] and crossed[0, 1] and not crossed[1, 1]


@pytest.mark.parametrize(
    "one, other, least, most",
    [
        ("left_front_paw", "LFFoot", 1, 1),
        ("FL_paw", "left_fore_foot", 1, 1),
        ("HindLeftHoof", "left_back_paw", 1, 1),
        ("tail_start", "TailBase", 1, 1),
        ("muzzle", "Nose", 1, 1),
        ("left_knee", "LeftHindKnee", 1, 1),  # a knee of four-legged animals is behind
        ("left_elbow", "L_B_Elbow", 0, 0),
        ("left_front_paw", "left_back_paw", 0, 0),
        ("nose", "tail", 0, 0),
        ("left_ear_tip", "L_EarBase", 0.1, 0.5),
    ],
)
def test_words_of_names(one, other, least, most):
    def schema(name: str) -> KeypointSchema:
        counterparts = {"left": "right", "Left": "Right", "LF": "RF", "FL": "FR", "L_": "R_"}
        for left, right in counterparts.items():
            if left in name:
                return KeypointSchema.from_names([name, name.replace(left, right)])
        return KeypointSchema.from_names([name])

    assert least <= name_scores(schema(one), schema(other))[0, 0] <= most


def test_images_outweigh_names_that_say_little():
    source = KeypointSchema.from_names(["a", "b"])
    target = KeypointSchema.from_names(["1", "2"])
    landing = np.array([[0.1, 0.9], [0.8, np.nan]])
    found = propose(source, target, landing)
    assert [(each.source, each.target) for each in found.pairs] == [("a", "2"), ("b", "1")]
    assert [round(each.score, 2) for each in found.pairs] == [0.45, 0.4]
    assert propose(source, target).pairs == ()


def test_both_sides_are_paired_alike():
    """What images say of the left counts for the right: a partner is never another's."""
    source = KeypointSchema.from_names(["left_top", "right_top", "left_mid", "right_mid"])
    target = KeypointSchema.from_names(["left_a", "right_a", "left_b", "right_b"])
    landing = np.full((4, 4), np.nan)
    landing[0, 0], landing[1, 1], landing[1, 3] = 0.9, 0.6, 0.7
    found = propose(source, target, landing)
    assert [(each.source, each.target) for each in found.pairs] == [
        ("left_top", "left_a"), ("right_top", "right_a"),
    ]  # fmt: skip


def document() -> dict:
    points = [10, 11, 2, 20, 21, 1, 30, 31, 2, 0, 0, 0]
    return {
        "images": [{"id": 1, "file_name": "a.png"}],
        "annotations": [
            {
                "id": 1, "image_id": 1, "category_id": 1, "keypoints": list(points),
                "bbox": [0, 0, 40, 40], "num_keypoints": 3, "attributes": {"age": 3},
                "homolog": {
                    "scores": [0.1, 0.2, 0.3, 0.4], "doubtful": [0, 2], "reviewed": [1],
                    "predicted": list(points),
                },
            },
        ],
        "categories": [
            {
                "id": 1, "name": "cat", "keypoints": ["nose", "left_paw", "chin", "right_paw"],
                "skeleton": [[1, 2], [1, 3], [1, 4]], "curves": [[0, 1, 3]],
            },
            {"id": 2, "name": "tree"},
        ],
    }  # fmt: skip


def test_a_map_renames_orders_and_drops():
    mapping = KeypointMap(
        ("R_foot", "L_foot", "snout", "tail"),
        {"R_foot": "right_paw", "L_foot": "left_paw", "snout": "nose"},
    )
    before = document()
    after, notes = mapping.apply(before)
    assert before == document()  # what was given is left alone
    assert notes == ["'chin' has no partner: its 1 labels are left out"]
    (annotation,), (category, tree) = after["annotations"], after["categories"]
    assert annotation["keypoints"] == [0, 0, 0, 20, 21, 1, 10, 11, 2, 0, 0, 0]
    assert annotation["num_keypoints"] == 2
    assert annotation["attributes"] == {"age": 3} and annotation["bbox"] == [0, 0, 40, 40]
    extra = annotation["homolog"]
    assert extra["scores"] == [0.4, 0.2, 0.1, 0.0]
    assert (extra["doubtful"], extra["reviewed"]) == ([2], [1])
    assert extra["predicted"] == annotation["keypoints"]
    assert category["keypoints"] == ["R_foot", "L_foot", "snout", "tail"]
    assert category["skeleton"] == [[3, 2], [3, 1]]
    assert category["curves"] == [[2, 1, 0]]
    assert tree == {"id": 2, "name": "tree"}
    assert KeypointSchema.coco(category).mirror == (1, 0, 2, 3)


def test_sides_told_by_the_file_are_kept():
    before = document()
    before["categories"][0] |= {"keypoints": ["n", "p", "c", "q"], "flip_indices": [0, 3, 2, 1]}
    mapping = KeypointMap(("x", "y", "z"), {"x": "q", "z": "p"})
    after, _ = mapping.apply(before)
    assert after["categories"][0]["flip_indices"] == [2, 1, 0]


def test_crossed_sides_are_said():
    mapping = KeypointMap(("left_foot", "right_foot"), {"left_foot": "right_paw"})
    _, notes = mapping.apply(document())
    assert "'right_paw' becomes 'left_foot': left and right are exchanged" in notes


@pytest.mark.parametrize("name", ["map.json", "map.csv"])
def test_a_map_is_read_as_it_was_written(tmp_path, name):
    source, target = KeypointSchema.from_names(DOGS), KeypointSchema.from_names(ANIMAL_POSE)
    proposal = propose(source, target)
    write_map(tmp_path / name, proposal, target)
    mapping = read_map(tmp_path / name)
    assert mapping.targets == target.names
    assert mapping.sources == {each.target: each.source for each in proposal.pairs}
    text = (tmp_path / name).read_text()
    assert "tail_end" in text and "L_B_Knee" in text  # what has no partner can be given one
    assert len(describe(proposal)) == 1 + len(proposal.pairs) + sum(
        map(len, (proposal.unmatched_source, proposal.unmatched_target))
    )


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("a.csv", "source,target\na,b\nc,b\n", "line 3: expected each target once, got 'b'"),
        ("a.csv", "source,target\na,b\na,c\n", "line 3: expected each source once, got 'a'"),
        ("a.csv", "from,to\na,b\n", "expected columns source and target in"),
        ("a.csv", "source,target\n,b\na,\n", "expected pairs of a source and a target, got none"),
        ("a.json", "[]", "expected a list of keypoints in"),
        ("a.json", '{"keypoints": ["a"]}', "keypoint 1: expected a source and a target, got 'a'"),
        ("a.json", '{"keypoints": [{"source": 1, "target": "b"}]}', "expected names of keypoints"),
        ("a.csv", None, "expected a readable file"),
    ],
)  # fmt: skip
def test_maps_that_cannot_be_read(tmp_path, name, text, message):
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    with pytest.raises(HomologError, match=message) as error:
        read_map(path)
    assert name in str(error.value) and "\n" not in str(error.value)


def test_maps_of_spreadsheets(tmp_path):
    (tmp_path / "m.csv").write_bytes("\ufeffsource;target;score\r\nnez;nose;1\r\n".encode())
    assert read_map(tmp_path / "m.csv").sources == {"nose": "nez"}


def test_a_map_of_other_keypoints_is_refused():
    with pytest.raises(HomologError, match=r"map: expected keypoints of the labels as sources"):
        KeypointMap(("a",), {"a": "b"}).apply(document())
    with pytest.raises(HomologError, match=r"map: expected keypoints of 'cat' as sources.* 'ears'"):
        KeypointMap(("a", "e"), {"a": "nose", "e": "ears"}).apply(document())


def test_of_several_vocabularies_that_of_most_objects(tmp_path):
    data = document()
    data["categories"][1]["keypoints"] = ["root", "top"]
    more = {"id": 2, "image_id": 1, "category_id": 2, "keypoints": [1, 1, 2, 2, 2, 2]}
    data["annotations"] += [more | {"id": number, "bbox": [0, 0, 9, 9]} for number in (2, 3)]
    path = Path(tmp_path) / "labels.json"
    path.write_text(json.dumps(data))
    found = LabelledVocabulary.read(path)
    assert found.schema.names == ("root", "top") and found.count == 0
    assert any("1 other vocabularies" in note for note in found.notes)
    assert any("names alone are compared" in note for note in found.notes)
