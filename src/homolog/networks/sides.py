"""A head that tells which side of an object each cell shows, learned from rendered animals.

A paw looks like a paw whichever it is; what tells a left one from a right one is the heading of
the object and which of the two is nearer. So a small network attends to the whole image at once.
Not from the paper; docs/explanation/synthetic-animals.md describes its training.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from homolog.networks.attention import TransformerBlock, principal_components, sincos_encoding
from homolog.networks.bundled import SIDES, read_bundled
from homolog.utils.serialization import to_plain
from homolog.utils.tensor_files import check_sizes, load_state, read_tensors

_FEW_CELLS = 4
_OUTPUTS = 8
_WAVES = 64
_OBJECTNESS_POWER = 0.25  # exponent applied to a cell's objectness (docs/experiments.md)


@dataclass(frozen=True)
class SidesConfig:
    """The architecture of a side head, and its part in similarity.

    Attributes:
        feature_dim: channels of the zero-shot descriptors.
        components: principal components kept of these.
        widths: channels at the full resolution, at half and at a quarter of it.
        layers: of self-attention at a quarter of the resolution.
        side_weight: of two cells' agreement in side; 0 leaves it out.
        coordinate_weight: of their agreement in canonical coordinates.
        coordinate_bandwidth: how far apart coordinates still agree, in about half a body's length.
        presence_calibration: slope and offset of the logit that an image shows an object of the
            trained kinds at all, as a function of `objectness_confidence`; None where it was not
            fitted, and every image counts in full.
    """

    feature_dim: int
    components: int = 256
    widths: tuple[int, int, int] = (64, 96, 192)
    layers: int = 3
    side_weight: float = 0.0
    coordinate_weight: float = 0.0
    coordinate_bandwidth: float = 0.5
    presence_calibration: tuple[float, float] | None = None


@dataclass(frozen=True)
class SideMaps:
    """What a side head predicts for each cell of an image, or of B images (a dimension before).

    Attributes:
        objectness: probability that the cell shows an object of the kinds it was trained on.
        side: probability of its left side less that of its right, -1 to 1; 0 on its midplane.
        canonical_xyz: canonical coordinates: distance from the midplane, and position forward
            and up, in about half a body's length.
        heading: which way the object faces: x right, y down, z away from the camera; not of unit
            length.
    """

    objectness: Float[Tensor, "*B H W"]
    side: Float[Tensor, "*B H W"]
    canonical_xyz: Float[Tensor, "*B H W 3"]
    heading: Float[Tensor, "*B H W 3"]

    @classmethod
    def from_logits(cls, logits: Float[Tensor, "*B H W O"]) -> SideMaps:
        """What the outputs of `SideHead.logits` say.

        Args:
            logits: of one image, or of several.
        """
        return cls(
            logits[..., 0].sigmoid(),
            (logits[..., 1] / 2).tanh(),
            logits[..., 2:5],
            logits[..., 5:8],
        )

    def __getitem__(self, index: int) -> SideMaps:
        """The maps of one of several images."""
        return SideMaps(
            self.objectness[index],
            self.side[index],
            self.canonical_xyz[index],
            self.heading[index],
        )

    @classmethod
    def from_stacked(cls, values: Float[Tensor, "*B H W O"]) -> SideMaps:
        """The maps that `stacked` made one tensor of."""
        return cls(values[..., 0], values[..., 1], values[..., 2:5], values[..., 5:8])

    @property
    def stacked(self) -> Float[Tensor, "*B H W O"]:
        """All that is predicted for a cell beside each other, in the order of the attributes."""
        flat = torch.stack([self.objectness, self.side], dim=-1)
        return torch.cat([flat, self.canonical_xyz, self.heading], dim=-1)

    def seen_in_mirror(self) -> SideMaps:
        """What the maps say of the object before the mirror that these cells are seen in.

        Its sides are exchanged, and its heading turned round along x; the cells stay where they
        are.
        """
        heading = self.heading * self.heading.new_tensor([-1.0, 1.0, 1.0])
        return SideMaps(self.objectness, -self.side, self.canonical_xyz, heading)

    @property
    def recognised(self) -> bool:
        """Whether one image shows an object of the trained kinds, on at least a few cells."""
        return int((self.objectness > 0.5).sum()) >= _FEW_CELLS

    def mean_heading(self) -> Float[Tensor, "3"]:
        """The heading of one image's object: the mean over its cells, at most of length 1.

        The shorter, the more the cells disagree, as they do where nothing has a front.
        """
        weight = self.objectness / self.objectness.sum().clamp_min(1e-6)
        return (weight[..., None] * F.normalize(self.heading, dim=-1)).sum((0, 1))


class SideHead(nn.Module):
    """Predicts sides from zero-shot descriptors, each cell in the context of the whole image.

    Principal components at the full resolution, convolutions at half of it, and self-attention
    at a quarter, which finds the heading and is so coarse that it costs little.

    Args:
        config: the architecture.
        dropout: between the layers of attention, while training.
    """

    basis: Tensor

    def __init__(self, config: SidesConfig, dropout: float = 0.1):
        super().__init__()
        self.config = config
        self.dropout = dropout
        fine, middle, coarse = config.widths
        self.register_buffer("basis", torch.eye(config.feature_dim, config.components))
        self.enter, self.enter_norm = nn.Linear(config.components, fine), nn.LayerNorm(fine)
        self.halve = nn.Conv2d(fine, middle, 3, stride=2, padding=1)
        self.quarter = nn.Conv2d(middle, coarse, 3, stride=2, padding=1)
        self.layers = nn.ModuleList(TransformerBlock(coarse) for _ in range(config.layers))
        self.to_middle, self.to_fine = nn.Linear(coarse, middle), nn.Linear(middle, fine)
        self.near = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(middle, middle, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(middle, middle, 3, padding=1),
        )
        self.mix = nn.Sequential(
            nn.LayerNorm(fine), nn.Linear(fine, 2 * fine), nn.GELU(), nn.Linear(2 * fine, fine)
        )
        self.leave_norm, self.leave = nn.LayerNorm(fine), nn.Linear(fine, _OUTPUTS)

    def fit(self, features_NC: Float[Tensor, "N C"]) -> None:
        """Set the basis to the principal components of descriptors."""
        self.basis.copy_(principal_components(features_NC, self.basis.shape[1]))

    def reduce(self, features_BHWC: Float[Tensor, "B H W C"]) -> Float[Tensor, "B H W K"]:
        """Project descriptors onto the principal components."""
        return features_BHWC @ self.basis

    def forward(self, features_BHWC: Float[Tensor, "B H W C"]) -> SideMaps:
        """Objectness, side, canonical coordinates and heading of each cell.

        Args:
            features_BHWC: zero-shot descriptors.
        """
        return SideMaps.from_logits(self.logits(self.reduce(features_BHWC)).float())

    def logits(self, reduced_BHWK: Float[Tensor, "B H W K"]) -> Float[Tensor, "B H W O"]:
        """Logits of objectness and left side, canonical coordinates and heading, in this order.

        Args:
            reduced_BHWK: the output of `reduce`.
        """
        fine = F.relu(self.enter_norm(self.enter(reduced_BHWK)))
        middle = self.halve(fine.permute(0, 3, 1, 2))
        coarse = self.quarter(F.relu(middle))
        tokens = coarse.flatten(2).transpose(1, 2)
        positions = sincos_encoding(*coarse.shape[2:], tokens.shape[2], tokens.device)
        for layer in self.layers:
            tokens = F.dropout(layer(tokens, positions), self.dropout, self.training)
        context = self.to_middle(tokens).transpose(1, 2).unflatten(2, coarse.shape[2:])
        middle = middle + _resized(context, middle.shape[2:])
        middle = middle + self.near(middle)
        context = self.to_fine(middle.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        fine = fine + _resized(context, fine.shape[1:3]).permute(0, 2, 3, 1)
        fine = fine + self.mix(fine)
        return self.leave(F.relu(self.leave_norm(fine)))


def load_sides(config: SidesConfig, path: Path) -> SideHead:
    """A side head with its weights, ready for use.

    Raises:
        HomologError: the weights are missing, damaged, or of another architecture.
    """
    return _with_weights(config, read_tensors(path), str(path))


def load_bundled(config: SidesConfig, preset: str = "embedded") -> SideHead:
    """The side head that comes with the package for a preset, ready for use.

    docs/explanation/default-model.md describes its training data.

    Raises:
        HomologError: the weights are missing, damaged, or of another architecture.
    """
    return _with_weights(config, read_bundled(preset, SIDES), f"the side head of {preset}")


def _with_weights(config: SidesConfig, state: Mapping[str, Tensor], name: str) -> SideHead:
    check_sizes(to_plain(config), state, name)
    network = SideHead(config)
    load_state(network, state, name)
    return network.eval().requires_grad_(False)


def _resized(maps_BCHW: Float[Tensor, "B C h w"], size: torch.Size) -> Float[Tensor, "B C H W"]:
    return F.interpolate(maps_BCHW, size=tuple(size), mode="bilinear", align_corners=True)


def append_sides(
    descriptors_HWC: Float[Tensor, "H W C"], maps: SideMaps, config: SidesConfig
) -> Float[Tensor, "H W D"]:
    """Descriptors of unit length whose similarity also tells agreement in side and coordinates.

    Two cells of recognised objects gain by agreeing in side and canonical coordinates, and lose by
    disagreeing in side, in proportion to the geometric means of the probabilities that the images
    show such an object and of the roots of the cells' objectness. The similarity of all other cells
    is unchanged, for nothing is appended to them: bottles and balls are left alone.

    Coordinates agree by a Gaussian kernel, here the inner product of random Fourier features
    (Rahimi and Recht, NIPS 2007).

    Args:
        descriptors_HWC: of unit length.
        maps: the side head's predictions.
        config: the weights of side and coordinates.
    """
    weight = maps.objectness[..., None] ** _OBJECTNESS_POWER
    if config.presence_calibration is not None:
        weight = weight * presence(maps.objectness, config).sqrt()
    parts = [descriptors_HWC]
    if config.side_weight > 0:
        parts.append(math.sqrt(config.side_weight) * weight * maps.side[..., None])
    if config.coordinate_weight > 0:
        frequencies = _frequencies(maps.canonical_xyz.device) / config.coordinate_bandwidth
        angles = maps.canonical_xyz @ frequencies
        waves = torch.cat([angles.sin(), angles.cos()], dim=-1) / math.sqrt(_WAVES)
        parts.append(math.sqrt(config.coordinate_weight) * weight * waves)
    return F.normalize(torch.cat(parts, dim=-1), dim=-1)


def without_sides(
    descriptors_HWD: Float[Tensor, "H W D"], config: SidesConfig
) -> Float[Tensor, "H W C"]:
    """The descriptors, of unit length, that `append_sides` appended to.

    Args:
        descriptors_HWD: what it returned.
        config: the weights of side and coordinates.
    """
    appended = (config.side_weight > 0) + 2 * _WAVES * (config.coordinate_weight > 0)
    channels = descriptors_HWD.shape[-1] - appended
    return F.normalize(descriptors_HWD[..., :channels], dim=-1)


def presence(objectness: Float[Tensor, "*B H W"], config: SidesConfig) -> Float[Tensor, "*B"]:
    """Probability that an image shows an object of the trained kinds; 1 where it was not fitted.

    Args:
        objectness: probability of each cell, 0 to 1.
        config: has the calibration.
    """
    confidence = objectness_confidence(objectness)
    if config.presence_calibration is None:
        return torch.ones_like(confidence)
    slope, offset = config.presence_calibration
    return torch.sigmoid(slope * confidence + offset)


def objectness_confidence(objectness: Float[Tensor, "*B H W"]) -> Float[Tensor, "*B"]:
    """How confident a side head is of what it takes for the object, however large that is.

    Args:
        objectness: probability of each cell, 0 to 1.

    Returns:
        The mean over the cells, each weighted by its own probability.
    """
    return objectness.square().sum((-2, -1)) / objectness.sum((-2, -1)).clamp_min(1e-6)


@functools.lru_cache(maxsize=4)
def _frequencies(device: torch.device) -> Float[Tensor, "3 W"]:
    """Frequencies of the random Fourier features: drawn from a normal distribution, once."""
    return (
        torch.from_numpy(np.random.default_rng(0).standard_normal((3, _WAVES))).float().to(device)
    )
