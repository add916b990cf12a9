"""Annotated images, pairs of them, and data sets of pairs: what every reader returns."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
from jaxtyping import Bool, Float, Int

from homolog import moved
from homolog.errors import HomologError
from homolog.image import reading
from homolog.image.masks import MaskReader
from homolog.keypoints import KeypointSchema, tell_sides

Threshold = Literal["box", "image"]
"""Whose longer side PCK's alpha multiplies: that of the object's box, or that of the image."""

Box = tuple[float, float, float, float]
"""(x0, y0, x1, y1) in pixels."""


@dataclass(frozen=True, eq=False)
class Annotation:
    """The annotated keypoints and bounding box of one object in an image.

    Attributes:
        name: identifies the annotation within its data set.
        path: the image file.
        category: of the object; names the schema of its keypoints.
        keypoints: (x, y) in pixels as annotated, one for each keypoint of the schema; NaN for those
            that are not visible.
        box: of the object, (x0, y0, x1, y1) in pixels.
        size: width and height of the image in pixels, if the annotation gives them.
        azimuth: the object's viewpoint in eighths of a turn, 0 to 7, if annotated.
        shares_image: whether the data set has other objects of the same image, so that only its
            box tells which one is meant.
        occluded: which keypoints are hidden behind something, although their place is annotated;
            None where that is not known.
        mask: reads which pixels of the image show the object, if the data set says so.
    """

    name: str
    path: Path
    category: str
    keypoints: Float[np.ndarray, "K 2"]
    box: Box
    size: tuple[int, int] | None = None
    azimuth: int | None = None
    shares_image: bool = False
    occluded: Bool[np.ndarray, "K"] | None = None
    mask: MaskReader | None = None

    @property
    def xywh(self) -> tuple[float, float, float, float]:
        """The box as (x, y, width, height), as matchers take it."""
        x0, y0, x1, y1 = self.box
        return x0, y0, x1 - x0, y1 - y0

    @property
    def visible(self) -> Bool[np.ndarray, "K"]:
        """Which keypoints are visible."""
        return np.isfinite(self.keypoints[:, 0])

    def reference_length(self, threshold: Threshold) -> float:
        """The length in pixels that PCK's alpha multiplies.

        Args:
            threshold: `box` for the longer side of the box, `image` for that of the image.

        Raises:
            HomologError: the image's size is neither annotated nor can it be read.
        """
        if threshold == "box":
            x0, y0, x1, y1 = self.box
            return max(x1 - x0, y1 - y0)
        return float(max(self.size or reading.image_size(self.path)))


@dataclass(frozen=True, eq=False)
class Pair:
    """Two annotated images and the keypoints to transfer from the source to the target.

    Attributes:
        name: identifies the pair within its data set.
        source: the image where the keypoints are given.
        target: the image where they are to be found.
        keypoint_ids: indices of the keypoints to be found, visible in both images.
        pair_group: with which pairs it is averaged, where a benchmark has other groups than the
            target's categories, such as families of species.
    """

    name: str
    source: Annotation
    target: Annotation
    keypoint_ids: Int[np.ndarray, "K"]
    pair_group: str | None = None

    @classmethod
    def of(cls, name: str, source: Annotation, target: Annotation) -> Pair:
        """Make a pair whose keypoints are all those that are visible in both images."""
        return cls(name, source, target, np.flatnonzero(source.visible & target.visible))

    @property
    def category(self) -> str:
        """The target's category."""
        return self.target.category

    @property
    def group(self) -> str:
        """With which pairs it is averaged: its `pair_group`, or else its category."""
        return self.category if self.pair_group is None else self.pair_group

    @property
    def azimuth_difference(self) -> int | None:
        """Between the two viewpoints, in eighths of a turn, 0 to 4; None unless both are known."""
        if self.source.azimuth is None or self.target.azimuth is None:
            return None
        difference = abs(self.source.azimuth - self.target.azimuth)
        return min(difference, 8 - difference)


class LazyPairs(Sequence[Pair]):
    """A sequence of pairs that makes each one when it is accessed.

    Millions of pairs fit into memory: only their annotations and two indices each are kept.

    Args:
        annotations: the images.
        index: for each pair the positions of its source and its target among the annotations.
    """

    def __init__(self, annotations: Sequence[Annotation], index: Int[np.ndarray, "P 2"]):
        self._annotations = annotations
        self._index = index

    def __len__(self) -> int:
        return len(self._index)

    @overload
    def __getitem__(self, at: int) -> Pair: ...

    @overload
    def __getitem__(self, at: slice | Int[np.ndarray, "N"]) -> LazyPairs: ...

    def __getitem__(self, at: int | slice | Int[np.ndarray, "N"]) -> Pair | LazyPairs:
        if isinstance(at, (slice, np.ndarray)):
            return LazyPairs(self._annotations, self._index[at])
        source, target = (self._annotations[i] for i in self._index[at])
        return Pair.of(f"{source.name}:{target.name}", source, target)

    def annotations(self) -> list[Annotation]:
        """The annotations that occur in a pair, each once, in order of first use."""
        used, first = np.unique(self._index, return_index=True)
        return [self._annotations[i] for i in used[np.argsort(first)]]


@dataclass(frozen=True, eq=False)
class DataSet:
    """A benchmark, or one split of it: pairs of annotated images, and how they are scored.

    Attributes:
        name: as in tables, such as `SPair-71k test`.
        root: the folder or file it was read from.
        schemas: keypoint names, mirror counterparts and groups, by category.
        pairs: in a fixed order.
        threshold: what PCK's alpha multiplies in the data set's own protocol.
        alphas: the thresholds in its own protocol.
        notes: what a reader of its results should know, such as images that were left out.
        sides: what somebody told of the keypoints' sides (`with_sides`).
    """

    name: str
    root: Path
    schemas: Mapping[str, KeypointSchema]
    pairs: Sequence[Pair]
    threshold: Threshold
    alphas: tuple[float, ...]
    notes: tuple[str, ...] = ()
    sides: tuple[str, ...] = ()

    @cached_property
    def annotations(self) -> list[Annotation]:
        """All annotations that occur in a pair, each once, in order of first use."""
        if isinstance(self.pairs, LazyPairs):
            return self.pairs.annotations()
        members = (member for pair in self.pairs for member in (pair.source, pair.target))
        return list(dict.fromkeys(members))

    def fingerprint(self) -> dict[str, Any]:
        """Name, number and hash of the pairs, for JSON; another set of pairs has another."""
        names = "\n".join(pair.name for pair in self.pairs)
        digest = hashlib.sha256(names.encode(errors="surrogateescape")).hexdigest()
        told = {"sides": list(self.sides)} if self.sides else {}
        return {"data": self.name, "pairs": len(self.pairs), "pairs_sha256": digest, **told}

    def as_listed(self) -> DataSet:
        """The data set with a note that tells two people whether they score the same pairs."""
        keypoints = sum(len(pair.keypoint_ids) for pair in self.pairs)
        note = (
            f"pairs as listed: {len(self.pairs):,}, with {keypoints:,} keypoints to be found; "
            f"SHA-256 of their names: {self.fingerprint()['pairs_sha256']}"
        )
        return dataclasses.replace(self, notes=(*self.notes, note))

    def with_sides(self, sides: Sequence[str]) -> DataSet:
        """The data set with sides of its keypoints as somebody tells them (`tell_sides`).

        Args:
            sides: pairs `left:right` of names, the name of a file, or `none`.

        Raises:
            HomologError: something is none of these, or no category has both names of a pair.
        """
        schemas = tell_sides(self.schemas, sides)
        return dataclasses.replace(self, schemas=schemas, sides=tuple(sides))

    def select(self, index: Int[np.ndarray, "N"] | Sequence[int], **changes: Any) -> DataSet:
        """The data set with only some of its pairs.

        Args:
            index: their positions.
            changes: attributes to replace, such as its name.
        """
        positions = np.asarray(index, dtype=int)
        pairs: Sequence[Pair]
        if isinstance(self.pairs, LazyPairs):
            pairs = self.pairs[positions]
        else:
            pairs = [self.pairs[i] for i in positions]
        return dataclasses.replace(self, pairs=pairs, **changes)

    def subsample(self, limit: int | None) -> DataSet:
        """The data set with at most `limit` pairs, evenly spaced, and a note about it.

        Raises:
            HomologError: the limit is below 1.
        """
        if limit is None or limit >= len(self.pairs):
            return self
        if limit < 1:
            raise HomologError(f"limit: expected at least 1 pair, got {limit}")
        index = np.linspace(0, len(self.pairs) - 1, limit).round().astype(int)
        note = f"{limit} of {len(self.pairs)} pairs, evenly sampled"
        return self.select(index, notes=(*self.notes, note))


def shared_keypoints(
    sources: Sequence[Annotation], targets: Sequence[Annotation]
) -> Float[np.ndarray, "N M"]:
    """How many keypoints are visible in both the source and the target, for all combinations."""
    # Whole numbers are exact as 32-bit floats, for which matrix products are fast.
    source_visible, target_visible = (
        np.array([each.visible for each in members], dtype=np.float32)
        for members in (sources, targets)
    )
    return source_visible @ target_visible.T


def as_box(values: Sequence[float]) -> Box:
    """Convert four numbers (x0, y0, x1, y1) to a box.

    Raises:
        ValueError: there are more or fewer, or they are not numbers.
    """
    x0, y0, x1, y1 = (float(value) for value in values)
    return x0, y0, x1, y1


def box_around(keypoints: Float[np.ndarray, "K 2"]) -> Box:
    """The bounding box of the visible keypoints, of which there is at least one."""
    return as_box([*np.nanmin(keypoints, axis=0), *np.nanmax(keypoints, axis=0)])


def out_of_bounds(annotations: Iterable[Annotation]) -> list[str]:
    """A line for each annotated keypoint that lies outside its image.

    Such keypoints are evaluated all the same: queries are moved to the nearest border, and
    predictions are compared with the annotation as it is.
    """
    lines = []
    for annotation in annotations:
        if annotation.size is None:
            continue
        with np.errstate(invalid="ignore"):
            beyond = (annotation.keypoints < 0) | (annotation.keypoints > annotation.size)
        for index in np.flatnonzero(beyond.any(axis=1)):
            x, y = annotation.keypoints[index]
            width, height = annotation.size
            lines.append(
                f"{annotation.name}: keypoint {index} at ({x:g}, {y:g}) lies outside the image "
                f"of {width} x {height} pixels"
            )
    return lines


def __getattr__(name: str) -> Any:
    return moved.attribute(__name__, name)
