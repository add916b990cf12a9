"""What a matcher is shown of a data set's images: whole ones, or the regions around objects."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from homolog.data import Annotation, DataSet
from homolog.data.reading import check_choice
from homolog.descriptors import Features
from homolog.errors import HomologError
from homolog.features import FeatureCache
from homolog.image import reading
from homolog.image.poses import IDENTITY, PoseVariant
from homolog.image.regions import MARGIN, MAX_UPSAMPLING, Region, as_box
from homolog.matcher import Matcher
from homolog.matching.refinement import RefinementConfig
from homolog.mirror import check_mirror
from homolog.utils.lru_cache import LRUCache
from homolog.utils.serialization import to_plain
from homolog.utils.temporary import temporary_folder
from homolog.zoom import CONTEXT_WEIGHT, Zoom, check_zoom

Boxes = Literal["none", "annotated"] | None
"""Whose boxes are used: of no object, of every object, or (None) of those that share an image."""


@dataclass(frozen=True, eq=False)
class ObjectViews:
    """Which objects of a data set are shown by their boxes, and whether they are zoomed in on.

    Attributes:
        data: the data set.
        boxes: (x, y, width, height) of the objects whose region fills the canvas; for others the
            whole image does.
        zoom: as `Matcher.extract` takes it.
        notes: what a reader of results should know of it, a line each.
        mirror: whether every image is also looked at mirrored (`homolog.mirror`).
        refine: whether matches are looked for again in closer looks (`homolog.refining`).
    """

    data: DataSet
    boxes: Mapping[Annotation, tuple[float, float, float, float]] = field(repr=False)
    zoom: Zoom
    notes: tuple[str, ...]
    mirror: bool = False
    refine: bool = False

    @classmethod
    def of(
        cls,
        data: DataSet,
        boxes: Boxes = None,
        zoom: Zoom = None,
        mirror: bool = False,
        refine: bool = False,
    ) -> ObjectViews:
        """Choose what is shown of each object.

        Without its box, nothing tells an object from others of its image. So objects that share an
        image are shown by their boxes, unless `boxes` is `none`.

        Args:
            data: the data set.
            boxes: `annotated` to show every object by its box, `none` to show whole images.
            zoom: `auto` for a second look at each object.
            mirror: whether to look at every image mirrored, too.
            refine: whether to look for matches again, in closer looks.

        Raises:
            HomologError: an argument is something else, an image cannot be read, or the box of an
                object that shares its image cannot be right.
        """
        if boxes is not None:
            check_choice("boxes", boxes, ("none", "annotated"))
        check_zoom(zoom)
        check_mirror(mirror)
        if not isinstance(refine, (bool, np.bool_)):
            raise HomologError(f"refine: expected True or False, got {refine!r}")
        chosen: dict[Annotation, tuple[float, float, float, float]] = {}
        unusable: list[str] = []
        outside = 0
        for annotation in data.annotations:
            if boxes == "none" or not (annotation.shares_image or boxes == "annotated"):
                continue
            size = reading.image_size(annotation.path, name=annotation.name)
            try:
                region = Region.around(annotation.xywh, size)
            except HomologError as error:
                if annotation.shares_image:
                    raise HomologError(f"{annotation.name}: {error}") from None
                unusable.append(f"{annotation.name}: {error}")
                continue
            chosen[annotation] = as_box(annotation.xywh, size)
            outside += int((~region.contains(annotation.keypoints[annotation.visible])).sum())
        notes = list(_notes(data, chosen, zoom, unusable, outside))
        if mirror:
            notes.append("every image is also looked at mirrored (mirror)")
        if refine:
            notes.append("matches are looked for again, in closer looks at both images (refine)")
        return cls(data, chosen, zoom, tuple(notes), bool(mirror), bool(refine))

    @property
    def boxes_name(self) -> str:
        """Whose boxes are used, for results: `none`, `annotated`, or both where both are."""
        if not self.boxes:
            return "none"
        every = len(self.boxes) == len(self.data.annotations)
        return "annotated" if every else "annotated where images are shared"

    @property
    def zoom_name(self) -> str:
        """The zoom, for results."""
        return self.zoom or "none"

    def identity(self) -> dict[str, Any]:
        """What predictions depend on, to tell one run from another; nothing for whole images."""
        found: dict[str, Any] = {}
        if self.boxes:
            listed = sorted((annotation.name, box) for annotation, box in self.boxes.items())
            digest = hashlib.sha256(json.dumps(listed).encode()).hexdigest()
            found["boxes"] = {
                "of": self.boxes_name, "sha256": digest, "margin": MARGIN,
                "max_upsampling": MAX_UPSAMPLING,
            }  # fmt: skip
        if self.zoom is not None:
            found["zoom"] = {"way": self.zoom, "context_weight": CONTEXT_WEIGHT}
        if self.mirror:
            found["mirror"] = True
        if self.refine:
            found["refine"] = to_plain(RefinementConfig())
        return found


class FeatureStore:
    """Features of a data set's objects, as they are shown; those used least recently are dropped.

    The objects of one image are read and extracted together.

    Args:
        matcher: extracts the features.
        views: which objects there are, and how each is shown.
        poses: the poses that are wanted.
        max_bytes: memory for features, in bytes; those of one pair are held in any case.
    """

    def __init__(
        self,
        matcher: Matcher,
        views: ObjectViews,
        poses: Sequence[PoseVariant] = (IDENTITY,),
        max_bytes: int = 0,
    ):
        self.matcher = matcher
        self.views = views
        self.poses = tuple(dict.fromkeys((IDENTITY, *poses)))
        self._features: LRUCache[ViewKey, Features] = LRUCache(max_bytes, _nbytes, min_items=2)
        self._of_image: dict[tuple[Path, str], dict[ViewKey, None]] = {}
        for annotation in views.boxes:
            image = annotation.path, annotation.category
            self._of_image.setdefault(image, {})[self.key(annotation)] = None

    @classmethod
    @contextmanager
    def open(
        cls,
        matcher: Matcher,
        views: ObjectViews,
        data: DataSet,
        poses: Sequence[PoseVariant],
        max_bytes: int,
        folder: Path,
    ) -> Iterator[FeatureStore]:
        """A store for a data set; with a cache on disk if the features exceed the memory.

        Args:
            matcher: extracts the features.
            views: how the objects of the data set, and perhaps others, are shown.
            data: the data set.
            poses: the poses that are wanted.
            max_bytes: memory for features, in bytes.
            folder: where a temporary cache is made, if the matcher has none.

        Raises:
            HomologError: an image cannot be read, or the cache cannot be written.
        """
        store = cls(matcher, views, poses, max_bytes)
        count = len({store.key(annotation) for annotation in data.annotations})
        if not count:
            yield store
            return
        one = store(data.pairs[0].source)
        if matcher.cache is not None or _nbytes(one) * count <= max_bytes:
            yield store
            return
        stack = ExitStack()
        try:
            temporary = stack.enter_context(temporary_folder(folder, ".features-"))
        except OSError as error:
            raise HomologError(f"out: cannot write {folder}: {error.strerror}") from error
        with stack:
            yield cls(matcher.with_cache(FeatureCache(temporary)), views, poses, max_bytes)

    def __call__(self, annotation: Annotation) -> Features:
        """The features of an object.

        Raises:
            HomologError: its image cannot be read.
        """
        key = self.key(annotation)
        return self._features.get(key, lambda: self._extract(key))

    def key(self, annotation: Annotation) -> ViewKey:
        """What two annotations have in common that are shown alike."""
        return annotation.path, annotation.category, self.views.boxes.get(annotation)

    def _extract(self, key: ViewKey) -> Features:
        path, category, box = key
        look: dict[str, Any] = {"zoom": self.views.zoom, "mirror": self.views.mirror}
        if box is None:
            return _settled(self.matcher.extract(path, self.poses, category, **look))
        keys = list(self._of_image[path, category])
        boxes = np.array([each[2] for each in keys])
        found = self.matcher.extract(path, self.poses, category, box=boxes, **look)
        found = [_settled(features) for features in found]
        wanted = dict(zip(keys, found, strict=True))
        own = wanted.pop(key)
        for other, features in wanted.items():
            self._features.put(other, features)
        return own


def queries(points: Float[np.ndarray, "K 2"], shown: Features) -> Float[np.ndarray, "K 2"]:
    """Annotated points as a matcher takes them: moved to the border of what it is shown.

    Args:
        points: (x, y) in pixels of the image.
        shown: the features of the image, or of a region of it. Where a region is joined with its
            whole image, points beyond it are matched there.
    """
    if shown.region is None or shown.context is not None:
        return np.clip(points, 0, shown.size)
    left, top, right, bottom = shown.region.box
    return np.clip(points, (left, top), (right, bottom))


ViewKey = tuple[Path, str, tuple[float, float, float, float] | None]
"""The image, the category and the box of an object; None where the whole image is shown."""


def _nbytes(features: Features) -> int:
    """Bytes that descriptors take, with those of crops and of what they are joined from."""
    parts = (features.context, features.plain, *features.crops.values())
    return features.nbytes + sum(part.nbytes for part in parts if part is not None)


def _settled(features: Features) -> Features:
    """The same without what their descriptors were joined from: no further pose is wanted."""
    for each in (features, features.context):
        if each is not None and each.plain is not None:
            each.plain.by_pose.clear()
    return features


def _notes(
    data: DataSet,
    boxes: Mapping[Annotation, tuple[float, float, float, float]],
    zoom: Zoom,
    unusable: Sequence[str],
    outside: int,
) -> Iterator[str]:
    """What a reader of results should know of the views."""
    total = len(data.annotations)
    shared = sum(annotation.shares_image for annotation in data.annotations)
    share = f"with a margin of {100 * MARGIN:g} % of its longer side"
    if len(boxes) + len(unusable) == total and boxes:
        yield f"each object is matched in the region around its annotated box, {share}"
    elif boxes:
        yield (
            f"{shared} of {total} objects share their image with others; each of these is matched "
            f"in the region around its annotated box, {share}"
        )
    elif shared:
        yield (
            f"{shared} of {total} objects share their image with others, and whole images are "
            "matched: nothing tells which object is meant"
        )
    if unusable:
        yield (
            f"boxes that cannot be used, so that whole images are matched: {len(unusable)}, such "
            f"as {unusable[0]}"
        )
    if outside and zoom is None:
        yield f"{outside} keypoints lie outside the region around their box; it is not left"
    if zoom is not None:
        yield "a second look is taken at each object that does not fill its image (zoom)"
