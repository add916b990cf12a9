"""Accuracy of the embedded default on real photos, as a table.

    python benchmarks/accuracy.py [--poses flip]

PCK is per image (mean over a pair's keypoints, then over pairs), right when within alpha times
the longer side of the target's box. Confusion is the share of keypoints, among those whose
counterpart is visible in the target, that land nearer to the counterpart than to the truth.
AUC is the area under the ROC curve: how well matching scores rank right (PCK 0.10) over wrong.
"""

from __future__ import annotations

import argparse

import numpy as np
import real_pictures
from real_pictures import PhotoSet
from scipy.stats import rankdata

import homolog
from homolog import KeypointSchema, Matcher


def auc(scores: np.ndarray, right: np.ndarray) -> float:
    """Area under the ROC curve."""
    ranks, positives = rankdata(scores), right.sum()
    negatives = len(right) - positives
    return (ranks[right].sum() - positives * (positives + 1) / 2) / (positives * negatives)


def evaluate(matcher: Matcher, photo_set: PhotoSet, poses: str = "none") -> dict[str, float]:
    """PCK, confusion and AUC of a photo set."""
    features = {p.path: matcher.extract(p.path, poses) for p in photo_set.photos}
    schema = photo_set.schema_category and KeypointSchema.coco(photo_set.schema_category)
    per_image, scores, right, mixed_up, could = [], [], [], 0, 0
    for source, target in photo_set.pairs():
        ids = np.flatnonzero(source.visible & target.visible)
        # All keypoints the source shows are given, since a flip looks counterparts up.
        given = np.flatnonzero(source.visible)
        matches = matcher.transfer(
            features[source.path],
            features[target.path],
            source.keypoints[given],
            schema or None,
            given.tolist() if schema else None,
            poses=poses,
        )
        rows = np.searchsorted(given, ids)
        found = matches.keypoints1[rows]
        error = np.linalg.norm(found - target.keypoints[ids], axis=1)
        near = error <= 0.1 * target.box_side
        per_image.append((near.mean(), (error <= 0.05 * target.box_side).mean()))
        scores.append(matches.matching_scores[rows])
        right.append(near)
        other = source.counterparts[ids]
        sided = (other != ids) & target.visible[other]
        to_other = np.linalg.norm(found - target.keypoints[other], axis=1)
        mixed_up += (to_other < error)[sided].sum()
        could += sided.sum()
    pck = 100 * np.mean(per_image, axis=0)
    return {
        "pairs": len(per_image),
        "PCK@0.10": pck[0],
        "PCK@0.05": pck[1],
        "confusion": 100 * mixed_up / could if could else float("nan"),
        "AUC": auc(np.concatenate(scores), np.concatenate(right)),
    }


def pair_scores(matcher: Matcher) -> tuple[np.ndarray, np.ndarray]:
    """Pair scores of all pairs of dogs, and of all dogs with PF-WILLOW's cars."""
    dogs = [matcher.extract(photo.path) for photo in real_pictures.dogs().photos]
    cars = [
        matcher.extract(photo.path)
        for photo in real_pictures.pf_willow().photos
        if photo.kind.startswith("car")
    ]

    def score(a: homolog.Features, b: homolog.Features) -> float:
        return matcher.transfer(a, b, [[a.width / 2, a.height / 2]]).pair_score

    same = [score(a, b) for a in dogs for b in dogs if a is not b]
    return np.array(same), np.array([score(a, b) for a in dogs for b in cars])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--poses", default="none")
    poses = parser.parse_args().poses
    matcher = Matcher.from_pretrained("embedded")
    print("| data | pairs | PCK@0.10 | PCK@0.05 | left/right confusion | AUC of scores |")
    print("|---|---|---|---|---|---|")
    for photo_set in (real_pictures.dogs(), real_pictures.pf_willow(), real_pictures.bees("test")):
        row = evaluate(matcher, photo_set, poses)
        print(
            f"| {photo_set.name} | {row['pairs']} | {row['PCK@0.10']:.1f} | {row['PCK@0.05']:.1f} "
            f"| {row['confusion']:.1f} | {row['AUC']:.3f} |"
        )
    same, other = pair_scores(matcher)
    kinds = np.concatenate([np.full(len(same), True), np.full(len(other), False)])
    threshold, area = matcher.config.same_kind, auc(np.concatenate([same, other]), kinds)
    passing = [100 * (scores >= threshold).mean() for scores in (same, other)]
    print(
        f"\npair score, dog-dog against dog-car: AUC {area:.3f}; at {threshold} "
        f"{passing[0]:.0f} % of dog-dog and {passing[1]:.0f} % of dog-car pairs pass"
    )


if __name__ == "__main__":
    main()
