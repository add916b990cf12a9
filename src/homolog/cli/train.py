"""The command that trains a post-processor."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from homolog.cli.options import BackboneOptions, DatasetOptions
from homolog.errors import HomologError

if TYPE_CHECKING:
    from homolog.data import DataSet
    from homolog.training import TrainingConfig

_TEST_SETS = ("pf-willow", "spair-u", "mp100")  # which methods are tested on and never trained
_NO_VALIDATION = ("cub", "soco")  # which have splits, but none for validation


def train(
    dataset: str,
    root: Path,
    *,
    out: Path,
    recipe: str = "small-set",
    dataset_options: DatasetOptions = DatasetOptions(),
    model: BackboneOptions = BackboneOptions(),
    start: Path | None = None,
    validation: Path | None = None,
    hold_out: float = 0.2,
    cache: Path | None = None,
    steps: int | None = None,
    images_per_group: Annotated[
        int | None, Parameter(name=["--pictures", "--images-per-group"])
    ] = None,
    rotation: float | None = None,
    tune_blocks: int | None = None,
    tune_rank: int | None = None,
    masks: Path | None = None,
    training_seed: int | None = None,
) -> None:
    """Train a post-processor on annotated images.

    OUT becomes a model: `homolog match A B --model OUT`. An interrupted run resumes when the same
    command is given again, and a finished one is extended by more `--steps`. Several processes
    share the work with `torchrun --nproc-per-node N -m homolog train ...`.

    Parameters
    ----------
    dataset
        `spair`, `ap10k`, `ap10k-pairs`, `pf-pascal`, `soco`, `cub` or `coco`; or the test sets
        `spair-u`, `pf-willow` or `mp100`.
    root
        The data set's folder or file.
    out
        The folder of the run.
    recipe
        `small-set`, `published-spair`, `published-ap10k`, `published-pf-pascal` or `marco`.
    start
        The folder of a trained model to take the initial weights from.
    validation
        coco: a file of other images, on which the best weights are chosen.
    hold_out
        The fraction of the images to hold out, where there is no validation set.
    cache
        A folder to keep feature maps in, for other runs; otherwise they are kept in OUT until the
        run is done.
    steps
        Optimizer steps, if not as many as the recipe has.
    images_per_group
        Images that are drawn together, if not as many as the recipe has.
    rotation
        Largest angle by which images are rotated, in degrees, if not that of the recipe.
    tune_blocks
        Train as many of the last blocks of a DINO backbone, too; with `marco`, whose adapters are
        in 9, put them in as many.
    tune_rank
        Rank of the adapters in these blocks (LoRA), 8 by default; 0 to train the blocks themselves.
    masks
        With `marco`: a folder with a mask of the object for each image, named as the image.
        Without it the data set's own are taken, if it has any, or else what is salient.
    training_seed
        Seed of everything that is drawn at random.
    """
    # Steps allocate and free large tensors, which takes half the time in large pages. Torch reads
    # this when it first allocates.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    if not 0 <= hold_out < 1:
        raise HomologError(
            f"hold_out: expected a fraction of at least 0 and less than 1, got {hold_out:g}"
        )
    config = _configure(recipe, steps, images_per_group, rotation, training_seed)
    config = _tuned(config, tune_blocks, tune_rank)
    _check_backbone(config, model.preset)
    data, held_out = _load(dataset, root, dataset_options, validation, hold_out)

    import shutil

    from homolog.features import FeatureCache
    from homolog.keypoints import unknown_sides
    from homolog.training import run
    from homolog.training.distributed import is_main_process
    from homolog.training.report import read_report

    if is_main_process() and (dataset_options.split == "test" or dataset in _TEST_SETS):
        print(
            f"warning: {data.name} is a test set; figures of a model that is trained on it cannot "
            "be compared with others",
            file=sys.stderr,
        )
    if is_main_process():
        held_notes = () if held_out is None else held_out.notes
        for note in dict.fromkeys([*data.notes, *held_notes]):
            print(f"note: {note}", file=sys.stderr)
    if config.flips and (unknown := unknown_sides(data.schemas)):
        config = config.without_flips()
        if is_main_process():
            print(f"note: {unknown}", file=sys.stderr)
    features = out / "features" if cache is None else cache
    matcher = model.matcher(FeatureCache(features))
    settings = matcher.config.post_processor
    if tune_blocks is not None and settings is not None and settings.tuning is not None:
        raise HomologError(
            f"tune_blocks: expected none for a model with trained blocks, {model.preset}, got "
            f"{tune_blocks}"
        )
    run.train(data, out, matcher, config, validation=held_out, start=start, masks=masks)
    if not is_main_process():
        return
    if cache is None:
        shutil.rmtree(features, ignore_errors=True)
    if held_out is not None:
        read_report(out, held_out, config).print()
    print(f"trained: {out}", file=sys.stderr)
    print(f"next: homolog match A B --model {out}", file=sys.stderr)
    print(f"      homolog evaluate {dataset} TEST_SET --model {out}", file=sys.stderr)


def _configure(
    recipe: str,
    steps: int | None,
    images_per_group: int | None,
    rotation: float | None,
    seed: int | None,
) -> TrainingConfig:
    """A recipe with the changes that options ask for."""
    from homolog.training import recipes

    if recipe not in recipes.RECIPES:
        raise HomologError(f"recipe: expected one of {', '.join(recipes.RECIPES)}, got {recipe!r}")
    if images_per_group is not None and images_per_group < 2:
        raise HomologError(f"pictures: expected at least 2, got {images_per_group}")
    changes: dict[str, Any] = {"steps": steps, "images_per_group": images_per_group, "seed": seed}
    changes = {name: value for name, value in changes.items() if value is not None}
    if steps is not None:
        changes["epochs"] = None
    config = dataclasses.replace(recipes.RECIPES[recipe](), **changes)
    if rotation is not None:
        if config.views is None:
            raise HomologError(
                f"rotation: expected a recipe that rotates images, got {recipe}; try small-set"
            )
        views = dataclasses.replace(config.views, rotation=rotation)
        config = dataclasses.replace(config, views=views)
    return config


def _tuned(config: TrainingConfig, blocks: int | None, rank: int | None) -> TrainingConfig:
    """A recipe with the part of the backbone that options ask for."""
    from homolog.backbones import TuningConfig

    own = config.tuning
    if rank is not None and (own is not None or blocks is None):
        reason = "without tune-blocks" if own is None else f"for {config.recipe}, which has no LoRA"
        raise HomologError(f"tune_rank: expected none {reason}, got {rank}")
    if blocks is None:
        return config
    if own is not None:
        return dataclasses.replace(config, tuning=dataclasses.replace(own, blocks=blocks))
    rank = 8 if rank is None else rank or None
    return dataclasses.replace(config, tuning=TuningConfig(blocks, rank))


def _check_backbone(config: TrainingConfig, preset: str) -> None:
    """Refuse presets whose backbone cannot have what a recipe trains, before weights are loaded."""
    from homolog.backbones import DinoConfig
    from homolog.presets import PRESETS

    if config.network.kind != "upsampler" or preset not in PRESETS:
        return
    if not isinstance(PRESETS[preset]().backbone, DinoConfig):
        raise HomologError(
            f"model: expected a DINO transformer, in whose blocks {config.recipe} trains adapters, "
            f"got {preset}; try dinov2-large-registers"
        )


def _load(
    dataset: str,
    root: Path,
    dataset_options: DatasetOptions,
    validation: Path | None,
    hold_out: float,
) -> tuple[DataSet, DataSet | None]:
    """The training set, and the validation set on which the best weights are chosen."""
    from homolog.data import registry, split

    if validation is not None and dataset != "coco":
        raise HomologError(f"validation: expected an option of {dataset}, got one of coco alone")
    splits = "split" in registry.find(dataset).options and dataset_options.split is None
    if splits and dataset in _NO_VALIDATION:
        dataset_options = dataclasses.replace(dataset_options, split="trn")
    elif splits:
        trn, val = (dataclasses.replace(dataset_options, split=name) for name in ("trn", "val"))
        return trn.load(dataset, root), val.load(dataset, root)
    data = dataset_options.load(dataset, root)
    if validation is not None:
        return data, dataset_options.load(dataset, validation)
    return split.hold_out(data, hold_out) if hold_out > 0 else (data, None)
