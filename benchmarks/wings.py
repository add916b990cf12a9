"""Landmarks of fly wings predicted from a few labelled wings, without training.

    python benchmarks/wings.py [--model embedded] [--counts 1 3] [--draws 3] [--zoom auto]

Errors are in percent of a wing's length, the largest distance between two of its landmarks, of all
wings that are no exemplars. Repeatability is the share of the variance of shapes that is among
wings, and not between what was found and what is labelled. `annotate` is what `homolog annotate`
writes; `transfer` is the plain transfer of each exemplar's landmarks, of which the mean is taken.
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
from homolog.data import Annotation, exemplars, label_files
from homolog.data.exemplars import ExemplarSet
from homolog.labelling import propagate
from homolog.labelling.annotator import AnnotateConfig
from homolog.labelling.landmark_report import shapes_of
from homolog.labelling.morphometrics import object_lengths, repeatability

WINGS = real_images.ROOT / "wings"


Points = tuple[np.ndarray, np.ndarray]
"""Landmarks of wings, N x K x 2, as they were found and as they are labelled."""


def annotated(
    matcher: Matcher, chosen: ExemplarSet, wings: ExemplarSet, config: AnnotateConfig
) -> Points:
    """What `homolog annotate` writes for all wings that are no exemplars."""
    out = Path(mkdtemp()) / "labels.json"
    propagate.annotate(matcher, chosen, WINGS / "images", out, config=config)
    shapes = shapes_of(label_files.read(out, label_files.ReadOptions(WINGS / "images")))
    found = dict(zip(shapes.images, shapes.points, strict=True))
    others = without(wings, chosen)
    return np.array([found[a.path.name] for a in others]), np.array([a.keypoints for a in others])


def transferred(matcher: Matcher, chosen: ExemplarSet, wings: ExemplarSet) -> Points:
    """The mean of the plain transfer of each exemplar's landmarks, likewise."""
    sources = [(a, matcher.extract(a.path)) for a in chosen.annotations]
    found, others = [], without(wings, chosen)
    for wing in others:
        target = matcher.extract(wing.path)
        of_each = [
            matcher.pair(features, target).transfer(source.keypoints).keypoints1
            for source, features in sources
        ]
        found.append(np.mean(of_each, axis=0))
    return np.array(found), np.array([wing.keypoints for wing in others])


def without(wings: ExemplarSet, chosen: ExemplarSet) -> list[Annotation]:
    """All wings but the exemplars."""
    given = {annotation.name for annotation in chosen.annotations}
    return [wing for wing in wings.annotations if wing.name not in given]


def row(name: str, count: int, draws: list[Points]) -> list[str]:
    """A row of the table: mean and range of the draws, quantiles of all landmarks."""
    percent = [
        100 * np.linalg.norm(found - truth, axis=2) / object_lengths(truth)[:, None]
        for found, truth in draws
    ]
    means = [float(np.mean(each)) for each in percent]
    of_all = np.concatenate(percent)
    shown = [f"{np.mean(means):.2f}", f"{min(means):.2f} to {max(means):.2f}"]
    shown += [f"{np.quantile(of_all, q):.2f}" for q in (0.5, 0.95, 1.0)]
    worst = of_all.mean(axis=0)
    same = np.mean([repeatability(found, truth)[0] for found, truth in draws])
    return [name, str(count), *shown, f"{worst.argmax() + 1} ({worst.max():.2f})", f"{same:.2f}"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--counts", type=int, nargs="+", default=[1])
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--zoom", choices=["auto", "none"], default=None)
    parser.add_argument("--no-transfer", action="store_true")
    options = parser.parse_args()
    config = AnnotateConfig()
    if options.zoom is not None:
        zoom = None if options.zoom == "none" else options.zoom
        config = dataclasses.replace(config, zoom=zoom)
    matcher = Matcher.from_pretrained(options.model)
    wings = exemplars.read(WINGS / "wings.tps")
    table = Table(
        "method", "labelled wings", "mean error, % of length", "draws", "median", "95 %", "largest",
        "worst landmark", "repeatability",
    )  # fmt: skip
    for count in options.counts:
        found: dict[str, list[Points]] = {"annotate": [], "transfer": []}
        for seed in range(options.draws):
            rng = np.random.default_rng([seed, count])
            numbers = sorted(rng.choice(len(wings.annotations), count, replace=False).tolist())
            chosen = dataclasses.replace(
                wings,
                annotations=[wings.annotations[n] for n in numbers],
                instances=[wings.instances[n] for n in numbers],
                records=[wings.records[n] for n in numbers],
                file=None,
            )
            found["annotate"].append(annotated(matcher, chosen, wings, config))
            if not options.no_transfer:
                found["transfer"].append(transferred(matcher, chosen, wings))
        for name, draws in found.items():
            if draws:
                table.add_row(*row(name, count, draws))
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
