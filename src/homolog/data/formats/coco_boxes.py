"""Objects of COCO files (`.json`), and of lists of results as detectors write them."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from homolog.data.formats import segmentation
from homolog.data.formats.coco import read_document
from homolog.data.formats.document import SECTIONS
from homolog.data.formats.entries import Entries, Entry
from homolog.data.formats.image_sizes import fit_to_images, stated_size
from homolog.data.reading import MALFORMED, ErrorCollector, ImageFinder, describe_error, read_json
from homolog.data.values import as_id, as_name
from homolog.errors import HomologError
from homolog.image.masks import MaskReader
from homolog.image.regions import box_of_mask

INSTANCE_MEMBERS = ("track_id", "instance_id", "instance")
"""Members of an annotation, or of its `attributes` as CVAT writes them, that name the instance."""


def read(path: Path, images: Path | None = None, finder: ImageFinder | None = None) -> Entries:
    """Read the objects of a COCO file or of a list of results.

    Args:
        path: the file.
        images: a COCO file that lists the images and categories of results. Without it one in the
            same folder is taken that lists all of their image ids.
        finder: finds the images of a COCO file, to which its objects are fitted
            (`homolog.data.formats.image_sizes`).

    Raises:
        HomologError: the file cannot be read, or is neither.
    """
    data = read_json(path)
    if isinstance(data, list):
        return _read_results(path, data, images)
    if not isinstance(data, dict) or not all(isinstance(data.get(s), list) for s in SECTIONS):
        raise HomologError(
            f"boxes: expected a COCO file with the lists {', '.join(SECTIONS)}, or a list of "
            f"results with image_id and bbox, got {path} with other JSON"
        )
    fitted: list[str] = []
    if finder is not None:
        data, fitted = _fitted(data, path, finder)
    listed = _Listed(data)
    problems = [f"{path}: {line}" for line in listed.problems]
    entries, crowds = [], 0
    given = any(
        isinstance(raw, dict) and instance_of(raw) is not None for raw in data["annotations"]
    )
    for position, raw in enumerate(data["annotations"]):
        location = f"{path}: {_which('annotation', raw, position)}"
        try:
            if raw.get("iscrowd") == 1:
                crowds += 1
                continue
            image_id = raw["image_id"]
            if not isinstance(image_id, (int, str)) or image_id not in listed.names:
                raise ValueError(f"image_id: expected one of the images, got {image_id!r}")
            entries.append(_entry(raw, location, listed.names[image_id], listed, not given))
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            problems.append(f"{location}: {_describe(error, raw)}")
    notes = [f"{path}: crowds, which are left out: {crowds}"] if crowds else []
    notes = [*fitted, *notes]
    return Entries(entries, list(listed.names.values()), listed.sizes, problems, notes)


def _fitted(
    data: Mapping[str, Any], path: Path, finder: ImageFinder
) -> tuple[dict[str, Any], list[str]]:
    """A document whose objects are fitted to their images, and what was done.

    What is malformed, or cannot be fitted, stays as it is for others to find.
    """
    images: dict[Any, dict[str, Any]] = {}
    paths: dict[Any, Path] = {}
    for entry in data["images"]:
        with contextlib.suppress(*MALFORMED):
            stated_size(entry)
            paths[entry["id"]] = finder.find(str(entry["file_name"]))
            images[entry["id"]] = {**entry}
    members = {}
    for position, raw in enumerate(data["annotations"]):
        if isinstance(raw, dict) and _is_id(raw.get("image_id")) and raw["image_id"] in images:
            known = {k: raw[k] for k in ("id", "image_id", "segmentation") if k in raw}
            known |= {k: raw[k] for k in ("bbox", "keypoints") if _are_numbers(raw.get(k))}
            box = known.get("bbox", [0] * 4)
            if len(box) == 4 and min(box[2:]) >= 0 and len(known.get("keypoints", [])) % 3 == 0:
                members[position] = known
    document = {"images": list(images.values()), "annotations": list(members.values())}
    notes = fit_to_images(document, paths, path, ErrorCollector(collect=True))
    return {
        **data,
        "images": [
            images.get(entry["id"], entry) if isinstance(entry, dict) and _is_id(entry.get("id"))
            else entry
            for entry in data["images"]
        ],
        "annotations": [
            {**raw, **members[position]} if position in members else raw
            for position, raw in enumerate(data["annotations"])
        ],
    }, notes  # fmt: skip


def _are_numbers(values: Any) -> bool:
    """Whether a value is a list of finite numbers, and not empty."""
    if not isinstance(values, list) or not values:
        return False
    return all(isinstance(v, (int, float)) and math.isfinite(v) for v in values)


def _read_results(path: Path, data: list[Any], images: Path | None) -> Entries:
    """The objects of a list of results."""
    ids = {e["image_id"] for e in data if isinstance(e, dict) and _is_id(e.get("image_id"))}
    numbers = {number for number in ids if isinstance(number, int)}
    notes = []
    listed = _Listed({})
    if images is not None:
        listed = _Listed(read_document(images))
    elif numbers:
        for beside in sorted(path.parent.glob("*.json")):
            if beside != path and (found := _lists_all(beside, numbers)) is not None:
                listed = found
                notes.append(f"{path}: image ids are taken to be those of {beside}")
                break
    problems, entries = [], []
    for position, raw in enumerate(data):
        location = f"{path}: {_which('result', raw, position)}"
        try:
            image = raw["image_id"]
            if not _is_id(image):
                raise ValueError(f"image_id: expected a file name or a number, got {image!r}")
            if images is not None and isinstance(image, int) and image not in listed.names:
                raise ValueError(f"image_id: expected one of the images of {images}, got {image}")
            entries.append(_entry(raw, location, listed.names.get(image, image), listed))
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            problems.append(f"{location}: {_describe(error, raw)}")
    return Entries(entries, (), listed.sizes, problems, notes)


class _Listed:
    """The images and categories that a COCO document lists.

    Attributes:
        names: file names by image id.
        sizes: width and height by file name, where the document gives them.
        categories: names by category id.
        problems: a line for each entry that cannot be understood.
    """

    def __init__(self, document: Mapping[str, Any]):
        self.names: dict[int | str, str] = {}
        self.sizes: dict[str, tuple[int, int]] = {}
        self.categories: dict[int | str, str] = {}
        self.problems: list[str] = []
        known: set[str] = set()
        for position, entry in enumerate(document.get("categories", [])):
            try:
                self.categories[as_id(entry["id"])] = as_name(entry["name"], "name")
            except (ArithmeticError, KeyError, TypeError, ValueError) as error:
                self._add_problem("category", entry, position, error)
        for position, entry in enumerate(document.get("images", [])):
            try:
                number, name = as_id(entry["id"]), as_name(entry["file_name"], "file_name")
                if number in self.names or name in known:
                    raise ValueError(
                        f"expected another id and file_name than before, got {number} and {name}"
                    )
                if entry.get("width") and entry.get("height"):
                    self.sizes[name] = int(entry["width"]), int(entry["height"])
                self.names[number] = name
                known.add(name)
            except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
                self._add_problem("image", entry, position, error)

    def _add_problem(self, kind: str, entry: Any, position: int, error: Exception) -> None:
        self.problems.append(f"{_which(kind, entry, position)}: {_describe(error, entry)}")


def _lists_all(path: Path, ids: set[int]) -> _Listed | None:
    """What a file lists, if it is a COCO file and lists all these image ids."""
    try:
        listed = _Listed(read_document(path))
    except HomologError:
        return None
    return listed if ids <= listed.names.keys() else None


def _entry(
    raw: Mapping[str, Any], location: str, image: int | str, listed: _Listed, by_id: bool = False
) -> Entry:
    """An annotation or a result as an entry; `by_id` takes its id as that of the instance."""
    size = listed.sizes.get(image) if isinstance(image, str) else None
    mask = segmentation.mask_reader(raw.get("segmentation"), size)
    category = raw.get("category_id")
    if category is not None:
        category = raw.get("category_name", listed.categories.get(category, category))
    return Entry(
        location,
        image,
        _numbers(raw, mask),
        instance=raw.get("id") if by_id else instance_of(raw),
        score=raw.get("score"),
        category=None if category is None else str(category),
        mask=mask,
        mask_size=segmentation.rle_size(raw.get("segmentation")) or size,
    )


def _numbers(raw: Mapping[str, Any], mask: MaskReader | None) -> Any:
    """The box of an entry: its own, or else that around its mask or its keypoints."""
    given = raw.get("bbox")
    # CVAT and others write boxes of no width or height for what has none.
    if given and not (_are_numbers(given) and len(given) == 4 and 0 in given[2:]):
        return given
    if mask is not None and (pixels := mask()).any():
        return box_of_mask(pixels)
    if raw.get("keypoints"):
        points = np.array(raw["keypoints"], dtype=float).reshape(-1, 3)
        if (visible := points[points[:, 2] > 0, :2]).size:
            return *visible.min(axis=0), *np.ptp(visible, axis=0)
    return raw["bbox"]


def instance_of(raw: Mapping[str, Any]) -> Any:
    """What a member of an annotation says about the instance; None if there is none."""
    attributes = raw.get("attributes")
    given = {**attributes, **raw} if isinstance(attributes, dict) else raw
    return next((given[key] for key in INSTANCE_MEMBERS if given.get(key) is not None), None)


def _is_id(value: Any) -> bool:
    return isinstance(value, (int, str)) and not isinstance(value, bool)


def _which(kind: str, entry: Any, position: int) -> str:
    """Names an entry by its id, or else by its position."""
    has_id = isinstance(entry, dict) and "id" in entry
    return f"{kind} {entry['id']}" if has_id else f"{kind} at position {position}"


def _describe(error: Exception, entry: Any) -> str:
    """Word an exception that an entry raised."""
    if not isinstance(entry, dict):
        return f"expected a JSON object, got {entry!r}"
    return describe_error(error)
