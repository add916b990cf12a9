"""Any COCO file with keypoints as a data set: all pairs of one category."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from homolog import moved
from homolog.data.combine import LazyPairs, shared_keypoints
from homolog.data.formats.coco import Finder, read
from homolog.data.pairs import Annotation, DataSet, ErrorCollector, listed
from homolog.errors import HomologError

_ROWS = 1024  # of images whose pairs are found at once, which bounds the memory taken


def load(
    path: Path, *, images: Path | None = None, problems: ErrorCollector | None = None
) -> DataSet:
    """All ordered pairs of pictures of one category that show a keypoint in common.

    Matching is of whole pictures, so those with several annotated things are left out.

    Args:
        path: the COCO file.
        images: the folder of its pictures; otherwise they are looked for in the file's folder,
            the one above, and `images` and `data` in either.
        problems: collects what is wrong, instead of raising at the first thing.

    Raises:
        HomologError: the file is missing, or something in it or a picture is missing or wrong.
    """
    problems = problems or ErrorCollector()
    file = read(path, problems)
    things = [thing for thing in file.things if np.isfinite(thing.keypoints).any()]
    per_picture = Counter(thing.image_id for thing in things)
    several = sum(1 for count in per_picture.values() if count > 1)
    finder = Finder(path, images)
    members: dict[str, list[Annotation]] = {c.name: [] for c in file.categories.values()}
    for thing in sorted(things, key=lambda thing: thing.file_name):
        if per_picture[thing.image_id] > 1:
            continue
        try:
            members[thing.category].append(thing.annotation(finder.path(thing.file_name)))
        except HomologError as error:
            problems.add(path, f"annotation {thing.id}: {error}")

    schemas = {c.name: c.schema for c in file.categories.values() if c.schema is not None}
    annotations: list[Annotation] = []
    index = [np.empty((0, 2), dtype=np.int32)]
    for category in sorted(schemas):
        index.append(_ordered_pairs(members[category]) + len(annotations))
        annotations += members[category]
    notes = []
    if several:
        notes.append(f"pictures with several annotated things, left out: {several}")
    if file.unlisted:
        numbers = listed(map(str, file.unlisted))
        notes.append(
            f"category ids that are not listed, taken to have the others' keypoints: {numbers}"
        )
    if bare := sorted(members.keys() - schemas.keys()):
        notes.append(f"categories without keypoints: {listed(bare)}")
    if few := [name for name in sorted(schemas) if len(members[name]) < 2]:
        notes.append(f"categories with fewer than two pictures: {listed(few)}")
    return DataSet(
        f"{path.absolute().parent.name} {path.stem}",
        path,
        {name: schema for name, schema in sorted(schemas.items()) if members[name]},
        LazyPairs(annotations, np.concatenate(index)),
        threshold="box",
        alphas=(0.1, 0.05, 0.01),
        notes=tuple(notes),
    )


def _ordered_pairs(annotations: list[Annotation]) -> Int[np.ndarray, "P 2"]:
    """Places of all ordered pairs with a keypoint in common, by source, then target."""
    found = [np.empty((0, 2), dtype=np.int32)]
    for start in range(0, len(annotations), _ROWS):
        shared = shared_keypoints(annotations[start : start + _ROWS], annotations) > 0
        rows = np.arange(len(shared))
        shared[rows, start + rows] = False  # nothing is paired with itself
        found.append((np.argwhere(shared) + np.array([start, 0])).astype(np.int32))
    return np.concatenate(found)


def __getattr__(name: str) -> Any:
    return moved.attribute(__name__, name)
