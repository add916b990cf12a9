"""Configuration of a training run, and the recipes that are known to work."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from homolog.backbones.configs import TuningConfig
from homolog.training.schedules import MomentumSchedule, SigmaSchedule


@dataclass(frozen=True)
class NetworkConfig:
    """The post-processor that is trained.

    Attributes:
        kind: `published`: one bottleneck for each feature map, on the maps as they are.
            `residual`: the same on zero-shot descriptors, to which its output is added.
            `context`: an `AttentionHead`. `upsampler`: learned upsamplers, on the maps as they are.
        projection_dim: channels of the descriptors; of the bottlenecks, if residual. Upsamplers
            keep those of the maps.
        zero_shot: weight of the zero-shot similarity that is mixed in when matching, 0 to 1.
        upsamplers: how many of them there are, each of which doubles the rows and the columns.
        similarity: of descriptors, in training and when matching: that of their directions, or, as
            published for MARCO, their plain inner product, with what belongs to it: one peak, whose
            surroundings count, and its two conventions of coordinates.
    """

    kind: Literal["published", "residual", "context", "upsampler"]
    projection_dim: int = 0
    zero_shot: float = 0.0
    upsamplers: int = 0
    similarity: Literal["cosine", "inner-product"] = "cosine"


@dataclass(frozen=True)
class AnnealingConfig:
    """How the Gaussian of annealed targets becomes finer (`SigmaSchedule`).

    Published for SPair-71k in steps, of which there were 35,560.

    Attributes:
        start: standard deviation at first, in cells.
        end: standard deviation at last, in cells.
        hold: the share of the steps after which it begins to fall.
        until: the share of the steps after which it has fallen.
    """

    start: float = 3.5
    end: float = 1.0
    hold: float = 1000 / 35560
    until: float = 12000 / 35560

    def schedule(self, steps: int) -> SigmaSchedule:
        """The schedule of a run of so many steps."""
        return SigmaSchedule(
            self.start, self.end, round(self.hold * steps), round(self.until * steps)
        )


@dataclass(frozen=True)
class LossConfig:
    """The losses and their weights (Zhang et al., CVPR 2024, section 4).

    Attributes:
        sparse: weight of the contrastive loss.
        dense: weight of the dense loss.
        point: the dense loss of a keypoint: the `distance` of the soft-argmax, as published, the
            cross-entropy with a `heatmap`, or that with an `annealed` Gaussian, as published for
            MARCO.
        temperature: of the soft-argmax, and of plain inner products; a learned scale takes its
            place for heatmaps of directions.
        window: half-width of the soft-argmax window in cells; None, as published, for all cells.
        noise: standard deviation of the noise on target positions, in halves of the longer side
            of the object's box.
        keypoint_fraction: how many of the keypoints of each pair enter the dense loss; which
            ones is drawn anew at each step.
        prototypes: weight of finding each keypoint by a learned descriptor of its own.
        landmarks: weight of finding the axis of the object, for a network that predicts it.
        annealing: of the annealed Gaussian.
        per_keypoint: the dense loss is the mean over the keypoints of a batch, as published for
            MARCO, and not over its pairs.
    """

    sparse: float = 1.0
    dense: float = 1.0
    point: Literal["distance", "heatmap", "annealed"] = "distance"
    temperature: float = 0.02
    window: int | None = None
    noise: float = 0.1
    keypoint_fraction: float = 1.0
    prototypes: float = 0.0
    landmarks: float = 0.0
    annealing: AnnealingConfig = AnnealingConfig()
    per_keypoint: bool = False


@dataclass(frozen=True)
class MiningConfig:
    """Which of a teacher's dense matches are learned from (MARCO, CVPR 2026, arXiv 2604.18267).

    Attributes:
        points: drawn from each pair; one whose flow covers fewer pixels is left out.
        least_matches: pixels that must be left of a flow when clusters have been dropped.
        clusters: centres that the clustering of a flow starts with.
        radius: how near to a cluster a keypoint must lie to test it, and how near to the cluster's
            image its counterpart, in pixels of the canvas along either axis.
        agreement: the share of these keypoints whose counterparts must lie as near.
    """

    points: int = 300
    least_matches: int = 100
    clusters: int = 7
    radius: int = 10
    agreement: float = 0.5


@dataclass(frozen=True)
class DistillationConfig:
    """Dense self-distillation: learning from the dense matches of a moving average of oneself.

    Attributes:
        weight: of its loss.
        pairs: of each batch that are mined, drawn at random where there are more.
        mining: which matches are learned from.
        momentum_start: the average's momentum at first.
        momentum_end: the average's momentum at last.
        ramp: the share of the steps after which it has risen; published are nine tenths of five
            of eight epochs.
    """

    weight: float = 1.0
    pairs: int = 12
    mining: MiningConfig = MiningConfig()
    momentum_start: float = 0.99
    momentum_end: float = 0.9995
    ramp: float = 0.9 * 5 / 8

    def momentum(self, steps: int) -> MomentumSchedule:
        """The schedule of a run of so many steps."""
        return MomentumSchedule(self.momentum_start, self.momentum_end, int(self.ramp * steps))


@dataclass(frozen=True)
class PoseVariants:
    """Weights of the dense losses of flipped images ("pose-variant augmentation").

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
    """Random affine views, which take the place of the original images.

    Attributes:
        count: views of each image, drawn once; every step takes one of them.
        rotation: largest angle in either direction, in degrees.
        scale: largest scale; its inverse is the smallest.
        shift: largest shift along each axis, as a fraction of the canvas.
        colour: largest change of brightness, contrast and saturation, in powers of e.
        flip: whether half of them are mirrored.
    """

    count: int = 8
    rotation: float = 180.0
    scale: float = 1.25
    shift: float = 0.08
    colour: float = 0.3
    flip: bool = True


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that decides a training run, besides its data.

    Attributes:
        recipe: name of the recipe it comes from.
        network: the network that is trained.
        steps: optimizer steps, if `epochs` is None.
        epochs: expected passes over all pairs; the number of steps follows from the data.
        images_per_group: images drawn together from one category; all pairs among them are
            trained on.
        grad_accum_groups: groups whose gradients one process accumulates for a step.
        learning_rate: peak of the one-cycle schedule.
        warmup: fraction of the steps in which the learning rate rises; None for one that stays as
            it is.
        weight_decay: of AdamW.
        clip: largest norm of the gradient; None for no limit.
        element_dropout: dropout of single numbers of the network's input.
        channel_dropout: dropout of whole channels of an image.
        loss: the losses and their weights.
        variants: weights of flipped images in the loss; None to leave them out.
        views: random views; None for the original images.
        window: half-width of the soft-argmax window when matching, in cells.
        consensus: whether the trained model matches with consensus, where the preset of the
            backbone does.
        validate_every: steps between validations.
        validation_pairs: largest number of validation pairs; they are sampled evenly.
        save_every: steps between checkpoints.
        seed: of everything that is drawn at random.
        tuning: which part of a DINO backbone is trained, too; None for a frozen backbone.
        canvas_scale: size of the canvas in training, as a share of the model's.
        distillation: learning from the dense matches of a moving average of the model; None for
            keypoints alone.
    """

    recipe: str
    network: NetworkConfig
    steps: int | None = None
    epochs: float | None = None
    images_per_group: int = 2
    grad_accum_groups: int = 1
    learning_rate: float = 1.25e-3
    warmup: float | None = 0.3
    weight_decay: float = 1e-3
    clip: float | None = None
    element_dropout: float = 0.2
    channel_dropout: float = 0.0
    loss: LossConfig = LossConfig()
    variants: PoseVariants | None = PoseVariants()
    views: ViewsConfig | None = None
    window: int | None = 7
    consensus: bool = False
    validate_every: int = 1000
    validation_pairs: int = 500
    save_every: int = 100
    seed: int = 0
    tuning: TuningConfig | None = None
    canvas_scale: float = 1.0
    distillation: DistillationConfig | None = None

    @property
    def flips(self) -> bool:
        """Whether images are mirrored, for which the sides of keypoints must be known."""
        return self.variants is not None or (self.views is not None and self.views.flip)

    def without_flips(self) -> TrainingConfig:
        """The same but for mirrored images, which are left out."""
        views = None if self.views is None else dataclasses.replace(self.views, flip=False)
        return dataclasses.replace(self, variants=None, views=views)


def published_spair() -> TrainingConfig:
    """The published recipe for SPair-71k: two epochs, from weights trained on AP-10K.

    With more `images_per_group`, each image goes through the network once for many pairs.
    """
    return TrainingConfig("published-spair", NetworkConfig("published", 768), epochs=2)


def published_ap10k() -> TrainingConfig:
    """The published recipe for AP-10K: one epoch."""
    return TrainingConfig("published-ap10k", NetworkConfig("published", 768), epochs=1)


def published_pf_pascal() -> TrainingConfig:
    """The published recipe for PF-PASCAL: a hundred epochs, from weights trained on AP-10K."""
    return TrainingConfig("published-pf-pascal", NetworkConfig("published", 768), epochs=100)


def small_set() -> TrainingConfig:
    """The recipe for tens or hundreds of images of one category, in any rotation.

    docs/experiments.md shows what each of its parts brings.
    """
    return TrainingConfig(
        recipe="small-set",
        network=NetworkConfig("context", 256, zero_shot=0.2),
        steps=2400,
        images_per_group=8,
        learning_rate=2e-3,
        warmup=0.1,
        weight_decay=1e-2,
        clip=1.0,
        element_dropout=0.0,
        channel_dropout=0.2,
        loss=LossConfig(
            sparse=0.0, dense=1.0, point="heatmap", noise=0.0, keypoint_fraction=0.35,
            prototypes=1.0, landmarks=0.5,
        ),
        variants=None,
        views=ViewsConfig(),
        window=4,
        consensus=True,
        validate_every=400,
    )  # fmt: skip


def marco() -> TrainingConfig:
    """The recipe of MARCO (CVPR 2026, arXiv 2604.18267), for DINOv2-L with registers.

    Adapters in the last nine blocks and two upsamplers; eight epochs, 12 pairs a step, which are
    the pairs of four images here; 630 pixels, for matching at 770.
    """
    return TrainingConfig(
        recipe="marco",
        network=NetworkConfig("upsampler", upsamplers=2, similarity="inner-product"),
        epochs=8,
        images_per_group=4,
        learning_rate=1e-4,
        warmup=None,
        weight_decay=0.0,
        clip=0.1,
        element_dropout=0.0,
        loss=LossConfig(
            sparse=0.0, point="annealed", temperature=10.0, noise=0.0, per_keypoint=True
        ),
        variants=None,
        window=None,
        tuning=TuningConfig(9, rank=None, bottleneck=512),
        canvas_scale=630 / 770,
        distillation=DistillationConfig(),
    )


RECIPES: Mapping[str, Callable[[], TrainingConfig]] = {
    "small-set": small_set,
    "published-spair": published_spair,
    "published-ap10k": published_ap10k,
    "published-pf-pascal": published_pf_pascal,
    "marco": marco,
}
"""The recipes by the names that `homolog train --recipe` takes."""
