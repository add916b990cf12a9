"""Reading and writing of videos with PyAV, which is imported when the first one is opened."""

from __future__ import annotations

import contextlib
import math
import os
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from homolog.errors import HomologError
from homolog.utils.optional import require
from homolog.utils.outputs import replace_atomically
from homolog.utils.temporary import remove_leftovers, temporary_file

if TYPE_CHECKING:  # needed only for videos
    from av.container import InputContainer, OutputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv")
"""Endings of the video files that can be written."""

_UPRIGHT = {
    (1, 0, 0, 1): None,
    (0, 1, -1, 0): Image.Transpose.ROTATE_270,
    (-1, 0, 0, -1): Image.Transpose.ROTATE_180,
    (0, -1, 1, 0): Image.Transpose.ROTATE_90,
    (-1, 0, 0, 1): Image.Transpose.FLIP_LEFT_RIGHT,
    (1, 0, 0, -1): Image.Transpose.FLIP_TOP_BOTTOM,
    (0, 1, 1, 0): Image.Transpose.TRANSPOSE,
    (0, -1, -1, 0): Image.Transpose.TRANSVERSE,
}
"""What makes a frame upright, by its display matrix (a, b, c, d), which takes (x, y) to
(a x + c y, b x + d y)."""

_TICKS = 60_000  # time base of written videos: whole for all usual rates, and MPEG-4's finest


def read_frame(path: Path, number: int) -> Image.Image:
    """One upright frame of a video.

    Args:
        path: a file that FFmpeg reads.
        number: of the frame, from 0.

    Raises:
        HomologError: the file is not a video, or has no such frame.
    """
    count = 0
    for index, _, image in read_frames(path, []):
        if index == number:
            return image
        count = index + 1
    if not count:
        raise HomologError(f"video: expected at least one frame that can be read, got {path}")
    raise HomologError(f"frame: expected 0 to {count - 1}, got {number}: {path} has {count} frames")


def read_frames(path: Path, warnings: list[str]) -> Iterator[tuple[int, float, Image.Image]]:
    """The number, time in seconds, and upright image of each frame of a video.

    Args:
        path: a file that FFmpeg reads.
        warnings: gets a line if the video ends too early or has damaged frames.

    Raises:
        HomologError: the file is not a video, or asks to be shown mirrored and turned by an angle
            that is none of 90 degrees.
    """
    av = _av()
    with _open(path) as (container, stream):
        stream.thread_type = "AUTO"
        rate = float(stream.average_rate or 25)
        count, start, end, corrupt = 0, None, 0.0, 0
        try:
            for frame in container.decode(stream):
                seconds = count / rate if frame.time is None else float(frame.time)
                start = seconds if start is None else start
                duration = 1 / rate
                if frame.duration and frame.time_base:
                    duration = float(frame.duration * frame.time_base)
                end = max(end, seconds + duration)
                corrupt += frame.is_corrupt
                yield count, seconds - start, _upright(frame, path)
                count += 1
        except av.error.FFmpegError as error:
            warnings.append(f"{path} is damaged after {count} frames: {_reason(error)}")
            return
        expected = _duration(container, stream)
        if count < 0.99 * stream.frames:
            warnings.append(f"{path} is cut off: it has {count} of {stream.frames} frames")
        elif expected is not None and end < 0.99 * expected - 1 / rate:
            warnings.append(
                f"{path} is cut off or damaged: {count} frames end at {end:.2f} of {expected:.2f} s"
            )
        elif corrupt:
            warnings.append(f"{path} is damaged: {corrupt} of its {count} frames are incomplete")


def _duration(container: InputContainer, stream: VideoStream) -> float | None:
    """When the last frame should end, in seconds; None if the file does not say it of the video."""
    if stream.duration and stream.time_base:
        return float((stream.duration + (stream.start_time or 0)) * stream.time_base)
    # Matroska has it as text, in a tag that may name a language.
    tag = next((v for key, v in stream.metadata.items() if key.startswith("DURATION")), "")
    with contextlib.suppress(ValueError):
        hours, minutes, seconds = (float(part) for part in tag.split(":"))
        return 3600 * hours + 60 * minutes + seconds
    if container.duration and len(container.streams) == 1:
        return container.duration / _av().time_base
    return None


def _upright(frame: VideoFrame, path: Path) -> Image.Image:
    """A frame as it is to be shown: turned and mirrored as its display matrix says."""
    image: Image.Image = frame.to_image()
    matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return image
    a, b, _, c, d = struct.unpack("=9i", bytes(matrix))[:5]
    largest = max(map(abs, (a, b, c, d))) or 1
    signs = tuple(round(value / largest, 3) for value in (a, b, c, d))
    if signs in _UPRIGHT:
        transpose = _UPRIGHT[signs]
        return image if transpose is None else image.transpose(transpose)
    if a * d - b * c <= 0:
        raise HomologError(
            f"video: expected frames that are turned or mirrored, got {path}, whose display matrix "
            f"({a}, {b}, {c}, {d}) does both by another angle than 90 degrees"
        )
    angle = -math.degrees(math.atan2(b, a))
    return image.rotate(angle, Image.Resampling.BICUBIC, expand=True)


def count_frames(path: Path) -> int:
    """The number of frames of a video, perhaps estimated from its duration; at least 1.

    Raises:
        HomologError: the file is not a video.
    """
    av = _av()
    with _open(path) as (container, stream):
        if stream.frames:
            return stream.frames
        if stream.duration and stream.time_base and stream.average_rate:
            return max(1, round(stream.duration * stream.time_base * stream.average_rate))
        count = 0
        with contextlib.suppress(av.error.FFmpegError):
            for packet in container.demux(stream):
                count += packet.size > 0
        return max(1, count)


class VideoWriter:
    """Writes a video atomically: the file is there when the `with` block has ended well.

    H.264 where FFmpeg has it, otherwise MPEG-4; no sound.

    Args:
        path: the file to write, ending in one of `VIDEO_SUFFIXES`.
        size: width and height of its frames; both are even and at least 16.
    """

    def __init__(self, path: Path, size: tuple[int, int]):
        self.path = path
        self.size = size
        self._ticks = -1

    def __enter__(self) -> VideoWriter:
        av = _av()
        self._errors = (av.error.FFmpegError, OSError)
        with self._explain_errors():
            remove_leftovers(self.path.parent, self.path.stem)
            with contextlib.ExitStack() as stack:
                temporary = stack.enter_context(temporary_file(self.path, self.path.suffix))
                self._temporary = Path(temporary.name)
                if os.name == "nt":
                    temporary.close()  # Windows renames no open files
                self._container: OutputContainer = av.open(temporary.name, "w")
                self._stream = _add_stream(self._container, self.size)
                self._stack = stack.pop_all()
        return self

    def write(self, image: Image.Image, seconds: float) -> None:
        """Append a frame.

        Args:
            image: an `RGB` image of the writer's size.
            seconds: when it is shown; of equal times, the second comes one tick later.

        Raises:
            HomologError: the file cannot be written.
        """
        frame = _av().VideoFrame.from_image(image)
        self._ticks = max(self._ticks + 1, round(seconds * _TICKS))
        frame.pts, frame.time_base = self._ticks, Fraction(1, _TICKS)
        with self._explain_errors():
            self._container.mux(self._stream.encode(frame))

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with (
            self._stack,
            self._explain_errors() if kind is None else contextlib.suppress(*self._errors),
        ):
            if kind is None:
                self._container.mux(self._stream.encode())
            self._container.close()
            if kind is None:
                replace_atomically(self._temporary, self.path)

    @contextlib.contextmanager
    def _explain_errors(self) -> Iterator[None]:
        try:
            yield
        except self._errors as error:
            raise HomologError(
                f"out: expected a file that can be written, got {self.path}: {_reason(error)}"
            ) from error


def _add_stream(container: OutputContainer, size: tuple[int, int]) -> VideoStream:
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


@contextlib.contextmanager
def _open(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """A video file and its first video stream."""
    av = _av()
    if path.is_dir() or not path.exists():
        kind = "is a directory" if path.is_dir() else "does not exist"
        raise HomologError(f"video: expected a video file, got {path}, which {kind}")
    try:
        # Titles and the like, which nothing here reads, may be in any encoding.
        container = av.open(str(path), metadata_errors="replace")
    except (av.error.FFmpegError, OSError) as error:
        raise HomologError(f"video: expected a video file, got {path}: {_reason(error)}") from None
    with container:
        if not container.streams.video:
            raise HomologError(
                f"video: expected a video file, got {path}, which has no video stream"
            )
        yield container, container.streams.video[0]


def _av() -> Any:
    return require("av", "video")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
