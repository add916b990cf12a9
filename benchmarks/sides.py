"""Gains of trained networks over zero-shot matching, on photos that no choice was made on.

    python benchmarks/sides.py MODEL... [--renders SET --hold-out Fox Donkey Stag]

MODEL is a folder that `homolog train-sides` or `homolog adapt` wrote, or a preset; several are
seeds of one recipe, whose means are printed. Gains over `embedded-zero-shot` come with 95 %
intervals by bootstrap over pairs. `--renders` adds pairs of rendered images that show only models
held out.
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
from torch import nn

from homolog import Features, Matcher, MatcherConfig, Sides
from homolog.data import Annotation, DataSet
from homolog.evaluation.metrics import PCKAccumulator
from homolog.extractor import join_descriptors
from homolog.image.poses import IDENTITY
from homolog.networks.sides import SideHead
from homolog.training.sides import Score, read_rendered_dataset
from homolog.utils.stats import bootstrap_ci

_RENDERED_PAIRS = 600


@dataclass(frozen=True)
class Result:
    """Scores of one model on one data set."""

    shares: dict[str, float]
    pck: np.ndarray  # of each pair, at 0.10
    classes: dict[str, float]
    sides: Score | None  # at keypoints, of a model with a side head


def extract(zero_shot: Matcher, data: DataSet) -> dict[Path, Features]:
    """Features of all images, without sides."""
    return {a.path: zero_shot.extract(a.path) for a in data.annotations}


@torch.no_grad()
def evaluate(
    zero_shot: Matcher,
    data: DataSet,
    features: Mapping[Path, Features],
    config: MatcherConfig | None = None,
    side_head: SideHead | None = None,
    network: nn.Module | None = None,
) -> Result:
    """PCK, confusion, PCK by class, and the accuracy of keypoints' sides.

    Args:
        zero_shot: the matcher without trained networks.
        data: the data set to evaluate on.
        features: of its images, as `extract` returns them.
        config: of a matcher that has them; None for the zero-shot one.
        side_head: its side head.
        network: its post-processor.
    """
    matcher = zero_shot
    if config is not None:
        features = {
            path: with_networks(each, config, side_head, network) for path, each in features.items()
        }
        matcher = zero_shot.with_config(
            window=config.window, temperature=config.temperature, consensus=config.consensus
        )
    accumulator = PCKAccumulator(data)
    for pair in data.pairs:
        points = pair.source.keypoints[pair.keypoint_ids]
        prepared = matcher.pair(features[pair.source.path], features[pair.target.path])
        accumulator.add(pair, prepared.transfer_points(points))
    rows = {(row.kind, row.label): row.estimates for row in accumulator.rows()}
    shares = {
        "PCK@0.10": rows["per_image", ""]["pck@0.10"].value,
        "PCK@0.05": rows["per_image", ""]["pck@0.05"].value,
    }
    if confusion := rows.get(("left_right_confusion", "")):
        shares["confusion"] = confusion["share"].value
    sides = None
    if side_head is not None:
        correct = [_correct_sides(data, a, features[a.path]) for a in data.annotations]
        sides = Score(*np.array([(each.sum(), len(each)) for each in correct]).T)
        if sides.num_keypoints:
            shares["sides"] = sides.accuracy
    classes = {
        label: figures["pck@0.10"].value
        for (kind, label), figures in rows.items()
        if kind == "per_category_per_image"
    }
    return Result(shares, accumulator.pck_of_pairs(0.1), classes, sides)


def with_networks(
    features: Features,
    config: MatcherConfig,
    side_head: SideHead | None,
    network: nn.Module | None,
) -> Features:
    """Features with trained networks, made from those without any."""
    plain = features.by_pose[IDENTITY]
    zero_shot_HWC, learned_HWD, sides = plain.descriptors_HWC, None, None
    if network is not None:
        learned_HWD = network(zero_shot_HWC[None].permute(0, 3, 1, 2)).permute(0, 2, 3, 1)[0]
    if side_head is not None:
        sides = side_head(zero_shot_HWC[None])[0]
    joined = join_descriptors(zero_shot_HWC, learned_HWD, sides, config)
    found = dataclasses.replace(plain, descriptors_HWC=joined, sides=sides)
    return dataclasses.replace(features, by_pose={IDENTITY: found})


def _correct_sides(data: DataSet, annotation: Annotation, features: Features) -> np.ndarray:
    """For visible keypoints that have a side, whether it is predicted correctly."""
    names = data.schemas[annotation.category].names
    side = np.array([("left" in n.lower()) - ("right" in n.lower()) for n in names])
    chosen = annotation.visible & (side != 0)
    if not chosen.any():
        return np.empty(0, bool)
    posed = features.by_pose[IDENTITY]
    assert posed.sides is not None
    predicted = Sides.from_maps(posed.sides, posed.transform).at(annotation.keypoints[chosen])
    return (predicted[:, 0] > predicted[:, 1]) == (side[chosen] > 0)


def unseen(renders: Path, held_out: Sequence[str]) -> DataSet:
    """Pairs of rendered images of one object, of models held out; their visible keypoints."""
    dataset = read_rendered_dataset(renders)
    _, rows = dataset.split(held_out)
    data = dataset.to_dataset(dataset.single_object(rows)).subsample(_RENDERED_PAIRS)
    return dataclasses.replace(data, name="renders of models held out")


def interval(gains: np.ndarray) -> str:
    """The mean of the pairs' gains with its 95 % interval."""
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
        results = [
            evaluate(zero_shot, data, features, m.config, m.side_head, m.network) for m in matchers
        ]
        lines = [("zero-shot", [zero])]
        lines += [(model, [each]) for model, each in zip(given.models, results, strict=True)]
        lines += [("mean", results)] if len(results) > 1 else []
        for label, some in lines:
            cells = [
                f"{100 * np.mean([each.shares[n] for each in some]):.1f}"
                if n in some[0].shares
                else ""
                for n in names
            ]
            gains = 100 * (np.mean([each.pck for each in some], axis=0) - zero.pck)
            gain = "" if label == "zero-shot" else interval(gains[np.isfinite(gains)])
            print(f"| {data.name} | {label} | {' | '.join(cells)} | {gain} |", flush=True)
        if len(zero.classes) > 1:
            for label, before in zero.classes.items():
                after = float(np.mean([each.classes[label] for each in results]))
                by_class.append((label, 100 * before, 100 * (after - before)))
    print("\n| class | zero-shot | gain |\n|---|---|---|")
    for label, before, gain in by_class:
        print(f"| {label} | {before:.1f} | {gain:+.1f} |")


if __name__ == "__main__":
    main()
