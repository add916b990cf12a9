"""Ultralytics YOLO-pose data sets (`.yaml` with `kpt_shape`, a text file of labels an image)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from jaxtyping import Float

from homolog.data.formats.document import (
    Document,
    DocumentBuilder,
    LabelFile,
    LabelFormat,
    ReadOptions,
    WriteOptions,
    box_of_keypoints,
)
from homolog.data.formats.writing import image_size, unheld
from homolog.data.formats.yolo_layout import (
    DataSet,
    class_number,
    find_labels,
    label_path,
    read_yaml,
)
from homolog.data.reading import abbreviate
from homolog.errors import HomologError
from homolog.image import reading
from homolog.keypoints import KeypointSchema
from homolog.utils.delimited import is_number
from homolog.utils.outputs import check_output, write_atomically

_TOLERANCE = 0.01
"""By which fractions may lie outside 0 to 1; Ultralytics allows the same."""


def read(path: Path, options: ReadOptions) -> LabelFile:
    """Read the training images of a YOLO-pose data set; without a training split, the first one.

    Raises:
        HomologError: the file cannot be read, a member is missing, no image has labels, or a line
            of labels is malformed.
    """
    data = read_yaml(path, options.argument)
    where = f"{options.argument}: {path}"
    if data.keypoints is None:
        raise HomologError(f"{where}: expected kpt_shape, as Ultralytics describes it, got none")
    if not data.splits:
        raise HomologError(f"{where}: expected train, a folder or a list of images, got none")
    split = next(iter(data.splits))
    labelled = find_labels(data.splits[split], options.images, False, options.argument)
    builder = DocumentBuilder(_categories(data, data.keypoints[0]))
    if data.flip is not None and _is_default(data.flip):
        builder.note(
            f"{path}: flip_idx pairs no keypoints, as tools write it where nobody told the sides, "
            "and is not used; try --sides none where every point is its own counterpart"
        )
    reader = _RowReader(data, data.keypoints, builder, options.argument)
    roots = [data.root, path.parent, *([] if options.images is None else [options.images])]
    for image, text in labelled.texts.items():
        reader.read(image, text, _name(image, roots))
    if labelled.elsewhere:
        builder.note(f"{path}: images are those of the same names in {options.images}")
    if labelled.unmatched:
        texts = abbreviate(str(text) for text in labelled.unmatched)
        builder.note(f"{path}: labels without an image are left out: {texts}")
    _note_other_splits(path, data, split, labelled.texts, builder)
    return builder.build()


def _is_default(flip: Sequence[int] | None) -> bool:
    """Whether nothing says which keypoints are each other's counterparts."""
    return flip is None or list(flip) == list(range(len(flip)))


def _categories(data: DataSet, count: int) -> list[dict[str, Any]]:
    """The classes as categories of a COCO file, with ids one above Ultralytics' numbers."""
    flip = {} if _is_default(data.flip) else {"flip_indices": list(data.flip or ())}
    numbers = [str(number) for number in range(count)]
    return [
        {
            "id": number + 1,
            "name": name,
            "keypoints": list(data.keypoint_names.get(number, numbers)),
            **flip,
        }
        for number, name in data.names.items()
    ]


def _name(image: Path, roots: Sequence[Path]) -> str:
    """The name of an image from the first of some folders that it is in."""
    path = image.absolute()
    for root in (each.absolute() for each in roots):
        if path.is_relative_to(root):
            return path.relative_to(root).as_posix()
    return path.as_posix()


def _note_other_splits(
    path: Path,
    data: DataSet,
    split: str,
    read_images: Mapping[Path, Path | None],
    builder: DocumentBuilder,
) -> None:
    """Say which images were left out because they are in other splits."""
    for other, parts in data.splits.items():
        if other == split:
            continue
        folders = [part for part in parts if part.is_dir()]
        images = {*reading.find_images(folders)} - {*read_images}
        if images:
            builder.note(
                f"{path}: the images of {split} are read, and those of {other} left out: "
                f"{len(images)}"
            )


class _RowReader:
    """Reads the text files of a data set.

    Args:
        data: what its YAML file says.
        shape: how many keypoints, and how many numbers each of them.
        builder: gets the images and annotations.
        argument: what error messages call the data set.
    """

    def __init__(
        self, data: DataSet, shape: tuple[int, int], builder: DocumentBuilder, argument: str
    ):
        self._data = data
        self._count, self._dimensions = shape
        self._builder = builder
        self._argument = argument
        self._categories = {c["id"] - 1: c for c in _categories(data, shape[0])}

    def read(self, image: Path, text: Path | None, name: str) -> None:
        """Add an image and its annotations."""
        size = reading.image_size(image)
        image_id = self._builder.add_image(name, size, image)
        if text is None:
            return
        try:
            lines = text.read_text("utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise HomologError(
                f"{self._argument}: expected a text file {text}, got: {error}"
            ) from None
        for number, line in enumerate(lines, start=1):
            if line.strip():
                self._read_row(f"{self._argument}: {text}, line {number}", line, image_id, size)

    def _read_row(self, where: str, line: str, image_id: int, size: tuple[int, int]) -> None:
        count, dimensions = self._count, self._dimensions
        label, *values = line.split()
        length = 4 + count * dimensions
        try:
            category = self._categories[class_number(label)]
            if not all(map(is_number, values)):
                raise ValueError(line)
            row = np.array(values, dtype=float)
            points = row[4:length].reshape(count, dimensions)
            extra = row[length:]
            if len(extra) > 2:
                raise ValueError(line)
        except (KeyError, ValueError):
            got = line if len(line) <= 80 else f"{line[:79]}…"
            raise HomologError(
                f"{where}: expected class, box and {count} keypoints of {dimensions} numbers, got "
                f"{len(values) + 1} values {got!r}"
            ) from None
        members: dict[str, Any] = {}
        if len(extra):  # as Ultralytics writes predictions
            members["score"] = float(extra[0])
        if len(extra) == 2:
            members["instance_id"] = int(extra[1])
        keypoints, scores = self._keypoints(where, category["keypoints"], points, size)
        if scores is not None:
            members["keypoint_scores"] = scores
        box = _box(where, row[:4], size)
        self._builder.add_annotation(image_id, category["name"], keypoints, box, **members)

    def _keypoints(
        self, where: str, names: Sequence[str], points: np.ndarray, size: tuple[int, int]
    ) -> tuple[dict[str, tuple[float, float, int]], list[float] | None]:
        """The keypoints in pixels, and their scores where there are any."""
        if self._dimensions == 2:
            # Ultralytics takes negative numbers for unlabelled; tools write zeros.
            visibility = np.where((points < 0).any(axis=1) | ~points.any(axis=1), 0.0, 2.0)
        else:
            visibility = points[:, 2]
        keypoints = {}
        for name, (x, y), v in zip(names, points[:, :2], visibility, strict=True):
            if v == 0:
                keypoints[name] = 0.0, 0.0, 0
                continue
            if not _are_fractions((x, y)):
                raise HomologError(
                    f"{where}: expected fractions of the image between 0 and 1, got "
                    f"({x:g}, {y:g}) for keypoint {name}"
                    + ("; these seem to be pixels" if max(x, y) > 2 else "")
                )
            if not 0 <= v <= 2 or 1 < v < 2:
                raise HomologError(
                    f"{where}: expected a visibility of 0, 1 or 2, got {v:g} for keypoint {name}"
                )
            # Between 0 and 1 it is the probability that Ultralytics writes for predictions.
            state = int(v) if v == v // 1 else 2
            keypoints[name] = float(x * size[0]), float(y * size[1]), state
        predicted = self._dimensions == 3 and bool((visibility != visibility // 1).any())
        return keypoints, visibility.tolist() if predicted else None


def _are_fractions(values: Sequence[float] | Float[np.ndarray, "N"]) -> bool:
    return bool(min(values) >= -_TOLERANCE and max(values) <= 1 + _TOLERANCE)


def _box(where: str, values: Float[np.ndarray, "4"], size: tuple[int, int]) -> list[float] | None:
    """A box (x, y, width, height) in pixels; None for one of no size."""
    if not _are_fractions(values):
        raise HomologError(
            f"{where}: expected a box in fractions of the image between 0 and 1, got "
            f"{', '.join(f'{value:g}' for value in values)}"
        )
    if min(values[2:]) <= 0:
        return None
    centre, extent = values[:2] * size, values[2:] * size
    return [*(centre - extent / 2).tolist(), *extent.tolist()]


def write(path: Path, document: Document, options: WriteOptions) -> list[str]:
    """Write labels as a YOLO-pose data set: the YAML file, and a text file for each image.

    Instance ids and scores are not written, for the format has no place for them: objects of an
    image are rows in the order of the document.

    Returns:
        What the format cannot hold, a line each.

    Raises:
        HomologError: categories differ in their number of keypoints; two images have the same text
            file, or one has labels already that are not those of this data set; or a file cannot be
            written.
    """
    categories = [c for c in document["categories"] if c.get("keypoints")]
    counts = sorted({len(category["keypoints"]) for category in categories})
    if len(counts) != 1:
        raise HomologError(
            f"{options.argument}: expected categories with one number of keypoints for YOLO, got "
            f"{counts or 'none'}; try a name ending in .json"
        )
    schemas = [KeypointSchema.coco(category) for category in categories]
    root = (options.images or path.parent).resolve()
    layout: dict[str, Any] = {
        "path": str(root), "train": ".", "val": ".", "kpt_shape": [counts[0], 3],
        "names": dict(enumerate(str(category["name"]) for category in categories)),
        "kpt_names": dict(enumerate(list(map(str, c["keypoints"])) for c in categories)),
    }  # fmt: skip
    if len({schema.mirror for schema in schemas}) == 1 and schemas[0].sides_known:
        layout["flip_idx"] = list(schemas[0].mirror)
    counted: Counter[str] = Counter()
    check_output(path, FORMAT.suffixes, options.argument)  # before any text file is written
    texts = _texts(path, document, categories, options, root, counted)
    for target, lines in texts.items():
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise HomologError(
                f"{options.argument}: cannot write {target}: {error.strerror}"
            ) from error
        write_atomically(target, "".join(f"{line}\n" for line in lines).encode())
    write_atomically(path, yaml.safe_dump(layout, sort_keys=False, allow_unicode=True).encode())
    notes = unheld(
        document, "YOLO", {"keypoints", "num_keypoints", "bbox"}, {"keypoints", "flip_indices"}
    )
    return notes + [f"YOLO holds no {kind}: {number}" for kind, number in counted.items()]


def _texts(
    path: Path,
    document: Document,
    categories: Sequence[Mapping[str, Any]],
    options: WriteOptions,
    root: Path,
    counted: Counter[str],
) -> dict[Path, list[str]]:
    """The lines of the text file of each image."""
    classes = {category["id"]: number for number, category in enumerate(categories)}
    annotations: dict[Any, list[Mapping[str, Any]]] = {}
    for annotation in document["annotations"]:
        if annotation["category_id"] not in classes or "keypoints" not in annotation:
            counted["objects without keypoints"] += 1
            continue
        annotations.setdefault(annotation["image_id"], []).append(annotation)
    texts: dict[Path, list[str]] = {}
    for image in document["images"]:
        target = label_path(root / image["file_name"])
        if target in texts:
            raise HomologError(
                f"{options.argument}: expected images with different names for YOLO, got "
                f"{image['file_name']} and another one with the labels {target}"
            )
        if target.exists() and not path.exists():
            raise HomologError(
                f"{options.argument}: expected images without YOLO labels, got {target}; try a "
                "name ending in .json or .csv"
            )
        size = np.array(image_size(image, options, path))
        texts[target] = []
        for annotation in annotations.get(image["id"], []):
            label = classes[annotation["category_id"]]
            numbers = _row(annotation, size, counted)
            texts[target].append(" ".join([str(label), *(f"{number:.7g}" for number in numbers)]))
    return texts


def _row(annotation: Mapping[str, Any], size: np.ndarray, counted: Counter[str]) -> list[float]:
    """The numbers of an object: centre, width and height of its box, and x, y, v."""
    points = np.reshape(np.array(annotation["keypoints"], dtype=float), (-1, 3))
    box = annotation.get("bbox")
    if not box or min(box[2:]) <= 0:
        box = box_of_keypoints(points, (int(size[0]), int(size[1])))
    x0, y0, width, height = box
    corners = np.array([[x0, y0], [x0 + width, y0 + height]]) / size
    corners = corners.clip(0, 1)  # Ultralytics refuses a file with anything outside
    points[points[:, 2] == 0] = 0
    points[:, :2] /= size
    outside = ((points[:, :2] < 0) | (points[:, :2] > 1)).any(axis=1)
    if outside.any():
        counted["keypoints outside their images, which are moved to the border"] += int(
            outside.sum()
        )
    points[:, :2] = points[:, :2].clip(0, 1)
    middle, extent = corners.mean(axis=0), corners[1] - corners[0]
    return [*middle.tolist(), *extent.tolist(), *points.ravel().tolist()]


FORMAT = LabelFormat("yolo", "Ultralytics YOLO-pose data set", (".yaml", ".yml"), read, write)
