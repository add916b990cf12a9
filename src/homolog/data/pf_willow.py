"""PF-WILLOW (Ham et al., 2016, arXiv 1511.05065), as it is published."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np

from homolog.data.formats import mat
from homolog.data.pairs import Annotation, DataSet, LazyPairs, box_around
from homolog.data.reading import ErrorCollector
from homolog.errors import HomologError
from homolog.keypoints import KeypointSchema

HOMEPAGE = "https://www.di.ens.fr/willow/research/proposalflow/"
KEYPOINTS = 10
_SUFFIXES = (".png", ".jpg", ".jpeg")


def load(root: Path, *, problems: ErrorCollector | None = None) -> DataSet:
    """Load PF-WILLOW: all ordered pairs of images within a folder.

    Args:
        root: the folder with a folder for each category, of images and their `.mat` files.
        problems: collects errors, instead of raising the first.

    Raises:
        HomologError: files are missing or malformed.
    """
    problems = problems or ErrorCollector()
    files = sorted(root.glob("*/*.mat"))
    if not files:
        raise HomologError(
            f"{root}: expected */*.mat files, got none; try PF-WILLOW from {HOMEPAGE}"
        )
    annotations = []
    for file in files:
        try:
            annotations.append(_annotation(file))
        except HomologError as error:
            problems.add_error(error)
    ordered = itertools.permutations(range(len(annotations)), 2)
    index = [(a, b) for a, b in ordered if annotations[a].category == annotations[b].category]
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
    """The annotation in a `.mat` file and the image beside it."""
    images = [file.with_suffix(suffix) for suffix in _SUFFIXES]
    path = next((image for image in images if image.is_file()), None)
    if path is None:
        raise HomologError(
            f"{file}: expected an image {file.stem}{'|'.join(_SUFFIXES)} beside it, got none"
        )
    matrix = mat.read(file, "pts_coord")
    rows, columns = matrix.shape
    if rows < 2 or columns != KEYPOINTS:
        raise HomologError(
            f"{file}: 'pts_coord': expected x and y of {KEYPOINTS} keypoints, "
            f"got {rows} x {columns} numbers"
        )
    keypoints = matrix[:2].T
    if not np.isfinite(keypoints).all():
        raise HomologError(f"{file}: 'pts_coord': expected finite numbers, got NaN or infinity")
    category = file.parent.name
    return Annotation(f"{category}/{file.stem}", path, category, keypoints, box_around(keypoints))
