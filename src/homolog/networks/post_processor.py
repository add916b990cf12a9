"""The light network that makes frozen features aware of geometry."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from huggingface_hub import PyTorchModelHubMixin
from jaxtyping import Float
from torch import Tensor, nn

from homolog.errors import HomologError

_GROUPS = 32
_TEMPERATURE = 0.07  # that CLIP's learned logit scale starts at


class NormedConv2d(nn.Conv2d):
    """A convolution without bias, and a group norm."""

    def __init__(self, inputs: int, outputs: int, kernel: int):
        super().__init__(inputs, outputs, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.GroupNorm(_GROUPS, outputs)
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, features: Float[Tensor, "B _C H W"]) -> Float[Tensor, "B _D H W"]:
        """The features convolved and normalised."""
        return self.norm(super().forward(features))


class Bottleneck(nn.Module):
    """Residual bottleneck: 1x1, 3x3, 1x1; the inner width is a quarter of the output's."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        inner = outputs // 4
        self.conv1 = NormedConv2d(inputs, inner, 1)
        self.conv2 = NormedConv2d(inner, inner, 3)
        self.conv3 = NormedConv2d(inner, outputs, 1)
        self.shortcut = NormedConv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, features: Float[Tensor, "B _C H W"]) -> Float[Tensor, "B _D H W"]:
        """The block's output, after its last activation."""
        inner = F.relu(self.conv2(F.relu(self.conv1(features))))
        return F.relu(self.conv3(inner) + self.shortcut(features))


class PostProcessor(nn.Module, PyTorchModelHubMixin, library_name="homolog", license="apache-2.0"):
    """One bottleneck for each feature map; their outputs are summed with learned weights.

    The aggregation network of Zhang et al., CVPR 2024 (arXiv 2311.17034); 5,150,214 parameters for
    maps of 640, 1280, 1280 and 768 channels and a width of 768. Its state has the names of the
    published checkpoints.

    With `residual`, for small training sets, it is given descriptors and returns them with what it
    learns added: brought to their width, times a gate for each cell and a learned scale. What is
    added starts as nothing, so that training starts from the descriptors as they are.

    Args:
        feature_dims: channels of each map, in the order they are concatenated.
        projection_dim: channels of the descriptors (within, if residual), a multiple of 128.
        residual: add to what is given instead of replacing it.

    Raises:
        HomologError: a width that does not fit the group norms.
    """

    def __init__(self, feature_dims: Sequence[int], projection_dim: int, residual: bool = False):
        super().__init__()
        if projection_dim < 1 or projection_dim % (4 * _GROUPS):
            raise HomologError(
                f"projection_dim: got {projection_dim}, takes a multiple of {4 * _GROUPS}"
            )
        self.feature_dims = tuple(feature_dims)
        self.projection_dim = projection_dim
        self.bottleneck_layers = nn.ModuleList(
            nn.Sequential(Bottleneck(dim, projection_dim)) for dim in self.feature_dims
        )
        self.mixing_weights = nn.Parameter(torch.ones(len(self.feature_dims)))
        scale = torch.tensor(math.log(1 / _TEMPERATURE))
        self.logit_scale = nn.Parameter(scale)
        self.self_logit_scale = nn.Parameter(scale.clone())
        self.residual = residual
        if residual:
            self.addition = nn.Conv2d(projection_dim, sum(self.feature_dims), 1)
            self.gate = nn.Conv2d(projection_dim, 1, 1)
            self.residual_scale = nn.Parameter(torch.ones(()))
            for parameter in self.addition.parameters():
                nn.init.zeros_(parameter)

    def forward(self, features_BCHW: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D H W"]:
        """Descriptors, not normalised.

        Args:
            features_BCHW: the maps on one grid, concatenated; descriptors, if residual.

        Raises:
            HomologError: the channels are not those of the maps.
        """
        if features_BCHW.shape[1] != sum(self.feature_dims):
            raise HomologError(
                f"features: got {features_BCHW.shape[1]} channels, takes "
                f"{' + '.join(map(str, self.feature_dims))} = {sum(self.feature_dims)}"
            )
        maps = features_BCHW.split(self.feature_dims, dim=1)
        weights = self.mixing_weights.softmax(0)
        total: Tensor = sum(
            weight * layer(features)
            for weight, layer, features in zip(weights, self.bottleneck_layers, maps, strict=True)
        )
        if not self.residual:
            return total
        added = self.residual_scale * self.gate(total).sigmoid() * self.addition(total)
        return features_BCHW + added
