"""Objects proposed on trays of renders, as tables: recall, precision, and where nothing is alike.

    homolog synth animals --models Donkey Fox Stag --count 120 --seed 202 --out renders
    python benchmarks/objects.py renders [--photos FOLDER] [--seeds 2] [--model embedded]
                                 [--no-exemplar]

A tray has 2 to 12 animals of one kind, or of all, whose coats differ; the exemplar is one more
render. An object is found if a proposal overlaps its box by half (intersection over union).
The side head that comes with the package was trained on neither Donkey nor Fox nor Stag.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import trays
from PIL import Image

from homolog import Matcher
from homolog.image.reading import find_images
from homolog.labelling.objects import ObjectFinder, ObjectProposal

COUNTS = (2, 4, 8, 12)


def draw(
    cutouts: Sequence[trays.Cutout], count: int, one_kind: bool, rng: np.random.Generator
) -> tuple[trays.Cutout, list[trays.Cutout]]:
    """A cutout to be the exemplar, and others for a tray."""
    if one_kind:
        kinds = sorted({each.model for each in cutouts})
        kind = kinds[int(rng.integers(len(kinds)))]
        cutouts = [each for each in cutouts if each.model == kind]
    first, *others = (cutouts[i] for i in rng.permutation(len(cutouts)))
    return first, [others[i % len(others)] for i in range(count)]


def found_of(
    proposals: Sequence[ObjectProposal], objects: Sequence[trays.Object]
) -> tuple[set[int], int]:
    """Which objects are found, and how many proposals are of one; each is found once."""
    found: set[int] = set()
    for each in proposals:
        overlaps = {
            index: trays.overlap_of(each.box, truth.box)
            for index, truth in enumerate(objects)
            if index not in found
        }
        best = max(overlaps, key=overlaps.__getitem__, default=None)
        if best is not None and overlaps[best] >= 0.5:
            found.add(best)
    return found, len(found)


class Row:
    """What one row of a table counts."""

    def __init__(self) -> None:
        self.apart, self.touching = [0, 0], [0, 0]  # found, and all
        self.correct = self.proposals = self.images = 0
        self.seconds = 0.0

    def add(self, tray: trays.Tray, proposals: Sequence[ObjectProposal], seconds: float) -> None:
        found, correct = found_of(proposals, tray.objects)
        for index, each in enumerate(tray.objects):
            part = self.touching if each.touching else self.apart
            part[0] += index in found
            part[1] += 1
        self.correct += correct
        self.proposals += len(proposals)
        self.images += 1
        self.seconds += seconds

    def cells(self) -> list[str]:
        def share(part: Sequence[int]) -> str:
            return f"{100 * part[0] / part[1]:.0f} ({part[0]}/{part[1]})" if part[1] else "-"

        return [
            share(self.apart), share(self.touching), share((self.correct, self.proposals)),
            f"{self.seconds / self.images:.1f}",
        ]  # fmt: skip


def scenes(
    cutouts: Sequence[trays.Cutout], photos: Sequence[Path], seeds: int, overlap: bool
) -> Iterator[tuple[int, bool, bool, trays.Tray, trays.Cutout]]:
    """Trays: how many objects, on a photo or not, of one kind or not, the tray, the exemplar."""
    for count in COUNTS:
        for seed in range(seeds):
            for on_photo in (False, True) if photos else (False,):
                one_kind = seed % 2 == 0
                rng = np.random.default_rng([seed, count, on_photo, overlap])
                first, others = draw(cutouts, count, one_kind, rng)
                behind = trays.background(rng, photos=photos if on_photo else ())
                tray = trays.make_tray(others, behind, rng, overlap=overlap)
                yield count, on_photo, one_kind, tray, first


def timed(finder: ObjectFinder, image: Image.Image) -> tuple[list[ObjectProposal], float]:
    begun = time.perf_counter()
    return finder.find(image), time.perf_counter() - begun


def table(title: str, rows: dict[str, Row]) -> None:
    print(f"\n| {title} | recall, apart | touching | precision | s per image |")
    print("|---|---|---|---|---|")
    for name, row in rows.items():
        print(f"| {name} | {' | '.join(row.cells())} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("renders", type=Path)
    parser.add_argument("--photos", type=Path, help="a folder of backgrounds without such objects")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--empty", type=int, default=8, help="images without an object, of a kind")
    parser.add_argument("--no-exemplar", action="store_true", help="objects of any kind")
    parser.add_argument("--model", default="embedded")
    options = parser.parse_args()
    matcher = Matcher.from_pretrained(options.model)
    cutouts = trays.cutouts(options.renders)
    photos = find_images([options.photos]) if options.photos else []
    for overlap in (False, True):
        rows: dict[str, Row] = defaultdict(Row)
        for count, on_photo, one_kind, tray, first in scenes(
            cutouts, photos, options.seeds, overlap
        ):
            example = [] if options.no_exemplar else [trays.exemplar(options.renders, first)]
            finder = ObjectFinder(matcher, example)
            result = timed(finder, tray.image)
            names = [
                f"{count} objects",
                "on photos" if on_photo else "on plain textures",
                "of one kind" if one_kind else "of all kinds",
                "all",
            ]
            for name in names:
                rows[name].add(tray, *result)
        order = [f"{count} objects" for count in COUNTS]
        order += [*sorted(set(rows) - set(order) - {"all"}), "all"]
        table("overlapping" if overlap else "apart", {name: rows[name] for name in order})

    if options.no_exemplar:
        return
    print("\n| nothing alike | images | with a proposal | proposals |\n|---|---|---|---|")
    for kind in ("plain textures", "photos") if photos else ("plain textures",):
        numbers = []
        for seed in range(options.empty):
            rng = np.random.default_rng([seed, 7])
            first, _ = draw(cutouts, 0, False, rng)
            if kind == "photos":
                image = Image.open(photos[int(rng.integers(len(photos)))]).convert("RGB")
            else:
                image = trays.background(rng)
            finder = ObjectFinder(matcher, [trays.exemplar(options.renders, first)])
            numbers.append(len(finder.find(image)))
        print(f"| {kind} | {len(numbers)} | {np.count_nonzero(numbers)} | {sum(numbers)} |")


if __name__ == "__main__":
    main()
