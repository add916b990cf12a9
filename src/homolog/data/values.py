"""Ids, names and numbers as files hold them, checked in one place."""

from __future__ import annotations

from typing import Any

Id = int | str

LARGEST = 1e15
"""Of numbers in files at most: whatever they count or measure, none is larger."""

_LARGEST_ID = 2**63
_LONGEST_NAME = 1000  # characters; a file's may have 255 bytes, a path 4096 in theory


def as_id(value: Any) -> Id:
    """An id as JSON holds it: a whole number or text.

    Raises:
        ValueError: it is neither, or nobody's.
    """
    if isinstance(value, float) and value == value // 1:
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LARGEST_ID:
        return value
    if isinstance(value, str) and value:
        return as_name(value, "id")
    raise ValueError(f"expected a whole number or text as an id, got {value!r:.40}")


def as_name(value: Any, what: str) -> str:
    """A name as JSON holds it: text, or a number that stands for one.

    Args:
        value: the name.
        what: what error messages call it.

    Raises:
        ValueError: it is neither, too long, or has characters that no name has.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError(f"{what}: expected a name, got {value!r:.40}")
    name = str(value)
    if len(name) > _LONGEST_NAME:
        raise ValueError(
            f"{what}: expected at most {_LONGEST_NAME} characters, got {len(name)}, {name[:40]!r} …"
        )
    if "\0" in name:
        raise ValueError(f"{what}: expected a name without NUL, got {name!r:.40}")
    return name


def is_finite(value: Any) -> bool:
    """Whether a value is a finite number, no larger than files hold."""
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and -LARGEST <= value <= LARGEST
    )
