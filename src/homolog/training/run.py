"""Training of a post-processor, in one process or in several that share the work.

    homolog train coco bees.json --out runs/bees
    torchrun --nproc-per-node 2 -m homolog train coco bees.json --out runs/bees

The folder of a run holds `config.json` and `model.safetensors`, the best weights so far, which
`Matcher.from_pretrained` takes; `last/`, the same for the last weights; `state.safetensors`, from
which the run resumes; `log.jsonl` and `tensorboard/`, its curves; and, when it is done, `report/`.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from homolog.data import DataSet
from homolog.errors import HomologError
from homolog.matcher import Matcher
from homolog.training.distillation.distiller import MinedPair, mine_batch
from homolog.training.distillation.masks import choose_masks
from homolog.training.distributed import Process, process_group
from homolog.training.models import ModelBundle, create_loader, create_network, find_landmarks
from homolog.training.objective import Objective
from homolog.training.recipes import TrainingConfig
from homolog.training.report import write_report
from homolog.training.run_dir import LAST, RESULTS, claim_training_dir
from homolog.training.sampler import Batch, BatchSampler
from homolog.training.samples import SampleLoader
from homolog.training.starts import starting_point
from homolog.training.trainer import Hooks, LoopConfig, Trainer
from homolog.training.validation import summarise, validate
from homolog.utils.locks import lock_folder
from homolog.utils.serialization import to_plain


def train(
    data: DataSet,
    folder: Path,
    matcher: Matcher,
    config: TrainingConfig,
    *,
    validation: DataSet | None = None,
    start: Path | None = None,
    masks: Path | None = None,
) -> Path:
    """Train a post-processor; an interrupted run resumes where it stopped.

    A finished run is extended by more steps than before: it resumes where the learning rate of the
    longer schedule is at that step.

    Args:
        data: the training set.
        folder: of the run; made if it is not there.
        matcher: its backbone makes the features, and the trained model has its configuration, but
            for the networks that it has itself (`zero_shot_part`): sides, too, are left to the
            network. With a cache, no image goes through the backbone twice. A model of MARCO's kind
            is trained further, by a recipe of that kind.
        config: of the run.
        validation: held-out pairs on which the best weights are chosen; None to keep the last.
        start: the folder of a trained model to start from.
        masks: a folder with masks of the objects, named as their images, for a configuration with
            distillation; where it has none, the data set's are taken, or else what is salient.

    Returns:
        The folder, which `Matcher.from_pretrained` takes.

    Raises:
        HomologError: there is nothing to train on, the matcher was trained on labels already, the
            folder holds another run, is in use or cannot be written, an image cannot be read, or
            the loss is not finite.
    """
    matcher, config, trained = starting_point(matcher, config, start)
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(process_group(matcher.backbone.device))
        sampler = BatchSampler(data, config)
        steps = count_steps(config, sampler, process.world_size)
        config, finder = choose_masks(data, matcher, config, masks, process.is_main)
        begin = None if trained is None else trained.name
        run = _describe(data, matcher, config, validation, begin, steps, process.world_size, masks)
        if process.is_main:
            stack.enter_context(lock_folder(folder))
            claim_training_dir(folder, run)
        if validation is not None:
            validation = validation.subsample(config.validation_pairs)

        landmarks = find_landmarks(data, config)
        network = create_network(data, matcher, config, landmarks, trained)
        bundle = ModelBundle(matcher, network, config, trained)
        keypoints = {name: len(schema) for name, schema in data.schemas.items()}
        objective = Objective(
            network, config, keypoints, list(landmarks), bundle.backbone_in_training(),
            bundle.placement(),
        ).to(matcher.backbone.device)  # fmt: skip
        optimizer, learning_rates = create_optimizer(objective, config)
        loop = LoopConfig(
            steps, learning_rates, config.warmup, config.clip, config.grad_accum_groups,
            config.save_every,
        )  # fmt: skip
        hooks = _Hooks(bundle, folder, validation, objective, steps, process)
        trainer = Trainer(folder, objective, sampler, optimizer, loop, hooks, process)
        fresh = trainer.state.step == 0 and trained is None
        loader = create_loader(data, sampler, bundle, fresh, finder)
        trainer.run(partial(batch_losses, loader, objective, steps))

        if process.is_main and not (folder / RESULTS).exists():
            if validation is None:
                bundle.save(folder)
            write_report(folder, matcher, validation, config)
    return folder


def count_steps(config: TrainingConfig, sampler: BatchSampler, world_size: int) -> int:
    """The number of optimizer steps: as configured, or enough for the configured epochs.

    Args:
        config: of the run.
        sampler: knows the number of pairs.
        world_size: how many processes share the work.

    Raises:
        HomologError: neither steps nor epochs are given, or fewer than 1 step.
    """
    if config.epochs is None:
        if config.steps is None or config.steps < 1:
            raise HomologError(f"steps: expected at least 1, got {config.steps}")
        return config.steps
    pairs_per_step = sampler.pairs_per_batch * config.grad_accum_groups * world_size
    return max(1, math.ceil(config.epochs * sampler.num_pairs / pairs_per_step))


def create_optimizer(
    objective: Objective, config: TrainingConfig
) -> tuple[torch.optim.Optimizer, tuple[float, ...]]:
    """AdamW and the peak learning rate of each of its parameter groups.

    What is trained of the backbone is a group of its own, with a rate of its own.

    Args:
        objective: everything that is trained.
        config: of the run.
    """
    tuned = list(objective.tuned.values())
    of_backbone = set(map(id, tuned))
    others = [p for p in objective.parameters() if id(p) not in of_backbone]
    groups, rates = [{"params": others}], [config.learning_rate]
    if config.tuning is not None:
        groups, rates = [*groups, {"params": tuned}], [*rates, config.tuning.learning_rate]
    return torch.optim.AdamW(groups, lr=1.0, weight_decay=config.weight_decay), tuple(rates)


def batch_losses(
    loader: SampleLoader, objective: Objective, steps: int, module: nn.Module, batch: Batch
) -> dict[str, Tensor]:
    """The losses of a batch by name, and their sum as `loss`.

    Args:
        loader: loads the samples.
        objective: everything that is trained.
        steps: how many there are in the run.
        module: the objective, or what wraps it in several processes.
        batch: the images and the weights of their pairs.

    Raises:
        HomologError: an image cannot be read.
    """
    samples = [loader(annotation, augmentation) for annotation, augmentation in batch.images]
    device = loader.extractor.backbone.device
    features = torch.stack([sample.features_HWC for sample in samples]).to(device).float()
    cells = torch.stack([sample.cells_K2 for sample in samples]).to(device)
    lengths = torch.tensor([sample.reference_length for sample in samples], device=device)
    weights = (
        torch.from_numpy(matrix).float().to(device)
        for matrix in (batch.sparse_weights_BB, batch.dense_weights_BB)
    )
    settings = objective.config
    mined: Sequence[MinedPair] = ()
    if settings.distillation is not None:
        mined = mine_batch(
            objective.teacher_descriptors(features), [sample.mask for sample in samples],
            objective.canvas_points(cells), batch.dense_weights_BB, settings.distillation,
            batch.seed,
        )  # fmt: skip
    sigma = settings.loss.annealing.schedule(steps)(batch.step)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(batch.seed)
        return module(batch.category, features, cells, lengths, *weights, sigma, mined)


class _Hooks(Hooks[Batch]):
    """Validates and saves the model of a run."""

    def __init__(
        self,
        bundle: ModelBundle,
        folder: Path,
        validation: DataSet | None,
        objective: Objective,
        steps: int,
        process: Process,
    ):
        self.bundle = bundle
        self.folder = folder
        self.validation = validation
        self.objective = objective
        self.steps = steps
        self.process = process

    def describe(self, batches: Sequence[Batch]) -> str:
        names = dict.fromkeys(image.name for batch in batches for image, _ in batch.images)
        return ", ".join(names)

    def after_step(self, step: int) -> None:
        distillation, teacher = self.objective.config.distillation, self.objective.teacher
        if distillation is not None and teacher is not None:
            teacher.update(distillation.momentum(self.steps)(step - 1))

    def validate(self, step: int) -> Mapping[str, float] | None:
        due = step % self.objective.config.validate_every == 0 or step == self.steps
        if self.validation is None or not due:
            return None
        self.bundle.network.eval()
        accumulator = validate(self.bundle.trained_matcher(), self.validation, self.process)
        self.bundle.network.train()
        return summarise(accumulator)

    def save_best(self) -> None:
        self.bundle.save(self.folder)

    def save_last(self) -> None:
        self.bundle.save(self.folder / LAST)


def _describe(
    data: DataSet,
    matcher: Matcher,
    config: TrainingConfig,
    validation: DataSet | None,
    start: str | None,
    steps: int,
    processes: int,
    masks: Path | None,
) -> dict[str, Any]:
    """Everything that decides a run, for JSON, to tell one from another."""
    return {
        "training": data.fingerprint(),
        "validation": None if validation is None else validation.fingerprint(),
        "model": to_plain(matcher.config),
        "start": start,
        "steps": steps,
        "processes": processes,
        "config": to_plain(config),
        **({} if masks is None else {"masks": str(masks)}),
    }
