"""Labels of made-up beetles seen from above: one shape with two sides, turned, scaled and bent."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from homolog.data import Annotation
from homolog.descriptors import DescriptorMap
from homolog.image.geometry import CanvasTransform, Grid, PoseVariant
from homolog.keypoints import KeypointSchema

NAMES = (
    "head", "left_antenna", "right_antenna", "left_front_foot", "right_front_foot",
    "left_hind_foot", "right_hind_foot", "tail",
)  # fmt: skip
SCHEMA = KeypointSchema.from_names(NAMES)
# Seen from above with the head up, its left is on the left.
SHAPE = np.array(
    [(0, -40), (-12, -55), (12, -55), (-35, -15), (35, -15), (-30, 30), (30, 30), (0, 50)],
    dtype=float,
)
SIZE = (400, 400)


def beetles(
    count: int,
    seed: int = 0,
    *,
    bend: float = 2.0,
    mirrored: Sequence[int] = (),
    path: Path = Path(""),
) -> list[Annotation]:
    """Labelled beetles, without images.

    Args:
        count: how many.
        seed: of their places, turns, sizes and bends.
        bend: the standard deviation of each keypoint, for a beetle that is 105 long.
        mirrored: those that are seen from below, so that they look like mirror images.
        path: of their images.
    """
    rng = np.random.default_rng(seed)
    found = []
    for index in range(count):
        angle, scale = rng.uniform(0, 2 * np.pi), rng.uniform(0.8, 1.3)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        points = SHAPE + rng.normal(0, bend, SHAPE.shape)
        if index in mirrored:
            points = points * (-1, 1)
        points = scale * points @ turn + rng.uniform(150, 250, 2)
        found.append(beetle(f"{index}.png", points, path))
    return found


def beetle(name: str, points: np.ndarray, path: Path = Path("")) -> Annotation:
    """The annotation of a beetle with these keypoints."""
    visible = np.isfinite(points).all(axis=1)
    low, high = points[visible].min(0), points[visible].max(0)
    box = (*map(float, low), *map(float, high))
    return Annotation(name, path, "beetle", points, box, SIZE)  # type: ignore[arg-type]


def exchanged(annotation: Annotation, order: Sequence[int] = SCHEMA.mirror) -> Annotation:
    """An annotation whose keypoints have exchanged labels, by default those of its two sides."""
    return dataclasses.replace(annotation, keypoints=annotation.keypoints[list(order)])


def swapped(annotation: Annotation, one: int, other: int) -> Annotation:
    """An annotation in which two keypoints have exchanged labels."""
    order = list(range(len(NAMES)))
    order[one], order[other] = other, one
    return exchanged(annotation, order)


class PaintedBeetles:
    """Descriptors of beetles whose parts all look different, also the left from the right ones.

    Args:
        annotations: as they are in truth.
    """

    def __init__(self, annotations: Sequence[Annotation]):
        self.truth = {annotation.name: annotation.keypoints for annotation in annotations}
        self.calls: list[str] = []

    def __call__(self, annotation: Annotation, pose: PoseVariant) -> DescriptorMap:
        self.calls.append(annotation.name)
        grid = Grid.from_patches(400, 4)
        transform = CanvasTransform(*SIZE, pose, 400, grid)
        cells = torch.zeros(*grid.shape, len(NAMES) + 1)
        cells[..., -1] = 1
        # In a flipped image a left foot looks like a right one.
        order = list(SCHEMA.mirror) if pose.flip else range(len(NAMES))
        for keypoint, (x, y) in zip(
            order, transform.to_cells(self.truth[annotation.name]), strict=True
        ):
            column, row = round(x), round(y)
            cells[row - 1 : row + 2, column - 1 : column + 2] = 0
            cells[row - 1 : row + 2, column - 1 : column + 2, keypoint] = 1
        everywhere = torch.ones(grid.shape, dtype=torch.bool)
        return DescriptorMap(transform, cells, everywhere, everywhere, everywhere.float())
