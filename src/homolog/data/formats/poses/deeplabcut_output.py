"""DeepLabCut's tables of labels, written as text or in HDF5."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from homolog.data.formats.document import Document, WriteOptions
from homolog.data.formats.poses.members import keypoint_rows, posed, without_keypoints
from homolog.data.formats.writing import unheld
from homolog.data.reading import abbreviate
from homolog.errors import HomologError
from homolog.utils.optional import require
from homolog.utils.outputs import temporary_output, write_atomically

HEADER = ("scorer", "individuals", "bodyparts", "coords")
"""How the lines of a table's header begin; that of individuals may be missing."""
COORDINATES = ("x", "y")
SHARED = "single"
"""What DeepLabCut calls the body parts that belong to no individual; their category here."""
CATEGORY = "animal"
"""The category of individuals, which the tables do not name."""
_HDF_KEY = "df_with_missing"
_SCORER = "homolog"


def write(path: Path, document: Document, options: WriteOptions = WriteOptions()) -> list[str]:
    """Write labels as DeepLabCut keeps those of one person, as text or in HDF5 (`.h5`).

    Where an image has several objects, or objects have instance ids, the table has individuals.

    Returns:
        What the format cannot hold, a line each.

    Raises:
        HomologError: there are several lists of keypoints, or the file cannot be written.
    """
    category, shared = _written_categories(document, options.argument)
    notes = unheld(
        document, "DeepLabCut", {"keypoints", "num_keypoints", "instance_id"}, {"keypoints"}
    )
    notes += without_keypoints(document, "DeepLabCut", empty=False)
    occluded = sum((each.get("keypoints") or [])[2::3].count(1) for each in document["annotations"])
    named = [each["name"] for each in (category,) if each["id"] is not None]
    if named not in ([], [CATEGORY]):
        notes.append(f"DeepLabCut holds no names of categories: {named[0]}")
    if occluded:
        notes.append(
            f"DeepLabCut holds no occluded keypoints, which are written as visible: {occluded}"
        )
    objects, individuals = _by_individual(document, category, shared)
    scorer = path.stem.removeprefix("CollectedData_") if "CollectedData_" in path.stem else _SCORER
    columns = [
        (scorer, *([] if individual is None else [individual]), part, coordinate)
        for individual in individuals
        for part in (shared if individual == SHARED else category)["keypoints"]
        for coordinate in COORDINATES
    ]
    index, rows = [], []
    for image in document["images"]:
        of_image = objects.get(image["id"], {})
        values: list[float] = []
        for individual in individuals:
            count = len((shared if individual == SHARED else category)["keypoints"])
            points = np.reshape(of_image.get(individual, [0.0] * 3 * count), (-1, 3))
            values += np.where(points[:, 2:] > 0, points[:, :2], np.nan).flatten().tolist()
        index.append(str(image["file_name"]).replace("\\", "/"))
        rows.append(values)
    if other := [name for name in index if not _is_of_project(name)]:
        notes.append(
            "DeepLabCut looks for images as labeled-data/FOLDER/IMAGE, which these are not: "
            f"{abbreviate(other, 3)}"
        )
    levels = [level for level in HEADER if len(columns[0]) == 4 or level != "individuals"]
    if path.suffix.lower() == ".h5":
        _write_hdf(path, columns, levels, index, rows, options.argument)
    else:
        _write_csv(path, columns, levels, index, rows, options.argument)
    return notes


def _written_categories(
    document: Document, argument: str
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The category of individuals, and that of body parts of no individual."""
    used = {each["category_id"] for each in posed(document)}
    named = [c for c in document["categories"] if c["id"] in used and c.get("keypoints")]
    shared: Mapping[str, Any] = next(
        (c for c in named if c["name"] == SHARED), {"id": None, "keypoints": []}
    )
    others = [c for c in named if c["id"] != shared["id"]]
    if not named:
        raise HomologError(f"{argument}: expected labels with keypoints, got none")
    if any(each["keypoints"] != others[0]["keypoints"] for each in others):
        listed = abbreviate(str(each["name"]) for each in others)
        raise HomologError(
            f"{argument}: expected one list of keypoints in a DeepLabCut table, got those of "
            f"{listed}; try a file for each category"
        )
    return (others[0] if others else {"id": None, "keypoints": []}), shared


def _by_individual(
    document: Document, category: Mapping[str, Any], shared: Mapping[str, Any]
) -> tuple[dict[Any, dict[str | None, list[float]]], list[str | None]]:
    """The keypoints of each image's objects by individual, and all individuals.

    In a table of one animal its individual is None.
    """
    found: dict[Any, dict[str | None, list[float]]] = {}
    order: dict[str | None, None] = {}
    same = [c["id"] for c in document["categories"] if c.get("keypoints") == category["keypoints"]]
    annotations = [each for each in posed(document) if each["category_id"] in {*same, shared["id"]}]
    counts = [each["image_id"] for each in annotations]
    several = len(set(counts)) < len(counts) or shared["id"] is not None
    named = any(each.get("instance_id") is not None for each in annotations)
    for each in annotations:
        of_image = found.setdefault(each["image_id"], {})
        name: str | None = None
        if each["category_id"] == shared["id"]:
            name = SHARED
        elif several or named:
            given = each.get("instance_id")
            numbered = (f"individual{number}" for number in itertools.count(1))
            name = next(numbered) if given is None else str(given)
            if name in of_image:
                name = next(other for other in numbered if other not in of_image)
        of_image[name] = [value for row in keypoint_rows(each) for value in row]
        order.setdefault(name)
    return found, sorted(order, key=lambda name: name == SHARED)


def _is_of_project(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return len(parts) == 3 and parts[0] == "labeled-data"


def _index(names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The columns that name images: three where all are images of a project, or else one."""
    split = all(map(_is_of_project, names))
    return (PurePosixPath(name).parts if split else (name,) for name in names)


def _write_csv(
    path: Path,
    columns: Sequence[tuple[str, ...]],
    levels: Sequence[str],
    names: Sequence[str],
    rows: Sequence[Sequence[float]],
    argument: str,
) -> None:
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    index = list(_index(names))
    more = [""] * (len(index[0]) - 1)
    for at, level in enumerate(levels):
        lines.writerow([level, *more, *(column[at] for column in columns)])
    for parts, row in zip(index, rows, strict=True):
        lines.writerow([*parts, *("" if np.isnan(value) else repr(value) for value in row)])
    write_atomically(path, text.getvalue().encode(), argument)


def _write_hdf(
    path: Path,
    columns: Sequence[tuple[str, ...]],
    levels: Sequence[str],
    names: Sequence[str],
    rows: Sequence[Sequence[float]],
    argument: str,
) -> None:
    pandas = require("pandas", "pose")
    require("tables", "pose")
    parts = list(_index(names))
    frame = pandas.DataFrame(
        np.array(rows, dtype=float).reshape(len(parts), len(columns)),
        index=pandas.MultiIndex.from_tuples(parts) if len(parts[0]) > 1 else list(names),
        columns=pandas.MultiIndex.from_tuples(columns, names=levels),
    )
    with temporary_output(path, argument) as temporary:
        frame.to_hdf(temporary, key=_HDF_KEY, mode="w")
