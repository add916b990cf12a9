"""Held-out sets, for data sets that come without a validation set."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from homolog.data.pairs import DataSet

_MIN_IMAGES = 10
"""A category with fewer images is not split: none can be spared."""


def hold_out(data: DataSet, fraction: float) -> tuple[DataSet, DataSet | None]:
    """Split a data set into a training and a held-out set that have no image in common.

    Of each category the last images by name are held out: frames of one video, whose names mostly
    start alike, stay together. Pairs of a held-out and another image are in neither set.

    Args:
        data: the data set to split.
        fraction: of the images to hold out, 0 to 1.

    Returns:
        The training set and the held-out set; None if no category has enough images.
    """
    names: dict[str, dict[Path, str]] = {}  # of the images of each category
    for annotation in data.annotations:
        of_category = names.setdefault(annotation.category, {})
        first = of_category.setdefault(annotation.path, annotation.name)
        of_category[annotation.path] = min(first, annotation.name)
    held: set[Path] = set()
    for of_category in names.values():
        images = sorted(of_category, key=of_category.__getitem__)
        if len(images) >= _MIN_IMAGES:
            held.update(images[len(images) - math.ceil(fraction * len(images)) :])
    if not held:
        return data, None
    held_members = np.array(
        [(pair.source.path in held) + (pair.target.path in held) for pair in data.pairs]
    )
    return (
        data.select(np.flatnonzero(held_members == 0)),
        data.select(np.flatnonzero(held_members == 2), name=f"{data.name}, held out"),
    )
