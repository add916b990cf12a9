"""Ultralytics YOLO-pose data sets (`.yaml` with `kpt_shape`, a text file of labels an image)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from homolog.data.formats.entries import InstanceId
from homolog.data.pairs import Annotation, as_box
from homolog.errors import HomologError
from homolog.image import reading


@dataclass(frozen=True)
class _Layout:
    """What the YAML file says.

    Attributes:
        categories: as in a COCO file, with ids one above Ultralytics' class numbers.
        folders: of the training images.
        count: keypoints of each object.
        dimensions: numbers of each keypoint: 2 (x, y) or 3 (x, y, visibility).
    """

    categories: Sequence[Mapping[str, Any]]
    folders: Sequence[Path]
    count: int
    dimensions: int


def read(
    path: Path, folder: Path | None = None
) -> tuple[list[Annotation], list[InstanceId | None], Sequence[Mapping[str, Any]]]:
    """Read the training images of a YOLO-pose data set.

    Args:
        path: the YAML file.
        folder: of the images, in place of those that the file names.

    Returns:
        The annotations, several an image if it shows several objects; their instances, which
        the files do not give; and the categories as in a COCO file.

    Raises:
        HomologError: the file cannot be read, a member is missing, there are no images, or a line
            of labels is malformed.
    """
    layout = _read_layout(path)
    folders = layout.folders if folder is None else [folder]
    present = [each for each in folders if each.is_dir()]
    annotations = []
    for image in reading.find_images(present or folders, "exemplars"):
        labels = label_file(image)
        if labels is not None:
            annotations += _read_labels(image, labels, layout)
    return annotations, [None] * len(annotations), layout.categories


def _read_layout(path: Path) -> _Layout:
    """Read the YAML file of a data set."""
    import yaml

    try:
        data = yaml.safe_load(path.read_text("utf-8"))
        count, dimensions = (int(number) for number in data["kpt_shape"])
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
        reason = " ".join(str(error).split())  # YAML's go over several lines
        raise HomologError(f"exemplars: expected a YAML file {path}, got: {reason}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise HomologError(
            f"exemplars: {path}: expected kpt_shape, names and train as Ultralytics describes "
            f"them, got: {error}"
        ) from None
    return _Layout(categories, [root / part for part in parts], count, dimensions)


def label_file(image: Path) -> Path | None:
    """The image's labels: in `labels` where its path has `images`, or beside it."""
    beside = image.with_suffix(".txt")
    parts = list(image.parts)
    if "images" in parts:
        parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
    return next((p for p in (Path(*parts).with_suffix(".txt"), beside) if p.is_file()), None)


def _read_labels(image: Path, labels: Path, layout: _Layout) -> list[Annotation]:
    """The annotations of an image; coordinates in the file are fractions of its size."""
    size = np.array(reading.image_size(image))
    count, dimensions = layout.count, layout.dimensions
    annotations = []
    for number, line in enumerate(labels.read_text("utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            label, *values = line.split()
            category = next(c for c in layout.categories if c["id"] == int(label) + 1)
            row = np.array(values, dtype=float)
            points = row[4:].reshape(count, dimensions)
        except (ValueError, StopIteration):
            raise HomologError(
                f"exemplars: {labels}, line {number}: expected class, box and {count} keypoints "
                f"of {dimensions} numbers, got {line!r}"
            ) from None
        visible = points[:, 2] > 0 if dimensions == 3 else points.any(axis=1)
        centre, extent = row[:2] * size, row[2:4] * size
        annotations.append(
            Annotation(
                image.name,
                image,
                category["name"],
                np.where(np.asarray(visible)[:, None], points[:, :2] * size, np.nan),
                as_box([*(centre - extent / 2), *(centre + extent / 2)]),
                (int(size[0]), int(size[1])),
            )
        )
    return annotations
