"""What adaptation to unlabelled images brings, and what each part of it contributes, as a table.

    python benchmarks/adaptation.py photos    # quadrupeds without labels; dogs
    python benchmarks/adaptation.py bees      # the training frames' images; the test set
    python benchmarks/adaptation.py willow    # its own images, without their labels

`--rows` names the rows to run, `--out` a folder that keeps the models and the backbone's feature
maps, so that an interrupted run goes on; 95 % intervals are by bootstrap over pairs.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import real_images

from homolog import Matcher
from homolog.data import DataSet
from homolog.evaluation.metrics import PCKAccumulator
from homolog.evaluation.views import FeatureStore, ObjectViews, queries
from homolog.features import FeatureCache
from homolog.training.adaptation import AdaptationConfig, SideTuningConfig, adapt


def with_mining(**changes: float) -> Callable[[AdaptationConfig], AdaptationConfig]:
    """A change of which pairs are matched, or which matches are kept."""
    return lambda config: dataclasses.replace(
        config, mining=dataclasses.replace(config.mining, **changes)
    )


ROWS: dict[str, Callable[[AdaptationConfig], AdaptationConfig]] = {
    "default": lambda config: config,
    "one round": lambda config: dataclasses.replace(config, rounds=1),
    "three rounds": lambda config: dataclasses.replace(config, rounds=3),
    "no filter but the cycle": with_mining(coordinate_tolerance=np.inf, affine_tolerance=np.inf),
    "no affine filter": with_mining(affine_tolerance=np.inf),
    "no cycle filter": with_mining(cycle_tolerance=np.inf),
    "chains": with_mining(chains=True),
    "similar pairs only": with_mining(neighbours=14, random_pairs=0),
    "side head as it was": lambda config: dataclasses.replace(config, sides=SideTuningConfig(0)),
    "seed 1": lambda config: dataclasses.replace(config, seed=1),
    "seed 2": lambda config: dataclasses.replace(config, seed=2),
}

COUNTS = (20, 50, 100)
"""Numbers of images that rows of their own are adapted to."""


def images_and_test_set(name: str) -> tuple[list[Path], DataSet]:
    """The images to adapt to, whose labels are not used, and the pairs to measure on."""
    if name == "photos":
        folder = real_images.ROOT / "photos" / "quadrupeds"
        return sorted(folder.iterdir()), real_images.dogs()
    if name == "bees":
        return [a.path for a in real_images.bees("train").annotations], real_images.bees("test")
    data = real_images.willow()
    return [annotation.path for annotation in data.annotations], data


def measure(matcher: Matcher, data: DataSet) -> str:
    """PCK at 0.10 with its interval, PCK at 0.05, and confusion, as cells of a table."""
    features = FeatureStore(matcher, ObjectViews.of(data), max_bytes=sys.maxsize)
    scored = PCKAccumulator(data)
    for pair in data.pairs:
        source, target = features(pair.source), features(pair.target)
        points = queries(pair.source.keypoints[pair.keypoint_ids], source)
        scored.add(pair, matcher.pair(source, target).transfer_points(points))
    rows = {row.kind: row.estimates for row in scored.rows() if not row.label}
    wide, fine = (rows["per_image"][f"pck@{alpha}"] for alpha in ("0.10", "0.05"))
    low, high = wide.interval
    cells = f"{100 * wide.value:.1f} ({100 * low:.1f} to {100 * high:.1f})"
    cells += f" | {100 * fine.value:.1f}"
    confusion = rows.get("left_right_confusion")
    return f"{cells} | {100 * confusion['share'].value:.1f}" if confusion else f"{cells} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", choices=["photos", "bees", "willow"])
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--rows", nargs="*", default=[*ROWS, *map(str, COUNTS)])
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    images, data = images_and_test_set(given.data)
    out = given.out or Path(tempfile.mkdtemp(prefix="homolog-adaptation-"))
    matcher = Matcher.from_pretrained(given.model, cache=FeatureCache(out / "features"))
    print("| | images | PCK@0.10 (95 %) | PCK@0.05 | confusion | zero-shot weight | minutes |")
    print("|---|---|---|---|---|---|---|")
    print(f"| {given.model} | | {measure(matcher, data)} | | |", flush=True)
    for name in given.rows:
        chosen, config = images, AdaptationConfig()
        if name in ROWS:
            config = ROWS[name](config)
        else:  # so many images, spread evenly
            chosen = [images[row] for row in np.linspace(0, len(images) - 1, int(name)).astype(int)]
        began = time.perf_counter()
        result = adapt(chosen, out / given.data / name.replace(" ", "-"), matcher, config)
        minutes = (time.perf_counter() - began) / 60
        cells = measure(Matcher.from_pretrained(result.folder, cache=matcher.cache), data)
        print(
            f"| {name} | {result.used} | {cells} | {result.zero_shot:g} | {minutes:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
