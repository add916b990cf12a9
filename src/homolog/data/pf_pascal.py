"""PF-PASCAL (Ham et al., 2017, arXiv 1703.07144), as it is published, with its lists of pairs."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float

from homolog.data.formats import mat
from homolog.data.pairs import Annotation, DataSet, Pair, box_around
from homolog.data.reading import ErrorCollector, check_choice, describe_error, unreadable
from homolog.errors import HomologError
from homolog.image import reading
from homolog.keypoints import KeypointSchema

PfPascalSplit = Literal["trn", "val", "test"]
SPLITS: tuple[PfPascalSplit, ...] = ("trn", "val", "test")
HOMEPAGE = "https://www.di.ens.fr/willow/research/proposalflow/"
CATEGORIES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)
_COLUMNS = ("source_image", "target_image", "class")
_COORDINATES = ("XA", "YA", "XB", "YB")

Points = Float[np.ndarray, "K 2"]


def load(
    root: Path, split: PfPascalSplit = "test", *, problems: ErrorCollector | None = None
) -> DataSet:
    """Load one split of PF-PASCAL.

    Where the list gives points, keypoints are numbered by their position in the row, so the same
    number means different parts in different rows. Lists of training pairs give none: their
    keypoints are those of `Annotations`.

    Args:
        root: the folder with `JPEGImages`, and the list of pairs there or in `image_pairs`:
            `test_pairs.csv` or `test_pairs_pf_pascal.csv`, for training `trn_` or `train_`.
        split: `trn`, `val` or `test`.
        problems: collects errors, instead of raising the first.

    Raises:
        HomologError: files are missing or malformed.
    """
    problems = problems or ErrorCollector()
    check_choice("split", split, SPLITS)
    path = find_list(root, split)
    if path is None:
        raise HomologError(
            f"{root}: expected a list {split}_pairs.csv, got none; try PF-PASCAL from {HOMEPAGE}"
        )
    rows, flipped = _read_list(path, root, problems)
    if not rows:
        problems.add(path, "expected pairs, got none")
    counts = {category: 0 for category in sorted({row.category for row in rows})}
    for row in rows:
        counts[row.category] = max(counts[row.category], len(row.points[0]))
    return DataSet(
        f"PF-PASCAL {split}",
        root,
        {category: KeypointSchema.numbered(count) for category, count in counts.items()},
        [row.pair(counts[row.category]) for row in rows],
        threshold="image",
        alphas=(0.05, 0.1, 0.15),
        notes=(f"flipped copies of pairs, left out: {flipped}",) if flipped else (),
    )


def find_list(root: Path, split: PfPascalSplit) -> Path | None:
    """The path of the list of a split's pairs, or None."""
    for folder in (root, root / "image_pairs"):
        for name in ("trn", "train") if split == "trn" else (split,):
            for ending in ("", "_pf_pascal"):
                path = folder / f"{name}_pairs{ending}.csv"
                if path.is_file():
                    return path
    return None


@dataclass(frozen=True, eq=False)
class _Row:
    """A line of the list: a pair whose number of keypoints depends on the other lines."""

    line: int
    category: str
    paths: tuple[Path, Path]
    sizes: tuple[tuple[int, int], tuple[int, int]]
    points: tuple[Points, Points]

    def pair(self, count: int) -> Pair:
        """The pair with that many keypoints; those that the row lacks are not visible."""
        members = []
        for path, size, points in zip(self.paths, self.sizes, self.points, strict=True):
            keypoints = np.full((count, 2), np.nan)
            keypoints[: len(points)] = points
            name = f"{self.line}:{path.stem}"
            box = box_around(points)
            members.append(Annotation(name, path, self.category, keypoints, box, size))
        return Pair.of(f"{self.line}:{self.paths[0].stem}:{self.paths[1].stem}", *members)


def _read_list(path: Path, root: Path, problems: ErrorCollector) -> tuple[list[_Row], int]:
    """The rows of a list of pairs without the flipped copies, and the number of those."""
    reader = _Reader(root)
    rows, flipped = [], 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.DictReader(file)
            missing = [name for name in _COLUMNS if name not in (lines.fieldnames or ())]
            if missing:
                raise HomologError(f"{path}, line 1: expected a column {missing[0]}, got none")
            for line in lines:
                try:
                    if float(line.get("flip") or 0):
                        flipped += 1
                    else:
                        rows.append(reader.row(lines.line_num, line))
                except (ArithmeticError, LookupError, TypeError, ValueError) as error:
                    problems.add(f"{path}, line {lines.line_num}", describe_error(error))
    except OSError as error:
        raise unreadable(path, error) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise HomologError(f"{path}: expected a CSV list of pairs, got: {error}") from error
    return rows, flipped


class _Reader:
    """Reads rows of a list, and the size of each image once."""

    def __init__(self, root: Path):
        self.root = root
        self.images: dict[str, tuple[Path, tuple[int, int]]] = {}

    def row(self, number: int, line: dict[str, str]) -> _Row:
        """Read a line of the list."""
        for name in _COLUMNS:
            if not line[name]:
                raise ValueError(f"{name}: expected a value, got none")
        category = _category(line["class"])
        source, target = (self.image(line[name]) for name in ("source_image", "target_image"))
        if "XA" in line:
            xa, ya, xb, yb = (_numbers(line, name) for name in _COORDINATES)
            points = _points(xa, ya), _points(xb, yb)
        else:
            points = self.keypoints(category, source[0]), self.keypoints(category, target[0])
        if len(points[0]) != len(points[1]):
            raise ValueError(
                f"expected as many source as target points, got {len(points[0])} and "
                f"{len(points[1])}"
            )
        if not np.isfinite(points[0] + points[1]).any():
            raise ValueError("expected a point visible in both images, got none")
        return _Row(number, category, (source[0], target[0]), (source[1], target[1]), points)

    def image(self, name: str) -> tuple[Path, tuple[int, int]]:
        """An image's path and its size."""
        if name not in self.images:
            # Lists name images from the folder above or from the root.
            folders = (self.root, self.root.absolute().parent, self.root / "JPEGImages")
            paths = [*(folder / name for folder in folders), folders[-1] / Path(name).name]
            path = next((path for path in paths if path.is_file()), None)
            if path is None:
                raise ValueError(f"expected an image {name}, got none")
            self.images[name] = path, reading.image_size(path)
        return self.images[name]

    def keypoints(self, category: str, image: Path) -> Points:
        """An image's keypoints in `Annotations`."""
        path = self.root / "Annotations" / category / f"{image.stem}.mat"
        points = mat.read(path, "kps")
        if points.shape[1] != 2:
            rows, columns = points.shape
            raise ValueError(f"{path}: 'kps': expected K x 2 numbers, got {rows} x {columns}")
        points[~np.isfinite(points).all(axis=1)] = np.nan
        return points


def _category(label: str) -> str:
    """The category of a class number, 1 to 20."""
    numbers = {str(number): name for number, name in enumerate(CATEGORIES, start=1)}
    name = numbers.get(label.strip().removesuffix(".0"))
    if name is None:
        raise ValueError(f"class: expected 1 to {len(CATEGORIES)}, got {label}")
    return name


def _numbers(line: dict[str, str], name: str) -> np.ndarray:
    """The numbers in a column, NaN for empty ones."""
    try:
        return np.array([float(value.strip() or "nan") for value in line[name].split(";")])
    except (AttributeError, ValueError):
        raise ValueError(
            f"{name}: expected numbers between semicolons, got {line[name]!r}"
        ) from None


def _points(x: np.ndarray, y: np.ndarray) -> Points:
    """Points of coordinates; NaN in both where either is not finite."""
    if len(x) != len(y):
        raise ValueError(f"expected as many x as y, got {len(x)} and {len(y)}")
    points = np.stack([x, y], axis=1)
    points[~np.isfinite(points).all(axis=1)] = np.nan
    return points
