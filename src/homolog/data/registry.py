"""The data sets that commands can name. One entry adds a data set: see `DATASETS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homolog.data import (
    ap10k,
    ap10k_pairs,
    coco,
    cub,
    mp100,
    pf_pascal,
    pf_willow,
    soco,
    spair,
    spair_u,
)
from homolog.data.pairs import DataSet
from homolog.errors import HomologError

Splits = Mapping[str, Mapping[str, Any]]
"""By the name of each split the keyword arguments with which a reader loads it."""


@dataclass(frozen=True)
class DatasetEntry:
    """How to recognise and read a data set, and where to get it.

    Attributes:
        title: its name in reports, such as `SPair-71k`.
        load: reads it: takes its folder or file, the options, and `problems`, an `ErrorCollector`.
        options: the keyword arguments of `load` that commands offer as options.
        find_splits: the splits found in a folder or file; none if it is not this data set.
        layout: by what it is recognised, in a few words.
        homepage: where to get it.
        rules: for data sets that choose their pairs: from the options the rules that are written
            into a manifest.
    """

    title: str
    load: Callable[..., DataSet]
    options: tuple[str, ...]
    find_splits: Callable[[Path], Splits]
    layout: str
    homepage: str
    rules: Callable[..., dict[str, Any]] | None = None


def find(name: str) -> DatasetEntry:
    """The data set of that name.

    Raises:
        HomologError: there is none; the message lists the known ones.
    """
    if name not in DATASETS:
        raise HomologError(f"dataset: expected one of {', '.join(DATASETS)}, got {name!r}")
    return DATASETS[name]


def load(name: str, root: Path, **options: Any) -> DataSet:
    """Load a data set by its name.

    Args:
        name: such as `spair`.
        root: its folder or file.
        options: keyword arguments of its reader.

    Raises:
        HomologError: there is no such data set, it does not take an option, or it cannot be read.
    """
    entry = find(name)
    for option in options:
        if option not in entry.options:
            known = ", ".join(entry.options) or "none"
            raise HomologError(f"{option}: expected an option of {name} ({known}), got {option}")
    return entry.load(root, **options)


def detect_layout(root: Path) -> tuple[DatasetEntry, Splits]:
    """Recognise the data set in a folder or file.

    Returns:
        The data set, and its splits that are there.

    Raises:
        HomologError: it is none of the known ones; the message says where to get those.
    """
    if not root.exists():
        raise HomologError(f"{root}: expected a file or folder, got none")
    for entry in DATASETS.values():
        if splits := entry.find_splits(root):
            return entry, splits
    known = ", ".join(f"{e.title} ({e.layout}; {e.homepage})" for e in DATASETS.values())
    raise HomologError(f"{root}: expected one of {known}, got another layout")


def _spair_splits(root: Path) -> Splits:
    """All splits, in a folder with either folder of annotations."""
    folders = ("PairAnnotation", "ImageAnnotation")
    others = spair.is_spair_u(root) or _ap10k_pairs_splits(root)
    if any((root / name).is_dir() for name in folders) and not others:
        return {split: {"split": split} for split in spair.SPLITS}
    return {}


def _ap10k_pairs_splits(root: Path) -> Splits:
    """The splits whose pairs are listed, in a folder with annotations by family and species."""
    if not (root / "PairAnnotation").is_dir():
        return {}
    if not any((root / "ImageAnnotation").glob("*/*/*.json")):
        return {}
    return {
        f"{split} {subset}": {"split": split, "subset": subset}
        for split in ap10k.SPLITS
        for subset in ap10k.SUBSETS
        if ap10k_pairs.folder_of(root, split, subset).is_dir()
    }


def _soco_splits(root: Path) -> Splits:
    """The subsets and splits that are there; all subsets where they are still packed."""
    kinds: list[tuple[str, str | None]] = [(subset, None) for subset in soco.SUBSETS]
    kinds += [("intra", split) for split in soco.SPLITS]
    packed = all((root / name).is_file() for name in soco.ARCHIVES)
    return {
        split or subset: {"subset": subset, "split": split}
        for subset, split in kinds
        if soco.folder_of(root, split, subset).is_dir() or (packed and split is None)
    }


def _cub_splits(root: Path) -> Splits:
    """Both splits, in a folder with the list of images and the parts, and the random pairs."""
    if not all((root / name).is_file() for name in ("images.txt", "parts/part_locs.txt")):
        return {}
    splits = {split: {"split": split} for split in cub.SPLITS}
    return splits | ({"random": {"subset": "random"}} if (root / cub.PAIRS).is_file() else {})


def _ap10k_splits(root: Path) -> Splits:
    """All splits of all subsets, in a folder with any of the annotation files."""
    if not any((root / "annotations" / name).is_file() for name in ap10k.FILES):
        return {}
    return {
        f"{split} {subset}": {"split": split, "subset": subset}
        for split in ap10k.SPLITS
        for subset in ap10k.SUBSETS
        if split != "trn" or subset == "intra-species"
    }


def _pf_pascal_splits(root: Path) -> Splits:
    """The splits whose lists of pairs are there."""
    return {
        split: {"split": split} for split in pf_pascal.SPLITS if pf_pascal.find_list(root, split)
    }


DATASETS: dict[str, DatasetEntry] = {
    "spair": DatasetEntry(
        title="SPair-71k",
        load=spair.load,
        options=("split", "category"),
        find_splits=_spair_splits,
        layout="PairAnnotation/",
        homepage=spair.HOMEPAGE,
    ),
    "spair-u": DatasetEntry(
        title="SPair-U",
        load=spair_u.load,
        options=("category", "images"),
        find_splits=lambda root: (
            {"test": {}} if spair.is_spair_u(root) and (root / "PairAnnotation").is_dir() else {}
        ),
        layout="SPair-U/PairAnnotation/",
        homepage=spair_u.HOMEPAGE,
    ),
    "ap10k-pairs": DatasetEntry(
        title="AP-10K",
        load=ap10k_pairs.load,
        options=("split", "subset"),
        find_splits=_ap10k_pairs_splits,
        layout="ImageAnnotation/<family>/<species>/",
        homepage=ap10k_pairs.HOMEPAGE,
    ),
    "ap10k": DatasetEntry(
        title="AP-10K",
        load=ap10k.load,
        options=("split", "subset", "seed", "exclude", "single", "first_only", "manifest"),
        find_splits=_ap10k_splits,
        layout="annotations/ap10k-*-split1.json",
        homepage=ap10k.HOMEPAGE,
        rules=ap10k.rules,
    ),
    "pf-pascal": DatasetEntry(
        title="PF-PASCAL",
        load=pf_pascal.load,
        options=("split",),
        find_splits=_pf_pascal_splits,
        layout="*_pairs.csv or *_pairs_pf_pascal.csv",
        homepage=pf_pascal.HOMEPAGE,
    ),
    "pf-willow": DatasetEntry(
        title="PF-WILLOW",
        load=pf_willow.load,
        options=(),
        find_splits=lambda root: {"test": {}} if any(root.glob("*/*.mat")) else {},
        layout="<category>/<image>.mat",
        homepage=pf_willow.HOMEPAGE,
    ),
    "soco": DatasetEntry(
        title="SOCO",
        load=soco.load,
        options=("split", "subset"),
        find_splits=_soco_splits,
        layout="PairAnnotations/",
        homepage=soco.HOMEPAGE,
    ),
    "mp100": DatasetEntry(
        title="MP-100-SC",
        load=mp100.load,
        options=("subset",),
        find_splits=lambda root: {
            subset: {"subset": subset}
            for subset in mp100.SUBSETS
            if mp100.list_of(root, subset).is_file()
        },
        layout="pairs/pairs_<domain>.json",
        homepage=mp100.HOMEPAGE,
    ),
    "cub": DatasetEntry(
        title="CUB",
        load=cub.load,
        options=("split", "subset"),
        find_splits=_cub_splits,
        layout="images.txt and parts/",
        homepage=cub.HOMEPAGE,
    ),
    "coco": DatasetEntry(
        title="COCO",
        load=coco.load,
        options=("images", "single"),
        find_splits=lambda root: {root.stem: {}} if root.is_file() else {},
        layout="a .json file with keypoints",
        homepage=coco.HOMEPAGE,
    ),
}
"""By the name that commands give it, each data set; recognised in this order.

To add one, write its reader, a function that returns a `DataSet`, in a module of its own beside
the others, and add an entry. An option that no other data set has is also a field of
`homolog.cli.options.DatasetOptions`, where its help text stands.
"""
