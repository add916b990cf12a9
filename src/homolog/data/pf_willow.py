"""PF-WILLOW (Ham et al., 2016, arXiv 1511.05065), as it is unpacked."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np

from homolog.data.combine import LazyPairs
from homolog.data.formats import mat
from homolog.data.pairs import Annotation, DataSet, ErrorCollector, box_around
from homolog.errors import HomologError
from homolog.keypoints import KeypointSchema

WHERE = "https://www.di.ens.fr/willow/research/proposalflow/"
KEYPOINTS = 10
_SUFFIXES = (".png", ".jpg", ".jpeg")


def load(root: Path, *, problems: ErrorCollector | None = None) -> DataSet:
    """PF-WILLOW: all ordered pairs of pictures within a folder.

    Args:
        root: the folder with a folder for each category, of pictures and their `.mat` files.
        problems: collects what is wrong, instead of raising at the first thing.

    Raises:
        HomologError: files are missing or broken, or scipy is not installed.
    """
    problems = problems or ErrorCollector()
    files = sorted(root.glob("*/*.mat"))
    if not files:
        raise HomologError(f"{root}: no */*.mat files there; PF-WILLOW is at {WHERE}")
    annotations = []
    for file in files:
        try:
            annotations.append(_annotation(file))
        except HomologError as error:
            problems.add(*str(error).split(": ", 1))
    ways = itertools.permutations(range(len(annotations)), 2)
    index = [(a, b) for a, b in ways if annotations[a].category == annotations[b].category]
    schema = KeypointSchema.numbered(KEYPOINTS)
    return DataSet(
        "PF-WILLOW",
        root,
        {annotation.category: schema for annotation in annotations},
        LazyPairs(annotations, np.array(index, dtype=int).reshape(-1, 2)),
        threshold="box",
        alphas=(0.15, 0.1, 0.05),
    )


def _annotation(file: Path) -> Annotation:
    pictures = [file.with_suffix(suffix) for suffix in _SUFFIXES]
    path = next((picture for picture in pictures if picture.is_file()), None)
    if path is None:
        raise HomologError(f"{file}: no picture {file.stem}{'|'.join(_SUFFIXES)} beside it")
    matrix = mat.read(file, "pts_coord")
    rows, columns = matrix.shape
    if rows < 2 or columns != KEYPOINTS:
        what = f"'pts_coord' is {rows} x {columns}, takes x and y of {KEYPOINTS} keypoints"
        raise HomologError(f"{file}: {what}")
    keypoints = matrix[:2].T
    if not np.isfinite(keypoints).all():
        raise HomologError(f"{file}: 'pts_coord' holds NaN or infinity")
    category = file.parent.name
    return Annotation(f"{category}/{file.stem}", path, category, keypoints, box_around(keypoints))
