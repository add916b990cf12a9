"""The command that adapts a model to images that nobody labelled."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from homolog.cli.options import BackboneOptions
from homolog.errors import HomologError


def adapt(
    *images: Path,
    out: Path,
    model: BackboneOptions = BackboneOptions(),
    rounds: int | None = None,
    masks: Path | None = None,
    exemplars: Path | None = None,
    steps: int | None = None,
    training_seed: int = 0,
) -> None:
    """Adapt a model to a folder of images that nobody labelled.

    The model's own matches between the images, where they are consistent, are what it learns from.
    OUT becomes a model: `homolog match A B --model OUT`. OUT/report says what was learned, and
    OUT/images.csv which images were left out and why. An interrupted run resumes when the same
    command is given again. Several processes share the work with
    `torchrun --nproc-per-node N -m homolog adapt ...`.

    Parameters
    ----------
    images
        A folder, which is searched with all below; a text file that has the path of an image on
        each line, relative to its own folder; or several images and folders. All should show
        objects of one kind, or several of each of some kinds.
    out
        The folder of the model.
    rounds
        How often images are matched and the model is trained on these matches, if not twice.
    masks
        A folder of masks of the objects, each with the name of its image. Otherwise objects are
        found.
    exemplars
        Labels of some of the images, or of others, which are then used, too, in any format of
        keypoint labels: keypoints of the same name are matches that are known.
    steps
        Optimizer steps of the head in each round, if not 400.
    training_seed
        Seed of everything that is drawn at random.
    """
    # As for `homolog train`.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    if not images:
        raise HomologError("images: expected a folder or images, got none; try --help")
    import dataclasses

    from homolog.data import exemplars as labels
    from homolog.training.adaptation import AdaptationConfig, adapt
    from homolog.training.distributed import is_main_process
    from homolog.training.trainer import Stopped

    config = AdaptationConfig(seed=training_seed)
    if rounds is not None:
        config = dataclasses.replace(config, rounds=rounds)
    if steps is not None:
        config = dataclasses.replace(config, head=dataclasses.replace(config.head, steps=steps))
    known = None
    if exemplars is not None:
        folders = [path for path in images if path.is_dir()]
        known = labels.read(exemplars, folders[0] if folders else None)
        for note in known.notes if is_main_process() else ():
            print(f"note: {note}", file=sys.stderr)
    source = images[0] if len(images) == 1 else images
    try:
        result = adapt(source, out, model.matcher(), config, masks=masks, exemplars=known)
    except KeyboardInterrupt as interrupt:
        if is_main_process() and not isinstance(interrupt, Stopped):
            print("stopped; the same command resumes", file=sys.stderr)
        raise
    if not is_main_process():
        return
    before, after = 100 * result.cycle_before, 100 * result.cycle_after
    print(
        f"{result.used:,} images used, {result.left_out:,} left out; zero-shot weight "
        f"{result.zero_shot:g}"
    )
    print(
        f"on images kept aside, {after:.1f} % of the points are led to another image and back to "
        f"themselves; {before:.1f} % were before"
    )
    if not result.improved:
        print(f"warning: {out} is no better than {model.preset}", file=sys.stderr)
    print(f"adapted: {out}", file=sys.stderr)
    print(f"next: homolog match A B --model {out}", file=sys.stderr)
