"""What takes long: one thing at a time, in the order it was asked for."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from homolog.errors import HomologError
from homolog.image.geometry import IDENTITY, POSE_SETS, Pose
from homolog.matcher import Matcher
from homolog.results import Features
from homolog.serve.compression import Couple
from homolog.serve.uploads import Picture, called
from homolog.utils.lru_cache import Kept
from homolog.viz import draw

T = TypeVar("T")

POSES = POSE_SETS["all"]
_MATCHES = 40


class Line:
    """A thread of its own; what is asked for waits its turn, however many ask."""

    def __init__(self, name: str) -> None:
        self._thread = ThreadPoolExecutor(1, name)

    async def __call__(self, work: Callable[..., T], *arguments: Any) -> T:
        """What a function returns when its turn has come."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    def close(self) -> None:
        """Drop what has not begun, and wait for what has."""
        self._thread.shutdown(cancel_futures=True)


class Work:
    """The matcher and the features it has made; all methods for one thread only.

    Args:
        matcher: finds the points.
        memory: bytes that features may take.
    """

    def __init__(self, matcher: Matcher, memory: int):
        self._matcher = matcher
        self._features: Kept[tuple[str, Pose], Features] = Kept(memory, _size, least=4)

    def warm_up(self) -> None:
        """The first picture takes longer than all others; let it be nobody's."""
        features = self._matcher.extract(Image.new("RGB", (64, 64)))
        Couple(self._matcher, features, features).packed()

    def features(self, picture: Picture, pose: Pose = IDENTITY) -> Features:
        """Features of a picture in one pose.

        Raises:
            HomologError: it cannot be read.
        """

        def make() -> Features:
            with called(picture):
                return self._matcher.extract(self._matcher.read(picture.path, "picture"), [pose])

        return self._features.get((picture.id, pose), make)

    def pair(self, first: Picture, second: Picture, pose: Pose) -> bytes:
        """What a browser needs of a pair (`Couple.packed`)."""
        return self._couple(first, second, pose).packed()

    def point(
        self, first: Picture, second: Picture, pose: Pose, source: int, x: float, y: float
    ) -> dict[str, float]:
        """Where a point of one of the two, 0 or 1, lies in the other: x, y and score.

        Raises:
            HomologError: it lies outside the picture.
        """
        pairing = self._couple(first, second, pose).pairing(source)
        width, height = pairing.source.size
        if not (0 <= x <= width and 0 <= y <= height):
            raise HomologError(
                f"point: ({x:g}, {y:g}) lies outside the picture of {width} x {height} pixels"
            )
        located = pairing.locate(np.array([[x, y]]))
        ((found_x, found_y),) = located.points.tolist()
        return {"x": found_x, "y": found_y, "score": float(located.scores()[0])}

    def matches(self, first: Picture, second: Picture, pose: Pose) -> dict[str, Any]:
        """What the two have in common (`Matches.to_dict`)."""
        couple = self._couple(first, second, pose)
        return self._matcher.match(*couple.features, _MATCHES, poses=[pose]).to_dict()

    def warp(self, first: Picture, second: Picture, pose: Pose) -> bytes:
        """The first picture on the second one's shape, a JPEG."""
        couple = self._couple(first, second, pose)
        flow = self._matcher.flow(*couple.features, poses=[pose])
        buffer = io.BytesIO()
        warped = draw.warp(couple.features[0].image, flow.backward.smoothed())
        warped.save(buffer, "JPEG", quality=90)
        return buffer.getvalue()

    def _couple(self, first: Picture, second: Picture, pose: Pose) -> Couple:
        features = self.features(first, pose), self.features(second)
        return Couple(self._matcher, *features)


def pose_named(name: str) -> Pose:
    """One of the poses that the page offers.

    Raises:
        HomologError: it is none of them.
    """
    for pose in POSES:
        if pose.name == name:
            return pose
    raise HomologError(f"pose: {name!r} is none of {', '.join(pose.name for pose in POSES)}")


def _size(features: Features) -> int:
    """Bytes that features take."""
    descriptors = sum(p.descriptors_HWC.nbytes for p in features.posed.values())
    return descriptors + 3 * features.image.width * features.image.height
