"""Sides and parts of the body, read from the names of bones."""

from homolog.synth.names import base_name, body_part, keypoint_name, side_of


def test_sides_and_parts_from_names():
    left = ["Paw.L", "paw_l", "LeftPaw", "mixamorig:LeftHand", "L_Paw", "paw.L_end", "PawL"]
    assert [side_of(name) for name in left] == [1] * len(left)
    right = [name.replace("Left", "Right").replace("L", "R").replace("_l", "_r") for name in left]
    assert [side_of(name) for name in right] == [-1] * len(right)
    assert all(base_name(a) == base_name(b) for a, b in zip(left, right, strict=True))
    none = ["Tail", "Skull", "Collar", "Pelvis", "Root", "upper", "", "Wheel"]
    assert [side_of(name) for name in none] == [0] * len(none)
    assert [keypoint_name("paw", side) for side in (0, 1, -1)] == ["paw", "left_paw", "right_paw"]
    assert [body_part(b) for b in ("front_paw", "ear2", "heart", "tail3", "torso")] == [
        "leg", "ear", "other", "tail", "trunk",
    ]  # fmt: skip
