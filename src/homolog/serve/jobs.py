"""Work that takes long, run one job at a time in the order of the requests."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from PIL import Image

from homolog.descriptors import Features
from homolog.errors import HomologError
from homolog.image.poses import IDENTITY, POSE_SETS, PoseVariant
from homolog.matcher import Matcher
from homolog.quality import QUALITIES
from homolog.serve.compression import CompressedPair
from homolog.serve.uploads import StoredImage, hide_path
from homolog.utils.lru_cache import LRUCache
from homolog.viz.raster import warp_image
from homolog.zoom import Zoom

T = TypeVar("T")

Box = tuple[float, float, float, float]
"""(x, y, width, height) of an object in pixels of the upright image."""

POSES = POSE_SETS["all"]
"""The poses of the source that the page offers."""

_MAX_MATCHES = 40
_MIN_FEATURES = 4  # kept however large they are: two images, each in two poses
_MIN_PAIRS = 2  # kept however large they are: the pair on the page, and the one before

ZOOM: Zoom = QUALITIES["default"].zoom
"""Whether the page zooms until it is told otherwise: as the library does."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PairRequest:
    """Which pair a client asks for.

    Attributes:
        source: the source of the pair.
        target: the target of the pair.
        pose: of the source.
        box0: the object in the source; None for the whole image.
        box1: the object in the target; None for the whole image.
        zoom: whether the objects are looked at twice.
    """

    source: StoredImage
    target: StoredImage
    pose: PoseVariant = IDENTITY
    box0: Box | None = None
    box1: Box | None = None
    zoom: Zoom = None


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
        self._features: LRUCache[tuple[str, PoseVariant, Box | None, Zoom], Features] = LRUCache(
            max_bytes // 2, _feature_bytes, min_items=_MIN_FEATURES
        )
        self._pairs: LRUCache[PairRequest, CompressedPair] = LRUCache(
            max_bytes // 2, _pair_bytes, min_items=_MIN_PAIRS
        )

    def warm_up(self) -> None:
        """Match an empty image, since the first match takes longer than all later ones."""
        features = self._matcher.extract(Image.new("RGB", (64, 64)))
        CompressedPair(self._matcher.pair(features, features)).pack()

    def features(
        self,
        image: StoredImage,
        pose: PoseVariant = IDENTITY,
        box: Box | None = None,
        zoom: Zoom = None,
        name: str = "image",
    ) -> Features:
        """Features of an image in one pose, or of the region around a box of it.

        Args:
            image: the image.
            pose: of the image.
            box: the object.
            zoom: whether the object, the box's or one that is found, is looked at twice.
            name: what error messages call the image.

        Raises:
            HomologError: it cannot be read, or the box cannot be right.
        """

        def extract() -> Features:
            _log.info("extracting features of %s in pose %s, box %s", image.name, pose.name, box)
            with hide_path(image):
                if box is None and zoom is None:
                    found = self._matcher.load_image(image.path, name)
                    return self._matcher.extract(found, [pose])
                shown = box
                if shown is None:
                    shown = self._matcher.find_object(self.features(image))
                whole = self.features(image, pose)
                if shown is None:
                    return whole
                # Without what other regions have left there, which may become too much.
                whole = dataclasses.replace(whole, zoomed={})
                found = self._matcher.load_image(whole, name, box=shown, zoom=zoom)
                return self._matcher.extract(found, [pose])

        return self._features.get((image.id, pose, box, zoom), extract)

    def pair(self, request: PairRequest) -> CompressedPair:
        """The pair of two images with the source in one pose, prepared once.

        Raises:
            HomologError: an image cannot be read, or a box cannot be right.
        """

        def prepare() -> CompressedPair:
            zoom = request.zoom
            source = self.features(request.source, request.pose, request.box0, zoom, "image0")
            target = self.features(request.target, IDENTITY, request.box1, zoom, "image1")
            return CompressedPair(self._matcher.pair(source, target, poses=[request.pose]))

        return self._pairs.get(request, prepare)

    def pack(self, request: PairRequest) -> bytes:
        """The pair of two images, packed for a browser (`CompressedPair.pack`)."""
        return self.pair(request).pack()

    def transfer(self, request: PairRequest, origin: int, x: float, y: float) -> dict[str, Any]:
        """Match a point of either image in the other: x, y, score, and whether it is visible.

        Args:
            request: which pair.
            origin: 0 for a point of the source, 1 for one of the target.
            x: of the point, in pixels.
            y: of the point, in pixels.

        Raises:
            HomologError: the point lies outside the image, or beyond the region around its box.
        """
        pair = self.pair(request).directions[origin]
        width, height = pair.image0.size
        if not (0 <= x <= width and 0 <= y <= height):
            raise HomologError(
                f"point: expected one inside the image of {width} x {height} pixels, got "
                f"({x:g}, {y:g})"
            )
        matches = pair.transfer([[x, y]])
        ((found_x, found_y),) = matches.keypoints1.tolist()
        visible = None if matches.visible is None else bool(matches.visible[0])
        score = float(matches.matching_scores[0])
        return {"x": found_x, "y": found_y, "score": score, "visible": visible}

    def match(self, request: PairRequest) -> dict[str, Any]:
        """Mutual nearest neighbours of two images (`Matches.to_dict`)."""
        return self.pair(request).directions[0].match(_MAX_MATCHES).to_dict()

    def warp(self, request: PairRequest) -> bytes:
        """The source warped onto the shape of the target, a JPEG."""
        pair = self.pair(request).directions[0]
        buffer = io.BytesIO()
        warped = warp_image(pair.image0.image, pair.flow().backward.smoothed())
        warped.save(buffer, "JPEG", quality=90)
        return buffer.getvalue()


def parse_box(text: str | None, name: str) -> Box | None:
    """A box written as `x,y,width,height`; whether it fits its image is checked with that.

    Raises:
        HomologError: it is not four numbers; the message calls it by `name`.
    """
    if text is None:
        return None
    try:
        x, y, width, height = map(float, text.split(","))
    except ValueError:
        raise HomologError(f"{name}: expected x,y,width,height, got {text!r}") from None
    return x, y, width, height


def parse_zoom(name: str) -> Zoom:
    """Whether to zoom, from `auto` or `none`.

    Raises:
        HomologError: it is neither.
    """
    if name not in ("auto", "none"):
        raise HomologError(f"zoom: expected auto or none, got {name!r}")
    return "auto" if name == "auto" else None


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
    """Bytes of the descriptors and of the images that features hold, and of their context's."""
    shown = {id(image): image.width * image.height for image in (features.image, features.view)}
    context = 0 if features.context is None else _feature_bytes(features.context)
    return features.nbytes + 3 * sum(shown.values()) + context


def _pair_bytes(pair: CompressedPair) -> int:
    """Bytes of both images' features, which a pair keeps alive."""
    return sum(_feature_bytes(direction.image0) for direction in pair.directions)
