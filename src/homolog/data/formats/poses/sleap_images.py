"""The images of SLEAP's labels: files, frames of videos, and frames packed into a file."""

from __future__ import annotations

import atexit
import contextlib
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
from PIL import Image

from homolog.data.formats.document import DocumentBuilder, ReadOptions
from homolog.errors import HomologError
from homolog.image import reading
from homolog.utils.temporary import temporary_folder


@dataclass(frozen=True)
class _Source:
    """Where the image of a frame comes from.

    Attributes:
        name: of its file.
        members: of its entry in a document: the video and the frame's number in it.
        size: width and height, if the file of labels has them.
    """

    name: str
    members: Mapping[str, Any]
    size: tuple[int, int] | None


class SleapImages:
    """Adds the images of frames to a document.

    Args:
        path: of the file of labels.
        options: where images are.
        builder: of the document.
    """

    def __init__(self, path: Path, options: ReadOptions, builder: DocumentBuilder):
        self._path = path
        self._finder = options.finder(path)
        self._builder = builder
        self._folders: dict[str, str] = {}
        self._packed: Path | None = None
        self._missing: Counter[str] = Counter()

    def add(self, frame: Any) -> int:
        """Add the image of a frame.

        Returns:
            Its id.

        Raises:
            HomologError: it was found, but cannot be read.
        """
        source = self._source(frame)
        try:
            path = self._finder.find(source.name)
        except HomologError as error:
            packed = self._unpack(frame, source.name)
            if packed is None:
                missing = str(error)
                if "video" in source.members:
                    video = str(source.members["video"])
                    self._missing[video] += 1
                    missing += f"; try to write frame {source.members['frame']} of {video} there"
                return self._builder.add_image(
                    source.name, source.size, missing=missing, **source.members
                )
            path = packed
        size = reading.image_size(path)
        return self._builder.add_image(source.name, size, path, **source.members)

    def notes(self) -> Iterator[str]:
        """A line for each video whose frames are not there as images, and for doubtful names."""
        yield from self._finder.notes
        for video, count in self._missing.items():
            yield (
                f"{self._path}: frames of {video} without an image: {count}; they are looked up as "
                f"{self._folders[video]}/img000012.png, with the frame's number from 0"
            )

    def _source(self, frame: Any) -> _Source:
        video = frame.video.source_video or frame.video
        if isinstance(video.filename, list):
            if not 0 <= frame.frame_idx < len(video.filename):
                raise HomologError(
                    f"{self._path}: expected frames 0 to {len(video.filename) - 1} of a video of "
                    f"images, got {frame.frame_idx}"
                )
            return _Source(str(video.filename[frame.frame_idx]), {}, None)
        name, number = str(video.filename), int(frame.frame_idx)
        if name not in self._folders:
            stem = PurePosixPath(PureWindowsPath(name).name).stem
            numbered = (f"{stem}-{count}" for count in itertools.count(2))
            taken = self._folders.values()
            self._folders[name] = (
                stem if stem not in taken else next(each for each in numbered if each not in taken)
            )
        shape = video.backend_metadata.get("shape")
        size = (int(shape[2]), int(shape[1])) if shape is not None and all(shape[1:3]) else None
        members = {"video": name, "frame": number}
        return _Source(f"{self._folders[name]}/img{number:06d}.png", members, size)

    def _unpack(self, frame: Any, name: str) -> Path | None:
        """Write a frame that is packed into the file to a temporary one; None if it is not.

        Raises:
            HomologError: it cannot be decoded.
        """
        video = frame.video
        if not video.backend_metadata.get("has_embedded_images"):
            return None
        if self._packed is None:
            stack = contextlib.ExitStack()
            self._packed = stack.enter_context(temporary_folder())
            atexit.register(stack.close)
        inside = PureWindowsPath(name)
        path = self._packed / str(len(list(self._packed.iterdir()))) / f"{inside.stem}.png"
        try:
            if not video.is_open:
                video.open()
            pixels = np.asarray(video[frame.frame_idx])
        except Exception as error:  # malformed bytes raise nearly anything
            reason = " ".join(str(error).split())
            raise HomologError(
                f"{self._path}: expected an image for {name}, got: {reason}"
            ) from None
        path.parent.mkdir()
        Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(path)
        return path
