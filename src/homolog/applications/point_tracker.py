"""A tracker of points: where those of an annotated image are in frames that come in order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from homolog import matching
from homolog.descriptors import DescriptorMap, FeaturesLike
from homolog.image.points import PointsLike, as_points
from homolog.image.poses import IDENTITY
from homolog.matcher import Matcher

# The prior from the previous frame, in units of similarity (docs/experiments.md).
_APPEARANCE_WEIGHT = 0.3  # share of the similarity to the point in the previous frame
_MOTION_PENALTY = 0.1  # the most that distance from the previous position costs
_MOTION_RADIUS = 0.06  # distance without penalty, in shares of the frame's longer edge
_LEAST_REACH = 2.0  # in cells
# A point is occluded if it resembles itself less than this, in shares of the usual pair score.
_OCCLUDED_BELOW = 0.6


@dataclass(frozen=True)
class FrameTracks:
    """Where K points are in one frame.

    Attributes:
        points: (x, y) in pixels of the upright frame, the best guess where a point is occluded.
        scores: confidence in each point, 0 to 1, against the annotated frame.
        occluded: the points that are probably not visible, or not found; they may come back.
    """

    points: Float[np.ndarray, "K 2"]
    scores: Float[np.ndarray, "K"]
    occluded: Bool[np.ndarray, "K"]


class Tracker:
    """Finds the points of an annotated image in frames that come in order, as from a camera.

    Only the previous frame is remembered.

    Args:
        matcher: matches the points.
        image: the annotated image.
        points: (x, y) in pixels of it.

    Raises:
        HomologError: the image cannot be read, or the points are not on it.
    """

    def __init__(self, matcher: Matcher, image: FeaturesLike, points: PointsLike):
        self.matcher = matcher
        self.features = matcher.extract(image)
        self.points = as_points(points, self.features.size)
        # What the points looked like in the previous frame, and where they were.
        self._previous: tuple[Float[Tensor, "K C"], FrameTracks] | None = None
        self._pair_scores = np.zeros(2)  # their sum and number

    def restart(self) -> FrameTracks:
        """The points as annotated; the next frame is taken to follow the annotated image."""
        count = len(self.points)
        tracks = FrameTracks(self.points, np.ones(count), np.full(count, False))
        self._remember(self.matcher.descriptor_map(self.features), tracks)
        return tracks

    def update(
        self,
        image: FeaturesLike,
        expected: Float[np.ndarray, "K 2"] | None = None,
        reach: float | None = None,
    ) -> FrameTracks:
        """The points in the next frame.

        Args:
            image: the frame, as large as the annotated image; or the features of a region of it,
                if those of the annotated image are of a region, too.
            expected: where the points should be, (x, y) in pixels; by default where they were.
            reach: how far from there, in pixels, they are looked for; by default everywhere.

        Raises:
            HomologError: it cannot be read.
        """
        pair = self.matcher.pair(self.features, self.matcher.extract(image))
        source, target = pair.source_map(IDENTITY), pair.target_map
        inner = pair.similarity(self.points)
        similarity = inner / (source.typical_length * target.typical_length)
        # The previous frame helps to choose a region; the annotated one alone says where exactly
        # in it, or points would drift towards their previous positions.
        candidates = similarity
        if self._previous is not None:
            candidates = similarity + _motion_prior(*self._previous, target, expected)
        if expected is not None and reach is not None:
            near = candidates.masked_fill(_beyond(expected, reach, target), -torch.inf)
            some = torch.isfinite(near).flatten(1).any(1)  # unless a mask covers all of it
            candidates = torch.where(some[:, None, None], near, candidates)
        region = _surrounding_cells(matching.argmax(candidates), similarity)
        targets = self.matcher.config.locate(inner.masked_fill(~region, -torch.inf))
        cells = source.cells_of(self.points)
        scores = matching.cycle_confidence(
            source.descriptors_HWC, target.descriptors_HWC, source.valid_HW,
            cells, targets, similarity,
        )  # fmt: skip
        # An occluded point is found where it should be, but does not resemble itself. How much it
        # should, the pair score of the whole images tells, or, where this frame shows something
        # else, that of the frames before.
        total, count = self._pair_scores
        usual = max(pair.score, total / max(count, 1), 1e-6)
        self._pair_scores += np.array([pair.score, 1.0])
        found = matching.sample_descriptors(target.descriptors_HWC, targets)
        own = matching.sample_descriptors(source.descriptors_HWC, cells)
        resemblance = ((found * own).sum(1).clamp_min(0) / usual).clamp_max(1)
        points = target.transform.to_points(_array(targets), clip=True)
        occluded = (resemblance < _OCCLUDED_BELOW).cpu().numpy()
        tracks = FrameTracks(points, _array(scores * resemblance), occluded)
        self._remember(target, tracks)
        return tracks

    def _remember(self, found: DescriptorMap, tracks: FrameTracks) -> None:
        cells = found.cells_of(tracks.points)
        self._previous = matching.sample_descriptors(found.descriptors_HWC, cells), tracks


def _motion_prior(
    descriptors_KC: Float[Tensor, "K C"],
    tracks: FrameTracks,
    target: DescriptorMap,
    expected: Float[np.ndarray, "K 2"] | None,
) -> Float[Tensor, "K H W"]:
    """What the previous frame adds to the similarity of each cell; 0 for points occluded in it."""
    similarity = matching.similarity(descriptors_KC, target.descriptors_HWC)
    distance = _distances(tracks.points if expected is None else expected, target)
    beyond = (distance / (_MOTION_RADIUS * max(distance.shape[1:])) - 1).clamp_min(0)
    penalty = 1 - (beyond**2 / -2).exp()
    trust = torch.from_numpy(np.where(tracks.occluded, 0.0, tracks.scores)).to(similarity)
    return (_APPEARANCE_WEIGHT * similarity - _MOTION_PENALTY * penalty) * trust[:, None, None]


def _beyond(
    expected: Float[np.ndarray, "K 2"], reach: float, target: DescriptorMap
) -> Bool[Tensor, "K H W"]:
    """The cells farther than so many pixels from where each point should be; never all of them."""
    transform = target.transform
    cells = max(_LEAST_REACH, reach * transform.letterbox.scale / transform.grid.stride)
    return _distances(transform.clip(expected), target) > cells


def _distances(points: Float[np.ndarray, "K 2"], target: DescriptorMap) -> Float[Tensor, "K H W"]:
    """The distance of every cell from each point, in cells."""
    cells = target.cells_of(points)
    height, width = target.descriptors_HWC.shape[:2]
    y, x = (torch.arange(count).to(cells) for count in (height, width))
    squared = (y - cells[:, 1:])[:, :, None] ** 2 + (x - cells[:, :1])[:, None, :] ** 2
    return squared.sqrt()


def _surrounding_cells(
    cells_K2: Int[Tensor, "K 2"], maps_KHW: Float[Tensor, "K H W"]
) -> Bool[Tensor, "K H W"]:
    """The 25 cells around each cell."""
    y, x = (torch.arange(count, device=cells_K2.device) for count in maps_KHW.shape[1:])
    rows, columns = (y - cells_K2[:, 1:]).abs() <= 2, (x - cells_K2[:, :1]).abs() <= 2
    return rows[:, :, None] & columns[:, None, :]


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.double().cpu().numpy()
