"""One of several tracked objects: what it looked like, where it is, and how it moves."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from homolog import matching
from homolog.applications.motion import AT_REST, Motion, fit_motion
from homolog.applications.point_tracker import FrameTracks, Tracker
from homolog.descriptors import DescriptorMap, Features
from homolog.image.points import grid_points
from homolog.image.poses import IDENTITY
from homolog.image.regions import MARGIN
from homolog.matcher import Matcher

_SEARCHED = 1.44  # length of the region that is searched, in longer sides of the predicted box
SEARCH_SPACE = (_SEARCHED / (1 + 2 * MARGIN) - 1) / 2
"""Space around a box, on either side, that makes its region so large, with the margin of regions;
a share of the box's longer side."""
FEWEST_POINTS = 6
"""Points on an object below which nothing is said of it."""

_GRID = 6  # points along the longer side of a box by which its motion is measured

# Lengths in shares of the longer side of an object's box.
_GROWTH, _LARGEST = 0.25, 3.0  # of what is searched, with each frame in which the object is lost
_STRAY = 0.12  # how far a point of the grid may be from where most of them say
_REACH = 0.2  # how far from where motion says points are looked for, where motion alone can tell

_PARTLY = 0.6  # share of an object in sight below which its speed is not measured
_SLOWING = 0.95  # of the speed of a lost object, with each frame
# An object is lost if a smaller share of its grid is where most of it says and looks like itself.
# A lost one is found again if a larger share is.
_LOST_BELOW, _FOUND_ABOVE = 0.3, 0.45


@dataclass(frozen=True)
class Proposal:
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
    motion: Motion
    score: float
    found: bool
    grid: Float[np.ndarray, "_P 2"]
    descriptors: Float[Tensor, "_P C"]


class TrackedObject:
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
        self._grid = grid[salient] if salient.sum() >= FEWEST_POINTS else grid
        self.count = len(self._grid if points is None else points)
        both = self._grid if points is None else np.concatenate([points, self._grid])
        self._tracker = Tracker(matcher, features, both)
        self.restart()

    def restart(self) -> None:
        """Put the object where it was annotated, at rest."""
        self._tracks = self._tracker.restart()
        self.now = self.box
        self._velocity = np.zeros(2)
        self._motion, self.score, self.missing = AT_REST, 1.0, 0

    @property
    def predicted(self) -> Float[np.ndarray, "4"]:
        """Where the box should be in the next frame."""
        return self.now + np.array([*self._velocity, 0.0, 0.0])

    @property
    def search_box(self) -> tuple[float, float, float, float]:
        """The box whose region is searched in the next frame."""
        # A lost object is looked for near and far by turns: near, it is as large as annotated.
        far = self.missing if self.missing % 2 == 0 else 0
        pad = SEARCH_SPACE + (min(1 + _GROWTH * far, _LARGEST) - 1) / 2
        return padded_box(self.predicted, pad, self.size)

    @property
    def own_tracks(self) -> FrameTracks:
        """The points that are asked for, in the last frame."""
        own = slice(self.count)
        if self.missing:
            unknown = np.full((self.count, 2), np.nan)
            return FrameTracks(unknown, np.zeros(self.count), np.full(self.count, True))
        tracks = self._tracks
        return FrameTracks(tracks.points[own], tracks.scores[own], tracks.occluded[own])

    def propose(self, features: Features, guided: bool) -> Proposal:
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
        motion, agree = fit_motion(
            self._grid, points, tracks.scores[rows] * seen, self._motion, _STRAY * max(self.now[2:])
        )
        score = float((agree & seen).mean())
        target = features.descriptor_map()
        descriptors = matching.sample_descriptors(
            target.descriptors_HWC, target.cells_of(points[seen])
        )
        found = score >= (_FOUND_ABOVE if self.missing else _LOST_BELOW)
        box = self._moved_box(motion)
        return Proposal(tracks, box, motion, score, found, points[seen], descriptors)

    def _moved_box(self, motion: Motion) -> Float[np.ndarray, "4"]:
        """The box around the object's cells after a motion, with the space that it had around."""
        before, after = self._outline, motion(self._outline)
        space = before.min(0) - self.box[:2], self.box[:2] + self.box[2:] - before.max(0)
        low, high = after.min(0) - motion.scale * space[0], after.max(0) + motion.scale * space[1]
        return np.concatenate([low, high - low])

    def astray(self, proposal: Proposal) -> float:
        """How far from where it should be the object seems to be, in shares of its size."""
        if self.missing:
            return float("inf")
        moved = box_centre(proposal.box) - box_centre(self.predicted)
        return float(np.linalg.norm(moved) / max(self.now[2:]))

    def accept(self, proposal: Proposal, steady: bool) -> None:
        """Take the object to be where it seems to be.

        Args:
            proposal: where that is.
            steady: whether its speed is kept, because what is seen may be another's.
        """
        first = not self._velocity.any()
        if not (self.missing or steady) and (first or proposal.score >= _PARTLY):
            rate = 1.0 if first else 0.5
            moved = box_centre(proposal.box) - box_centre(self.now)
            self._velocity = (1 - rate) * self._velocity + rate * moved
        self.now, self._motion, self._tracks = proposal.box, proposal.motion, proposal.tracks
        self.score, self.missing = proposal.score, 0

    def lose(self, proposal: Proposal) -> None:
        """Take the object to move on out of sight; its centre stays in the image."""
        shift = np.clip(box_centre(self.predicted), 0, self.size) - box_centre(self.now)
        self.now = self.now + np.array([*shift, 0.0, 0.0])
        self._motion = self._motion.shifted(shift)
        self._velocity = _SLOWING * self._velocity
        self._tracks, self.score = proposal.tracks, proposal.score
        self.missing += 1


def cover_box(features: Features, box: Float[np.ndarray, "4"]) -> None:
    """Let no match lie in a box."""
    found = features.descriptor_map()
    matchable = found.matchable_HW & ~_cells_in(found, box)
    if matchable.any():
        features.by_pose[IDENTITY] = dataclasses.replace(found, matchable_HW=matchable).stored()


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


def box_centre(box: Float[np.ndarray, "4"]) -> Float[np.ndarray, "2"]:
    """The centre (x, y) of a box (x, y, width, height)."""
    return box[:2] + box[2:] / 2


def padded_box(
    box: Sequence[float] | np.ndarray, share: float, size: tuple[int, int]
) -> tuple[float, float, float, float]:
    """A box with space around it, a share of its longer side, moved into the image."""
    x, y, width, height = (float(value) for value in box)
    pad = share * max(width, height)
    width, height = min(width + 2 * pad, size[0]), min(height + 2 * pad, size[1])
    x, y = min(max(x - pad, 0.0), size[0] - width), min(max(y - pad, 0.0), size[1] - height)
    return x, y, width, height
