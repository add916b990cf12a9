"""labelme's files (`.json`, one for each image, or a folder of them), X-AnyLabeling's among them.

Shapes of type `point` are keypoints, their labels the names. `group_id` tells the objects of an
image from each other; a rectangle with the same `group_id` is the box of an object, and its label
the category. Occluded keypoints have the flag `occluded`, or are `difficult` as in X-AnyLabeling.
All else that a file holds is kept in members `labelme` of images and annotations.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
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
from homolog.data.formats.entries import InstanceId, as_instance
from homolog.data.formats.image_claims import ImageClaims, Parts, distinct_ends
from homolog.data.formats.image_sizes import fit_to_images
from homolog.data.formats.landmarks.names import ordered_names
from homolog.data.formats.writing import image_size, nowhere_labelled, unheld
from homolog.data.reading import ErrorCollector, abbreviate, read_json
from homolog.errors import HomologError
from homolog.image import reading
from homolog.utils.outputs import write_atomically

CATEGORY = "object"
"""The category of objects without a rectangle."""

_KEPT = "labelme"
"""The member of images and annotations that holds what has no place in a COCO file."""
_VERSION = "5.5.0"
_DRIVE = re.compile(r"[A-Za-z]:/")
_OF_FILE = {"version", "shapes", "imagePath", "imageData", "imageWidth", "imageHeight"}
_OF_POINT = {"label", "points", "group_id", "shape_type"}


def read(path: Path, options: ReadOptions = ReadOptions()) -> LabelFile:
    """Read the keypoints of a file of labelme, or of all such files in a folder.

    Raises:
        HomologError: a file cannot be read, a shape is malformed, a keypoint is there twice in an
            object, there are no keypoints, or files that name different images lead to one.
    """
    where = f"{options.argument}: {path}"
    found, others = [], []
    for each in [path] if path.is_file() else sorted(path.rglob("*.json")):
        data = read_json(each)
        if _is_labelme(data):
            found.append((each, data))
        else:
            others.append(each.name)
    objects = [(each, data, _objects(options.argument, each, data)) for each, data in found]
    named = [o.category for _, _, several in objects for o in several if o.category is not None]
    default = named[0] if len(set(named)) == 1 else CATEGORY
    labels = [label for _, _, several in objects for o in several for label in o.points]
    if not labels:
        raise HomologError(
            f"{where}: expected files of labelme with shapes of type point, got none"
        )
    listed = ordered_names(options, list(dict.fromkeys(labels)))
    names = dict.fromkeys(o.category or default for _, _, several in objects for o in several)
    builder = DocumentBuilder(
        [{"id": n, "name": name, **listed} for n, name in enumerate(names, start=1)]
    )
    if others:
        builder.note(f"{path}: files that are not labelme's: {abbreviate(others)}")
    ends = distinct_ends(_named(each, data).parts for each, data, _ in objects)
    claims = ImageClaims(where)
    for each, data, several in objects:
        image = _add_image(builder, claims, path, each, data, options, ends)
        for each_object in several:
            members: dict[str, Any] = {}
            if each_object.group is not None:
                members["instance_id"] = each_object.group
            if each_object.attributes:
                members["attributes"] = each_object.attributes
            if each_object.extras:
                members[_KEPT] = each_object.extras
            category = each_object.category or default
            builder.add_annotation(image, category, each_object.points, each_object.box, **members)
    file = builder.build()
    notes = fit_to_images(file.document, file.paths, path, ErrorCollector())
    return dataclasses.replace(file, notes=(*file.notes, *notes))


@dataclass
class _Object:
    """The shapes of an object."""

    group: InstanceId | None
    points: dict[str, tuple[float, float, int]] = field(default_factory=dict)
    extras: dict[str, Any] = field(default_factory=dict)
    category: str | None = None
    box: tuple[float, float, float, float] | None = None
    attributes: dict[str, Any] = field(default_factory=dict)


def _objects(argument: str, path: Path, data: Mapping[str, Any]) -> list[_Object]:
    """The objects of an image; shapes that belong to none stay in `data["shapes"]`."""
    objects: dict[InstanceId | None, _Object] = {}
    rectangles, others = [], []
    for number, shape in enumerate(data["shapes"]):
        where = f"{argument}: {path}, shape {number}"
        try:
            kind = shape.get("shape_type", "polygon")
            if kind not in ("point", "rectangle"):
                others.append(shape)
                continue
            group = None if shape.get("group_id") is None else as_instance(shape["group_id"])
            label, corners = str(shape["label"]), np.array(shape["points"], dtype=float)
            if corners.ndim != 2 or corners.shape[1] != 2 or not np.isfinite(corners).all():
                raise ValueError(f"points: expected x and y, got {shape['points']!r}")
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise HomologError(f"{where}: expected a shape of labelme, got {error}") from None
        if kind == "rectangle":
            rectangles.append((group, label, corners, shape))
            continue
        each = objects.setdefault(group, _Object(group))
        if label in each.points:
            raise HomologError(
                f"{where}: expected each keypoint of an object once, got {label!r} again; try a "
                "group_id for each object"
            )
        flags = shape.get("flags")
        flagged = isinstance(flags, dict) and bool(flags.get("occluded"))
        occluded = flagged or bool(shape.get("difficult"))
        each.points[label] = float(corners[0, 0]), float(corners[0, 1]), 1 if occluded else 2
        extra = {k: v for k, v in shape.items() if k not in _OF_POINT and v not in (None, "", {})}
        if extra.get("flags") == {"occluded": True} and occluded:
            del extra["flags"]
        if not extra.get("difficult") or occluded:
            extra.pop("difficult", None)
        if extra:
            each.extras[label] = extra
    for group, label, corners, shape in rectangles:
        owner = objects.get(group)
        if owner is None or owner.box is not None or not _contains(corners, owner):
            others.append(shape)
            continue
        (x0, y0), (x1, y1) = corners.min(axis=0), corners.max(axis=0)
        owner.category, owner.box = label, (x0, y0, x1 - x0, y1 - y0)
        attributes = shape.get("attributes")
        owner.attributes = dict(attributes) if isinstance(attributes, dict) else {}
    data["shapes"][:] = others
    return list(objects.values())


def _contains(corners: np.ndarray, owner: _Object) -> bool:
    """Whether a rectangle may be the box of an object, for which it has a group or its points."""
    if owner.group is not None:
        return True
    points = np.array([point[:2] for point in owner.points.values()])
    return bool(((points >= corners.min(axis=0)) & (points <= corners.max(axis=0))).all())


def _written(path: Path, data: Mapping[str, Any]) -> str:
    name = str(data.get("imagePath") or path.with_suffix("").name)
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        raise HomologError(
            f"labels: {path}: imagePath: expected a name that a file can have, got {name[:200]!r}"
        ) from None
    return name


def _named(path: Path, data: Mapping[str, Any]) -> Path:
    """The path of the image as a file names it, from the file's folder on."""
    written = _written(path, data).replace("\\", "/")
    start = Path(path.absolute().anchor) if _DRIVE.match(written) else path.absolute().parent
    return Path(os.path.normpath(start / written))


def _add_image(
    builder: DocumentBuilder,
    claims: ImageClaims,
    top: Path,
    path: Path,
    data: Mapping[str, Any],
    options: ReadOptions,
    ends: Mapping[Parts, Parts],
) -> int:
    """Add the image of a file, with its size as the file states it."""
    written = _written(path, data)
    kept: dict[str, Any] = {k: v for k, v in data.items() if k not in _OF_FILE and v}
    if data["shapes"]:
        kept["shapes"] = list(data["shapes"])
    members: dict[str, Any] = {_KEPT: kept} if kept else {}
    named = _named(path, data)
    found: Path | None = None
    missing: str | None = None
    name, end = written.replace("\\", "/"), ends[named.parts]
    try:
        found = _find(builder, top, path, written, named, options)
    except HomologError as error:
        missing = f"{path}: {error}"
    if (
        found is not None
        and "/" in name
        and os.path.realpath(found) != os.path.realpath(named)
        and len(end) > 1
        and found.absolute().parts[-len(end) :] != end
    ):  # one that only has the same name
        missing = f"{path}: expected an image {'/'.join(end)}, got {found}"
        found = None
    if top.is_dir():
        below = _below(named, top)
        if below is None and found is not None:
            below = (options.images and _below(found, options.images)) or _below(found, top)
        name = below or "/".join(end)
    claims.add(name, found, os.path.realpath(named), str(path))
    if found is None:
        return builder.add_image(name, _size(data), missing=missing, **members)
    return builder.add_image(name, _size(data) or reading.image_size(found), found, **members)


def _find(
    builder: DocumentBuilder,
    top: Path,
    path: Path,
    written: str,
    named: Path,
    options: ReadOptions,
) -> Path:
    """The image of a file: where the file says, else by the end of the path.

    Raises:
        HomologError: it is not there.
    """
    finder = options.finder(path)
    below = _below(named, top) if top.is_dir() else None
    if below is not None and options.images is not None and not named.is_file():
        with contextlib.suppress(HomologError):
            return finder.find(below)
    try:
        return finder.find(written)
    except HomologError as error:
        try:
            found = finder.find_stem(path.stem)
        except HomologError:
            raise error from None
    builder.note(f"{path}: {written} is not there; {found} is taken for it")
    return found


def _below(path: Path, folder: Path) -> str | None:
    """The path from a folder on, if it lies in it."""
    relative = os.path.relpath(path, folder).replace("\\", "/")
    return None if relative.startswith("../") else relative


def _size(data: Mapping[str, Any]) -> tuple[int, int] | None:
    try:
        size = int(data["imageWidth"]), int(data["imageHeight"])
    except (KeyError, OverflowError, TypeError, ValueError):
        return None
    return size if min(size) > 0 else None


def write(path: Path, document: Document, options: WriteOptions = WriteOptions()) -> list[str]:
    """Write labels as files of labelme: into a folder, or into one file if there is one image.

    Returns:
        What the format cannot hold, a line each.

    Raises:
        HomologError: a file exists already or cannot be written, or several images are to be
            written to one file.
    """
    categories = {category["id"]: category for category in document["categories"]}
    images = document["images"]
    single = path.suffix.lower() == ".json"
    if single and len(images) != 1:
        raise HomologError(
            f"{options.argument}: expected a folder, for there are {len(images)} images, got {path}"
        )
    files: dict[str, tuple[Path, dict[str, Any]]] = {}
    for image in images:
        name = PurePosixPath(str(image["file_name"]).replace("\\", "/"))
        plain = Path(*(part for part in name.parts if part not in ("/", "..") and ":" not in part))
        target = path if single else path / plain.with_suffix(".json")
        if str(target).lower() in files:
            target = path / f"{plain}.json"
        files[str(target).lower()] = target, image
    taken = [target for target, _ in files.values() if target.exists()]
    if taken and not single:
        raise HomologError(f"{options.argument}: expected files that do not exist, got {taken[0]}")
    by_image: dict[Any, list[Mapping[str, Any]]] = {}
    for annotation in document["annotations"]:
        by_image.setdefault(annotation["image_id"], []).append(annotation)
    for target, image in files.values():
        several = by_image.get(image["id"], [])
        shapes = [
            shape
            for number, annotation in enumerate(several, start=1)
            for shape in _shapes(
                annotation,
                categories[annotation["category_id"]],
                None if len(several) == 1 and _box_holds_points(annotation) else number,
            )
        ]
        data = _file_of(image, shapes, target, options, path)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise HomologError(f"{options.argument}: cannot write {target}: {error}") from None
        text = json.dumps(data, indent=2, allow_nan=False)
        write_atomically(target, text.encode(), options.argument)
    held = {"keypoints", "num_keypoints", "instance_id", "bbox", "attributes", _KEPT}
    notes = unheld(document, "labelme", held, {"keypoints"}, {_KEPT})
    if lost := nowhere_labelled(document):
        notes.append(f"labelme holds no keypoints that are nowhere labelled: {lost}")
    return notes


def _box_holds_points(annotation: Mapping[str, Any]) -> bool:
    """Whether a reader can tell that a box is that of an object without a group."""
    if annotation.get("bbox") is None:
        return True
    x, y, width, height = annotation["bbox"]
    rows = np.reshape(annotation.get("keypoints", []), (-1, 3)).astype(float)
    points = rows[rows[:, 2] > 0, :2]
    return bool(((points >= (x, y)) & (points <= (x + width, y + height))).all())


def _shapes(
    annotation: Mapping[str, Any], category: Mapping[str, Any], number: int | None
) -> Iterator[dict[str, Any]]:
    """The rectangle and the points of an object; its number is for one without an instance id."""
    group = annotation.get("instance_id", number)
    box = annotation.get("bbox")
    if box is not None:
        x, y, width, height = (float(value) for value in box)
        corners = [[x, y], [x + width, y + height]]
        rectangle = _shape(str(category["name"]), corners, group, "rectangle")
        attributes = annotation.get("attributes")
        yield {**rectangle, "attributes": attributes} if attributes else rectangle
    extras = annotation.get(_KEPT)
    rows = np.reshape(annotation.get("keypoints", []), (-1, 3)).tolist()
    for name, (x, y, visible) in zip(category.get("keypoints", []), rows, strict=False):
        if not visible or not math.isfinite(x + y):
            continue
        shape = _shape(str(name), [[x, y]], group, "point")
        if isinstance(extras, dict) and isinstance(extras.get(name), dict):
            shape.update(extras[name])
        if visible == 1:
            shape["flags"] = {**shape["flags"], "occluded": True}
            shape["difficult"] = True
        yield shape


def _shape(label: str, points: list[list[float]], group: Any, kind: str) -> dict[str, Any]:
    return {
        "label": label, "points": points, "group_id": group, "description": "",
        "shape_type": kind, "flags": {},
    }  # fmt: skip


def _file_of(
    image: Mapping[str, Any],
    shapes: list[dict[str, Any]],
    target: Path,
    options: WriteOptions,
    path: Path,
) -> dict[str, Any]:
    """The content of the file of an image."""
    kept = image.get(_KEPT)
    kept = dict(kept) if isinstance(kept, dict) else {}
    name = str(image["file_name"])
    if options.images is not None and (options.images / name).is_file():
        name = Path(os.path.relpath(options.images / name, target.parent)).as_posix()
    size: tuple[int | None, int | None] = (None, None)
    with contextlib.suppress(HomologError):
        size = image_size(image, options, path)
    others = kept.pop("shapes", [])
    return {
        "version": _VERSION, "flags": {}, **kept, "shapes": [*shapes, *others], "imagePath": name,
        "imageData": None, "imageHeight": size[1], "imageWidth": size[0],
    }  # fmt: skip


def _is_labelme(data: Any) -> bool:
    return isinstance(data, dict) and isinstance(data.get("shapes"), list) and "images" not in data


def _recognise(path: Path) -> bool:
    """Whether a file, or one in a folder, is labelme's."""
    files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
    for each in files:
        try:
            if _is_labelme(read_json(each)):
                return True
        except HomologError:
            continue
    return False


FORMAT = LabelFormat("labelme", "labelme", ("", ".json"), read, write, _recognise)
