"""SOCO (Dünkel et al., ECCV 2026, arXiv 2605.31597): 100 categories with a taxonomy of keypoints.

The layout is that of the data set on the Hugging Face Hub (`GenIntelLab/SOCO`, CC BY 4.0) with its
archives unpacked, as its authors describe it (GenIntel/SOCO, `docs/dataset_structure.md`):

    Images/<category>/<image>.JPEG
    PairAnnotations/intra|cross/<group>/<pair>.json
    PairAnnotations/trainsplits/train|test/<category>/<pair>.json

The file of a pair has all that is known of it: `src_category`, `src_image`, `src_imsize`,
`src_bndbox`, `src_keypoints` (the visible ones: `name`, `pos`, `concept_name`), the same with
`trg`, `pair_group`, `semantic_overlap` (names of the keypoints to be found) and `concept_matches`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from homolog.data.pairs import Annotation, Box, DataSet, Pair, as_box
from homolog.data.reading import ErrorCollector, check_choice, read_json
from homolog.errors import HomologError
from homolog.keypoints import KeypointSchema

SUBSETS = ("intra", "cross")
SPLITS = ("trn", "test")
HOMEPAGE = "https://huggingface.co/datasets/GenIntelLab/SOCO"
ARCHIVES = ("Images.zip", "PairAnnotations.zip")
_FOLDERS = {None: "", "trn": "trainsplits/train", "test": "trainsplits/test"}


def load(
    root: Path,
    split: str | None = None,
    subset: str = "intra",
    *,
    problems: ErrorCollector | None = None,
) -> DataSet:
    """Load the pairs of one subset, or of one split of `intra`, by group and name.

    The keypoints to be found are those of `semantic_overlap`; all visible ones are known. Keypoints
    of one concept, such as the four wheels, are a group that looks alike. Names tell sides. Across
    categories, keypoints of one name are the same one, whatever the category.

    Args:
        root: the folder with `Images` and `PairAnnotations`.
        split: of `intra` for what learns: `trn` or `test`; all pairs by default.
        subset: `intra`, pairs within a category, or `cross`, pairs of related categories.
        problems: collects errors, instead of raising the first.

    Raises:
        HomologError: files are missing, packed or malformed, or there is no such split or subset.
    """
    problems = problems or ErrorCollector()
    check_choice("subset", subset, SUBSETS)
    if split is not None:
        check_choice("split", split, SPLITS)
        if subset != "intra":
            raise HomologError(f"subset: expected intra with a split, got {subset!r}")
    folder = folder_of(root, split, subset)
    for each in (root / "Images", folder):
        if not each.is_dir():
            packed = [name for name in ARCHIVES if (root / name).is_file()]
            hint = f"unpacking {' and '.join(packed)}" if packed else f"SOCO from {HOMEPAGE}"
            raise HomologError(f"{each}: expected a folder, got none; try {hint}")
    read = []
    for path in sorted(folder.glob("*/*.json")):
        with problems.reading(path, "a pair of SOCO"):
            read.append(_Entry.read(read_json(path), path, root))
    if not read:
        problems.add(folder, "expected pairs, got none")
    schemas = _schemas(read, shared=subset == "cross")
    pairs = _Pairs(schemas)
    return DataSet(
        f"SOCO {subset}" + (f" {split}" if split else ""),
        root,
        schemas,
        [pairs.pair(entry) for entry in read],
        threshold="box",
        alphas=(0.1,),
        notes=(
            "its own protocol: points strictly nearer than alpha, mean over pairs, then over "
            "groups of pairs (macro)",
        ),
    ).as_listed()


def folder_of(root: Path, split: str | None, subset: str) -> Path:
    """The folder that lists the pairs of a split or subset."""
    return root / "PairAnnotations" / (_FOLDERS[split] or subset)


@dataclass(frozen=True)
class _View:
    """One image of a pair: its category, what is known of it, and its keypoints by name."""

    category: str
    path: Path
    size: tuple[int, int]
    box: Box
    points: Mapping[str, tuple[float, float]]
    concepts: Mapping[str, str]

    @classmethod
    def read(cls, entry: Any, prefix: str, root: Path) -> _View:
        """Read the members of a pair's file that begin with `src` or `trg`."""
        category = str(entry.get(f"{prefix}_category") or entry["category"])
        width, height = (int(value) for value in entry[f"{prefix}_imsize"][:2])
        stated = entry.get(f"{prefix}_bndbox")
        points, concepts = {}, {}
        for keypoint in entry[f"{prefix}_keypoints"]:
            name = str(keypoint["name"])
            if name in points:
                raise ValueError(f"{prefix}_keypoints: expected each name once, got {name!r} again")
            x, y = (float(value) for value in keypoint["pos"])
            points[name] = x, y
            concepts[name] = str(keypoint.get("concept_name") or name)
        # Without a box, alpha multiplies the image's longer side.
        box = (0.0, 0.0, float(width), float(height)) if stated is None else as_box(stated)
        path = root / "Images" / category / str(entry[f"{prefix}_image"])
        return cls(category, path, (width, height), box, points, concepts)


@dataclass(frozen=True)
class _Entry:
    """The content of a pair's file."""

    name: str
    group: str
    source: _View
    target: _View
    overlap: tuple[str, ...]

    @classmethod
    def read(cls, entry: Any, path: Path, root: Path) -> _Entry:
        """Read the JSON object of a pair."""
        source, target = (_View.read(entry, prefix, root) for prefix in ("src", "trg"))
        overlap = tuple(str(name) for name in entry["semantic_overlap"])
        for name in overlap:
            if name not in source.points or name not in target.points:
                raise ValueError(
                    f"semantic_overlap: expected keypoints of both images, got {name!r}"
                )
        if len(set(overlap)) != len(overlap):
            raise ValueError(f"semantic_overlap: expected each name once, got {overlap}")
        group = str(entry.get("pair_group") or path.parent.name)
        return cls(f"{path.parent.name}/{path.stem}", group, source, target, overlap)


class _Pairs:
    """Makes pairs of entries; a view that several pairs have is one annotation.

    Args:
        schemas: the keypoints of each category.
    """

    def __init__(self, schemas: Mapping[str, KeypointSchema]):
        self._ids = {
            category: {name: index for index, name in enumerate(schema.names)}
            for category, schema in schemas.items()
        }
        self._annotations: dict[tuple[Any, ...], Annotation] = {}

    def pair(self, entry: _Entry) -> Pair:
        """An entry as a pair."""
        ids = self._ids[entry.target.category]
        wanted = np.array([ids[name] for name in entry.overlap], dtype=int)
        source, target = self._annotation(entry.source), self._annotation(entry.target)
        return Pair(entry.name, source, target, wanted, entry.group)

    def _annotation(self, view: _View) -> Annotation:
        """A view as an annotation."""
        key = (view.path, view.box, tuple(sorted(view.points.items())))
        if key not in self._annotations:
            ids = self._ids[view.category]
            keypoints = np.full((len(ids), 2), np.nan)
            for name, point in view.points.items():
                keypoints[ids[name]] = point
            name = f"{view.category}/{view.path.stem}"
            self._annotations[key] = Annotation(
                name, view.path, view.category, keypoints, view.box, view.size
            )
        return self._annotations[key]


def _schemas(read: Iterable[_Entry], shared: bool) -> dict[str, KeypointSchema]:
    """The keypoints of each category, of all views, by name; one list for all if it is shared."""
    concepts: dict[str, dict[str, str]] = {}
    for entry in read:
        for view in (entry.source, entry.target):
            of_category = concepts.setdefault("" if shared else view.category, {})
            concepts.setdefault(view.category, of_category)
            for name, concept in view.concepts.items():
                of_category.setdefault(name, concept)
    schemas = {category: _schema(of_category) for category, of_category in concepts.items()}
    schemas.pop("", None)
    return dict(sorted(schemas.items()))


def _schema(concepts: Mapping[str, str]) -> KeypointSchema:
    """Keypoints in the order of their names, whose groups are the concepts of several."""
    names = sorted(concepts)
    members: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        members.setdefault(concepts[name], []).append(index)
    sides = KeypointSchema.from_names(names)
    groups = tuple(tuple(group) for group in members.values() if len(group) > 1)
    return KeypointSchema(sides.names, sides.mirror, groups, sides.sides_known)
