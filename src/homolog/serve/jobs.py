"""Work that takes long, run one job at a time in the order of the requests."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from PIL import Image

from homolog.descriptors import Features
from homolog.errors import HomologError
from homolog.image.geometry import IDENTITY, POSE_SETS, PoseVariant
from homolog.matcher import Matcher
from homolog.serve.compression import CompressedPair
from homolog.serve.uploads import StoredImage, hide_path
from homolog.utils.lru_cache import LRUCache
from homolog.viz.raster import warp_image

T = TypeVar("T")

POSES = POSE_SETS["all"]
"""The poses of the source that the page offers."""

_MAX_MATCHES = 40
_MIN_FEATURES = 4  # kept however large they are: two images, each in two poses
_MIN_PAIRS = 2  # kept however large they are: the pair on the page, and the one before

_log = logging.getLogger(__name__)


class SerialExecutor:
    """A thread of its own that runs jobs one after the other, however many clients wait.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        self._thread = ThreadPoolExecutor(1, name)

    async def __call__(self, work: Callable[..., T], *arguments: Any) -> T:
        """Run a function when its turn has come, and return what it returns."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    def close(self) -> None:
        """Drop the jobs that have not begun, and wait for the one that has."""
        self._thread.shutdown(cancel_futures=True)


class MatchService:
    """A matcher with caches of features and pairs; its methods are for one thread only.

    Args:
        matcher: matches the images.
        max_bytes: how many bytes the cached features may take, and those that cached pairs hold.
    """

    def __init__(self, matcher: Matcher, max_bytes: int):
        self._matcher = matcher
        self._features: LRUCache[tuple[str, PoseVariant], Features] = LRUCache(
            max_bytes // 2, _feature_bytes, min_items=_MIN_FEATURES
        )
        self._pairs: LRUCache[tuple[str, str, PoseVariant], CompressedPair] = LRUCache(
            max_bytes // 2, _pair_bytes, min_items=_MIN_PAIRS
        )

    def warm_up(self) -> None:
        """Match an empty image, since the first match takes longer than all later ones."""
        features = self._matcher.extract(Image.new("RGB", (64, 64)))
        CompressedPair(self._matcher.pair(features, features)).pack()

    def features(self, image: StoredImage, pose: PoseVariant = IDENTITY) -> Features:
        """Features of an image in one pose.

        Raises:
            HomologError: it cannot be read.
        """

        def extract() -> Features:
            _log.info("extracting features of %s in pose %s", image.name, pose.name)
            with hide_path(image):
                return self._matcher.extract(self._matcher.load_image(image.path), [pose])

        return self._features.get((image.id, pose), extract)

    def pair(self, source: StoredImage, target: StoredImage, pose: PoseVariant) -> CompressedPair:
        """The pair of two images with the source in one pose, prepared once.

        Raises:
            HomologError: an image cannot be read.
        """

        def prepare() -> CompressedPair:
            features = self.features(source, pose), self.features(target)
            return CompressedPair(self._matcher.pair(*features, poses=[pose]))

        return self._pairs.get((source.id, target.id, pose), prepare)

    def pack(self, source: StoredImage, target: StoredImage, pose: PoseVariant) -> bytes:
        """The pair of two images, packed for a browser (`CompressedPair.pack`)."""
        return self.pair(source, target, pose).pack()

    def transfer(
        self,
        source: StoredImage,
        target: StoredImage,
        pose: PoseVariant,
        origin: int,
        x: float,
        y: float,
    ) -> dict[str, float]:
        """Match a point of either image in the other: x, y and score.

        Args:
            source: the source of the pair.
            target: the target of the pair.
            pose: of the source.
            origin: 0 for a point of the source, 1 for one of the target.
            x: of the point, in pixels.
            y: of the point, in pixels.

        Raises:
            HomologError: the point lies outside the image.
        """
        pair = self.pair(source, target, pose).directions[origin]
        width, height = pair.image0.size
        if not (0 <= x <= width and 0 <= y <= height):
            raise HomologError(
                f"point: expected one inside the image of {width} x {height} pixels, got "
                f"({x:g}, {y:g})"
            )
        matches = pair.transfer([[x, y]])
        ((found_x, found_y),) = matches.keypoints1.tolist()
        return {"x": found_x, "y": found_y, "score": float(matches.matching_scores[0])}

    def match(self, source: StoredImage, target: StoredImage, pose: PoseVariant) -> dict[str, Any]:
        """Mutual nearest neighbours of two images (`Matches.to_dict`)."""
        return self.pair(source, target, pose).directions[0].match(_MAX_MATCHES).to_dict()

    def warp(self, source: StoredImage, target: StoredImage, pose: PoseVariant) -> bytes:
        """The source warped onto the shape of the target, a JPEG."""
        pair = self.pair(source, target, pose).directions[0]
        buffer = io.BytesIO()
        warped = warp_image(pair.image0.image, pair.flow().backward.smoothed())
        warped.save(buffer, "JPEG", quality=90)
        return buffer.getvalue()


def parse_pose(name: str) -> PoseVariant:
    """The pose variant of a name, which must be one that the page offers.

    Raises:
        HomologError: it is none of them.
    """
    for pose in POSES:
        if pose.name == name:
            return pose
    raise HomologError(
        f"pose: expected one of {', '.join(pose.name for pose in POSES)}, got {name!r}"
    )


def _feature_bytes(features: Features) -> int:
    return features.nbytes + 3 * features.image.width * features.image.height


def _pair_bytes(pair: CompressedPair) -> int:
    """Bytes of both images' features, which a pair keeps alive."""
    return sum(_feature_bytes(direction.image0) for direction in pair.directions)
