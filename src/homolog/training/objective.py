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
from homolog.matching import has_fast_bfloat16
from homolog.networks.context import AttentionHead
from homolog.networks.post_processor import PostProcessor
from homolog.training.losses import (
    PointLoss,
    all_pairs_loss,
    heatmap_cross_entropy,
    soft_argmax_distance,
)
from homolog.training.recipes import TrainingConfig

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
    """

    # Checkpoints hold parameters by the names of these attributes, and the optimizer's state by
    # the order of their assignment: neither may change.

    def __init__(
        self,
        network: PostProcessor | AttentionHead,
        config: TrainingConfig,
        keypoints: Mapping[str, int],
        landmarks: Sequence[int] = (),
        backbone: DinoBackbone | None = None,
    ):
        super().__init__()
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
            width = network.projection_dim
            if isinstance(network, PostProcessor) and network.residual:
                width = sum(network.feature_dims)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(config.seed)
                for name, index in self.categories.items():
                    self.prototypes[index] = nn.Parameter(torch.randn(keypoints[name], width))

    def describe(
        self,
        features_BHWC: Float[Tensor, "B H W C"],
        landmarks_BA2: Float[Tensor, "B A 2"] | None = None,
    ) -> tuple[Float[Tensor, "B H W D"], Float[Tensor, "B A H W"] | None]:
        """Descriptors of unit length, and the network's heatmaps of the A landmarks, if any.

        Args:
            features_BHWC: the network's input.
            landmarks_BA2: (x, y) of the landmarks in cells, NaN where not visible.
        """
        return describe(self.network, features_BHWC, landmarks_BA2)

    def forward(
        self,
        category: str,
        features_BHWC: Float[Tensor, "B H W C"],
        cells_BK2: Float[Tensor, "B K 2"],
        reference_lengths_B: Float[Tensor, "B"],
        sparse_weights_BB: Float[Tensor, "B B"],
        dense_weights_BB: Float[Tensor, "B B"],
    ) -> dict[str, Float[Tensor, ""]]:
        """Each loss times its weight, by name, and their sum as `loss`.

        Args:
            category: of all images.
            features_BHWC: the network's input, or canvases if the backbone is trained.
            cells_BK2: (x, y) of keypoints in cells, NaN where not visible.
            reference_lengths_B: the longer sides of the objects' boxes, in cells.
            sparse_weights_BB: of pairs in the contrastive loss.
            dense_weights_BB: of pairs in the dense loss.
        """
        config, loss = self.config, self.config.loss
        for backbone in self._backbone:
            with _autocast(features_BHWC.device):
                maps = backbone.feature_maps(features_BHWC.to(torch.uint8))
            features_BHWC = stack(maps, backbone.grids, backbone.grid)
        features_BHWC = F.dropout(features_BHWC, config.element_dropout)
        if config.channel_dropout:
            ones = torch.ones_like(features_BHWC[:, :1, :1])
            features_BHWC = features_BHWC * F.dropout(ones, config.channel_dropout)
        landmarks = cells_BK2[:, self.landmarks] if self.landmarks else None
        descriptors, heatmaps = self.describe(features_BHWC, landmarks)

        noise = loss.noise * reference_lengths_B[:, None, None] / 2 * torch.randn_like(cells_BK2)
        shape = (len(cells_BK2), *cells_BK2.shape[:2])
        selected = torch.rand(shape, device=cells_BK2.device) < loss.keypoint_fraction
        sparse, dense = all_pairs_loss(
            descriptors, cells_BK2, loss.sparse * sparse_weights_BB,
            loss.dense * dense_weights_BB, self._logit_scale(), self._point_loss(), noise, selected,
        )  # fmt: skip
        parts = {"sparse": sparse, "dense": dense}
        if loss.prototypes:
            prototypes = F.normalize(self.prototypes[self.categories[category]], dim=1)
            similarity = torch.einsum("bhwd,kd->bkhw", descriptors, prototypes)
            parts["prototypes"] = loss.prototypes * _heatmap_loss(
                similarity, cells_BK2, self._scale()
            )
        if heatmaps is not None and landmarks is not None and loss.landmarks:
            parts["landmarks"] = loss.landmarks * _heatmap_loss(heatmaps, landmarks, 1.0)
        return {**parts, "loss": sum(parts.values(), torch.zeros_like(sparse))}

    def _scale(self) -> Float[Tensor, ""]:
        return self.heatmap_scale.exp().clamp_max(MAX_SCALE)

    def _logit_scale(self) -> Float[Tensor, ""]:
        """The scale of similarities in the contrastive loss; the published network has its own."""
        if isinstance(self.network, PostProcessor):
            return self.network.logit_scale.exp()
        return self._scale()

    def _point_loss(self) -> PointLoss:
        loss = self.config.loss
        if loss.point == "heatmap":
            return partial(heatmap_cross_entropy, scale=self._scale())
        return partial(soft_argmax_distance, temperature=loss.temperature, window=loss.window)


def describe(
    network: PostProcessor | AttentionHead,
    features_BHWC: Float[Tensor, "B H W C"],
    landmarks_BA2: Float[Tensor, "B A 2"] | None = None,
) -> tuple[Float[Tensor, "B H W D"], Float[Tensor, "B A H W"] | None]:
    """A network's descriptors of unit length, and its heatmaps of the A landmarks, if any.

    Args:
        network: in training.
        features_BHWC: its input.
        landmarks_BA2: (x, y) of the landmarks in cells, NaN where not visible.
    """
    heatmaps = None
    with _autocast(features_BHWC.device):
        if isinstance(network, AttentionHead):
            descriptors, heatmaps = network.describe(features_BHWC, landmarks_BA2)
        else:
            descriptors = network(features_BHWC.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    return F.normalize(descriptors.float(), dim=-1), heatmaps


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
