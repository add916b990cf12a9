"""COCO keypoint files (`.json`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from homolog.data.formats.coco_entries import Category, EntryReader, Instance
from homolog.data.formats.document import (
    EXTRA,
    SECTIONS,
    Document,
    LabelFile,
    LabelFormat,
    ReadOptions,
    WriteOptions,
)
from homolog.data.formats.image_sizes import fit_to_images
from homolog.data.reading import ErrorCollector, ImageFinder, describe_error, read_json
from homolog.data.values import Id
from homolog.errors import HomologError
from homolog.utils.outputs import write_atomically

SPECIFICATION = "https://cocodataset.org/#format-data"


@dataclass(frozen=True)
class CocoFile:
    """The content of a COCO file.

    Attributes:
        categories: by id.
        instances: in the order of the file; those of images that were not found among them.
        unlisted: ids of categories that annotations use but the file does not list.
        data: the document, with its entries in one form.
        paths: of the images, by their ids, those that were looked for and found.
        missing: for each image that was not found the message that says so, by its id.
        notes: what was decided in reading, a line each.
    """

    categories: Mapping[Id, Category]
    instances: list[Instance]
    unlisted: list[Id]
    data: Document
    paths: Mapping[Id, Path] = field(default_factory=dict)
    missing: Mapping[Id, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read_document(path: Path) -> dict[str, Any]:
    """Read a COCO file's JSON document and check that it has the three lists, nothing more.

    Raises:
        HomologError: the file cannot be read or is not a COCO file.
    """
    data = read_json(path, nan_as_null=True)
    if not isinstance(data, dict) or not all(isinstance(data.get(s), list) for s in SECTIONS):
        raise HomologError(
            f"{path}: expected a COCO file with the lists {', '.join(SECTIONS)} "
            f"({SPECIFICATION}), got {_content(data)}"
        )
    return data


def _content(data: Any) -> str:
    """What JSON holds that is no COCO file."""
    if not isinstance(data, dict):
        return "other JSON"
    wrong = [f"{s} that are no list" for s in SECTIONS if not isinstance(data.get(s, []), list)]
    missing = [f"no {s}" for s in SECTIONS if s not in data]
    return f"other JSON: {', '.join([*missing, *wrong])}"


def read(
    path: Path,
    problems: ErrorCollector,
    finder: ImageFinder | None = None,
    check_places: bool = False,
) -> CocoFile:
    """Read and check a COCO file; see `parse`.

    Raises:
        HomologError: the file cannot be read or is not a COCO file, or an entry is malformed and
            errors are not collected.
    """
    return parse(read_document(path), path, problems, finder, check_places)


def parse(
    data: Document,
    path: Path,
    problems: ErrorCollector,
    finder: ImageFinder | None = None,
    check_places: bool = False,
) -> CocoFile:
    """Check the entries of a COCO document; those with errors are skipped where they are collected.

    Args:
        data: the document.
        path: the file it comes from, which error messages name.
        problems: collects errors, or raises the first.
        finder: finds the images; the labels are then fitted to them
            (`homolog.data.formats.image_sizes`). Without it they are as the document states them.
        check_places: whether keypoints far outside their images are errors.

    Raises:
        HomologError: an entry is malformed, and errors are not collected.
    """
    reader = EntryReader(data["annotations"])
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
            except (ArithmeticError, LookupError, TypeError, ValueError) as error:
                has_id = isinstance(entry, dict) and "id" in entry
                which = entry["id"] if has_id else f"at position {position}"
                problems.add(path, f"{singular} {which}: {describe_error(error)}")
    document = {
        **data,
        "categories": list(reader.category_entries.values()),
        "images": list(reader.images.values()),
        "annotations": list(reader.annotations.values()),
    }
    _read_deleted(document, reader, path, problems)
    paths: dict[Id, Path] = {}
    missing: dict[Id, str] = {}
    notes: list[str] = []
    if finder is not None:
        paths, missing = _find_images(reader.images, finder)
        notes += [*finder.notes, *fit_to_images(document, paths, path, problems)]
    reader.complete_boxes()
    instances = []
    if check_places:
        reader.check_units(path, problems)
    for number in reader.annotations:
        try:
            instance = reader.instance(number)
            if check_places:
                reader.check_places(number)
        except ValueError as error:
            problems.add(path, f"annotation {number}: {error}")
            continue
        if instance is not None:
            instances.append(instance)
    return CocoFile(
        reader.categories, instances, reader.unlisted, document, paths, missing,
        (*notes, *(f"{path}: {note}" for note in reader.notes)),
    )  # fmt: skip


def _read_deleted(
    document: Document, reader: EntryReader, path: Path, problems: ErrorCollector
) -> None:
    """Put the annotations that somebody deleted into the one form, those that have a place."""
    extra = document.get(EXTRA)
    if not isinstance(extra, dict) or not isinstance(extra.get("deleted"), list):
        return
    entries = []
    for entry in extra["deleted"]:
        try:
            if not isinstance(entry, dict):
                raise TypeError(f"expected an object in {EXTRA}.deleted")
            if entry["image_id"] in reader.images:  # its image may be gone, too
                entry = reader.normalised(entry)
                entry["bbox"] = entry["bbox"] or reader.box_around(entry)
            entries.append(entry)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            problems.add(path, f"deleted annotation {entry!r:.40}: {describe_error(error)}")
    document[EXTRA] = {**extra, "deleted": entries}


def _find_images(
    images: Mapping[Id, Mapping[str, Any]], finder: ImageFinder
) -> tuple[dict[Id, Path], dict[Id, str]]:
    """The paths of images, and a message for each that was not found, or found for two names."""
    paths: dict[Id, Path] = {}
    missing: dict[Id, str] = {}
    taken: dict[Path, tuple[Id, str]] = {}
    for number, image in images.items():
        name = image["file_name"]
        try:
            paths[number] = finder.find(name)
        except HomologError as error:
            missing[number] = str(error)
            continue
        other, other_name = taken.setdefault(paths[number], (number, name))
        # Two names of one image are ends of each other; of other machines' paths only the end is
        # looked for, which may be the same for two.
        if other != number and not (name.endswith(other_name) or other_name.endswith(name)):
            for each in (number, other):
                missing[each] = (
                    f"expected an image for {name} and another for {other_name}, got one, "
                    f"{finder.find(name)}"
                )
    return {each: path for each, path in paths.items() if each not in missing}, missing


def write(path: Path, document: Mapping[str, Any]) -> None:
    """Write a COCO file, one list entry a line, so that versions of it can be compared.

    Raises:
        HomologError: it cannot be written; the previous file is untouched.
    """
    sections = []
    try:
        for name, value in document.items():
            if isinstance(value, list) and value:
                rows = ",\n".join(json.dumps(entry, allow_nan=False) for entry in value)
                sections.append(f"{json.dumps(name)}: [\n{rows}\n]")
            else:
                sections.append(f"{json.dumps(name)}: {json.dumps(value, allow_nan=False)}")
    except ValueError:
        raise HomologError(
            f"{path}: expected finite numbers to write, got NaN or infinity in {name}"
        ) from None
    write_atomically(path, ("{" + ",\n".join(sections) + "}\n").encode())


def _read_labels(path: Path, options: ReadOptions) -> LabelFile:
    """Read a COCO file as labels, fitted to their images; it keeps all of its members."""
    file = read(path, ErrorCollector(), options.finder(path))
    return LabelFile(file.data, file.paths, file.missing, file.notes)


def _write_labels(path: Path, document: Document, options: WriteOptions) -> list[str]:
    write(path, document)
    return []


FORMAT = LabelFormat("coco", "COCO keypoints", (".json",), _read_labels, _write_labels)
