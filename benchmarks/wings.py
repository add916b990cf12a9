"""Landmarks of fly wings predicted from a few labelled wings, without training.

    python benchmarks/wings.py [--model embedded] [--counts 1 3] [--draws 3] [--zoom auto]

Errors are in percent of a wing's length, the largest distance between two of its landmarks, of all
wings that are no exemplars. `annotate` is what `homolog annotate` writes; `transfer` is the plain
transfer of each labelled wing's landmarks, of which the mean is taken.
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
from homolog.data import exemplars, label_files
from homolog.data.exemplars import ExemplarSet
from homolog.labelling import propagate
from homolog.labelling.annotator import AnnotateConfig
from homolog.labelling.landmark_report import landmark_report

WINGS = real_images.ROOT / "wings"


def annotated(
    matcher: Matcher, chosen: ExemplarSet, truth: label_files.LabelFile, config: AnnotateConfig
) -> np.ndarray:
    """Errors of what `homolog annotate` writes, as shares of the length; exemplars left out."""
    out = Path(mkdtemp()) / "labels.json"
    propagate.annotate(matcher, chosen, WINGS / "images", out, config=config)
    options = label_files.ReadOptions(WINGS / "images")
    report = landmark_report(label_files.read(out, options), truth)
    given = {annotation.path.name for annotation in chosen.annotations}
    kept = [Path(name).name not in given for name in report.shapes.images]
    return report.relative_errors[kept]


def transferred(matcher: Matcher, chosen: ExemplarSet, wings: ExemplarSet) -> np.ndarray:
    """Errors of the plain transfer of landmarks, likewise."""
    given = {annotation.name for annotation in chosen.annotations}
    sources = [(a, matcher.extract(a.path)) for a in chosen.annotations]
    errors = []
    for wing in wings.annotations:
        if wing.name in given:
            continue
        target = matcher.extract(wing.path)
        found = [
            matcher.pair(features, target).transfer(source.keypoints).keypoints1
            for source, features in sources
        ]
        truth = wing.keypoints
        length = np.linalg.norm(truth[:, None] - truth[None], axis=2).max()
        errors.append(np.linalg.norm(np.mean(found, axis=0) - truth, axis=1) / length)
    return np.array(errors)


def row(name: str, count: int, draws: list[np.ndarray]) -> list[str]:
    """A row of the table: mean and range of the draws, quantiles of all landmarks."""
    percent = [100 * errors for errors in draws]
    means = [float(np.mean(each)) for each in percent]
    of_all = np.concatenate([each.ravel() for each in percent])
    shown = [f"{np.mean(means):.2f}", f"{min(means):.2f} to {max(means):.2f}"]
    shown += [f"{np.quantile(of_all, q):.2f}" for q in (0.5, 0.95, 1.0)]
    worst = np.concatenate(percent).mean(axis=0)
    return [name, str(count), *shown, f"{worst.argmax() + 1} ({worst.max():.2f})"]


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
    truth = label_files.read(WINGS / "wings.tps")
    table = Table(
        "method", "labelled wings", "mean error, % of length", "draws", "median", "95 %", "largest",
        "worst landmark",
    )  # fmt: skip
    for count in options.counts:
        found: dict[str, list[np.ndarray]] = {"annotate": [], "transfer": []}
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
            found["annotate"].append(annotated(matcher, chosen, truth, config))
            if not options.no_transfer:
                found["transfer"].append(transferred(matcher, chosen, wings))
        for name, draws in found.items():
            if draws:
                table.add_row(*row(name, count, draws))
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
