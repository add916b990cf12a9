"""Keypoint labels of many images as a COCO file, with what is needed to review them.

Each annotation that `homolog annotate` made has a member `homolog` beside those of COCO:

- `scores`: for each keypoint the probability, 0 to 1, that it lies within a tenth of the box's
  longer side of its true position;
- `doubtful`: the keypoints whose score is too low to trust;
- `reviewed`: the keypoints that somebody has accepted or corrected;
- `predicted`: the keypoints as they were predicted, x, y, v each;
- `box_reviewed`: true where somebody drew or changed the box;
- `predicted_bbox`: of a changed box, as it was predicted;
- `box_of_keypoints`: true where the box follows the keypoints that somebody places.

One that somebody drew or made, and then edited on the page, has no `scores`.

Annotations that somebody deleted are in the list `deleted` of the document's own member `homolog`.

Other tools keep, change or drop that member. Whatever they changed or added counts as manual.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from homolog.data.formats import coco
from homolog.data.formats.document import EXTRA as EXTRA
from homolog.data.formats.document import box_of_keypoints, box_with_points
from homolog.data.formats.image_sizes import stated_size
from homolog.data.reading import ErrorCollector, ImageFinder
from homolog.data.values import Id
from homolog.errors import HomologError

_MOVED = 0.01
"""Pixels by which a point must differ to count as edited: some tools write fewer digits."""


class Labels:
    """The keypoint annotations of many images, to be reviewed and corrected.

    Attributes:
        notes: what was decided when they were read, a line each.

    Args:
        data: a COCO document; it is changed in place.
        notes: what was decided when it was read.
    """

    def __init__(self, data: dict[str, Any], notes: Sequence[str] = ()):
        self.data = data
        self.notes = tuple(notes)
        self.categories: list[dict[str, Any]] = data["categories"]
        self.images: list[dict[str, Any]] = data["images"]
        self.annotations: list[dict[str, Any]] = data["annotations"]
        self._by_id = {annotation["id"]: annotation for annotation in self.annotations}

    @classmethod
    def read(cls, path: Path, images: Path | None = None) -> Labels:
        """Read a file of labels.

        Args:
            path: the file.
            images: the folder that its images are in. Where they have other sizes than the file
                states, the labels are fitted to them (`homolog.data.formats.image_sizes`); the file
                stays as it is until they are written.

        Raises:
            HomologError: it cannot be read, or is not a COCO file with keypoints.
        """
        if path.suffix.lower() != ".json":
            raise HomologError(
                f"labels: expected a COCO file (.json), which alone can be reviewed, got {path}; "
                "try homolog labels convert"
            )
        finder = None if images is None else ImageFinder(path, images)
        file = coco.read(path, ErrorCollector(), finder)
        return cls(file.data, file.notes)

    @property
    def deleted(self) -> list[dict[str, Any]]:
        """The annotations that somebody deleted, which can be restored.

        Raises:
            HomologError: they cannot be read.
        """
        kept = self.data.get(EXTRA, {})
        found: Any = kept.get("deleted", []) if isinstance(kept, dict) else kept
        if not isinstance(found, list) or not all(map(_is_entry, found)):
            raise HomologError(
                f"labels: expected deleted annotations in the file's member {EXTRA}, got {kept!r}"
            )
        return found

    def doubtful(self) -> list[tuple[Id, int]]:
        """Annotation id and keypoint of each doubtful point not yet reviewed, in file order."""
        return [
            (annotation["id"], keypoint)
            for annotation in self.annotations
            if EXTRA in annotation
            for keypoint in annotation[EXTRA]["doubtful"]
            if keypoint not in annotation[EXTRA]["reviewed"]
        ]

    def correct(
        self,
        annotation: Id,
        keypoint: int,
        point: tuple[float, float] | None,
        visible: bool = True,
        occluded: bool | None = None,
    ) -> None:
        """Accept a keypoint, move it, or say that it is not there; it then counts as reviewed.

        Args:
            annotation: id of the annotation.
            keypoint: index of the keypoint.
            point: its position (x, y) in pixels; None to accept the present one.
            visible: whether the keypoint is labelled at all, be it visible or occluded.
            occluded: whether it is occluded (v = 1); None to leave that as it is.

        Raises:
            HomologError: there is no such annotation or keypoint, a keypoint without a position is
                accepted, or the point lies outside the image.
        """
        entry = self._by_id.get(annotation)
        if entry is None:
            raise HomologError(f"annotation: expected the id of an annotation, got {annotation}")
        points = entry["keypoints"]
        count = len(points) // 3
        if not 0 <= keypoint < count:
            raise HomologError(f"keypoint: expected 0 to {count - 1}, got {keypoint}")
        extra = entry.setdefault(
            EXTRA,
            {"scores": [], "doubtful": [], "reviewed": [], "predicted": list(points)},
        )
        row = slice(3 * keypoint, 3 * keypoint + 3)
        if occluded is None:
            occluded = (points[row.start + 2] or extra["predicted"][row.start + 2]) == 1
        v = 1 if occluded else 2
        if not visible:
            points[row] = [0, 0, 0]
        elif point is not None:
            self._check_inside(entry, point)
            points[row] = [*point, v]
        elif points[row.start + 2] > 0:
            points[row.start + 2] = v
        else:
            if extra["predicted"][row.start + 2] == 0:
                raise HomologError("point: expected x and y, for nothing was predicted, got none")
            points[row] = [*extra["predicted"][row][:2], v]
        if keypoint not in extra["reviewed"]:
            extra["reviewed"] = sorted([*extra["reviewed"], keypoint])
        (image,) = (i for i in self.images if i["id"] == entry["image_id"])
        _update_box(entry, stated_size(image))

    def write(self, path: Path) -> None:
        """Write the labels as a COCO file.

        Raises:
            HomologError: it cannot be written; the previous file is untouched.
        """
        coco.write(path, self.data)

    def _check_inside(self, annotation: dict[str, Any], point: tuple[float, float]) -> None:
        """Check that a point lies within the image of an annotation."""
        (image,) = (i for i in self.images if i["id"] == annotation["image_id"])
        size = stated_size(image) or (float("inf"), float("inf"))
        for value, limit in zip(point, size, strict=True):
            if not 0 <= value <= limit:
                (x, y), (width, height) = point, size
                raise HomologError(
                    f"point: expected x and y within the image of {width:g} x {height:g} pixels, "
                    f"got ({x:g}, {y:g})"
                )


def manual_keypoints(annotation: dict[str, Any]) -> set[int]:
    """The keypoints of an annotation that a person reviewed, edited or made."""
    count = len(annotation["keypoints"]) // 3
    if EXTRA not in annotation:
        return set(range(count))
    extra, now = annotation[EXTRA], annotation["keypoints"]
    predicted = bool(extra.get("scores"))
    return {
        keypoint
        for keypoint in range(count)
        if keypoint in extra["reviewed"]
        or _differ(now[3 * keypoint :][:3], extra["predicted"][3 * keypoint :][:3])
        or (now[3 * keypoint + 2] > 0 and not predicted)
    }


def is_manual(annotation: dict[str, Any]) -> bool:
    """Whether a person made an annotation, changed its box, or reviewed one of its keypoints."""
    extra = annotation.get(EXTRA, {})
    if not extra.get("scores") or extra.get("box_reviewed"):
        return True
    return bool(manual_keypoints(annotation))


def _differ(now: list[float], before: list[float]) -> bool:
    """Whether a keypoint x, y, v was moved, hidden or shown, or is occluded now or no more."""
    if now[2] != before[2]:
        return True
    return now[2] > 0 and max(abs(a - b) for a, b in zip(now[:2], before[:2], strict=True)) > _MOVED


def reorder_keypoints(annotation: dict[str, Any], order: Sequence[int | None]) -> None:
    """Put the keypoints of an annotation, and what is known of each, into another order.

    Args:
        annotation: the entry; it is changed in place.
        order: for each new keypoint the index of the old one; None for none.
    """
    annotation["keypoints"] = _reordered(annotation["keypoints"], order)
    annotation["num_keypoints"] = sum(v > 0 for v in annotation["keypoints"][2::3])
    extra = annotation.get(EXTRA)
    if not isinstance(extra, dict):
        return
    place = {old: new for new, old in enumerate(order) if old is not None}
    if extra.get("predicted"):
        extra["predicted"] = _reordered(extra["predicted"], order)
    if extra.get("scores"):
        extra["scores"] = [0.0 if old is None else extra["scores"][old] for old in order]
    for name in ("doubtful", "reviewed"):
        if name in extra:
            extra[name] = sorted(place[old] for old in extra[name] if old in place)


def _reordered(keypoints: Sequence[float], order: Sequence[int | None]) -> list[float]:
    rows = [[0, 0, 0] if old is None else keypoints[3 * old : 3 * old + 3] for old in order]
    return [value for row in rows for value in row]


def _update_box(annotation: dict[str, Any], size: tuple[int, int] | None) -> None:
    """Update what follows from the keypoints: their number, and a box that contains them."""
    points = annotation["keypoints"]
    visible = [points[i : i + 2] for i in range(0, len(points), 3) if points[i + 2] > 0]
    annotation["num_keypoints"] = len(visible)
    if not visible:
        return
    width, height = annotation["bbox"][2:]
    if width > 0 and height > 0:
        annotation["bbox"] = box_with_points(annotation["bbox"], visible)
    else:
        annotation["bbox"] = box_of_keypoints(np.reshape(points, (-1, 3)), size)
    annotation["area"] = annotation["bbox"][2] * annotation["bbox"][3]


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, dict) and {"id", "image_id", "category_id", "bbox"} <= set(entry)
