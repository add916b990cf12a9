"""Likeness to exemplars, fitted anew: what benchmarks/calibration.py does about finding objects."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import trays
from calibration_fits import auc, balanced_threshold, fit, quantiles

from homolog import Features, Matcher
from homolog.data import Annotation
from homolog.image.poses import IDENTITY
from homolog.labelling.exemplars import Exemplars
from homolog.labelling.likeness import Likeness
from homolog.labelling.objects import make_tiles
from homolog.training.sides import RenderedDataset
from homolog.utils.stats import sigmoid

_COUNTS = (2, 4, 8)  # objects on a tray
_EVERY = 7  # cells of a tile
_EXEMPLARS = 4  # that boxes are compared with


def calibrate_likeness(
    matcher: Matcher,
    renders: RenderedDataset,
    held_out: Sequence[int],
    photos: Sequence[Path],
    count: int,
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Weights for the probability that a cell shows an object like the exemplar.

    Args:
        matcher: extracts the descriptors.
        renders: a rendered set, of which trays are made.
        held_out: its images that show only models not trained on.
        photos: backgrounds of half of the trays.
        count: how many trays.

    Returns:
        Where the side head recognises the exemplar, and where it does not.
    """
    models = sorted(set().union(*(renders.models[row] for row in held_out)))
    cutouts = trays.cutouts(renders.folder, models)
    samples = [
        tray_cells(matcher, renders.folder, cutouts, photos if number % 2 else (), number)
        for number in range(count)
    ]
    columns, shown = (np.concatenate(each) for each in zip(*samples, strict=True))
    weights = np.ones(len(shown))
    values = []
    print("\n| cells of trays | AUC before | now |\n|---|---|---|")
    before = matcher.config.calibration
    for name, current, used in (
        ("recognised", before.recognised, [0, 1, 2, 3]),
        ("not recognised", before.unrecognised, [0, 1, 3]),
    ):
        fitted = fit([(columns[:, used], shown, weights)])
        scores = [columns @ np.array(current), columns[:, used] @ np.array(fitted)]
        cells = " | ".join(f"{auc(each, shown):.3f}" for each in scores)
        print(f"| {name} ({len(shown):,}) | {cells} |", flush=True)
        whole = np.zeros(4)
        whole[used] = fitted
        values.append(tuple(map(float, whole)))
    probability = sigmoid(columns @ np.array(values[0]))
    print(f"| mean probability of cells on objects, and beside them | "
          f"{probability[shown].mean():.2f} | {probability[~shown].mean():.2f} |")  # fmt: skip
    return values[0], values[1]


def tray_cells(
    matcher: Matcher,
    folder: Path,
    cutouts: Sequence[trays.Cutout],
    photos: Sequence[Path],
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Cells of a tray: similarities, root of objectness and 1, and which show an object."""
    rng = np.random.default_rng(seed)
    first, *others = (cutouts[i] for i in rng.permutation(len(cutouts)))
    alike = [each for each in others if each.model == first.model] or others
    drawn = [alike[i % len(alike)] for i in range(_COUNTS[seed % len(_COUNTS)])]
    tray = trays.make_tray(drawn, trays.background(rng, photos=photos), rng)
    likeness = Likeness(matcher, [trays.exemplar(folder, first)])
    on_object = np.any([each.mask for each in tray.objects], axis=0)
    rows, shown = [], []
    for level in (0, 1):
        for tile in make_tiles(tray.image.size, level):
            found = matcher.extract(tray.image.crop(tile.box)).by_pose[IDENTITY]
            inside, outside = likeness.similarities(found)
            assert found.sides is not None
            objectness = found.sides.objectness.sqrt()
            parts = (inside, outside, objectness, inside * 0 + 1)
            columns = np.stack([each.double().cpu().numpy().ravel() for each in parts], axis=1)
            points = found.transform.to_points(found.transform.grid.cells)
            x, y = (points + np.array([tile.x, tile.y])).astype(int).T
            height, width = on_object.shape
            valid = found.transform.valid_cells.ravel()
            shows = on_object[y.clip(0, height - 1), x.clip(0, width - 1)]
            rows.append(columns[valid][::_EVERY])
            shown.append(shows[valid][::_EVERY])
    return np.concatenate(rows), np.concatenate(shown)


def calibrate_least_likeness(
    matcher: Matcher,
    features: dict[str, tuple[Sequence[Annotation], list[Features]]],
    photos: Sequence[Features],
    evidence: Any,
) -> float:
    """The likeness below which a box holds nothing like the exemplars.

    Where as few boxes as possible are wrong: true ones of each set that are below, and boxes in
    photos of other kinds that are not.
    """
    before = matcher.config.calibration.least_likeness
    if not photos:
        return before
    true: dict[str, np.ndarray] = {}
    other: dict[str, np.ndarray] = {}
    rng = np.random.default_rng(0)
    boxes = [_random_box(each.size, rng) for each in photos]
    for kind, (known, _) in features.items():
        data = evidence.single if kind == "renders" else evidence.bees
        few = min(_EXEMPLARS, len(known) // 2)
        exemplars = Exemplars(matcher, known[:few], data.schemas, regions=True)
        shown = [matcher.extract(each.path, box=each.xywh) for each in known[few:]]
        true[kind] = np.array([exemplars.find(each).likeness for each in shown])
        in_photos = [matcher.extract(p, box=b) for p, b in zip(photos, boxes, strict=True)]
        other[kind] = np.array([exemplars.find(each).likeness for each in in_photos])
    best = balanced_threshold(list(true.values()), list(other.values()))
    print(f"\n| likeness | 10 % | median | 90 % | from {before} | from {best} |")
    print("|---|---|---|---|---|---|")
    for label, found in (("boxes", true), ("boxes in photos of other kinds", other)):
        for kind, values in found.items():
            passed = " | ".join(f"{100 * np.mean(values >= t):.0f} %" for t in (before, best))
            print(f"| {kind}: {label} | {quantiles(values)} | {passed} |", flush=True)
    return best


def _random_box(size: tuple[int, int], rng: np.random.Generator) -> tuple[float, ...]:
    """A box of half the width and height of an image or more, anywhere in it."""
    width, height = np.array(size) * rng.uniform(0.5, 0.9, 2)
    x, y = rng.uniform(0, 1, 2) * (size[0] - width, size[1] - height)
    return float(x), float(y), float(width), float(height)
