"""Fitting a side head to its training examples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from homolog.networks.sides import SideHead
from homolog.training.sides.examples import Examples
from homolog.training.sides.losses import SidesObjective
from homolog.training.sides.recipe import SidesRecipe
from homolog.training.trainer import Hooks, LoopConfig, Trainer

Rows = tuple[Tensor, Tensor]
"""Indices of the examples of a batch, and of the examples whose style is mixed in."""

_WARMUP, _CLIP = 0.1, 1.0
_PRINT_EVERY = 100
SAVE_EVERY = 200
"""Steps between checkpoints."""


def fit(
    network: SideHead,
    examples: Examples,
    rows: Sequence[int],
    recipe: SidesRecipe,
    folder: Path | None = None,
) -> None:
    """Train a side head; it ends with the average of its weights over the last steps.

    Args:
        network: its principal components are those of the examples.
        examples: the training examples.
        rows: which of them to train on.
        recipe: how.
        folder: of the run, from which an interrupted one resumes; None to leave no files.

    Raises:
        HomologError: the loss is not finite, or the folder cannot be written.
    """
    objective = SidesObjective(network, examples, recipe)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1.0, weight_decay=recipe.weight_decay)
    loop = LoopConfig(
        recipe.steps, (recipe.learning_rate,), _WARMUP, _CLIP, save_every=SAVE_EVERY,
        print_every=_PRINT_EVERY, seed=recipe.seed,
    )  # fmt: skip
    sampler = RowSampler(rows, recipe)
    Trainer(folder, objective, sampler, optimizer, loop, _Hooks(objective)).run(_losses)
    objective.apply_average()
    network.eval()


class RowSampler:
    """Draws the examples of each step.

    Args:
        rows: to draw from.
        recipe: how many, and the seed.
    """

    def __init__(self, rows: Sequence[int], recipe: SidesRecipe):
        self.rows = np.asarray(rows)
        self.batch_size = recipe.batch_size
        self._rng = np.random.default_rng(recipe.seed)
        self._drawn = 0

    def draw(self, step: int, index: int) -> Rows:
        """The examples of a step, from 0; steps are asked for in order, but the first may be any.

        One generator draws them one after the other: those that were used before a run was
        interrupted are drawn again and passed over.
        """
        assert index == 0 and step >= self._drawn
        while self._drawn <= step:
            rows, others = torch.from_numpy(self._rng.choice(self.rows, (2, self.batch_size)))
            self._drawn += 1
        return rows, others


class _Hooks(Hooks[Rows]):
    def __init__(self, objective: SidesObjective):
        self.objective = objective

    def describe(self, batches: Sequence[Rows]) -> str:
        rows = sorted({int(row) for batch, _ in batches for row in batch})
        return f"images {', '.join(map(str, rows))} of the rendered set"

    def after_step(self, step: int) -> None:
        self.objective.update_average(step)


def _losses(module: nn.Module, batch: Rows) -> dict[str, Tensor]:
    return module(*batch)
