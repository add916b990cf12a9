"""Videos made here: a patchwork that moves over grey, with known positions of points on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
from PIL import Image

from helpers.toys import random_image

GREY = (128, 128, 128)
ON_OBJECT = np.array([[24.0, 24.0], [56.0, 40.0], [72.0, 72.0], [24.0, 72.0]])

# A path and back, in cells of the toy backbone, whose descriptors change with anything finer.
PATH = [
    (0, 0),
    (1, 0),
    (1, 1),
    (2, 1),
    (3, 2),
    (3, 3),
    (4, 3),
    (5, 2),
    (5, 1),
    (6, 1),
    (6, 2),
    (6, 3),
]


def write_video(path: Path, frames: Sequence[Image.Image], rate: int = 10) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate, bit_rate=20_000_000)
        stream.width, stream.height = frames[0].size
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_image(frame)))
        container.mux(stream.encode())
    return path


def read_video(path: Path) -> tuple[list[np.ndarray], list[float]]:
    with av.open(str(path)) as container:
        frames = [(f.to_ndarray(format="rgb24"), float(f.time)) for f in container.decode(video=0)]
    return [pixels for pixels, _ in frames], [seconds for _, seconds in frames]


def moving(count: int) -> tuple[list[Image.Image], np.ndarray]:
    """A patchwork of 96 pixels that moves over grey, and positions of points on it, F x K x 2."""
    patchwork = random_image(96, 96, seed=3)
    corners = 16 * np.array([*PATH, *PATH[::-1]])[np.arange(count) % 22]
    frames = []
    for x, y in corners:
        frame = Image.new("RGB", (192, 144), GREY)
        frame.paste(patchwork, (int(x), int(y)))
        frames.append(frame)
    return frames, corners[:, None] + ON_OBJECT
