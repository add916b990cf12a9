"""Configuration of the training of a side head."""

from __future__ import annotations

from dataclasses import dataclass

LOSSES = ("objectness", "side", "keypoints", "coordinates", "heading")
"""The losses: `side` is that of all cells of objects, `keypoints` of the sides of these alone."""


@dataclass(frozen=True)
class SidesRecipe:
    """How a side head is trained.

    Attributes:
        steps: optimizer steps.
        batch_size: images in each step.
        learning_rate: peak of the one-cycle schedule.
        weight_decay: of AdamW.
        style_mix: largest fraction, 0 to 1, by which the mean and the spread of a channel are
            moved to those in another image.
        channel_drop: largest fraction of the channels that are dropped.
        block_mask: largest fraction of the cells that are masked, in blocks.
        ema_decay: of the exponential moving average of the weights, which is what is saved.
        losses: those of `LOSSES` that are added up.
        seed: of everything that is drawn at random.
    """

    steps: int = 8000
    batch_size: int = 4
    learning_rate: float = 7e-4
    weight_decay: float = 0.05
    style_mix: float = 0.5
    channel_drop: float = 0.2
    block_mask: float = 0.2
    ema_decay: float = 0.998
    losses: tuple[str, ...] = LOSSES
    seed: int = 0
