"""Instances: which object of an image in one file is which in another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from homolog.data.boxes import XYWH
from homolog.data.formats.entries import InstanceId
from homolog.labelling.neighbours import overlap

INSTANCE = "instance_id"
"""The member of an annotation that names its object, the same in every file."""

_SAME_ID = 0.1  # overlap of two boxes with one id, below which the id was given to another object
SAME_PLACE = 0.5
"""Overlap of two boxes that are of one object whatever their ids."""

Identity = tuple[InstanceId | None, XYWH]
"""The id of an object, if it has one, and its box."""


def match_instances(
    objects: Sequence[Identity],
    others: Sequence[Identity],
    former: Sequence[XYWH | None] | None = None,
) -> list[int | None]:
    """For each object the position of the same one among others; each is used once.

    Objects are the same if they have one id and their boxes overlap at all; those that are left, if
    their boxes overlap by half, the most overlapping ones first.

    Args:
        objects: those to look for.
        others: those to look among.
        former: where the boxes of these were before somebody changed them; what lies there is the
            same object, too.
    """
    earlier = former or [None] * len(others)
    found: list[int | None] = [None] * len(objects)
    pairs = sorted(
        (
            (
                -max(overlap(box, each) for each in (other_box, before) if each is not None),
                row,
                column,
                number is not None and number == other,
            )
            for row, (number, box) in enumerate(objects)
            for column, ((other, other_box), before) in enumerate(zip(others, earlier, strict=True))
        ),
    )
    taken: set[int] = set()
    for by_id in (True, False):
        for score, row, column, same_id in pairs:
            if found[row] is not None or column in taken:
                continue
            if -score >= (_SAME_ID if by_id else SAME_PLACE) and same_id >= by_id:
                found[row] = column
                taken.add(column)
    return found


def free_instance(taken: Iterable[InstanceId | None]) -> int:
    """The lowest number from 1 on that is not the id of another object.

    >>> free_instance([1, "a", 3])
    2
    """
    used = set(taken)
    return next(number for number in range(1, len(used) + 2) if number not in used)
