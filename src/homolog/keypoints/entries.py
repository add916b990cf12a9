"""What users say of keypoints: lists of names, pairs of counterparts, and files of both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from homolog.errors import HomologError

_SHOWN = 40  # names in a message


def as_list(given: Any, name: str, of: str) -> list[Any]:
    """What is given, as a list.

    Raises:
        HomologError: it is not several; the message calls it by `name`, a list of `of`.
    """
    if not isinstance(given, (str, bytes, Mapping)) and isinstance(given, Iterable):
        try:
            return list(given)
        except TypeError:
            pass  # an array or a tensor of a single number
    raise HomologError(f"{name}: expected a list of {of}, got {given!r}")


def as_names(names: Any) -> tuple[str, ...]:
    """Names of keypoints, after a check that they are names and each is there once."""
    given = tuple(as_list(names, "names", "names"))
    if not all(isinstance(name, str) for name in given):
        raise HomologError(f"names: expected a list of names, got {list(given)}")
    if len({name.lower() for name in given}) != len(given):
        raise HomologError(f"names: expected each keypoint once, got {list(given)}")
    return tuple(map(str, given))


def as_pair(given: Any) -> tuple[Any, Any]:
    """A pair of keypoints: two names or ids, or a text `left:right`.

    Raises:
        HomologError: it is none.
    """
    parts = given.split(":") if isinstance(given, str) else given
    try:
        left, right = parts
        if any(isinstance(each, str) and not each for each in (left, right)):
            raise ValueError
    except (TypeError, ValueError):
        raise HomologError(
            f"sides: expected none, pairs left:right of names, or a file of them, got {given!r}"
        ) from None
    return left, right


def read_names(text: str, path: Path) -> tuple[list[str], list[tuple[str, str]]]:
    """The names and pairs of counterparts in a file of names.

    A line is a name, perhaps with that of its counterpart in a second column (after a tab, comma
    or semicolon), or a pair `left:right`. Names of a pair that have no line of their own come in
    the place of the pair. Lines that begin with `#` are comments.

    Args:
        text: of the file.
        path: of the file, for messages.

    Raises:
        HomologError: a line is none of these, or there are no names.
    """
    rows: list[tuple[str, list[str]]] = []
    for number, line in enumerate(map(str.strip, text.splitlines()), start=1):
        if line and not line.startswith("#"):
            separator = next((mark for mark in "\t;," if mark in line), ":")
            parts = [part.strip() for part in line.split(separator)]
            if len(parts) > 2 or not all(parts):
                raise HomologError(
                    f"schema: {path}, line {number}: expected a name or a pair left:right, got "
                    f"{line!r}"
                )
            rows.append((separator, parts))
    listed = {parts[0] for separator, parts in rows if len(parts) == 1 or separator != ":"}
    names: list[str] = []
    pairs: list[tuple[str, str]] = []
    for separator, parts in rows:
        own = len(parts) == 1 or separator != ":"
        names += parts[:1] if own else [name for name in parts if name not in listed]
        if len(parts) == 2:
            pairs.append((parts[0], parts[1]))
    if not names:
        raise HomologError(f"schema: expected names of keypoints, one on each line, got {path}")
    return names, pairs


def mirror_of_pairs(pairs: Any, count: int) -> tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]:
    """The mirror counterparts and groups that a COCO category's `flip_pairs` stand for."""
    mirror = list(range(count))
    try:
        for a, b in pairs:
            mirror[a], mirror[b] = b, a
    except (TypeError, ValueError, IndexError):
        raise HomologError(
            f"flip_pairs: expected pairs of ids from 0 to {count - 1}, got {pairs!r}"
        ) from None
    return tuple(mirror), counterparts(mirror)


def counterparts(mirror: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """The pairs of different keypoints that are each other's mirror counterparts."""
    return tuple((i, other) for i, other in enumerate(mirror) if i < other)


def abbreviate(names: Sequence[str]) -> str:
    """The first names of a list, for messages."""
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} ... ({len(names)} names)"
