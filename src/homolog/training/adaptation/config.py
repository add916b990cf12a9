"""Configuration of an adaptation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class MiningConfig:
    """Which pairs of images are matched, and which of their matches are kept.

    Attributes:
        neighbours: pairs of each image with the images most similar to it.
        random_pairs: pairs of each image with others drawn at random.
        queries: points of each object that are matched, at most.
        cycle_tolerance: how far a match that is followed back may end from its source, as a share
            of the object's size.
        coordinate_tolerance: how far the canonical coordinates of both ends may lie apart, in about
            half a body's length, where a side head recognises both objects.
        affine_tolerance: how far a match may lie off the affine map of the matches around it, as a
            share of the object's size.
        chains: whether doubtful pairs are also matched through images that lie between them, which
            brought nothing where it was measured (docs/experiments.md).
        fewest: a pair with fewer kept matches than this is left out.
    """

    neighbours: int = 6
    random_pairs: int = 8
    queries: int = 150
    cycle_tolerance: float = 0.05
    coordinate_tolerance: float = 0.35
    affine_tolerance: float = 0.1
    chains: bool = False
    fewest: int = 8


@dataclass(frozen=True)
class HeadConfig:
    """How the head is trained.

    Attributes:
        kind: `context`: an `AttentionHead`. `residual`: one bottleneck on the descriptors, to which
            its output is added, as DIY-SC has it for DINOv2. None: `residual` for DINO, and
            `context` for other backbones.
        projection_dim: channels of the descriptors; of the bottleneck, if residual.
        steps: optimizer steps.
        images: drawn together for a step; all pairs mined among them are trained on.
        matches: of each ordered pair in a step, at most.
        learning_rate: peak of the one-cycle schedule.
        weight_decay: of AdamW.
        channel_dropout: dropout of whole channels of an image.
        warmup: fraction of the steps in which the learning rate rises.
        clip: largest norm of the gradient.
    """

    kind: Literal["context", "residual"] | None = None
    projection_dim: int = 256
    steps: int = 400
    images: int = 10
    matches: int = 30
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    channel_dropout: float = 0.1
    warmup: float = 0.1
    clip: float = 1.0


@dataclass(frozen=True)
class SideTuningConfig:
    """How the side head is tuned.

    Attributes:
        steps: optimizer steps; 0 leaves the side head as it is.
        images: in each step.
        learning_rate: peak of the one-cycle schedule.
        weight_decay: of AdamW.
        augmentation: how much style is mixed, and channels and cells are dropped (`SidesRecipe`).
        renders: share of rendered images in each step, where there are any.
    """

    steps: int = 300
    images: int = 12
    learning_rate: float = 3e-4
    weight_decay: float = 0.05
    augmentation: float = 0.3
    renders: float = 0.4


@dataclass(frozen=True)
class AdaptationConfig:
    """Everything that decides an adaptation, besides its images.

    Attributes:
        components: principal components of the descriptors that are kept on disk.
        rotations: whether objects may lie at any angle; None to find out from the images.
        held_aside: share of the images that are kept aside to choose the weight of the zero-shot
            similarity, and to see whether the adapted model is better.
        rounds: of mining and training; each begins with the matcher of the one before.
        mining: pairs and matches.
        head: training of the head.
        sides: tuning of the side head.
        seed: of everything that is drawn at random.
    """

    components: int = 384
    rotations: bool | None = None
    held_aside: float = 0.1
    rounds: int = 2
    mining: MiningConfig = MiningConfig()
    head: HeadConfig = HeadConfig()
    sides: SideTuningConfig = SideTuningConfig()
    seed: int = 0
