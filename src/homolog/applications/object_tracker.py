"""A tracker of several objects, each from its own box, that keeps them apart where they meet.

Every object is matched from the annotated frame, in a region around where it should be. A grid of
points on it says where it went. Objects that look different are told apart by that alone: an
object's points are not found on another. Those that look alike are told apart by their motion.
docs/experiments.md measures it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from homolog import matching
from homolog.applications.point_tracker import FrameTracks, Tracker
from homolog.descriptors import DescriptorMap, Features, FeaturesLike
from homolog.errors import HomologError
from homolog.image.geometry import IDENTITY
from homolog.image.points import PointsLike, as_points, grid_points
from homolog.image.regions import BoxLike, as_boxes
from homolog.matcher import Matcher

MAX_OBJECTS = 100
"""How many objects are tracked at most: the descriptors of each are kept."""

_GRID = 6  # points along the longer side of a box by which its motion is measured
_FEWEST = 6  # of them on the object; if fewer are salient, all are taken
_BATCH = 8  # regions of a frame whose descriptors are kept at once

# Lengths in shares of the longer side of an object's box.
_SEARCH = 0.1  # space around the predicted box, besides the margin that every region has
_GROWTH, _LARGEST = 0.25, 3.0  # of that space, with each frame in which the object is lost
_STRAY = 0.12  # how far a point of the grid may be from where most of them say
_REACH = 0.2  # how far from where motion says points are looked for, where motion alone can tell

_PARTLY = 0.6  # share of an object in sight below which its speed is not measured
_RESIZE = 1.1  # change of size from frame to frame at most
_SLOWING = 0.95  # of the speed of a lost object, with each frame
# An object is lost if a smaller share of its grid is where most of it says and looks like itself.
# A lost one is found again if a larger share is.
_LOST_BELOW, _FOUND_ABOVE = 0.3, 0.45
_ALIKE = 0.05  # objects look alike if they resemble themselves by less than this more
_COINCIDE = 0.5  # overlap of the boxes of two objects that look alike, if only one is in sight
_RATE = 0.2  # at which it is learnt how much objects differ


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
        self._objects: list[_Object] = []
        for start in range(0, len(found), _BATCH):
            chunk = found[start : start + _BATCH]
            regions = [_padded(box, _SEARCH, self.size) for box in chunk]
            for features, box in zip(matcher.extract(whole, box=regions), chunk, strict=True):
                own = owned[len(self._objects)]
                self._objects.append(_Object(matcher, features, box, own))
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
        proposals: list[_Proposal] = []
        for start in range(0, len(self._objects), _BATCH):
            chunk = self._objects[start : start + _BATCH]
            boxes = [each.search_box for each in chunk]
            for features in self.matcher.extract(whole, box=boxes):
                index = len(proposals)
                if self._objects[index].missing:
                    # What it would be found on is another, which is known to be there.
                    for other in np.flatnonzero(alike[index]):
                        if not self._objects[other].missing:
                            _cover(features, self._objects[other].predicted)
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

    def _compare(self, index: int, proposal: _Proposal) -> None:
        """Learn how much an object in sight differs from the others, beside those it touches."""
        if not proposal.found:
            return
        own = _likeness(proposal.descriptors, self._objects[index].reference)
        for other, each in enumerate(self._objects):
            x, y, width, height = each.predicted
            points = proposal.grid
            beside = np.any((points < (x, y)) | (points > (x + width, y + height)), axis=1)
            if other == index or beside.sum() < _FEWEST:
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


@dataclass(frozen=True)
class _Motion:
    """How an object moved since the annotated image: turned, resized and shifted.

    Attributes:
        matrix: multiplies row vectors (x, y) from the right.
        offset: is added, in pixels.
    """

    matrix: Float[np.ndarray, "2 2"]
    offset: Float[np.ndarray, "2"]

    @property
    def scale(self) -> float:
        return float(np.hypot(*self.matrix[0]))

    def __call__(self, points: Float[np.ndarray, "K 2"]) -> Float[np.ndarray, "K 2"]:
        return points @ self.matrix + self.offset

    def shifted(self, shift: Float[np.ndarray, "2"]) -> _Motion:
        return _Motion(self.matrix, self.offset + shift)


_AT_REST = _Motion(np.eye(2), np.zeros(2))


@dataclass(frozen=True)
class _Proposal:
    """Where an object seems to be in a frame, judged by itself.

    Attributes:
        tracks: of its points.
        box: (x, y, width, height).
        motion: from the annotated image.
        score: the share of the grid that is where most of it says and looks like itself.
        found: whether that is enough.
        grid: the points of the grid that look like themselves.
        descriptors: of these.
    """

    tracks: FrameTracks
    box: Float[np.ndarray, "4"]
    motion: _Motion
    score: float
    found: bool
    grid: Float[np.ndarray, "_P 2"]
    descriptors: Float[Tensor, "_P C"]


class _Object:
    """One object: what it looked like in the annotated image, where it is now, and how it moves.

    Args:
        matcher: matches its points.
        features: of the region around it in the annotated image.
        box: (x, y, width, height) in that image.
        points: on it; None for those of the grid.

    Attributes:
        count: number of points that are asked for.
        reference: descriptors of its cells.
        now: its box.
        missing: for how many frames it has been lost.
        score: the share of it that was found.
    """

    def __init__(
        self,
        matcher: Matcher,
        features: Features,
        box: tuple[float, float, float, float],
        points: Float[np.ndarray, "_K 2"] | None,
    ):
        self.box, self.size = np.array(box), features.size
        found = matcher.descriptor_map(features)
        cells = _object_cells(found, self.box)
        self.reference = found.descriptors_HWC[cells]
        self._outline = found.transform.to_points(
            found.transform.grid.cells[cells.flatten().cpu().numpy()]
        )
        grid = grid_points(features.size, _GRID, box=box)
        column, row = np.rint(found.transform.to_cells(grid)).astype(int).T
        salient = cells.cpu().numpy()[row, column]
        self._grid = grid[salient] if salient.sum() >= _FEWEST else grid
        self.count = len(self._grid if points is None else points)
        both = self._grid if points is None else np.concatenate([points, self._grid])
        self._tracker = Tracker(matcher, features, both)
        self.restart()

    def restart(self) -> None:
        """Put the object where it was annotated, at rest."""
        self._tracks = self._tracker.restart()
        self.now = self.box
        self._velocity = np.zeros(2)
        self._motion, self.score, self.missing = _AT_REST, 1.0, 0

    @property
    def predicted(self) -> Float[np.ndarray, "4"]:
        """Where the box should be in the next frame."""
        return self.now + np.array([*self._velocity, 0.0, 0.0])

    @property
    def search_box(self) -> tuple[float, float, float, float]:
        """The box whose region is searched in the next frame."""
        # A lost object is looked for near and far by turns: near, it is as large as annotated.
        far = self.missing if self.missing % 2 == 0 else 0
        pad = _SEARCH + (min(1 + _GROWTH * far, _LARGEST) - 1) / 2
        return _padded(self.predicted, pad, self.size)

    @property
    def own_tracks(self) -> FrameTracks:
        """The points that are asked for, in the last frame."""
        own = slice(self.count)
        if self.missing:
            unknown = np.full((self.count, 2), np.nan)
            return FrameTracks(unknown, np.zeros(self.count), np.full(self.count, True))
        tracks = self._tracks
        return FrameTracks(tracks.points[own], tracks.scores[own], tracks.occluded[own])

    def propose(self, features: Features, guided: bool) -> _Proposal:
        """Where the object seems to be in a frame.

        Args:
            features: of the region around the search box.
            guided: whether its points are looked for only about where its motion leads.
        """
        expected = self._motion.shifted(self._velocity)(self._tracker.points)
        reach = None
        if guided:
            reach = _REACH * (1 + _GROWTH * self.missing) * max(self.now[2:])
        else:
            unseen = self._tracks.occluded[:, None]
            expected = np.where(unseen, expected, self._tracks.points + self._velocity)
        tracks = self._tracker.update(features, expected, reach)
        rows = slice(len(tracks.points) - len(self._grid), None)
        points, seen = tracks.points[rows], ~tracks.occluded[rows]
        motion, agree = _fit(
            self._grid, points, tracks.scores[rows] * seen, self._motion, _STRAY * max(self.now[2:])
        )
        score = float((agree & seen).mean())
        target = features.by_pose[IDENTITY]
        cells = torch.from_numpy(target.transform.to_cells(points[seen]))
        descriptors = matching.sample_descriptors(
            target.descriptors_HWC, cells.to(target.descriptors_HWC)
        )
        found = score >= (_FOUND_ABOVE if self.missing else _LOST_BELOW)
        box = self._moved_box(motion)
        return _Proposal(tracks, box, motion, score, found, points[seen], descriptors)

    def _moved_box(self, motion: _Motion) -> Float[np.ndarray, "4"]:
        """The box around the object's cells after a motion, with the space that it had around."""
        before, after = self._outline, motion(self._outline)
        space = before.min(0) - self.box[:2], self.box[:2] + self.box[2:] - before.max(0)
        low, high = after.min(0) - motion.scale * space[0], after.max(0) + motion.scale * space[1]
        return np.concatenate([low, high - low])

    def astray(self, proposal: _Proposal) -> float:
        """How far from where it should be the object seems to be, in shares of its size."""
        if self.missing:
            return float("inf")
        moved = _centre(proposal.box) - _centre(self.predicted)
        return float(np.linalg.norm(moved) / max(self.now[2:]))

    def accept(self, proposal: _Proposal, steady: bool) -> None:
        """Take the object to be where it seems to be.

        Args:
            proposal: where that is.
            steady: whether its speed is kept, because what is seen may be another's.
        """
        if not (self.missing or steady or proposal.score < _PARTLY):
            rate = 0.5 if self._velocity.any() else 1.0
            moved = _centre(proposal.box) - _centre(self.now)
            self._velocity = (1 - rate) * self._velocity + rate * moved
        self.now, self._motion, self._tracks = proposal.box, proposal.motion, proposal.tracks
        self.score, self.missing = proposal.score, 0

    def lose(self, proposal: _Proposal) -> None:
        """Take the object to move on out of sight; its centre stays in the image."""
        shift = np.clip(_centre(self.predicted), 0, self.size) - _centre(self.now)
        self.now = self.now + np.array([*shift, 0.0, 0.0])
        self._motion = self._motion.shifted(shift)
        self._velocity = _SLOWING * self._velocity
        self._tracks, self.score = proposal.tracks, proposal.score
        self.missing += 1


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


def _cover(features: Features, box: Float[np.ndarray, "4"]) -> None:
    """Let no match lie in a box."""
    found = features.by_pose[IDENTITY]
    matchable = found.matchable_HW & ~_cells_in(found, box)
    if matchable.any():
        features.by_pose[IDENTITY] = dataclasses.replace(found, matchable_HW=matchable)


def _cells_in(found: DescriptorMap, box: Float[np.ndarray, "4"]) -> Bool[Tensor, "H W"]:
    """The cells whose centre is in a box."""
    centres = found.transform.to_points(found.transform.grid.cells)
    inside = np.all((centres >= box[:2]) & (centres <= box[:2] + box[2:]), axis=1)
    return torch.from_numpy(inside).view(found.valid_HW.shape).to(found.valid_HW.device)


def _object_cells(found: DescriptorMap, box: Float[np.ndarray, "4"]) -> Bool[Tensor, "H W"]:
    """The cells of an object: those in its box that are salient, or all if next to none are."""
    cells = _cells_in(found, box)
    salient = cells & (found.saliency_HW > 0)
    return salient if salient.sum() > 0.1 * cells.sum() else cells


def _likeness(
    descriptors_PC: Float[Tensor, "P C"], reference_MC: Float[Tensor, "M C"]
) -> Float[Tensor, "P"]:
    """How much each of some cells resembles the most similar cell of an object."""
    return (descriptors_PC @ reference_MC.T).amax(1)


def _centre(box: Float[np.ndarray, "4"]) -> Float[np.ndarray, "2"]:
    return box[:2] + box[2:] / 2


def _overlaps(boxes: Float[np.ndarray, "N 4"]) -> Float[np.ndarray, "N N"]:
    """Intersection over union of each box with each other; 0 with itself."""
    low, high = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    spans = np.minimum(high[:, None], high) - np.maximum(low[:, None], low)
    both = np.prod(np.maximum(spans, 0), axis=-1)
    areas = np.prod(boxes[:, 2:], axis=1)
    overlaps = both / (areas[:, None] + areas - both)
    np.fill_diagonal(overlaps, 0)
    return overlaps


def _padded(
    box: Sequence[float] | np.ndarray, share: float, size: tuple[int, int]
) -> tuple[float, float, float, float]:
    """A box with space around it, a share of its longer side, moved into the image."""
    x, y, width, height = (float(value) for value in box)
    pad = share * max(width, height)
    width, height = min(width + 2 * pad, size[0]), min(height + 2 * pad, size[1])
    x, y = min(max(x - pad, 0.0), size[0] - width), min(max(y - pad, 0.0), size[1] - height)
    return x, y, width, height


def _fit(
    points: Float[np.ndarray, "K 2"],
    found: Float[np.ndarray, "K 2"],
    weights: Float[np.ndarray, "K"],
    before: _Motion,
    tolerance: float,
) -> tuple[_Motion, Bool[np.ndarray, "K"]]:
    """The motion that leads most points to where they were found, and the points that agree.

    Iteratively reweighted least squares (complex numbers turn and resize), from the last motion
    with the median of the offsets on.

    Args:
        points: (x, y) in the annotated image.
        found: (x, y) in the frame.
        weights: of each point, at least 0.
        before: the motion up to the previous frame.
        tolerance: distance, in pixels, up to which a point agrees.
    """
    weights = np.maximum(weights, 1e-6)
    offset = [_weighted_median(axis, weights) for axis in (found - points @ before.matrix).T]
    motion = _Motion(before.matrix, np.array(offset))
    for _ in range(8):
        errors = np.linalg.norm(found - motion(points), axis=1)
        w = weights / (1 + (errors / tolerance) ** 2) ** 2
        mean0, mean1 = (w @ each / w.sum() for each in (points, found))
        z0, z1 = ((each - mean) @ [1, 1j] for each, mean in ((points, mean0), (found, mean1)))
        factor = np.vdot(w * z0, z1) / max(np.vdot(w * z0, z0).real, 1e-9)
        limits = before.scale / _RESIZE, before.scale * _RESIZE
        factor *= np.clip(abs(factor), *limits) / max(abs(factor), 1e-9)
        matrix = np.array([[factor.real, factor.imag], [-factor.imag, factor.real]])
        motion = _Motion(matrix, mean1 - mean0 @ matrix)
    return motion, np.linalg.norm(found - motion(points), axis=1) <= tolerance


def _weighted_median(values: Float[np.ndarray, "K"], weights: Float[np.ndarray, "K"]) -> float:
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])
