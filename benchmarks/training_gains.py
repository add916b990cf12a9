"""Gains of training on real images: an ablation on bees, and on dogs of unseen breeds.

    python benchmarks/training_gains.py bees [--steps 400] --out runs
    python benchmarks/training_gains.py dogs [--steps 600] --out runs

Bees are trained on one file and evaluated on the other. Dogs are trained on three of the four
breeds and evaluated on pairs whose target is of the fourth, so that all 240 pairs are evaluated,
each with a target of an unseen breed. Interrupted runs resume; finished ones are not repeated.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import real_images

from homolog import Matcher
from homolog.data import DataSet, Pair
from homolog.evaluation.metrics import PCKAccumulator
from homolog.features import FeatureCache
from homolog.training import (
    LossConfig,
    NetworkConfig,
    PoseVariants,
    TrainingConfig,
    ViewsConfig,
    small_set,
    train,
)

# In the test frames one bee's left and right are annotated the other way round.
OPPOSITE = "id6521"


def scores(matcher: Matcher, data: DataSet, pairs: Sequence[Pair]) -> str:
    """PCK at 0.10 and 0.05, and confusion."""
    images = dict.fromkeys(a for pair in pairs for a in (pair.source, pair.target))
    features = {annotation: matcher.extract(annotation.path) for annotation in images}
    scored = PCKAccumulator(data)
    for pair in pairs:
        points = pair.source.keypoints[pair.keypoint_ids]
        prepared = matcher.pair(features[pair.source], features[pair.target])
        scored.add(pair, prepared.transfer_points(points))
    rows = {row.kind: row.estimates for row in scored.rows() if not row.label}
    wide, fine = (100 * rows["per_image"][f"pck@{alpha}"].value for alpha in ("0.10", "0.05"))
    return f"{wide:.1f} / {fine:.1f} | {100 * rows['left_right_confusion']['share'].value:.1f}"


def ablation(steps: int) -> dict[str, TrainingConfig]:
    """From the sparse loss alone to the recipe for small sets."""
    bare = TrainingConfig(
        "ablation", NetworkConfig("published", 256), steps=steps, images_per_group=6, window=None,
        element_dropout=0.0, loss=LossConfig(dense=0.0, noise=0.0), variants=None,
        validate_every=10**9, save_every=200,
    )  # fmt: skip
    dense = dataclasses.replace(bare, loss=LossConfig(noise=0.0))
    noise = dataclasses.replace(dense, loss=LossConfig())
    dropout = dataclasses.replace(noise, element_dropout=0.2)
    flips = dataclasses.replace(dropout, variants=PoseVariants())
    rotated = dataclasses.replace(flips, variants=None, views=ViewsConfig())
    residual = dataclasses.replace(rotated, network=NetworkConfig("residual", 256))
    whole = dataclasses.replace(small_set(), steps=steps, validate_every=10**9)
    return {
        "sparse only": bare,
        "+ dense": dense,
        "+ target noise": noise,
        "+ dropout": dropout,
        "+ pose augmentation, flips": flips,
        "+ pose augmentation, random views": rotated,
        "the same, residual": residual,
        "context network, heatmaps, frame": whole,
    }


def bees(folder: Path, steps: int, cache: FeatureCache) -> None:
    """The ablation, with the soft-argmax over all cells and over a window."""
    data, test = real_images.bees("train"), real_images.bees("test")
    alike = [p for p in test.pairs if (OPPOSITE in p.source.name) == (OPPOSITE in p.target.name)]
    zero_shot = Matcher.from_pretrained("embedded-zero-shot", cache=cache)
    print("| trained with | soft-argmax | confusion | window | confusion | same hand | conf. |")
    print("|---|---|---|---|---|---|---|", flush=True)

    def row(name: str, matcher: Matcher) -> None:
        whole = matcher.with_config(window=None, consensus=None)
        window = matcher.with_config(window=4, consensus=None)
        parts = (scores(whole, test, test.pairs), scores(window, test, test.pairs))
        print(f"| {name} | {' | '.join((*parts, scores(window, test, alike)))} |", flush=True)

    row("nothing: zero-shot", zero_shot)
    for name, config in ablation(steps).items():
        run = folder / name.replace(" ", "-").replace(",", "").replace("+-", "")
        train(data, run, zero_shot, config)
        row(name, Matcher.from_pretrained(str(run), cache=cache))


def dogs(folder: Path, steps: int, cache: FeatureCache) -> None:
    """Each breed in turn is held out."""
    data = real_images.dogs()
    breeds = sorted({_breed(pair.source.name) for pair in data.pairs})
    zero_shot = Matcher.from_pretrained("embedded-zero-shot", cache=cache)
    views = ViewsConfig(count=16, rotation=30)
    config = dataclasses.replace(small_set(), steps=steps, views=views, validate_every=10**9)
    predictions: dict[str, list[tuple[Pair, np.ndarray]]] = {}
    for breed in breeds:
        seen = [
            p for p in data.pairs if breed not in (_breed(p.source.name), _breed(p.target.name))
        ]
        run = folder / f"without-{breed}"
        train(dataclasses.replace(data, pairs=seen), run, zero_shot, config)
        trained = Matcher.from_pretrained(str(run), cache=cache)
        for name, matcher in (("zero-shot", zero_shot), ("trained", trained)):
            features = {a: matcher.extract(a.path) for a in data.annotations}
            for pair in data.pairs:
                if _breed(pair.target.name) == breed:
                    points = pair.source.keypoints[pair.keypoint_ids]
                    prepared = matcher.pair(features[pair.source], features[pair.target])
                    predicted = prepared.transfer_points(points)
                    predictions.setdefault(name, []).append((pair, predicted))
    print(
        "| | target of an unseen breed, 240 pairs | confusion | both of it, 48 pairs | confusion |"
    )
    print("|---|---|---|---|---|")
    for name, of_matcher in predictions.items():
        cells = []
        for both in (False, True):
            scored = PCKAccumulator(data)
            for pair, predicted in of_matcher:
                if not both or _breed(pair.source.name) == _breed(pair.target.name):
                    scored.add(pair, predicted)
            rows = {row.kind: row.estimates for row in scored.rows() if not row.label}
            pck = rows["per_image"]
            cells.append(f"{100 * pck['pck@0.10'].value:.1f} / {100 * pck['pck@0.05'].value:.1f}")
            cells.append(f"{100 * rows['left_right_confusion']['share'].value:.1f}")
        print(f"| {name} | {' | '.join(cells)} |")


def _breed(name: str) -> str:
    return Path(name).name.split("_")[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("bees", "dogs"))
    parser.add_argument("--steps", type=int)
    parser.add_argument("--out", type=Path, default=Path("runs"))
    given = parser.parse_args()
    cache = FeatureCache(given.out / "features")
    if given.what == "bees":
        bees(given.out / "bees", given.steps or 400, cache)
    else:
        dogs(given.out / "dogs", given.steps or 600, cache)


if __name__ == "__main__":
    main()
