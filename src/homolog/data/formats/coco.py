"""Annotated keypoints in the COCO format."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from homolog.data.pairs import (
    Annotation,
    Box,
    ErrorCollector,
    describe_error,
    read_json,
)
from homolog.errors import HomologError
from homolog.keypoints import KeypointSchema

SPECIFICATION = "https://cocodataset.org/#format-data"


@dataclass(frozen=True)
class Category:
    """A category of a COCO file.

    Attributes:
        name: unique within the file.
        family: its `supercategory`, where it has one.
        schema: of its keypoints, where it has any.
    """

    name: str
    family: str | None
    schema: KeypointSchema | None


@dataclass(frozen=True, eq=False)
class Instance:
    """An annotation with keypoints, visible or not.

    Attributes:
        id: of the annotation.
        image_id: of the picture.
        file_name: of the picture.
        size: width and height of the picture, where the file gives it.
        category: its name.
        keypoints: (x, y) in pixels, NaN where not visible.
        box: (x0, y0, x1, y1) in pixels.
    """

    id: int
    image_id: int
    file_name: str
    size: tuple[int, int] | None
    category: str
    keypoints: Float[np.ndarray, "K 2"]
    box: Box

    def annotation(self, path: Path) -> Annotation:
        """The annotation of the picture at a path."""
        return Annotation(self.file_name, path, self.category, self.keypoints, self.box, self.size)


@dataclass(frozen=True)
class CocoFile:
    """What a COCO file holds.

    Attributes:
        categories: by id.
        things: in the order of the file.
        unlisted: ids of categories that annotations have and the file does not list.
        data: all of the file, as it is.
    """

    categories: Mapping[int, Category]
    things: list[Instance]
    unlisted: list[int]
    data: Mapping[str, Any]


def contents(path: Path) -> dict[str, Any]:
    """A COCO file's content, of which no more is known than that it has the three lists.

    Raises:
        HomologError: the file is missing or not a COCO file.
    """
    data = read_json(path)
    sections = ("images", "annotations", "categories")
    if not isinstance(data, dict) or not all(isinstance(data.get(s), list) for s in sections):
        what = f"is not a COCO file, which has lists {', '.join(sections)} ({SPECIFICATION})"
        raise HomologError(f"{path}: {what}")
    return data


def read(path: Path, problems: ErrorCollector) -> CocoFile:
    """What a COCO file holds, as far as it makes sense.

    Raises:
        HomologError: the file is missing or not a COCO file, or problems are not collected.
    """
    data = contents(path)
    reader = _Reader()
    for section, singular, read_entry in (
        ("categories", "category", reader.category),
        ("images", "image", reader.image),
        ("annotations", "annotation", reader.thing),
    ):
        for number, entry in enumerate(data[section]):
            try:
                if not isinstance(entry, dict):
                    raise TypeError("is not an object")
                read_entry(entry)
            except (LookupError, TypeError, ValueError) as error:
                known = isinstance(entry, dict) and "id" in entry
                which = entry["id"] if known else f"number {number}"
                problems.add(path, f"{singular} {which}: {describe_error(error)}")
    return CocoFile(reader.categories, reader.things, reader.unlisted, data)


class _Reader:
    """Reads the entries of a COCO file, annotations last."""

    def __init__(self) -> None:
        self.categories: dict[int, Category] = {}
        self.images: dict[int, tuple[str, tuple[int, int] | None]] = {}
        self.things: list[Instance] = []
        self.names: set[str] = set()
        self.ids: set[int] = set()
        self.unlisted: list[int] = []

    def category(self, entry: dict[str, Any]) -> None:
        schema = KeypointSchema.coco(entry) if entry.get("keypoints") else None
        number, name, family = int(entry["id"]), str(entry["name"]), entry.get("supercategory")
        if number in self.categories or any(c.name == name for c in self.categories.values()):
            raise ValueError(f"is there twice ({name})")
        self.categories[number] = Category(name, None if family is None else str(family), schema)

    def image(self, entry: dict[str, Any]) -> None:
        number, name = int(entry["id"]), str(entry["file_name"])
        if number in self.images or name in self.names:
            raise ValueError(f"is there twice ({name})")
        sized = "width" in entry and "height" in entry
        size = (int(entry["width"]), int(entry["height"])) if sized else None
        self.images[number] = name, size
        self.names.add(name)

    def thing(self, entry: dict[str, Any]) -> None:
        number, image, category = (int(entry[k]) for k in ("id", "image_id", "category_id"))
        if number in self.ids:
            raise ValueError("is there twice")
        self.ids.add(number)
        if image not in self.images:
            raise ValueError(f"image_id {image} is none of the images")
        schema = self._known(category).schema
        if schema is None or "keypoints" not in entry:
            return
        name, size = self.images[image]
        keypoints = _keypoints(entry["keypoints"], len(schema))
        box = _box(entry["bbox"])
        self.things.append(
            Instance(number, image, name, size, self.categories[category].name, keypoints, box)
        )

    def _known(self, number: int) -> Category:
        """A category; one that is not listed, if all that are have the same keypoints."""
        if number not in self.categories:
            schemas = {category.schema for category in self.categories.values()}
            if len(schemas) != 1 or None in schemas:
                raise ValueError(f"category_id {number} is none of the categories")
            self.categories[number] = Category(f"category {number}", None, schemas.pop())
            self.unlisted.append(number)
        return self.categories[number]


def _keypoints(values: Any, count: int) -> Float[np.ndarray, "K 2"]:
    array = np.array(values, dtype=float)
    if array.shape != (3 * count,):
        raise ValueError(f"{array.size} numbers in keypoints, takes x, y, v of {count} keypoints")
    if not np.isfinite(array).all():
        raise ValueError("keypoints hold NaN or infinity")
    points = array.reshape(count, 3)
    return np.where(points[:, 2:] > 0, points[:, :2], np.nan)


def _box(values: Any) -> Box:
    array = np.array(values, dtype=float)
    if array.shape != (4,) or not np.isfinite(array).all() or array[2:].min() <= 0:
        raise ValueError(f"bbox is {values}, takes x, y, width and height")
    x, y, width, height = (float(value) for value in array)
    return x, y, x + width, y + height


class Finder:
    """Finds pictures by the name that a file of annotations gives them.

    Args:
        path: the file.
        images: the folder that names start from; otherwise they are looked for in the file's
            folder, the one above, and `images` and `data` in either.
    """

    def __init__(self, path: Path, images: Path | None):
        beside = (path.parent, path.absolute().parent.parent)
        below = (folder / name for folder in beside for name in ("images", "data"))
        self.folders: Iterable[Path] = (*beside, *below) if images is None else (images,)

    def path(self, name: str) -> Path:
        """Where the picture of that name is.

        Raises:
            HomologError: it is nowhere.
        """
        for folder in self.folders:
            if (folder / name).is_file():
                return folder / name
        places = ", ".join(map(str, self.folders))
        raise HomologError(f"there is no picture {name} in {places}")
