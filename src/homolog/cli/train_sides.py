"""The command that teaches sides."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

_VALIDATION_PAIRS = 200


def train_sides(
    folder: Path,
    *,
    out: Path,
    preset: Annotated[str, Parameter(name="--model")] = "embedded",
    hold_out: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = (),
    validation: Path | None = None,
    count: int = 2400,
    steps: int | None = None,
    training_seed: int = 0,
    device: str | None = None,
) -> None:
    """Teach a model which side of a thing is which, on rendered pictures.

    OUT then is a model: `homolog sides PHOTO --model OUT`.

    Parameters
    ----------
    folder
        A set that `homolog synth` rendered, or a folder of 3D models, of which one is rendered into
        OUT first.
    out
        The folder of the model.
    preset
        The model whose backbone is used; sides that it tells are learnt anew.
    hold_out
        Names of 3D models not to learn from, but to score on, and to choose on how much sides
        count in matching.
    validation
        A COCO file of photos to choose that on, too.
    count
        How many pictures to render, where FOLDER has models.
    steps
        How many, if not what the recipe says.
    training_seed
        Of everything that is drawn while training.
    device
        Where to compute, such as `cpu` or `cuda`.
    """
    # As for `homolog train`.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    import dataclasses

    from homolog.data import coco
    from homolog.matcher import Matcher
    from homolog.training.sides import SidesRecipe, train

    recipe = SidesRecipe(seed=training_seed)
    if steps is not None:
        recipe = dataclasses.replace(recipe, steps=steps)
    matcher = Matcher.from_pretrained(preset, device=device)
    photos = None if validation is None else coco.load(validation).subsample(_VALIDATION_PAIRS)
    if not (folder / "annotations.json").exists():
        from homolog.synth import render_set

        render_set(folder, out / "pictures", count=count, seed=training_seed)
        folder = out / "pictures"
    score = train(folder, out, matcher, recipe, hold_out, photos)
    if score is not None:
        print(
            f"sides of {score.count:,} keypoints on {', '.join(hold_out)}, which it has not "
            f"seen: {100 * score.share:.1f} % right"
        )
    print(f"trained: {out}", file=sys.stderr)
