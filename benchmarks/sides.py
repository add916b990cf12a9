"""What sides learned from renders bring on photos that no choice was made on, as tables.

    python benchmarks/sides.py MODEL... [--renders SET --hold-out Fox Donkey Stag]

MODEL is a folder that `homolog train-sides` wrote, or a preset; several are seeds of one recipe,
and means of them are printed. Gains over `embedded-zero-shot` come with 95 % intervals, by
bootstrap over pairs. `--renders` adds pairs of rendered pictures that show models held out alone.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import real_images
import torch

from homolog import Features, Matcher, Sides
from homolog.data import Annotation, DataSet
from homolog.evaluation.metrics import PCKAccumulator
from homolog.image.geometry import IDENTITY
from homolog.networks.sides import SideHead, SidesConfig
from homolog.training import sides as training
from homolog.training.sides import Score, fused
from homolog.utils.stats import bootstrap_ci

_RENDERED_PAIRS = 600


@dataclass(frozen=True)
class Found:
    """Figures of one model on one data set."""

    shares: dict[str, float]
    pck: np.ndarray  # of each pair, at 0.10
    classes: dict[str, float]
    sides: Score | None  # at keypoints, of a model that tells them


def extract(zero_shot: Matcher, data: DataSet) -> dict[Path, Features]:
    """Of all pictures, without sides."""
    return {a.path: zero_shot.extract(a.path) for a in data.annotations}


@torch.no_grad()
def evaluate(
    zero_shot: Matcher,
    data: DataSet,
    features: Mapping[Path, Features],
    network: SideHead | None = None,
    config: SidesConfig | None = None,
) -> Found:
    """PCK, confusion, PCK by class, and how often a keypoint's side is right.

    Args:
        zero_shot: the matcher without sides.
        data: to be evaluated on.
        features: of its pictures, as `extract` returns them.
        network: tells sides, if they are to count.
        config: how much they count.
    """
    if network is not None and config is not None:
        features = {
            path: fused(found, network(found.by_pose[IDENTITY].descriptors_HWC[None])[0], config)
            for path, found in features.items()
        }
    accumulator = PCKAccumulator(data)
    for pair in data.pairs:
        points = pair.source.keypoints[pair.keypoint_ids]
        accumulator.add(
            pair, zero_shot.locate(features[pair.source.path], features[pair.target.path], points)
        )
    rows = {(row.kind, row.label): row.estimates for row in accumulator.rows()}
    shares = {
        "PCK@0.10": rows["per_image", ""]["pck@0.10"].value,
        "PCK@0.05": rows["per_image", ""]["pck@0.05"].value,
    }
    if confusion := rows.get(("left_right_confusion", "")):
        shares["confusion"] = confusion["share"].value
    sides = None
    if network is not None:
        told = [_right_sides(data, a, features[a.path]) for a in data.annotations]
        sides = Score(*np.array([(right.sum(), len(right)) for right in told]).T)
        if sides.count:
            shares["sides"] = sides.share
    classes = {
        label: figures["pck@0.10"].value
        for (kind, label), figures in rows.items()
        if kind == "per_category_per_image"
    }
    return Found(shares, accumulator.pck_of_pairs(0.1), classes, sides)


def _right_sides(data: DataSet, annotation: Annotation, features: Features) -> np.ndarray:
    """For visible keypoints that have a side, whether it is told rightly."""
    names = data.schemas[annotation.category].names
    side = np.array([("left" in n.lower()) - ("right" in n.lower()) for n in names])
    chosen = annotation.visible & (side != 0)
    if not chosen.any():
        return np.empty(0, bool)
    posed = features.by_pose[IDENTITY]
    assert posed.sides is not None
    told = Sides.of(posed.sides, posed.transform).at(annotation.keypoints[chosen])
    return (told[:, 0] > told[:, 1]) == (side[chosen] > 0)


def unseen(renders: Path, held_out: Sequence[str]) -> DataSet:
    """Pairs of rendered pictures of one thing, of models held out; keypoints that can be seen."""
    listing = training.read(renders)
    _, hidden = listing.split(held_out)
    data = listing.data_set(listing.alone(hidden)).subsample(_RENDERED_PAIRS)
    return dataclasses.replace(data, name="renders of models held out")


def interval(gains: np.ndarray) -> str:
    """Mean of the pairs' gains, with its 95 % interval."""
    ((low, high),) = bootstrap_ci(gains[:, None], np.ones((len(gains), 1)))
    return f"{gains.mean():+.1f} ({low:+.1f} to {high:+.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--renders", type=Path)
    parser.add_argument("--hold-out", nargs="+", default=[])
    given = parser.parse_args()
    sets = [real_images.dogs(), real_images.willow(), real_images.bees("test")]
    if given.renders:
        sets.append(unseen(given.renders, given.hold_out))
    zero_shot = Matcher.from_pretrained("embedded-zero-shot")
    matchers = [Matcher.from_pretrained(model) for model in given.models]
    names = ("PCK@0.10", "PCK@0.05", "confusion", "sides")
    print("| data | model | " + " | ".join(names) + " | gain at 0.10 |")
    print("|---" * (len(names) + 3) + "|")
    by_class = []
    for data in sets:
        features = extract(zero_shot, data)
        zero = evaluate(zero_shot, data, features)
        found = [
            evaluate(zero_shot, data, features, matcher.side_head, matcher.config.sides)
            for matcher in matchers
        ]
        lines = [("zero-shot", [zero])]
        lines += [(model, [each]) for model, each in zip(given.models, found, strict=True)]
        lines += [("mean", found)] if len(found) > 1 else []
        for label, some in lines:
            cells = [
                f"{100 * np.mean([f.shares[n] for f in some]):.1f}" if n in some[0].shares else ""
                for n in names
            ]
            gains = 100 * (np.mean([f.pck for f in some], axis=0) - zero.pck)
            gain = "" if label == "zero-shot" else interval(gains[np.isfinite(gains)])
            print(f"| {data.name} | {label} | {' | '.join(cells)} | {gain} |", flush=True)
        if len(zero.classes) > 1:
            for label, before in zero.classes.items():
                after = float(np.mean([f.classes[label] for f in found]))
                by_class.append((label, 100 * before, 100 * (after - before)))
    print("\n| class | zero-shot | gain |\n|---|---|---|")
    for label, before, gain in by_class:
        print(f"| {label} | {before:.1f} | {gain:+.1f} |")


if __name__ == "__main__":
    main()
