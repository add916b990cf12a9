"""The training loop, in one process or in several that share the work.

    homolog train coco bees.json --out runs/bees
    torchrun --nproc-per-node 2 -m homolog train coco bees.json --out runs/bees

A run's folder holds `config.json` and `model.safetensors`, the best weights so far, which
`Matcher.from_pretrained` takes; `last/`, the same for the last; `state.safetensors`, from which a
run goes on; `log.jsonl` and `tensorboard/`, its curves; and, when it is done, `report/`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from homolog import checkpoints
from homolog.backbones import adapters
from homolog.backbones.hub import load_state
from homolog.config import MatcherConfig, PostProcessorConfig
from homolog.data import DataSet
from homolog.errors import HomologError
from homolog.evaluation.metrics import PCKAccumulator
from homolog.extractor import DescriptorExtractor
from homolog.matcher import Matcher
from homolog.networks.context import AttentionHead
from homolog.networks.post_processor import PostProcessor
from homolog.training.checkpoint import read_state, write_state
from homolog.training.objective import Objective
from homolog.training.recipes import TrainingConfig
from homolog.training.sampler import Batch, BatchSampler, SampleLoader
from homolog.utils.outputs import claim_run_dir, write_atomically
from homolog.utils.progress import ProgressBar
from homolog.utils.serialization import to_plain

STATE, LOG, LAST, REPORT = "state.safetensors", "log.jsonl", "last", "report"

_FITTED_ON = 64  # pictures from which principal components are taken
_EVERY_CELL = 4


def train(
    data: DataSet,
    folder: Path,
    matcher: Matcher,
    config: TrainingConfig,
    *,
    validation: DataSet | None = None,
    start: Path | None = None,
) -> Path:
    """Train a post-processor; an interrupted run goes on where it stopped.

    Args:
        data: the pairs to learn from.
        folder: of the run; made if it is not there.
        matcher: its backbone makes the features, and its settings those of the result, but for
            sides, which the result leaves to what it has learnt. With a cache, no picture goes
            through the backbone twice.
        config: of the run.
        validation: pairs on which the best weights are chosen; None to keep the last.
        start: the folder of a trained model to start from.

    Returns:
        The folder, which `Matcher.from_pretrained` takes.

    Raises:
        HomologError: there is nothing to learn from, the folder holds another run or cannot be
            written, a picture cannot be read, or the loss is not a number.
    """
    matcher = matcher.with_config(sides=None)
    with _processes(matcher.backbone.device) as (rank, world):
        groups = BatchSampler(data, config)
        steps = _steps(config, groups, world)
        claim_run_dir(folder, _describe(data, matcher, config, validation, start, steps, world))
        if validation is not None:
            validation = validation.subsample(config.validation_pairs)
        landmarks = _landmarks(data, config)
        network = _network(data, matcher, config, landmarks, start)
        learner = _Learner(matcher, network, config)
        settings = learner.settings
        objective = Objective(
            network,
            config,
            {name: len(schema) for name, schema in data.schemas.items()},
            list(landmarks),
            learner.tuned_backbone,
        ).to(matcher.backbone.device)
        optimizer, schedule = _optimizer(objective, config, steps)
        progress = read_state(folder / STATE, objective, optimizer, schedule)
        fresh = progress.step == 0 and start is None
        shows = _shows(data, groups, matcher, settings, network, config, fit=fresh)
        module: nn.Module = objective
        if world > 1:
            # Not all parameters take part in every step: each category has prototypes of its own.
            module = DistributedDataParallel(objective, find_unused_parameters=True)
        with (
            _Log(folder, progress.step) if rank == 0 else contextlib.nullcontext() as log,
            _Interrupt(enabled=world == 1) as interrupt,
            ProgressBar(steps - progress.step) as shown,
        ):
            objective.train()
            for step in range(progress.step, steps):
                began = time.perf_counter()
                numbers = range(rank * config.groups, (rank + 1) * config.groups)
                drawn = [groups.draw(step, number) for number in numbers]
                losses = _accumulate(module, drawn, shows)
                _check_finite(losses, drawn, step, folder)
                if config.clip is not None:
                    nn.utils.clip_grad_norm_(objective.parameters(), config.clip)
                rate = float(schedule.get_last_lr()[0])
                optimizer.step()
                optimizer.zero_grad()
                schedule.step()
                progress.step = step + 1
                losses = _mean_over_processes(losses, world, matcher.backbone.device)
                if log is None:
                    continue
                seconds = time.perf_counter() - began
                log.write(step + 1, {**losses, "learning_rate": rate, "seconds": seconds})
                shown.update(f"training, loss {losses['loss']:.3f}")
                ending = step + 1 == steps
                if validation is not None and ((step + 1) % config.validate_every == 0 or ending):
                    figures = _figures(_validate(learner, validation))
                    log.write(step + 1, {f"validation {k}": v for k, v in figures.items()})
                    shown.log(f"step {step + 1}: validation {_line(figures)}")
                    if figures["pck"] > progress.best:
                        progress.best = figures["pck"]
                        learner.save(folder)
                if (step + 1) % config.save_every == 0 or ending or interrupt.wanted:
                    learner.save(folder / LAST)
                    log.flush()
                    write_state(folder / STATE, objective, optimizer, schedule, progress)
                if interrupt.wanted and not ending:
                    shown.log(f"stopped after step {step + 1}; the same command goes on from there")
                    raise KeyboardInterrupt
        if rank == 0 and not (folder / REPORT / "results.json").exists():
            if validation is None:
                learner.save(folder)
            _finish(folder, matcher, validation, config)
    return folder


# Before the loop.


@contextlib.contextmanager
def _processes(device: torch.device) -> Iterator[tuple[int, int]]:
    """The number of this process and how many there are, as torchrun says."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield 0, 1
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield dist.get_rank(), world
        dist.barrier()  # none leaves while another still needs it
    finally:
        dist.destroy_process_group()


def _steps(config: TrainingConfig, groups: BatchSampler, world: int) -> int:
    if config.epochs is None:
        if config.steps is None or config.steps < 1:
            raise HomologError(f"steps: got {config.steps}, takes at least 1")
        return config.steps
    pairs_a_step = groups.pairs_at_once * config.groups * world
    return max(1, math.ceil(config.epochs * groups.pairs / pairs_a_step))


def _describe(
    data: DataSet,
    matcher: Matcher,
    config: TrainingConfig,
    validation: DataSet | None,
    start: Path | None,
    steps: int,
    world: int,
) -> dict[str, Any]:
    """What decides a run, to tell one from another."""
    return {
        "training": data.fingerprint(),
        "validation": None if validation is None else validation.fingerprint(),
        "model": to_plain(matcher.config),
        "start": None if start is None else str(start),
        "steps": steps,
        "processes": world,
        "config": to_plain(config),
    }


def _landmarks(data: DataSet, config: TrainingConfig) -> dict[int, float]:
    """The keypoints on the axis of a set's one kind of thing, and where along it they lie.

    In lengths from the first to the last of them. None unless there are two that are seen
    together, or for networks that have no use for them.
    """
    if config.network.kind != "context" or len(data.schemas) != 1:
        return {}
    (schema,) = data.schemas.values()
    if not schema.sides_known:
        return {}
    ids = [index for index, other in enumerate(schema.mirror) if index == other]
    points = np.array([annotation.keypoints[ids] for annotation in data.annotations])
    usual = np.isfinite(points[..., 0]).mean(axis=0) > 0.5
    ids, points = [i for i, often in zip(ids, usual, strict=True) if often], points[:, usual]
    points = points[np.isfinite(points).all(axis=(1, 2))]
    if len(ids) < 2 or len(points) == 0:
        return {}
    distances = np.median(np.linalg.norm(points[:, :, None] - points[:, None], axis=3), axis=0)
    first, last = np.unravel_index(distances.argmax(), distances.shape)
    axis = points[:, last] - points[:, first]
    length = (axis**2).sum(axis=1)
    if not length.all():
        return {}
    along = ((points - points[:, [first]]) * axis[:, None]).sum(axis=2) / length[:, None]
    return dict(zip(ids, np.median(along, axis=0).round(4).tolist(), strict=True))


class _Learner:
    """What is trained, and how it is matched with and saved.

    Args:
        matcher: with the backbone.
        network: to be trained.
        config: of the run.

    Raises:
        HomologError: the backbone is to be trained and cannot be.
    """

    def __init__(
        self, matcher: Matcher, network: PostProcessor | AttentionHead, config: TrainingConfig
    ):
        self.matcher, self.network, self.tuning = matcher, network, config.tuning
        published = config.network.kind == "published"
        self.tuned_backbone: Any = None
        if config.tuning is not None:
            if not published:
                raise HomologError("tuning: goes with the published network")
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(config.seed)
                adapters.prepare(matcher.backbone, config.tuning)
            self.tuned_backbone = matcher.backbone
        zero_shot = matcher.config
        self.settings = dataclasses.replace(
            zero_shot,
            window=config.window,
            consensus=zero_shot.consensus if config.guided else None,
            post_processor=PostProcessorConfig(
                "maps" if published else "descriptors", config.network.zero_shot, config.tuning
            ),
        )

    def trained(self) -> Matcher:
        """The matcher with what has been learnt so far."""
        cache = self.matcher.cache if self.tuning is None else None
        backbone, pixels = self.matcher.backbone, self.matcher.max_pixels
        return Matcher(backbone, self.settings, pixels, cache, self.network)

    def save(self, folder: Path) -> None:
        """Write what has been learnt so far."""
        if self.tuned_backbone is None:
            checkpoints.save(folder, self.network, self.settings)
            return
        state = adapters.tuned_state(self.tuned_backbone)
        digest = hashlib.sha256(b"".join(t.cpu().numpy().tobytes() for t in state.values()))
        assert self.settings.post_processor is not None
        post_processor = dataclasses.replace(
            self.settings.post_processor, backbone_digest=digest.hexdigest()[:16]
        )
        settings = dataclasses.replace(self.settings, post_processor=post_processor)
        checkpoints.save(folder, self.network, settings, state)


def _optimizer(
    objective: Objective, config: TrainingConfig, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.OneCycleLR]:
    """AdamW on a one-cycle schedule; what is trained of the backbone has a rate of its own."""
    tuned = list(objective.tuned.values())
    of_backbone = set(map(id, tuned))
    others = [p for p in objective.parameters() if id(p) not in of_backbone]
    groups, rates = [{"params": others}], [config.learning_rate]
    if config.tuning is not None:
        groups, rates = [*groups, {"params": tuned}], [*rates, config.tuning.learning_rate]
    optimizer = torch.optim.AdamW(groups, lr=1.0, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rates, total_steps=steps, pct_start=config.warmup
    )
    return optimizer, schedule


def _network(
    data: DataSet,
    matcher: Matcher,
    config: TrainingConfig,
    landmarks: Mapping[int, float],
    start: Path | None,
) -> PostProcessor | AttentionHead:
    if matcher.network is not None:
        raise HomologError("model: is trained already; give its folder as the start of a run")
    backbone, fusion, width = matcher.backbone, matcher.config.fusion, config.network.projection_dim
    canvas = torch.zeros(backbone.canvas_size, backbone.canvas_size, 3, dtype=torch.uint8)
    extractor = DescriptorExtractor(backbone, matcher.config)
    maps = next(extractor.feature_maps([canvas], next(iter(data.schemas))))
    channels = [features.shape[1] for features in maps]
    groups = [sum(channels[index] for index in group) for group in fusion.groups]
    network: PostProcessor | AttentionHead
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        if config.network.kind == "published":
            network = PostProcessor(channels, width)
        elif config.network.kind == "residual":
            network = PostProcessor(groups, width, residual=True)
        else:
            total = sum(groups)
            network = AttentionHead(
                total, width, components=min(256, total), landmarks=list(landmarks.values())
            )
    if start is not None:
        found, given = checkpoints.load(str(start), torch.device("cpu"))
        if found.backbone != matcher.config.backbone:
            raise HomologError(
                f"start: {start} was trained on {found.backbone}, not on {matcher.config.backbone}"
            )
        if given is None:
            raise HomologError(f"start: {start} holds no post-processor")
        load_state(network, given.state_dict(), str(start))
    return network.to(backbone.device)


def _shows(
    data: DataSet,
    groups: BatchSampler,
    matcher: Matcher,
    settings: MatcherConfig,
    network: PostProcessor | AttentionHead,
    config: TrainingConfig,
    fit: bool,
) -> SampleLoader:
    """What makes the network's inputs; its principal components are taken first, if it has any."""
    extractor = DescriptorExtractor(matcher.backbone, settings, network, cache=matcher.cache)
    shows = partial(SampleLoader, extractor, data.schemas, matcher.max_pixels)
    if not isinstance(network, AttentionHead):
        return shows(raw=config.tuning is not None)
    if fit:
        plain, features = shows(), []
        for step in range(_FITTED_ON):
            annotation, showing = groups.draw(step, 0).pictures[0]
            features.append(plain(annotation, showing).features_HWC.flatten(0, 1)[::_EVERY_CELL])
        network.fit(torch.cat(features).float().to(matcher.backbone.device))
    return shows(reduce=network.reduce)


# A step.


def _accumulate(module: nn.Module, drawn: list[Batch], shows: SampleLoader) -> dict[str, float]:
    """Add the gradient of the mean over some groups; the mean losses by name."""
    totals: dict[str, float] = {}
    for number, group in enumerate(drawn):
        context: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
        if isinstance(module, DistributedDataParallel) and number < len(drawn) - 1:
            context = module.no_sync()  # processes exchange gradients once a step
        with context:
            losses = _losses(module, group, shows)
            (losses["loss"] / len(drawn)).backward()
        for name, value in losses.items():
            totals[name] = totals.get(name, 0.0) + value.item() / len(drawn)
    return totals


def _losses(module: nn.Module, group: Batch, shows: SampleLoader) -> dict[str, Tensor]:
    shown = [shows(annotation, showing) for annotation, showing in group.pictures]
    device = shows.extractor.backbone.device
    features = torch.stack([picture.features_HWC for picture in shown]).to(device).float()
    cells = torch.stack([picture.cells_K2 for picture in shown]).to(device)
    sides = torch.tensor([picture.side for picture in shown], device=device)
    matrices = (
        torch.from_numpy(matrix).float().to(device)
        for matrix in (group.sparse_weights_BB, group.dense_weights_BB)
    )
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(group.seed)
        return module(group.category, features, cells, sides, *matrices)


def _check_finite(losses: Mapping[str, float], drawn: list[Batch], step: int, folder: Path) -> None:
    if math.isfinite(losses["loss"]):
        return
    pictures = dict.fromkeys(a.name for group in drawn for a, _ in group.pictures)
    raise HomologError(
        f"loss: is {losses['loss']} at step {step + 1}, with {', '.join(pictures)}; "
        f"the weights last saved are in {folder}"
    )


def _mean_over_processes(
    losses: dict[str, float], world: int, device: torch.device
) -> dict[str, float]:
    if world == 1:
        return losses
    values = torch.tensor(list(losses.values()), dtype=torch.float64, device=device)
    dist.all_reduce(values)
    return dict(zip(losses, (values / world).tolist(), strict=True))


class _Interrupt:
    """Ctrl-C while training is heeded at the end of a step."""

    def __init__(self, enabled: bool):
        self.enabled = enabled and threading.current_thread() is threading.main_thread()
        self.wanted = False

    def __enter__(self) -> _Interrupt:
        if self.enabled:
            self._before = signal.signal(signal.SIGINT, self._heed)
        return self

    def __exit__(self, *_: object) -> None:
        if self.enabled:
            signal.signal(signal.SIGINT, self._before)

    def _heed(self, *_: object) -> None:
        if self.wanted:  # twice: at once
            raise KeyboardInterrupt
        self.wanted = True


class _Log:
    """The curves: lines of JSON, and tensorboard's if it is installed."""

    def __init__(self, folder: Path, step: int):
        self.path = folder / LOG
        self._lines: list[str] = []
        kept = []
        if self.path.exists():  # what came after the state that the run goes on from is forgotten
            lines = self.path.read_text("utf-8").splitlines()
            kept = [line for line in lines if _step_of(line) <= step]
        write_atomically(self.path, "".join(f"{line}\n" for line in kept).encode())
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self._writer = None
        else:
            self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step)

    def __enter__(self) -> _Log:
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()
        if self._writer is not None:
            self._writer.close()

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Values after a step."""
        self._lines.append(json.dumps({"step": step, **values}))
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name.replace(" ", "/"), value, step)

    def flush(self) -> None:
        """Write down what has come since the last time."""
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in self._lines)
        except OSError as error:
            raise HomologError(f"out: cannot write {self.path}: {error.strerror}") from error
        self._lines.clear()


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf  # cut off by a kill


# Validation and the end.


def _validate(learner: _Learner, data: DataSet) -> PCKAccumulator:
    learner.network.eval()
    trained = learner.trained()
    scored = PCKAccumulator(data)
    with torch.no_grad():
        features = {a: trained.extract(a.path) for a in data.annotations}
        for pair in data.pairs:
            points = pair.source.keypoints[pair.keypoint_ids]
            prepared = trained.pair(features[pair.source], features[pair.target])
            scored.add(pair, prepared.transfer_points(points))
    learner.network.train()
    return scored


def _figures(scored: PCKAccumulator) -> dict[str, float]:
    rows = {row.kind: row.estimates for row in scored.rows() if not row.label}
    wide, fine = (f"pck@{alpha:.2f}" for alpha in scored.alphas[:2])
    found = {"pck": rows["per_image"][wide].value, "fine pck": rows["per_image"][fine].value}
    if "geometry_aware_per_image" in rows:
        found["geometry-aware pck"] = rows["geometry_aware_per_image"][wide].value
    if "left_right_confusion" in rows:
        found["confusion"] = rows["left_right_confusion"]["share"].value
    return found


def _line(figures: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {100 * value:.1f}" for name, value in figures.items())


def _finish(
    folder: Path, matcher: Matcher, validation: DataSet | None, config: TrainingConfig
) -> None:
    """The report: tables and pictures of the best weights, and the run's curves."""
    from homolog.evaluation.report import evaluate
    from homolog.viz.charts import plot_curves
    from homolog.viz.raster import save_image

    report = folder / REPORT
    if validation is not None:
        device = matcher.backbone.device
        best, network = checkpoints.load(str(folder), device)
        # A backbone that was trained, too, stands at the last step; others serve as they are.
        backbone = matcher.backbone
        if config.tuning is not None:
            backbone = checkpoints.load_backbone(str(folder), best, device)
        trained = Matcher(backbone, best, matcher.max_pixels, matcher.cache, network)
        evaluate(trained, validation, report, str(folder))
    lines = [json.loads(line) for line in (folder / LOG).read_text("utf-8").splitlines()]
    chart = _curve(lines, "loss")
    report.mkdir(exist_ok=True)
    save_image(plot_curves({"loss": chart}, "step", "loss", percent=False), report / "loss.png")
    if validation is not None:
        names = ("pck", "fine pck", "geometry-aware pck", "confusion")
        curves = {name: _curve(lines, f"validation {name}") for name in names}
        shown = {name: curve for name, curve in curves.items() if curve[0]}
        save_image(plot_curves(shown, "step", "%"), report / "validation.png")


def _curve(lines: list[dict[str, Any]], name: str) -> tuple[list[float], list[float]]:
    """Steps and values; of many, means over a hundredth of the run."""
    points = [(line["step"], line[name]) for line in lines if name in line]
    size = max(1, len(points) // 100)
    parts = [points[start : start + size] for start in range(0, len(points), size)]
    means = [np.mean(part, axis=0) for part in parts]
    return [float(step) for step, _ in means], [float(value) for _, value in means]
