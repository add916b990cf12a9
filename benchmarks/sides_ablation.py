"""An ablation of the training of side heads: the recipe, and the recipe with one change each.

    python benchmarks/sides_ablation.py RENDERS --hold-out Fox Donkey Stag [--steps 1500]

RENDERS is a set that `homolog synth` rendered. Every row is trained anew, in fewer steps than the
shipped model. Sides are scored at visible keypoints, on renders of the models held out and on dogs
in photos, with 95 % intervals by bootstrap over images; the gain is that of the dogs' PCK@0.10 over
zero-shot, at the weight that coordinates have in the shipped model, by bootstrap over pairs. A
second table shows, for the recipe, weights of sides and coordinates in similarity.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import real_images
import torch
from sides import Result, evaluate, extract, interval, unseen

from homolog import Matcher
from homolog.networks.sides import SideHead
from homolog.training.sides import (
    LOSSES,
    Score,
    SidesRecipe,
    build_dataset,
    fit,
    fit_presence,
    mirrored_images,
    read_rendered_dataset,
    score,
)

_WEIGHTS = ((0.0, 0.1), (0.0, 0.3), (0.1, 0.0), (0.2, 0.0), (0.1, 0.2), (0.1, 0.3), (0.2, 0.3))


@dataclass(frozen=True)
class Change:
    """A row of the table: the difference from the recipe.

    Attributes:
        label: of the row.
        rows: the images to train on.
        recipe: fields of the recipe.
        network: fields of the network's configuration.
    """

    label: str
    rows: Sequence[int]
    recipe: dict[str, Any] = field(default_factory=dict)
    network: dict[str, Any] = field(default_factory=dict)


def changes(
    models_of: Sequence[set[str]], training: Sequence[int], mirrored: np.ndarray
) -> list[Change]:
    """All rows.

    Args:
        models_of: names of the models in each image.
        training: the images that show no model held out.
        mirrored: which images are mirrored.
    """
    models = sorted(set().union(*(models_of[row] for row in training)))
    rows = [Change(f"recipe, seed {seed}", training, {"seed": seed}) for seed in range(3)]
    rows.append(Change("no attention over the image", training, network={"layers": 0}))
    for label, left_out in (
        ("sides of keypoints only, not of all cells", {"side"}),
        ("sides of all cells only, not of keypoints", {"keypoints"}),
        ("sides alone, no coordinates, no heading", {"coordinates", "heading"}),
    ):
        losses = tuple(name for name in LOSSES if name not in left_out)
        rows.append(Change(label, training, {"losses": losses}))
    plain = {"style_mix": 0.0, "channel_drop": 0.0, "block_mask": 0.0}
    rows.append(Change("no augmentation of channels and cells", training, plain))
    for every, label in ((2, "half"), (4, "a quarter")):
        rows.append(Change(f"{label} of the images", training[::every]))
    upright = [row for row in training if not mirrored[row]]
    rows.append(Change("none mirrored (half of the images)", upright))
    for count in (6, 3):
        few = set(models[:: len(models) // count][:count])
        chosen = [row for row in training if models_of[row] <= few]
        label = f"{count} of {len(models)} models ({len(chosen):,} images)"
        rows.append(Change(label, chosen))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("renders", type=Path)
    parser.add_argument("--hold-out", nargs="+", required=True)
    parser.add_argument("--steps", type=int, default=1500)
    given = parser.parse_args()

    zero_shot = Matcher.from_pretrained("embedded-zero-shot")
    renders = read_rendered_dataset(given.renders)
    first, examples = build_dataset(renders, zero_shot, 0)
    training, held_out = renders.split(given.hold_out)
    dogs = real_images.dogs()
    of_dogs = extract(zero_shot, dogs)
    before = evaluate(zero_shot, dogs, of_dogs)
    shipped = Matcher.from_pretrained("embedded").config.sides.coordinate_weight
    print(f"{len(training):,} images to train on, {len(held_out):,} of models held out\n")
    print("| | renders: sides | dogs: sides | PCK@0.10 / 0.05 | confusion | gain at 0.10 |")
    print("|---|---|---|---|---|---|")
    recipe, whole = SidesRecipe(steps=given.steps), None
    mirrored = mirrored_images(len(renders.files), 0)
    for change in changes(renders.models, training, mirrored):
        changed = dataclasses.replace(recipe, **change.recipe)
        with torch.random.fork_rng():
            torch.manual_seed(changed.seed)
            network = SideHead(dataclasses.replace(first.config, **change.network))
        network.basis.copy_(first.basis)
        fit(network, examples, change.rows, changed)
        presence = fit_presence(network, examples, renders, held_out)
        network.config = dataclasses.replace(network.config, presence_calibration=presence)
        whole = whole or network
        rendered = score(network, examples, held_out)
        weight = shipped if "coordinates" in changed.losses else 0.0
        sides = dataclasses.replace(network.config, side_weight=0.0, coordinate_weight=weight)
        config = dataclasses.replace(zero_shot.config, sides=sides)
        after = evaluate(zero_shot, dogs, of_dogs, config, network)
        gains = interval(100 * (after.pck - before.pck)) if weight else ""
        cells = [change.label, _accuracy(rendered), _accuracy(after.sides), *_matching(after)]
        cells.append(gains)
        print(f"| {' | '.join(cells)} |", flush=True)

    print("\n| side | coordinates | renders | confusion | dogs | confusion | gain at 0.10 |")
    print("|---|---|---|---|---|---|---|")
    rendered = unseen(given.renders, given.hold_out)
    of_renders = extract(zero_shot, rendered)
    for side, coordinates in ((0.0, 0.0), *_WEIGHTS):
        sides = dataclasses.replace(whole.config, side_weight=side, coordinate_weight=coordinates)
        config = dataclasses.replace(zero_shot.config, sides=sides)
        on_renders = evaluate(zero_shot, rendered, of_renders, config, whole)
        after = evaluate(zero_shot, dogs, of_dogs, config, whole)
        cells = [f"{side:g}", f"{coordinates:g}", *_matching(on_renders), *_matching(after)]
        print(f"| {' | '.join(cells)} | {interval(100 * (after.pck - before.pck))} |", flush=True)


def _accuracy(score: Score) -> str:
    low, high = score.interval
    return f"{100 * score.accuracy:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def _matching(result: Result) -> tuple[str, str]:
    pck = f"{100 * result.shares['PCK@0.10']:.1f} / {100 * result.shares['PCK@0.05']:.1f}"
    return pck, f"{100 * result.shares['confusion']:.1f}"


if __name__ == "__main__":
    main()
