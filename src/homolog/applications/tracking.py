"""Tracking: points of one frame, or objects with their points, followed through a video."""

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
from jaxtyping import Bool, Float, Int
from PIL import Image

from homolog.applications.object_tracker import FrameObjects, ObjectTracker
from homolog.applications.point_tracker import FrameTracks, Tracker
from homolog.applications.video import (
    VIDEO_SUFFIXES,
    VideoWriter,
    count_frames,
    read_frame,
    read_frames,
)
from homolog.errors import HomologError
from homolog.image.points import PointsLike, as_points
from homolog.image.regions import BoxLike
from homolog.matcher import Matcher
from homolog.utils.outputs import check_output
from homolog.utils.progress import ProgressBar
from homolog.viz.palette import colours_by_index
from homolog.viz.video import draw_boxes, draw_tracks

__all__ = ["FrameTracks", "ObjectTracks", "Tracker", "Tracks", "track"]

_MIN_SIZE, _MAX_SIZE = 640, 1280  # pixels of the longer edge of drawn videos
_TRAIL_SECONDS = 1.0


@dataclass(frozen=True)
class ObjectTracks:
    """Where N objects are in F frames of a video.

    Attributes:
        instances: the id of each object.
        owners: the index of the object that each of K points is on.
        boxes: (x, y, width, height) in pixels, the best guess where an object is lost.
        lost: the objects that are out of sight, or not found, in each frame.
        scores: the share of each object that was found, 0 to 1.
    """

    instances: tuple[int | str, ...]
    owners: Int[np.ndarray, "K"]
    boxes: Float[np.ndarray, "F N 4"]
    lost: Bool[np.ndarray, "F N"]
    scores: Float[np.ndarray, "F N"]

    def describe_losses(self, frames: Sequence[int]) -> list[str]:
        """A line for each time that an object is lost, in the order of the frames.

        Args:
            frames: the frames' numbers.
        """
        found = []
        for index, instance in enumerate(self.instances):
            edges = np.flatnonzero(np.diff(np.pad(self.lost[:, index].astype(int), 1)))
            for first, end in zip(edges[::2], edges[1::2], strict=True):
                until = "the end" if end == len(frames) else f"frame {frames[end]}"
                line = f"object {instance} is lost from frame {frames[first]} to {until}"
                found.append((first, line))
        return [line for _, line in sorted(found, key=lambda each: each[0])]


@dataclass(frozen=True)
class Tracks:
    """Where K points are in F frames of a video.

    Attributes:
        frames: the frames' numbers, from 0.
        seconds: when each frame is shown.
        points: as in `FrameTracks`, of each frame; not a number where an object is lost.
        scores: as in `FrameTracks`, of each frame.
        occluded: as in `FrameTracks`, of each frame.
        names: of the points, where they have any.
        size: width and height of the upright frames.
        warning: why the tracks end early, otherwise None.
        objects: that the points are on, if boxes were given.
    """

    frames: tuple[int, ...]
    seconds: tuple[float, ...]
    points: Float[np.ndarray, "F K 2"]
    scores: Float[np.ndarray, "F K"]
    occluded: Bool[np.ndarray, "F K"]
    names: tuple[str, ...] | None
    size: tuple[int, int]
    warning: str | None
    objects: ObjectTracks | None = None

    def to_dict(self) -> dict[str, Any]:
        """The same in plain lists and numbers, ready for JSON: one entry a frame."""
        objects = self.objects
        named: dict[str, Any] = {}
        if objects is not None:
            named = {
                "instances": list(objects.instances),
                "point_instances": [objects.instances[owner] for owner in objects.owners],
            }
        return {
            "size": list(self.size),
            "names": None if self.names is None else list(self.names),
            **named,
            # Files of version 0.1.0 have this name, and `lost` for what is occluded.
            "note": self.warning,
            "frames": [self._frame(row) for row in range(len(self.frames))],
        }

    def _frame(self, row: int) -> dict[str, Any]:
        """What JSON says of a frame."""
        points: list[Any] = self.points[row].tolist()
        found = {
            "frame": self.frames[row],
            "seconds": round(self.seconds[row], 6),
            "points": [None if np.isnan(x) else [x, y] for x, y in points],
            "scores": self.scores[row].tolist(),
            "lost": self.occluded[row].tolist(),
        }
        if self.objects is None:
            return found
        return found | {
            "boxes": self.objects.boxes[row].tolist(),
            "box_scores": self.objects.scores[row].tolist(),
            "instances_lost": self.objects.lost[row].tolist(),
        }

    def to_csv(self) -> str:
        """The same as CSV: one line for each point of each frame."""
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        objects, names = self.objects, self.point_names
        instance = [] if objects is None else ["instance"]
        rows.writerow(["frame", "seconds", *instance, "point", "x", "y", "score", "lost"])
        for row, (index, seconds) in enumerate(zip(self.frames, self.seconds, strict=True)):
            for k, name in enumerate(names):
                point = ("" if np.isnan(value) else f"{value:.3f}" for value in self.points[row, k])
                owner = [] if objects is None else [objects.instances[objects.owners[k]]]
                score, occluded = f"{self.scores[row, k]:.4f}", int(self.occluded[row, k])
                rows.writerow([index, f"{seconds:.6f}", *owner, name, *point, score, occluded])
        return text.getvalue()

    @property
    def point_names(self) -> list[str]:
        """The names of the points, or their numbers, from 1 on each object."""
        if self.names is not None:
            return list(self.names)
        if self.objects is None:
            return [str(number) for number in range(1, self.points.shape[1] + 1)]
        seen = dict.fromkeys(range(len(self.objects.instances)), 0)
        names = []
        for owner in self.objects.owners.tolist():
            seen[owner] += 1
            names.append(str(seen[owner]))
        return names


def track(
    matcher: Matcher,
    video: str | os.PathLike[str],
    points: PointsLike | None = None,
    names: Sequence[str] | None = None,
    *,
    boxes: Sequence[BoxLike] | np.ndarray | None = None,
    instances: Sequence[int | str] | None = None,
    frame: int = 0,
    every: int = 1,
    out: str | os.PathLike[str] | None = None,
) -> Tracks:
    """Track points of one annotated frame through a video, or several objects with their points.

    In every frame the points are matched from the annotated frame, so that errors do not
    accumulate. The previous frame decides between candidates, by where each point was and what it
    looked like there, with the weight of its score. Scores compare with the annotated frame.
    Frames are read, matched, drawn and dropped one by one. Needs `pip install 'homolog[video]'`.

    With boxes, each object is followed by itself (`homolog.applications.object_tracker`). Objects
    that meet are told apart by what they look like, and where that does not tell, by their motion.
    One that cannot be found is lost, and may be found again.

    Args:
        matcher: matches the points.
        video: a file that FFmpeg reads.
        points: (x, y) in pixels of the annotated frame, upright; K of them. With boxes, each point
            is on the object in whose box it is; by default, a grid of points on each object.
        names: of the points.
        boxes: (x, y, width, height) of each object in the annotated frame, in pixels.
        instances: an id of each object; by default they are numbered from 1.
        frame: the annotated frame's number, from 0; frames before it are tracked, too.
        every: track only every so many frames.
        out: draw the points with their trails, and the boxes, into this video (`.mp4`, `.mov`,
            `.mkv`; no sound).

    Returns:
        The tracks. If the video is damaged, they end there and `Tracks.warning` says so.

    Raises:
        HomologError: the video cannot be read, has no such frame, a point lies outside the
            frame, a box cannot be right, or the result cannot be written.
    """
    path = Path(video)
    if points is None and boxes is None:
        raise HomologError("points: expected points, boxes or both, got neither")
    if every < 1:
        raise HomologError(f"every: expected at least 1, got {every}")
    if frame < 0:
        raise HomologError(f"frame: expected a number from 0, got {frame}")
    ids = _instance_ids(boxes, instances)
    if out is not None:
        out = check_output(out, VIDEO_SUFFIXES)
        if out.exists() and path.exists() and out.samefile(path):
            raise HomologError(f"out: expected another file than the video, got {out}")
    annotated = read_frame(path, frame)
    keypoints = None if points is None else as_points(points, annotated.size)
    count = 0 if keypoints is None else len(keypoints)
    if names is not None and len(names) != count:
        raise HomologError(f"names: expected {count}, one for each point, got {len(names)}")
    tracker: Tracker | ObjectTracker
    if boxes is not None:
        tracker = ObjectTracker(matcher, annotated, boxes, keypoints)
        drawing = None if out is None else _TrailVideo(out, annotated.size, tracker.owners, ids)
    else:
        assert keypoints is not None
        tracker = Tracker(matcher, annotated, keypoints)
        drawing = None if out is None else _TrailVideo(out, annotated.size)
    numbers: list[int] = []
    times: list[float] = []
    found: list[FrameTracks] = []
    objects: list[FrameObjects] = []
    warnings: list[str] = []
    with (
        contextlib.nullcontext() if drawing is None else drawing,
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
            now = tracker.restart() if index == frame else tracker.update(image)
            if isinstance(now, FrameObjects):
                objects.append(now)
                now = now.tracks
            if drawing is not None:
                drawing.write(image, seconds, now, objects[-1] if objects else None)
            numbers.append(index)
            times.append(seconds)
            found.append(now)
    return Tracks(
        tuple(numbers),
        tuple(times),
        np.stack([tracks.points for tracks in found]),
        np.stack([tracks.scores for tracks in found]),
        np.stack([tracks.occluded for tracks in found]),
        None if names is None else tuple(names),
        annotated.size,
        warnings[0] if warnings else None,
        _stacked(objects, ids, tracker.owners) if isinstance(tracker, ObjectTracker) else None,
    )


def _instance_ids(
    boxes: Sequence[BoxLike] | np.ndarray | None, instances: Sequence[int | str] | None
) -> tuple[int | str, ...]:
    """The ids of objects, after a check that they are unique."""
    count = 0 if boxes is None else len(boxes)
    if instances is None:
        return tuple(range(1, count + 1))
    if len(instances) != count:
        raise HomologError(f"instances: expected {count}, one for each box, got {len(instances)}")
    twice = next((each for each in instances if list(instances).count(each) > 1), None)
    if twice is not None:
        raise HomologError(f"instances: expected each once, got {twice!r} twice")
    return tuple(instances)


def _stacked(
    objects: Sequence[FrameObjects], ids: tuple[int | str, ...], owners: Int[np.ndarray, "K"]
) -> ObjectTracks:
    return ObjectTracks(
        ids,
        owners,
        np.stack([each.boxes for each in objects]),
        np.stack([each.lost for each in objects]),
        np.stack([each.scores for each in objects]),
    )


class _TrailVideo:
    """A video of the frames with the points and their trails drawn on them, and the boxes.

    Args:
        path: the file to write.
        size: width and height of the frames that will come.
        owners: the index of the object that each point is on.
        instances: the ids of the objects.
    """

    def __init__(
        self,
        path: Path,
        size: tuple[int, int],
        owners: Int[np.ndarray, "K"] | None = None,
        instances: Sequence[int | str] = (),
    ):
        self._instances, self._owners = instances, owners
        self._colours = colours_by_index(len(instances))
        scale = min(max(_MIN_SIZE, max(size)), _MAX_SIZE) / max(size)
        width, height = (max(16, 2 * round(length * scale / 2)) for length in size)
        self._size = size
        self._writer = VideoWriter(path, (width, height))
        self._trail: deque[tuple[float, FrameTracks]] = deque()

    def __enter__(self) -> _TrailVideo:
        self._writer.__enter__()
        return self

    def write(
        self, image: Image.Image, seconds: float, tracks: FrameTracks, objects: FrameObjects | None
    ) -> None:
        self._trail.append((seconds, tracks))
        while seconds - self._trail[0][0] > _TRAIL_SECONDS:
            self._trail.popleft()
        drawn, colours = image.resize(self._writer.size), None
        if objects is not None and self._owners is not None:
            labels = [str(instance) for instance in self._instances]
            drawn = draw_boxes(
                drawn, self._size, objects.boxes, labels, self._colours, ~objects.lost
            )
            colours = [self._colours[owner] for owner in self._owners]
        drawn = draw_tracks(
            drawn,
            self._size,
            np.stack([past.points for _, past in self._trail]),
            np.stack([past.occluded for _, past in self._trail]),
            tracks.scores,
            colours,
        )
        self._writer.write(drawn, seconds)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.__exit__(kind, error, trace)
