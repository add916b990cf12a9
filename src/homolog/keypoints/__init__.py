"""Keypoint schemas: names, left-right counterparts, and groups of keypoints that look alike."""

from homolog.keypoints.schema import KeypointSchema, builtin_schemas
from homolog.keypoints.side_names import SIDE_IN_NAME, NamedSides, read_sides
from homolog.keypoints.telling import (
    HOW_TO_TELL_SIDES,
    check_flips,
    contradicted_sides,
    tell_sides,
    unknown_sides,
)

__all__ = [
    "HOW_TO_TELL_SIDES",
    "SIDE_IN_NAME",
    "KeypointSchema",
    "NamedSides",
    "builtin_schemas",
    "check_flips",
    "contradicted_sides",
    "read_sides",
    "tell_sides",
    "unknown_sides",
]
