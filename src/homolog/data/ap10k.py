"""The correspondence benchmark built from AP-10K (Yu et al., 2021, arXiv 2108.12617).

The benchmark (Zhang et al., 2024, arXiv 2311.17034) is known by its rules: its own builder depends
on the order in which the file system lists files, so its splits cannot be reproduced. Here
everything is sorted, and samples are drawn by hashes of file names.
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
from homolog.data.formats import coco
from homolog.data.pairs import Annotation, DataSet, LazyPairs, shared_keypoints
from homolog.data.reading import ErrorCollector, abbreviate, check_choice, unreadable
from homolog.errors import HomologError
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
"""Training pairs of a species for each of its images, at most."""

_SPLIT_IMAGES = {"test": slice(-30, None), "val": slice(-50, -30), "trn": slice(None, -50)}
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
    manifest: Path | None = None,
    problems: ErrorCollector | None = None,
) -> DataSet:
    """Load one split of the benchmark: pairs with at least three visible keypoints in common.

    Only the first annotation of each image is used. Within a species the last 30 images by file
    name are the test set, the 20 before them the validation set, the others the training set. The
    source of a pair is the image whose file name comes first.

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
    images = _read_images(root, problems)
    if manifest is None:
        usable, notes = _filter(images, exclude, single)
        images = _of_split(usable, split)
        present = {image.species for image in images}
        if empty := sorted({image.species for image in usable} - present):
            notes.append(f"no images in split {split}: {abbreviate(empty)}")
        index = _choose_pairs(images, split, subset, seed)
    else:
        index = _listed_pairs(images, manifest, {"split": split, "subset": subset})
        notes = [f"pairs as listed in {manifest.name}"]
    if len(index) == 0:
        problems.add(root, f"expected {subset} pairs in split {split}, got none")
    annotations = [image.annotation for image in images]
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
    """The arguments of `load` by which pairs were chosen, to be written into their manifest."""
    return {
        "split": split,
        "subset": subset,
        "seed": seed,
        "single": single,
        "excluded": sorted(_read_exclusions(exclude)),
    }


@dataclass(frozen=True, eq=False)
class _AnimalImage:
    """An image of AP-10K with its first annotation.

    Attributes:
        annotation: named by the image's file name.
        image_id: AP-10K's own.
        family: of the species.
        animals: how many animals are annotated in the image.
    """

    annotation: Annotation
    image_id: int
    family: str
    animals: int

    @property
    def species(self) -> str:
        """The species, which is the category of its annotation."""
        return self.annotation.category


def _read_images(root: Path, problems: ErrorCollector) -> list[_AnimalImage]:
    """All annotated images, sorted by file name."""
    instances: dict[int, coco.Instance] = {}
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
    firsts: dict[str, coco.Instance] = {}
    for number in sorted(instances):
        firsts.setdefault(instances[number].file_name, instances[number])
    return [
        _AnimalImage(
            instance.annotation(root / "data" / name),
            instance.image_id,
            families[instance.category],
            animals[name],
        )
        for name, instance in sorted(firsts.items())
    ]


def _filter(
    images: list[_AnimalImage], exclude: Path | None, single: bool
) -> tuple[list[_AnimalImage], list[str]]:
    """The images that the rules keep, and notes about the others."""
    excluded = _read_exclusions(exclude)
    usable, used_exclusions = [], set()
    reasons: Counter[str] = Counter()
    for image in images:
        if named := excluded & {image.annotation.name, str(image.image_id)}:
            used_exclusions |= named
            reasons["named in the list of exclusions"] += 1
        elif single and image.animals > 1:
            reasons["several annotated animals"] += 1
        elif image.annotation.visible.sum() < MIN_KEYPOINTS:
            reasons[f"fewer than {MIN_KEYPOINTS} visible keypoints"] += 1
        else:
            usable.append(image)
    notes = [f"images left out, {reason}: {count}" for reason, count in reasons.items()]
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


def _of_split(images: list[_AnimalImage], split: Ap10kSplit) -> list[_AnimalImage]:
    """The images of a split, sorted by file name."""
    by_species: dict[str, list[_AnimalImage]] = {}
    for image in images:
        by_species.setdefault(image.species, []).append(image)
    chosen = [image for members in by_species.values() for image in members[_SPLIT_IMAGES[split]]]
    return sorted(chosen, key=lambda image: image.annotation.name)


def _listed_pairs(
    images: list[_AnimalImage], path: Path, expected: dict[str, str]
) -> Int[np.ndarray, "P 2"]:
    """The pairs of a manifest, as positions of images, if it was made by the expected rules."""
    manifest = manifests.read(path)
    for name, value in expected.items():
        if manifest.rules.get(name) != value:
            raise HomologError(f"{path}: {name}: expected {value}, got {manifest.rules.get(name)}")
    return manifest.index([image.annotation.name for image in images])


def _choose_pairs(
    images: list[_AnimalImage], split: Ap10kSplit, subset: Ap10kSubset, seed: int
) -> Int[np.ndarray, "P 2"]:
    """The pairs of a split, as positions of images, by group, within it by source and target."""
    species = np.array([image.species for image in images])
    hashes = _name_hashes(images, seed)
    chosen = [np.empty((0, 2), dtype=int)]
    for group, other in _paired_groups(images, subset):
        members, others = ([images[i].annotation for i in each] for each in (group, other))
        i, j = np.nonzero(shared_keypoints(members, others) >= MIN_KEYPOINTS)
        pairs = np.stack([group[i], other[j]], axis=1)
        if group is other:
            pairs = pairs[pairs[:, 0] < pairs[:, 1]]
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
    images: list[_AnimalImage], subset: Ap10kSubset
) -> Iterator[tuple[Int[np.ndarray, "N"], Int[np.ndarray, "M"]]]:
    """Positions of the images that are paired: a group with itself, or with another group."""
    groups: dict[str, list[int]] = {}
    for position, image in enumerate(images):
        name = image.species if subset == "intra-species" else image.family
        groups.setdefault(name, []).append(position)
    members = [np.array(groups[name]) for name in sorted(groups)]
    if subset == "cross-family":
        yield from itertools.combinations(members, 2)
    else:
        yield from ((positions, positions) for positions in members)


def _name_hashes(images: list[_AnimalImage], seed: int) -> UInt64[np.ndarray, "N"]:
    """A hash of each image's file name."""
    texts = (f"{seed}:{image.annotation.name}".encode() for image in images)
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
