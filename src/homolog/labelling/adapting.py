"""Adaptation before labelling: a matcher is adapted to the very images that are to be labelled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from homolog.data.boxes import BoxSet
from homolog.data.exemplars import ExemplarSet
from homolog.errors import HomologError
from homolog.labelling.propagate import check_format, check_inputs
from homolog.matcher import Matcher
from homolog.training.adaptation.config import AdaptationConfig
from homolog.training.adaptation.images import UnsuitableImagesError
from homolog.training.adaptation.run import AdaptationResult, adapt
from homolog.training.run_dir import RESULTS, RUN
from homolog.utils.serialization import to_plain

FEWEST = 50
"""Images that a folder must have to be adapted to."""


_DEFAULT = AdaptationConfig()


def model_folder(out: Path) -> Path:
    """The folder of the adapted model, beside the labels.

    >>> print(model_folder(Path("labels.json")))
    labels.model
    """
    return out.with_suffix(".model")


def adapted_model(
    matcher: Matcher,
    exemplars: ExemplarSet,
    folder: Path,
    out: Path,
    *,
    boxes: BoxSet | None = None,
    overwrite: bool = False,
    config: AdaptationConfig = _DEFAULT,
) -> tuple[Path | None, list[str]]:
    """Adapt a matcher to the images of a folder before they are annotated.

    The keypoints of the exemplars are fixed points. An interrupted adaptation is resumed, and a
    finished one is used again, also where images or labels have changed since.

    Args:
        matcher: what is adapted.
        exemplars: the labelled images.
        folder: of the images that are to be annotated.
        out: the file of labels that is to be written; the model goes to `model_folder(out)`.
        boxes: as for `annotate`, whose arguments are checked first.
        overwrite: likewise.
        config: of the adaptation.

    Returns:
        The folder of the adapted model, and what is to be said about it. None if the matcher should
        be used as it is: there are too few images, they cannot be adapted to, or cycle consistency
        on images kept aside has not grown.

    Raises:
        HomologError: `annotate` would refuse its arguments, the folder of the model holds another
            run, is in use or cannot be written.
    """
    files = check_inputs(exemplars, folder, check_format(out), boxes, overwrite=overwrite)
    model = model_folder(out)
    if (model / RESULTS).exists():
        _check_origin(model, matcher)
        result = AdaptationResult.read(model)
        notes = [f"adapted before: {model}; to adapt anew, remove it"]
    elif len(files) < FEWEST:
        return None, [
            f"not adapted: expected at least {FEWEST} images, got {len(files)} in {folder}"
        ]
    else:
        try:
            result = adapt(folder, model, matcher, config, exemplars=exemplars)
        except UnsuitableImagesError as error:
            return None, [f"not adapted: {error}"]
        notes = []
    change = f"from {100 * result.cycle_before:.1f} to {100 * result.cycle_after:.1f} %"
    if not result.improved:
        return None, [
            *notes,
            "the model is used as it is: adapted, cycle consistency on images kept aside did not "
            f"grow, {change}",
        ]
    notes.append(f"adapted: cycle consistency on images kept aside grew {change}: {model}")
    return model, notes


def _check_origin(model: Path, matcher: Matcher) -> None:
    """Refuse a model that was adapted from another.

    Raises:
        HomologError: it was, or what it was adapted from cannot be read.
    """
    path = model / RUN
    try:
        run: Any = json.loads(path.read_text("utf-8"))
        origin = run["model"], run["weights"]
    except OSError as error:
        raise HomologError(f"out: cannot read {path}: {error.strerror}") from error
    except (ArithmeticError, ValueError, LookupError, TypeError):
        raise HomologError(f"out: expected the record of a run, got {path}") from None
    own = json.loads(json.dumps(to_plain(matcher.config)))
    if origin != (own, matcher.weights_digest):
        raise HomologError(
            f"out: expected an adaptation of this model in {model}, got one of another; try "
            "another name, or removing it"
        )
