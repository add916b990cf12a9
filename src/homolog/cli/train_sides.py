"""The command that trains a side head."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from homolog.cli.options import BackboneOptions

_VALIDATION_PAIRS = 200


def train_sides(
    folder: Path,
    *,
    out: Path,
    model: BackboneOptions = BackboneOptions(),
    hold_out: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = (),
    validation: Path | None = None,
    count: int = 2400,
    steps: int | None = None,
    training_seed: int = 0,
) -> None:
    """Train a model to tell the sides of an object, on rendered images.

    OUT becomes a model: `homolog sides PHOTO --model OUT`. An interrupted run resumes when the
    same command is given again, and a finished one is extended by more `--steps`.

    Parameters
    ----------
    folder
        A set that `homolog synth` rendered, or a folder of 3D models, of which one is rendered into
        OUT first.
    out
        The folder of the model.
    hold_out
        Names of 3D models that are not trained on. The model is scored on them, and how much sides
        count in matching is chosen on them.
    validation
        A COCO file of photos on which that is chosen, too, with any number of objects each.
    count
        Images to render, where FOLDER has 3D models.
    steps
        Optimizer steps, if not as many as the recipe has.
    training_seed
        Seed of everything that is drawn at random.
    """
    # As for `homolog train`.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    import dataclasses

    from homolog.data import coco
    from homolog.training.sides import SidesRecipe, train

    recipe = SidesRecipe(seed=training_seed)
    if steps is not None:
        recipe = dataclasses.replace(recipe, steps=steps)
    matcher = model.matcher()
    photos = None if validation is None else coco.load(validation).subsample(_VALIDATION_PAIRS)
    for note in () if photos is None else photos.notes:
        print(f"note: {note}", file=sys.stderr)
    if not (folder / "annotations.json").exists():
        from homolog.synth import render_set

        render_set(folder, out / "pictures", count=count, seed=training_seed)
        folder = out / "pictures"
    score = train(folder, out, matcher, recipe, hold_out, photos)
    if score is not None:
        low, high = (100 * bound for bound in score.interval)
        print(
            f"sides of {score.num_keypoints:,} keypoints on {', '.join(hold_out)}, held out: "
            f"{100 * score.accuracy:.1f} % correct ({low:.1f} to {high:.1f})"
        )
    print(f"trained: {out}", file=sys.stderr)
    print(f"next: homolog sides PHOTO --model {out}", file=sys.stderr)
    print(f"      homolog match A B --model {out}", file=sys.stderr)
