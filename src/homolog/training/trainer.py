"""The training loop: takes an objective, a sampler, an optimizer and hooks, and resumes.

`homolog train` and `homolog train-sides` both run it. It writes into the folder of the run
`state.safetensors`, the checkpoint from which it resumes to the last bit, and `log.jsonl` and
`tensorboard/`, its curves. What else a run writes is up to its hooks.
"""

from __future__ import annotations

import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import torch
from rich.console import Console
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from homolog.errors import HomologError
from homolog.training.checkpoint import TrainState, read_state, write_state
from homolog.training.distributed import SINGLE_PROCESS, Process
from homolog.training.logs import TrainLog
from homolog.utils.progress import ProgressBar

STATE = "state.safetensors"

B = TypeVar("B")
B_co = TypeVar("B_co", covariant=True)


@runtime_checkable
class Sampler(Protocol[B_co]):
    """Draws batches."""

    def draw(self, step: int, index: int) -> B_co:
        """The batch of that index in a step, both from 0; steps are asked for in order."""
        ...


class Hooks(Generic[B]):
    """What a run does besides training; here, nothing."""

    def describe(self, batches: Sequence[B]) -> str:
        """Name the images of batches, for the message that a loss is not finite."""
        return f"{len(batches)} batches"

    def after_step(self, step: int) -> None:
        """Called when the optimizer has made step number `step`, from 1."""

    def validate(self, step: int) -> Mapping[str, float] | None:
        """Scores after a step, the one that decides first; None when no validation is due.

        In every process of the run.
        """
        return None

    def save_best(self) -> None:
        """Save the model, which has had the best validation score so far."""

    def save_last(self) -> None:
        """Save the model; called with each checkpoint, before it."""


class Stopped(KeyboardInterrupt):
    """The run was interrupted; it is saved, and how it resumes is said."""


@dataclass(frozen=True)
class LoopConfig:
    """Configuration of the training loop.

    Attributes:
        steps: optimizer steps.
        learning_rates: peaks of the one-cycle schedule, one for each of the optimizer's parameter
            groups.
        warmup: fraction of the steps in which the learning rate rises; None for rates that stay
            as they are.
        clip: largest norm of the gradient; None for no limit.
        grad_accum: batches whose gradients a process accumulates for a step.
        save_every: steps between checkpoints.
        print_every: steps between printed losses; None to print none.
        seed: of torch's random generators, for the whole loop; None where every batch brings a
            seed of its own.
    """

    steps: int
    learning_rates: tuple[float, ...]
    warmup: float | None
    clip: float | None = None
    grad_accum: int = 1
    save_every: int = 100
    print_every: int | None = None
    seed: int | None = None


class Trainer(Generic[B]):
    """Trains an objective on batches; an interrupted run resumes from its checkpoint.

    Args:
        folder: of the run; None for a run that leaves no files and cannot resume.
        objective: the module with everything that is trained.
        sampler: draws the batches.
        optimizer: of the objective's parameters.
        config: of the loop.
        hooks: what else is done.
        process: this process among those of the run.

    Raises:
        HomologError: the checkpoint in the folder is damaged, or of another network.
    """

    def __init__(
        self,
        folder: Path | None,
        objective: nn.Module,
        sampler: Sampler[B],
        optimizer: torch.optim.Optimizer,
        config: LoopConfig,
        hooks: Hooks[B],
        process: Process = SINGLE_PROCESS,
    ):
        self.folder = folder
        self.objective = objective
        self.sampler = sampler
        self.optimizer = optimizer
        self.config = config
        self.hooks = hooks
        self.process = process
        self.device = next(objective.parameters()).device
        self.schedule = self._schedule()
        self.state = TrainState()
        if folder is not None:
            self.state = read_state(folder / STATE, objective, optimizer, self.schedule)
        if self.schedule.total_steps != config.steps:
            # The run is extended: it goes on where the longer schedule is at this step.
            self.schedule = self._schedule(self.state.step)

    def run(self, compute_losses: Callable[[nn.Module, B], dict[str, Tensor]]) -> None:
        """Train to the last step.

        Args:
            compute_losses: gives the losses of a batch by name, and their sum as `loss`; it is
                called with the objective, or what wraps it in several processes, and the batch.

        Raises:
            HomologError: a loss is not finite, an image cannot be read, or the folder cannot be
                written.
            Stopped: the run was interrupted; it resumes when it is run again.
        """
        start, steps = self.state.step, self.config.steps
        resumable = self.folder is not None and self.process.world_size == 1
        module = self.objective
        if self.process.world_size > 1:
            # Not all parameters are used in every step: each category has its own prototypes.
            module = DistributedDataParallel(module, find_unused_parameters=True)
        console = Console(stderr=True, quiet=not self.process.is_main)
        with (
            self._log() as log,
            _Interrupt(enabled=resumable) as interrupt,
            ProgressBar(steps - start, console) as progress,
            self._random_state(),
        ):
            self.objective.train()
            for step in range(start, steps):
                began = time.perf_counter()
                learning_rate = float(self.schedule.get_last_lr()[0])
                losses = self._step(step, module, compute_losses)
                losses = self.process.mean(losses, self.device)
                self.state.step = step + 1
                self.hooks.after_step(step + 1)
                if log is not None:
                    seconds = time.perf_counter() - began
                    values = {**losses, "learning_rate": learning_rate, "seconds": seconds}
                    log.write(step + 1, values)
                progress.update(f"training, loss {losses['loss']:.3f}", step + 1 - start)
                every = self.config.print_every
                if every is not None and (step + 1) % every == 0:
                    parts = [f"{n} {value:.3f}" for n, value in losses.items() if n != "loss"]
                    progress.log(f"step {step + 1}: {', '.join(parts)}")
                self._validate(log, progress)
                last = step + 1 == steps
                if (step + 1) % self.config.save_every == 0 or last or interrupt.requested:
                    self._save(log)
                if interrupt.requested and not last:
                    progress.log(
                        f"stopped after step {step + 1}; the same command resumes from there"
                    )
                    raise Stopped

    def _step(
        self,
        step: int,
        module: nn.Module,
        compute_losses: Callable[[nn.Module, B], dict[str, Tensor]],
    ) -> dict[str, float]:
        """One optimizer step; the mean losses of this process's batches."""
        config = self.config
        first = self.process.rank * config.grad_accum
        batches = [self.sampler.draw(step, first + i) for i in range(config.grad_accum)]
        losses = accumulate_gradients(module, batches, compute_losses)
        if not math.isfinite(losses["loss"]):
            raise HomologError(
                f"loss: expected a finite number, got {losses['loss']} at step {step + 1}, with "
                f"{self.hooks.describe(batches)}; the weights last saved are in {self.folder}"
            )
        if config.clip is not None:
            nn.utils.clip_grad_norm_(self.objective.parameters(), config.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.schedule.step()
        return losses

    def _validate(self, log: TrainLog | None, progress: ProgressBar) -> None:
        step = self.state.step
        scores = self.hooks.validate(step)
        if scores is None or log is None:
            return
        log.write(step, {f"validation {name}": value for name, value in scores.items()})
        parts = [f"{name} {100 * value:.1f}" for name, value in scores.items()]
        progress.log(f"step {step}: validation {', '.join(parts)}")
        score = next(iter(scores.values()))
        if score > self.state.best_score:
            self.state.best_score = score
            self.hooks.save_best()

    def _save(self, log: TrainLog | None) -> None:
        if log is None or self.folder is None:
            return
        self.hooks.save_last()
        log.flush()
        if self.config.seed is not None:
            rng = {"cpu": torch.get_rng_state()}
            if self.device.type == "cuda":
                rng["cuda"] = torch.cuda.get_rng_state(self.device)
            self.state.rng = rng
        path = self.folder / STATE
        write_state(path, self.objective, self.optimizer, self.schedule, self.state)

    def _schedule(self, done: int = 0) -> torch.optim.lr_scheduler.OneCycleLR:
        """The schedule of the learning rate after so many steps."""
        steps, warmup, rates = self.config.steps, self.config.warmup, self.config.learning_rates
        if warmup is None:  # a cycle without ups and downs
            return torch.optim.lr_scheduler.OneCycleLR(
                self.optimizer, list(rates), total_steps=steps, div_factor=1, final_div_factor=1,
                cycle_momentum=False, last_epoch=done - 1,
            )  # fmt: skip
        if steps * warmup == 1:
            warmup = math.nextafter(warmup, 0)  # torch divides by its steps after the first
        return torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, list(rates), total_steps=steps, pct_start=warmup, last_epoch=done - 1
        )  # fmt: skip

    @contextlib.contextmanager
    def _random_state(self) -> Iterator[None]:
        """Torch's generators as the run left them; afterwards, they are as they were before."""
        if self.config.seed is None:
            yield
            return
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(self.config.seed)
            if "cpu" in self.state.rng:
                torch.set_rng_state(self.state.rng["cpu"])
            if "cuda" in self.state.rng and self.device.type == "cuda":
                torch.cuda.set_rng_state(self.state.rng["cuda"], self.device)
            yield

    def _log(self) -> contextlib.AbstractContextManager[TrainLog | None]:
        if self.folder is None or not self.process.is_main:
            return contextlib.nullcontext()
        return TrainLog(self.folder, self.state.step)


def accumulate_gradients(
    module: nn.Module,
    batches: Sequence[B],
    compute_losses: Callable[[nn.Module, B], dict[str, Tensor]],
) -> dict[str, float]:
    """Add the gradient of the mean loss of some batches to the parameters'.

    Args:
        module: the objective, or what wraps it in several processes.
        batches: one after the other, so that memory is needed for one only.
        compute_losses: as for `Trainer.run`.

    Returns:
        The mean losses by name.
    """
    totals: dict[str, float] = {}
    for index, batch in enumerate(batches):
        context: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
        if isinstance(module, DistributedDataParallel) and index < len(batches) - 1:
            context = module.no_sync()  # processes exchange gradients once a step
        with context:
            losses = compute_losses(module, batch)
            (losses["loss"] / len(batches)).backward()
        for name, value in losses.items():
            totals[name] = totals.get(name, 0.0) + value.item() / len(batches)
    return totals


class _Interrupt:
    """Defers Ctrl-C, or being told to end, to the end of a step; a second time is at once."""

    def __init__(self, enabled: bool):
        self.enabled = enabled and threading.current_thread() is threading.main_thread()
        self.requested = False

    def __enter__(self) -> _Interrupt:
        if self.enabled:
            signals = (signal.SIGINT, signal.SIGTERM)
            self._previous = {each: signal.signal(each, self._request) for each in signals}
        return self

    def __exit__(self, *_: object) -> None:
        if self.enabled:
            for each, handler in self._previous.items():
                signal.signal(each, handler)

    def _request(self, *_: object) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
