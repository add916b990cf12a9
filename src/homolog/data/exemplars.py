"""Labelled pictures to learn from or to carry labels from: COCO, Ultralytics YOLO-pose, CSV."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from homolog.data.formats import coco
from homolog.data.labels import EXTRA, manual_keypoints
from homolog.data.pairs import Annotation, ErrorCollector, as_box, box_around
from homolog.errors import HomologError
from homolog.image import reading
from homolog.keypoints import KeypointSchema


@dataclass(frozen=True)
class ExemplarSet:
    """Labelled pictures, one thing each.

    Attributes:
        annotations: those with at least one visible keypoint.
        categories: as in a COCO file, those of the annotations.
        notes: what was left out.
    """

    annotations: Sequence[Annotation]
    categories: Sequence[Mapping[str, Any]]
    notes: tuple[str, ...] = ()

    @property
    def schemas(self) -> dict[str, KeypointSchema]:
        """What the keypoints mean, by category."""
        return {c["name"]: KeypointSchema.coco(c) for c in self.categories}


def read(path: Path, folder: Path | None = None) -> ExemplarSet:
    """The labelled pictures of a file.

    Of labels that `homolog annotate` wrote only the points count that somebody reviewed.

    Args:
        path: COCO keypoints (`.json`), an Ultralytics data set with `kpt_shape` (`.yaml`), or a
            table with a header and columns `image`, `keypoint`, `x`, `y`, and perhaps `category`
            (`.csv`).
        folder: where pictures are looked for that are not beside the file.

    Raises:
        HomologError: it is none of these, something in it is wrong, a picture is missing, or it
            labels nothing.
    """
    readers = {".json": _coco, ".yaml": _yolo, ".yml": _yolo, ".csv": _table}
    if path.suffix.lower() not in readers:
        raise HomologError(f"exemplars: {path} must end in {', '.join(readers)}")
    if not path.is_file():
        raise HomologError(f"exemplars: there is no file {path}")
    found = readers[path.suffix.lower()](path, folder)
    annotations = [a for a in found.annotations if a.visible.any()]
    per_picture = Counter(a.path for a in annotations)
    one = [a for a in annotations if per_picture[a.path] == 1]
    if not one:
        raise HomologError(f"exemplars: {path} has no picture with keypoints of one thing")
    notes = found.notes
    if several := len(per_picture) - len(one):
        notes = (*notes, f"exemplars with several labelled things, left out: {several}")
    used = {a.category for a in one}
    return ExemplarSet(one, [c for c in found.categories if c["name"] in used], notes)


def _coco(path: Path, folder: Path | None) -> ExemplarSet:
    file = coco.read(path, ErrorCollector())
    finder = _finder(path, folder)
    raw = {entry["id"]: entry for entry in file.data["annotations"]}
    annotations = []
    for thing in file.things:
        annotation = thing.annotation(finder.path(thing.file_name))
        if EXTRA in raw[thing.id]:
            sure = manual_keypoints(raw[thing.id])
            annotation.keypoints[[k for k in range(len(annotation.keypoints)) if k not in sure]] = (
                np.nan
            )
        annotations.append(annotation)
    known = {c["id"]: c for c in file.data["categories"]}
    categories = [
        {**known.get(number, {"keypoints": list(c.schema.names)}), "name": c.name, "id": number}
        for number, c in file.categories.items()
        if c.schema is not None
    ]
    return ExemplarSet(annotations, categories)


def _finder(path: Path, folder: Path | None) -> coco.Finder:
    finder = coco.Finder(path, None)
    if folder is not None:
        finder.folders = (*finder.folders, folder)
    return finder


def _yolo(path: Path, folder: Path | None) -> ExemplarSet:
    import yaml

    try:
        data = yaml.safe_load(path.read_text("utf-8"))
        count, numbers = (int(n) for n in data["kpt_shape"])
        names = data["names"]
        names = dict(enumerate(names)) if isinstance(names, list) else names
        root = (path.parent / str(data.get("path", "."))).resolve()
        parts = data["train"]
        parts = parts if isinstance(parts, list) else [parts]
        keypoints = data.get("kpt_names") or {}
        categories = [
            {
                "id": int(number) + 1,
                "name": str(name),
                "keypoints": list(keypoints.get(number, map(str, range(count)))),
                **({"flip_indices": list(data["flip_idx"])} if data.get("flip_idx") else {}),
            }
            for number, name in names.items()
        ]
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise HomologError(f"exemplars: {path} cannot be read: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = "takes kpt_shape, names and train, as Ultralytics describes them"
        raise HomologError(f"exemplars: {path}: {error}: {what}") from None
    roots = [root / part for part in parts] if folder is None else [folder]
    annotations = []
    for picture in reading.find([r for r in roots if r.is_dir()] or roots, "exemplars"):
        labels = _label_file(picture)
        if labels is not None:
            annotations += _yolo_lines(picture, labels, categories, count, numbers)
    return ExemplarSet(annotations, categories)


def _label_file(picture: Path) -> Path | None:
    """Beside the picture, or in `labels` where the picture's path has `images`."""
    beside = picture.with_suffix(".txt")
    parts = list(picture.parts)
    if "images" in parts:
        parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
    return next((p for p in (Path(*parts).with_suffix(".txt"), beside) if p.is_file()), None)


def _yolo_lines(
    picture: Path,
    labels: Path,
    categories: Sequence[Mapping[str, Any]],
    count: int,
    numbers: int,
) -> list[Annotation]:
    size = np.array(reading.size(picture))
    found = []
    for number, line in enumerate(labels.read_text("utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            kind, *values = line.split()
            category = next(c for c in categories if c["id"] == int(kind) + 1)
            row = np.array(values, dtype=float)
            points = row[4:].reshape(count, numbers)
        except (ValueError, StopIteration):
            takes = f"class, box and {count} keypoints of {numbers} numbers"
            raise HomologError(f"exemplars: {labels}, line {number}: takes {takes}") from None
        seen = points[:, 2] > 0 if numbers == 3 else points.any(axis=1)
        centre, span = row[:2] * size, row[2:4] * size
        found.append(
            Annotation(
                picture.name,
                picture,
                category["name"],
                np.where(np.asarray(seen)[:, None], points[:, :2] * size, np.nan),
                as_box([*(centre - span / 2), *(centre + span / 2)]),
                (int(size[0]), int(size[1])),
            )
        )
    return found


def _table(path: Path, folder: Path | None) -> ExemplarSet:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise HomologError(f"exemplars: {path} cannot be read: {error}") from None
    finder = _finder(path, folder)
    points: dict[tuple[str, str], dict[str, tuple[float, float]]] = {}
    names: dict[str, list[str]] = {}
    for number, row in enumerate(rows, start=2):
        try:
            category = row.get("category") or "thing"
            of_picture = points.setdefault((row["image"], category), {})
            if row["keypoint"] in of_picture:
                raise ValueError(f"keypoint {row['keypoint']!r} of {row['image']} is there twice")
            of_picture[row["keypoint"]] = float(row["x"]), float(row["y"])
            if row["keypoint"] not in names.setdefault(category, []):
                names[category].append(row["keypoint"])
        except (KeyError, TypeError, ValueError) as error:
            what = f"lacks column {error}" if isinstance(error, KeyError) else error
            raise HomologError(f"exemplars: {path}, line {number}: {what}") from None
    annotations = []
    for (image, category), known in points.items():
        keypoints = np.array([known.get(n, (np.nan, np.nan)) for n in names[category]])
        place, box = finder.path(image), box_around(keypoints)
        annotations.append(Annotation(image, place, category, keypoints, box, reading.size(place)))
    categories = [
        {"id": number, "name": category, "keypoints": keypoints}
        for number, (category, keypoints) in enumerate(names.items(), start=1)
    ]
    return ExemplarSet(annotations, categories)
