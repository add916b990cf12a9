"""Which side of a thing each part of a picture shows, learned from rendered animals.

A paw looks like a paw whichever it is; what tells a left one from a right one is which way the
thing faces and which of the two is nearer. So a small network looks at the whole picture at once.
Not from the paper; trained as docs/synthetic.md tells.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from homolog.backbones.hub import load_state, read_tensors
from homolog.networks.attention import ContextLayer, places, principal_components

_FEW_CELLS = 4
_OUTPUTS = 8
_WAVES = 64
_OF_CELL = 0.25  # to this power a cell's probability counts (docs/experiments.md)


@dataclass(frozen=True)
class SidesConfig:
    """The network that tells sides (`homolog.networks.sides`), and its part in similarity.

    Attributes:
        feature_dim: channels of the zero-shot descriptors.
        components: principal components kept of them.
        widths: channels at the full resolution, at half and at a quarter of it.
        layers: of self-attention at a quarter.
        side: how much two cells' agreement in side counts; 0 for not at all.
        place: how much their agreement in place counts.
        reach: how far apart places still agree, in about half the length of a body.
        presence: slope and offset of the logit that a picture shows such a thing at all, as a
            function of `certainty`; None where that was not learnt, and is taken as sure.
    """

    feature_dim: int
    components: int = 256
    widths: tuple[int, int, int] = (64, 96, 192)
    layers: int = 3
    side: float = 0.0
    place: float = 0.0
    reach: float = 0.5
    presence: tuple[float, float] | None = None


@dataclass(frozen=True)
class SideMaps:
    """What the network says of each cell of one picture, or of B pictures (a dimension before).

    Attributes:
        thing: probability that the cell shows a thing of the kinds it was trained on.
        side: probability of its left side less that of its right, -1 to 1; 0 on its midplane.
        place: distance from the midplane, and where along (forward) and up, in about half the
            length of a body.
        facing: which way the thing faces: x right, y down, z away from us; not of unit length.
    """

    thing: Float[Tensor, "*B H W"]
    side: Float[Tensor, "*B H W"]
    place: Float[Tensor, "*B H W 3"]
    facing: Float[Tensor, "*B H W 3"]

    def __getitem__(self, index: int) -> SideMaps:
        """Those of one of several pictures."""
        return SideMaps(*(getattr(self, each.name)[index] for each in dataclasses.fields(self)))

    @property
    def known(self) -> bool:
        """Whether one picture shows a thing whose sides are known, on at least a few cells."""
        return int((self.thing > 0.5).sum()) >= _FEW_CELLS

    def direction(self) -> Float[Tensor, "3"]:
        """Which way the thing of one picture faces: the mean over its cells, at most of length 1.

        The shorter, the more the cells differ, as they do where nothing has a front.
        """
        weight = self.thing / self.thing.sum().clamp_min(1e-6)
        return (weight[..., None] * F.normalize(self.facing, dim=-1)).sum((0, 1))


class SideNetwork(nn.Module):
    """Sides from zero-shot descriptors, each cell seen within the whole picture.

    Principal components at the full resolution, convolutions at half of it, and at a quarter
    self-attention, which finds which way the thing faces and is so coarse that it costs little.

    Args:
        config: its sizes.
        dropout: of what goes from layer to layer, while training.
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
        self.layers = nn.ModuleList(ContextLayer(coarse) for _ in range(config.layers))
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
        """Take the principal components of some descriptors, scaled halfway to unit variance."""
        self.basis.copy_(principal_components(features_NC, self.basis.shape[1]))

    def reduce(self, features_BHWC: Float[Tensor, "B H W C"]) -> Float[Tensor, "B H W K"]:
        """The components of descriptors: all that the rest of the network sees of them."""
        return features_BHWC @ self.basis

    def forward(self, features_BHWC: Float[Tensor, "B H W C"]) -> SideMaps:
        """What each cell shows.

        Args:
            features_BHWC: zero-shot descriptors.
        """
        found = self.logits(self.reduce(features_BHWC)).float()
        return SideMaps(
            found[..., 0].sigmoid(), (found[..., 1] / 2).tanh(), found[..., 2:5], found[..., 5:8]
        )

    def logits(self, reduced_BHWK: Float[Tensor, "B H W K"]) -> Float[Tensor, "B H W O"]:
        """Logits of thing and left, the place and the facing, in this order.

        Args:
            reduced_BHWK: what `reduce` returns.
        """
        fine = F.relu(self.enter_norm(self.enter(reduced_BHWK)))
        middle = self.halve(fine.permute(0, 3, 1, 2))
        coarse = self.quarter(F.relu(middle))
        tokens = coarse.flatten(2).transpose(1, 2)
        where = places(*coarse.shape[2:], tokens.shape[2], tokens.device)
        for layer in self.layers:
            tokens = F.dropout(layer(tokens, where), self.dropout, self.training)
        seen = self.to_middle(tokens).transpose(1, 2).unflatten(2, coarse.shape[2:])
        middle = middle + _resized(seen, middle.shape[2:])
        middle = middle + self.near(middle)
        seen = self.to_fine(middle.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        fine = fine + _resized(seen, fine.shape[1:3]).permute(0, 2, 3, 1)
        fine = fine + self.mix(fine)
        return self.leave(F.relu(self.leave_norm(fine)))


def load_sides(config: SidesConfig, path: Path) -> SideNetwork:
    """A network with its weights, ready for use.

    Raises:
        HomologError: they are missing or damaged, or of another network.
    """
    network = SideNetwork(config)
    load_state(network, read_tensors(path), str(path))
    return network.eval().requires_grad_(False)


def shipped(config: SidesConfig) -> SideNetwork:
    """The network that comes with the package: docs/synthetic.md tells what it learned from."""
    with resources.as_file(resources.files("homolog").joinpath("assets/sides.safetensors")) as path:
        return load_sides(config, path)


def _resized(maps_BCHW: Float[Tensor, "B C h w"], size: torch.Size) -> Float[Tensor, "B C H W"]:
    return F.interpolate(maps_BCHW, size=tuple(size), mode="bilinear", align_corners=True)


def with_sides(
    descriptors_HWC: Float[Tensor, "H W C"], maps: SideMaps, config: SidesConfig
) -> Float[Tensor, "H W D"]:
    """Descriptors of unit length whose similarity also says whether sides and places agree.

    Two cells of things that are known gain by agreeing in side and in place, and lose by
    disagreeing in side; by how much, say the geometric means of the probabilities that the pictures
    show such a thing and of the roots of those that the cells do. The similarity of all other cells
    is what it was, for what is added to them is nothing: bottles and balls are left alone.

    Places agree by a Gaussian kernel, here the inner product of random waves (Rahimi and Recht,
    NIPS 2007).

    Args:
        descriptors_HWC: of unit length.
        maps: what the network says of the cells.
        config: how much sides and places count.
    """
    known = maps.thing[..., None] ** _OF_CELL
    if config.presence is not None:
        slope, offset = config.presence
        known = known * torch.sigmoid(slope * certainty(maps.thing) + offset).sqrt()
    parts = [descriptors_HWC]
    if config.side > 0:
        parts.append(math.sqrt(config.side) * known * maps.side[..., None])
    if config.place > 0:
        angles = maps.place @ (_waves(maps.place.device) / config.reach)
        waves = torch.cat([angles.sin(), angles.cos()], dim=-1) / math.sqrt(_WAVES)
        parts.append(math.sqrt(config.place) * known * waves)
    return F.normalize(torch.cat(parts, dim=-1), dim=-1)


def certainty(thing: Float[Tensor, "*B H W"]) -> Float[Tensor, "*B"]:
    """How sure the network is of what it takes for a thing, however large that is.

    Args:
        thing: probability of each cell, 0 to 1.

    Returns:
        The mean over the cells, each counted by its own probability.
    """
    return thing.square().sum((-2, -1)) / thing.sum((-2, -1)).clamp_min(1e-6)


@functools.lru_cache(maxsize=4)
def _waves(device: torch.device) -> Float[Tensor, "3 W"]:
    """Frequencies drawn from a normal distribution, always the same."""
    return (
        torch.from_numpy(np.random.default_rng(0).standard_normal((3, _WAVES))).float().to(device)
    )
