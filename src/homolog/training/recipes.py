"""What a training run is made of, and the settings that are known to work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from homolog.backbones.configs import TuningConfig


@dataclass(frozen=True)
class NetworkConfig:
    """The network to be trained.

    Attributes:
        kind: `published`: one bottleneck a map, given the maps as they are. `residual`: the same,
            given zero-shot descriptors, to which it adds. `context`: `ContextProcessor`.
        projection_dim: channels of the descriptors; within, if residual.
        zero_shot: the share of the zero-shot similarity mixed in when matching.
    """

    kind: Literal["published", "residual", "context"]
    projection_dim: int
    zero_shot: float = 0.0


@dataclass(frozen=True)
class LossConfig:
    """What is minimised (Zhang et al., CVPR 2024, section 4).

    Attributes:
        sparse: weight of the contrastive loss.
        dense: weight of the dense loss.
        point: of the dense loss: the `distance` of the soft-argmax, as published, or the cross-
            entropy with a `heatmap`.
        temperature: of the soft-argmax.
        window: its half-width in cells; None, as published, for all cells.
        noise: standard deviation of what is added to target positions, in halves of the longer
            side of the thing's box.
        share: of the keypoints of each pair that the dense loss takes, drawn anew at each step.
        prototypes: weight of finding each keypoint by a learned descriptor of its own.
        landmarks: weight of finding the axis of the thing, for a network that asks for it.
    """

    sparse: float = 1.0
    dense: float = 1.0
    point: Literal["distance", "heatmap"] = "distance"
    temperature: float = 0.02
    window: int | None = None
    noise: float = 0.1
    share: float = 1.0
    prototypes: float = 0.0
    landmarks: float = 0.0


@dataclass(frozen=True)
class PoseVariants:
    """Weights of the dense losses with flipped pictures ("pose-variant augmentation").

    Attributes:
        double: flipped source to flipped target.
        single: flipped source to target.
        self_pair: flipped source to source.
    """

    double: float = 1.0
    single: float = 0.0
    self_pair: float = 0.25


@dataclass(frozen=True)
class ViewsConfig:
    """Random views of pictures, in place of the pictures as they are.

    Attributes:
        count: of each picture, drawn once; every step takes one of them.
        rotation: largest angle either way, in degrees.
        scale: largest factor, and its inverse the smallest.
        shift: largest shift along each side, as a share of the canvas.
        colour: largest change of brightness, contrast and saturation, in powers of e.
        flip: whether half of them are flipped.
    """

    count: int = 8
    rotation: float = 180.0
    scale: float = 1.25
    shift: float = 0.08
    colour: float = 0.3
    flip: bool = True


@dataclass(frozen=True)
class TrainingConfig:
    """A training run.

    Attributes:
        recipe: its name.
        network: what is trained.
        steps: how many times the weights are changed, if `epochs` is None.
        epochs: passes over all pairs, as a mean: how many steps that makes depends on the data.
        pictures: drawn together from one category; all pairs among them are learnt from.
        groups: of so many pictures, for a step of one process.
        learning_rate: the largest of the one-cycle schedule.
        warmup: the share of the steps in which it rises.
        weight_decay: of AdamW.
        clip: largest norm of the gradient; None for any.
        element_dropout: of what the network is given, each number by itself.
        channel_dropout: the same, whole channels of a picture.
        loss: what is minimised.
        variants: flipped pictures in the loss; None for none.
        views: random views; None for the pictures as they are.
        window: of the soft-argmax when matching, in cells of the grid.
        guided: whether matching is guided by the rest of both pictures, where the backbone's
            preset is.
        validate_every: steps.
        validation_pairs: at most, evenly sampled.
        save_every: steps between two states from which a run can go on.
        seed: of everything that is drawn.
        tuning: what of a DINO backbone is trained, too; None for a frozen backbone.
    """

    recipe: str
    network: NetworkConfig
    steps: int | None = None
    epochs: float | None = None
    pictures: int = 2
    groups: int = 1
    learning_rate: float = 1.25e-3
    warmup: float = 0.3
    weight_decay: float = 1e-3
    clip: float | None = None
    element_dropout: float = 0.2
    channel_dropout: float = 0.0
    loss: LossConfig = LossConfig()
    variants: PoseVariants | None = PoseVariants()
    views: ViewsConfig | None = None
    window: int | None = 7
    guided: bool = False
    validate_every: int = 1000
    validation_pairs: int = 500
    save_every: int = 100
    seed: int = 0
    tuning: TuningConfig | None = None


def published_spair() -> TrainingConfig:
    """SPair-71k as published: two epochs, starting from weights trained on AP-10K.

    With more `pictures` a step, each goes through the network once for many pairs.
    """
    return TrainingConfig("published-spair", NetworkConfig("published", 768), epochs=2)


def published_ap10k() -> TrainingConfig:
    """AP-10K as published: one epoch."""
    return TrainingConfig("published-ap10k", NetworkConfig("published", 768), epochs=1)


def published_pf_pascal() -> TrainingConfig:
    """PF-PASCAL as published: a hundred epochs, starting from weights trained on AP-10K."""
    return TrainingConfig("published-pf-pascal", NetworkConfig("published", 768), epochs=100)


def small_set() -> TrainingConfig:
    """Tens or hundreds of pictures of one kind, at any angle; see docs/experiments.md."""
    return TrainingConfig(
        recipe="small-set",
        network=NetworkConfig("context", 256, zero_shot=0.2),
        steps=2400,
        pictures=8,
        learning_rate=2e-3,
        warmup=0.1,
        weight_decay=1e-2,
        clip=1.0,
        element_dropout=0.0,
        channel_dropout=0.2,
        loss=LossConfig(
            sparse=0.0, dense=1.0, point="heatmap", noise=0.0, share=0.35, prototypes=1.0,
            landmarks=0.5,
        ),
        variants=None,
        views=ViewsConfig(),
        window=4,
        guided=True,
        validate_every=400,
    )  # fmt: skip


RECIPES: Mapping[str, Callable[[], TrainingConfig]] = {
    "small-set": small_set,
    "published-spair": published_spair,
    "published-ap10k": published_ap10k,
    "published-pf-pascal": published_pf_pascal,
}
