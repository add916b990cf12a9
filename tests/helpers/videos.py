"""Videos made here: a patchwork that moves over grey, with known positions of points on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
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


@dataclass(frozen=True)
class Scene:
    """Objects that move along known paths.

    Attributes:
        frames: the images.
        boxes: (x, y, width, height) of each object in each frame, hidden or not.
        visible: the share of each object that is in sight, likewise.
    """

    frames: list[Image.Image]
    boxes: np.ndarray
    visible: np.ndarray

    def overlaps(self, boxes: np.ndarray) -> np.ndarray:
        """Intersection over union of boxes (F x N x 4) with the objects' own."""
        low = np.maximum(boxes[..., :2], self.boxes[..., :2])
        high = np.minimum(*(each[..., :2] + each[..., 2:] for each in (boxes, self.boxes)))
        both = np.prod(np.maximum(high - low, 0), axis=-1)
        return both / (boxes[..., 2:].prod(-1) + self.boxes[..., 2:].prod(-1) - both)


def path(*stops: tuple[float, float], steps: int) -> list[tuple[int, int]]:
    """Positions along straight lines between stops, with so many steps from each to the next."""
    legs = [np.linspace(*ends, steps + 1) for ends in pairwise(stops)]
    points = np.concatenate([legs[0][:1], *(leg[1:] for leg in legs)])
    return [(round(x), round(y)) for x, y in points]


def moving_objects(
    objects: Sequence[Image.Image],
    paths: Sequence[Sequence[tuple[int, int]]],
    size: tuple[int, int] = (320, 160),
    bar: tuple[int, int] | None = None,
) -> Scene:
    """A scene of rectangular objects over a soft grey background.

    Args:
        objects: later ones lie in front.
        paths: the upper left corner of each object in each frame.
        size: width and height of the frames.
        bar: left and right edge of an upright bar in front of all.
    """
    behind = random_image(*size, seed=50).convert("L").point(lambda value: 90 + value // 4)
    frames, visible = [], []
    for corners in zip(*paths, strict=True):
        frame, owner = behind.convert("RGB"), np.zeros(size[::-1], int)
        for index, (each, (x, y)) in enumerate(zip(objects, corners, strict=True), start=1):
            frame.paste(each, (x, y))
            owner[max(0, y) : max(0, y + each.height), max(0, x) : max(0, x + each.width)] = index
        if bar is not None:
            frame.paste((128, 128, 128), (bar[0], 0, bar[1], size[1]))
            owner[:, bar[0] : bar[1]] = 0
        frames.append(frame)
        areas = [each.width * each.height for each in objects]
        visible.append([(owner == n).sum() / area for n, area in enumerate(areas, start=1)])
    sizes = np.array([each.size for each in objects])
    boxes = np.concatenate(
        [np.array(paths).swapaxes(0, 1), np.broadcast_to(sizes, (len(frames), *sizes.shape))], -1
    )
    return Scene(frames, boxes.astype(float), np.array(visible))
