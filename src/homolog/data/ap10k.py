"""The correspondence benchmark that is built from AP-10K (Yu et al., 2021, arXiv 2108.12617).

The benchmark (Zhang et al., 2024, arXiv 2311.17034) is known by its rules: its own builder follows
the order of the file system, so that its splits cannot be had again. Here everything is sorted,
and what is sampled is chosen by hashes of file names.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Int, UInt64

from homolog.data import manifest as manifests
from homolog.data.combine import LazyPairs, shared_keypoints
from homolog.data.formats import coco
from homolog.data.pairs import Annotation, DataSet, ErrorCollector, listed
from homolog.errors import HomologError
from homolog.keypoints import KeypointSchema

Ap10kSplit = Literal["trn", "val", "test"]
Ap10kSubset = Literal["intra-species", "cross-species", "cross-family"]
SPLITS: tuple[Ap10kSplit, ...] = ("trn", "val", "test")
SUBSETS: tuple[Ap10kSubset, ...] = ("intra-species", "cross-species", "cross-family")
WHERE = "https://github.com/AlexTheBad/AP-10K"
FILES = ("ap10k-train-split1.json", "ap10k-val-split1.json", "ap10k-test-split1.json")

MIN_KEYPOINTS = 3
TRAINING_PAIRS = 50  # per training picture of a species
_PICTURES = {"test": slice(-30, None), "val": slice(-50, -30), "trn": slice(None, -50)}
_LIMITS = {
    ("val", "cross-species"): 400,
    ("test", "cross-species"): 900,
    ("val", "cross-family"): 20,
    ("test", "cross-family"): 30,
}


def load(
    root: Path,
    split: Ap10kSplit = "test",
    subset: Ap10kSubset = "intra-species",
    *,
    seed: int = 0,
    exclude: Path | None = None,
    single: bool = False,
    manifest: Path | None = None,
    problems: ErrorCollector | None = None,
) -> DataSet:
    """One split of the benchmark: pairs with at least three keypoints in common.

    Of each picture the first annotation counts. Within a species the last 30 pictures by file
    name are for testing, the 20 before them for validation, the others for training. The source
    of a pair is the picture whose file name comes first.

    Args:
        root: the folder with `annotations` and `data`.
        split: `trn`, `val` or `test`.
        subset: `intra-species`: pairs of one species, all of them, for training up to 50 times
            the species' pictures. `cross-species`: of two species of a family, up to 400 a family
            for validation, 900 for testing. `cross-family`: up to 20 and 30 for every two
            families.
        seed: another one gives another sample.
        exclude: a file that names pictures to be left out, one file name or id a line.
        single: leave out pictures with several annotated animals.
        manifest: take the pairs that this file lists, instead of choosing them.
        problems: collects what is wrong, instead of raising at the first thing.

    Raises:
        HomologError: files are missing or broken, there is no such split or subset, or the
            manifest does not belong to them.
    """
    problems = problems or ErrorCollector()
    for name, value, known in (("split", split, SPLITS), ("subset", subset, SUBSETS)):
        if value not in known:
            raise HomologError(f"{name}: {value!r} is none of {', '.join(known)}")
    if split == "trn" and subset != "intra-species":
        raise HomologError(f"subset: training pairs are intra-species, there are none {subset}")
    pictures = _pictures(root, problems)
    if manifest is None:
        kept, notes = _usable(pictures, exclude, single)
        pictures = _of_split(kept, split)
        seen = {picture.species for picture in pictures}
        if empty := sorted({picture.species for picture in kept} - seen):
            notes.append(f"no pictures in split {split}: {listed(empty)}")
        index = _chosen(pictures, split, subset, seed)
    else:
        index = _as_listed(pictures, manifest, {"split": split, "subset": subset})
        notes = [f"pairs as listed in {manifest.name}"]
    if len(index) == 0:
        problems.add(root, f"no {subset} pairs in split {split}")
    annotations = [picture.annotation for picture in pictures]
    return DataSet(
        f"AP-10K {subset} {split}",
        root,
        {
            species: KeypointSchema.ap10k()
            for species in sorted({annotations[i].category for i in np.unique(index)})
        },
        LazyPairs(annotations, index),
        threshold="box",
        alphas=(0.1, 0.05, 0.01),
        notes=tuple(notes),
    )


def rules(
    split: Ap10kSplit = "test",
    subset: Ap10kSubset = "intra-species",
    *,
    seed: int = 0,
    exclude: Path | None = None,
    single: bool = False,
) -> dict[str, Any]:
    """What a manifest says of how `load` chose its pairs, by the same arguments."""
    return {
        "split": split,
        "subset": subset,
        "seed": seed,
        "single": single,
        "excluded": sorted(_lines(exclude)),
    }


@dataclass(frozen=True, eq=False)
class _Picture:
    """A picture by its first annotation.

    Attributes:
        annotation: named by the file.
        image_id: AP-10K's own.
        family: of the species.
        animals: how many are annotated.
    """

    annotation: Annotation
    image_id: int
    family: str
    animals: int

    @property
    def species(self) -> str:
        return self.annotation.category


def _pictures(root: Path, problems: ErrorCollector) -> list[_Picture]:
    """All annotated pictures, by file name."""
    things: dict[int, coco.Instance] = {}
    families: dict[str, str] = {}
    names = KeypointSchema.ap10k().names
    for name in FILES:
        path = root / "annotations" / name
        if not path.is_file():
            raise HomologError(f"{path}: there is no such file; AP-10K is at {WHERE}")
        file = coco.read(path, problems)
        for number, category in file.categories.items():
            if category.schema is None or category.schema.names != names:
                problems.add(path, f"category {number}: its keypoints are not those of AP-10K")
            if category.family is None:
                problems.add(path, f"category {number}: lacks 'supercategory'")
            families[category.name] = category.family or ""
        for thing in file.things:
            if thing.id in things:
                problems.add(path, f"annotation {thing.id}: is in another file, too")
            elif len(thing.keypoints) == len(names):
                things[thing.id] = thing
    animals = Counter(thing.file_name for thing in things.values())
    firsts: dict[str, coco.Instance] = {}
    for number in sorted(things):
        firsts.setdefault(things[number].file_name, things[number])
    return [
        _Picture(
            thing.annotation(root / "data" / name),
            thing.image_id,
            families[thing.category],
            animals[name],
        )
        for name, thing in sorted(firsts.items())
    ]


def _usable(
    pictures: list[_Picture], exclude: Path | None, single: bool
) -> tuple[list[_Picture], list[str]]:
    """The pictures that the rules keep, and notes on the others."""
    excluded = _lines(exclude)
    kept, found = [], set()
    reasons: Counter[str] = Counter()
    for picture in pictures:
        if named := excluded & {picture.annotation.name, str(picture.image_id)}:
            found |= named
            reasons["named in the list of exclusions"] += 1
        elif single and picture.animals > 1:
            reasons["several annotated animals"] += 1
        elif picture.annotation.visible.sum() < MIN_KEYPOINTS:
            reasons[f"fewer than {MIN_KEYPOINTS} visible keypoints"] += 1
        else:
            kept.append(picture)
    notes = [f"pictures left out, {reason}: {count}" for reason, count in reasons.items()]
    if unknown := sorted(excluded - found):
        notes.append(f"exclusions that name no picture: {listed(unknown)}")
    return kept, notes


def _lines(exclude: Path | None) -> set[str]:
    """The file names and ids that a list of exclusions names."""
    if exclude is None:
        return set()
    try:
        lines = {line.strip() for line in exclude.read_text("utf-8").splitlines()} - {""}
    except OSError as error:
        raise HomologError(f"{exclude}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise HomologError(f"{exclude}: is not a list of pictures: not text") from None
    return {str(int(line)) if line.isdecimal() else line for line in lines}


def _of_split(pictures: list[_Picture], split: Ap10kSplit) -> list[_Picture]:
    """The pictures of a split, by file name."""
    by_species: dict[str, list[_Picture]] = {}
    for picture in pictures:
        by_species.setdefault(picture.species, []).append(picture)
    found = [picture for some in by_species.values() for picture in some[_PICTURES[split]]]
    return sorted(found, key=lambda picture: picture.annotation.name)


def _as_listed(
    pictures: list[_Picture], manifest: Path, rules: dict[str, str]
) -> Int[np.ndarray, "P 2"]:
    """The pairs of a manifest that was made by these rules."""
    listing = manifests.read(manifest)
    for name, value in rules.items():
        if listing.rules.get(name) != value:
            raise HomologError(f"{manifest}: its {name} is {listing.rules.get(name)}, not {value}")
    return listing.index([picture.annotation.name for picture in pictures])


def _chosen(
    pictures: list[_Picture], split: Ap10kSplit, subset: Ap10kSubset, seed: int
) -> Int[np.ndarray, "P 2"]:
    """Places of the pairs of a split, by group, within it by source and target."""
    species = np.array([picture.species for picture in pictures])
    keys = _keys(pictures, seed)
    found = [np.empty((0, 2), dtype=int)]
    for first, second in _groups(pictures, subset):
        a, b = ([pictures[i].annotation for i in side] for side in (first, second))
        i, j = np.nonzero(shared_keypoints(a, b) >= MIN_KEYPOINTS)
        pairs = np.stack([first[i], second[j]], axis=1)
        if first is second:
            pairs = pairs[pairs[:, 0] < pairs[:, 1]]
        pairs.sort(axis=1)
        if subset == "cross-species":
            pairs = pairs[species[pairs[:, 0]] != species[pairs[:, 1]]]
        limit = TRAINING_PAIRS * len(first) if split == "trn" else _LIMITS.get((split, subset))
        if limit is not None:
            rank = _mixed(keys[pairs[:, 0]], keys[pairs[:, 1]])
            pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0], rank))[:limit]]
        found.append(pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))])
    return np.concatenate(found)


def _groups(
    pictures: list[_Picture], subset: Ap10kSubset
) -> Iterator[tuple[Int[np.ndarray, "N"], Int[np.ndarray, "M"]]]:
    """Places of the pictures that are paired: within one group, or between two."""
    groups: dict[str, list[int]] = {}
    for place, picture in enumerate(pictures):
        name = picture.species if subset == "intra-species" else picture.family
        groups.setdefault(name, []).append(place)
    members = [np.array(groups[name]) for name in sorted(groups)]
    if subset == "cross-family":
        yield from itertools.combinations(members, 2)
    else:
        yield from ((places, places) for places in members)


def _keys(pictures: list[_Picture], seed: int) -> UInt64[np.ndarray, "N"]:
    """A hash of each picture's file name."""
    texts = (f"{seed}:{picture.annotation.name}".encode() for picture in pictures)
    digests = (hashlib.blake2b(text, digest_size=8).digest() for text in texts)
    return np.array([int.from_bytes(digest, "big") for digest in digests], dtype=np.uint64)


def _mixed(
    first: UInt64[np.ndarray, "P"], second: UInt64[np.ndarray, "P"]
) -> UInt64[np.ndarray, "P"]:
    """A hash of every two hashes (SplitMix64), the same wherever whole numbers wrap at 64 bits."""
    x = first * np.uint64(0x9E3779B97F4A7C15) + second
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
