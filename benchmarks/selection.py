"""How well bees are labelled from images that are chosen, and from images drawn at random.

python benchmarks/selection.py [--count 10] [--draws 20] [--first-draw 0]

All other frames of train.json are labelled from them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
import real_images
from rich.console import Console
from rich.table import Table

from homolog import Matcher
from homolog.data import Annotation, DataSet, coco
from homolog.descriptors import Features
from homolog.image.poses import IDENTITY
from homolog.labelling.calibration import series
from homolog.labelling.exemplars import Exemplars
from homolog.labelling.selection import object_cells, select, similarities


def measure(
    matcher: Matcher,
    data: DataSet,
    chosen: Sequence[Annotation],
    features: dict[Annotation, Features],
) -> tuple[float, float]:
    """PCK@0.10 and @0.05 of the frames that are not chosen."""
    exemplars = Exemplars(matcher, chosen, data.schemas)
    errors = []
    for target in data.annotations:
        if target not in chosen:
            distances = np.linalg.norm(
                exemplars.find(features[target]).points - target.keypoints, axis=1
            )
            errors.append(distances[target.visible] / target.reference_length("box"))
    found = np.concatenate(errors)
    return 100 * float((found <= 0.1).mean()), 100 * float((found <= 0.05).mean())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--first-draw", type=int, default=0)
    options = parser.parse_args()
    data = coco.load(real_images.ROOT / "bees" / "train.json")
    matcher = Matcher.from_pretrained("embedded")
    features = {each: matcher.extract(each.path) for each in data.annotations}
    table = Table("images", "PCK@0.10", "PCK@0.05", "videos")

    def row(name: str, chosen: Sequence[Annotation]) -> None:
        coarse, fine = measure(matcher, data, chosen, features)
        videos = len({series(each.name) for each in chosen})
        table.add_row(name, f"{coarse:.1f}", f"{fine:.1f}", str(videos))
        Console().print(name, f"{coarse:.1f} {fine:.1f} {videos}")

    cells = [object_cells(features[each].by_pose[IDENTITY]) for each in data.annotations]
    found = select(similarities(cells), options.count)
    row("chosen", [data.annotations[index] for index in found])
    for seed in range(options.first_draw, options.first_draw + options.draws):
        rng = np.random.default_rng([seed, options.count])
        drawn = rng.choice(len(data.annotations), options.count, replace=False)
        row(f"draw {seed}", [data.annotations[index] for index in drawn])
    Console().print(table)


if __name__ == "__main__":
    main()
