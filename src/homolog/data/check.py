"""Checks of a data set that list everything wrong with it at once."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homolog import moved
from homolog.data.pairs import Annotation, DataSet, out_of_bounds
from homolog.data.reading import ErrorCollector
from homolog.data.registry import detect_layout
from homolog.errors import HomologError
from homolog.image import reading

_Sizes = dict[Path, tuple[int, int] | None]
"""Sizes of image files; None for those that cannot be read."""


@dataclass(frozen=True)
class CheckReport:
    """The result of checking a data set.

    Attributes:
        title: of the data set, such as `SPair-71k`.
        images: number of images that occur in pairs, by split.
        pairs: number of pairs, by split.
        problems: errors to be corrected, a line each.
        notes: other remarks, a line each, such as what is left out and keypoints outside their
            image.
    """

    title: str
    images: Mapping[str, int]
    pairs: Mapping[str, int]
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def check(root: Path) -> CheckReport:
    """Load every split of a data set, decode every image, and list all errors.

    Args:
        root: the folder of SPair-71k, AP-10K, PF-PASCAL or PF-WILLOW as published, or a COCO file.

    Raises:
        HomologError: it is none of these.
    """
    entry, splits = detect_layout(root)
    problems = ErrorCollector(collect=True)
    notes: list[str] = []
    datasets: dict[str, DataSet] = {}
    for split, options in splits.items():
        try:
            datasets[split] = entry.load(root, **options, problems=problems)
        except HomologError as error:
            problems.add_error(error)
    sizes: _Sizes = {}
    images: dict[str, int] = {}
    categories = {name for dataset in datasets.values() for name in dataset.schemas}
    for split, dataset in datasets.items():
        annotations = dataset.annotations
        images[split] = len({annotation.path for annotation in annotations})
        problems.messages += _check_images(annotations, sizes)
        problems.messages += (f"{dataset.root}: {split}: {line}" for line in _repeated(dataset))
        notes += (f"{split}: {note}" for note in dataset.notes)
        notes += out_of_bounds(_with_sizes(annotations, sizes))
        paired = {pair.category for pair in dataset.pairs}
        notes += (f"{split}: no pairs of {name}" for name in sorted(categories - paired))
    return CheckReport(
        entry.title,
        images,
        {split: len(dataset.pairs) for split, dataset in datasets.items()},
        tuple(dict.fromkeys(problems.messages)),
        tuple(dict.fromkeys(notes)),
    )


def _check_images(annotations: Iterable[Annotation], sizes: _Sizes) -> Iterator[str]:
    """A line for each image that cannot be read or has another size; adds to the sizes."""
    for annotation in annotations:
        path = annotation.path
        if path not in sizes:
            try:
                # Decoded completely, for a truncated file shows only then, but to a small image.
                image = reading.load_image(path, longest_edge=32, name=annotation.name)
                sizes[path] = image.width, image.height
            except HomologError as error:
                sizes[path] = None
                yield str(error)
        size = sizes[path]
        if size is not None and annotation.size not in (None, size):
            yield f"{path}: expected {_format(annotation.size)} pixels, got {_format(size)}"


def _format(size: tuple[int, int] | None) -> str:
    """An image size as text, such as `640 x 480`."""
    return " x ".join(map(str, size or ()))


def _with_sizes(annotations: Iterable[Annotation], sizes: _Sizes) -> Iterator[Annotation]:
    """The annotations with the actual sizes of their images, if these can be read."""
    for annotation in annotations:
        size = sizes[annotation.path] or annotation.size
        yield dataclasses.replace(annotation, size=size)


def _repeated(dataset: DataSet) -> Iterator[str]:
    """A line for each pair of images that occurs several times."""
    pairs = ((pair.source.path, pair.target.path, pair.category) for pair in dataset.pairs)
    for (source, target, _), count in Counter(pairs).items():
        if count > 1:
            yield f"expected {source.name} and {target.name} as a pair once, got {count} times"


def __getattr__(name: str) -> Any:
    return moved.attribute(__name__, name)
