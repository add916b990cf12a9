"""Points given to the right object on trays of overlapping renders whose boxes are known.

    homolog synth animals --models Donkey Fox Stag --count 120 --seed 202 --out renders
    python benchmarks/instances.py renders [--seeds 2] [--model embedded]

The keypoints of one render are predicted for every object of a tray, as `homolog annotate --boxes`
does it: in the region around its box, where its neighbours' boxes are masked out, or their masks.
A point is given to the object whose pixels are nearest to it; keypoints count that are visible on
the object and on the exemplar. PCK is at a tenth of the box.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
import trays
from objects import draw
from scipy import ndimage

from homolog import Matcher
from homolog.image.geometry import IDENTITY
from homolog.labelling.exemplars import Exemplars
from homolog.labelling.neighbours import Territories

COUNTS = (2, 4, 8, 12)


def predict(
    matcher: Matcher, exemplars: Exemplars, tray: trays.Tray, neighbours: str
) -> list[np.ndarray]:
    """The predicted keypoints of each object of a tray."""
    boxes = [each.box for each in tray.objects]
    masks = [lambda each=each: each.mask for each in tray.objects]
    territories = Territories(boxes, masks if neighbours == "masks" else None)
    found = []
    for index, features in enumerate(matcher.extract(tray.image, box=boxes)):
        cells = features.by_pose[IDENTITY]
        if neighbours != "none":
            cells = territories.restrict(cells, index)
        found.append(exemplars.find(cells).points)
    return found


def nearest_object(tray: trays.Tray, points: np.ndarray) -> np.ndarray:
    """The index of the object whose pixels are nearest to each point."""
    column, row = np.floor(points).astype(int).clip(0, np.array(tray.image.size) - 1).T
    distances = [ndimage.distance_transform_edt(~each.mask)[row, column] for each in tray.objects]
    return np.argmin(distances, axis=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("renders", type=Path)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--model", default="embedded")
    options = parser.parse_args()
    matcher = Matcher.from_pretrained(options.model)
    cutouts = trays.cutouts(options.renders)
    schemas = trays.schemas(options.renders)
    # By number of objects, or all, and what is masked out: whether each point is on its object,
    # and whether it is correct.
    own: dict[tuple[str, str], list[np.ndarray]] = defaultdict(list)
    correct: dict[tuple[str, str], list[np.ndarray]] = defaultdict(list)
    for count in COUNTS:
        for seed in range(options.seeds):
            rng = np.random.default_rng([seed, count, 1])
            first, others = draw(cutouts, count, True, rng)
            tray = trays.make_tray(others, trays.background(rng), rng, overlap=True)
            example = trays.exemplar(options.renders, first)
            exemplars = Exemplars(matcher, [example], schemas, regions=True)
            for neighbours in ("none", "boxes", "masks"):
                points = predict(matcher, exemplars, tray, neighbours)
                for index, (found, truth) in enumerate(zip(points, tray.objects, strict=True)):
                    rows = np.isfinite(truth.keypoints[:, 0]) & example.visible
                    on_own = nearest_object(tray, found[rows]) == index
                    errors = np.linalg.norm(found[rows] - truth.keypoints[rows], axis=1)
                    for name in (f"{count} objects", "all"):
                        own[name, neighbours].append(on_own)
                        correct[name, neighbours].append(errors <= 0.1 * max(truth.box[2:]))
    print("| overlapping | neighbours masked out | points on their object | PCK@0.10 | points |")
    print("|---|---|---|---|---|")
    for name, neighbours in own:
        rows, right = (np.concatenate(each[name, neighbours]) for each in (own, correct))
        print(
            f"| {name} | {neighbours} | {100 * rows.mean():.1f} | {100 * right.mean():.1f} "
            f"| {len(rows)} |"
        )


if __name__ == "__main__":
    main()
