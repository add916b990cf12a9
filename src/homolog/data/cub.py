"""CUB-200-2011 (Wah et al., 2011): birds of 200 species with 15 parts, paired within species.

The layout is that of the data set's own README: lines of `images.txt` (id, path),
`train_test_split.txt` (id, 1 for training), `bounding_boxes.txt` (id, x, y, width, height),
`parts/parts.txt` (id, name) and `parts/part_locs.txt` (image, part, x, y, 1 if visible), and images
in `images`, in a folder for each species.

The data set has no pairs. Aygün and Mac Aodha (ECCV 2022) publish a list of random ones, image ids
on each line, of which they evaluate the first 10,000 (MehmetAygun/demistfy_correspondence,
`pairs/cub/random_pairs.txt`, to be put beside `images.txt`); they average over pairs. GECO (ICCV
2025) draws its pairs with random numbers of its own from another, cleaned list of images; they are
not read here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Float

from homolog.data.pairs import Annotation, Box, DataSet, LazyPairs, Pair, shared_keypoints
from homolog.data.reading import ErrorCollector, check_choice, describe_error, unreadable
from homolog.errors import HomologError
from homolog.keypoints import KeypointSchema

SPLITS = ("trn", "test")
SUBSETS = ("intra-species", "random")
HOMEPAGE = "https://www.vision.caltech.edu/datasets/cub_200_2011/"
PAIRS = "random_pairs.txt"
LISTED = 10_000
"""How many pairs of the list are evaluated."""


def load(
    root: Path,
    split: str = "test",
    subset: str = "intra-species",
    *,
    problems: ErrorCollector | None = None,
) -> DataSet:
    """Load pairs of birds with a visible part in common, as SPair-71k's are scored.

    Names of the parts tell the left eye, leg and wing from the right ones.

    Args:
        root: the folder with `images.txt`.
        split: `trn` or `test`, by `train_test_split.txt`. Random pairs are of both.
        subset: `intra-species`, every two images of a species, the source that whose id is
            smaller; or `random`, the pairs of `random_pairs.txt`, by its order.
        problems: collects errors, instead of raising the first.

    Raises:
        HomologError: files are missing or malformed, or there is no such split or subset.
    """
    problems = problems or ErrorCollector()
    check_choice("split", split, SPLITS)
    check_choice("subset", subset, SUBSETS)
    if subset == "random" and split != "test":
        raise HomologError(f"split: expected test with random pairs, got {split!r}")
    schema, annotations = _read(root, problems)
    pairs: Sequence[Pair]
    notes = []
    if subset == "random":
        pairs, apart = _listed(root / PAIRS, annotations, problems)
        if apart:
            notes.append(f"pairs without a part in both images, left out: {apart}")
    else:
        rows = _table(root / "train_test_split.txt", 2, problems)
        wanted = {image for _, (image, used) in rows if (used == "1") == (split == "trn")}
        pairs = _within_species([each for key, each in annotations.items() if key in wanted])
    if not pairs:
        problems.add(root, f"expected {subset} pairs in split {split}, got none")
    data = DataSet(
        "CUB random pairs" if subset == "random" else f"CUB intra-species {split}",
        root,
        {name: schema for name in sorted({each.category for each in annotations.values()})},
        pairs,
        threshold="box",
        alphas=(0.1, 0.05, 0.01),
        notes=tuple(notes),
    )
    return data.as_listed() if subset == "random" else data


def _read(root: Path, problems: ErrorCollector) -> tuple[KeypointSchema, dict[str, Annotation]]:
    """The parts, and the annotation of each image, by its id and in the order of `images.txt`."""
    if not (root / "images.txt").is_file():
        raise HomologError(
            f"{root / 'images.txt'}: expected a file, got none; try CUB-200-2011 from {HOMEPAGE}"
        )
    names = dict(row for _, row in _table(root / "parts" / "parts.txt", 2, problems))
    parts = {part: number for number, part in enumerate(names)}
    schema = KeypointSchema.from_names(list(names.values()))
    keypoints: dict[str, Float[np.ndarray, "K 2"]] = {}
    path = root / "parts" / "part_locs.txt"
    for number, (image, part, x, y, visible) in _table(path, 5, problems):
        points = keypoints.setdefault(image, np.full((len(schema), 2), np.nan))
        try:
            if part not in parts:
                raise ValueError(f"expected a part of parts.txt, got {part}")
            if int(visible):
                points[parts[part]] = float(x), float(y)
        except ValueError as error:
            problems.add(f"{path}, line {number}", describe_error(error))
    boxes: dict[str, Box] = {}
    path = root / "bounding_boxes.txt"
    for number, (image, *values) in _table(path, 5, problems):
        try:
            left, top, width, height = (float(value) for value in values)
            boxes[image] = (left, top, left + width, top + height)
        except ValueError as error:
            problems.add(f"{path}, line {number}", describe_error(error))
    annotations = {}
    for _, (image, name) in _table(root / "images.txt", 2, problems):
        if image not in boxes or image not in keypoints:
            missing = "box" if image not in boxes else "parts"
            problems.add(root / "images.txt", f"image {image}: expected its {missing}, got none")
            continue
        species = PurePosixPath(name).parent.name
        stem = PurePosixPath(name).stem
        annotations[image] = Annotation(
            f"{species}/{stem}", root / "images" / name, species, keypoints[image], boxes[image]
        )
    return schema, annotations


def _table(path: Path, columns: int, problems: ErrorCollector) -> list[tuple[int, list[str]]]:
    """The lines of a table with their numbers; the last column may have blanks."""
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise unreadable(path, error) from error
    except UnicodeDecodeError:
        raise HomologError(f"{path}: expected text, got bytes that are none") from None
    rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        values = line.split(maxsplit=columns - 1)
        if len(values) == columns:
            rows.append((number, [*values[:-1], values[-1].strip()]))
        elif values:
            problems.add(f"{path}, line {number}", f"expected {columns} columns, got {len(values)}")
    return rows


def _within_species(annotations: Sequence[Annotation]) -> LazyPairs:
    """Every two images of a species with a part in common, by species, source and target."""
    members: dict[str, list[int]] = {}
    for position, annotation in enumerate(annotations):
        members.setdefault(annotation.category, []).append(position)
    index = [np.empty((0, 2), dtype=int)]
    for _, positions in sorted(members.items()):
        of_species = [annotations[i] for i in positions]
        shared = np.argwhere(np.triu(shared_keypoints(of_species, of_species) > 0, k=1))
        index.append(np.array(positions)[shared].reshape(-1, 2))
    return LazyPairs(annotations, np.concatenate(index))


def _listed(
    path: Path, annotations: Mapping[str, Annotation], problems: ErrorCollector
) -> tuple[list[Pair], int]:
    """The pairs of a list that have a part in common, and the number of the others."""
    pairs = []
    apart = 0
    for number, row in _table(path, 2, problems)[:LISTED]:
        if unknown := [image for image in row if image not in annotations]:
            problems.add(f"{path}, line {number}", f"expected ids of images, got {unknown[0]}")
            continue
        source, target = (annotations[image] for image in row)
        visible = np.flatnonzero(source.visible & target.visible)
        apart += len(visible) == 0
        if len(visible):
            pairs.append(Pair(f"{number:05}-{'-'.join(row)}", source, target, visible, "bird"))
    return pairs, apart
