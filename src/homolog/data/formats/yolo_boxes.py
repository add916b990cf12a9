"""Objects of Ultralytics YOLO labels: a data set (`.yaml`), or a folder of text files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from homolog.data.formats.entries import Entries, Entry
from homolog.data.formats.segmentation import fill_polygons
from homolog.data.formats.yolo import label_file
from homolog.errors import HomologError
from homolog.image import reading

_SPLITS = ("train", "val", "test")
_WORD = "class and (centre x, centre y, width, height) as fractions of the image"


@dataclass(frozen=True)
class _DataSet:
    """What a data set's YAML file says.

    Attributes:
        names: of the classes, by number.
        folders: of images, or text files that list images.
        keypoints: how many numbers the keypoints of an object take; 0 without keypoints; None if
            no file says that.
    """

    names: Mapping[int, str] = field(default_factory=dict)
    folders: tuple[Path, ...] = ()
    keypoints: int | None = None


def read(path: Path, folder: Path | None = None) -> Entries:
    """Read the objects of a data set's images, of all its splits.

    Args:
        path: the YAML file.
        folder: of the images, in place of those that the file names.

    Raises:
        HomologError: the file cannot be read, a member is missing, or there are no images.
    """
    data = _read_yaml(path)
    given = data.folders if folder is None else (folder,)
    present = [file for each in given if each.exists() for file in _listed(each)]
    images = reading.find_images(present or given, "boxes")
    labels = {image: label_file(image) for image in images}
    if not any(labels.values()):
        searched = ", ".join(map(str, given))
        raise HomologError(
            f"boxes: expected text files of labels beside the images in {searched} or in labels in "
            "place of images, got none"
        )
    return _read_labels(labels, data)


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
            _read_yaml(file)
            for parent in (path, *list(path.absolute().parents)[:2])
            for file in (parent / "data.yaml", parent / "data.yml")
            if file.is_file()
        ),
        _DataSet(),
    )
    folders = [folder] if folder is not None else [path, *_image_folders(path)]
    labels = {file.relative_to(path).with_suffix(""): file for file in path.rglob("*.txt")}
    used: dict[Path, Path | None] = {}
    by_stem: dict[str, list[Path]] = defaultdict(list)
    for parent in folders:
        for image in reading.find_images([parent] if parent.is_dir() else [], "boxes"):
            used[image] = labels.get(image.relative_to(parent).with_suffix(""))
            if used[image] is None:
                by_stem[image.stem].append(image)
    for file in {*labels.values()} - {*used.values()}:
        if len(by_stem[file.stem]) == 1:  # in another folder, but the only one of that name
            used[by_stem[file.stem][0]] = file
    if not any(used.values()):
        searched = ", ".join(map(str, folders))
        raise HomologError(
            f"boxes: expected images in {searched} that are named as the text files in {path}, "
            "got none"
        )
    missing = sorted(set(labels.values()) - set(used.values()))
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


def _read_yaml(path: Path) -> _DataSet:
    """Read the YAML file of a data set."""
    try:
        data: Any = yaml.safe_load(path.read_text("utf-8"))
        names = data["names"]
        pairs = enumerate(names) if isinstance(names, list) else names.items()
        root = (path.parent / str(data.get("path") or ".")).resolve()
        if not root.is_dir():  # as written on another machine
            root = path.parent.resolve()
        parts = [data[split] for split in _SPLITS if data.get(split)]
        folders = [part for each in parts for part in (each if isinstance(each, list) else [each])]
        shape = [int(number) for number in data.get("kpt_shape") or (0, 0)]
        return _DataSet(
            {int(number): str(name) for number, name in pairs},
            tuple(_below(root, str(part)) for part in folders),
            shape[0] * shape[1],
        )
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())  # YAML's go over several lines
        raise HomologError(f"boxes: expected a YAML file {path}, got: {reason}") from None
    except (IndexError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise HomologError(
            f"boxes: {path}: expected names and train or val as Ultralytics describes them, "
            f"got: {error}"
        ) from None


def _listed(path: Path) -> list[Path]:
    """The images that a text file lists, as a data set may have one; any other path itself."""
    if path.suffix != ".txt":
        return [path]
    names = path.read_text("utf-8").split("\n")
    return [path.parent / name.strip() for name in names if name.strip()]


def _below(root: Path, part: str) -> Path:
    """A folder that a data set names; some exports say `../train` and mean `train`."""
    below = root / part
    if not below.exists() and part.startswith("../") and (root / part[3:]).exists():
        return root / part[3:]
    return below


def _read_labels(labels: Mapping[Path, Path | None], data: _DataSet) -> Entries:
    """The rows of the images' text files."""
    rows: list[tuple[str, Path, str, list[str]]] = []
    problems, notes = [], []
    for image, file in labels.items():
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
    if outlines and data.keypoints is None:
        notes.append(
            f"rows of more than seven numbers are taken to be outlines, not keypoints, for there "
            f"is no YAML file with kpt_shape: {outlines}"
        )
    return Entries(entries, list(labels), {}, problems, notes)


def _entry(location: str, image: Path, row: np.ndarray, data: _DataSet, numbered: bool) -> Entry:
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
    if number != row[0] or (data.names and number not in data.names):
        raise ValueError(row[0])
    category = data.names.get(number, str(number))
    keypoints = data.keypoints or 0
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
