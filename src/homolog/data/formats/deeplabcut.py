"""DeepLabCut's tables of keypoints (`.csv`), of one animal or of several individuals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from homolog.data.formats.entries import Entries, Entry, corners_around
from homolog.errors import HomologError

_HEADER = ("scorer", "individuals", "bodyparts", "coords")
_COORDINATES = ("x", "y")
_SHARED = "single"
"""What DeepLabCut calls the body parts that belong to no individual."""


def read_entries(path: Path, lines: Sequence[tuple[int, Sequence[str]]]) -> Entries:
    """The objects of a table: the boxes around each individual's keypoints.

    Args:
        path: the file.
        lines: the number and the values of each line. The first are named `scorer`, perhaps
            `individuals`, `bodyparts` and `coords`; then each begins with an image.

    Raises:
        HomologError: the table is another, or its rows are frames of a video.
    """
    header = {row[0].strip(): row for _, row in lines[:4] if row[0].strip() in _HEADER}
    coordinates = header.get("coords", [])
    complete = {"bodyparts", "coords"} <= header.keys() and len({*map(len, header.values())}) == 1
    individuals = header.get("individuals", [""] * len(coordinates))
    columns: dict[str, tuple[list[int], list[int]]] = {}
    for at, name in enumerate(individuals if complete else []):
        if coordinates[at] in _COORDINATES and name != _SHARED:
            pair = columns.setdefault(name, ([], []))
            pair[_COORDINATES.index(coordinates[at])].append(at)
    if not columns or any(len(xs) != len(ys) for xs, ys in columns.values()):
        raise HomologError(
            f"boxes: {path}: expected the header of a DeepLabCut table with bodyparts and coords, "
            "got another"
        )
    first = next(at for at, value in enumerate(coordinates) if value in _COORDINATES)
    entries, problems, images = [], [], []
    for number, row in lines[len(header) :]:
        location = f"{path}, line {number}"
        image = "/".join(part.strip() for part in row[:first] if part.strip())
        if image.isdecimal():
            raise HomologError(
                f"{location}: expected the name of an image, got {image}; frames of a video are "
                "no images here, try to write them to files"
            )
        images.append(image)
        try:
            if len(row) != len(coordinates):
                raise ValueError(f"expected {len(coordinates)} values, got {len(row)}")
            values = np.array([float(value.strip() or "nan") for value in row[first:]])
        except ValueError as error:
            problems.append(f"{location}: {error}")
            continue
        for name, (xs, ys) in columns.items():
            points = np.column_stack([values[np.array(at) - first] for at in (xs, ys)])
            if np.isfinite(points).all(axis=1).any():
                where = f"{location}, {name}" if name else location
                entries.append(Entry(where, image, corners_around(points), "corners", name or None))
    notes = []
    if _SHARED in individuals:
        notes.append(f"{path}: body parts of no individual ({_SHARED}) are left out")
    return Entries(entries, images, {}, problems, notes)
