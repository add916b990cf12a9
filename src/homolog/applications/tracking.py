"""Tracking: points of one frame followed through a video."""

from __future__ import annotations

import contextlib
import csv
import io
import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from PIL import Image
from torch import Tensor

from homolog import matching
from homolog.applications.video import (
    VIDEO_SUFFIXES,
    VideoWriter,
    count_frames,
    read_frame,
    read_frames,
)
from homolog.descriptors import DescriptorMap, FeaturesLike
from homolog.errors import HomologError
from homolog.image.geometry import IDENTITY
from homolog.image.points import PointsLike, as_points
from homolog.matcher import Matcher
from homolog.utils.outputs import check_output
from homolog.utils.progress import ProgressBar
from homolog.viz.video import draw_tracks

# The prior from the previous frame, in units of similarity (docs/experiments.md).
_APPEARANCE_WEIGHT = 0.3  # share of the similarity to the point in the previous frame
_MOTION_PENALTY = 0.1  # the most that distance from the previous position costs
_MOTION_RADIUS = 0.06  # distance without penalty, in shares of the frame's longer edge
# A point is occluded if it resembles itself less than this, in shares of the usual pair score.
_OCCLUDED_BELOW = 0.6

_MIN_SIZE, _MAX_SIZE = 640, 1280  # pixels of the longer edge of drawn videos
_TRAIL_SECONDS = 1.0


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


@dataclass(frozen=True)
class Tracks:
    """Where K points are in F frames of a video.

    Attributes:
        frames: the frames' numbers, from 0.
        seconds: when each frame is shown.
        points: as in `FrameTracks`, of each frame.
        scores: as in `FrameTracks`, of each frame.
        occluded: as in `FrameTracks`, of each frame.
        names: of the points, where they have any.
        size: width and height of the upright frames.
        warning: why the tracks end early, otherwise None.
    """

    frames: tuple[int, ...]
    seconds: tuple[float, ...]
    points: Float[np.ndarray, "F K 2"]
    scores: Float[np.ndarray, "F K"]
    occluded: Bool[np.ndarray, "F K"]
    names: tuple[str, ...] | None
    size: tuple[int, int]
    warning: str | None

    def to_dict(self) -> dict[str, Any]:
        """The same in plain lists and numbers, ready for JSON: one entry a frame."""
        return {
            "size": list(self.size),
            "names": None if self.names is None else list(self.names),
            # Files of version 0.1.0 have this name, and `lost` for what is occluded.
            "note": self.warning,
            "frames": [
                {
                    "frame": index,
                    "seconds": round(seconds, 6),
                    "points": self.points[row].tolist(),
                    "scores": self.scores[row].tolist(),
                    "lost": self.occluded[row].tolist(),
                }
                for row, (index, seconds) in enumerate(zip(self.frames, self.seconds, strict=True))
            ],
        }

    def to_csv(self) -> str:
        """The same as CSV: one line for each point of each frame."""
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(["frame", "seconds", "point", "x", "y", "score", "lost"])
        count = self.points.shape[1]
        names = self.names or [str(number) for number in range(1, count + 1)]
        for row, (index, seconds) in enumerate(zip(self.frames, self.seconds, strict=True)):
            for k, name in enumerate(names):
                x, y = (f"{value:.3f}" for value in self.points[row, k])
                score, occluded = f"{self.scores[row, k]:.4f}", int(self.occluded[row, k])
                rows.writerow([index, f"{seconds:.6f}", name, x, y, score, occluded])
        return text.getvalue()


def track(
    matcher: Matcher,
    video: str | os.PathLike[str],
    points: PointsLike,
    names: Sequence[str] | None = None,
    *,
    frame: int = 0,
    every: int = 1,
    out: str | os.PathLike[str] | None = None,
) -> Tracks:
    """Track points of one annotated frame through a video.

    In every frame the points are matched from the annotated frame, so that errors do not
    accumulate. The previous frame decides between candidates, by where each point was and what it
    looked like there, with the weight of its score. Scores compare with the annotated frame.
    Frames are read, matched, drawn and dropped one by one. Needs `pip install 'homolog[video]'`.

    Args:
        matcher: matches the points.
        video: a file that FFmpeg reads.
        points: (x, y) in pixels of the annotated frame, upright; K of them.
        names: of the points.
        frame: the annotated frame's number, from 0; frames before it are tracked, too.
        every: track only every so many frames.
        out: draw the points with their trails into this video (`.mp4`, `.mov`, `.mkv`; no sound).

    Returns:
        The tracks. If the video is damaged, they end there and `Tracks.warning` says so.

    Raises:
        HomologError: the video cannot be read, has no such frame, a point lies outside the
            frame, or the result cannot be written.
    """
    path = Path(video)
    if every < 1:
        raise HomologError(f"every: expected at least 1, got {every}")
    if frame < 0:
        raise HomologError(f"frame: expected a number from 0, got {frame}")
    if out is not None:
        out = check_output(out, VIDEO_SUFFIXES)
        if out.exists() and path.exists() and out.samefile(path):
            raise HomologError(f"out: expected another file than the video, got {out}")
    annotated = read_frame(path, frame)
    keypoints = as_points(points, annotated.size)
    if names is not None and len(names) != len(keypoints):
        raise HomologError(
            f"names: expected {len(keypoints)}, one for each point, got {len(names)}"
        )
    tracker = Tracker(matcher, annotated, keypoints)
    numbers: list[int] = []
    times: list[float] = []
    found: list[FrameTracks] = []
    warnings: list[str] = []
    with (
        contextlib.nullcontext() if out is None else _TrailVideo(out, annotated.size) as drawing,
        ProgressBar(-(-count_frames(path) // every)) as progress,
    ):
        for index, seconds, image in read_frames(path, warnings):
            if index % every:
                continue
            if image.size != annotated.size:
                warnings.append(
                    f"{path} ends at frame {index}: frames have another size from there"
                )
                break
            progress.update(f"tracking {path.name}")
            tracks = tracker.restart() if index == frame else tracker.update(image)
            if drawing is not None:
                drawing.write(image, seconds, tracks)
            numbers.append(index)
            times.append(seconds)
            found.append(tracks)
    return Tracks(
        tuple(numbers),
        tuple(times),
        np.stack([tracks.points for tracks in found]),
        np.stack([tracks.scores for tracks in found]),
        np.stack([tracks.occluded for tracks in found]),
        None if names is None else tuple(names),
        annotated.size,
        warnings[0] if warnings else None,
    )


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
        self._previous: tuple[DescriptorMap, FrameTracks] | None = None
        self._pair_scores = np.zeros(2)  # their sum and number

    def restart(self) -> FrameTracks:
        """The points as annotated; the next frame is taken to follow the annotated image."""
        count = len(self.points)
        tracks = FrameTracks(self.points, np.ones(count), np.full(count, False))
        self._previous = self.matcher.descriptor_map(self.features), tracks
        return tracks

    def update(self, image: FeaturesLike) -> FrameTracks:
        """The points in the next frame.

        Args:
            image: the frame, as large as the annotated image.

        Raises:
            HomologError: it cannot be read.
        """
        pair = self.matcher.pair(self.features, self.matcher.extract(image))
        source, target = pair.source_map(IDENTITY), pair.target_map
        similarity = pair.similarity(self.points)
        # The previous frame helps to choose a region; the annotated one alone says where exactly
        # in it, or points would drift towards their previous positions.
        candidates = similarity
        if self._previous is not None:
            candidates = similarity + _motion_prior(*self._previous, target)
        region = _surrounding_cells(matching.argmax(candidates), similarity)
        config = self.matcher.config
        targets = matching.window_soft_argmax(
            similarity.masked_fill(~region, -torch.inf), config.window, config.temperature
        )
        cells = _to_cells(self.points, source)
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
        self._previous = target, tracks
        return tracks


def _motion_prior(
    previous: DescriptorMap, tracks: FrameTracks, target: DescriptorMap
) -> Float[Tensor, "K H W"]:
    """What the previous frame adds to the similarity of each cell; 0 for points occluded in it."""
    cells = _to_cells(tracks.points, previous)
    similarity = matching.similarity(
        matching.sample_descriptors(previous.descriptors_HWC, cells), target.descriptors_HWC
    )
    height, width = target.descriptors_HWC.shape[:2]
    y, x = (torch.arange(count).to(cells) for count in (height, width))
    squared = (y - cells[:, 1:])[:, :, None] ** 2 + (x - cells[:, :1])[:, None, :] ** 2
    beyond = (squared.sqrt() / (_MOTION_RADIUS * max(height, width)) - 1).clamp_min(0)
    penalty = 1 - (beyond**2 / -2).exp()
    trust = torch.from_numpy(np.where(tracks.occluded, 0.0, tracks.scores)).to(cells)
    return (_APPEARANCE_WEIGHT * similarity - _MOTION_PENALTY * penalty) * trust[:, None, None]


def _surrounding_cells(
    cells_K2: Int[Tensor, "K 2"], maps_KHW: Float[Tensor, "K H W"]
) -> Bool[Tensor, "K H W"]:
    """The 25 cells around each cell."""
    y, x = (torch.arange(count, device=cells_K2.device) for count in maps_KHW.shape[1:])
    rows, columns = (y - cells_K2[:, 1:]).abs() <= 2, (x - cells_K2[:, :1]).abs() <= 2
    return rows[:, :, None] & columns[:, None, :]


def _to_cells(points: Float[np.ndarray, "K 2"], found: DescriptorMap) -> Float[Tensor, "K 2"]:
    return torch.from_numpy(found.transform.to_cells(points)).to(found.descriptors_HWC)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.double().cpu().numpy()


class _TrailVideo:
    """A video of the frames with the points and their trails drawn on them.

    Args:
        path: the file to write.
        size: width and height of the frames that will come.
    """

    def __init__(self, path: Path, size: tuple[int, int]):
        scale = min(max(_MIN_SIZE, max(size)), _MAX_SIZE) / max(size)
        width, height = (max(16, 2 * round(length * scale / 2)) for length in size)
        self._size = size
        self._writer = VideoWriter(path, (width, height))
        self._trail: deque[tuple[float, FrameTracks]] = deque()

    def __enter__(self) -> _TrailVideo:
        self._writer.__enter__()
        return self

    def write(self, image: Image.Image, seconds: float, tracks: FrameTracks) -> None:
        self._trail.append((seconds, tracks))
        while seconds - self._trail[0][0] > _TRAIL_SECONDS:
            self._trail.popleft()
        drawn = draw_tracks(
            image.resize(self._writer.size),
            self._size,
            np.stack([past.points for _, past in self._trail]),
            np.stack([past.occluded for _, past in self._trail]),
            tracks.scores,
        )
        self._writer.write(drawn, seconds)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.__exit__(kind, error, trace)
