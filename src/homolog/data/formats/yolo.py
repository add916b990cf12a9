"""Ultralytics YOLO-pose data sets (`.yaml` with `kpt_shape`, a text file of labels an image)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from homolog.data.formats.document import (
    Document,
    DocumentBuilder,
    LabelFile,
    LabelFormat,
    ReadOptions,
    WriteOptions,
)
from homolog.errors import HomologError
from homolog.image import reading
from homolog.keypoints import KeypointSchema
from homolog.utils.outputs import write_atomically


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


def read(path: Path, options: ReadOptions) -> LabelFile:
    """Read the training images of a YOLO-pose data set.

    Raises:
        HomologError: the file cannot be read, a member is missing, there are no images, or a line
            of labels is malformed.
    """
    layout = _read_layout(path)
    folders = layout.folders if options.images is None else [options.images]
    present = [each for each in folders if each.is_dir()]
    builder = DocumentBuilder(layout.categories)
    for image in reading.find_images(present or folders, options.argument):
        labels = label_file(image)
        if labels is not None:
            _read_labels(image, labels, layout, path.parent, builder)
    return builder.build()


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
    return next((path for path in (label_path(image), beside) if path.is_file()), None)


def _read_labels(
    image: Path, labels: Path, layout: _Layout, root: Path, builder: DocumentBuilder
) -> None:
    """Add the annotations of an image; coordinates in the file are fractions of its size."""
    width, height = reading.image_size(image)
    size = np.array([width, height])
    name = image.relative_to(root) if image.is_relative_to(root) else image
    number_of_image = builder.add_image(name.as_posix(), (width, height), image)
    count, dimensions = layout.count, layout.dimensions
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
        shown = points[:, 2] if dimensions == 3 else np.where(points.any(axis=1), 2.0, 0.0)
        centre, extent = row[:2] * size, row[2:4] * size
        keypoints = {
            keypoint: (float(x), float(y), int(v)) if v > 0 else (0.0, 0.0, 0)
            for keypoint, (x, y), v in zip(
                category["keypoints"], points[:, :2] * size, shown, strict=True
            )
        }
        builder.add_annotation(
            number_of_image, category["name"], keypoints, [*(centre - extent / 2), *extent]
        )


def label_path(image: Path) -> Path:
    """Where Ultralytics looks for an image's labels: in `labels` beside `images`, or beside it."""
    parts = list(image.parts)
    if "images" in parts[:-1]:
        parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
    return Path(*parts).with_suffix(".txt")


def write(path: Path, document: Document, options: WriteOptions) -> list[str]:
    """Write labels as a YOLO-pose data set: the YAML file, and a text file for each image.

    Instance ids are not written, for the format has no place for them: objects of an image are rows
    in the order of the document.

    Raises:
        HomologError: categories differ in their number of keypoints, or a file cannot be written.
    """
    import yaml

    categories = document["categories"]
    counts = sorted({len(category["keypoints"]) for category in categories})
    if len(counts) != 1:
        raise HomologError(
            f"{options.argument}: expected categories with one number of keypoints for YOLO, got "
            f"{counts}; try a name ending in .json"
        )
    classes = {category["id"]: number for number, category in enumerate(categories)}
    schemas = [KeypointSchema.coco(category) for category in categories]
    root = (options.images or path.parent).resolve()
    layout: dict[str, Any] = {
        "path": str(root), "train": ".", "val": ".", "kpt_shape": [counts[0], 3],
        "names": dict(enumerate(category["name"] for category in categories)),
        "kpt_names": dict(enumerate(list(map(str, c["keypoints"])) for c in categories)),
    }  # fmt: skip
    if len({schema.mirror for schema in schemas}) == 1 and schemas[0].sides_known:
        layout["flip_idx"] = list(schemas[0].mirror)
    for image in document["images"]:
        size = np.array([image["width"], image["height"]])
        lines = []
        for annotation in document["annotations"]:
            if annotation["image_id"] != image["id"]:
                continue
            x, y, width, height = annotation["bbox"]
            box = np.array([x + width / 2, y + height / 2, width, height]) / np.tile(size, 2)
            points = np.reshape(np.array(annotation["keypoints"], dtype=float), (-1, 3))
            points[:, :2] /= size
            numbers = [*box.clip(0, 1), *points.ravel()]
            label = classes[annotation["category_id"]]
            lines.append(" ".join([str(label), *(f"{number:.6g}" for number in numbers)]))
        target = label_path(root / image["file_name"])
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise HomologError(
                f"{options.argument}: cannot write {target}: {error.strerror}"
            ) from error
        write_atomically(target, "".join(f"{line}\n" for line in lines).encode())
    write_atomically(path, yaml.safe_dump(layout, sort_keys=False).encode())
    return []


FORMAT = LabelFormat("yolo", "Ultralytics YOLO-pose data set", (".yaml", ".yml"), read, write)
