"""Entries of COCO documents: checked, and put into the one form that the program works with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from homolog.data.formats.document import EXTRA, box_of_keypoints
from homolog.data.formats.image_sizes import Size, stated_size
from homolog.data.formats.segmentation import read_mask
from homolog.data.pairs import Annotation, Box
from homolog.data.reading import ErrorCollector, abbreviate
from homolog.data.values import LARGEST, Id, as_id, as_name, is_finite
from homolog.image.masks import MaskReader
from homolog.keypoints import KeypointSchema

_OUTSIDE = {1: 0.5, 2: 0.1}
"""How far outside its image a keypoint may lie, in the image's longer edge: slips of the mouse by
visible ones, parts that the image cuts off by occluded ones."""


@dataclass(frozen=True)
class Category:
    """A category of a COCO file.

    Attributes:
        name: unique within the file among categories with keypoints.
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
        size: width and height of the image in pixels, if they are known.
        category: name of its category.
        keypoints: (x, y) in pixels, NaN if not labelled.
        box: (x0, y0, x1, y1) in pixels.
        occluded: which keypoints are labelled, but hidden in the image (v = 1).
        mask: reads the object's mask, if it has a segmentation.
    """

    id: Id
    image_id: Id
    file_name: str
    size: Size | None
    category: str
    keypoints: Float[np.ndarray, "K 2"]
    box: Box
    occluded: Bool[np.ndarray, "K"]
    mask: MaskReader | None = None

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
            shares_image=shares_image, occluded=self.occluded, mask=self.mask,
        )  # fmt: skip


class EntryReader:
    """Checks the entries of a document: categories first, then images, annotations last.

    What several tools write in several ways is put into one: ids are those of the lists, keypoints
    that are not labelled have finite coordinates, boxes of no size are those around the keypoints.
    All other members stay as they are.

    Attributes:
        categories: by id.
        images: entries by id.
        annotations: entries by id.
        unlisted: ids of categories that annotations use but the document does not list.
        notes: what was decided, a line each.

    Args:
        annotations: the entries of all annotations, as they are in the document.
    """

    def __init__(self, annotations: Iterable[Any] = ()) -> None:
        self.categories: dict[Id, Category] = {}
        self.category_entries: dict[Id, dict[str, Any]] = {}
        self.images: dict[Id, dict[str, Any]] = {}
        self.annotations: dict[Id, dict[str, Any]] = {}
        self.unlisted: list[Id] = []
        self.notes: list[str] = []
        self._file_names: set[str] = set()
        self._unnamed = _counts_of_keypoints(annotations)
        self._no_box: list[Id] = []
        self._minus_one: list[Id] = []

    def read_category(self, entry: dict[str, Any]) -> None:
        """Add an entry of `categories`."""
        number, name = as_id(entry["id"]), as_name(entry["name"], "name")
        family = entry.get("supercategory")
        schema = self._schema(number, entry)
        # Roboflow puts a category without keypoints first, which may have the name of the other.
        known = {c.name for c in self.categories.values() if (c.schema is None) == (schema is None)}
        if number in self.categories or name in known:
            raise ValueError(f"expected another id and name than before, got {number} and {name}")
        self.categories[number] = Category(name, None if family is None else str(family), schema)
        names = entry.get("keypoints") or ([] if schema is None else list(schema.names))
        self.category_entries[number] = {**entry, "id": number, "name": name, "keypoints": names}

    def _schema(self, number: Id, entry: Mapping[str, Any]) -> KeypointSchema | None:
        """The keypoints of a category, which are numbered if they have no names."""
        if entry.get("keypoints"):
            if isinstance(entry["keypoints"], list):
                for name in entry["keypoints"]:
                    as_name(name, "keypoints")
            return KeypointSchema.coco(entry)
        counts = self._unnamed.get(_key(number, self._unnamed), set())
        if not counts:
            return None
        if len(counts) > 1:
            raise ValueError(
                f"keypoints: expected their names, got none, and annotations of {sorted(counts)} "
                "keypoints"
            )
        names = list(map(str, range(*counts)))
        self.notes.append(
            f"category {number} ({entry['name']}): its keypoints have no names, so they are "
            f"numbered from 0 to {names[-1]}"
        )
        return KeypointSchema.coco({**entry, "keypoints": names})

    def read_image(self, entry: dict[str, Any]) -> None:
        """Add an entry of `images`."""
        number, name = as_id(entry["id"]), as_name(entry["file_name"], "file_name")
        if number in self.images or name in self._file_names:
            raise ValueError(
                f"expected another id and file_name than before, got {number} and {name}"
            )
        stated_size(entry)
        self.images[number] = {**entry, "id": number, "file_name": name}
        self._file_names.add(name)

    def read_annotation(self, entry: dict[str, Any]) -> None:
        """Add an entry of `annotations`."""
        number = as_id(entry["id"])
        if number in self.annotations:
            raise ValueError(f"expected another id than before, got {number}")
        self.annotations[number] = self.normalised(entry)
        if self.annotations[number].get("bbox") is None:
            self._no_box.append(number)

    def normalised(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        """An annotation in the one form, but for its box, which is None if it has no size."""
        number = as_id(entry["id"])
        image = _key(as_id(entry["image_id"]), self.images)
        if image not in self.images:
            raise ValueError(f"image_id: expected one of the images, got {entry['image_id']!r}")
        category = self._category(as_id(entry["category_id"]))
        schema = self.categories[category].schema
        values, unlabelled = list[Any](), False
        if schema is not None:
            values, unlabelled = _keypoints(entry.get("keypoints"), len(schema))
        result = {
            **entry, "id": number, "image_id": image, "category_id": category,
            "keypoints": values, "bbox": _box(entry.get("bbox"), any(v > 0 for v in values[2::3])),
        }  # fmt: skip
        if unlabelled:
            self._minus_one.append(number)
        if unlabelled or "num_keypoints" not in entry:
            result["num_keypoints"] = sum(v > 0 for v in values[2::3])
        if "area" in entry and not is_finite(entry["area"]):
            del result["area"]
        if entry.get(EXTRA) is not None:
            result[EXTRA] = _review_state(entry[EXTRA], len(values) // 3)
        else:
            result.pop(EXTRA, None)
        return result

    def _category(self, number: Id) -> Id:
        """The id of a category as it is listed.

        One that the document does not list is added if all that it lists have the same keypoints.
        """
        if (listed := _key(number, self.categories)) in self.categories:
            return listed
        schemas = {category.schema for category in self.categories.values()}
        if len(schemas) != 1 or None in schemas:
            raise ValueError(f"category_id: expected one of the categories, got {number}")
        like = next(iter(self.category_entries.values()))
        self.categories[number] = Category(f"category {number}", None, schemas.pop())
        name = self.categories[number].name
        self.category_entries[number] = {**like, "id": number, "name": name}
        self.unlisted.append(number)
        return number

    def box_around(self, entry: Mapping[str, Any]) -> list[float]:
        """The box around the keypoints of an annotation, all 0 if none is labelled."""
        points = np.array(entry["keypoints"], dtype=float).reshape(-1, 3)
        if not (points[:, 2] > 0).any():
            return [0, 0, 0, 0]
        return box_of_keypoints(points, stated_size(self.images[entry["image_id"]]))

    def complete_boxes(self) -> None:
        """Give annotations without a box of some size the one around their keypoints."""
        taken = []
        for number in self._no_box:
            entry = self.annotations[number]
            entry["bbox"] = self.box_around(entry)
            if any(entry["bbox"]):
                taken.append(number)
                if not entry.get("area"):
                    entry["area"] = entry["bbox"][2] * entry["bbox"][3]
        if taken:
            self.notes.append(
                f"boxes that are missing or have no size, taken to be those around the keypoints: "
                f"{len(taken)} (annotations {abbreviate(map(str, taken), 3)})"
            )
        if self._minus_one:
            self.notes.append(
                "keypoints at (-1, -1), taken to be unlabelled: annotations "
                f"{abbreviate(map(str, self._minus_one), 3)}"
            )

    def check_places(self, number: Id) -> None:
        """Check that the labelled keypoints of an annotation are in its image, or near it.

        Raises:
            ValueError: one is so far outside that it cannot be meant.
        """
        entry = self.annotations[number]
        size = stated_size(self.images[entry["image_id"]])
        if size is None:
            return
        rows = np.array(entry["keypoints"], dtype=float).reshape(-1, 3)
        margins = np.where(rows[:, 2:] == 1, _OUTSIDE[1], _OUTSIDE[2]) * max(size)
        beyond = (rows[:, :2] < -margins) | (rows[:, :2] > size + margins)
        wrong = beyond.any(axis=1) & (rows[:, 2] > 0)
        if wrong.any():
            x, y, _ = rows[wrong.argmax()].tolist()
            name = self.category_entries[entry["category_id"]]["keypoints"][wrong.argmax()]
            raise ValueError(
                f"keypoints: expected {name} in the image of {size[0]} x {size[1]} pixels, "
                f"got ({x:g}, {y:g})"
            )

    def check_units(self, path: Path, problems: ErrorCollector) -> None:
        """Check that the labelled keypoints of all annotations are pixels, not fractions."""
        rows = [np.reshape(entry["keypoints"], (-1, 3)) for entry in self.annotations.values()]
        points = np.concatenate([np.empty((0, 3)), *(row for row in rows if row.size)])
        points = points[points[:, 2] > 0, :2]
        if len(points) > 1 and (points >= 0).all() and (points <= 1).all() and (points % 1).any():
            problems.add(path, "keypoints: expected pixels, got coordinates from 0 to 1 alone")

    def instance(self, number: Id) -> Instance | None:
        """An annotation whose category has keypoints as an `Instance`."""
        entry = self.annotations[number]
        category = self.categories[entry["category_id"]]
        if category.schema is None:
            return None
        image = self.images[entry["image_id"]]
        points = np.reshape(np.array(entry["keypoints"], dtype=float), (-1, 3))
        x, y, width, height = (float(value) for value in entry["bbox"])
        size, mask = stated_size(image), None
        if entry.get("segmentation"):
            mask = partial(read_mask, entry["segmentation"], size, f"annotation {number}")
        return Instance(
            number, image["id"], image["file_name"], size, category.name,
            np.where(points[:, 2:] > 0, points[:, :2], np.nan), (x, y, x + width, y + height),
            points[:, 2] == 1, mask,
        )  # fmt: skip


def id_order(number: Id) -> tuple[bool, Id]:
    """What ids are sorted by: numbers come before text."""
    return isinstance(number, str), number


def _other_form(number: Id) -> Id:
    """The same id as text if it is a number, and the other way round."""
    if isinstance(number, int):
        return str(number)
    return int(number) if number.isdecimal() else number


def _key(number: Id, known: Mapping[Id, Any]) -> Id:
    """The form in which an id is known, be it text or a number; itself if it is not known."""
    other = _other_form(number)
    return other if number not in known and other in known else number


def _counts_of_keypoints(annotations: Iterable[Any]) -> dict[Id, set[int]]:
    """For each category the numbers of keypoints of its annotations, as far as some is labelled."""
    counts: dict[Id, set[int]] = {}
    for entry in annotations:
        values = entry.get("keypoints") if isinstance(entry, dict) else None
        category = entry.get("category_id") if isinstance(entry, dict) else None
        if not isinstance(values, list) or not isinstance(category, (int, str)):
            continue
        if len(values) % 3 == 0 and any(is_finite(v) and v > 0 for v in values[2::3]):
            counts.setdefault(category, set()).add(len(values) // 3)
    return counts


def _keypoints(values: Any, count: int) -> tuple[list[Any], bool]:
    """The keypoints x, y, v of an annotation, and whether some at (-1, -1) became unlabelled."""
    if values is None or values == []:
        return [0] * 3 * count, False
    if not isinstance(values, list):
        raise ValueError(f"keypoints: expected a list, got {values!r}")
    if all(isinstance(row, list) and len(row) == 3 for row in values):
        values = [value for row in values for value in row]
    array = np.array(values, dtype=float)
    if array.shape != (3 * count,):
        raise ValueError(
            f"keypoints: expected x, y, v of {count} keypoints, got {array.size} numbers"
        )
    if not set(map(type, values)) <= {int, float}:
        values = array.tolist()
    rows = array.reshape(count, 3)
    finite = np.abs(rows) <= LARGEST  # which NaN is not, either
    nothing = ~finite[:, :2].all(axis=1) & ~(rows[:, 2] > 0)
    minus_one = (rows[:, 2] > 0) & (rows[:, :2] == -1).all(axis=1)
    hidden = rows[:, 2] < 0
    wrong = ~finite.all(axis=1) & ~nothing
    if wrong.any():
        x, y, v = (values[3 * int(wrong.argmax()) + k] for k in range(3))
        raise ValueError(
            f"keypoints: expected finite numbers x, y, v of keypoint {wrong.argmax()}, got "
            f"{_as_text(x)}, {_as_text(y)}, {_as_text(v)}"
        )
    if not (nothing | minus_one | hidden).any():
        return values, False
    values = list(values)
    for keypoint in np.flatnonzero(nothing | minus_one):
        values[3 * keypoint : 3 * keypoint + 3] = [0, 0, 0]
    for keypoint in np.flatnonzero(hidden & ~nothing):
        values[3 * keypoint + 2] = 0
    return values, bool(minus_one.any())


def _as_text(value: Any) -> str:
    return "null" if value is None or value != value else f"{value:g}"


def _box(values: Any, labelled: bool) -> list[Any] | None:
    """The box x, y, width, height of an annotation; None if it is missing or has no size.

    Args:
        values: as given.
        labelled: whether there are keypoints that a box can be put around. Without, a box without
            size remains as it is.
    """
    if values is None or values == []:
        return None
    array = np.array(values, dtype=float)
    if array.shape != (4,) or (array[2:] < 0).any():
        raise ValueError(f"bbox: expected x, y, width and height above 0, got {values}")
    if not (np.isnan(array) | (np.abs(array) <= LARGEST)).all():
        raise ValueError(f"bbox: expected finite numbers, got {values}")
    if not np.isfinite(array).all() or (labelled and array[2:].min() == 0):
        return None
    return values if set(map(type, values)) <= {int, float} else array.tolist()


def _review_state(extra: Any, count: int) -> dict[str, Any]:
    """What the program keeps of an annotation, checked."""
    if not isinstance(extra, dict):
        raise ValueError(f"{EXTRA}: expected an object, got {extra!r}")
    result = {**extra, "predicted": _predicted(extra["predicted"], count)}
    if extra.get("scores"):
        if not isinstance(extra["scores"], list) or len(extra["scores"]) != count:
            raise ValueError(f"scores: expected {count} numbers, got {extra['scores']!r}")
        scores = [0.0 if s is None or s != s else s for s in extra["scores"]]
        if not all(is_finite(s) for s in scores):
            raise ValueError(f"scores: expected finite numbers, got {extra['scores']!r}")
        result["scores"] = scores
    for member in ("doubtful", "reviewed"):
        if not isinstance(extra[member], list) or not set(extra[member]) <= set(range(count)):
            raise ValueError(
                f"{member}: expected keypoints 0 to {count - 1}, got {extra[member]!r}"
            )
    if "predicted_bbox" in extra and _box(extra["predicted_bbox"], False) is None:
        del result["predicted_bbox"]
    return result


def _predicted(values: Any, count: int) -> list[Any]:
    try:
        return _keypoints(values, count)[0]
    except ValueError as error:
        raise ValueError(f"predicted: {str(error).removeprefix('keypoints: ')}") from None
