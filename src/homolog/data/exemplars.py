"""Labelled images to transfer keypoints from: COCO, Ultralytics YOLO-pose or CSV files."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from homolog.data.formats import coco, table, yolo
from homolog.data.labels import EXTRA, manual_keypoints
from homolog.data.pairs import Annotation
from homolog.data.reading import ErrorCollector, ImageFinder
from homolog.errors import HomologError
from homolog.keypoints import KeypointSchema

_Labelled = tuple[list[Annotation], Sequence[Mapping[str, Any]]]
"""Annotations, and categories as in a COCO file."""


@dataclass(frozen=True)
class ExemplarSet:
    """Labelled images with one annotated object each.

    Attributes:
        annotations: with at least one visible keypoint each.
        categories: those of the annotations, as in a COCO file.
        notes: what was left out.
    """

    annotations: Sequence[Annotation]
    categories: Sequence[Mapping[str, Any]]
    notes: tuple[str, ...] = ()

    @property
    def schemas(self) -> dict[str, KeypointSchema]:
        """The keypoints of each category, by its name."""
        return {c["name"]: KeypointSchema.coco(c) for c in self.categories}


def read(path: Path, folder: Path | None = None) -> ExemplarSet:
    """Read images with labelled keypoints from a COCO, YOLO or CSV file.

    Of labels that `homolog annotate` wrote only the keypoints count that somebody reviewed. Images
    with several labelled objects are left out.

    Args:
        path: COCO keypoints (`.json`), an Ultralytics data set with `kpt_shape` (`.yaml`), or a
            table with a header and columns `image`, `keypoint`, `x`, `y`, and perhaps `category`
            (`.csv`).
        folder: where images are looked up that are not beside the file.

    Raises:
        HomologError: the format is another, an entry is malformed, an image is missing, or there
            are no labels.
    """
    suffix = path.suffix.lower()
    if suffix not in _READERS:
        raise HomologError(f"exemplars: expected a file in {', '.join(_READERS)}, got {path}")
    if not path.is_file():
        raise HomologError(f"exemplars: expected an existing file, got {path}")
    annotations, categories = _READERS[suffix](path, folder)
    annotations = [a for a in annotations if a.visible.any()]
    per_image = Counter(a.path for a in annotations)
    single = [a for a in annotations if per_image[a.path] == 1]
    if not single:
        raise HomologError(
            f"exemplars: expected images with keypoints of one object, got none in {path}"
        )
    several = len(per_image) - len(single)
    notes = (f"exemplars with several labelled objects, left out: {several}",) if several else ()
    used = {a.category for a in single}
    return ExemplarSet(single, [c for c in categories if c["name"] in used], notes)


def _read_coco(path: Path, folder: Path | None) -> _Labelled:
    """The annotations of a COCO file; predicted keypoints that nobody reviewed are invisible."""
    file = coco.read(path, ErrorCollector())
    finder = ImageFinder(path, fallback=folder)
    entries = {entry["id"]: entry for entry in file.data["annotations"]}
    annotations = []
    for instance in file.instances:
        annotation = instance.annotation(finder.find(instance.file_name))
        if EXTRA in entries[instance.id]:
            manual = sorted(manual_keypoints(entries[instance.id]))
            keypoints = np.full_like(annotation.keypoints, np.nan)
            keypoints[manual] = annotation.keypoints[manual]
            annotation = dataclasses.replace(annotation, keypoints=keypoints)
        annotations.append(annotation)
    listed = {c["id"]: c for c in file.data["categories"]}
    categories = [
        {**listed.get(number, {"keypoints": list(c.schema.names)}), "name": c.name, "id": number}
        for number, c in file.categories.items()
        if c.schema is not None
    ]
    return annotations, categories


_READERS: Mapping[str, Callable[[Path, Path | None], _Labelled]] = {
    ".json": _read_coco,
    ".yaml": yolo.read,
    ".yml": yolo.read,
    ".csv": table.read,
}
"""By the ending of a file the function that reads it."""
