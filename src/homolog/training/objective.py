"""What a step minimises, as a module: the network, and what is learnt beside it and thrown away."""

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

_SCALE = 20.0  # of similarities, where the heatmap's learned one starts
_LARGEST_SCALE = 100.0


class Objective(nn.Module):
    """The losses of a group of pictures.

    Args:
        network: what is trained.
        config: of the run.
        keypoints: how many each category has.
        landmarks: ids of the keypoints on the axis, if the network has a frame.
        backbone: one that is trained, too; features are then canvases (0 to 255).
    """

    def __init__(
        self,
        network: PostProcessor | AttentionHead,
        config: TrainingConfig,
        keypoints: Mapping[str, int],
        landmarks: Sequence[int] = (),
        backbone: DinoBackbone | None = None,
    ):
        super().__init__()
        self._backbone = [] if backbone is None else [backbone]  # not a submodule: most is frozen
        trained = {} if backbone is None else trainable(backbone)
        self.tuned = nn.ParameterDict({name.replace(".", "/"): p for name, p in trained.items()})
        self.network = network
        self.config = config
        self.landmarks = list(landmarks)
        self.heatmap_scale = nn.Parameter(torch.tensor(math.log(_SCALE)))
        self.categories = {name: str(index) for index, name in enumerate(sorted(keypoints))}
        self.prototypes = nn.ParameterDict()
        if config.loss.prototypes:
            width = network.projection_dim
            if isinstance(network, PostProcessor) and network.residual:
                width = sum(network.feature_dims)
            for name, index in self.categories.items():
                start = torch.randn(keypoints[name], width)
                self.prototypes[index] = nn.Parameter(start)

    def describe(
        self,
        features_BHWC: Float[Tensor, "B H W C"],
        landmarks_BA2: Float[Tensor, "B A 2"] | None = None,
    ) -> tuple[Float[Tensor, "B H W D"], Float[Tensor, "B A H W"] | None]:
        """Descriptors of unit length, and what the network says of landmarks."""
        logits = None
        with self._autocast(features_BHWC.device):
            if isinstance(self.network, AttentionHead):
                found, logits = self.network.describe(features_BHWC, landmarks_BA2)
            else:
                found = self.network(features_BHWC.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return F.normalize(found.float(), dim=-1), logits

    def forward(
        self,
        category: str,
        features_BHWC: Float[Tensor, "B H W C"],
        cells_BK2: Float[Tensor, "B K 2"],
        sides_B: Float[Tensor, "B"],
        sparse_weights_BB: Float[Tensor, "B B"],
        dense_weights_BB: Float[Tensor, "B B"],
    ) -> dict[str, Float[Tensor, ""]]:
        """Each loss times its weight, by name, and their sum as `loss`.

        Args:
            category: of all pictures.
            features_BHWC: what the network is given.
            cells_BK2: (x, y) of keypoints in cells, NaN where not visible.
            sides_B: of the things' boxes, in cells.
            sparse_weights_BB: of pairs, for the contrastive loss.
            dense_weights_BB: of pairs, for the dense loss.
        """
        config, loss = self.config, self.config.loss
        for backbone in self._backbone:
            with self._autocast(features_BHWC.device):
                maps = backbone.maps(features_BHWC.to(torch.uint8))
            features_BHWC = stack(maps, backbone.grids, backbone.grid)
        features_BHWC = F.dropout(features_BHWC, config.element_dropout)
        if config.channel_dropout:
            ones = torch.ones_like(features_BHWC[:, :1, :1])
            features_BHWC = features_BHWC * F.dropout(ones, config.channel_dropout)
        truth = cells_BK2[:, self.landmarks] if self.landmarks else None
        descriptors, logits = self.describe(features_BHWC, truth)

        noise = loss.noise * sides_B[:, None, None] / 2 * torch.randn_like(cells_BK2)
        shape = (len(cells_BK2), *cells_BK2.shape[:2])
        asked = torch.rand(shape, device=cells_BK2.device) < loss.share
        sparse, dense = all_pairs_loss(
            descriptors, cells_BK2, loss.sparse * sparse_weights_BB,
            loss.dense * dense_weights_BB, self._logit_scale(), self._point_loss(), noise, asked,
        )  # fmt: skip
        parts = {"sparse": sparse, "dense": dense}
        if loss.prototypes:
            prototypes = F.normalize(self.prototypes[self.categories[category]], dim=1)
            found = torch.einsum("bhwd,kd->bkhw", descriptors, prototypes)
            parts["prototypes"] = loss.prototypes * self._found(found, cells_BK2, self._scale())
        if logits is not None and truth is not None and loss.landmarks:
            parts["landmarks"] = loss.landmarks * self._found(logits, truth, 1.0)
        return {**parts, "loss": sum(parts.values(), torch.zeros_like(sparse))}

    def _autocast(self, device: torch.device) -> torch.autocast:
        return torch.autocast(device.type, torch.bfloat16, enabled=has_fast_bfloat16(device))

    def _found(
        self, maps_BKHW: Tensor, cells_BK2: Tensor, scale: Tensor | float
    ) -> Float[Tensor, ""]:
        """How well maps show where the visible keypoints are."""
        visible = cells_BK2.isfinite().all(-1)
        lost = heatmap_cross_entropy(maps_BKHW[visible], cells_BK2[visible], scale)
        return lost.sum() / visible.sum().clamp_min(1)

    def _scale(self) -> Float[Tensor, ""]:
        return self.heatmap_scale.exp().clamp_max(_LARGEST_SCALE)

    def _logit_scale(self) -> Float[Tensor, ""]:
        """The published network brings its own."""
        if isinstance(self.network, PostProcessor):
            return self.network.logit_scale.exp()
        return self._scale()

    def _point_loss(self) -> PointLoss:
        loss = self.config.loss
        if loss.point == "heatmap":
            return partial(heatmap_cross_entropy, scale=self._scale())
        return partial(soft_argmax_distance, temperature=loss.temperature, window=loss.window)
