"""Files with the names of landmarks, for formats that number them.

A line for each landmark: its name, and perhaps in a second column (after a tab, comma or semicolon)
that of its left-right counterpart, which on the symmetry axis is its own. Lines `left:right` are
pairs of counterparts, too: of two names, or of two curves (`curve1:curve2`). Lines that begin with
`#` are comments.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from homolog.data.formats.document import ReadOptions
from homolog.data.formats.landmarks.curves import consecutive, semilandmark_names
from homolog.data.reading import unreadable
from homolog.errors import HomologError
from homolog.keypoints import KeypointSchema
from homolog.keypoints.entries import read_names
from homolog.utils.outputs import write_atomically

NAMES_SUFFIX = ".names.txt"
"""The end of the name of the file that is read with a file of landmarks, if there is one."""

_RESERVED = re.compile(r"[\t\r\n,;:]|^#|^\s|\s$|^$")
"""What a name in such a file cannot hold."""


def names_of(
    path: Path, options: ReadOptions, own: Sequence[str], curve_counts: Sequence[int] = ()
) -> tuple[list[str], list[int] | None]:
    """The names of landmarks and semilandmarks, and their counterparts if a file tells them.

    Args:
        path: of the file of landmarks.
        options: the file of names; otherwise the one beside `path`, if there is one.
        own: the names or numbers of landmarks as the file of landmarks has them.
        curve_counts: the number of semilandmarks of each curve.

    Raises:
        HomologError: the file of names cannot be read, or does not fit.
    """
    along = semilandmark_names(curve_counts)
    beside = path.with_name(path.stem + NAMES_SUFFIX)
    source = options.names or (beside if beside.is_file() else None)
    if source is None:
        return [*own, *along], None
    names, pairs = _read(source)
    curves = {
        f"curve{number}": [along[point] for point in curve]
        for number, curve in enumerate(consecutive(0, curve_counts), start=1)
    }
    names = [name for name in names if name not in curves]
    if len(names) == len(own):
        names += along
    if len(names) != len(own) + len(along):
        expected = f"{len(own)} landmarks" + (f" or {len(own) + len(along)}" if along else "")
        raise HomologError(f"names: {source}: expected the names of {expected}, got {len(names)}")
    if not pairs:
        return names, None
    told: list[tuple[str, str]] = []
    for pair in pairs:
        left, right = (curves.get(name, [name]) for name in pair)
        if len(left) != len(right):
            raise HomologError(
                f"names: {source}: expected {pair[0]} and {pair[1]} with equal numbers of points, "
                f"got {len(left)} and {len(right)}"
            )
        told += zip(left, right, strict=True)
    try:
        return names, list(KeypointSchema.from_names(names).with_sides(told).mirror)
    except HomologError as error:
        raise HomologError(f"names: {source}: {error}") from None


def ordered_names(options: ReadOptions, found: Sequence[str]) -> dict[str, Any]:
    """The keypoints of a category in a format that names them, ordered by the file of names.

    Args:
        options: the file of names, if there is one.
        found: the names in the file of labels.

    Returns:
        The members `keypoints` and perhaps `flip_indices` of the category.

    Raises:
        HomologError: the file of names cannot be read, or lacks one of those found.
    """
    if options.names is None:
        return {"keypoints": list(found)}
    names, pairs = _read(options.names)
    lacking = [name for name in found if name not in names]
    if lacking:
        raise HomologError(
            f"names: {options.names}: expected all names of keypoints, got none for {lacking[0]!r}"
        )
    if not pairs:
        return {"keypoints": names}
    mirror = KeypointSchema.from_names(names).with_sides(pairs).mirror
    return {"keypoints": names, "flip_indices": list(mirror)}


def _read(path: Path) -> tuple[list[str], list[tuple[str, str]]]:
    """The names and pairs in a file of names.

    Raises:
        HomologError: it cannot be read, or has a name twice.
    """
    try:
        names, pairs = read_names(path.read_text("utf-8-sig"), path)
    except OSError as error:
        raise HomologError(f"names: {unreadable(path, error)}") from None
    except UnicodeDecodeError:
        raise HomologError(f"names: expected a text file in UTF-8, got {path}") from None
    if len(set(names)) != len(names):
        again = next(name for name in names if names.count(name) > 1)
        raise HomologError(f"names: {path}: expected each name once, got {again!r} again")
    return names, pairs


def write_names(
    path: Path,
    category: Mapping[str, Any],
    order: Sequence[int],
    curve_counts: Sequence[int],
    argument: str,
) -> list[str]:
    """Write the names and counterparts of keypoints beside a file of landmarks.

    Nothing is written where the names are the numbers that they have anyway, and sides are not
    told.

    Args:
        path: of the file of landmarks.
        category: of the keypoints.
        order: the keypoints in the order of the file.
        curve_counts: the number of semilandmarks of each curve, the last ones of `order`.
        argument: what error messages call the file.

    Returns:
        A line that says where they are, or why they are not written.

    Raises:
        HomologError: the file cannot be written, or there is one with other names.
    """
    names = [str(category["keypoints"][keypoint]) for keypoint in order]
    mirror = category.get("flip_indices")
    beside = path.with_name(path.stem + NAMES_SUFFIX)
    landmarks = len(names) - sum(curve_counts)
    numbers = [*map(str, range(1, landmarks + 1)), *semilandmark_names(curve_counts)]
    lines = names
    if mirror is not None:
        counterpart = {k: category["keypoints"][other] for k, other in enumerate(mirror)}
        lines = [f"{name}\t{counterpart[k]}" for name, k in zip(names, order, strict=True)]
    plain = mirror is None and names == numbers
    unwritable = [n for n in names if _RESERVED.search(n) or not n.isprintable()]
    data = ("\n".join(lines) + "\n").encode()
    if beside.exists():
        if not unwritable and beside.is_file() and beside.read_bytes() == data:
            return []
        raise HomologError(
            f"{argument}: expected no names of landmarks beside {path.name}, or the same, got "
            f"others in {beside}; try another folder or name"
        )
    if plain:
        return []
    if unwritable:
        return [
            f"names of landmarks are not written, for they hold commas, semicolons, colons or "
            f"blanks at their ends: {unwritable[0]!r}"
        ]
    write_atomically(beside, data, argument)
    return [f"the landmarks' names are in {beside.name} beside it, which is read with {path.name}"]
