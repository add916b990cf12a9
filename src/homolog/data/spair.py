"""SPair-71k (Min et al., 2019, arXiv 1908.10543), as it is unpacked."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

import numpy as np

from homolog.data.pairs import (
    Annotation,
    Box,
    DataSet,
    ErrorCollector,
    Pair,
    as_box,
    describe_error,
    read_json,
)
from homolog.errors import HomologError
from homolog.keypoints import KeypointSchema

SpairSplit = Literal["trn", "val", "test"]
SPLITS: tuple[SpairSplit, ...] = ("trn", "val", "test")
WHERE = "https://cvlab.postech.ac.kr/research/SPair-71k/"


def load(
    root: Path,
    split: SpairSplit = "test",
    *,
    category: str | None = None,
    problems: ErrorCollector | None = None,
) -> DataSet:
    """One split of SPair-71k.

    Args:
        root: the folder with `ImageAnnotation`, `JPEGImages`, `Layout` and `PairAnnotation`.
        split: `trn`, `val` or `test`.
        category: pairs of this category only.
        problems: collects what is wrong, instead of raising at the first thing.

    Raises:
        HomologError: files are missing or broken, or there is no such category.
    """
    problems = problems or ErrorCollector()
    if split not in SPLITS:
        raise HomologError(f"split: {split!r} is none of {', '.join(SPLITS)}")
    names = _names(root, split, problems)
    if category is not None:
        known = sorted({name.rpartition(":")[2] for name in names})
        if category not in known:
            raise HomologError(f"category: {category!r} is none of {', '.join(known)}")
        names = [name for name in names if name.endswith(f":{category}")]
    reader = _Reader(root, problems)
    pairs = []
    for name in names:
        path = root / "PairAnnotation" / split / f"{name}.json"
        try:
            pairs.append(reader.pair(name, read_json(path)))
        except HomologError as error:
            problems.add(*str(error).split(": ", 1))
        except (LookupError, TypeError, ValueError) as error:
            problems.add(path, f"is not a pair of SPair-71k: {describe_error(error)}")
    if not pairs:
        problems.add(root, f"no pairs in split {split}")
    return DataSet(
        f"SPair-71k {split}" + (f" ({category})" if category else ""),
        root,
        {name: KeypointSchema.spair(name) for name in sorted({p.category for p in pairs})},
        pairs,
        threshold="box",
        alphas=(0.1, 0.05, 0.01),
    )


def _names(root: Path, split: str, problems: ErrorCollector) -> list[str]:
    """The pairs of a split in the order of its layout file."""
    layout = root / "Layout" / "large" / f"{split}.txt"
    if not layout.is_file():
        folder = root / "PairAnnotation" / split
        if not folder.is_dir():
            raise HomologError(f"{folder}: there is no such folder; SPair-71k is at {WHERE}")
        return sorted(path.stem for path in folder.glob("*.json"))
    lines: dict[str, int] = {}
    for number, line in enumerate(layout.read_text("utf-8").splitlines(), start=1):
        name = line.strip()
        if name in lines:
            problems.add(f"{layout}, line {number}", f"{name} is there twice")
        elif name:
            lines[name] = number
    return list(lines)


class _Reader:
    """Reads pairs; every picture's annotation once."""

    def __init__(self, root: Path, problems: ErrorCollector):
        self.root = root
        self.problems = problems
        self.annotations: dict[tuple[str, str], Annotation] = {}

    def pair(self, name: str, entry: dict[str, Any]) -> Pair:
        category = entry["category"]
        ids = np.array([int(i) for i in entry["kps_ids"]], dtype=int)
        sides = []
        for prefix in ("src", "trg"):
            points = np.array(entry[f"{prefix}_kps"], dtype=float).reshape(-1, 2)
            if len(points) != len(ids):
                raise ValueError(f"{len(points)} {prefix}_kps for {len(ids)} kps_ids")
            annotation = self.annotation(category, entry[f"{prefix}_imname"])
            box = as_box(entry[f"{prefix}_bndbox"])
            sides.append(_as_the_pair_says(annotation, ids, points, box))
        return Pair(name, sides[0], sides[1], ids)

    def annotation(self, category: str, file_name: str) -> Annotation:
        key = (category, file_name)
        if key not in self.annotations:
            path = self.root / "ImageAnnotation" / category / f"{Path(file_name).stem}.json"
            entry = read_json(path)
            schema = KeypointSchema.spair(category)
            keypoints = np.full((len(schema), 2), np.nan)
            try:
                for index, point in entry["kps"].items():
                    if point is not None:
                        keypoints[int(index)] = point
                self.annotations[key] = Annotation(
                    f"{category}/{Path(file_name).stem}",
                    self.root / "JPEGImages" / category / file_name,
                    category,
                    keypoints,
                    as_box(entry["bndbox"]),
                    (entry["image_width"], entry["image_height"]),
                    int(entry["azimuth_id"]),
                )
            except (LookupError, TypeError, ValueError) as error:
                what = f"is not a picture of SPair-71k: {describe_error(error)}"
                raise HomologError(f"{path}: {what}") from None
        return self.annotations[key]


def _as_the_pair_says(
    annotation: Annotation, ids: np.ndarray, points: np.ndarray, box: Box
) -> Annotation:
    """The annotation, with the pair's own points and box where they differ."""
    if np.array_equal(annotation.keypoints[ids], points) and annotation.box == box:
        return annotation
    keypoints = annotation.keypoints.copy()
    keypoints[ids] = points
    return dataclasses.replace(annotation, keypoints=keypoints, box=box)
