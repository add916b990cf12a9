"""Points of one frame carried through a video."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from PIL import Image
from torch import Tensor

from homolog import matching
from homolog.descriptors import DescriptorMap, Features, FeaturesLike
from homolog.errors import HomologError
from homolog.image.geometry import IDENTITY
from homolog.image.points import PointsLike, as_points
from homolog.matcher import Matcher
from homolog.utils.optional import require
from homolog.utils.outputs import check_output, replace_atomically
from homolog.utils.progress import ProgressBar
from homolog.viz import draw

if TYPE_CHECKING:  # needed only for videos
    from av.container import InputContainer, OutputContainer
    from av.video.stream import VideoStream

VIDEOS = (".mp4", ".mov", ".mkv")

# What the frame before has to say, in units of similarity (docs/experiments.md).
_APPEARANCE = 0.3  # share of the similarity to the point in the frame before
_NEARNESS = 0.1  # what it costs to be far from where the point was
_REACH = 0.06  # "far", in shares of the frame's longer side
# A point is lost that looks less like itself than this, in shares of the usual pair score.
_LOST = 0.6

_SMALLEST, _LARGEST = 640, 1280  # pixels of the longer side that videos are drawn with
_TRAIL = 1.0  # seconds
_TICKS = 60_000  # time base of drawn videos: whole for all usual rates, and MPEG-4 takes no finer


@dataclass(frozen=True)
class Tracks:
    """Where K points are in F frames of a video.

    Attributes:
        frames: the frames' numbers, from 0.
        seconds: when each is shown.
        points: (x, y) in pixels of the upright frame, the best guess where a point is lost.
        scores: confidence in each, 0 to 1, against the annotated frame.
        lost: the points that are probably not in sight, or not found; they may come back.
        names: of the points, where they have any.
        size: width and height of the upright frames.
        note: why the video ended early, otherwise None.
    """

    frames: tuple[int, ...]
    seconds: tuple[float, ...]
    points: Float[np.ndarray, "F K 2"]
    scores: Float[np.ndarray, "F K"]
    lost: Bool[np.ndarray, "F K"]
    names: tuple[str, ...] | None
    size: tuple[int, int]
    note: str | None

    def to_dict(self) -> dict[str, Any]:
        """The same in plain lists, a frame each, ready for JSON."""
        return {
            "size": list(self.size),
            "names": None if self.names is None else list(self.names),
            "note": self.note,
            "frames": [
                {
                    "frame": index,
                    "seconds": round(seconds, 6),
                    "points": self.points[row].tolist(),
                    "scores": self.scores[row].tolist(),
                    "lost": self.lost[row].tolist(),
                }
                for row, (index, seconds) in enumerate(zip(self.frames, self.seconds, strict=True))
            ],
        }

    def to_csv(self) -> str:
        """The same as CSV, a point of a frame each line."""
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(["frame", "seconds", "point", "x", "y", "score", "lost"])
        count = self.points.shape[1]
        names = self.names or [str(number) for number in range(1, count + 1)]
        for row, (index, seconds) in enumerate(zip(self.frames, self.seconds, strict=True)):
            for k, name in enumerate(names):
                x, y = (f"{value:.3f}" for value in self.points[row, k])
                score, lost = f"{self.scores[row, k]:.4f}", int(self.lost[row, k])
                rows.writerow([index, f"{seconds:.6f}", name, x, y, score, lost])
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
    """Carry points of one frame through a video.

    Every frame's points are looked for from the annotated frame, so that errors do not add up;
    where they were in the frame before, and what they looked like there, decides between
    candidates, the more the surer they were. The score is the annotated frame's opinion: it falls
    where the two disagree. Frames are read, matched, drawn and forgotten one by one. Needs
    `pip install 'homolog[video]'`.

    Args:
        matcher: finds the points.
        video: a file that FFmpeg reads.
        points: (x, y) in pixels of the annotated frame, upright; K of them.
        names: of the points.
        frame: the annotated frame's number, from 0; frames before it are tracked, too.
        every: track every so many frames.
        out: draw the points with their trails into this video (`.mp4`, `.mov`, `.mkv`; no sound).

    Returns:
        The tracks. Where the video is broken in the middle, they end there and `note` says so.

    Raises:
        HomologError: the video cannot be read, has no such frame, a point lies outside the
            frame, or the result cannot be written.
    """
    path = Path(video)
    if every < 1:
        raise HomologError(f"every: got {every}, takes at least 1")
    if frame < 0:
        raise HomologError(f"frame: got {frame}, takes a number from 0")
    if out is not None:
        out = check_output(out, VIDEOS)
        if out.exists() and path.exists() and out.samefile(path):
            raise HomologError(f"out: {out} is the video itself")
    annotated = _frame(path, frame)
    keypoints = as_points(points, annotated.size)
    if names is not None and len(names) != len(keypoints):
        raise HomologError(f"names: got {len(names)}, takes {len(keypoints)}, one for each point")
    tracker = Tracker(matcher, annotated, keypoints)
    indices: list[int] = []
    times: list[float] = []
    found: list[FrameTracks] = []
    notes: list[str] = []
    with (
        contextlib.nullcontext() if out is None else _Drawing(out, annotated.size) as drawing,
        ProgressBar(-(-_count(path) // every)) as steps,
    ):
        for index, seconds, image in _frames(path, notes):
            if index % every:
                continue
            if image.size != annotated.size:
                notes.append(f"{path} ends at frame {index}: frames have another size from there")
                break
            steps.update(f"tracking {path.name}")
            placed = tracker.annotated() if index == frame else tracker.next(image)
            if drawing is not None:
                drawing.add(image, seconds, placed)
            indices.append(index)
            times.append(seconds)
            found.append(placed)
    return Tracks(
        tuple(indices),
        tuple(times),
        np.stack([placed.points for placed in found]),
        np.stack([placed.scores for placed in found]),
        np.stack([placed.lost for placed in found]),
        None if names is None else tuple(names),
        annotated.size,
        notes[0] if notes else None,
    )


@dataclass(frozen=True)
class FrameTracks:
    """Where K points are in one frame; attributes as in `Tracks`."""

    points: Float[np.ndarray, "K 2"]
    scores: Float[np.ndarray, "K"]
    lost: Bool[np.ndarray, "K"]


class Tracker:
    """Finds the points of one picture in others that come in order, such as a camera's.

    Remembers the picture before, and no other.

    Args:
        matcher: finds the points.
        picture: the annotated picture.
        points: (x, y) in pixels of it.

    Raises:
        HomologError: the picture cannot be read, or the points are not on it.
    """

    def __init__(self, matcher: Matcher, picture: FeaturesLike, points: PointsLike):
        self.matcher = matcher
        self.features = matcher.extract(picture)
        self.points = as_points(points, self.features.size)
        self._cells = self._to_cells(self.points)
        self._before: tuple[Features, FrameTracks] | None = None
        self._pair_scores = np.zeros(2)  # their sum and number

    def annotated(self) -> FrameTracks:
        """The points as given; the next picture is the annotated one's successor."""
        count = len(self.points)
        placed = FrameTracks(self.points, np.ones(count), np.full(count, False))
        self._before = self.features, placed
        return placed

    def next(self, picture: FeaturesLike) -> FrameTracks:
        """The points in the next picture.

        Args:
            picture: as large as the annotated one.

        Raises:
            HomologError: it cannot be read.
        """
        features = self.matcher.extract(picture)
        posed, first = features.by_pose[IDENTITY], self.features.by_pose[IDENTITY]
        pair = self.matcher.pair(self.features, features)
        own = pair.similarity(self.points)
        # The picture before helps to choose a place; it is the annotated one that says where
        # exactly, or points would drift after where they were.
        chosen = own if self._before is None else own + self._from_before(*self._before, posed)
        near = own.masked_fill(~_around(matching.argmax(chosen), own), -torch.inf)
        config = self.matcher.config
        targets = matching.window_soft_argmax(near, config.window, config.temperature)
        scores = matching.cycle_confidence(
            first.descriptors_HWC, posed.descriptors_HWC, first.valid_HW, self._cells, targets, own
        )
        # What is hidden is found where it should be, but does not look like itself. How much
        # that is, the whole pictures tell, or those before where this one shows something else.
        total, count = self._pair_scores
        usual = max(pair.score, total / max(count, 1), 1e-6)
        self._pair_scores += np.array([pair.score, 1.0])
        there = matching.sample_descriptors(posed.descriptors_HWC, targets)
        alike = (
            (there * matching.sample_descriptors(first.descriptors_HWC, self._cells))
            .sum(1)
            .clamp_min(0)
        )
        alike = (alike / usual).clamp_max(1)
        points = posed.transform.clip(posed.transform.to_points(targets.double().cpu().numpy()))
        lost = (alike < _LOST).cpu().numpy()
        placed = FrameTracks(points, (scores * alike).double().cpu().numpy(), lost)
        self._before = features, placed
        return placed

    def _from_before(
        self, features: Features, placed: FrameTracks, posed: DescriptorMap
    ) -> Float[Tensor, "K H W"]:
        """What the picture before says of every cell; nothing of points that were lost in it."""
        cells = self._to_cells(placed.points)
        alike = matching.similarity(
            matching.sample_descriptors(features.descriptors, cells), posed.descriptors_HWC
        )
        height, width = posed.descriptors_HWC.shape[:2]
        y, x = (torch.arange(count).to(cells) for count in (height, width))
        squared = (y - cells[:, 1:])[:, :, None] ** 2 + (x - cells[:, :1])[:, None, :] ** 2
        # What is within reach costs nothing; farther away, no more than so much.
        beyond = (squared.sqrt() / (_REACH * max(height, width)) - 1).clamp_min(0)
        far = 1 - (beyond**2 / -2).exp()
        trust = torch.from_numpy(np.where(placed.lost, 0.0, placed.scores)).to(cells)
        return (_APPEARANCE * alike - _NEARNESS * far) * trust[:, None, None]

    def _to_cells(self, points: Float[np.ndarray, "K 2"]) -> Float[Tensor, "K 2"]:
        posed = self.features.by_pose[IDENTITY]
        return torch.from_numpy(posed.transform.to_cells(points)).to(posed.descriptors_HWC)


def _around(
    cells_K2: Int[Tensor, "K 2"], maps_KHW: Float[Tensor, "K H W"]
) -> Bool[Tensor, "K H W"]:
    """The 25 cells around each cell."""
    y, x = (torch.arange(count, device=cells_K2.device) for count in maps_KHW.shape[1:])
    rows, columns = (y - cells_K2[:, 1:]).abs() <= 2, (x - cells_K2[:, :1]).abs() <= 2
    return rows[:, :, None] & columns[:, None, :]


class _Drawing:
    """A video being drawn, all or nothing.

    Args:
        path: the file; it is there when the block has ended well.
        size: width and height of the frames that will come.
    """

    def __init__(self, path: Path, size: tuple[int, int]):
        self._path = path
        self._size = size
        self._trails: deque[tuple[float, FrameTracks]] = deque()
        self._ticks = -1

    def __enter__(self) -> _Drawing:
        av = _av()
        self._errors = (av.error.FFmpegError, OSError)
        with self._explained():
            descriptor, name = tempfile.mkstemp(
                self._path.suffix, f".{self._path.stem}-", self._path.parent
            )
            os.close(descriptor)
            self._temporary = Path(name)
            self._container: OutputContainer = av.open(name, "w")
            scale = min(max(_SMALLEST, max(self._size)), _LARGEST) / max(self._size)
            width, height = (max(16, 2 * round(length * scale / 2)) for length in self._size)
            self._stream = _encoder(self._container, (width, height))
        return self

    def add(self, image: Image.Image, seconds: float, placed: FrameTracks) -> None:
        """One more frame, with points and trails."""
        self._trails.append((seconds, placed))
        while seconds - self._trails[0][0] > _TRAIL:
            self._trails.popleft()
        drawn = draw.trails(
            image.resize((self._stream.width, self._stream.height)),
            self._size,
            np.stack([then.points for _, then in self._trails]),
            np.stack([then.lost for _, then in self._trails]),
            placed.scores,
        )
        frame = _av().VideoFrame.from_image(drawn)
        # Shown when the original was; of equal times the second comes a tick later.
        self._ticks = max(self._ticks + 1, round(seconds * _TICKS))
        frame.pts, frame.time_base = self._ticks, Fraction(1, _TICKS)
        with self._explained():
            self._container.mux(self._stream.encode(frame))

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            with self._explained() if kind is None else contextlib.suppress(*self._errors):
                if kind is None:
                    self._container.mux(self._stream.encode())
                self._container.close()
                if kind is None:
                    replace_atomically(self._temporary, self._path)
        finally:
            self._temporary.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except self._errors as error:
            raise HomologError(f"out: cannot write {self._path}: {_reason(error)}") from error


def _encoder(container: OutputContainer, size: tuple[int, int]) -> VideoStream:
    """H.264 where FFmpeg has it, otherwise MPEG-4."""
    av = _av()
    try:
        av.codec.Codec("libx264", "w")
        stream = container.add_stream("libx264", options={"crf": "20", "preset": "veryfast"})
    except av.codec.codec.UnknownCodecError:
        stream = container.add_stream("mpeg4", bit_rate=4 * size[0] * size[1])
    stream.width, stream.height = size
    stream.pix_fmt = "yuv420p"
    stream.codec_context.time_base = Fraction(1, _TICKS)
    return stream


def _frame(path: Path, number: int) -> Image.Image:
    """The upright frame of that number."""
    notes: list[str] = []
    count = 0
    for index, _, image in _frames(path, notes):
        if index == number:
            return image
        count = index + 1
    if not count:
        raise HomologError(f"video: {path} has no frame that can be read")
    raise HomologError(f"frame: got {number}, {path} has {count} frames, from 0")


def _frames(path: Path, notes: list[str]) -> Iterator[tuple[int, float, Image.Image]]:
    """Upright frames with their numbers and times; what ends them too early is noted."""
    av = _av()
    with _opened(path) as (container, stream):
        stream.thread_type = "AUTO"
        rate = float(stream.average_rate or 25)
        count, start = 0, None
        try:
            for frame in container.decode(stream):
                seconds = count / rate if frame.time is None else float(frame.time)
                start = seconds if start is None else start
                image = frame.to_image()
                if frame.rotation % 360:
                    image = image.rotate(frame.rotation, Image.Resampling.BICUBIC, expand=True)
                yield count, seconds - start, image
                count += 1
        except av.error.FFmpegError as error:
            notes.append(f"{path} is broken after {count} frames: {_reason(error)}")
        else:
            if count < 0.99 * stream.frames:
                notes.append(f"{path} is cut off: it has {count} of {stream.frames} frames")


def _count(path: Path) -> int:
    """About how many frames a video has."""
    av = _av()
    with _opened(path) as (container, stream):
        if stream.frames:
            return stream.frames
        if stream.duration and stream.time_base and stream.average_rate:
            return max(1, round(stream.duration * stream.time_base * stream.average_rate))
        count = 0
        with contextlib.suppress(av.error.FFmpegError):
            for packet in container.demux(stream):
                count += packet.size > 0
        return max(1, count)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """A video file and its first video stream."""
    av = _av()
    if path.is_dir() or not path.exists():
        what = f"{path} is a directory" if path.is_dir() else f"there is no file {path}"
        raise HomologError(f"video: {what}")
    try:
        container = av.open(str(path))
    except (av.error.FFmpegError, OSError) as error:
        raise HomologError(f"video: {path} is not a video: {_reason(error)}") from None
    with container:
        if not container.streams.video:
            raise HomologError(f"video: {path} has no video stream")
        yield container, container.streams.video[0]


def _av() -> Any:
    """PyAV, which only videos need."""
    return require("av", "video")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
