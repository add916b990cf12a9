"""What takes long: one thing at a time, in the order it was asked for."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from PIL import Image

from homolog.descriptors import Features
from homolog.errors import HomologError
from homolog.image.geometry import IDENTITY, POSE_SETS, PoseVariant
from homolog.matcher import Matcher
from homolog.pair import ImagePair
from homolog.serve.compression import CompressedPair
from homolog.serve.uploads import Picture, hide_path
from homolog.utils.lru_cache import LRUCache
from homolog.viz import draw

T = TypeVar("T")

POSES = POSE_SETS["all"]
_MATCHES = 40


class SerialExecutor:
    """A thread of its own; what is asked for waits its turn, however many ask."""

    def __init__(self, name: str) -> None:
        self._thread = ThreadPoolExecutor(1, name)

    async def __call__(self, work: Callable[..., T], *arguments: Any) -> T:
        """What a function returns when its turn has come."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    def close(self) -> None:
        """Drop what has not begun, and wait for what has."""
        self._thread.shutdown(cancel_futures=True)


class MatchService:
    """The matcher and the features it has made; all methods for one thread only.

    Args:
        matcher: finds the points.
        memory: bytes that features may take.
    """

    def __init__(self, matcher: Matcher, memory: int):
        self._matcher = matcher
        self._features: LRUCache[tuple[str, PoseVariant], Features] = LRUCache(
            memory, _size, min_items=4
        )

    def warm_up(self) -> None:
        """The first picture takes longer than all others; let it be nobody's."""
        features = self._matcher.extract(Image.new("RGB", (64, 64)))
        CompressedPair(self._matcher.pair(features, features)).packed()

    def features(self, picture: Picture, pose: PoseVariant = IDENTITY) -> Features:
        """Features of a picture in one pose.

        Raises:
            HomologError: it cannot be read.
        """

        def make() -> Features:
            with hide_path(picture):
                return self._matcher.extract(
                    self._matcher.load_image(picture.path, "picture"), [pose]
                )

        return self._features.get((picture.id, pose), make)

    def pair(self, first: Picture, second: Picture, pose: PoseVariant) -> bytes:
        """What a browser needs of a pair (`CompressedPair.packed`)."""
        return CompressedPair(self._pair(first, second, pose)).packed()

    def point(
        self, first: Picture, second: Picture, pose: PoseVariant, source: int, x: float, y: float
    ) -> dict[str, float]:
        """Where a point of one of the two, 0 or 1, lies in the other: x, y and score.

        Raises:
            HomologError: it lies outside the picture.
        """
        pair = self._pair(first, second, pose)
        if source == 1:
            pair = pair.reversed()
        width, height = pair.image0.size
        if not (0 <= x <= width and 0 <= y <= height):
            raise HomologError(
                f"point: ({x:g}, {y:g}) lies outside the picture of {width} x {height} pixels"
            )
        found = pair.transfer([[x, y]])
        ((found_x, found_y),) = found.keypoints1.tolist()
        return {"x": found_x, "y": found_y, "score": float(found.matching_scores[0])}

    def matches(self, first: Picture, second: Picture, pose: PoseVariant) -> dict[str, Any]:
        """What the two have in common (`Matches.to_dict`)."""
        return self._pair(first, second, pose).match(_MATCHES).to_dict()

    def warp(self, first: Picture, second: Picture, pose: PoseVariant) -> bytes:
        """The first picture on the second one's shape, a JPEG."""
        pair = self._pair(first, second, pose)
        buffer = io.BytesIO()
        warped = draw.warp(pair.image0.image, pair.flow().backward.smoothed())
        warped.save(buffer, "JPEG", quality=90)
        return buffer.getvalue()

    def _pair(self, first: Picture, second: Picture, pose: PoseVariant) -> ImagePair:
        return self._matcher.pair(self.features(first, pose), self.features(second), poses=[pose])


def pose_named(name: str) -> PoseVariant:
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
    return features.nbytes + 3 * features.image.width * features.image.height
