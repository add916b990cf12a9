"""Objects that overlap, labelled in their boxes: how many points land on a neighbour.

python benchmarks/instances.py EXEMPLARS TARGETS [--trays 12] [--zoom]

EXEMPLARS and TARGETS are sets that `homolog synth` rendered.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import trays
from rich.console import Console
from rich.table import Table
from scipy import ndimage

from homolog import KeypointSchema, Matcher
from homolog.data import Annotation
from homolog.descriptors import DescriptorMap
from homolog.image.poses import FLIP, IDENTITY
from homolog.labelling.exemplars import Exemplars
from homolog.labelling.neighbours import Territories
from homolog.zoom import Zoom

Scene = tuple[trays.Tray, list[DescriptorMap]]

_FEWEST_KEYPOINTS = 10  # of an exemplar


def exemplars_of(folder: Path, rng: np.random.Generator) -> list[Annotation]:
    """Nine objects on three trays, none of which touches another."""
    objects = trays.cutouts(folder)
    objects = [o for o in objects if np.isfinite(o.keypoints[:, 0]).sum() >= _FEWEST_KEYPOINTS]
    work, found = Path(mkdtemp()), []
    for number in range(3):
        chosen = [objects[i] for i in rng.choice(len(objects), 3, replace=False)]
        tray = trays.make_tray(chosen, trays.background(rng), rng)
        path = work / f"{number}.png"
        tray.image.save(path)
        for index, each in enumerate(tray.objects):
            x, y, width, height = each.box
            found.append(
                Annotation(
                    f"{path.name}#{index}", path, "animal", each.keypoints,
                    (x, y, x + width, y + height), tray.image.size, shares_image=True,
                )
            )  # fmt: skip
    return found


def crowded_trays(folder: Path, count: int, rng: np.random.Generator) -> list[trays.Tray]:
    """Trays of 2 to 12 objects that cover parts of each other."""
    objects = trays.cutouts(folder)
    found: list[trays.Tray] = []
    while len(found) < count:
        chosen = rng.choice(len(objects), int(rng.integers(2, 13)), replace=False)
        try:
            behind = trays.background(rng)
            found.append(trays.make_tray([objects[i] for i in chosen], behind, rng, overlap=True))
        except ValueError:  # no room
            continue
    return found


def describe(matcher: Matcher, tray: trays.Tray, zoom: Zoom) -> list[DescriptorMap]:
    """Descriptors of the region around each object."""
    boxes = [each.box for each in tray.objects]
    found = matcher.extract(matcher.load_regions(tray.image, boxes, zoom=zoom))
    return [features.by_pose[IDENTITY] for features in found]


def measure(exemplars: Exemplars, scenes: list[Scene], neighbours: str) -> list[str]:
    """A row of the table."""
    on, errors, confused = [], [], []
    for tray, regions in scenes:
        owner = np.zeros(tray.image.size[::-1], int)
        for number, each in enumerate(tray.objects, start=1):
            owner[each.mask] = number
        nearest = owner[tuple(ndimage.distance_transform_edt(owner == 0, return_indices=True)[1])]
        boxes = [each.box for each in tray.objects]
        masks = [lambda each=each: each.mask for each in tray.objects]
        territories = Territories(boxes, masks if neighbours == "masks" else None)
        for number, each in enumerate(tray.objects):
            cells, shares = regions[number], None
            if neighbours != "not masked":
                cells, shares = territories.restrict(cells, number)
            found = exemplars.find(cells, None, shares)
            seen = np.isfinite(each.keypoints[:, 0]) & (found.visibility >= 0.5)
            points, truth = found.points[seen], each.keypoints[seen]
            column, row = np.clip(points.astype(int), 0, np.array(tray.image.size) - 1).T
            on.append([
                (owner[row, column] == number + 1).sum(),
                ((owner[row, column] != number + 1) & (owner[row, column] > 0)).sum(),
                (nearest[row, column] == number + 1).sum(), len(points),
            ])  # fmt: skip
            length, own = max(each.box[2:]), np.linalg.norm(points - truth, axis=1)
            errors.append(own / length)
            others = [other.keypoints[seen] for other in tray.objects if other is not each]
            distances = np.nan_to_num(np.linalg.norm(points - others, axis=2), nan=np.inf).min(0)
            confused.append(distances < np.minimum(own, 0.1 * length))
    mine, theirs, near, count = np.sum(on, axis=0)
    error = np.concatenate(errors)
    shares_of = (mine / count, theirs / count, near / count, np.concatenate(confused).mean())
    shares_of += ((error <= 0.1).mean(), (error <= 0.05).mean())
    return [neighbours, str(count), *(f"{100 * share:.1f}" for share in shares_of)]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("exemplars", type=Path)
    parser.add_argument("targets", type=Path)
    parser.add_argument("--trays", type=int, default=12)
    parser.add_argument("--zoom", action="store_true")
    options = parser.parse_args()
    zoom: Zoom = "auto" if options.zoom else None
    rng = np.random.default_rng(3)
    (category, *_) = json.loads((options.exemplars / "annotations.json").read_text())["categories"]
    matcher = Matcher.from_pretrained("embedded")
    exemplars = Exemplars(
        matcher, exemplars_of(options.exemplars, rng), {"animal": KeypointSchema.coco(category)},
        [IDENTITY, FLIP], regions=True, zoom=zoom,
    )  # fmt: skip
    scenes = [
        (tray, describe(matcher, tray, zoom))
        for tray in crowded_trays(options.targets, options.trays, rng)
    ]
    table = Table(
        "neighbours", "points", "on the object", "on another", "nearest object its own",
        "nearer another's same keypoint", "PCK@0.10", "PCK@0.05",
    )  # fmt: skip
    for neighbours in ("not masked", "boxes", "masks"):
        table.add_row(*measure(exemplars, scenes, neighbours))
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
