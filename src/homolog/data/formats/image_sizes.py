"""Labels fitted to their images, where a file states other sizes than the images have.

Images are resized after they were labelled, and some tools state the size of a photo as its file
stores it, not as it is once upright. Points would then be silently wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from homolog.data.formats import segmentation
from homolog.data.formats.document import EXTRA, Document
from homolog.data.reading import ErrorCollector
from homolog.errors import HomologError
from homolog.image import reading

Size = tuple[int, int]
Points = Float[np.ndarray, "N 2"]

_SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that exchange width and height
_SLACK = 1.0  # pixels that a point at the border may lie outside


@dataclass(frozen=True)
class Fit:
    """How coordinates of an image as a file states it become those of the upright image.

    Attributes:
        stated: width and height that the coordinates refer to.
        stored: width and height of the image before it is turned.
        orientation: by which it is turned, as EXIF numbers them; 1 if it is not.
    """

    stated: Size
    stored: Size
    orientation: int = 1

    @property
    def size(self) -> Size:
        """Width and height of the upright image."""
        width, height = self.stored
        return (height, width) if self.orientation in _SIDEWAYS else (width, height)

    @property
    def scale(self) -> tuple[float, float]:
        """By which x and y are multiplied, before the image is turned."""
        return self.stored[0] / self.stated[0], self.stored[1] / self.stated[1]

    def points(self, points: Points) -> Points:
        """Points in pixels of the upright image."""
        width, height = self.stored
        x, y = (points * self.scale).T
        match self.orientation:
            case 2:
                x = width - x
            case 3:
                x, y = width - x, height - y
            case 4:
                y = height - y
            case 5:
                x, y = y, x
            case 6:
                x, y = height - y, x
            case 7:
                x, y = height - y, width - x
            case 8:
                x, y = y, width - x
        return np.stack([x, y], axis=1)

    def box(self, box: Sequence[float]) -> list[float]:
        """A box (x, y, width, height) in pixels of the upright image."""
        x, y, width, height = box
        corners = self.points(np.array([[x, y], [x + width, y + height]], dtype=float))
        start, end = corners.min(axis=0), corners.max(axis=0)
        return [float(value) for value in (*start, *(end - start))]

    def area(self, area: float) -> float:
        """An area in pixels of the upright image."""
        return area * self.scale[0] * self.scale[1]

    def keypoints(self, values: Sequence[float]) -> list[float]:
        """Keypoints x, y, v, of which those that are labelled or have a place are moved."""
        rows = np.array(values, dtype=float).reshape(-1, 3)
        moved = self.points(rows[:, :2])
        placed = (rows[:, 2] > 0) | rows[:, :2].any(axis=1)
        return [
            value
            for row, (x, y), place in zip(
                np.reshape(np.array(values, dtype=object), (-1, 3)).tolist(),
                moved.tolist(),
                placed,
                strict=True,
            )
            for value in ([x, y, row[2]] if place else row)
        ]

    def segmentation(self, value: Any) -> Any:
        """Polygons or run lengths of a mask in pixels of the upright image.

        Raises:
            ValueError: they are neither, or the mask has another size than the file states.
        """
        if isinstance(value, list) and all(isinstance(polygon, list) for polygon in value):
            polygons = [segmentation.as_polygon(polygon) for polygon in value]
            return [self.points(polygon).ravel().tolist() for polygon in polygons]
        if isinstance(value, str):  # run lengths without a size, as in StanfordExtra
            whole = {"size": list(self.stated[::-1]), "counts": value}
            return self.segmentation(whole)["counts"]
        mask_size = segmentation.rle_size(value)
        if mask_size == self.size != self.stated:
            return value
        if mask_size != self.stated:
            got = "others" if mask_size is None else f"{mask_size[0]} x {mask_size[1]}"
            raise ValueError(
                f"segmentation: expected run lengths of {self.stated[0]} x {self.stated[1]} "
                f"pixels, got {got}"
            )
        width, height = self.stored
        mask = segmentation.decode_rle(value)
        rows = ((np.arange(height) + 0.5) * mask.shape[0] / height).astype(int)
        columns = ((np.arange(width) + 0.5) * mask.shape[1] / width).astype(int)
        mask = mask[rows][:, columns]
        if self.orientation in (3, 4, 6, 7):
            mask = mask[::-1]
        if self.orientation in (2, 3, 7, 8):
            mask = mask[:, ::-1]
        if self.orientation in _SIDEWAYS:
            mask = mask.T
        return segmentation.encode_rle(mask, compressed=isinstance(value["counts"], str))


def fit_to_images(
    document: Document, paths: Mapping[Any, Path], path: Path, problems: ErrorCollector
) -> list[str]:
    """Fit labels to their images where these have other sizes than the document states.

    Where the ratio of width and height is the same, all coordinates are scaled. Where the size is
    that of a photo as its file stores it, its points tell whether they are those of the upright
    photo, and they are turned if not. Any other size is an error. Sizes that are not stated are
    added.

    Args:
        document: is changed.
        paths: of the images, by their ids; others are left alone, and so are unreadable ones.
        path: the file of the document, which messages name.
        problems: collects errors, or raises the first.

    Returns:
        A line for each kind of change.
    """
    entries: dict[Any, list[dict[str, Any]]] = {}
    for entry in _annotations(document):
        entries.setdefault(entry.get("image_id"), []).append(entry)
    scaled: list[str] = []
    exchanged: list[tuple[dict[str, Any], Fit, Fit]] = []
    for image in document["images"]:
        of_image = entries.get(image["id"])
        if of_image is None or image["id"] not in paths:
            continue
        try:
            stored, orientation = reading.stored_size(paths[image["id"]])
        except HomologError:
            continue  # whoever needs its pixels says so
        size = stored[::-1] if orientation in _SIDEWAYS else stored
        stated = stated_size(image)
        if stated is None or stated == size:
            image["width"], image["height"] = size
        elif _same_ratio(stated, size):
            change = f"{stated[0]} x {stated[1]} became {size[0]} x {size[1]}"
            if _apply(Fit(stated, size), image, of_image, path, problems):
                scaled.append(f"{image['file_name']}: {change}")
        elif size != stored and _same_ratio(stated, stored):
            upright = Fit(stated[::-1], size)
            exchanged.append((image, upright, Fit(stated, stored, orientation)))
        else:
            problems.add(path, f"{_expected(image, size)}, got {stated[0]} x {stated[1]}")
    notes = [_note(path, "scaled to their images, which have other sizes", scaled)]
    notes += _turn(exchanged, entries, path, problems)
    return [note for note in notes if note]


def stated_size(image: Mapping[str, Any]) -> Size | None:
    """Width and height that an entry of a document's images states, if it does.

    Raises:
        ValueError: they are no numbers, or below 0.
    """
    values: list[Any] = [image.get("width"), image.get("height")]
    if any(value is None or value == 0 for value in values):
        return None
    try:
        width, height = (round(float(value)) for value in values)
    except (TypeError, ValueError, OverflowError):
        width = height = 0
    if min(width, height) < 1:
        raise ValueError(f"expected width and height above 0, got {values[0]!r} and {values[1]!r}")
    return width, height


def _turn(
    exchanged: Sequence[tuple[dict[str, Any], Fit, Fit]],
    entries: Mapping[Any, list[dict[str, Any]]],
    path: Path,
    problems: ErrorCollector,
) -> list[str]:
    """Fit labels of photos whose size is stated as their files store it.

    The points of an image may fit it both upright and not; those of the others decide then.
    """
    decided = [_decide(entries[image["id"]], *fits) for image, *fits in exchanged]
    known = set(decided) - {None}
    of_others = known.pop() if len(known) == 1 else None
    kept: list[str] = []
    turned: list[str] = []
    for (image, upright, stored), decision in zip(exchanged, decided, strict=True):
        fit = decision or of_others
        if fit is None:
            problems.add(
                path,
                f"{_expected(image, upright.size)}, got {stored.stated[0]} x {stored.stated[1]} "
                "as the file is before its EXIF orientation is applied, and points that fit both; "
                "try the width and height of the upright image, and points of it",
            )
            continue
        chosen, names = (upright, kept) if fit == "upright" else (stored, turned)
        if _apply(chosen, image, entries[image["id"]], path, problems):
            names.append(str(image["file_name"]))
    what = "of photos whose width and height are stated as before their EXIF orientation is applied"
    return [
        _note(path, f"{what}, but whose points fit the upright photo, kept as they are", kept),
        _note(path, f"{what}, and whose points fit them, turned with the photo", turned),
    ]


def _decide(entries: Sequence[Mapping[str, Any]], upright: Fit, stored: Fit) -> str | None:
    """Whether labels are those of the upright photo or of the stored one; None if both may be."""
    points = np.concatenate([np.empty((0, 2)), *(_placed(entry) for entry in entries)])
    outside = []
    for fit in (upright, stored):
        limit = np.array(fit.stated) + _SLACK
        outside.append(int(((points < -_SLACK) | (points > limit)).any(axis=1).sum()))
    if outside[0] == outside[1]:
        return None
    return "upright" if outside[0] < outside[1] else "stored"


def _placed(entry: Mapping[str, Any]) -> Points:
    """The labelled keypoints of an annotation, and the corners of its box."""
    rows = np.array(entry.get("keypoints") or [], dtype=float).reshape(-1, 3)
    points = rows[rows[:, 2] > 0, :2]
    if entry.get("bbox") and entry["bbox"][2] > 0:
        x, y, width, height = entry["bbox"]
        points = np.concatenate([points, [[x, y], [x + width, y + height]]])
    return points


def _apply(
    fit: Fit,
    image: dict[str, Any],
    entries: Sequence[dict[str, Any]],
    path: Path,
    problems: ErrorCollector,
) -> bool:
    """Fit all coordinates of an image, or none of them and say so if a mask cannot be fitted."""
    outlines = []
    for entry in entries:
        try:
            given = entry.get("segmentation")
            outlines.append(fit.segmentation(given) if given else given)
        except ValueError as error:
            problems.add(path, f"annotation {entry.get('id')}: {error}")
            return False
    for entry, outline in zip(entries, outlines, strict=True):
        if outline:
            entry["segmentation"] = outline
        if entry.get("keypoints"):
            entry["keypoints"] = fit.keypoints(entry["keypoints"])
        if entry.get("bbox"):
            entry["bbox"] = fit.box(entry["bbox"])
        if entry.get("area") is not None:
            entry["area"] = fit.area(entry["area"])
        if extra := entry.get(EXTRA):
            extra = entry[EXTRA] = dict(extra)
            if extra.get("predicted"):
                extra["predicted"] = fit.keypoints(extra["predicted"])
            if extra.get("predicted_bbox"):
                extra["predicted_bbox"] = fit.box(extra["predicted_bbox"])
    image["width"], image["height"] = fit.size
    return True


def _annotations(document: Document) -> Iterator[dict[str, Any]]:
    """All annotations of a document, those that somebody deleted among them."""
    yield from document["annotations"]
    extra = document.get(EXTRA)
    deleted = extra.get("deleted") if isinstance(extra, dict) else None
    if isinstance(deleted, list):
        yield from (entry for entry in deleted if isinstance(entry, dict))


def _same_ratio(stated: Size, size: Size) -> bool:
    """Whether an image was resized from one size to the other: pixels are whole in both."""
    small, large = sorted((stated, size))
    ratios = [(s - 1) / b for s, b in zip(small, large, strict=True)]
    limits = [(s + 1) / b for s, b in zip(small, large, strict=True)]
    return max(ratios) < min(limits)


def _expected(image: Mapping[str, Any], size: Size) -> str:
    return (
        f"image {image['id']}, {image['file_name']}: expected width and height of the image, "
        f"{size[0]} x {size[1]}, or the same ratio"
    )


def _note(path: Path, what: str, names: Sequence[str]) -> str:
    """A line about some images; empty if there are none."""
    if not names:
        return ""
    first = names[0] if len(names) == 1 else f"{names[0]} first"
    count = "1 image" if len(names) == 1 else f"{len(names)} images"
    return f"{path}: labels {what}: {count} ({first})"
