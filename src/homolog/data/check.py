"""Checks of a data set or a file of boxes that list everything wrong with it at once."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homolog import moved
from homolog.data.boxes import SUFFIXES, read_boxes
from homolog.data.pairs import Annotation, DataSet, out_of_bounds
from homolog.data.reading import ErrorCollector, read_json
from homolog.data.registry import detect_layout
from homolog.errors import HomologError
from homolog.image import reading

_Sizes = dict[Path, tuple[int, int] | None]
"""Sizes of image files; None for those that cannot be read."""


@dataclass(frozen=True)
class CheckReport:
    """The result of checking a data set or a file of boxes.

    Attributes:
        title: of the data set, such as `SPair-71k`, or `boxes`.
        images: number of images that occur in pairs or have boxes, by split.
        pairs: number of pairs, by split; empty for boxes.
        problems: errors to be corrected, a line each.
        notes: other remarks, a line each, such as what is left out and keypoints outside their
            image.
        objects: number of objects that occur in pairs or have boxes, by split: more than images
            where some show several.
    """

    title: str
    images: Mapping[str, int]
    pairs: Mapping[str, int]
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    objects: Mapping[str, int]


def check(root: Path, images: Path | None = None) -> CheckReport:
    """Load every split of a data set, or all boxes, decode every image, and list all errors.

    Args:
        root: the folder of SPair-71k, SPair-U, AP-10K, PF-PASCAL, PF-WILLOW, SOCO, MP-100-SC or CUB
            as published, a COCO file, or a file or folder of boxes
            (`homolog.data.boxes.read_boxes`).
        images: the folder of the images that a file or a folder of masks belongs to. Without it
            they are looked up near the file.

    Raises:
        HomologError: it is none of these.
    """
    if _holds_only_boxes(root):
        return _check_boxes(root, images)
    try:
        entry, splits = detect_layout(root)
    except HomologError:
        if root.is_dir() and (images is not None or any(root.rglob("*.txt"))):
            return _check_boxes(root, images)
        raise
    if images is not None and "images" not in entry.options:
        raise HomologError(f"images: expected none with {entry.title}, got {images}")
    options = {} if images is None else {"images": images}
    problems = ErrorCollector(collect=True)
    notes: list[str] = []
    datasets: dict[str, DataSet] = {}
    for split, of_split in splits.items():
        try:
            datasets[split] = entry.load(root, **of_split, **options, problems=problems)
        except HomologError as error:
            problems.add_error(error)
    sizes: _Sizes = {}
    number_of_images: dict[str, int] = {}
    objects: dict[str, int] = {}
    categories = {name for dataset in datasets.values() for name in dataset.schemas}
    for split, dataset in datasets.items():
        annotations = dataset.annotations
        number_of_images[split] = len({annotation.path for annotation in annotations})
        objects[split] = len({_identity(annotation) for annotation in annotations})
        problems.messages += _check_images(((a.path, a.name, a.size) for a in annotations), sizes)
        problems.messages += (f"{dataset.root}: {split}: {line}" for line in _repeated(dataset))
        notes += (f"{split}: {note}" for note in dataset.notes)
        notes += out_of_bounds(_with_sizes(annotations, sizes))
        paired = {pair.category for pair in dataset.pairs}
        notes += (f"{split}: no pairs of {name}" for name in sorted(categories - paired))
    if root.is_file():
        notes += _notes_on_boxes(root, images, sum(objects.values()), problems.messages)
    return CheckReport(
        entry.title,
        number_of_images,
        {split: len(dataset.pairs) for split, dataset in datasets.items()},
        tuple(dict.fromkeys(problems.messages)),
        tuple(dict.fromkeys(notes)),
        objects,
    )


def _holds_only_boxes(root: Path) -> bool:
    """Whether a file has boxes but no keypoints that make pairs: a COCO file may have both."""
    if not root.is_file():
        return False
    if root.suffix.lower() != ".json":
        return root.suffix.lower() in SUFFIXES
    try:
        content = read_json(root)
    except HomologError:
        return False
    if isinstance(content, list):
        return True
    lists = [content.get(s) for s in ("categories", "annotations")] if _is_object(content) else []
    return (
        bool(lists)
        and all(isinstance(each, list) for each in lists)
        and not any(
            _is_object(each) and each.get("keypoints") for entries in lists for each in entries
        )
    )


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _check_boxes(root: Path, images: Path | None) -> CheckReport:
    """Read all boxes and masks, and decode the images that have some."""
    found = read_boxes(root, images)
    objects = {path: each for path, each in found.objects.items() if each}
    problems = [*found.problems, *_check_images(((p, p.name, None) for p in objects), {})]
    for path, of_image in objects.items():
        for each in of_image:
            try:
                if each.mask is not None and not each.mask().any():
                    raise HomologError("mask: expected at least one pixel of the object, got none")
            except HomologError as error:
                problems.append(f"{root}: {path.name}, instance {each.instance}: {error}")
    return CheckReport(
        "boxes", {root.stem: len(objects)}, {}, tuple(problems), found.notes,
        {root.stem: found.count},
    )  # fmt: skip


def _notes_on_boxes(
    root: Path, images: Path | None, paired: int, problems: Sequence[str]
) -> list[str]:
    """What reading only the boxes of a COCO file says beyond the problems of its keypoints.

    Args:
        root: the file.
        images: the folder of its images.
        paired: number of objects that occur in pairs.
        problems: those of the data set.
    """
    known = {_entry_of(root, line) for line in problems}
    try:
        found = read_boxes(root, images)
    except HomologError as error:
        return [] if problems else [str(error)]
    notes = [line for line in found.problems if _entry_of(root, line) not in known]
    if found.count != paired:
        used = sum(1 for each in found.objects.values() if each)
        notes.insert(0, f"boxes: {used} images, {found.count} objects")
    return notes


def _entry_of(root: Path, line: str) -> str:
    """The entry of a file that a line is about, such as `annotation 7`."""
    return line.removeprefix(f"{root}: ").partition(":")[0]


def _check_images(
    images: Iterable[tuple[Path, str, tuple[int, int] | None]], sizes: _Sizes
) -> Iterator[str]:
    """A line for each image that cannot be read or has another size; adds to the sizes.

    Args:
        images: path, name and the size that it should have, if that is known.
        sizes: those of images that were read before.
    """
    for path, name, expected in images:
        if path not in sizes:
            try:
                # Decoded completely, for a truncated file shows only then, but to a small image.
                image = reading.load_image(path, longest_edge=32, name=name)
                sizes[path] = image.width, image.height
            except HomologError as error:
                sizes[path] = None
                yield str(error)
        size = sizes[path]
        if size is not None and expected not in (None, size):
            yield f"{path}: expected {_format(expected)} pixels, got {_format(size)}"


def _format(size: tuple[int, int] | None) -> str:
    """An image size as text, such as `640 x 480`."""
    return " x ".join(map(str, size or ()))


def _with_sizes(annotations: Iterable[Annotation], sizes: _Sizes) -> Iterator[Annotation]:
    """The annotations with the actual sizes of their images, if these can be read."""
    for annotation in annotations:
        size = sizes[annotation.path] or annotation.size
        yield dataclasses.replace(annotation, size=size)


def _repeated(dataset: DataSet) -> Iterator[str]:
    """A line for each pair of objects that occurs several times."""
    pairs = (
        (_identity(pair.source), _identity(pair.target), pair.category) for pair in dataset.pairs
    )
    for ((source, first), (target, second), _), count in Counter(pairs).items():
        if count > 1:
            names = f"{first or source.name} and {second or target.name}"
            yield f"expected {names} as a pair once, got {count} times"


def _identity(annotation: Annotation) -> tuple[Path, str | None]:
    """What tells an object from all others: its image, and its name if it is not alone there."""
    return annotation.path, annotation.name if annotation.shares_image else None


def __getattr__(name: str) -> Any:
    return moved.attribute(__name__, name)
