"""AP-10K's pairs as others publish them: `PairAnnotation`, with the images sorted by species.

The layout is that of the benchmark's own builder (Zhang et al., 2024, arXiv 2311.17034, the
notebook `prepare_ap10k` of GeoAware-SC, which MARCO has as `preprocess_ap10k.py`):

    PairAnnotation/<split>[_cross_species|_cross_family]/<source>-<target>:<group>.json
    ImageAnnotation/<family>/<species>/<image>.json
    JPEGImages/<family>/<species>/<image>.jpg

A pair's file has the paths of two image annotations, `src_json_path` and `trg_json_path`, as they
were on the machine where it was built. The annotation of an image is that of its first animal in
AP-10K's COCO files, with the image's size and the names of its category. The builder depends on the
order in which a file system lists files, so two people have the same pairs only if they have the
same files; a note has the pairs' checksum.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from homolog.data.ap10k import SPLITS, SUBSETS
from homolog.data.pairs import Annotation, DataSet, Pair
from homolog.data.reading import ErrorCollector, check_choice, describe_error, read_json
from homolog.errors import HomologError
from homolog.keypoints import KeypointSchema

HOMEPAGE = "https://github.com/Junyi42/GeoAware-SC"
_ENDINGS = {
    "intra-species": "",
    "cross-species": "_cross_species",
    "cross-family": "_cross_family",
}


def load(
    root: Path,
    split: str = "test",
    subset: str = "intra-species",
    *,
    problems: ErrorCollector | None = None,
) -> DataSet:
    """Load the listed pairs of one split, in the order of their names.

    Every keypoint that is annotated in both images counts, occluded or not. Pairs are averaged by
    species within species, by family across species, and all together across families.

    Args:
        root: the folder with `PairAnnotation`, `ImageAnnotation` and `JPEGImages`.
        split: `trn`, `val` or `test`.
        subset: `intra-species`, or for validation and test `cross-species` or `cross-family`.
        problems: collects errors, instead of raising the first.

    Raises:
        HomologError: files are missing or malformed, or there is no such split or subset.
    """
    problems = problems or ErrorCollector()
    check_choice("split", split, SPLITS)
    check_choice("subset", subset, SUBSETS)
    folder = folder_of(root, split, subset)
    if not folder.is_dir():
        raise HomologError(
            f"{folder}: expected a folder of pairs, got none; try AP-10K's pairs from {HOMEPAGE}"
        )
    reader = _Reader(root)
    pairs = []
    apart = 0
    for path in sorted(folder.glob("*.json")):
        with problems.reading(path, "a pair of AP-10K"):
            pair = reader.pair(path.stem, read_json(path))
            apart += len(pair.keypoint_ids) == 0
            pairs += [pair] if len(pair.keypoint_ids) else []
    if not pairs:
        problems.add(folder, "expected pairs, got none")
    notes = (f"pairs without a keypoint in both images, left out: {apart}",) if apart else ()
    species = {each.category for pair in pairs for each in (pair.source, pair.target)}
    return DataSet(
        f"AP-10K {subset} {split}, listed pairs",
        root,
        {name: KeypointSchema.ap10k() for name in sorted(species)},
        pairs,
        threshold="box",
        alphas=(0.1, 0.05, 0.01),
        notes=notes,
    ).as_listed()


def folder_of(root: Path, split: str, subset: str) -> Path:
    """The folder that lists the pairs of a split."""
    return root / "PairAnnotation" / f"{split}{_ENDINGS[subset]}"


class _Reader:
    """Reads pairs, and the annotation of each of their images once."""

    def __init__(self, root: Path):
        self.root = root
        self.annotations: dict[tuple[str, ...], Annotation] = {}

    def pair(self, name: str, entry: Any) -> Pair:
        """Read the JSON object of a pair, whose name ends in what it is averaged with."""
        source, target = (self.annotation(entry[f"{each}_json_path"]) for each in ("src", "trg"))
        visible = np.flatnonzero(source.visible & target.visible)
        return Pair(name, source, target, visible, name.rpartition(":")[2] or None)

    def annotation(self, stated: Any) -> Annotation:
        """The annotation of an image, read at its first use.

        Args:
            stated: its path where the pairs were built; what follows `ImageAnnotation` counts.
        """
        parts = PurePosixPath(stated.replace("\\", "/")).parts
        key = parts[-3:]
        if len(key) != 3 or parts[-4:-3] != ("ImageAnnotation",) or ".." in key:
            raise ValueError(
                f"expected a path ImageAnnotation/<family>/<species>/<image>.json, got {stated!r}"
            )
        if key not in self.annotations:
            path = self.root.joinpath("ImageAnnotation", *key)
            image = self.root.joinpath("JPEGImages", *key).with_suffix(".jpg")
            entry = read_json(path)
            try:
                self.annotations[key] = _annotation(entry, image)
            except (ArithmeticError, LookupError, TypeError, ValueError) as error:
                raise HomologError(
                    f"{path}: expected an annotated image of AP-10K, got: {describe_error(error)}"
                ) from None
        return self.annotations[key]


def _annotation(entry: Any, image: Path) -> Annotation:
    """The annotation of an image's animal, whose species is the image's folder."""
    schema = KeypointSchema.ap10k()
    values = np.array(entry["keypoints"], dtype=float)
    if values.shape != (3 * len(schema),) or not np.isfinite(values).all():
        raise ValueError(f"keypoints: expected {3 * len(schema)} numbers, got others")
    points = values.reshape(-1, 3)
    left, top, width, height = (float(value) for value in entry["bbox"])
    return Annotation(
        image.name,
        image,
        image.parent.name,
        np.where(points[:, 2:] > 0, points[:, :2], np.nan),
        (left, top, left + width, top + height),
        (int(entry["width"]), int(entry["height"])),
        occluded=points[:, 2] == 1,
    )
