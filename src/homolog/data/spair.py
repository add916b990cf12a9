"""SPair-71k (Min et al., 2019, arXiv 1908.10543), as it is published."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool

from homolog.data.pairs import Annotation, Box, DataSet, Pair, as_box
from homolog.data.reading import ErrorCollector, check_choice, describe_error, read_json
from homolog.errors import HomologError
from homolog.image import reading
from homolog.image.masks import MaskReader
from homolog.keypoints import KeypointSchema

SpairSplit = Literal["trn", "val", "test"]
SPLITS: tuple[SpairSplit, ...] = ("trn", "val", "test")
_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip
"""Of Pascal VOC, whose numbers, from 1, are the values of segmentations."""

HOMEPAGE = "https://cvlab.postech.ac.kr/research/SPair-71k/"


def load(
    root: Path,
    split: SpairSplit = "test",
    *,
    category: str | None = None,
    problems: ErrorCollector | None = None,
) -> DataSet:
    """Load one split of SPair-71k.

    Args:
        root: the folder with `ImageAnnotation`, `JPEGImages`, `Layout` and `PairAnnotation`.
        split: `trn`, `val` or `test`.
        category: of the pairs; all by default.
        problems: collects errors, instead of raising the first.

    Raises:
        HomologError: files are missing or malformed, there is no such category, or the folder is
            SPair-U, whose keypoints are others.
    """
    problems = problems or ErrorCollector()
    check_choice("split", split, SPLITS)
    if is_spair_u(root):
        raise HomologError(f"{root}: expected SPair-71k, got SPair-U; try spair-u")
    names = _pair_names(root, split, problems)
    if category is not None:
        check_choice("category", category, sorted({name.rpartition(":")[2] for name in names}))
        names = [name for name in names if name.endswith(f":{category}")]
    reader = PairReader(
        "SPair-71k", root / "ImageAnnotation", root / "JPEGImages", KeypointSchema.spair,
        root / "Segmentation",
    )  # fmt: skip
    folder = root / "PairAnnotation" / split
    pairs = reader.pairs([folder / f"{name}.json" for name in names], problems)
    if not pairs:
        problems.add(root, f"expected pairs in split {split}, got none")
    return DataSet(
        f"SPair-71k {split}" + (f" ({category})" if category else ""),
        root,
        {name: KeypointSchema.spair(name) for name in sorted({p.category for p in pairs})},
        pairs,
        threshold="box",
        alphas=(0.1, 0.05, 0.01),
    )


def _pair_names(root: Path, split: str, problems: ErrorCollector) -> list[str]:
    """The names of a split's pairs, in the order of its layout file if there is one."""
    layout = root / "Layout" / "large" / f"{split}.txt"
    if not layout.is_file():
        folder = root / "PairAnnotation" / split
        if not folder.is_dir():
            raise HomologError(
                f"{folder}: expected a folder of pairs, got none; try SPair-71k from {HOMEPAGE}"
            )
        return sorted(path.stem for path in folder.glob("*.json"))
    lines: dict[str, int] = {}
    for number, line in enumerate(layout.read_text("utf-8").splitlines(), start=1):
        name = line.strip()
        if name in lines:
            problems.add(
                f"{layout}, line {number}", f"expected each pair once, got {name} a second time"
            )
        elif name:
            lines[name] = number
    return list(lines)


def is_spair_u(root: Path) -> bool:
    """Whether a folder has SPair-U's name: its files look like those of SPair-71k."""
    return re.fullmatch(r"spair[-_ ]?u", root.absolute().name, re.IGNORECASE) is not None


class PairReader:
    """Reads pairs in SPair-71k's form, and the annotation of each of their images once.

    Args:
        title: of the data set, for messages.
        folder: of the image annotations, with a folder for each category.
        images: of the images, likewise.
        schema: the keypoints of a category.
        masks: of the segmentations, likewise, in which each class has a value of its own; None
            for none.
    """

    def __init__(
        self,
        title: str,
        folder: Path,
        images: Path,
        schema: Callable[[str], KeypointSchema],
        masks: Path | None = None,
    ):
        self.title = title
        self.folder = folder
        self.images = images
        self.schema = schema
        self.masks = masks
        self.annotations: dict[tuple[str, str], Annotation] = {}

    def pairs(self, paths: Iterable[Path], problems: ErrorCollector) -> list[Pair]:
        """Read pairs, named by their files; those with errors are skipped where they are collected.

        Raises:
            HomologError: a file is missing or malformed, and errors are not collected.
        """
        pairs = []
        for path in paths:
            with problems.reading(path, f"a pair of {self.title}"):
                pairs.append(self.pair(path.stem, read_json(path)))
        return pairs

    def pair(self, name: str, entry: dict[str, Any]) -> Pair:
        """Read the JSON object of a pair."""
        category = entry["category"]
        ids = np.array([int(i) for i in entry["kps_ids"]], dtype=int)
        members = []
        for prefix in ("src", "trg"):
            points = np.array(entry[f"{prefix}_kps"], dtype=float).reshape(-1, 2)
            if len(points) != len(ids):
                raise ValueError(
                    f"{prefix}_kps: expected {len(ids)} points, one for each of kps_ids, "
                    f"got {len(points)}"
                )
            annotation = self.annotation(category, entry[f"{prefix}_imname"])
            box = as_box(entry[f"{prefix}_bndbox"])
            members.append(_override(annotation, ids, points, box))
        return Pair(name, members[0], members[1], ids)

    def annotation(self, category: str, file_name: str) -> Annotation:
        """The annotation of an image, read at its first use."""
        key = (category, file_name)
        if key not in self.annotations:
            path = self.folder / category / f"{Path(file_name).stem}.json"
            entry = read_json(path)
            schema = self.schema(category)
            keypoints = np.full((len(schema), 2), np.nan)
            try:
                for index, point in entry["kps"].items():
                    if point is not None:
                        keypoints[int(index)] = point
                self.annotations[key] = Annotation(
                    f"{category}/{Path(file_name).stem}",
                    self.images / category / file_name,
                    category,
                    keypoints,
                    as_box(entry["bndbox"]),
                    (entry["image_width"], entry["image_height"]),
                    int(entry["azimuth_id"]),
                    mask=self._mask(category, file_name),
                )
            except (ArithmeticError, LookupError, TypeError, ValueError) as error:
                raise HomologError(
                    f"{path}: expected an annotated image of {self.title}, "
                    f"got: {describe_error(error)}"
                ) from None
        return self.annotations[key]

    def _mask(self, category: str, file_name: str) -> MaskReader | None:
        """Reads the mask of an image's object, if it has a segmentation."""
        if self.masks is None or category not in _CLASSES:
            return None
        path = self.masks / category / f"{Path(file_name).stem}.png"
        return partial(_class_mask, path, category) if path.is_file() else None


def _class_mask(path: Path, category: str) -> Bool[np.ndarray, "height width"]:
    """The pixels of a class in a segmentation.

    Raises:
        HomologError: it cannot be read.
    """
    with reading.open_image(path, reading.MAX_PIXELS, "mask") as image:
        if image.mode not in ("P", "L"):
            raise HomologError(f"mask: expected a value for each class, got colours in {path}")
        with reading.explain_decoding_errors("mask", str(path)):
            return np.asarray(image) == _CLASSES.index(category) + 1


def _override(annotation: Annotation, ids: np.ndarray, points: np.ndarray, box: Box) -> Annotation:
    """The annotation, with the keypoints and the box that the file of a pair gives for it."""
    if np.array_equal(annotation.keypoints[ids], points) and annotation.box == box:
        return annotation
    keypoints = annotation.keypoints.copy()
    keypoints[ids] = points
    return dataclasses.replace(annotation, keypoints=keypoints, box=box)
