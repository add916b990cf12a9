"""What each part of teaching sides brings: the recipe, and the recipe with one thing changed.

    python benchmarks/sides_ablation.py RENDERS --hold-out Fox Donkey Stag [--steps 1500]

RENDERS is a set that `homolog synth` made. Every row is trained afresh, in fewer steps than what is
shipped. Sides are right or wrong at visible keypoints, of renders of the models held out and of
dogs in photos, with 95 % intervals by bootstrap over pictures; the gain is that of the dogs'
PCK@0.10 over zero-shot, at the weight that places have in the package, by bootstrap over pairs.
Then, for the recipe, how much sides and places count in matching.
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
from sides import Found, evaluate, extract, interval, unseen

from homolog import Matcher
from homolog.networks.sides import SideHead
from homolog.training import sides as training
from homolog.training.sides import LOSSES, Score, SidesRecipe

_MIXED = ((0.0, 0.1), (0.0, 0.3), (0.1, 0.0), (0.2, 0.0), (0.1, 0.2), (0.1, 0.3), (0.2, 0.3))


@dataclass(frozen=True)
class Change:
    """A row of the table: what differs from the recipe.

    Attributes:
        label: of the row.
        rows: the pictures learnt from.
        recipe: fields of the recipe.
        network: fields of the network's configuration.
    """

    label: str
    rows: Sequence[int]
    recipe: dict[str, Any] = field(default_factory=dict)
    network: dict[str, Any] = field(default_factory=dict)


def changes(shown: Sequence[set[str]], seen: Sequence[int], flips: np.ndarray) -> list[Change]:
    """All rows.

    Args:
        shown: names of the models in each picture.
        seen: the pictures that do not show models held out.
        flips: which pictures are looked at in a mirror.
    """
    models = sorted(set().union(*(shown[row] for row in seen)))
    found = [Change(f"recipe, seed {seed}", seen, {"seed": seed}) for seed in range(3)]
    found.append(Change("no attention over the picture", seen, network={"layers": 0}))
    for label, left_out in (
        ("sides of keypoints only, not of all cells", {"side"}),
        ("sides of all cells only, not of keypoints", {"keypoints"}),
        ("sides alone, no places, no way of facing", {"place", "facing"}),
    ):
        losses = tuple(name for name in LOSSES if name not in left_out)
        found.append(Change(label, seen, {"losses": losses}))
    found.append(Change("no restyling or hiding", seen, {"style": 0.0, "drop": 0.0, "hide": 0.0}))
    for share, label in ((2, "half"), (4, "a quarter")):
        found.append(Change(f"{label} of the pictures", seen[::share]))
    found.append(Change("none mirrored (half of the pictures)", [r for r in seen if not flips[r]]))
    for count in (6, 3):
        few = set(models[:: len(models) // count][:count])
        rows = [row for row in seen if shown[row] <= few]
        found.append(Change(f"{count} of {len(models)} models ({len(rows):,} pictures)", rows))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("renders", type=Path)
    parser.add_argument("--hold-out", nargs="+", required=True)
    parser.add_argument("--steps", type=int, default=1500)
    given = parser.parse_args()

    zero_shot = Matcher.from_pretrained("embedded-zero-shot")
    listing = training.read(given.renders)
    first, examples = training.look(listing, zero_shot, 0)
    shown = listing.models
    seen, hidden = listing.split(given.hold_out)
    dogs = real_images.dogs()
    of_dogs = extract(zero_shot, dogs)
    before = evaluate(zero_shot, dogs, of_dogs)
    place = Matcher.from_pretrained("embedded").config.sides.place
    print(f"{len(seen):,} pictures to learn from, {len(hidden):,} of models held out\n")
    print("| | renders: sides | dogs: sides | PCK@0.10 / 0.05 | confusion | gain at 0.10 |")
    print("|---|---|---|---|---|---|")
    recipe, whole = SidesRecipe(steps=given.steps), None
    for change in changes(shown, seen, training.flipped(len(shown), 0)):
        changed = dataclasses.replace(recipe, **change.recipe)
        with torch.random.fork_rng():
            torch.manual_seed(changed.seed)
            network = SideHead(dataclasses.replace(first.config, **change.network))
        network.basis.copy_(first.basis)
        training.teach(network, examples, change.rows, changed)
        present = training.presence(network, examples, listing, hidden)
        network.config = dataclasses.replace(network.config, presence=present)
        whole = whole or network
        rendered = training.score(network, examples, hidden)
        places = place if "place" in changed.losses else 0.0
        config = dataclasses.replace(network.config, side=0.0, place=places)
        found = evaluate(zero_shot, dogs, of_dogs, network, config)
        gains = interval(100 * (found.pck - before.pck)) if places else ""
        cells = [change.label, _share(rendered), _share(found.sides), *_matching(found), gains]
        print(f"| {' | '.join(cells)} |", flush=True)

    print("\n| side | place | renders | confusion | dogs | confusion | gain at 0.10 |")
    print("|---|---|---|---|---|---|---|")
    rendered = unseen(given.renders, given.hold_out)
    of_renders = extract(zero_shot, rendered)
    for side, place in ((0.0, 0.0), *_MIXED):
        config = dataclasses.replace(whole.config, side=side, place=place)
        renders = evaluate(zero_shot, rendered, of_renders, whole, config)
        found = evaluate(zero_shot, dogs, of_dogs, whole, config)
        cells = [f"{side:g}", f"{place:g}", *_matching(renders), *_matching(found)]
        print(f"| {' | '.join(cells)} | {interval(100 * (found.pck - before.pck))} |", flush=True)


def _share(score: Score) -> str:
    low, high = score.interval
    return f"{100 * score.share:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def _matching(found: Found) -> tuple[str, str]:
    pck = f"{100 * found.shares['PCK@0.10']:.1f} / {100 * found.shares['PCK@0.05']:.1f}"
    return pck, f"{100 * found.shares['confusion']:.1f}"


if __name__ == "__main__":
    main()
