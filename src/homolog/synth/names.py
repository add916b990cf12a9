"""What the names of bones tell: their side, the part of the body they move."""

from __future__ import annotations

import re

_SIDE = re.compile(r"left|right|(?<![A-Za-z])[lr](?![A-Za-z])", re.IGNORECASE)


_LAST = re.compile(r"(?<=[a-z0-9])[LR](?=$|_)")


_HELPERS = re.compile(r"(^|_)(ik|fk|ctrl|control|pole|target)(_|$)")


_SHORTER = {
    "ff": "front_paw", "ffb": "back_paw",
    "ik_front_leg": "front_pastern", "ik_back_leg": "back_pastern",
}  # fmt: skip


_GROUPS = (
    ("ear", r"ear"),
    ("tail", r"tail"),
    ("neck", r"neck"),
    ("head", r"head|skull|jaw|muzzle|snout|face"),
    ("leg", r"leg|paw|foot|ff|ffb|toe|hoof|thigh|shin|knee|arm|hand|shoulder|pastern|finger|wing"),
    ("trunk", r"torso|back|body|spine|chest|hip|hips|pelvis|belly|abdomen|root"),
)


def side_of(name: str) -> int:
    """1 for a name of something on the left, -1 on the right, 0 for neither.

    >>> side_of("FrontLeg.L"), side_of("mixamorig:RightArm"), side_of("Ear_r"), side_of("Tail")
    (1, -1, -1, 0)
    """
    found = _LAST.search(name) or _SIDE.search(name)
    if found is None:
        return 0
    return 1 if found[0][0].lower() == "l" else -1


def base_of(name: str) -> str:
    """A name without its side, in snake case.

    >>> base_of("FrontLowerLeg.L"), base_of("IKFrontLeg.R"), base_of("rightEar2")
    ('front_lower_leg', 'ik_front_leg', 'ear2')
    """
    name = _LAST.sub("", name.rpartition(":")[2])
    name = _SIDE.sub("", name)
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def keypoint_name(base: str, side: int) -> str:
    """The name of a keypoint at a bone.

    >>> keypoint_name("ik_front_leg", 1), keypoint_name("neck2", 0)
    ('left_front_pastern', 'neck2')
    """
    stem, tip = base.removesuffix("_tip"), base[len(base.removesuffix("_tip")) :]
    stem = _SHORTER.get(stem) or _HELPERS.sub("_", stem).strip("_") or stem
    return ("", "left_", "right_")[side] + stem + tip


def group_of(base: str) -> str:
    """What a bone belongs to: ear, tail, neck, head, leg, trunk or other."""
    words = set(re.sub(r"\d+", "", base).split("_"))
    for group, pattern in _GROUPS:
        if any(re.fullmatch(pattern, word) for word in words):
            return group
    return "other"
