"""Accuracy of the embedded default, or another model, on real photos, as a table.

    python benchmarks/accuracy.py [--model embedded-zero-shot] [--poses flip]

PCK (per image) and left/right confusion are those of `homolog evaluate`, to which this adds the
AUC: the area under the ROC curve: how well matching scores rank right (PCK 0.10) over wrong.
"""

from __future__ import annotations

import argparse

import numpy as np
import real_images
from scipy.stats import rankdata

import homolog
from homolog import Matcher
from homolog.data import DataSet
from homolog.evaluation.metrics import PCKAccumulator
from homolog.image.geometry import PoseSet


def auc(scores: np.ndarray, right: np.ndarray) -> float:
    """Area under the ROC curve."""
    ranks, positives = rankdata(scores), right.sum()
    negatives = len(right) - positives
    return (ranks[right].sum() - positives * (positives + 1) / 2) / (positives * negatives)


def evaluate(matcher: Matcher, data: DataSet, poses: PoseSet = "none") -> dict[str, float]:
    """PCK, confusion and AUC of a data set."""
    features = {a.path: matcher.extract(a.path, poses) for a in data.annotations}
    accumulator, scores, right = PCKAccumulator(data), [], []
    for pair in data.pairs:
        # All keypoints the source shows are given, since a flip looks counterparts up.
        given = np.flatnonzero(pair.source.visible)
        matches = matcher.transfer(
            features[pair.source.path],
            features[pair.target.path],
            pair.source.keypoints[given],
            data.schemas[pair.source.category],
            given.tolist(),
            poses=poses,
        )
        rows = np.searchsorted(given, pair.keypoint_ids)
        accumulator.add(pair, matches.keypoints1[rows])
        scores.append(matches.matching_scores[rows])
        right.append(accumulator.correct(len(scores) - 1, 0.1))
    found = {(row.kind, row.label): row.estimates for row in accumulator.rows()}
    confusion = found.get(("left_right_confusion", ""))
    return {
        "pairs": len(data.pairs),
        "PCK@0.10": 100 * found["per_image", ""]["pck@0.10"].value,
        "PCK@0.05": 100 * found["per_image", ""]["pck@0.05"].value,
        "confusion": 100 * confusion["share"].value if confusion else float("nan"),
        "AUC": auc(np.concatenate(scores), np.concatenate(right)),
    }


def pair_scores(matcher: Matcher) -> tuple[np.ndarray, np.ndarray]:
    """Pair scores of all pairs of dogs, and of all dogs with PF-WILLOW's cars."""
    dogs = [matcher.extract(a.path) for a in real_images.dogs().annotations]
    cars = [
        matcher.extract(annotation.path)
        for annotation in real_images.willow().annotations
        if annotation.category.startswith("car")
    ]

    def score(a: homolog.Features, b: homolog.Features) -> float:
        return matcher.transfer(a, b, [[a.width / 2, a.height / 2]]).pair_score

    same = [score(a, b) for a in dogs for b in dogs if a is not b]
    return np.array(same), np.array([score(a, b) for a in dogs for b in cars])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--poses", default="none", choices=["none", "flip", "rotations", "all"])
    parser.add_argument("--model", default="embedded")
    given = parser.parse_args()
    poses, matcher = given.poses, Matcher.from_pretrained(given.model)
    print("| data | pairs | PCK@0.10 | PCK@0.05 | left/right confusion | AUC of scores |")
    print("|---|---|---|---|---|---|")
    for data in (real_images.dogs(), real_images.willow(), real_images.bees("test")):
        row = evaluate(matcher, data, poses)
        print(
            f"| {data.name} | {row['pairs']} | {row['PCK@0.10']:.1f} | {row['PCK@0.05']:.1f} "
            f"| {row['confusion']:.1f} | {row['AUC']:.3f} |"
        )
    same, other = pair_scores(matcher)
    kinds = np.concatenate([np.full(len(same), True), np.full(len(other), False)])
    threshold, area = (
        matcher.config.same_category_threshold,
        auc(np.concatenate([same, other]), kinds),
    )
    passing = [100 * (scores >= threshold).mean() for scores in (same, other)]
    print(
        f"\npair score, dog-dog against dog-car: AUC {area:.3f}; at {threshold} "
        f"{passing[0]:.0f} % of dog-dog and {passing[1]:.0f} % of dog-car pairs pass"
    )


if __name__ == "__main__":
    main()
