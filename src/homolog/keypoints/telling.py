"""Sides that somebody tells for keypoints whose names do not, and flips that need to know them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from homolog.errors import HomologError
from homolog.image.poses import PoseVariant
from homolog.keypoints.entries import abbreviate
from homolog.keypoints.schema import KeypointSchema, pairs_of
from homolog.keypoints.side_names import read_sides

HOW_TO_TELL_SIDES = (
    "try --sides (in Python: schema.with_sides) with pairs left:right of names, with a file of "
    "names and pairs, or with none where every point is its own counterpart"
)
"""How to tell sides, for messages."""


def tell_sides(
    schemas: Mapping[str, KeypointSchema], sides: Sequence[Any]
) -> dict[str, KeypointSchema]:
    """Schemas with sides as somebody tells them (`KeypointSchema.with_sides`).

    Pairs are for all categories that have both names. `none` is for those whose sides are not
    known, or for all where they are.

    Args:
        schemas: by category.
        sides: pairs of names or texts `left:right`, the name of a file, or `none`; nothing leaves
            the schemas as they are.

    Raises:
        HomologError: something is none of these, or no category has both names of a pair.
    """
    told = dict(schemas)
    if not sides:
        return told
    if list(sides) == ["none"]:
        unknown = [name for name, schema in schemas.items() if not schema.sides_known]
        return told | {name: schemas[name].with_sides("none") for name in unknown or schemas}
    pairs = pairs_of(sides)
    fitting = {
        name: [pair for pair in pairs if all(each in schema.names for each in pair)]
        for name, schema in schemas.items()
    }
    for pair in pairs:
        if not any(pair in own for own in fitting.values()):
            names = dict.fromkeys(name for schema in schemas.values() for name in schema.names)
            raise HomologError(
                f"sides: expected names of keypoints, {abbreviate(list(names))}, got "
                f"{':'.join(map(str, pair))!r}"
            )
    return told | {name: schemas[name].with_sides(own) for name, own in fitting.items() if own}


def contradicted_sides(category: Any) -> str | None:
    """A line that says where `flip_indices` pair other keypoints than the names do, if they do.

    Args:
        category: an entry of a COCO file's `categories`; whoever uses it says if it is malformed.
    """
    try:
        schema = KeypointSchema.coco(category)
    except HomologError:
        return None
    names = schema.names
    told = read_sides(names).mirror
    wrong = [i for i, other in enumerate(told) if other > i and schema.mirror[i] != other]
    if "flip_indices" not in category or not wrong:
        return None
    first, own = wrong[0], schema.mirror[wrong[0]]
    return (
        f"category {category.get('name')}: flip_indices pair {names[first]} with "
        f"{'itself' if own == first else names[own]}, and its name pairs it with "
        f"{names[told[first]]} ({len(wrong)} such pairs); flip_indices are followed, try to "
        "correct them or to leave them out"
    )


def check_flips(
    schemas: KeypointSchema | Mapping[str, KeypointSchema], poses: Iterable[PoseVariant]
) -> None:
    """Refuse flipped images of keypoints whose sides are not known.

    Args:
        schemas: of the keypoints, or of those of each category.
        poses: that images are asked for in.

    Raises:
        HomologError: one of the poses is flipped, and the sides of a schema are not known.
    """
    flipped = next((pose for pose in poses if pose.flip), None)
    if flipped is None:
        return
    named = {"": schemas} if isinstance(schemas, KeypointSchema) else schemas
    for name, schema in named.items():
        if not schema.sides_known:
            raise HomologError(
                f"poses: expected none with a flip, for nothing says which keypoints{_of(name)} "
                f"are left and right, got {flipped.name}; {HOW_TO_TELL_SIDES}"
            )


def unknown_sides(schemas: Mapping[str, KeypointSchema]) -> str | None:
    """Why flips are left out, in one line; None where all sides are known."""
    unknown = [name for name, schema in schemas.items() if not schema.sides_known]
    if not unknown:
        return None
    of = abbreviate([repr(name) for name in unknown])
    return (
        f"flips are left out, for nothing says which keypoints of {of} are left and right; "
        f"{HOW_TO_TELL_SIDES}"
    )


def _of(category: str) -> str:
    return f" of {category!r}" if category else ""
