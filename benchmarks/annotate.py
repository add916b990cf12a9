"""Keypoints of bees predicted from a few labelled images: accuracy and calibration.

python benchmarks/annotate.py [--steps 400] [--draws 4] [--trained-draws 1] [--work FOLDER]
    [--adapt unlabelled|exemplars]

With `--adapt` the model is adapted to the images of the training set, without their labels or with
those of the exemplars as fixed points, in place of training on the exemplars.
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

from homolog import KeypointSchema, Matcher
from homolog.data import Annotation, DataSet, Pair, coco
from homolog.data.exemplars import ExemplarSet
from homolog.labelling.exemplars import Exemplars, KeypointPrediction
from homolog.training import recipes, train
from homolog.training.adaptation import adapt

COUNTS = (1, 3, 5, 10)
Predictions = list[tuple[Annotation, KeypointPrediction]]


def sample(data: DataSet, count: int, seed: int) -> tuple[DataSet, list[Annotation]]:
    """Some images drawn at random, and a data set of the pairs among them."""
    annotations = data.annotations
    rng = np.random.default_rng([seed, count])
    chosen = [annotations[i] for i in rng.choice(len(annotations), count, replace=False)]
    pairs = [Pair.of(f"{a.name}:{b.name}", a, b) for a in chosen for b in chosen if a is not b]
    return dataclasses.replace(data, name=f"{count} bees", pairs=pairs), chosen


def adapted(
    data: DataSet, work: Path, matcher: Matcher, chosen: list[Annotation] | None
) -> Matcher:
    """A matcher adapted to the images of a data set, with labels of some of them or without."""
    exemplars = None
    if chosen is not None:
        ((name, schema),) = data.schemas.items()
        category = {
            "id": 1, "name": name, "keypoints": schema.names, "flip_indices": schema.mirror
        }  # fmt: skip
        exemplars = ExemplarSet(chosen, [category])
    images = [annotation.path for annotation in data.annotations]
    result = adapt(images, work, matcher, exemplars=exemplars)
    before, after = (100 * each for each in (result.cycle_before, result.cycle_after))
    print(f"{work}: cycle consistency on images kept aside {before:.1f} -> {after:.1f} %")
    return Matcher.from_pretrained(str(result.folder))


def measure(predictions: Predictions, schema: KeypointSchema) -> dict[str, np.ndarray]:
    """Errors as fractions of the box, scores, and which points lie nearer to their counterpart."""
    mirror = np.array(schema.mirror)
    errors, scores, confused = [], [], []
    for annotation, predicted in predictions:
        length = annotation.reference_length("box")
        own = np.linalg.norm(predicted.points - annotation.keypoints, axis=1) / length
        other = np.linalg.norm(predicted.points - annotation.keypoints[mirror], axis=1) / length
        visible = annotation.visible
        sided = visible & (mirror != np.arange(len(mirror))) & (np.fmin(own, other) <= 0.1)
        errors.append(own[visible])
        scores.append(predicted.scores[visible])
        confused.append(other[sided] < own[sided])
    return {
        name: np.concatenate(values)
        for name, values in (("error", errors), ("score", scores), ("confused", confused))
    }


def row(name: str, count: int, measured: dict[str, np.ndarray]) -> list[str]:
    """A row of the table; the calibration error is the expected one over ten bins of scores."""
    errors, scores = measured["error"], measured["score"]
    correct, confident = errors <= 0.1, scores >= 0.9
    bins = np.minimum((10 * scores).astype(int), 9)
    calibration_error = sum(
        abs(scores[bins == each].mean() - correct[bins == each].mean()) * (bins == each).mean()
        for each in np.unique(bins)
    )
    return [
        name, str(count), f"{100 * correct.mean():.1f}", f"{100 * (errors <= 0.05).mean():.1f}",
        f"{100 * measured['confused'].mean():.1f}", f"{100 * confident.mean():.0f}",
        f"{100 * correct[confident].mean():.0f}" if confident.any() else "-",
        f"{100 * calibration_error:.0f}",
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--trained-draws", type=int, default=1)
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS)
    parser.add_argument("--work", type=Path, default=None)
    parser.add_argument("--adapt", choices=("unlabelled", "exemplars"), default=None)
    options = parser.parse_args()
    work = options.work or Path(mkdtemp())
    train_set = coco.load(real_images.ROOT / "bees" / "train.json")
    test_set = coco.load(real_images.ROOT / "bees" / "test.json").annotations
    (schema,) = train_set.schemas.values()
    embedded = Matcher.from_pretrained("embedded")
    features = {annotation: embedded.extract(annotation.path) for annotation in test_set}
    table = Table(
        "model", "exemplars", "PCK@0.10", "PCK@0.05", "confusion", "score >= 0.9",
        "of these correct", "calibration error",
    )  # fmt: skip
    for count in options.counts:
        predictions = []
        for seed in range(options.draws):
            _, chosen = sample(train_set, count, seed)
            exemplars = Exemplars(embedded, chosen, train_set.schemas)
            predictions += [(a, exemplars.find(features[a])) for a in test_set]
        table.add_row(*row("zero-shot", count, measure(predictions, schema)))
        predictions = []
        for seed in range(options.trained_draws if options.adapt else 0):
            _, chosen = sample(train_set, count, seed)
            labelled = options.adapt == "exemplars"
            name = f"adapted-{count}-{seed}" if labelled else "adapted"
            matcher = adapted(train_set, work / name, embedded, chosen if labelled else None)
            exemplars = Exemplars(matcher, chosen, train_set.schemas)
            predictions += [(a, exemplars.find(matcher.extract(a.path))) for a in test_set]
        if predictions:
            table.add_row(*row(f"adapted, {options.adapt}", count, measure(predictions, schema)))
        predictions = []
        for seed in range(options.trained_draws if count > 1 and not options.adapt else 0):
            data, chosen = sample(train_set, count, seed)
            config = recipes.small_set()
            config = dataclasses.replace(
                config,
                steps=options.steps,
                images_per_group=min(8, count),
                validate_every=options.steps,
            )
            folder = train(data, work / f"{count}-{seed}", embedded, config)
            matcher = Matcher.from_pretrained(str(folder))
            exemplars = Exemplars(matcher, chosen, train_set.schemas)
            predictions += [(a, exemplars.find(matcher.extract(a.path))) for a in test_set]
        if predictions:
            table.add_row(
                *row(
                    f"trained on these, {options.steps} steps", count, measure(predictions, schema)
                )
            )
        Console(width=140).print(table)


if __name__ == "__main__":
    main()
