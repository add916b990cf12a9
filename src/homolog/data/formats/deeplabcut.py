"""DeepLabCut's tables of keypoints (`.csv`), of one animal or of several individuals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from homolog.data.formats.entries import Entries, Entry, corners_around
from homolog.errors import HomologError

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
    header: dict[str, Sequence[str]] = {}
    for _, row in lines[:4]:
        if row[0].strip() in ("scorer", "individuals", "bodyparts", "coords"):
            header[row[0].strip()] = row
    coordinates = header.get("coords")
    if coordinates is None or "bodyparts" not in header:
        raise HomologError(
            f"boxes: {path}: expected the header of a DeepLabCut table with bodyparts and coords, "
            "got another"
        )
    first = next(at for at, value in enumerate(coordinates) if value in _COORDINATES)
    individuals = header.get("individuals", ["1"] * len(coordinates))
    columns: dict[str, tuple[list[int], ...]] = {}
    for at in range(first, len(coordinates)):
        if coordinates[at] in _COORDINATES and individuals[at] != _SHARED:
            pair = columns.setdefault(individuals[at], ([], []))
            pair[_COORDINATES.index(coordinates[at])].append(at)
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
            values = np.array([float(value) if value.strip() else np.nan for value in row[first:]])
        except ValueError:
            problems.append(f"{location}: expected numbers after the image, got others")
            continue
        for name, (xs, ys) in columns.items():
            if max(*xs, *ys) >= first + len(values):
                problems.append(f"{location}: expected {len(coordinates)} values, got {len(row)}")
                break
            points = np.column_stack([values[np.array(at) - first] for at in (xs, ys)])
            if np.isfinite(points).all(axis=1).any():
                where = f"{location}, {name}"
                entries.append(Entry(where, image, corners_around(points), "corners", name))
    notes = []
    if _SHARED in individuals:
        notes.append(f"{path}: body parts of no individual ({_SHARED}) are left out")
    return Entries(entries, images, {}, problems, notes)
