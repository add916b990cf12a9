"""PF-PASCAL (Ham et al., 2017, arXiv 1703.07144), as it is unpacked, with its lists of pairs."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float

from homolog.data.formats import mat
from homolog.data.pairs import Annotation, DataSet, ErrorCollector, Pair, box_around, describe_error
from homolog.errors import HomologError
from homolog.image import reading
from homolog.keypoints import KeypointSchema

PfPascalSplit = Literal["trn", "val", "test"]
SPLITS: tuple[PfPascalSplit, ...] = ("trn", "val", "test")
WHERE = "https://www.di.ens.fr/willow/research/proposalflow/"
CATEGORIES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)
_COLUMNS = ("source_image", "target_image", "class")
_POINTS = ("XA", "YA", "XB", "YB")

Points = Float[np.ndarray, "K 2"]


def load(
    root: Path, split: PfPascalSplit = "test", *, problems: ErrorCollector | None = None
) -> DataSet:
    """One split of PF-PASCAL.

    Where the list gives points, keypoints are numbered by their place in the row, which means
    another part of the thing in another row. Training lists give none: their keypoints are those
    of `Annotations`.

    Args:
        root: the folder with `JPEGImages`, and the list of pairs there or in `image_pairs`:
            `test_pairs.csv` or `test_pairs_pf_pascal.csv`, for training `trn_` or `train_`.
        split: `trn`, `val` or `test`.
        problems: collects what is wrong, instead of raising at the first thing.

    Raises:
        HomologError: files are missing or broken, or scipy is not installed.
    """
    problems = problems or ErrorCollector()
    if split not in SPLITS:
        raise HomologError(f"split: {split!r} is none of {', '.join(SPLITS)}")
    path = find_list(root, split)
    if path is None:
        raise HomologError(f"{root}: no list {split}_pairs.csv there; PF-PASCAL is at {WHERE}")
    reader = _Reader(root)
    rows, flipped = [], 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.DictReader(file)
            missing = [name for name in _COLUMNS if name not in (lines.fieldnames or ())]
            if missing:
                raise HomologError(f"{path}, line 1: no column {missing[0]}")
            for line in lines:
                try:
                    if float(line.get("flip") or 0):
                        flipped += 1
                    else:
                        rows.append(reader.row(lines.line_num, line))
                except (LookupError, TypeError, ValueError) as error:
                    problems.add(f"{path}, line {lines.line_num}", describe_error(error))
    except OSError as error:
        raise HomologError(f"{path}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise HomologError(f"{path}: is not a list of pairs: {error}") from error
    if not rows:
        problems.add(path, "no pairs")
    counts = {row.category: 0 for row in rows}
    for row in rows:
        counts[row.category] = max(counts[row.category], len(row.points[0]))
    return DataSet(
        f"PF-PASCAL {split}",
        root,
        {category: KeypointSchema.numbered(count) for category, count in sorted(counts.items())},
        [row.pair(counts[row.category]) for row in rows],
        threshold="image",
        alphas=(0.05, 0.1, 0.15),
        notes=(f"flipped copies of pairs, left out: {flipped}",) if flipped else (),
    )


def find_list(root: Path, split: PfPascalSplit) -> Path | None:
    """The list of a split's pairs, where there is one."""
    for folder in (root, root / "image_pairs"):
        for name in ("trn", "train") if split == "trn" else (split,):
            for ending in ("", "_pf_pascal"):
                path = folder / f"{name}_pairs{ending}.csv"
                if path.is_file():
                    return path
    return None


@dataclass(frozen=True, eq=False)
class _Row:
    """A line of the list: a pair of which the number of keypoints is yet to be settled."""

    line: int
    category: str
    paths: tuple[Path, Path]
    sizes: tuple[tuple[int, int], tuple[int, int]]
    points: tuple[Points, Points]

    def pair(self, count: int) -> Pair:
        """The pair; keypoints that the row does not have are not visible."""
        sides = []
        for path, size, points in zip(self.paths, self.sizes, self.points, strict=True):
            keypoints = np.full((count, 2), np.nan)
            keypoints[: len(points)] = points
            name = f"{self.line}:{path.stem}"
            box = box_around(points)
            sides.append(Annotation(name, path, self.category, keypoints, box, size))
        return Pair.of(f"{self.line}:{self.paths[0].stem}:{self.paths[1].stem}", *sides)


class _Reader:
    """Reads rows; every picture's size once."""

    def __init__(self, root: Path):
        self.root = root
        self.pictures: dict[str, tuple[Path, tuple[int, int]]] = {}

    def row(self, number: int, line: dict[str, str]) -> _Row:
        for name in _COLUMNS:
            if not line[name]:
                raise ValueError(f"no {name}")
        category = _category(line["class"])
        source, target = (self.picture(line[name]) for name in ("source_image", "target_image"))
        if "XA" in line:
            xa, ya, xb, yb = (_numbers(line, name) for name in _POINTS)
            points = _points(xa, ya), _points(xb, yb)
        else:
            points = self.annotated(category, source[0]), self.annotated(category, target[0])
        if len(points[0]) != len(points[1]):
            raise ValueError(f"{len(points[0])} source points for {len(points[1])} target points")
        if not np.isfinite(points[0] + points[1]).any():
            raise ValueError("no point is there in both pictures")
        return _Row(number, category, (source[0], target[0]), (source[1], target[1]), points)

    def picture(self, name: str) -> tuple[Path, tuple[int, int]]:
        """A picture's path and its size."""
        if name not in self.pictures:
            # Lists name pictures from the folder above or from the root.
            places = (self.root, self.root.absolute().parent, self.root / "JPEGImages")
            paths = [*(place / name for place in places), places[-1] / Path(name).name]
            path = next((path for path in paths if path.is_file()), None)
            if path is None:
                raise ValueError(f"there is no picture {name}")
            self.pictures[name] = path, reading.size(path)
        return self.pictures[name]

    def annotated(self, category: str, picture: Path) -> Points:
        """A picture's keypoints as `Annotations` gives them."""
        path = self.root / "Annotations" / category / f"{picture.stem}.mat"
        points = mat.read(path, "kps")
        if points.shape[1] != 2:
            raise ValueError(f"{path}: 'kps' is {points.shape[0]} x {points.shape[1]}, takes K x 2")
        points[~np.isfinite(points).all(axis=1)] = np.nan
        return points


def _category(label: str) -> str:
    numbers = {str(number): name for number, name in enumerate(CATEGORIES, start=1)}
    name = numbers.get(label.strip().removesuffix(".0"))
    if name is None:
        raise ValueError(f"class {label} is not within 1..{len(CATEGORIES)}")
    return name


def _numbers(line: dict[str, str], name: str) -> np.ndarray:
    try:
        return np.array([float(value.strip() or "nan") for value in line[name].split(";")])
    except (AttributeError, ValueError):
        raise ValueError(f"{name} is not a list of numbers: {line[name]!r}") from None


def _points(x: np.ndarray, y: np.ndarray) -> Points:
    if len(x) != len(y):
        raise ValueError(f"{len(x)} x for {len(y)} y")
    points = np.stack([x, y], axis=1)
    points[~np.isfinite(points).all(axis=1)] = np.nan
    return points
