"""Pictures held out, for data sets that come without a validation set."""

from __future__ import annotations

import dataclasses
import math

from homolog.data.pairs import Annotation, DataSet

_FEWEST = 10  # pictures of a category from which some can be spared


def hold_out(data: DataSet, share: float) -> tuple[DataSet, DataSet | None]:
    """Two data sets that have no picture in common; the second holds about that share.

    Of each category the last pictures by name are held out: frames of one video, whose names
    mostly start alike, stay together. A category of fewer than ten pictures is not split.

    Args:
        data: what to split.
        share: of the pictures, 0 to 1.

    Returns:
        What remains and what is held out; None if that is nothing.
    """
    members: dict[str, list[Annotation]] = {}
    for annotation in data.annotations:
        members.setdefault(annotation.category, []).append(annotation)
    held: set[Annotation] = set()
    for pictures in members.values():
        if len(pictures) >= _FEWEST:
            pictures.sort(key=lambda annotation: annotation.name)
            held.update(pictures[len(pictures) - math.ceil(share * len(pictures)) :])
    if not held:
        return data, None
    both = [(pair, (pair.source in held) + (pair.target in held)) for pair in data.pairs]
    rest = [pair for pair, inside in both if inside == 0]
    spared = [pair for pair, inside in both if inside == 2]
    return (
        dataclasses.replace(data, pairs=rest),
        dataclasses.replace(data, name=f"{data.name}, held out", pairs=spared),
    )
