"""Checks of data sets: everything that is wrong with one, found in one go."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from homolog.data import ap10k, coco, pf_pascal, pf_willow, spair
from homolog.data.pairs import Annotation, DataSet, ErrorCollector, out_of_bounds
from homolog.errors import HomologError
from homolog.image import reading

Loader = Callable[[ErrorCollector], DataSet]


@dataclass(frozen=True)
class Report:
    """What a check found.

    Attributes:
        kind: of the layout, such as `SPair-71k`.
        pictures: how many occur in pairs, by split.
        pairs: how many there are, by split.
        problems: what has to be put right, a line each.
        notes: what is worth knowing, a line each: what is left out, and keypoints outside of
            their picture.
    """

    kind: str
    pictures: Mapping[str, int]
    pairs: Mapping[str, int]
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def check(root: Path) -> Report:
    """Load every split of a data set, and open every picture.

    Args:
        root: the folder of SPair-71k, AP-10K, PF-PASCAL or PF-WILLOW as unpacked, or a COCO file.

    Raises:
        HomologError: it is none of these.
    """
    kind, loaders = detect_layout(root)
    problems = ErrorCollector(collect=True)
    notes: list[str] = []
    datasets: dict[str, DataSet] = {}
    for split, load in loaders.items():
        try:
            datasets[split] = load(problems)
        except HomologError as error:
            problems.found.append(str(error))
    sizes: dict[Path, tuple[int, int] | None] = {}
    pictures: dict[str, int] = {}
    categories = {name for dataset in datasets.values() for name in dataset.schemas}
    for split, dataset in datasets.items():
        annotations = dataset.annotations
        pictures[split] = len({annotation.path for annotation in annotations})
        problems.found += _pictures(annotations, sizes)
        problems.found += (f"{dataset.root}: {split}: {line}" for line in _duplicates(dataset))
        notes += (f"{split}: {note}" for note in dataset.notes)
        notes += out_of_bounds(_sized(annotations, sizes))
        paired = {pair.category for pair in dataset.pairs}
        notes += (f"{split}: no pairs of {name}" for name in sorted(categories - paired))
    return Report(
        kind,
        pictures,
        {split: len(dataset.pairs) for split, dataset in datasets.items()},
        tuple(dict.fromkeys(problems.found)),
        tuple(dict.fromkeys(notes)),
    )


def detect_layout(root: Path) -> tuple[str, dict[str, Loader]]:
    """Which layout it is, and what loads each of its splits.

    Raises:
        HomologError: it is none that is known.
    """
    if not root.exists():
        raise HomologError(f"{root}: there is no such file or folder")
    if root.is_file():
        return "COCO", {root.stem: lambda problems: coco.load(root, problems=problems)}
    if any((root / name).is_dir() for name in ("PairAnnotation", "ImageAnnotation")):
        return "SPair-71k", {split: _spair(root, split) for split in spair.SPLITS}
    if any((root / "annotations" / name).is_file() for name in ap10k.FILES):
        return "AP-10K", {
            f"{split} {subset}": _ap10k(root, split, subset)
            for split in ap10k.SPLITS
            for subset in ap10k.SUBSETS
            if split != "trn" or subset == "intra-species"
        }
    if listed := [split for split in pf_pascal.SPLITS if pf_pascal.find_list(root, split)]:
        return "PF-PASCAL", {split: _pf_pascal(root, split) for split in listed}
    if any(root.glob("*/*.mat")):
        return "PF-WILLOW", {"test": lambda problems: pf_willow.load(root, problems=problems)}
    raise HomologError(
        f"{root}: is none of SPair-71k (has PairAnnotation/, {spair.WHERE}), "
        f"AP-10K (annotations/ap10k-*-split1.json, {ap10k.WHERE}), "
        f"PF-PASCAL (*_pairs.csv or *_pairs_pf_pascal.csv, {pf_pascal.WHERE}), "
        f"PF-WILLOW (<category>/<picture>.mat, {pf_willow.WHERE}) "
        f"or a COCO file (.json with keypoints, {coco.WHERE})"
    )


def _spair(root: Path, split: spair.SpairSplit) -> Loader:
    return lambda problems: spair.load(root, split, problems=problems)


def _ap10k(root: Path, split: ap10k.Ap10kSplit, subset: ap10k.Ap10kSubset) -> Loader:
    return lambda problems: ap10k.load(root, split, subset, problems=problems)


def _pf_pascal(root: Path, split: pf_pascal.PfPascalSplit) -> Loader:
    return lambda problems: pf_pascal.load(root, split, problems=problems)


def _pictures(
    annotations: list[Annotation], sizes: dict[Path, tuple[int, int] | None]
) -> Iterator[str]:
    """A line for every picture that cannot be read or has another size; fills in the sizes."""
    for annotation in annotations:
        path = annotation.path
        if path not in sizes:
            try:
                # Whole, but small: what is broken off shows only when it is decoded.
                picture = reading.read(path, side=32, name=annotation.name)
                sizes[path] = picture.width, picture.height
            except HomologError as error:
                sizes[path] = None
                yield str(error)
        size = sizes[path]
        if size is not None and annotation.size not in (None, size):
            yield f"{path}: is {_by(size)} pixels, annotated as {_by(annotation.size)}"


def _by(size: tuple[int, int] | None) -> str:
    return "x".join(map(str, size or ()))


def _sized(
    annotations: list[Annotation], sizes: dict[Path, tuple[int, int] | None]
) -> Iterator[Annotation]:
    """The annotations with the size that their picture has, where it can be read."""
    for annotation in annotations:
        size = sizes[annotation.path] or annotation.size
        yield dataclasses.replace(annotation, size=size)


def _duplicates(dataset: DataSet) -> Iterator[str]:
    """A line for every pair of pictures that is there more than once."""
    pairs = ((pair.source.path, pair.target.path, pair.category) for pair in dataset.pairs)
    for (source, target, _), count in Counter(pairs).items():
        if count > 1:
            yield f"{source.name} and {target.name} are a pair {count} times"
