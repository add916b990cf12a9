"""Learned upsamplers: feature maps of four times as many cells for each of them, as in MARCO."""

from __future__ import annotations

import torch.nn.functional as F
from huggingface_hub import PyTorchModelHubMixin
from jaxtyping import Float
from torch import Tensor, nn

from homolog.errors import HomologError


class ChannelNorm(nn.LayerNorm):
    """A layer norm over the channels of each cell of a map."""

    def forward(self, features: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """The normalised features."""
        return super().forward(features.movedim(1, -1)).movedim(-1, 1)


class UpsamplingStage(nn.Module):
    """One upsampler: it doubles the rows and the columns of a map.

    A transposed convolution, GELU, a depthwise convolution of 3 x 3 cells, and a layer norm over
    the channels.

    Args:
        channels: of the map, and of the result.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = nn.ConvTranspose2d(channels, channels, 2, stride=2)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.norm = ChannelNorm(channels, eps=1e-6)

    def forward(self, features: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H2 W2"]:
        """The map on twice as many rows and columns."""
        return self.norm(self.conv2(F.gelu(self.conv1(features))))


class Upsampler(nn.Module, PyTorchModelHubMixin, library_name="homolog", license="apache-2.0"):
    """Descriptors on a finer grid from a feature map: one learned upsampler after the other.

    As in MARCO (CVPR 2026, arXiv 2604.18267), whose checkpoints have the same names. The output is
    not normalised.

    Args:
        channels: of the feature map, and of the descriptors.
        stages: number of upsamplers, each of which doubles the rows and the columns.

    Attributes:
        scale: how many times as many rows, and columns, the output has.

    Raises:
        HomologError: a number below 1.
    """

    def __init__(self, channels: int, stages: int = 2):
        super().__init__()
        for name, value in (("channels", channels), ("stages", stages)):
            if value < 1:
                raise HomologError(f"{name}: expected a number from 1 on, got {value}")
        self.channels = channels
        self.scale: int = 2**stages
        self.upscale = nn.ModuleList(UpsamplingStage(channels) for _ in range(stages))

    def forward(self, features_BCHW: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H2 W2"]:
        """Descriptors, not normalised.

        Args:
            features_BCHW: the feature map.

        Raises:
            HomologError: the number of channels is another.
        """
        if features_BCHW.shape[1] != self.channels:
            raise HomologError(
                f"features: expected {self.channels} channels, got {features_BCHW.shape[1]}"
            )
        for stage in self.upscale:
            features_BCHW = stage(features_BCHW)
        return features_BCHW
