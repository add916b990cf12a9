"""Sides read from names: vocabularies of known models and data sets, and names that mislead."""

import json

import pytest
import real_images
from hypothesis import given
from hypothesis import strategies as st

from homolog import HomologError, KeypointSchema
from homolog.keypoints import check_flips, read_sides, tell_sides, unknown_sides


def pairs(names: list[str]) -> dict[str, str]:
    """The right counterpart of each left keypoint that is read from the names."""
    found = read_sides(names)
    assert all(found.mirror[found.mirror[i]] == i for i in range(len(names)))
    assert all(found.sides[i] == -found.sides[j] for i, j in enumerate(found.mirror))
    assert all((found.sides[i] == 0) == (i == j) for i, j in enumerate(found.mirror))
    return {names[i]: names[j] for i, j in enumerate(found.mirror) if found.sides[i] > 0}


VOCABULARIES = {
    "OpenPose BODY_25": (
        "Nose Neck RShoulder RElbow RWrist LShoulder LElbow LWrist MidHip RHip RKnee RAnkle LHip "
        "LKnee LAnkle REye LEye REar LEar LBigToe LSmallToe LHeel RBigToe RSmallToe RHeel",
        "Nose Neck MidHip",
    ),
    "COCO": (
        "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow "
        "right_elbow left_wrist right_wrist left_hip right_hip left_knee right_knee left_ankle "
        "right_ankle",
        "nose",
    ),
    "MPII": (
        "r_ankle r_knee r_hip l_hip l_knee l_ankle pelvis thorax upper_neck head_top r_wrist "
        "r_elbow r_shoulder l_shoulder l_elbow l_wrist",
        "pelvis thorax upper_neck head_top",
    ),
    "Halpe": (
        "Nose LEye REye LEar REar LShoulder RShoulder Head Neck Hip LBigToe RBigToe LSmallToe "
        "RSmallToe LHeel RHeel",
        "Nose Head Neck Hip",
    ),
    "Animal-Pose": (
        "L_Eye R_Eye L_EarBase R_EarBase Nose Throat TailBase Withers L_F_Elbow R_F_Elbow "
        "L_B_Elbow R_B_Elbow L_F_Knee R_F_Knee L_B_Knee R_B_Knee L_F_Paw R_F_Paw L_B_Paw R_B_Paw",
        "Nose Throat TailBase Withers",
    ),
    "Animal Kingdom": (
        "Head_Mid_Top Eye_Left Eye_Right Mouth_Front_Top Mouth_Back_Left Mouth_Back_Right "
        "Shoulder_Left Shoulder_Right Tail_End_Back",
        "Head_Mid_Top Mouth_Front_Top Tail_End_Back",
    ),
    "a fly of SLEAP": (
        "head thorax abdomen wingL wingR eyeL eyeR forelegL1 forelegL2 forelegR1 forelegR2 "
        "midlegL4 midlegR4 hindlegL4 hindlegR4",
        "head thorax abdomen",
    ),
    "a fly's legs": ("LF LM LH RF RM RH head", "head"),
    "a mouse's paws": ("nose FL_paw FR_paw HL_paw HR_paw tailbase", "nose tailbase"),
    "paws, front and back": ("FL FR BL BR", ""),
    "paws, front and rear": ("FL FR RL RR", ""),
    "sides first": ("LF RF LR RR", ""),
    "corners": ("UL UR LL LR", ""),
    "a mouse of DeepLabCut": ("snout leftear rightear tailbase", "snout tailbase"),
    "small letters": ("lshoulder rshoulder lhip rhip leye reye nose", "nose"),
    "capital letters": ("LEYE REYE LEAR REAR TAIL WINGL WINGR", "TAIL"),
    "abbreviations": ("LS RS LE RE LW RW N", "N"),
    "vertebrae": ("L5_left L5_right L4_L L4_R L3", "L3"),
    "numbers": ("L1 R1 L2 R2 1L 1R", ""),
}


@pytest.mark.parametrize("name", VOCABULARIES)
def test_known_vocabularies(name):
    """All keypoints but those on the axis have a counterpart, which is that of the other side."""
    text, axis = VOCABULARIES[name]
    names, found = text.split(), pairs(text.split())
    assert sorted([*found, *found.values(), *axis.split()]) == sorted(names)
    for left, right in found.items():
        assert left.casefold().count("l") > right.casefold().count("l") or "left" in left.casefold()
    assert KeypointSchema.from_names(names).sides_known


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("Shoulder (left)", "Shoulder (right)"),
        ("Shoulder (left)", "Shoulder(right)"),
        ("L_Ankle", "R_Ankle"),
        ("lEye", "rEye"),
        ("eye left", "Eye_Right"),
        ("frontLPaw", "frontRPaw"),
        ("paw_lt", "paw_rt"),
        ("Auge links", "Auge rechts"),
        ("linkes Auge", "rechtes Auge"),
        ("linker Flügel", "rechter Flügel"),
        ("Ohr li", "Ohr re"),
        ("œil gauche", "œil droit"),
        ("patte gauche", "patte droite"),
        ("oeil_g", "oeil_d"),
        ("oeilG", "oeilD"),
        ("ojo izquierdo", "ojo derecho"),
        ("oreja izquierda", "oreja derecha"),
        ("ojo_izq", "ojo_der"),
        ("olho esquerdo", "olho direito"),
        ("orelha esquerda", "orelha direita"),
        ("occhio sinistro", "occhio destro"),
        ("orecchia sx", "orecchia dx"),
        ("左眼", "右眼"),
        ("眼_左", "眼_右"),
        ("copyright_left", "copyright_right"),
        ("left_upright", "right_upright"),
    ],
)
def test_ways_to_say_left_and_right(left, right):
    assert pairs(["a", right, left, "b"]) == {left: right}
    assert pairs([left]) == pairs([right, "b"]) == {}, "sides are read where both are there"


@pytest.mark.parametrize(
    "names",
    [
        "lip rip light right ear rear",
        "LIP RIP",
        "L1 L2 L3 L4 L5",
        "a b c d e f g h i j k l m n o p q r",
        "pointA pointB pointC pointL pointR",
        "point_a point_b point_c point_d point_e point_f point_g",
        "al ar an gn me",
        "LS RS N",
        "LL LR RL RR",
        "L1_L L1_R R1_L R1_R",
        "knee kneel",
        "left_horn lower_lip roller copyright",
        "eye_left ear_right",
        "ankle1 knee1 ankle2 knee2",
        "Nearknee Offknee",
        "1 2 3 4",
    ],
)
def test_names_that_tell_no_sides(names):
    assert pairs(names.split()) == {}
    assert not KeypointSchema.from_names(names.split()).sides_known


def test_the_reading_that_pairs_more_names_counts():
    """The vertebra is a right one, or the first of the right side: the others tell."""
    names = ["L1_L", "L1_R", "L2_L", "L2_R", "R1_L", "R1_R"]
    assert pairs(names) == {"L1_L": "L1_R", "L2_L": "L2_R", "R1_L": "R1_R"}
    assert pairs(["left eye", "right eye", "left_eye", "right_eye"]) == {
        "left eye": "right eye", "left_eye": "right_eye",
    }  # fmt: skip


PARTS = ["eye", "ear", "shoulder", "knee", "wing", "front paw", "hind paw", "antenna"]
AXIS = ["nose", "tail", "throat", "mouth", "thorax"]
PATTERNS = {
    "words": ("left_{}", "right_{}"),
    "words behind": ("{} Right", "{} Left"),
    "brackets": ("{} (left)", "{} (right)"),
    "letters": ("L_{}", "R_{}"),
    "letters behind": ("{}.L", "{}.R"),
    "small letters": ("{}-l", "{}-r"),
    "camel case": ("leftCAMEL", "rightCAMEL"),
    "capital": ("LCAMEL", "RCAMEL"),
    "small letter": ("lCAMEL", "rCAMEL"),
    "capital behind": ("{}L", "{}R"),
    "numbered": ("{}L1", "{}R1"),
    "glued": ("lSMALL", "rSMALL"),
    "German": ("{} links", "{} rechts"),
    "French": ("{} gauche", "{} droite"),
    "French letter": ("{}_g", "{}_d"),
    "Spanish": ("{} izquierda", "{} derecha"),
    "Portuguese": ("{} esquerdo", "{} direito"),
    "Italian": ("{} sinistra", "{} destra"),
    "Chinese": ("左{}", "右{}"),
}


def renamed(pattern: str, part: str) -> str:
    words = part.split()
    if "CAMEL" in pattern:
        return pattern.replace("CAMEL", "".join(map(str.capitalize, words)))
    if "SMALL" in pattern:
        return pattern.replace("SMALL", "".join(words))
    return pattern.format("_".join(words))


@given(
    st.lists(st.sampled_from(PARTS), min_size=1, unique=True),
    st.lists(st.sampled_from(AXIS), unique=True),
    st.sampled_from(sorted(PATTERNS)),
    st.randoms(use_true_random=False),
)
def test_renaming_a_vocabulary_keeps_its_counterparts(parts, axis, pattern, random):
    both = [(side, part) for part in parts for side in (0, 1)] + [(None, name) for name in axis]
    random.shuffle(both)
    names = [
        part if side is None else renamed(PATTERNS[pattern][side], part) for side, part in both
    ]
    expected = [
        i if side is None else both.index((1 - side, part)) for i, (side, part) in enumerate(both)
    ]
    assert list(read_sides(names).mirror) == expected


@given(
    st.lists(
        st.text(st.sampled_from("lrLRfF_ 12aE左g"), min_size=1, max_size=5),
        unique_by=lambda name: name.lower(),
    )
)
def test_counterparts_are_mutual_whatever_the_names(names):
    pairs(names)


@pytest.mark.parametrize("file", ["dogs/annotations.json", "bees/train.json"])
def test_flip_indices_of_real_data_are_what_the_names_say(file):
    if not (real_images.ROOT / file).is_file():
        pytest.skip(f"{file} is not there (HOMOLOG_DATA)")
    (category,) = json.loads((real_images.ROOT / file).read_text("utf-8"))["categories"]
    assert list(KeypointSchema.from_names(category["keypoints"]).mirror) == category["flip_indices"]


@pytest.mark.parametrize(
    ("text", "names", "mirror"),
    [
        ("nose\nleft_eye\nright_eye\n", "nose left_eye right_eye", (0, 2, 1)),
        ("a\nb\nc\na:c\n", "a b c", (2, 1, 0)),
        ("nose\na:b\n\n tail \n", "nose a b tail", (0, 2, 1, 3)),
        ("# a wing\na\tc\nb\tb\nc\ta\n", "a b c", (2, 1, 0)),
        ("\ufeffa,b\r\nb,a\r\n", "a b", (1, 0)),
    ],
)
def test_files_of_names(tmp_path, text, names, mirror):
    path = tmp_path / "names.txt"
    path.write_text(text, "utf-8")
    schema = KeypointSchema.load(path)
    assert schema.names == tuple(names.split()) and schema.mirror == mirror and schema.sides_known
    assert KeypointSchema.load(str(path)) == schema
    assert KeypointSchema.numbered(0).sides_known is False


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "schema: expected names of keypoints, one on each line, got .*names.txt"),
        ("a:b:c", "names.txt, line 1: expected a name or a pair left:right, got 'a:b:c'"),
        ("a\n:b", "names.txt, line 2: expected a name or a pair left:right, got ':b'"),
        ("a\nb\nc\na:b\na:c", "names.txt: sides: expected one counterpart of 'a', got 'b' and 'c'"),
        ("a\nA", "names.txt: names: expected each keypoint once"),
    ],
)
def test_files_that_are_none_of_names(tmp_path, text, reason):
    path = tmp_path / "names.txt"
    path.write_text(text)
    with pytest.raises(HomologError, match=reason):
        KeypointSchema.load(path)


def test_sides_that_somebody_tells(tmp_path):
    unknown = KeypointSchema.from_names(["a", "b", "c", "d"])
    assert not unknown.sides_known
    told = unknown.with_sides(["a:c"])
    assert told == KeypointSchema.from_pairs(list("abcd"), [(0, 2)])
    assert told.mirror == (2, 1, 0, 3) and told.sides_known and told.groups == ((0, 2),)
    none = unknown.with_sides("none")
    assert none.mirror == (0, 1, 2, 3) and none.sides_known
    assert KeypointSchema.from_pairs(["a", "b", "c", "d"], []) == none
    path = tmp_path / "sides.txt"
    path.write_text("d:b\n")
    assert unknown.with_sides(path) == unknown.with_sides(["d:b"]) == unknown.with_sides([path])
    # What is told goes before what the names say.
    read = KeypointSchema.from_names(["left_a", "right_a", "x"])
    assert read.with_sides([("left_a", "x")]).mirror == (2, 1, 0)
    assert read.with_sides([("left_a", "left_a")]).mirror == (0, 1, 2)
    path.write_text("p\nq\n")
    for wrong, reason in (
        (["a:x"], "sides: expected names of keypoints, a, b, c, d, got 'x'"),
        (["a"], "sides: expected none, pairs left:right of names, or a file of them, got 'a'"),
        (["a:b", "c:a"], "sides: expected one counterpart of 'a', got 'b' and 'c'"),
        ([path], "sides: expected pairs left:right or names that tell sides, got .*sides.txt"),
        (3, "sides: expected a list of pairs left:right, or none, got 3"),
    ):
        with pytest.raises(HomologError, match=reason):
            unknown.with_sides(wrong)


def test_sides_of_several_categories():
    """Pairs are for the categories that have both names, `none` for those that need it."""
    schemas = {
        "dog": KeypointSchema.from_names(["left_eye", "right_eye"]),
        "wing": KeypointSchema.from_names(["1", "2"]),
        "fly": KeypointSchema.from_names(["1", "2", "3"]),
    }
    told = tell_sides(schemas, ["1:2"])
    assert told["dog"] == schemas["dog"]
    assert told["wing"].mirror == (1, 0) and told["fly"].mirror == (1, 0, 2)
    none = tell_sides(schemas, ["none"])
    assert none["dog"] == schemas["dog"] and none["fly"].mirror == (0, 1, 2)
    assert all(schema.sides_known for schema in (*told.values(), *none.values()))
    assert tell_sides(schemas, []) == schemas
    with pytest.raises(HomologError, match=r"sides: expected names .*, left_eye, .* got '1:eye'"):
        tell_sides(schemas, ["1:eye"])
    assert unknown_sides(told) is None
    note = unknown_sides(schemas)
    assert note is not None and "'wing', 'fly'" in note and "--sides" in note and "\n" not in note


def test_flips_need_sides():
    from homolog.image.poses import POSE_SETS

    known, unknown = (KeypointSchema.from_names(n) for n in (["l_a", "r_a"], ["a", "b"]))
    check_flips({"a": known, "b": unknown}, POSE_SETS["rotations"])
    check_flips(known, POSE_SETS["all"])
    with pytest.raises(HomologError, match="which keypoints of 'b' are left and right, got flip"):
        check_flips({"a": known, "b": unknown}, POSE_SETS["all"])
