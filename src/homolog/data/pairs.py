"""What every data set yields: annotated pictures and pairs of them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from homolog.errors import HomologError
from homolog.image import reading
from homolog.keypoints import KeypointSchema

Threshold = Literal["box", "image"]
Box = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Annotation:
    """A picture and what is annotated on it.

    Attributes:
        name: says which annotation it is, unique within its data set.
        path: of the picture.
        category: what the picture shows; names the schema of its keypoints.
        keypoints: (x, y) in pixels as annotated, one a keypoint of the schema, NaN where it is
            not visible.
        box: of the thing, (x0, y0, x1, y1) in pixels.
        size: width and height of the picture, where the annotation gives it.
        azimuth: from where the thing is seen, in eighths of a turn, where it is annotated.
    """

    name: str
    path: Path
    category: str
    keypoints: Float[np.ndarray, "K 2"]
    box: Box
    size: tuple[int, int] | None = None
    azimuth: int | None = None

    @property
    def visible(self) -> Bool[np.ndarray, "K"]:
        """Which keypoints are visible."""
        return np.isfinite(self.keypoints[:, 0])

    def reference_length(self, threshold: Threshold) -> float:
        """The longer side of the box or of the picture, in pixels: what PCK's alpha multiplies.

        Raises:
            HomologError: the picture's size is neither annotated nor can it be read.
        """
        if threshold == "box":
            x0, y0, x1, y1 = self.box
            return max(x1 - x0, y1 - y0)
        return float(max(self.size or reading.size(self.path)))


@dataclass(frozen=True, eq=False)
class Pair:
    """Two annotated pictures; keypoints of the source are to be found in the target.

    Attributes:
        name: unique within its data set.
        source: where the keypoints are given.
        target: where they are looked for.
        keypoint_ids: the keypoints to be found, visible in both.
    """

    name: str
    source: Annotation
    target: Annotation
    keypoint_ids: Int[np.ndarray, "K"]

    @classmethod
    def of(cls, name: str, source: Annotation, target: Annotation) -> Pair:
        """The pair with all keypoints that both pictures show, in ascending order."""
        return cls(name, source, target, np.flatnonzero(source.visible & target.visible))

    @property
    def category(self) -> str:
        """The target's category."""
        return self.target.category

    @property
    def azimuth_difference(self) -> int | None:
        """Between the two views, in eighths of a turn, 0 to 4, where both are annotated."""
        if self.source.azimuth is None or self.target.azimuth is None:
            return None
        difference = abs(self.source.azimuth - self.target.azimuth)
        return min(difference, 8 - difference)


@dataclass(frozen=True, eq=False)
class DataSet:
    """A benchmark, or one split of it.

    Attributes:
        name: what tables call it, such as `SPair-71k test`.
        root: the folder or file it was read from.
        schemas: what the keypoints mean, by category.
        pairs: in a fixed order.
        threshold: what PCK's alpha multiplies by the data set's own protocol.
        alphas: the thresholds its tables use.
        notes: what a reader should know, such as pictures left out and why.
    """

    name: str
    root: Path
    schemas: Mapping[str, KeypointSchema]
    pairs: Sequence[Pair]
    threshold: Threshold
    alphas: tuple[float, ...]
    notes: tuple[str, ...] = ()

    @property
    def annotations(self) -> list[Annotation]:
        """All annotated pictures that occur in pairs, each once, in order of first use."""
        both = (side for pair in self.pairs for side in (pair.source, pair.target))
        return list(dict.fromkeys(both))

    def fingerprint(self) -> dict[str, Any]:
        """Tells these pairs from others, for JSON."""
        names = "\n".join(pair.name for pair in self.pairs)
        digest = hashlib.sha256(names.encode()).hexdigest()
        return {"data": self.name, "pairs": len(self.pairs), "pairs_sha256": digest}

    def subsample(self, limit: int | None) -> DataSet:
        """The data set with at most `limit` pairs, sampled evenly; a note says so.

        Raises:
            HomologError: the limit is below 1.
        """
        if limit is None or limit >= len(self.pairs):
            return self
        if limit < 1:
            raise HomologError(f"limit: got {limit}, takes at least 1 pair")
        index = np.linspace(0, len(self.pairs) - 1, limit).round().astype(int).tolist()
        note = f"{limit} of {len(self.pairs)} pairs, evenly sampled"
        pairs = [self.pairs[i] for i in index]
        return dataclasses.replace(self, pairs=pairs, notes=(*self.notes, note))


class ErrorCollector:
    """What is wrong with a data set: the first problem raised, or all of them collected.

    Args:
        collect: keep on reading, to list everything that is wrong.
    """

    def __init__(self, collect: bool = False):
        self.collect = collect
        self.found: list[str] = []

    def add(self, where: Path | str, what: str) -> None:
        """Something without which a pair or a picture cannot be used.

        Raises:
            HomologError: problems are not collected.
        """
        if not self.collect:
            raise HomologError(f"{where}: {what}")
        self.found.append(f"{where}: {what}")


def read_json(path: Path) -> Any:
    """A JSON file's content.

    Raises:
        HomologError: it cannot be read or is not JSON; the message names file and line.
    """
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise HomologError(f"{path}: cannot be read: {error.strerror}") from error
    except json.JSONDecodeError as error:
        raise HomologError(f"{path}, line {error.lineno}: is not JSON: {error.msg}") from error
    except UnicodeDecodeError:
        raise HomologError(f"{path}: is not JSON: not text") from None


def as_box(values: Sequence[float]) -> Box:
    """Four numbers (x0, y0, x1, y1).

    Raises:
        ValueError: there are more or fewer, or they are not numbers.
    """
    x0, y0, x1, y1 = (float(value) for value in values)
    return x0, y0, x1, y1


def box_around(keypoints: Float[np.ndarray, "K 2"]) -> Box:
    """The box around the visible keypoints, of which there is at least one."""
    return as_box([*np.nanmin(keypoints, axis=0), *np.nanmax(keypoints, axis=0)])


def describe_error(error: Exception) -> str:
    """What is wrong with an entry, in words."""
    return f"lacks {error}" if isinstance(error, KeyError) else str(error)


def listed(names: Iterable[str], limit: int = 5) -> str:
    """The names in one line: the first few, and how many more there are."""
    all_names = list(names)
    more = len(all_names) - limit
    return ", ".join(all_names[:limit]) + (f" and {more} more" if more > 0 else "")


def out_of_bounds(annotations: Iterable[Annotation]) -> list[str]:
    """A line for every annotated keypoint that lies outside its picture.

    They are evaluated all the same: looked up at the nearest border, and compared as they are.
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
                f"{annotation.name}: keypoint {index} at ({x:g}, {y:g}) lies outside the picture "
                f"of {width} x {height} pixels"
            )
    return lines
