"""Where an Ultralytics YOLO data set has its images and labels, as its YAML file says.

Paths are resolved as Ultralytics does (`ultralytics.data.utils.check_det_dataset`): `path` is the
root, `train`, `val` and `test` are folders or lists in text files below it, and a `../` in front of
them is left out where there is no such folder. A root that is not there is that of another machine;
the folder of the YAML file takes its place.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from homolog.data.reading import abbreviate
from homolog.errors import HomologError
from homolog.image import reading

SPLITS = ("train", "val", "test")

_MAX_CLASSES = 100_000

_ABSOLUTE = re.compile(r"([A-Za-z]:)?/")


@dataclass(frozen=True)
class DataSet:
    """What the YAML file of a data set says.

    Attributes:
        root: that the names of images may start from.
        names: of the classes, by number.
        splits: for each split of `SPLITS` that it has, the folders of images and the text files
            that list images.
        keypoints: how many keypoints objects have, and how many numbers each of them (2 or 3); None
            without `kpt_shape`.
        keypoint_names: of the classes that have them, by number.
        flip: the keypoint that each becomes in a mirrored image; None if the file does not say.
    """

    root: Path = Path()
    names: Mapping[int, str] = field(default_factory=dict)
    splits: Mapping[str, Sequence[Path]] = field(default_factory=dict)
    keypoints: tuple[int, int] | None = None
    keypoint_names: Mapping[int, Sequence[str]] = field(default_factory=dict)
    flip: Sequence[int] | None = None


@dataclass(frozen=True)
class LabelledImages:
    """Images of a data set and their labels.

    Attributes:
        texts: the text file of each image; None where it has none.
        unmatched: text files of images that were not found.
        elsewhere: whether the images are in another folder than the data set says.
    """

    texts: Mapping[Path, Path | None]
    unmatched: Sequence[Path]
    elsewhere: bool


def read_yaml(path: Path, argument: str) -> DataSet:
    """Read the YAML file of a data set.

    Args:
        path: the file.
        argument: what error messages call it.

    Raises:
        HomologError: the file cannot be read, or is not one of a data set.
    """
    where = f"{argument}: {path}"
    try:
        data: Any = yaml.safe_load(path.read_text("utf-8-sig"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split())  # YAML's go over several lines
        raise HomologError(f"{argument}: expected a YAML file {path}, got: {reason}") from None
    if not isinstance(data, dict) or not {*SPLITS, "names", "nc"} & data.keys():
        got = abbreviate(map(str, data)) if isinstance(data, dict) else f"{data!r:.60}"
        if isinstance(data, dict) and "classes" in data:
            got += ", which looks like a configuration of X-AnyLabeling"
        raise HomologError(
            f"{where}: expected an Ultralytics data set with names and train, got {got}"
        )
    try:
        root = _root(path.parent, str(data.get("path") or "."))
        names = _names(data)
        shape = _shape(data.get("kpt_shape"))
        return DataSet(
            root,
            names,
            {split: _parts(root, data[split]) for split in SPLITS if data.get(split)},
            shape,
            {} if shape is None else _keypoint_names(data.get("kpt_names"), names, shape[0]),
            None if shape is None else _flip(data.get("flip_idx"), shape[0]),
        )
    except (ArithmeticError, TypeError, ValueError) as error:
        raise HomologError(f"{where}: {error}") from None
    except OSError as error:
        raise HomologError(
            f"{where}: expected names of folders or lists of images, got one that none can have "
            f"({error.strerror})"
        ) from None


def _root(folder: Path, name: str) -> Path:
    """The folder that a data set names; where it is not there, that of its YAML file."""
    try:
        root = (folder / name).resolve()
        return root if root.is_dir() else folder.resolve()
    except OSError:  # no name that a folder can have
        return folder.resolve()


def _names(data: Mapping[str, Any]) -> dict[int, str]:
    names = data.get("names")
    if names is None and isinstance(data.get("nc"), int):
        if data["nc"] > _MAX_CLASSES:
            raise ValueError(
                f"nc: expected at most {_MAX_CLASSES} classes, got {str(data['nc'])[:40]}"
            )
        return {number: f"class_{number}" for number in range(data["nc"])}
    if not isinstance(names, (list, dict)) or not names:
        raise ValueError(f"names: expected a list, or names by numbers, got {names!r}")
    return {
        class_number(str(number)): str(name)
        for number, name in (names.items() if isinstance(names, dict) else enumerate(names))
    }


def class_number(text: str) -> int:
    """The number of a class, which may be written as `0.0`.

    Raises:
        ValueError: it is none.
    """
    number = float(text)
    if number < 0 or number != number // 1:
        raise ValueError(f"expected the number of a class, got {text!r}")
    return int(number)


def _shape(shape: Any) -> tuple[int, int] | None:
    if shape is None:
        return None
    if (
        not isinstance(shape, list)
        or len(shape) != 2
        or not all(isinstance(number, int) for number in shape)
        or shape[0] < 1
        or shape[1] not in (2, 3)
    ):
        raise ValueError(f"kpt_shape: expected [keypoints, 2 or 3], got {shape!r}")
    return shape[0], shape[1]


def _keypoint_names(names: Any, classes: Iterable[int], count: int) -> dict[int, list[str]]:
    if not names:
        return {}
    by_class = dict.fromkeys(classes, names) if isinstance(names, list) else names
    if not isinstance(by_class, dict):
        raise ValueError(f"kpt_names: expected names for each class, got {names!r}")
    found = {}
    for number, listed in by_class.items():
        if not isinstance(listed, list) or not len({*map(str, listed)}) == len(listed) == count:
            raise ValueError(f"kpt_names: expected {count} different names, got {listed!r}")
        found[class_number(str(number))] = list(map(str, listed))
    return found


def _flip(indices: Any, count: int) -> list[int] | None:
    if not indices:
        return None
    if (
        not isinstance(indices, list)
        or sorted(map(str, indices)) != sorted(map(str, range(count)))
        or any(indices[other] != index for index, other in enumerate(indices))
    ):
        raise ValueError(
            f"flip_idx: expected the counterparts of {count} keypoints, where the counterpart of a "
            f"counterpart is the keypoint itself, got {indices!r}"
        )
    return indices


def _parts(root: Path, given: Any) -> list[Path]:
    """The folders and lists of a split."""
    parts = given if isinstance(given, list) else [given]
    if not all(isinstance(part, str) for part in parts):
        raise ValueError(f"expected folders or text files of a split, got {given!r}")
    return [_below(root, part.replace("\\", "/")) for part in parts]


def _below(root: Path, part: str) -> Path:
    """A folder that a data set names; some exports say `../train` and mean `train`."""
    below = root / part
    short = root / part[3:]
    if part.startswith("../") and not below.exists():
        if short.exists() or not label_folder(below).is_dir():
            below = short
    elif not below.exists() and _ABSOLUTE.match(part):  # of another machine
        names = part.split("/")[1:]
        ends = (root.joinpath(*names[start:]) for start in range(len(names)))
        below = next((end for end in ends if end.exists()), below)
    return below.resolve()


def label_path(image: Path) -> Path:
    """Where Ultralytics looks for an image's labels: in `labels` beside `images`, or beside it."""
    parts = list(image.parts)
    if "images" in parts[:-1]:
        parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
    return Path(*parts).with_suffix(".txt")


def label_folder(folder: Path) -> Path:
    """Where the labels of a folder of images are."""
    return label_path(folder / "image.png").parent


def label_file(image: Path) -> Path | None:
    """The image's labels: in `labels` where its path has `images`, or beside it."""
    beside = image.with_suffix(".txt")
    return next((path for path in (label_path(image), beside) if path.is_file()), None)


def find_labels(
    parts: Sequence[Path], folder: Path | None, prefer_folder: bool, argument: str
) -> LabelledImages:
    """The images of a data set, and their labels.

    Args:
        parts: folders of images, and text files that list images.
        folder: where the images may be, too.
        prefer_folder: whether labelled images in that folder count rather than those that the data
            set names; otherwise they do only where the data set has none.
        argument: what error messages call the data set.

    Raises:
        HomologError: a list cannot be read, or no image has labels.
    """
    images, texts = _own_files(parts, argument)
    own = {image: label_file(image) for image in images}
    elsewhere: dict[Path, Path | None] = {}
    if folder is not None and folder.is_dir() and (prefer_folder or not any(own.values())):
        known = {image: label_file(image) for image in reading.find_images([folder], argument)}
        folders = [label_folder(part) for part in parts if part.suffix != ".txt"]
        elsewhere = match_names(known, texts, [folder], folders)
    found = elsewhere if any(elsewhere.values()) else own
    if not any(found.values()):
        searched = ", ".join(map(str, [*parts, *([] if folder is None else [folder])]))
        text = (
            f"; images of {len(texts)} text files, such as {texts[0]}, are missing" if texts else ""
        )
        raise HomologError(
            f"{argument}: expected text files of labels beside the images in {searched} or in "
            f"labels in place of images, got none{text}"
        )
    used = {*found.values()}
    return LabelledImages(
        found, [text for text in texts if text not in used], found is elsewhere and found != own
    )


def _own_files(parts: Sequence[Path], argument: str) -> tuple[list[Path], list[Path]]:
    """The images that are there, and all text files of labels, with an image or without."""
    images: dict[Path, None] = {}
    texts: dict[Path, None] = {}
    for part in parts:
        if part.suffix == ".txt":
            for image in _listed(part, argument):
                if image.is_file():
                    images[image] = None
                text = label_file(image)
                if text is not None:
                    texts[text] = None
            continue
        if part.is_dir():
            images |= dict.fromkeys(reading.find_images([part], argument))
        folder = label_folder(part)
        if folder != part and folder.is_dir():
            texts |= dict.fromkeys(sorted(folder.rglob("*.txt")))
    return list(images), list(texts)


def _listed(path: Path, argument: str) -> list[Path]:
    """The images that a text file lists; their names start from its folder."""
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise HomologError(f"{argument}: expected a list of images {path}, got: {error}") from None
    return [_below(path.parent, line.strip().replace("\\", "/")) for line in lines if line.strip()]


def match_names(
    known: Mapping[Path, Path | None],
    texts: Sequence[Path],
    folders: Sequence[Path],
    label_folders: Iterable[Path],
) -> dict[Path, Path | None]:
    """Find images of text files by their names.

    Args:
        known: images, and their text files as far as these are known.
        texts: all text files.
        folders: that images are in; those of a text file in the same folder below come first.
        label_folders: that text files are in.

    Returns:
        The text file of each image. One in another folder counts if it is the only one that is
        left with its name.
    """
    found = dict(known)
    by_name: dict[Path, Path] = {}
    for folder in label_folders:
        for text in texts:
            if text.is_relative_to(folder):
                by_name.setdefault(text.relative_to(folder).with_suffix(""), text)
    by_stem: dict[str, list[Path]] = defaultdict(list)
    for image, own in known.items():
        if own is not None:
            continue
        inside = next((image.relative_to(f) for f in folders if image.is_relative_to(f)), None)
        found[image] = None if inside is None else by_name.get(inside.with_suffix(""))
        if found[image] is None:
            by_stem[image.stem].append(image)
    left = {*texts} - {*found.values()}
    for text in texts:
        if text in left and len(by_stem[text.stem]) == 1:
            image = by_stem[text.stem][0]
            if sum(other.stem == text.stem for other in left) == 1:
                found[image] = text
    return found
