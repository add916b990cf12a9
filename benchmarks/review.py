"""How far scores can be trusted on bees, and how much of their review is saved.

python benchmarks/review.py [--counts 3 5 10] [--draws 6] [--errors 0.05]

Exemplars are drawn from train.json. Its other frames, of the exemplars' own videos and of others,
are labelled as one run with the frames of test.json apart. One bee of either file is annotated with
left and right exchanged: draws with exemplars of it are measured again without.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import real_images
from jaxtyping import Bool, Float
from rich.console import Console
from rich.table import Table

from homolog import Matcher
from homolog.data import Annotation, coco
from homolog.labelling.calibration import review_threshold, series
from homolog.labelling.exemplars import Exemplars

EXCHANGED = ("id5353", "id6521")
"""Bees that are annotated with left and right exchanged."""


@dataclass(frozen=True)
class Points:
    """The predicted points of one group of images of one run.

    Attributes:
        scores: of the points.
        correct: which of them are within a tenth of the box.
        accepted: which of them are not marked doubtful.
    """

    scores: Float[np.ndarray, "N"]
    correct: Bool[np.ndarray, "N"]
    accepted: Bool[np.ndarray, "N"]


def predict(
    exemplars: Exemplars, targets: Iterable[Annotation], features: dict[Annotation, object]
) -> tuple[Float[np.ndarray, "N"], Bool[np.ndarray, "N"], list[Annotation]]:
    """Scores of all labelled points, which of them are correct, and the image of each."""
    scores, correct, images = [], [], []
    for target in targets:
        found = exemplars.find(features[target], name=target.name)
        visible = target.visible
        errors = np.linalg.norm(found.points - target.keypoints, axis=1)[visible]
        scores.append(found.scores[visible])
        correct.append(errors <= 0.1 * target.reference_length("box"))
        images += [target] * int(visible.sum())
    return np.concatenate(scores), np.concatenate(correct), images


def row(points: list[Points]) -> list[str]:
    """A row of the table over several runs."""
    scores = np.concatenate([each.scores for each in points])
    correct = np.concatenate([each.correct for each in points])
    accepted = np.concatenate([each.accepted for each in points])
    near = (scores >= 0.85) & (scores < 0.95)
    each_run = [1 - each.correct[each.accepted].mean() for each in points if each.accepted.any()]
    bins = np.minimum((10 * scores).astype(int), 9)
    off = sum(
        abs(scores[bins == b].mean() - correct[bins == b].mean()) * (bins == b).mean()
        for b in np.unique(bins)
    )
    return [
        f"{len(scores)}", f"{100 * correct.mean():.0f}", f"{100 * scores.mean():.0f}",
        f"{100 * correct[near].mean():.0f}" if near.any() else "-", f"{100 * off:.0f}",
        f"{100 * accepted.mean():.0f}",
        f"{100 * (1 - correct[accepted].mean()):.1f}" if accepted.any() else "-",
        f"{100 * max(each_run):.0f}" if each_run else "-",
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--counts", type=int, nargs="+", default=(3, 5, 10))
    parser.add_argument("--draws", type=int, default=6)
    parser.add_argument("--errors", type=float, default=0.05)
    options = parser.parse_args()
    train_set = coco.load(real_images.ROOT / "bees" / "train.json")
    train, test = train_set.annotations, coco.load(real_images.ROOT / "bees" / "test.json")
    matcher = Matcher.from_pretrained("embedded")
    features = {each: matcher.extract(each.path) for each in [*train, *test.annotations]}
    table = Table(
        "exemplars", "frames", "points", "correct %", "mean score", "score 0.85 to 0.95: correct %",
        "calibration error", "not doubtful %", "errors in these %", "worst draw",
    )  # fmt: skip
    for count in options.counts:
        groups: dict[str, list[Points]] = {}
        keys: list[Float[np.ndarray, "4"]] = []
        for seed in range(options.draws):
            rng = np.random.default_rng([seed, count])
            chosen = [train[i] for i in rng.choice(len(train), count, replace=False)]
            exemplars = Exemplars(matcher, chosen, train_set.schemas)
            own = {series(each.name) for each in chosen}
            clean = not any(part in each.name for each in chosen for part in EXCHANGED)
            others = [each for each in train if each not in chosen]
            for targets in (others, test.annotations):
                scores, correct, images = predict(exemplars, targets, features)
                threshold = review_threshold(scores, options.errors)
                if targets is others:
                    share = 960 / len(scores)  # points of thirty bees
                    doubtful = scores < threshold
                    keys.append(
                        share * np.array([
                            doubtful.sum(), (doubtful & ~correct).sum(),
                            (~doubtful & ~correct).sum(), (~correct).sum(),
                        ])
                    )  # fmt: skip
                names = np.array(
                    [
                        "test.json" if targets is not others
                        else "own videos" if series(each.name) in own else "other videos"
                        for each in images
                    ]
                )  # fmt: skip
                for name in np.unique(names):
                    here = names == name
                    found = Points(scores[here], correct[here], scores[here] >= threshold)
                    groups.setdefault(name, []).append(found)
                    if clean:
                        groups.setdefault(f"{name}, consistent exemplars", []).append(found)
        for name, points in sorted(groups.items()):
            table.add_row(str(count), name, *row(points))
        table.add_section()
        each, drags, left, wrong = np.mean(keys, axis=0).round().astype(int)
        print(
            f"thirty bees from {count} exemplars, point by point: {each} keys, {drags} drags, "
            f"{left} wrong points left; image by image: 30 keys, {wrong} drags"
        )
        Console(width=160).print(table)


if __name__ == "__main__":
    main()
