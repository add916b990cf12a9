"""Objects of Ultralytics YOLO labels: a data set (`.yaml`), or a folder of text files."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from homolog.data.formats.entries import Entries, Entry
from homolog.data.formats.segmentation import fill_polygons
from homolog.data.formats.yolo_layout import DataSet, find_labels, match_names, read_yaml
from homolog.errors import HomologError
from homolog.image import reading

_WORD = "class and (centre x, centre y, width, height) as fractions of the image"


def read(path: Path, folder: Path | None = None) -> Entries:
    """Read the objects of a data set's images, of all its splits.

    Args:
        path: the YAML file.
        folder: of the images; those in it count rather than those that the file names.

    Raises:
        HomologError: the file cannot be read, a member is missing, or no image has labels.
    """
    data = read_yaml(path, "boxes")
    parts = [part for split in data.splits.values() for part in split]
    labelled = find_labels(parts, folder, True, "boxes")
    return _read_labels(labelled.texts, data)


def read_folder(path: Path, folder: Path | None = None) -> Entries:
    """Read a folder of text files with a row for each object, named as the images are.

    Args:
        path: the folder. If a data set's YAML file is in it or in one of the two above, that tells
            the names of the classes and whether rows have keypoints.
        folder: of the images. Without it they are beside the text files, or in `images` where the
            folder's path has `labels`.

    Raises:
        HomologError: there are no images.
    """
    data = next(
        (
            read_yaml(file, "boxes")
            for parent in (path, *list(path.absolute().parents)[:2])
            for file in (parent / "data.yaml", parent / "data.yml")
            if file.is_file()
        ),
        DataSet(),
    )
    folders = [folder] if folder is not None else [path, *_image_folders(path)]
    images = reading.find_images([each for each in folders if each.is_dir()], "boxes")
    texts = sorted(path.rglob("*.txt"))
    used = match_names(dict.fromkeys(images), texts, folders, [path])
    if not any(used.values()):
        searched = ", ".join(map(str, folders))
        raise HomologError(
            f"boxes: expected images in {searched} that are named as the text files in {path}, "
            "got none"
        )
    missing = sorted({*texts} - {*used.values()})
    found = _read_labels(used, data)
    problems = [
        f"{file}: expected an image with this name, got none"
        for file in missing
        if file.name != "classes.txt"
    ]
    return Entries(found.entries, found.images, {}, [*problems, *found.problems], found.notes)


def _image_folders(path: Path) -> list[Path]:
    """The folder of images that belongs to one of labels."""
    parts = list(path.absolute().parts)
    if "labels" not in parts:
        return []
    parts[len(parts) - 1 - parts[::-1].index("labels")] = "images"
    return [Path(*parts)]


def _read_labels(texts: Mapping[Path, Path | None], data: DataSet) -> Entries:
    """The rows of the images' text files."""
    rows: list[tuple[str, Path, str, list[str]]] = []
    problems, notes = [], []
    for image, file in texts.items():
        if file is None:
            continue
        try:
            lines = file.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            problems.append(f"{file}: expected a text file, got: {error}")
            continue
        for number, line in enumerate(lines, start=1):
            if line.strip():
                rows.append((f"{file}, line {number}", image, line, line.split()))
    numbered = any(len(values) == 6 and _above_one(values[5]) for *_, values in rows)
    entries, outlines = [], 0
    for location, image, line, values in rows:
        try:
            row = np.array([float(value) for value in values])
            entry = _entry(location, image, row, data, numbered)
            outlines += entry.mask is not None
            entries.append(entry)
        except (IndexError, OverflowError, ValueError):
            problems.append(f"{location}: expected {_WORD}, got {line!r}")
    if outlines and not data.names:
        notes.append(
            "rows of more than seven numbers are taken to be outlines, not keypoints, for there is "
            f"no YAML file: {outlines}"
        )
    return Entries(entries, list(texts), {}, problems, notes)


def _entry(location: str, image: Path, row: np.ndarray, data: DataSet, numbered: bool) -> Entry:
    """A row as an entry.

    Args:
        location: file and line.
        image: the image.
        row: class, then a box and perhaps keypoints, or the outline; predictions add a score and
            an id.
        data: what the YAML file says.
        numbered: whether the sixth of six numbers is an id.

    Raises:
        ValueError: the row is none of these.
    """
    number, values = int(row[0]), row[1:]
    if number != row[0] or number < 0 or (data.names and number not in data.names):
        raise ValueError(row[0])
    category = data.names.get(number, str(number))
    keypoints = 0 if data.keypoints is None else math.prod(data.keypoints)
    extra = values[4 + keypoints :]
    predicted = len(extra) <= 2 and len(values) >= 4 + keypoints
    if len(extra) == 2 and not keypoints and not _is_id(extra[1]):
        predicted = False  # an outline of three corners
    if predicted:
        score = instance = None
        if len(extra) == 2:
            score, instance = float(extra[0]), int(extra[1])
        elif len(extra) == 1 and numbered and not keypoints:
            instance = int(extra[0])
        elif len(extra) == 1:
            score = float(extra[0])
        box = values[:4]
        return Entry(location, image, box, "fractions", instance, score, category)
    if keypoints or len(values) % 2:
        raise ValueError(len(values))
    corners = values.reshape(-1, 2)
    low, high = corners.min(axis=0), corners.max(axis=0)
    return Entry(
        location,
        image,
        [*(low + high) / 2, *(high - low)],
        "fractions",
        category=category,
        mask=partial(_fill, corners, image),
    )


def _fill(corners: np.ndarray, image: Path) -> np.ndarray:
    """The mask of an outline in fractions of the image."""
    size = reading.image_size(image)
    return fill_polygons([corners * size], size)


def _is_id(value: float) -> bool:
    return bool(value >= 1 and value == int(value))


def _above_one(text: str) -> bool:
    try:
        return float(text) > 1
    except ValueError:
        return False
