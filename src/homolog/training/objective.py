"""The training objective: the network plus auxiliary heads that are dropped after training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from homolog.backbones.adapters import trainable
from homolog.backbones.dino import DinoBackbone
from homolog.features import stack
from homolog.matching import bilinear, has_fast_bfloat16, similarity
from homolog.networks.context import AttentionHead
from homolog.networks.post_processor import PostProcessor
from homolog.networks.upsampler import Upsampler
from homolog.training.distillation.distiller import MinedPair
from homolog.training.distillation.moving_average import MovingAverage
from homolog.training.losses import (
    PointLoss,
    all_pairs_loss,
    gaussian_cross_entropy,
    heatmap_cross_entropy,
    relative_distance,
    soft_argmax_distance,
)
from homolog.training.placement import Placement
from homolog.training.recipes import TrainingConfig

TrainedNetwork = PostProcessor | AttentionHead | Upsampler
"""A network that is trained on a backbone's features."""

INITIAL_SCALE, MAX_SCALE = 20.0, 100.0
"""Of similarities in the heatmap loss; the scale is learned."""


class Objective(nn.Module):
    """The losses of a batch of images, as a module with everything that is trained.

    Args:
        network: the post-processor.
        config: of the run; its seed decides where the prototypes start.
        keypoints: the number of keypoints of each category.
        landmarks: ids of the keypoints on the object's axis, for a network that predicts it.
        backbone: a backbone that is trained, too; the features are then canvases (0 to 255).
        placement: where keypoints lie on the descriptors; None where these have the grid that
            keypoints are given on.
    """

    # Checkpoints hold parameters by the names of these attributes, and the optimizer's state by
    # the order of their assignment: neither may change.

    def __init__(
        self,
        network: TrainedNetwork,
        config: TrainingConfig,
        keypoints: Mapping[str, int],
        landmarks: Sequence[int] = (),
        backbone: DinoBackbone | None = None,
        placement: Placement | None = None,
    ):
        super().__init__()
        self.placement = placement
        self._backbone = [] if backbone is None else [backbone]  # no submodule: most is frozen
        tuned = {} if backbone is None else trainable(backbone)
        self.tuned = nn.ParameterDict({name.replace(".", "/"): p for name, p in tuned.items()})
        self.network = network
        self.config = config
        self.landmarks = list(landmarks)
        self.heatmap_scale = nn.Parameter(torch.tensor(math.log(INITIAL_SCALE)))
        self.categories = {name: str(index) for index, name in enumerate(sorted(keypoints))}
        self.prototypes = nn.ParameterDict()
        if config.loss.prototypes:
            width = network.channels if isinstance(network, Upsampler) else network.projection_dim
            if isinstance(network, PostProcessor) and network.residual:
                width = sum(network.feature_dims)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(config.seed)
                for name, index in self.categories.items():
                    self.prototypes[index] = nn.Parameter(torch.randn(keypoints[name], width))
        self.teacher: MovingAverage | None = None
        if config.distillation is not None:
            student = {f"network.{name}": p for name, p in network.named_parameters()}
            self.teacher = MovingAverage(student | tuned)

    def describe(
        self,
        features_BHWC: Float[Tensor, "B H W C"],
        landmarks_BA2: Float[Tensor, "B A 2"] | None = None,
    ) -> tuple[Float[Tensor, "B _h _w D"], Float[Tensor, "B A H W"] | None]:
        """Descriptors, and the network's heatmaps of the A landmarks, if any.

        They have unit length, unless similarity is the plain inner product.

        Args:
            features_BHWC: the network's input.
            landmarks_BA2: (x, y) of the landmarks in cells, NaN where not visible.
        """
        directions = self.config.network.similarity == "cosine"
        return describe(self.network, features_BHWC, landmarks_BA2, directions)

    @torch.no_grad()
    def teacher_descriptors(
        self, features_BHWC: Float[Tensor, "B H W C"]
    ) -> Float[Tensor, "B _h _w D"]:
        """Descriptors that the teacher makes, as they are when matching: nothing is dropped out.

        Args:
            features_BHWC: the network's input, or canvases if the backbone is trained.
        """
        assert self.teacher is not None, "a configuration with distillation"
        training = self.network.training
        with self.teacher.in_place():
            self.network.eval()
            descriptors, _ = self.describe(self._inputs(features_BHWC))
            self.network.train(training)
        return descriptors

    def canvas_points(self, cells_BK2: Float[Tensor, "B K 2"]) -> Float[Tensor, "B K 2"]:
        """Keypoints in cells, in pixels of the canvas."""
        assert self.placement is not None, "a configuration with distillation"
        return self.placement.to_canvas(cells_BK2)

    def _inputs(self, features_BHWC: Float[Tensor, "B H W C"]) -> Float[Tensor, "B _h _w _c"]:
        """The network's input, for which canvases pass through a backbone that is trained."""
        for backbone in self._backbone:
            with _autocast(features_BHWC.device):
                maps = backbone.feature_maps(features_BHWC.to(torch.uint8))
            features_BHWC = stack(maps, backbone.grids, backbone.grid)
        return features_BHWC

    def forward(
        self,
        category: str,
        features_BHWC: Float[Tensor, "B H W C"],
        cells_BK2: Float[Tensor, "B K 2"],
        reference_lengths_B: Float[Tensor, "B"],
        sparse_weights_BB: Float[Tensor, "B B"],
        dense_weights_BB: Float[Tensor, "B B"],
        sigma: float = 1.0,
        mined: Sequence[MinedPair] = (),
    ) -> dict[str, Float[Tensor, ""]]:
        """Each loss times its weight, by name, and their sum as `loss`.

        Args:
            category: of all images.
            features_BHWC: the network's input, or canvases if the backbone is trained.
            cells_BK2: (x, y) of keypoints in cells, NaN where not visible.
            reference_lengths_B: the longer sides of the objects' boxes, in cells.
            sparse_weights_BB: of pairs in the contrastive loss.
            dense_weights_BB: of pairs in the dense loss.
            sigma: of annealed targets, in cells of the descriptors.
            mined: matches that the teacher found.
        """
        config, loss = self.config, self.config.loss
        features_BHWC = F.dropout(self._inputs(features_BHWC), config.element_dropout)
        if config.channel_dropout:
            ones = torch.ones_like(features_BHWC[:, :1, :1])
            features_BHWC = features_BHWC * F.dropout(ones, config.channel_dropout)
        landmarks = cells_BK2[:, self.landmarks] if self.landmarks else None
        descriptors, heatmaps = self.describe(features_BHWC, landmarks)

        noise = loss.noise * reference_lengths_B[:, None, None] / 2 * torch.randn_like(cells_BK2)
        sources_BK2 = targets_BK2 = cells_BK2
        if self.placement is not None:
            sources_BK2 = self.placement.on_source(cells_BK2)
            targets_BK2 = self.placement.on_target(cells_BK2)
            noise = noise * (self.placement.base.stride / self.placement.target.stride)
            # What a place is called differs between source and target: like noise of targets.
            noise = noise + (targets_BK2 - sources_BK2)
        if loss.per_keypoint:
            dense_weights_BB = _per_keypoint(dense_weights_BB, cells_BK2)
        shape = (len(cells_BK2), *cells_BK2.shape[:2])
        selected = torch.rand(shape, device=cells_BK2.device) < loss.keypoint_fraction
        sparse, dense = all_pairs_loss(
            descriptors, sources_BK2, loss.sparse * sparse_weights_BB,
            loss.dense * dense_weights_BB, self._logit_scale(), self._point_loss(sigma), noise,
            selected,
        )  # fmt: skip
        parts = {"sparse": sparse, "dense": dense}
        if loss.prototypes:
            prototypes = F.normalize(self.prototypes[self.categories[category]], dim=1)
            maps = torch.einsum("bhwd,kd->bkhw", descriptors, prototypes)
            parts["prototypes"] = loss.prototypes * _heatmap_loss(maps, targets_BK2, self._scale())
        if heatmaps is not None and landmarks is not None and loss.landmarks:
            parts["landmarks"] = loss.landmarks * _heatmap_loss(heatmaps, landmarks, 1.0)
        if config.distillation is not None:
            parts["distillation"] = config.distillation.weight * self._mined_loss(
                descriptors, mined
            )
        return {**parts, "loss": sum(parts.values(), torch.zeros_like(sparse))}

    def _scale(self) -> Float[Tensor, ""]:
        return self.heatmap_scale.exp().clamp_max(MAX_SCALE)

    def _logit_scale(self) -> Float[Tensor, ""]:
        """The scale of similarities in the contrastive loss; the published network has its own."""
        if isinstance(self.network, PostProcessor):
            return self.network.logit_scale.exp()
        return self._scale()

    def _temperature(self) -> Tensor | float:
        """Of softmaxes over all cells: as configured for plain inner products, else learned."""
        if self.config.network.similarity == "inner-product":
            return self.config.loss.temperature
        return 1 / self._scale()

    def _mined_loss(
        self, descriptors_BHWC: Float[Tensor, "B H W D"], mined: Sequence[MinedPair]
    ) -> Float[Tensor, ""]:
        """The mean distance of the student's matches from the teacher's."""
        total = descriptors_BHWC.new_zeros(())
        for pair in mined:
            assert self.placement is not None
            sources, targets = self.placement.pixels_to_cells(pair.matches_2P2)
            target_HWC = descriptors_BHWC[pair.target]
            maps = similarity(bilinear(descriptors_BHWC[pair.source], sources), target_HWC)
            total = total + relative_distance(maps, targets, self._temperature()).sum()
        return total / max(1, sum(pair.matches_2P2.shape[1] for pair in mined))

    def _point_loss(self, sigma: float) -> PointLoss:
        loss = self.config.loss
        if loss.point == "heatmap":
            return partial(heatmap_cross_entropy, scale=self._scale())
        if loss.point == "annealed":
            temperature = self._temperature()
            return partial(gaussian_cross_entropy, sigma=sigma, temperature=temperature)
        return partial(soft_argmax_distance, temperature=loss.temperature, window=loss.window)


def describe(
    network: TrainedNetwork,
    features_BHWC: Float[Tensor, "B H W C"],
    landmarks_BA2: Float[Tensor, "B A 2"] | None = None,
    directions: bool = True,
) -> tuple[Float[Tensor, "B _h _w D"], Float[Tensor, "B A H W"] | None]:
    """A network's descriptors, and its heatmaps of the A landmarks, if any.

    Args:
        network: in training.
        features_BHWC: its input.
        landmarks_BA2: (x, y) of the landmarks in cells, NaN where not visible.
        directions: whether the descriptors get unit length.
    """
    heatmaps = None
    with _autocast(features_BHWC.device):
        if isinstance(network, AttentionHead):
            descriptors, heatmaps = network.describe(features_BHWC, landmarks_BA2)
        else:
            descriptors = network(features_BHWC.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    descriptors = descriptors.float()
    return F.normalize(descriptors, dim=-1) if directions else descriptors, heatmaps


def _per_keypoint(
    weights_BB: Float[Tensor, "B B"], cells_BK2: Float[Tensor, "B K 2"]
) -> Float[Tensor, "B B"]:
    """Weights of pairs by which each of their keypoints weighs the same, one in all."""
    visible_BK = cells_BK2.isfinite().all(-1)
    weights_BB = weights_BB * (visible_BK[:, None] & visible_BK[None]).sum(-1)
    return weights_BB / weights_BB.sum().clamp_min(1e-12)


def _autocast(device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=has_fast_bfloat16(device))


def _heatmap_loss(
    maps_BKHW: Float[Tensor, "B K H W"],
    cells_BK2: Float[Tensor, "B K 2"],
    scale: Tensor | float,
) -> Float[Tensor, ""]:
    """The mean cross-entropy of maps with the positions of the visible keypoints."""
    visible = cells_BK2.isfinite().all(-1)
    losses = heatmap_cross_entropy(maps_BKHW[visible], cells_BK2[visible], scale)
    return losses.sum() / visible.sum().clamp_min(1)
