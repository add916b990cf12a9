"""Entries of objects as files give them: what every reader of boxes returns."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from homolog.image.masks import MaskReader

InstanceId = int | str
"""Names one object of several in an image; the same object has the same id in every file."""

BoxForm = Literal["box", "corners", "fractions"]
"""What the four numbers of an entry are: (x, y, width, height), or (x0, y0, x1, y1), in pixels; or
the centre's x and y, width and height as fractions of the image."""


@dataclass(frozen=True, eq=False)
class Entry:
    """An object as a file gives it, not checked.

    Attributes:
        location: file and entry, such as `boxes.csv, line 3`.
        image: the name of its image as in the file, the path of it where the reader found it, or a
            number where the file has no name.
        numbers: of its box.
        form: what these numbers are.
        instance: its id, None where the file has none.
        score: None where the file has none.
        category: its name, None where the file has none.
        mask: gives its mask; None where there is none.
        mask_size: width and height of that.
    """

    location: str
    image: str | int | Path
    numbers: Any
    form: BoxForm = "box"
    instance: Any = None
    score: Any = None
    category: str | None = None
    mask: MaskReader | None = None
    mask_size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Entries:
    """All entries of a file.

    Attributes:
        entries: in the order of the file.
        images: names or paths of images that the file lists, with objects or without.
        sizes: width and height that the file gives for images, by their names.
        problems: a line for each entry that cannot be understood.
        notes: other remarks, a line each.
    """

    entries: Sequence[Entry]
    images: Sequence[str | Path] = ()
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    problems: Sequence[str] = ()
    notes: Sequence[str] = ()


def corners_around(points: Float[np.ndarray, "K 2"] | Sequence[Sequence[float]]) -> list[float]:
    """The corners (x0, y0, x1, y1) of the box around those points that are finite.

    Of fewer than two points that is no box, and whoever checks it says so.
    """
    array = np.asarray(points, dtype=float)
    seen = array[np.isfinite(array).all(axis=1)]
    return [*seen.min(axis=0), *seen.max(axis=0)] if len(seen) else [np.nan] * 4


def as_instance(value: Any) -> InstanceId:
    """An instance id from what a file holds: whole numbers in text become numbers.

    Raises:
        ValueError: it is neither a whole number nor text.

    >>> as_instance("07"), as_instance("7"), as_instance(7.0)
    ('07', 7, 7)
    """
    if isinstance(value, str) and (text := value.strip()):
        return int(text) if text.isdecimal() and str(int(text)) == text else text
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value == value // 1:
        return int(value)
    raise ValueError(f"instance: expected text or a whole number, got {value!r}")


def number_instances(
    images: Sequence[Path], instances: Sequence[InstanceId | None]
) -> list[InstanceId]:
    """Give objects without an instance id the lowest number that is free in their image.

    >>> number_instances([Path("a"), Path("a"), Path("b"), Path("a")], [None, 1, None, None])
    [2, 1, 1, 3]
    """
    taken: dict[Path, set[InstanceId]] = defaultdict(set)
    for image, instance in zip(images, instances, strict=True):
        if instance is not None:
            taken[image].add(instance)
    numbers = defaultdict[Path, Iterator[int]](lambda: itertools.count(1))
    return [
        next(n for n in numbers[image] if n not in taken[image]) if instance is None else instance
        for image, instance in zip(images, instances, strict=True)
    ]
