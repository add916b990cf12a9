"""What the names of bones say: their side, and the part of the body that they move."""

from __future__ import annotations

import re
from typing import Any

from homolog import moved
from homolog.keypoints import SIDE_IN_NAME

_FINAL_LETTER = re.compile(r"(?<=[a-z0-9])[LR](?=$|_)")
"""A side as a capital letter glued to the end of a name, such as `PawL` has it."""

_HELPERS = re.compile(r"(^|_)(ik|fk|ctrl|control|pole|target)(_|$)")

_KEYPOINT_NAMES = {
    "ff": "front_paw", "ffb": "back_paw",
    "ik_front_leg": "front_pastern", "ik_back_leg": "back_pastern",
}  # fmt: skip
"""Keypoint names for bones whose own names say nothing to a reader."""

_BODY_PARTS = (
    ("ear", r"ear"),
    ("tail", r"tail"),
    ("neck", r"neck"),
    ("head", r"head|skull|jaw|muzzle|snout|face"),
    ("leg", r"leg|paw|foot|ff|ffb|toe|hoof|thigh|shin|knee|arm|hand|shoulder|pastern|finger|wing"),
    ("trunk", r"torso|back|body|spine|chest|hip|hips|pelvis|belly|abdomen|root"),
)


def side_of(name: str) -> int:
    """The side that a bone's name tells: 1 for left, -1 for right, 0 for neither.

    >>> side_of("FrontLeg.L"), side_of("mixamorig:RightArm"), side_of("Ear_r"), side_of("Tail")
    (1, -1, -1, 0)
    """
    found = _FINAL_LETTER.search(name) or SIDE_IN_NAME.search(name)
    if found is None:
        return 0
    return 1 if found[0][0].lower() == "l" else -1


def base_name(name: str) -> str:
    """A bone's name without its side and name space, in snake case.

    >>> base_name("FrontLowerLeg.L"), base_name("IKFrontLeg.R"), base_name("rightEar2")
    ('front_lower_leg', 'ik_front_leg', 'ear2')
    """
    name = _FINAL_LETTER.sub("", name.rpartition(":")[2])
    name = SIDE_IN_NAME.sub("", name)
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def keypoint_name(base: str, side: int) -> str:
    """The name of the keypoint at a bone.

    Args:
        base: the bone's `base_name`; `_tip` at its end marks the bone's far end.
        side: 1 for left, -1 for right, 0 for neither.

    >>> keypoint_name("ik_front_leg", 1), keypoint_name("neck2", 0)
    ('left_front_pastern', 'neck2')
    """
    stem, tip = base.removesuffix("_tip"), base[len(base.removesuffix("_tip")) :]
    stem = _KEYPOINT_NAMES.get(stem) or _HELPERS.sub("_", stem).strip("_") or stem
    return ("", "left_", "right_")[side] + stem + tip


def body_part(base: str) -> str:
    """The part of the body that a bone moves: ear, tail, neck, head, leg, trunk or other.

    Args:
        base: the bone's `base_name`.
    """
    words = set(re.sub(r"\d+", "", base).split("_"))
    for part, pattern in _BODY_PARTS:
        if any(re.fullmatch(pattern, word) for word in words):
            return part
    return "other"


def __getattr__(name: str) -> Any:
    return moved.attribute(__name__, name)
