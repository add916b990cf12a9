"""MP-100-SC (Cuttano et al., CVPR 2026, arXiv 2604.18267): pairs of MP-100's images, by domain.

The layout is that of MARCO's instructions (visinf/MARCO, `docs/data.md`): `mp100/<category>/…` has
the images, `annotations/mp100_split*_test.json` MP-100's COCO files (Xu et al., ECCV 2022), and
`pairs/pairs_<domain>.json` a list of objects with `src_file`, `trg_file` (from `mp100` on) and
`category_id`. The lists and the annotations themselves could not be looked into: their members are
those that MARCO's loader reads.

That loader leaves out the keypoints that are not visible in each image separately, so that the ones
after them are taken for others. Here keypoints are matched by their index.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from homolog.data.formats.coco import read_document
from homolog.data.pairs import Annotation, DataSet, Pair
from homolog.data.reading import MALFORMED, ErrorCollector, check_choice, describe_error, read_json
from homolog.errors import HomologError
from homolog.keypoints import KeypointSchema

SUBSETS = (
    "animal_body_unseen", "animal_face", "clothing", "furniture", "human_face",
)  # fmt: skip
HOMEPAGE = "https://github.com/visinf/MARCO"


def load(
    root: Path, subset: str | None = None, *, problems: ErrorCollector | None = None
) -> DataSet:
    """Load the pairs of one domain in the order of its list, or those of all domains.

    Pairs are averaged by category, and those of all domains by domain, as the published mean is.
    Where an image has several objects of the pair's category, the first one is taken, and its box
    tells it from the others; a note counts such images.

    Args:
        root: the folder with `mp100`, `annotations` and `pairs`.
        subset: the domain; all whose lists are there by default.
        problems: collects errors, instead of raising the first.

    Raises:
        HomologError: files are missing or malformed, or there is no such domain.
    """
    problems = problems or ErrorCollector()
    if subset is not None:
        check_choice("subset", subset, SUBSETS)
    lists = {name: list_of(root, name) for name in SUBSETS if subset in (None, name)}
    lists = {name: path for name, path in lists.items() if subset or path.is_file()}
    if not lists:
        raise HomologError(
            f"{root / 'pairs'}: expected lists pairs_<domain>.json, got none; try MP-100-SC from "
            f"{HOMEPAGE}"
        )
    reader = _Reader(root, problems)
    pairs = []
    apart = 0
    for name, path in lists.items():
        entries = read_json(path)
        if not isinstance(entries, list):
            raise HomologError(f"{path}: expected a list of pairs, got other JSON")
        for number, entry in enumerate(entries):
            try:
                pair = reader.pair(entry, f"{name}/{number:05}", None if subset else name)
                apart += len(pair.keypoint_ids) == 0
                pairs += [pair] if len(pair.keypoint_ids) else []
            except MALFORMED as error:
                problems.add(path, f"pair {number}: {describe_error(error)}")
    if not pairs:
        problems.add(root / "pairs", "expected pairs, got none")
    members = [each for pair in pairs for each in (pair.source, pair.target)]
    several = {each.path for each in members if each.shares_image}
    notes = []
    if apart:
        notes.append(f"pairs without a keypoint in both images, left out: {apart}")
    if several:
        notes.append(
            f"images with several objects of their category: {len(several)}; the first is taken, "
            "and told by its box"
        )
    return DataSet(
        "MP-100-SC" + (f" {subset}" if subset else ""),
        root,
        {name: reader.schemas[name] for name in sorted({each.category for each in members})},
        pairs,
        threshold="box",
        alphas=(0.1, 0.05, 0.01),
        notes=tuple(notes),
    ).as_listed()


def list_of(root: Path, subset: str) -> Path:
    """The list of a domain's pairs."""
    return root / "pairs" / f"pairs_{subset}.json"


@dataclass(frozen=True)
class _Labelled:
    """The objects of one category in an image, and the image's size."""

    size: tuple[int, int]
    entries: list[Mapping[str, Any]]


class _Reader:
    """Reads MP-100's test files, and the annotation of each image at its first use.

    Attributes:
        schemas: the keypoints of the categories that have been used, by name.

    Args:
        root: the folder with `mp100` and `annotations`.
        problems: collects errors, instead of raising the first.
    """

    def __init__(self, root: Path, problems: ErrorCollector):
        self.root = root
        self.schemas: dict[str, KeypointSchema] = {}
        self._annotations: dict[tuple[str, int], Annotation] = {}
        self._categories: dict[int, Mapping[str, Any]] = {}
        self._labelled: dict[tuple[str, int], _Labelled] = {}
        files = sorted((root / "annotations").glob("*test*.json"))
        if not files:
            raise HomologError(
                f"{root / 'annotations'}: expected mp100_split*_test.json, got none; try MP-100's "
                f"annotations by way of {HOMEPAGE}"
            )
        for path in files:
            self._read(path, problems)

    def pair(self, entry: Any, name: str, group: str | None) -> Pair:
        """Read an entry of a list.

        Args:
            entry: the JSON object.
            name: of the pair, but for its images.
            group: with which pairs it is averaged; by default those of its category.
        """
        category = int(entry["category_id"])
        source, target = (
            self._annotation(str(entry[f"{each}_file"]), category) for each in ("src", "trg")
        )
        if len(source.keypoints) != len(target.keypoints):
            raise ValueError(
                f"expected as many keypoints in both images, got {len(source.keypoints)} in "
                f"{source.name} and {len(target.keypoints)} in {target.name}"
            )
        pair = Pair.of(f"{name}-{source.path.stem}-{target.path.stem}", source, target)
        return dataclasses.replace(pair, pair_group=group)

    def _read(self, path: Path, problems: ErrorCollector) -> None:
        """Add the categories and annotations of a COCO file; what several files have, once."""
        document = read_document(path)
        images: dict[Any, Mapping[str, Any]] = {}
        known = {each["id"] for labelled in self._labelled.values() for each in labelled.entries}
        for section in ("categories", "images", "annotations"):
            for position, entry in enumerate(document[section]):
                try:
                    if section == "categories":
                        self._categories.setdefault(int(entry["id"]), entry)
                    elif section == "images":
                        images[entry["id"]] = entry
                    elif entry["id"] not in known and any(entry["keypoints"][2::3]):
                        image = images[entry["image_id"]]
                        key = (str(image["file_name"]), int(entry["category_id"]))
                        size = (int(image["width"]), int(image["height"]))
                        self._labelled.setdefault(key, _Labelled(size, [])).entries.append(entry)
                except MALFORMED as error:
                    problems.add(path, f"{section}, entry {position}: {describe_error(error)}")

    def _annotation(self, file_name: str, category: int) -> Annotation:
        """The annotation of an image's first object of a category."""
        key = (file_name, category)
        if key not in self._annotations:
            if key not in self._labelled:
                raise ValueError(
                    f"expected annotations of category {category} in {file_name}, got none"
                )
            labelled = self._labelled[key]
            entry = min(labelled.entries, key=lambda each: each["id"])
            values = np.array(entry["keypoints"], dtype=float).reshape(-1, 3)
            left, top, width, height = (float(value) for value in entry["bbox"][:4])
            name = self._category(category, len(values))
            self._annotations[key] = Annotation(
                file_name,
                self.root / "mp100" / file_name,
                name,
                np.where(values[:, 2:] > 0, values[:, :2], np.nan),
                (left, top, left + width, top + height),
                labelled.size,
                shares_image=len(labelled.entries) > 1,
                occluded=values[:, 2] == 1,
            )
        return self._annotations[key]

    def _category(self, number: int, count: int) -> str:
        """The name of a category, whose keypoints are numbered where they have no names."""
        entry = self._categories.get(number, {})
        name = str(entry.get("name", number))
        if name not in self.schemas:
            names = entry.get("keypoints") or []
            named = len(names) == count and len(set(map(str, names))) == count
            self.schemas[name] = (
                KeypointSchema.coco(entry) if named else KeypointSchema.numbered(count)
            )
        if len(self.schemas[name]) != count:
            raise ValueError(f"expected {len(self.schemas[name])} keypoints of {name}, got {count}")
        return name
