"""COCO keypoint files (`.json`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from homolog.data.formats.document import (
    Document,
    LabelFile,
    LabelFormat,
    ReadOptions,
    WriteOptions,
)
from homolog.data.pairs import Annotation, Box
from homolog.data.reading import ErrorCollector, describe_error, read_json
from homolog.errors import HomologError
from homolog.keypoints import KeypointSchema
from homolog.utils.outputs import write_atomically

SPECIFICATION = "https://cocodataset.org/#format-data"
SECTIONS = ("images", "annotations", "categories")


@dataclass(frozen=True)
class Category:
    """A category of a COCO file.

    Attributes:
        name: unique within the file.
        family: its `supercategory`, if it has one.
        schema: of its keypoints, if it has any.
    """

    name: str
    family: str | None
    schema: KeypointSchema | None


@dataclass(frozen=True, eq=False)
class Instance:
    """An annotated object with keypoints, visible or not.

    Attributes:
        id: of the annotation.
        image_id: of the image.
        file_name: of the image.
        size: width and height of the image in pixels, if the file gives them.
        category: name of its category.
        keypoints: (x, y) in pixels, NaN if not visible.
        box: (x0, y0, x1, y1) in pixels.
    """

    id: int
    image_id: int
    file_name: str
    size: tuple[int, int] | None
    category: str
    keypoints: Float[np.ndarray, "K 2"]
    box: Box

    def annotation(self, path: Path, shares_image: bool = False) -> Annotation:
        """The instance as an `Annotation`.

        Args:
            path: of the image.
            shares_image: whether others of the image are annotations, too; the id of each is then
                part of its name.
        """
        name = f"{self.file_name}#{self.id}" if shares_image else self.file_name
        return Annotation(
            name, path, self.category, self.keypoints, self.box, self.size,
            shares_image=shares_image,
        )  # fmt: skip


@dataclass(frozen=True)
class CocoFile:
    """The content of a COCO file.

    Attributes:
        categories: by id.
        instances: in the order of the file.
        unlisted: ids of categories that annotations use but the file does not list.
        data: the whole JSON document.
    """

    categories: Mapping[int, Category]
    instances: list[Instance]
    unlisted: list[int]
    data: Mapping[str, Any]


def read_document(path: Path) -> dict[str, Any]:
    """Read a COCO file's JSON document and check that it has the three lists, nothing more.

    Raises:
        HomologError: the file cannot be read or is not a COCO file.
    """
    data = read_json(path)
    if not isinstance(data, dict) or not all(isinstance(data.get(s), list) for s in SECTIONS):
        raise HomologError(
            f"{path}: expected a COCO file with the lists {', '.join(SECTIONS)} "
            f"({SPECIFICATION}), got other JSON"
        )
    return data


def read(path: Path, problems: ErrorCollector) -> CocoFile:
    """Read and check a COCO file; entries with errors are skipped where errors are collected.

    Raises:
        HomologError: the file cannot be read or is not a COCO file, or an entry is malformed and
            errors are not collected.
    """
    return parse(read_document(path), path, problems)


def parse(data: Document, path: Path, problems: ErrorCollector) -> CocoFile:
    """Check the entries of a COCO document; those with errors are skipped where they are collected.

    Args:
        data: the document.
        path: the file it comes from, which error messages name.
        problems: collects errors, or raises the first.

    Raises:
        HomologError: an entry is malformed, and errors are not collected.
    """
    reader = _Reader()
    for section, singular, read_entry in (
        ("categories", "category", reader.read_category),
        ("images", "image", reader.read_image),
        ("annotations", "annotation", reader.read_annotation),
    ):
        for position, entry in enumerate(data[section]):
            try:
                if not isinstance(entry, dict):
                    raise TypeError(f"expected a JSON object, got {entry!r}")
                read_entry(entry)
            except (LookupError, TypeError, ValueError) as error:
                has_id = isinstance(entry, dict) and "id" in entry
                which = entry["id"] if has_id else f"at position {position}"
                problems.add(path, f"{singular} {which}: {describe_error(error)}")
    return CocoFile(reader.categories, reader.instances, reader.unlisted, data)


def write(path: Path, document: Mapping[str, Any]) -> None:
    """Write a COCO file, one list entry a line, so that versions of it can be compared.

    Raises:
        HomologError: it cannot be written; the previous file is untouched.
    """
    sections = []
    for name, value in document.items():
        if isinstance(value, list) and value:
            rows = ",\n".join(json.dumps(entry, allow_nan=False) for entry in value)
            sections.append(f"{json.dumps(name)}: [\n{rows}\n]")
        else:
            sections.append(f"{json.dumps(name)}: {json.dumps(value, allow_nan=False)}")
    write_atomically(path, ("{" + ",\n".join(sections) + "}\n").encode())


class _Reader:
    """Checks and converts the entries of a COCO file: categories, then images, annotations last."""

    def __init__(self) -> None:
        self.categories: dict[int, Category] = {}
        self.images: dict[int, tuple[str, tuple[int, int] | None]] = {}
        self.instances: list[Instance] = []
        self.file_names: set[str] = set()
        self.annotation_ids: set[int] = set()
        self.unlisted: list[int] = []

    def read_category(self, entry: dict[str, Any]) -> None:
        """Add an entry of `categories`."""
        schema = KeypointSchema.coco(entry) if entry.get("keypoints") else None
        number, name, family = int(entry["id"]), str(entry["name"]), entry.get("supercategory")
        if number in self.categories or any(c.name == name for c in self.categories.values()):
            raise ValueError(f"expected another id and name than before, got {number} and {name}")
        self.categories[number] = Category(name, None if family is None else str(family), schema)

    def read_image(self, entry: dict[str, Any]) -> None:
        """Add an entry of `images`."""
        number, name = int(entry["id"]), str(entry["file_name"])
        if number in self.images or name in self.file_names:
            raise ValueError(
                f"expected another id and file_name than before, got {number} and {name}"
            )
        sized = "width" in entry and "height" in entry
        size = (int(entry["width"]), int(entry["height"])) if sized else None
        self.images[number] = name, size
        self.file_names.add(name)

    def read_annotation(self, entry: dict[str, Any]) -> None:
        """Add an entry of `annotations`; one without keypoints is only checked."""
        number, image, category = (int(entry[k]) for k in ("id", "image_id", "category_id"))
        if number in self.annotation_ids:
            raise ValueError(f"expected another id than before, got {number}")
        self.annotation_ids.add(number)
        if image not in self.images:
            raise ValueError(f"image_id: expected one of the images, got {image}")
        schema = self._category(category).schema
        if schema is None or "keypoints" not in entry:
            return
        name, size = self.images[image]
        keypoints = _keypoints(entry["keypoints"], len(schema))
        box = _box(entry["bbox"])
        self.instances.append(
            Instance(number, image, name, size, self.categories[category].name, keypoints, box)
        )

    def _category(self, number: int) -> Category:
        """The category with that id.

        One that the file does not list is added if all that it lists have the same keypoints.
        """
        if number not in self.categories:
            schemas = {category.schema for category in self.categories.values()}
            if len(schemas) != 1 or None in schemas:
                raise ValueError(f"category_id: expected one of the categories, got {number}")
            self.categories[number] = Category(f"category {number}", None, schemas.pop())
            self.unlisted.append(number)
        return self.categories[number]


def _keypoints(values: Any, count: int) -> Float[np.ndarray, "K 2"]:
    """The keypoints x, y, v of an annotation as points, NaN where v is 0."""
    array = np.array(values, dtype=float)
    if array.shape != (3 * count,):
        raise ValueError(
            f"keypoints: expected x, y, v of {count} keypoints, got {array.size} numbers"
        )
    if not np.isfinite(array).all():
        raise ValueError("keypoints: expected finite numbers, got NaN or infinity")
    points = array.reshape(count, 3)
    return np.where(points[:, 2:] > 0, points[:, :2], np.nan)


def _box(values: Any) -> Box:
    """The box x, y, width, height of an annotation as corners."""
    array = np.array(values, dtype=float)
    if array.shape != (4,) or not np.isfinite(array).all() or array[2:].min() <= 0:
        raise ValueError(f"bbox: expected x, y, width and height above 0, got {values}")
    x, y, width, height = (float(value) for value in array)
    return x, y, x + width, y + height


def _read_labels(path: Path, options: ReadOptions) -> LabelFile:
    """Read a COCO file as labels; it keeps all of its members."""
    document = read_document(path)
    finder = options.finder(path)
    paths: dict[Any, Path] = {}
    missing: dict[Any, str] = {}
    for image in document["images"]:
        if isinstance(image, dict) and "id" in image and "file_name" in image:
            try:
                paths[image["id"]] = finder.find(str(image["file_name"]))
            except HomologError as error:
                missing[image["id"]] = str(error)
    return LabelFile(document, paths, missing)


def _write_labels(path: Path, document: Document, options: WriteOptions) -> list[str]:
    write(path, document)
    return []


FORMAT = LabelFormat("coco", "COCO keypoints", (".json",), _read_labels, _write_labels)
