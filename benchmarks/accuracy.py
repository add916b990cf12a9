"""Accuracy of the default model, or another one, on real photos, as a table.

    python benchmarks/accuracy.py [--model embedded-zero-shot] [--poses flip]
        [--boxes annotated] [--zoom auto]

PCK (per image) and left/right confusion are those of `homolog evaluate`. The AUC, the area under
the ROC curve, says how well matching scores rank correct (at PCK 0.10) above incorrect keypoints.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
import real_images
from scipy.stats import rankdata

import homolog
from homolog import Matcher
from homolog.data import DataSet
from homolog.evaluation.metrics import PCKAccumulator
from homolog.evaluation.views import Boxes, FeatureStore, ObjectViews, queries
from homolog.image.poses import PoseSet, as_poses
from homolog.zoom import Zoom


def auc(scores: np.ndarray, correct: np.ndarray) -> float:
    """Area under the ROC curve."""
    ranks, positives = rankdata(scores), correct.sum()
    negatives = len(correct) - positives
    return (ranks[correct].sum() - positives * (positives + 1) / 2) / (positives * negatives)


def evaluate(
    matcher: Matcher,
    data: DataSet,
    poses: PoseSet = "none",
    boxes: Boxes = None,
    zoom: Zoom = None,
) -> dict[str, float]:
    """PCK, confusion and AUC on a data set."""
    views = ObjectViews.of(data, boxes, zoom)
    features = FeatureStore(matcher, views, as_poses(poses), sys.maxsize)
    accumulator, scores, correct = PCKAccumulator(data), [], []
    for index, pair in enumerate(data.pairs):
        # All visible keypoints are given: in a flipped image, mirror counterparts are looked up.
        given = np.flatnonzero(pair.source.visible)
        source, target = features(pair.source), features(pair.target)
        matches = matcher.pair(
            source, target, poses=poses, schema=data.schemas[pair.source.category]
        ).transfer(queries(pair.source.keypoints[given], source), given.tolist())
        rows = np.searchsorted(given, pair.keypoint_ids)
        accumulator.add(pair, matches.keypoints1[rows])
        scores.append(matches.matching_scores[rows])
        correct.append(accumulator.correct(index, 0.1))
    estimates = {(row.kind, row.label): row.estimates for row in accumulator.rows()}
    confusion = estimates.get(("left_right_confusion", ""))
    return {
        "pairs": len(data.pairs),
        "PCK@0.10": 100 * estimates["per_image", ""]["pck@0.10"].value,
        "PCK@0.05": 100 * estimates["per_image", ""]["pck@0.05"].value,
        "confusion": 100 * confusion["share"].value if confusion else float("nan"),
        "AUC": auc(np.concatenate(scores), np.concatenate(correct)),
    }


def pair_scores(matcher: Matcher) -> tuple[np.ndarray, np.ndarray]:
    """Scores of all pairs of dogs, and of all pairs of a dog with one of PF-WILLOW's cars."""
    dogs = [matcher.extract(a.path) for a in real_images.dogs().annotations]
    cars = [
        matcher.extract(annotation.path)
        for annotation in real_images.willow().annotations
        if annotation.category.startswith("car")
    ]

    def score(source: homolog.Features, target: homolog.Features) -> float:
        return matcher.pair(source, target).score

    same = [score(a, b) for a in dogs for b in dogs if a is not b]
    return np.array(same), np.array([score(a, b) for a in dogs for b in cars])


def same_category_auc(same: np.ndarray, other: np.ndarray) -> float:
    """How well pair scores tell pairs of one category from pairs of two."""
    labels = np.concatenate([np.full(len(same), True), np.full(len(other), False)])
    return auc(np.concatenate([same, other]), labels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--poses", default="none", choices=["none", "flip", "rotations", "all"])
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--boxes", choices=["none", "annotated"])
    parser.add_argument("--zoom", choices=["auto"])
    given = parser.parse_args()
    matcher = Matcher.from_pretrained(given.model)
    print("| data | pairs | PCK@0.10 | PCK@0.05 | left/right confusion | AUC of scores |")
    print("|---|---|---|---|---|---|")
    for data in (real_images.dogs(), real_images.willow(), real_images.bees("test")):
        row = evaluate(matcher, data, given.poses, given.boxes, given.zoom)
        print(
            f"| {data.name} | {row['pairs']} | {row['PCK@0.10']:.1f} | {row['PCK@0.05']:.1f} "
            f"| {row['confusion']:.1f} | {row['AUC']:.3f} |"
        )
    same, other = pair_scores(matcher)
    threshold = matcher.config.same_category_threshold
    passing = [100 * (scores >= threshold).mean() for scores in (same, other)]
    print(
        f"\npair score, dog-dog against dog-car: AUC {same_category_auc(same, other):.3f}; at "
        f"{threshold} {passing[0]:.0f} % of dog-dog and {passing[1]:.0f} % of dog-car pairs pass"
    )


if __name__ == "__main__":
    main()
