"""The correspondence benchmark built from AP-10K (Yu et al., 2021, arXiv 2108.12617).

The benchmark (Zhang et al., 2024, arXiv 2311.17034) is known by its rules: its own builder depends
on the order in which the file system lists files, so its splits cannot be reproduced. Here
everything is sorted, and samples are drawn by hashes of file names.
"""

from __future__ import annotations

import bisect
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
from homolog.data.formats import coco
from homolog.data.formats.coco_entries import Instance, id_order
from homolog.data.pairs import Annotation, DataSet, LazyPairs, shared_keypoints
from homolog.data.reading import ErrorCollector, abbreviate, check_choice, unreadable
from homolog.data.values import Id
from homolog.errors import HomologError
from homolog.image import regions
from homolog.keypoints import KeypointSchema

Ap10kSplit = Literal["trn", "val", "test"]
Ap10kSubset = Literal["intra-species", "cross-species", "cross-family"]
SPLITS: tuple[Ap10kSplit, ...] = ("trn", "val", "test")
SUBSETS: tuple[Ap10kSubset, ...] = ("intra-species", "cross-species", "cross-family")
HOMEPAGE = "https://github.com/AlexTheBad/AP-10K"
FILES = ("ap10k-train-split1.json", "ap10k-val-split1.json", "ap10k-test-split1.json")

MIN_KEYPOINTS = 3
"""Visible keypoints that an image must have, and keypoints that a pair must share."""

TRAINING_PAIRS = 50
"""Training pairs of a species for each of its annotations, at most."""

_TEST_IMAGES, _VALIDATION_IMAGES = 30, 20  # of a species, the last ones
_MAX_PAIRS = {
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
    first_only: bool = False,
    manifest: Path | None = None,
    problems: ErrorCollector | None = None,
) -> DataSet:
    """Load one split of the benchmark: pairs with at least three visible keypoints in common.

    Within a species the last 30 images by file name are the test set, the 20 before them the
    validation set, the others the training set. The source of a pair is the image whose file name
    comes first.

    Every annotated animal is used; where an image has several, each is told from the others by its
    box, and named by the image and the id of its annotation. Two animals of one image are no pair.
    The published benchmark uses the first annotation of each image (`first_only`) and leaves
    crowded images out (`exclude`, or `single`). Images are in the same splits either way; one whose
    first animal has too few keypoints is in that of its next animal's species.

    Args:
        root: the folder with `annotations` and `data`.
        split: `trn`, `val` or `test`.
        subset: `intra-species`: pairs of one species, all of them; for training at most 50 times
            the number of its images. `cross-species`: of two species of a family, at most 400 a
            family for validation, 900 for testing. `cross-family`: at most 20 and 30 for each two
            families.
        seed: of the samples.
        exclude: a file that names images to leave out, a file name or id a line.
        single: leave out images with several annotated animals.
        first_only: use the first annotated animal of each image, as published.
        manifest: take the pairs that this file lists, instead of choosing them.
        problems: collects errors, instead of raising the first.

    Raises:
        HomologError: files are missing or malformed, there is no such split or subset, or the
            manifest is of another one.
    """
    problems = problems or ErrorCollector()
    check_choice("split", split, SPLITS)
    check_choice("subset", subset, SUBSETS)
    if split == "trn" and subset != "intra-species":
        raise HomologError(f"subset: expected intra-species for training pairs, got {subset!r}")
    if (root / "PairAnnotation").is_dir() and not (root / "data").is_dir():
        raise HomologError(
            f"{root / 'data'}: expected a folder of images, got none, but listed pairs; try "
            "ap10k-pairs"
        )
    listed = None if manifest is None else manifests.read(manifest)
    all_objects = not first_only
    if listed is not None:  # older lists are all of first animals, and do not say so
        all_objects = listed.rules.get("all_objects") is True
    animals = _read_animals(root, problems, all_objects)
    if listed is None:
        usable, notes = _filter(animals, exclude, single)
        animals = _of_split(usable, split)
        present = {animal.species for animal in animals}
        if empty := sorted({animal.species for animal in usable} - present):
            notes.append(f"no images in split {split}: {abbreviate(empty)}")
        index = _choose_pairs(animals, split, subset, seed)
    else:
        index = _listed_pairs(animals, listed, {"split": split, "subset": subset})
        notes = [f"pairs as listed in {listed.path.name}"]
    if len(index) == 0:
        problems.add(root, f"expected {subset} pairs in split {split}, got none")
    annotations = [animal.annotation for animal in animals]
    return DataSet(
        f"AP-10K {subset} {split}"
        + (
            ", every animal"
            if any(animal.animals > 1 for animal in animals) and all_objects
            else ""
        ),
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
    first_only: bool = False,
) -> dict[str, Any]:
    """The arguments of `load` by which pairs were chosen, to be written into their manifest."""
    chosen = {
        "split": split,
        "subset": subset,
        "seed": seed,
        "single": single,
        "excluded": sorted(_read_exclusions(exclude)),
    }
    return chosen | ({} if first_only else {"all_objects": True})


@dataclass(frozen=True, eq=False)
class _Animal:
    """An annotated animal of AP-10K.

    Attributes:
        annotation: named by the image's file name; with all animals of an image, by its id, too.
        file_name: of the image.
        image_id: AP-10K's own.
        family: of the species.
        animals: how many animals are annotated in the image.
        first: whether it is the first of them, which the published rules use.
    """

    annotation: Annotation
    file_name: str
    image_id: Id
    family: str
    animals: int
    first: bool

    @property
    def species(self) -> str:
        """The species, which is the category of its annotation."""
        return self.annotation.category


def _read_animals(root: Path, problems: ErrorCollector, all_objects: bool) -> list[_Animal]:
    """The first animal of each image, or all of them, sorted by file name and id."""
    instances: dict[Id, Instance] = {}
    families: dict[str, str] = {}
    names = KeypointSchema.ap10k().names
    for name in FILES:
        path = root / "annotations" / name
        if not path.is_file():
            raise HomologError(f"{path}: expected a file, got none; try AP-10K from {HOMEPAGE}")
        file = coco.read(path, problems)
        for number, category in file.categories.items():
            if category.schema is None or category.schema.names != names:
                problems.add(path, f"category {number}: expected AP-10K's keypoints, got others")
            if category.family is None:
                problems.add(path, f"category {number}: expected 'supercategory', got none")
            families[category.name] = category.family or ""
        for instance in file.instances:
            if instance.id in instances:
                problems.add(
                    path,
                    f"annotation {instance.id}: expected an id that no other file has, got one "
                    "that another file has",
                )
            elif len(instance.keypoints) == len(names):
                instances[instance.id] = instance
    animals = Counter(instance.file_name for instance in instances.values())
    firsts: dict[str, Instance] = {}
    for number in sorted(instances, key=id_order):
        firsts.setdefault(instances[number].file_name, instances[number])
    used = instances.values() if all_objects else firsts.values()
    return [
        _Animal(
            instance.annotation(
                root / "data" / instance.file_name,
                shares_image=all_objects and animals[instance.file_name] > 1,
            ),
            instance.file_name,
            instance.image_id,
            families[instance.category],
            animals[instance.file_name],
            instance is firsts[instance.file_name],
        )
        for instance in sorted(used, key=lambda each: (each.file_name, id_order(each.id)))
    ]


def _filter(
    animals: list[_Animal], exclude: Path | None, single: bool
) -> tuple[list[_Animal], list[str]]:
    """The animals that the rules keep, and notes about the others."""
    excluded = _read_exclusions(exclude)
    usable, used_exclusions = [], set()
    reasons: Counter[str] = Counter()
    for animal in animals:
        annotation = animal.annotation
        if named := excluded & {animal.file_name, str(animal.image_id)}:
            used_exclusions |= named
            reasons["named in the list of exclusions"] += 1
        elif single and animal.animals > 1:
            reasons["several annotated animals"] += 1
        elif annotation.visible.sum() < MIN_KEYPOINTS:
            reasons[f"fewer than {MIN_KEYPOINTS} visible keypoints"] += 1
        elif annotation.shares_image and not _has_usable_box(annotation):
            reasons["boxes that cannot be right"] += 1
        else:
            usable.append(animal)
    what = "images" if all(animal.first for animal in animals) else "animals"
    notes = [f"{what} left out, {reason}: {count}" for reason, count in reasons.items()]
    if unknown := sorted(excluded - used_exclusions):
        notes.append(f"exclusions that name no image: {abbreviate(unknown)}")
    return usable, notes


def _read_exclusions(path: Path | None) -> set[str]:
    """The file names and ids in a list of exclusions; ids without leading zeros."""
    if path is None:
        return set()
    try:
        lines = {line.strip() for line in path.read_text("utf-8").splitlines()} - {""}
    except OSError as error:
        raise unreadable(path, error) from error
    except UnicodeDecodeError:
        raise HomologError(f"{path}: expected a list of images, got bytes not text") from None
    return {str(int(line)) if line.isdecimal() else line for line in lines}


def _has_usable_box(annotation: Annotation) -> bool:
    """Whether a box can tell an animal from others of its image, as far as its size is known."""
    try:
        if annotation.size is not None:
            regions.as_box(annotation.xywh, annotation.size)
    except HomologError:
        return False
    return True


def _of_split(animals: list[_Animal], split: Ap10kSplit) -> list[_Animal]:
    """The animals of a split, in the order given, which is that of file names."""
    ranked: dict[str, list[str]] = {}  # of each species, the images that the rules count
    species: dict[str, str] = {}  # of an image: that of the first animal that can be used
    for animal in animals:
        species.setdefault(animal.file_name, animal.species)
        if animal.first:
            ranked.setdefault(animal.species, []).append(animal.file_name)

    def split_of(file_name: str) -> Ap10kSplit:
        names = ranked.get(species[file_name], [])
        rank = len(names) - bisect.bisect_left(names, file_name)  # from the end, the last is 1
        return (
            "test"
            if rank <= _TEST_IMAGES
            else "val"
            if rank <= _TEST_IMAGES + _VALIDATION_IMAGES
            else "trn"
        )

    return [animal for animal in animals if split_of(animal.file_name) == split]


def _listed_pairs(
    animals: list[_Animal], manifest: manifests.Manifest, expected: dict[str, str]
) -> Int[np.ndarray, "P 2"]:
    """The pairs of a manifest, as positions of animals, if it was made by the expected rules."""
    for name, value in expected.items():
        if (found := manifest.rules.get(name)) != value:
            raise HomologError(f"{manifest.path}: {name}: expected {value}, got {found}")
    return manifest.index([animal.annotation.name for animal in animals])


def _choose_pairs(
    animals: list[_Animal], split: Ap10kSplit, subset: Ap10kSubset, seed: int
) -> Int[np.ndarray, "P 2"]:
    """The pairs of a split, as positions of animals, by group, within it by source and target."""
    species = np.array([animal.species for animal in animals])
    file_names = np.array([animal.file_name for animal in animals])
    hashes = _name_hashes(animals, seed)
    chosen = [np.empty((0, 2), dtype=int)]
    for group, other in _paired_groups(animals, subset):
        members, others = ([animals[i].annotation for i in each] for each in (group, other))
        i, j = np.nonzero(shared_keypoints(members, others) >= MIN_KEYPOINTS)
        pairs = np.stack([group[i], other[j]], axis=1)
        if group is other:
            pairs = pairs[pairs[:, 0] < pairs[:, 1]]
        pairs = pairs[file_names[pairs[:, 0]] != file_names[pairs[:, 1]]]
        pairs.sort(axis=1)
        if subset == "cross-species":
            pairs = pairs[species[pairs[:, 0]] != species[pairs[:, 1]]]
        limit = TRAINING_PAIRS * len(group) if split == "trn" else _MAX_PAIRS.get((split, subset))
        if limit is not None:
            rank = _pair_hashes(hashes[pairs[:, 0]], hashes[pairs[:, 1]])
            pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0], rank))[:limit]]
        chosen.append(pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))])
    return np.concatenate(chosen)


def _paired_groups(
    animals: list[_Animal], subset: Ap10kSubset
) -> Iterator[tuple[Int[np.ndarray, "N"], Int[np.ndarray, "M"]]]:
    """Positions of the animals that are paired: a group with itself, or with another group."""
    groups: dict[str, list[int]] = {}
    for position, animal in enumerate(animals):
        name = animal.species if subset == "intra-species" else animal.family
        groups.setdefault(name, []).append(position)
    members = [np.array(groups[name]) for name in sorted(groups)]
    if subset == "cross-family":
        yield from itertools.combinations(members, 2)
    else:
        yield from ((positions, positions) for positions in members)


def _name_hashes(animals: list[_Animal], seed: int) -> UInt64[np.ndarray, "N"]:
    """A hash of each annotation's name."""
    texts = (f"{seed}:{animal.annotation.name}".encode() for animal in animals)
    digests = (hashlib.blake2b(text, digest_size=8).digest() for text in texts)
    return np.array([int.from_bytes(digest, "big") for digest in digests], dtype=np.uint64)


def _pair_hashes(
    source: UInt64[np.ndarray, "P"], target: UInt64[np.ndarray, "P"]
) -> UInt64[np.ndarray, "P"]:
    """A hash of each two hashes (SplitMix64), the same wherever integers wrap at 64 bits."""
    x = source * np.uint64(0x9E3779B97F4A7C15) + target
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
