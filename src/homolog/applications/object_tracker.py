"""A tracker of several objects, each from its own box, that keeps them apart where they meet.

Every object is matched from the annotated frame, in a region around where it should be. A grid of
points on it says where it went. Objects that look different are told apart by that alone: an
object's points are not found on another. Those that look alike are told apart by their motion.
docs/experiments.md measures it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from homolog.applications.point_tracker import FrameTracks
from homolog.applications.tracked_object import (
    FEWEST_POINTS,
    SEARCH_SPACE,
    Proposal,
    TrackedObject,
    cover_box,
    padded_box,
)
from homolog.descriptors import FeaturesLike
from homolog.errors import HomologError
from homolog.image.points import PointsLike, as_points
from homolog.image.regions import BoxLike, as_boxes
from homolog.matcher import Matcher

MAX_OBJECTS = 100
"""How many objects are tracked at most: the descriptors of each are kept."""

_BATCH = 8  # regions of a frame whose descriptors are kept at once
_ALIKE = 0.05  # objects look alike if they resemble themselves by less than this more
_COINCIDE = 0.5  # overlap of the boxes of two objects that look alike, if only one is in sight
_RATE = 0.2  # at which it is learned how much objects differ


@dataclass(frozen=True)
class FrameObjects:
    """Where N objects with K points in all are in one frame.

    Attributes:
        boxes: (x, y, width, height) in pixels of the upright frame, the best guess where an object
            is lost.
        lost: the objects that are out of sight, or not found; they may be found again.
        scores: the share of each object that was found, 0 to 1.
        tracks: the points of all objects; not a number, occluded and with a score of 0 where the
            object is lost.
    """

    boxes: Float[np.ndarray, "N 4"]
    lost: Bool[np.ndarray, "N"]
    scores: Float[np.ndarray, "N"]
    tracks: FrameTracks


class ObjectTracker:
    """Finds the objects of an annotated image in frames that come in order, as from a camera.

    Memory grows with the number of objects, not of frames.

    Args:
        matcher: matches the points.
        image: the annotated image.
        boxes: (x, y, width, height) of each object in pixels of it; at most `MAX_OBJECTS`.
        points: (x, y) in pixels, each in the box of an object; by default a grid on each object.

    Attributes:
        owners: the index of the object that each point is on.

    Raises:
        HomologError: the image cannot be read, a box cannot be right, or a point is in none.
    """

    def __init__(
        self,
        matcher: Matcher,
        image: FeaturesLike,
        boxes: Sequence[BoxLike] | np.ndarray,
        points: PointsLike | None = None,
    ):
        if len(boxes) > MAX_OBJECTS:
            raise HomologError(f"boxes: expected at most {MAX_OBJECTS}, got {len(boxes)}")
        self.matcher = matcher
        whole = matcher.load_image(image)
        self.size = whole.size
        found = as_boxes(boxes, self.size)
        owned: list[Float[np.ndarray, "_K 2"] | None] = [None] * len(found)
        if points is not None:
            given = as_points(points, self.size)
            owners = _owners(given, np.array(found))
            owned = [given[owners == index] for index in range(len(found))]
        self._objects: list[TrackedObject] = []
        for start in range(0, len(found), _BATCH):
            chunk = found[start : start + _BATCH]
            regions = [padded_box(box, SEARCH_SPACE, self.size) for box in chunk]
            for features, box in zip(matcher.extract(whole, box=regions), chunk, strict=True):
                own = owned[len(self._objects)]
                self._objects.append(TrackedObject(matcher, features, box, own))
        counts = [each.count for each in self._objects]
        by_object = np.repeat(np.arange(len(counts)), counts)
        self.owners = by_object if points is None else owners
        # Where each point is in those of one object after the other.
        self._rows = np.argsort(np.argsort(self.owners, kind="stable"), kind="stable")
        # How much more each object resembles itself than each other.
        self._margins = np.full((len(found), len(found)), np.inf)

    def restart(self) -> FrameObjects:
        """The objects as annotated; the next frame is taken to follow the annotated image."""
        for each in self._objects:
            each.restart()
        return self._result()

    def update(self, image: FeaturesLike) -> FrameObjects:
        """The objects in the next frame.

        Args:
            image: the frame, as large as the annotated image.

        Raises:
            HomologError: it cannot be read.
        """
        whole = self.matcher.load_image(image)
        alike = np.minimum(self._margins, self._margins.T) < _ALIKE
        # Where objects that look alike meet, motion alone says which is which.
        overlaps = _overlaps(np.stack([each.predicted for each in self._objects]))
        guided = ((overlaps > 0) & alike).any(1)
        proposals: list[Proposal] = []
        for start in range(0, len(self._objects), _BATCH):
            chunk = self._objects[start : start + _BATCH]
            boxes = [each.search_box for each in chunk]
            for features in self.matcher.extract(whole, box=boxes):
                index = len(proposals)
                if self._objects[index].missing:
                    # What it would be found on is another, which is known to be there.
                    for other in np.flatnonzero(alike[index]):
                        if not self._objects[other].missing:
                            cover_box(features, self._objects[other].predicted)
                proposals.append(self._objects[index].propose(features, bool(guided[index])))
                self._compare(index, proposals[index])
        found = np.array([each.found for each in proposals])
        # Of two that look alike and coincide, the one that is farther from where motion says is
        # hidden behind the other.
        overlaps = _overlaps(np.stack([each.box for each in proposals]))
        for pair in np.argwhere(np.triu((overlaps > _COINCIDE) & alike)):
            if found[pair].all():
                astray = [self._objects[index].astray(proposals[index]) for index in pair]
                found[pair[int(np.argmax(astray))]] = False
        for index, (each, proposal) in enumerate(zip(self._objects, proposals, strict=True)):
            if found[index]:
                each.accept(proposal, steady=bool(guided[index]))
            else:
                each.lose(proposal)
        return self._result()

    def _compare(self, index: int, proposal: Proposal) -> None:
        """Learn how much an object in sight differs from the others, beside those it touches."""
        if not proposal.found:
            return
        own = _likeness(proposal.descriptors, self._objects[index].reference)
        for other, each in enumerate(self._objects):
            x, y, width, height = each.predicted
            points = proposal.grid
            beside = np.any((points < (x, y)) | (points > (x + width, y + height)), axis=1)
            if other == index or beside.sum() < FEWEST_POINTS:
                continue
            rows = torch.from_numpy(beside).to(own.device)
            likeness = _likeness(proposal.descriptors[rows], each.reference)
            margin, before = float((own[rows] - likeness).mean()), self._margins[index, other]
            if np.isfinite(before):
                margin = (1 - _RATE) * before + _RATE * margin
            self._margins[index, other] = margin

    def _result(self) -> FrameObjects:
        tracks = [each.own_tracks for each in self._objects]
        return FrameObjects(
            np.stack([each.now for each in self._objects]),
            np.array([each.missing > 0 for each in self._objects]),
            np.array([each.score for each in self._objects]),
            FrameTracks(
                np.concatenate([each.points for each in tracks])[self._rows],
                np.concatenate([each.scores for each in tracks])[self._rows],
                np.concatenate([each.occluded for each in tracks])[self._rows],
            ),
        )


def _owners(points: Float[np.ndarray, "K 2"], boxes: Float[np.ndarray, "N 4"]) -> np.ndarray:
    """The index of the box that each point is in; of several, the one with the nearest centre."""
    low, spans = boxes[:, :2], boxes[:, 2:]
    shares = (points[:, None] - low) / spans  # K x N x 2
    inside = np.all((shares >= 0) & (shares <= 1), axis=-1)
    if not inside.any(1).all():
        index = int(np.argmin(inside.any(1)))
        x, y = points[index]
        raise HomologError(
            f"points: expected points in the boxes, got ({x:g}, {y:g}) at index {index}"
        )
    distance = np.linalg.norm(shares - 0.5, axis=-1)
    return np.argmin(np.where(inside, distance, np.inf), axis=1)


def _likeness(
    descriptors_PC: Float[Tensor, "P C"], reference_MC: Float[Tensor, "M C"]
) -> Float[Tensor, "P"]:
    """How much each of some cells resembles the most similar cell of an object."""
    return (descriptors_PC @ reference_MC.T).amax(1)


def _overlaps(boxes: Float[np.ndarray, "N 4"]) -> Float[np.ndarray, "N N"]:
    """Intersection over union of each box with each other; 0 with itself."""
    low, high = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    spans = np.minimum(high[:, None], high) - np.maximum(low[:, None], low)
    both = np.prod(np.maximum(spans, 0), axis=-1)
    areas = np.prod(boxes[:, 2:], axis=1)
    overlaps = both / (areas[:, None] + areas - both)
    np.fill_diagonal(overlaps, 0)
    return overlaps
