"""Labels of made-up beetles seen from above: one shape with two sides, turned, scaled and bent."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from homolog.data import Annotation
from homolog.descriptors import DescriptorMap
from homolog.image.geometry import CanvasTransform, Grid
from homolog.image.poses import PoseVariant
from homolog.keypoints import KeypointSchema
from homolog.labelling.audit.tracks import TrackFinding, TrackSet

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


def walk(
    frames: int, count: int, seed: int, *, missing: float = 0.03, scale: float = 0.5
) -> TrackSet:
    """Tracks of beetles that walk about in a video of 640 x 480 pixels, turning and bending.

    Args:
        frames: how many.
        count: how many beetles.
        seed: of where they go.
        missing: the share of keypoints that are not labelled.
        scale: of a beetle, which is 105 pixels long at 1.
    """
    rng = np.random.default_rng(seed)
    points = np.full((frames, count, len(NAMES), 2), np.nan)
    places, headings = rng.uniform((100, 100), (540, 380), (count, 2)), rng.uniform(0, 6.28, count)
    bends = rng.normal(0, 3, (count, *SHAPE.shape))
    for frame in range(frames):
        headings += rng.normal(0, 0.12, count)
        places += 3 * np.stack([np.sin(headings), -np.cos(headings)], axis=1)
        headings[((places < 60) | (places > (580, 420))).any(axis=1)] += 0.5
        places = np.clip(places, 60, (580, 420))
        bends = 0.9 * bends + rng.normal(0, 1.5, bends.shape)
        for index, angle in enumerate(headings):
            turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
            points[frame, index] = scale * (SHAPE + bends[index]) @ turn + places[index]
    points[rng.random(points.shape[:3]) < missing] = np.nan
    return TrackSet(tuple(range(frames)), tuple(range(count)), points, SCHEMA, (640, 480))


def exchange(
    tracks: TrackSet, first: int, last: int, *instances: int
) -> tuple[TrackSet, tuple[str, tuple[int, ...], int, int]]:
    """Tracks in which two instances, or the sides of one, are exchanged in an interval."""
    kind = "identities" if len(instances) == 2 else "sides"
    found = TrackFinding(kind, instances, first, last, 1.0)  # type: ignore[arg-type]
    return tracks.corrected([found]), (kind, instances, first, last)  # it is its own inverse


def paint(tracks: TrackSet, colours: Sequence[str]) -> dict[int, Image.Image]:
    """Frames in which each animal has a colour."""
    images = {}
    for row, frame in enumerate(tracks.frames):
        image = Image.new("RGB", tracks.size, (120, 120, 120))
        draw = ImageDraw.Draw(image)
        for shape, colour in zip(tracks.points[row], colours, strict=True):
            for x, y in shape[np.isfinite(shape[:, 0])]:
                draw.ellipse((x - 9, y - 9, x + 9, y + 9), fill=colour)
        images[frame] = image
    return images


def track_table(tracks: TrackSet) -> str:
    """Tracks as `homolog track --csv` writes them."""
    lines = ["frame,seconds,instance,point,x,y,score,lost"]
    for row, frame in enumerate(tracks.frames):
        for index, instance in enumerate(tracks.instances):
            for name, (x, y) in zip(NAMES, tracks.points[row, index], strict=True):
                place = "," if np.isnan(x) else f"{x:.3f},{y:.3f}"
                lines.append(f"{frame},{frame / 25:.6f},{instance},{name},{place},0.9000,0")
    return "\n".join(lines) + "\n"
