"""Labels carried from a few pictures of bees to others: how many are right, and how sure they are.

python benchmarks/annotate.py [--steps 400] [--draws 4] [--trained-draws 1] [--work FOLDER]
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import real_images
from rich.console import Console
from rich.table import Table

from homolog import Matcher
from homolog.data import DataSet, Pair, coco
from homolog.labelling.exemplars import Exemplars, KeypointPrediction
from homolog.training import recipes, train

COUNTS = (1, 3, 5, 10)
Answers = list[tuple[object, KeypointPrediction]]


def drawn(data: DataSet, count: int, seed: int) -> DataSet:
    """Some pictures, and the pairs among them."""
    pictures = data.annotations
    rng = np.random.default_rng([seed, count])
    chosen = [pictures[i] for i in rng.choice(len(pictures), count, replace=False)]
    pairs = [Pair.of(f"{a.name}:{b.name}", a, b) for a in chosen for b in chosen if a is not b]
    return dataclasses.replace(data, name=f"{count} bees", pairs=pairs), chosen


def figures(answers, schema) -> dict[str, np.ndarray]:
    """Errors in shares of the box, scores, and which points lie nearer to their counterpart's."""
    mirror = np.array(schema.mirror)
    errors, scores, confused = [], [], []
    for annotation, found in answers:
        side = annotation.reference_length("box")
        own = np.linalg.norm(found.points - annotation.keypoints, axis=1) / side
        other = np.linalg.norm(found.points - annotation.keypoints[mirror], axis=1) / side
        seen = annotation.visible
        sided = seen & (mirror != np.arange(len(mirror))) & (np.fmin(own, other) <= 0.1)
        errors.append(own[seen])
        scores.append(found.scores[seen])
        confused.append(other[sided] < own[sided])
    return {
        name: np.concatenate(values)
        for name, values in (("error", errors), ("score", scores), ("confused", confused))
    }


def row(name: str, count: int, found: dict[str, np.ndarray]) -> list[str]:
    right = found["error"] <= 0.1
    sure = found["score"] >= 0.9
    places = np.minimum((10 * found["score"]).astype(int), 9)
    gap = sum(
        abs(found["score"][places == p].mean() - right[places == p].mean()) * (places == p).mean()
        for p in np.unique(places)
    )
    return [
        name, str(count), f"{100 * right.mean():.1f}",
        f"{100 * (found['error'] <= 0.05).mean():.1f}",
        f"{100 * found['confused'].mean():.1f}", f"{100 * sure.mean():.0f}",
        f"{100 * right[sure].mean():.0f}" if sure.any() else "-", f"{100 * gap:.0f}",
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--trained-draws", type=int, default=1)
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS)
    parser.add_argument("--work", type=Path, default=None)
    options = parser.parse_args()
    work = options.work or Path(mkdtemp())
    learn = coco.load(real_images.ROOT / "bees" / "train.json")
    test = coco.load(real_images.ROOT / "bees" / "test.json").annotations
    (schema,) = learn.schemas.values()
    embedded = Matcher.from_pretrained("embedded")
    looked_at = {annotation: embedded.extract(annotation.path) for annotation in test}
    table = Table(
        "model", "exemplars", "PCK@0.10", "PCK@0.05", "confusion", "score >= 0.9", "of these right",
        "calibration error",
    )  # fmt: skip
    for count in options.counts:
        answers = []
        for seed in range(options.draws):
            _, chosen = drawn(learn, count, seed)
            exemplars = Exemplars(embedded, chosen, learn.schemas)
            answers += [(a, exemplars.find(looked_at[a])) for a in test]
        table.add_row(*row("zero-shot", count, figures(answers, schema)))
        answers = []
        for seed in range(options.trained_draws if count > 1 else 0):
            data, chosen = drawn(learn, count, seed)
            config = recipes.small_set()
            config = dataclasses.replace(
                config,
                steps=options.steps,
                images_per_group=min(8, count),
                validate_every=options.steps,
            )
            folder = train(data, work / f"{count}-{seed}", embedded, config)
            matcher = Matcher.from_pretrained(str(folder))
            exemplars = Exemplars(matcher, chosen, learn.schemas)
            answers += [(a, exemplars.find(matcher.extract(a.path))) for a in test]
        if answers:
            table.add_row(
                *row(f"trained on these, {options.steps} steps", count, figures(answers, schema))
            )
        Console(width=140).print(table)


if __name__ == "__main__":
    main()
