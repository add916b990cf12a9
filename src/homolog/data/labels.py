"""Keypoint labels of many pictures: COCO, with what is needed to review them.

Each annotation that `homolog annotate` made has a member `homolog` beside what COCO knows:

- `scores`: the probability, 0 to 1, that each point is within a tenth of the box of the truth;
- `doubtful`: the keypoints whose score is too low to trust;
- `reviewed`: the keypoints that somebody has accepted or corrected;
- `predicted`: the keypoints as they were found, x, y, v each.

Other tools keep, change or drop that member. What they changed or made is taken to be by hand.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from homolog.data.formats import coco
from homolog.errors import HomologError
from homolog.utils.outputs import write_atomically

EXTRA = "homolog"
_MOVED = 0.01  # pixels: tools that write fewer digits have not corrected anything


class Labels:
    """Keypoints of many pictures.

    Args:
        data: a COCO file's content; it is changed in place.
    """

    def __init__(self, data: dict[str, Any]):
        self.data = data
        self.categories: list[dict[str, Any]] = data["categories"]
        self.images: list[dict[str, Any]] = data["images"]
        self.annotations: list[dict[str, Any]] = data["annotations"]
        self._by_id = {annotation["id"]: annotation for annotation in self.annotations}

    @classmethod
    def read(cls, path: Path) -> Labels:
        """The labels of a file.

        Raises:
            HomologError: it cannot be read, or is not a COCO file with keypoints.
        """
        data = coco.contents(path)
        try:
            counts = {c["id"]: len(c.get("keypoints", [])) for c in data["categories"]}
            pictures = {image["id"] for image in data["images"] if image["file_name"]}
            for annotation in data["annotations"]:
                _check(annotation, counts, pictures)
        except (KeyError, TypeError, ValueError) as error:
            what = f"lacks {error}" if isinstance(error, KeyError) else str(error)
            raise HomologError(f"{path}: {what}") from None
        return cls(data)

    def doubtful(self) -> list[tuple[int, int]]:
        """Annotation id and keypoint of each point still to be looked at, in the file's order."""
        return [
            (annotation["id"], keypoint)
            for annotation in self.annotations
            if EXTRA in annotation
            for keypoint in annotation[EXTRA]["doubtful"]
            if keypoint not in annotation[EXTRA]["reviewed"]
        ]

    def correct(
        self,
        annotation: int,
        keypoint: int,
        point: tuple[float, float] | None,
        visible: bool = True,
    ) -> None:
        """Accept a point, move it, or say that it is not to be seen; it then is reviewed.

        Args:
            annotation: id of the annotation.
            keypoint: which of its keypoints.
            point: (x, y) in pixels; None where it is.
            visible: whether it can be seen.

        Raises:
            HomologError: there is no such annotation or keypoint, nothing is known of where the
                point is, or it lies outside the picture.
        """
        found = self._by_id.get(annotation)
        if found is None:
            raise HomologError(f"annotation: there is none with id {annotation}")
        points = found["keypoints"]
        if not 0 <= keypoint < len(points) // 3:
            raise HomologError(f"keypoint: got {keypoint}, takes 0 to {len(points) // 3 - 1}")
        extra = found.setdefault(
            EXTRA,
            {"scores": [], "doubtful": [], "reviewed": [], "predicted": list(points)},
        )
        row = slice(3 * keypoint, 3 * keypoint + 3)
        if not visible:
            points[row] = [0, 0, 0]
        elif point is not None:
            self._check_inside(found, point)
            points[row] = [*point, 2]
        elif points[row.start + 2] == 0:
            if extra["predicted"][row.start + 2] == 0:
                raise HomologError("point: nobody has said where it is")
            points[row] = [*extra["predicted"][row][:2], 2]
        if keypoint not in extra["reviewed"]:
            extra["reviewed"] = sorted([*extra["reviewed"], keypoint])
        _tidy(found)

    def write(self, path: Path) -> None:
        """Write the file, an entry a line.

        Raises:
            HomologError: it cannot be written; what was there before is untouched.
        """
        parts = []
        for name, value in self.data.items():
            if isinstance(value, list) and value:
                rows = ",\n".join(json.dumps(entry, allow_nan=False) for entry in value)
                parts.append(f"{json.dumps(name)}: [\n{rows}\n]")
            else:
                parts.append(f"{json.dumps(name)}: {json.dumps(value, allow_nan=False)}")
        write_atomically(path, ("{" + ",\n".join(parts) + "}\n").encode())

    def _check_inside(self, annotation: dict[str, Any], point: tuple[float, float]) -> None:
        (image,) = (i for i in self.images if i["id"] == annotation["image_id"])
        size = image.get("width"), image.get("height")
        for value, limit in zip(point, size, strict=True):
            if not 0 <= value <= (float("inf") if limit is None else limit):
                x, y = point
                raise HomologError(
                    f"point: ({x:g}, {y:g}) lies outside the picture of {size[0]} x {size[1]} "
                    "pixels"
                )


def manual_keypoints(annotation: dict[str, Any]) -> set[int]:
    """The keypoints of an annotation that somebody reviewed, changed or made."""
    count = len(annotation["keypoints"]) // 3
    if EXTRA not in annotation:
        return set(range(count))
    extra, now = annotation[EXTRA], annotation["keypoints"]
    return {
        keypoint
        for keypoint in range(count)
        if keypoint in extra["reviewed"]
        or _differ(now[3 * keypoint :][:3], extra["predicted"][3 * keypoint :][:3])
    }


def _differ(now: list[float], before: list[float]) -> bool:
    if (now[2] > 0) != (before[2] > 0):
        return True
    return now[2] > 0 and max(abs(a - b) for a, b in zip(now[:2], before[:2], strict=True)) > _MOVED


def _tidy(annotation: dict[str, Any]) -> None:
    """What follows from the keypoints: how many there are, and a box that holds them."""
    points = annotation["keypoints"]
    seen = [points[i : i + 2] for i in range(0, len(points), 3) if points[i + 2] > 0]
    annotation["num_keypoints"] = len(seen)
    if not seen:
        return
    x, y, width, height = annotation["bbox"]
    x0, y0 = min(x, *(p[0] for p in seen)), min(y, *(p[1] for p in seen))
    x1, y1 = max(x + width, *(p[0] for p in seen)), max(y + height, *(p[1] for p in seen))
    annotation["bbox"] = [x0, y0, x1 - x0, y1 - y0]
    annotation["area"] = (x1 - x0) * (y1 - y0)


def _check(annotation: dict[str, Any], counts: dict[int, int], pictures: set[int]) -> None:
    """Whether an annotation can be reviewed."""
    name = f"annotation {annotation['id']}"
    if annotation["image_id"] not in pictures:
        raise ValueError(f"{name}: there is no image {annotation['image_id']}")
    count = counts.get(annotation["category_id"], 0)
    points = annotation.setdefault("keypoints", [0] * 3 * count)
    if len(points) != 3 * count or not all(isinstance(v, (int, float)) for v in points):
        raise ValueError(f"{name}: takes x, y, v of {count} keypoints")
    if len(annotation["bbox"]) != 4:
        raise ValueError(f"{name}: bbox takes x, y, width and height")
    if EXTRA in annotation:
        extra = annotation[EXTRA]
        if len(extra["predicted"]) != len(points):
            raise ValueError(f"{name}: predicted takes x, y, v of {count} keypoints")
        for member in ("doubtful", "reviewed"):
            if not set(extra[member]) <= set(range(count)):
                raise ValueError(f"{name}: {member} names keypoints that there are not")
