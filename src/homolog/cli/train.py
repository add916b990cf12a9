"""The command that trains."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from homolog.cli.options import DATASET_OPTIONS, DatasetOptions
from homolog.errors import HomologError

if TYPE_CHECKING:
    from homolog.data import DataSet


def train(
    dataset: str,
    root: Path,
    *,
    out: Path,
    recipe: str = "small-set",
    dataset_options: DatasetOptions = DatasetOptions(),
    preset: Annotated[str, Parameter(name="--model")] = "embedded",
    start: Path | None = None,
    validation: Path | None = None,
    hold_out: float = 0.2,
    cache: Path | None = None,
    steps: int | None = None,
    pictures: int | None = None,
    rotation: float | None = None,
    tune_blocks: int | None = None,
    tune_rank: int = 8,
    training_seed: int | None = None,
    device: str | None = None,
) -> None:
    """Train a post-processor from annotated pictures.

    OUT then is a model: `homolog match A B --model OUT`. An interrupted run goes on where it
    stopped when the same command is given again. Several processes share the work with `torchrun
    --nproc-per-node N -m homolog train ...`.

    Parameters
    ----------
    dataset
        `spair`, `ap10k`, `pf-pascal`, `pf-willow` or `coco`.
    root
        The data set's folder or file.
    out
        The folder of the run.
    recipe
        `small-set`, `published-spair`, `published-ap10k` or `published-pf-pascal`.
    preset
        The model whose backbone is used.
    start
        The folder of a trained model to start from.
    validation
        coco: a file of other pictures, on which the best weights are chosen.
    hold_out
        The share of the pictures to hold out, where there is no validation set.
    cache
        A folder to keep feature maps in, for other runs; otherwise they are kept in OUT until the
        run is done.
    steps
        How many, if not what the recipe says.
    pictures
        How many are drawn together, if not what the recipe says.
    rotation
        Largest angle by which pictures are turned, in degrees, if not what the recipe says.
    tune_blocks
        Train the last so many blocks of a DINO backbone, too.
    tune_rank
        Of the adapters in these (LoRA); 0 to train the blocks themselves.
    training_seed
        Of everything that is drawn while training.
    device
        Where to compute, such as `cpu` or `cuda`.
    """
    # Steps fill and free large tensors; in large pages that takes half the time. Torch looks at
    # this when it first allocates.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    from homolog.training import recipes

    if recipe not in recipes.RECIPES:
        raise HomologError(f"recipe: {recipe!r} is none of {', '.join(recipes.RECIPES)}")
    if not 0 <= hold_out < 1:
        raise HomologError(f"hold_out: got {hold_out:g}, takes a share from 0 to 1")
    if pictures is not None and pictures < 2:
        raise HomologError(f"pictures: got {pictures}, takes at least 2")
    changes: dict[str, Any] = {"steps": steps, "pictures": pictures, "seed": training_seed}
    changes = {name: value for name, value in changes.items() if value is not None}
    if steps is not None:
        changes["epochs"] = None
    config = dataclasses.replace(recipes.RECIPES[recipe](), **changes)
    if rotation is not None:
        if config.views is None:
            raise HomologError(f"rotation: {recipe} does not turn pictures")
        views = dataclasses.replace(config.views, rotation=rotation)
        config = dataclasses.replace(config, views=views)
    if tune_blocks is not None:
        from homolog.backbones import TuningConfig

        config = dataclasses.replace(config, tuning=TuningConfig(tune_blocks, tune_rank or None))
    data, held = _load(dataset, root, dataset_options, validation, hold_out)

    import shutil

    from homolog.features import FeatureCache
    from homolog.matcher import Matcher
    from homolog.training.trainer import train as trained

    matcher = Matcher.from_pretrained(preset, device=device)
    kept = out / "features" if cache is None else cache
    matcher.cache = FeatureCache(kept)
    trained(data, out, matcher, config, validation=held, start=start)
    if cache is None:
        shutil.rmtree(kept, ignore_errors=True)
    print(f"trained: {out}", file=sys.stderr)


def _load(
    dataset: str,
    root: Path,
    dataset_options: DatasetOptions,
    validation: Path | None,
    hold_out: float,
) -> tuple[DataSet, DataSet | None]:
    """What to learn from, and what to choose the best weights on."""
    if validation is not None and dataset != "coco":
        raise HomologError(f"validation: {dataset} does not take it")
    if "split" in DATASET_OPTIONS.get(dataset, ()) and dataset_options.split is None:
        trn, val = (dataclasses.replace(dataset_options, split=split) for split in ("trn", "val"))
        return trn.load(dataset, root), val.load(dataset, root)
    data = dataset_options.load(dataset, root)
    if validation is not None:
        return data, dataset_options.load(dataset, validation)
    from homolog.data.split import hold_out as split

    return split(data, hold_out) if hold_out > 0 else (data, None)
