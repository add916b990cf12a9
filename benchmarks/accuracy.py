"""Accuracy of a model on real photos, and whether it knows when it is right, as tables.

    python benchmarks/accuracy.py [--model embedded-zero-shot] [--poses flip]
        [--boxes annotated] [--zoom auto] [--refine] [--data dogs willow bees] [--limit PAIRS]

PCK (per image, with 95 % intervals) and left/right confusion are those of `homolog evaluate`, in
percent. With `--refine` a second row of each set has a closer look at every point.

Of a model whose scores are probabilities the tables that follow tell what these are worth: the
expected calibration error and the AUC, the area under the ROC curve, of the scores of keypoints
that the target shows, right (at PCK 0.10) against wrong; how well keypoints that the target does
not show, and points beside the object, are told from them; and a reliability table.
The last table is of the best 20 matches of each pair, without given points.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable, Sequence

import numpy as np
import real_images
from calibration_fits import auc, calibration_error
from calibration_scores import BESIDE, HIDDEN, SHOWN, Points, match_points

import homolog
from homolog import Matcher
from homolog.data import Annotation, DataSet
from homolog.evaluation.metrics import PCKAccumulator
from homolog.evaluation.views import Boxes, FeatureStore, ObjectViews, queries
from homolog.image.poses import PoseSet, as_poses
from homolog.matching.calibration import MatchWeights
from homolog.utils.stats import sigmoid
from homolog.zoom import Zoom

ALPHAS = (0.1, 0.05, 0.02, 0.01)
BEST = 20  # matches of a pair, without given points
_RESAMPLED = 1000

SETS: dict[str, Callable[[], DataSet]] = {
    "dogs": real_images.dogs,
    "willow": real_images.willow,
    "bees": lambda: real_images.bees("test"),
}


def evaluate(
    matcher: Matcher,
    data: DataSet,
    poses: PoseSet = "none",
    boxes: Boxes = None,
    zoom: Zoom = None,
    refine: bool = False,
) -> dict[str, float]:
    """PCK, confusion and AUC on a data set, with the intervals of PCK (`low`, `high`)."""
    views = ObjectViews.of(data, boxes, zoom, refine=refine)
    features = FeatureStore(matcher, views, as_poses(poses), sys.maxsize)
    accumulator, scores, correct = PCKAccumulator(data, alphas=ALPHAS), [], []
    for index, pair in enumerate(data.pairs):
        # All visible keypoints are given: in a flipped image, mirror counterparts are looked up.
        given = np.flatnonzero(pair.source.visible)
        source, target = features(pair.source), features(pair.target)
        matches = matcher.pair(
            source, target, poses=poses, schema=data.schemas[pair.source.category], refine=refine
        ).transfer(queries(pair.source.keypoints[given], source), given.tolist())
        rows = np.searchsorted(given, pair.keypoint_ids)
        accumulator.add(pair, matches.keypoints1[rows])
        scores.append(matches.matching_scores[rows])
        correct.append(accumulator.correct(index, 0.1))
    estimates = {(row.kind, row.label): row.estimates for row in accumulator.rows()}
    confusion = estimates.get(("left_right_confusion", ""))
    found = {
        "pairs": len(data.pairs),
        "confusion": 100 * confusion["share"].value if confusion else float("nan"),
        "AUC": auc(np.concatenate(scores), np.concatenate(correct)),
    }
    for alpha in ALPHAS:
        estimate = estimates["per_image", ""][f"pck@{alpha:.2f}"]
        found[f"PCK@{alpha:.2f}"] = 100 * estimate.value
        for name, value in zip(("low", "high"), estimate.interval, strict=True):
            found[f"PCK@{alpha:.2f}, {name}"] = 100 * value
    return found


def with_interval(
    points: Points, value: Callable[[np.ndarray], float]
) -> tuple[float, float, float]:
    """A figure of points, and its 95 % interval, by bootstrap over pairs.

    Args:
        points: of pairs.
        value: the figure of some rows.
    """
    rows = [np.flatnonzero(points.pairs == pair) for pair in np.unique(points.pairs)]
    rng = np.random.default_rng(0)
    drawn = [
        value(np.concatenate([rows[i] for i in rng.integers(len(rows), size=len(rows))]))
        for _ in range(_RESAMPLED)
    ]
    low, high = np.nanpercentile(drawn, (2.5, 97.5))
    return value(np.arange(len(points.kinds))), float(low), float(high)


def score_tables(matcher: Matcher, data: DataSet, limit: int | None) -> None:
    """Print what scores and visibility are worth on a data set.

    Args:
        matcher: its scores are probabilities.
        data: pairs of annotations; those with masks tell what is beside the object.
        limit: of pairs.
    """
    calibration = matcher.config.score_calibration
    assert calibration is not None, "a model whose scores are probabilities"
    views = ObjectViews.of(data, None, None)
    features = FeatureStore(matcher, views, as_poses("none"), sys.maxsize)
    mask_of = read_mask if any(a.mask is not None for a in data.annotations) else None
    pairs = data.pairs if limit is None else data.subsample(limit).pairs
    points = match_points(matcher, pairs, features, mask_of)

    def probability(weights: MatchWeights) -> np.ndarray:
        return sigmoid(points.columns @ np.array(dataclasses.astuple(weights)))

    score, visible = probability(calibration.right), probability(calibration.visible)
    shown, right = points.kinds == SHOWN, points.right

    def error(rows: np.ndarray) -> float:
        rows = rows[shown[rows]]
        return calibration_error(score[rows], right[rows])

    def ranking(rows: np.ndarray) -> float:
        rows = rows[shown[rows]]
        return auc(score[rows], right[rows])

    def told_from(kind: int, values: np.ndarray) -> Callable[[np.ndarray], float]:
        def told(rows: np.ndarray) -> float:
            rows = rows[shown[rows] | (points.kinds[rows] == kind)]
            return auc(values[rows], shown[rows])

        return told

    figures: dict[str, Callable[[np.ndarray], float]] = {
        "calibration error of scores": error,
        "AUC of scores, right against wrong": ranking,
    }
    if (points.kinds == HIDDEN).any():
        figures["AUC, visible in the target against not, by score"] = told_from(HIDDEN, score)
        figures["the same by predicted visibility"] = told_from(HIDDEN, visible)
    if (points.kinds == BESIDE).any():
        figures["AUC, on the object against beside it, by score"] = told_from(BESIDE, score)
        figures["the same, by predicted visibility"] = told_from(BESIDE, visible)
    print(f"\n| {data.name}, {len(pairs)} pairs | | 95 % |\n|---|---|---|")
    for name, figure in figures.items():
        value, low, high = with_interval(points, figure)
        print(f"| {name} | {value:.3f} | {low:.3f} to {high:.3f} |", flush=True)
    for kind, name in ((SHOWN, "visible"), (HIDDEN, "not visible"), (BESIDE, "beside the object")):
        rows = points.kinds == kind
        if rows.any():
            called = 100 * (visible[rows] < 0.5).mean()
            cells = f"{score[rows].mean():.2f} | {called:.0f} % are said not to be visible"
            print(f"| mean score of {rows.sum():,} points {name} | {cells} |")
    print(f"\n| {data.name}: score | points | mean score | right |\n|---|---|---|---|")
    bins = np.minimum((10 * score[shown]).astype(int), 9)
    for each in np.unique(bins):
        own = bins == each
        cells = f"{score[shown][own].mean():.2f} | {right[shown][own].mean():.2f}"
        print(f"| {each / 10:.1f} to {(each + 1) / 10:.1f} | {own.sum()} | {cells} |")


def read_mask(annotation: Annotation) -> np.ndarray | None:
    """The object of an annotation."""
    return None if annotation.mask is None else annotation.mask()


def best_matches(matcher: Matcher, data: DataSet, limit: int | None) -> None:
    """Print where the best matches of each pair lie, found without given points."""
    views = ObjectViews.of(data, None, None)
    features = FeatureStore(matcher, views, as_poses("none"), sys.maxsize)
    pairs = data.pairs if limit is None else data.subsample(limit).pairs
    on_both, crowded = [], []
    for pair in pairs:
        found = matcher.pair(features(pair.source), features(pair.target)).match(BEST)
        ends = zip((found.keypoints0, found.keypoints1), (pair.source, pair.target), strict=True)
        on_both.append(np.logical_and(*(lie_on(points, each) for points, each in ends)).mean())
        near = 0.1 * pair.source.reference_length("box")
        apart = np.linalg.norm(found.keypoints0[:, None] - found.keypoints0, axis=2)
        crowded.append(int(((apart < near).sum(1) > 1).sum()))
    print(f"\n| {data.name}, best {BEST} matches of {len(pairs)} pairs | |\n|---|---|")
    print(f"| lie on both objects | {100 * np.mean(on_both):.0f} % |")
    print(f"| have another within a tenth of the object's size, mean | {np.mean(crowded):.1f} |")
    few = 100 * np.mean(np.array(crowded) <= 5)
    print(f"| pairs in which at most 5 have | {few:.0f} % |")


def lie_on(points: np.ndarray, annotation: Annotation) -> np.ndarray:
    """Which points lie on the mask of an annotation."""
    mask = read_mask(annotation)
    assert mask is not None, "an annotation with a mask"
    x, y = np.floor(points).astype(int).T
    return mask[y.clip(0, mask.shape[0] - 1), x.clip(0, mask.shape[1] - 1)]


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


def row(name: str, found: dict[str, float]) -> str:
    """A row of the first table."""
    cells = [
        f"{found[key]:.1f} ({found[f'{key}, low']:.1f} to {found[f'{key}, high']:.1f})"
        for key in (f"PCK@{alpha:.2f}" for alpha in ALPHAS)
    ]
    cells += [f"{found['confusion']:.1f}", f"{found['AUC']:.3f}"]
    return f"| {name} | {found['pairs']:.0f} | {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--poses", default="none", choices=["none", "flip", "rotations", "all"])
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--boxes", choices=["none", "annotated"])
    parser.add_argument("--zoom", choices=["auto"])
    parser.add_argument("--refine", action="store_true")
    parser.add_argument("--data", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--limit", type=int)
    given = parser.parse_args(arguments)
    matcher = Matcher.from_pretrained(given.model)
    sets = {name: SETS[name]() for name in given.data}
    headings = [f"PCK@{alpha:.2f}" for alpha in ALPHAS]
    print(f"| data | pairs | {' | '.join(headings)} | confusion | AUC of scores |")
    print("|---" * 8 + "|")
    for name, data in sets.items():
        some = data if given.limit is None else data.subsample(given.limit)
        for refine in (False, True) if given.refine else (False,):
            found = evaluate(matcher, some, given.poses, given.boxes, given.zoom, refine)
            print(row(f"{name}, refined" if refine else name, found), flush=True)
    if matcher.config.score_calibration is not None:
        for data in sets.values():
            score_tables(matcher, data, given.limit)
    for name in {"dogs"} & set(sets):
        best_matches(matcher, sets[name], given.limit)
        same, other = pair_scores(matcher)
        threshold = matcher.config.same_category_threshold
        passing = [100 * (scores >= threshold).mean() for scores in (same, other)]
        print(
            f"\npair score, dog-dog against dog-car: AUC {same_category_auc(same, other):.3f}; at "
            f"{threshold} {passing[0]:.0f} % of dog-dog and {passing[1]:.0f} % of dog-car pairs "
            "pass"
        )


if __name__ == "__main__":
    main()
