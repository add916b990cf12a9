"""Training of a side head, from rendered images to a model folder; an interrupted run resumes."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path

from homolog import checkpoints
from homolog.data import DataSet
from homolog.errors import HomologError
from homolog.matcher import Matcher
from homolog.training.run_dir import claim_training_dir
from homolog.training.sides.calibration import calibrate, fit_presence
from homolog.training.sides.examples import build_dataset
from homolog.training.sides.fitting import fit
from homolog.training.sides.recipe import SidesRecipe
from homolog.training.sides.rendered import read_rendered_dataset
from homolog.training.sides.scoring import Score, score
from homolog.training.zero_shot import zero_shot_part
from homolog.utils.locks import lock_folder
from homolog.utils.serialization import to_plain

_CALIBRATION_OBJECTS, _CALIBRATION_PAIRS = 60, 240


def train(
    folder: Path,
    out: Path,
    matcher: Matcher,
    recipe: SidesRecipe,
    held_out: Collection[str] = (),
    validation: DataSet | None = None,
) -> Score | None:
    """Train a side head on a rendered set, and save it as a model.

    An interrupted run resumes to the last bit, and a finished one is extended by more steps.

    Args:
        folder: the rendered set, as `homolog synth` writes it.
        out: the folder of the model; made if it is not there.
        matcher: its zero-shot descriptors are used, and no network that it has itself
            (`homolog.training.zero_shot`).
        recipe: how the side head is trained.
        held_out: 3D models that are not trained on; the images of these alone are scored on, and
            on them is chosen how much sides count in similarity.
        validation: pairs of photos on which that is chosen, too.

    Returns:
        The score on the models held out; None where none are.

    Raises:
        HomologError: something is missing or wrong, there is nothing to train on, the matcher was
            trained on labels already, or `out` holds another run or is in use.
    """
    matcher = zero_shot_part(matcher)
    renders = read_rendered_dataset(folder)
    renders.check_held_out(held_out, "hold_out")
    training, unseen = renders.split(held_out)
    if not any(renders.objects[row] for row in training):
        raise HomologError(
            f"folder: expected images of objects to train on, got none in {folder} that shows no "
            "model held out"
        )
    with lock_folder(out):
        network, examples = build_dataset(renders, matcher, recipe.seed)
        run = {
            "training": renders.fingerprint(),
            "held_out": sorted(held_out),
            "validation": None if validation is None else validation.fingerprint(),
            "model": to_plain(matcher.config),
            "steps": recipe.steps,
            "config": to_plain(recipe),
        }
        claim_training_dir(out, run)
        fit(network, examples, training, recipe, out)

        presence = fit_presence(network, examples, renders, unseen or training)
        network.config = dataclasses.replace(network.config, presence_calibration=presence)
        rendered = renders.to_dataset(unseen, _CALIBRATION_OBJECTS).subsample(_CALIBRATION_PAIRS)
        sets = [data for data in (rendered, validation) if data is not None and data.pairs]
        config = calibrate(matcher, network, sets)[0] if sets else network.config
        trained = dataclasses.replace(matcher.config, sides=config, score_calibration=None)
        checkpoints.save(out, None, trained, side_head=network)
        return score(network, examples, unseen) if unseen else None
