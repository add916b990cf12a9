"""The post-processor: a small trained network that makes frozen features aware of geometry."""

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
_TEMPERATURE = 0.07  # initial value of the learned logit scale, as in CLIP


class NormedConv2d(nn.Conv2d):
    """A convolution without bias, followed by a group norm."""

    def __init__(self, inputs: int, outputs: int, kernel: int):
        super().__init__(inputs, outputs, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.GroupNorm(_GROUPS, outputs)
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, features: Float[Tensor, "B _C H W"]) -> Float[Tensor, "B _D H W"]:
        """The convolved and normalised features."""
        return self.norm(super().forward(features))


class Bottleneck(nn.Module):
    """Residual bottleneck block: 1x1, 3x3, 1x1, with a quarter of the output's channels inside."""

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
    """Descriptors from feature maps: a bottleneck for each map, summed with learned weights.

    This is the aggregation network of Zhang et al., CVPR 2024 (arXiv 2311.17034): 5,150,214
    parameters for maps of 640, 1280, 1280 and 768 channels and a width of 768. Its parameters have
    the names of the published checkpoints.

    With `residual`, for small training sets, its input are zero-shot descriptors, to which its
    output is added, after a projection, a gate for each cell and a learned scale. The projection
    is initialised to zero, so that training starts from the zero-shot descriptors.

    Args:
        feature_dims: channels of each feature map, in the order in which they are concatenated.
        projection_dim: channels of the descriptors (of the hidden layers, if residual), a multiple
            of 128.
        residual: add the output to the input.

    Raises:
        HomologError: a `projection_dim` that does not fit the group norms.
    """

    def __init__(self, feature_dims: Sequence[int], projection_dim: int, residual: bool = False):
        super().__init__()
        if projection_dim < 1 or projection_dim % (4 * _GROUPS):
            raise HomologError(
                f"projection_dim: expected a multiple of {4 * _GROUPS}, got {projection_dim}"
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
            features_BCHW: the feature maps on one grid, concatenated; zero-shot descriptors, if
                residual.

        Raises:
            HomologError: the number of channels is not that of the maps.
        """
        if features_BCHW.shape[1] != sum(self.feature_dims):
            raise HomologError(
                f"features: expected {' + '.join(map(str, self.feature_dims))} = "
                f"{sum(self.feature_dims)} channels, got {features_BCHW.shape[1]}"
            )
        maps = features_BCHW.split(self.feature_dims, dim=1)
        weights = self.mixing_weights.softmax(0)
        total: Tensor = sum(
            weight * layer(features)
            for weight, layer, features in zip(weights, self.bottleneck_layers, maps, strict=True)
        )
        if not self.residual:
            return total
        update = self.residual_scale * self.gate(total).sigmoid() * self.addition(total)
        return features_BCHW + update
