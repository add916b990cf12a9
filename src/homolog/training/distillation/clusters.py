"""Clusters of like colours: k-means, then merging as long as the BIC of the mixture gains.

As published for MARCO (CVPR 2026, arXiv 2604.18267), but for the centres that k-means starts from,
which are drawn by k-means++ (Arthur and Vassilvitskii, 2007) here: its clusters need not be equal
to the published ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

_ROUNDS = 50  # of k-means, most of which it does not need
_STILL = 1 / 1024  # a centre that moves no further rests: a quarter of a colour's step
_FLAT = 1e-12  # the least variance


def colour_clusters(
    colours_N3: UInt8[Tensor, "N 3"],
    generator: torch.Generator,
    most: int = 7,
    least: int = 3,
) -> Int[Tensor, "N"]:
    """The cluster of each of some colours, from 0.

    Args:
        colours_N3: red, green and blue.
        generator: draws the first centres; on the CPU.
        most: centres that k-means starts with.
        least: clusters that are not merged any further.
    """
    distinct, index, counts = colours_N3.unique(dim=0, return_inverse=True, return_counts=True)
    points = _Points(distinct.double() / 255, counts.double())
    labels = _kmeans(points, _first_centres(points, most, generator))
    clusters = _Clusters.of(points, labels)
    while len(clusters.counts) > least and (pair := _best_merge(clusters, points.total)):
        centres = clusters.merged(*pair)
        labels = torch.cdist(points.places, centres).argmin(1)
        clusters = _Clusters.of(points, labels)
    return _kmeans(points, clusters.centres)[index]


@dataclass(frozen=True)
class _Points:
    """P places, and how many points lie at each."""

    places: Float[Tensor, "P 3"]
    counts: Float[Tensor, "P"]

    @property
    def total(self) -> float:
        return float(self.counts.sum())


@dataclass(frozen=True)
class _Clusters:
    """K clusters of points: where, how many, and their squared distances from their centres."""

    centres: Float[Tensor, "K 3"]
    counts: Float[Tensor, "K"]
    squares: Float[Tensor, "K"]

    @classmethod
    def of(cls, points: _Points, labels_P: Int[Tensor, "P"]) -> _Clusters:
        """The clusters that have points, in order."""
        used, labels = labels_P.unique(return_inverse=True)
        counts = torch.zeros_like(used, dtype=points.counts.dtype)
        counts.index_add_(0, labels, points.counts)
        sums = points.places.new_zeros(len(used), 3)
        sums.index_add_(0, labels, points.places * points.counts[:, None])
        centres = sums / counts[:, None]
        distances = (points.places - centres[labels]).square().sum(1)
        squares = torch.zeros_like(counts).index_add_(0, labels, distances * points.counts)
        return cls(centres, counts, squares)

    def likelihood(self) -> Float[Tensor, "K"]:
        """The log-likelihood of each as a spherical Gaussian of its own."""
        variance = (self.squares / (3 * self.counts)).clamp_min(_FLAT)
        return -1.5 * self.counts * ((2 * math.pi * variance).log() + 1)

    def joined(self, first: int, second: int) -> _Clusters:
        """Two of them as one."""
        both = torch.tensor([first, second], device=self.counts.device)
        counts, centres = self.counts[both], self.centres[both]
        centre = (counts[:, None] * centres).sum(0) / counts.sum()
        squares = self.squares[both].sum() + counts @ (centres - centre).square().sum(1)
        return _Clusters(centre[None], counts.sum()[None], squares[None])

    def merged(self, first: int, second: int) -> Float[Tensor, "L 3"]:
        """The centres when two of them are one."""
        centres = self.centres.clone()
        centres[first] = self.joined(first, second).centres[0]
        return torch.cat([centres[:second], centres[second + 1 :]])


def _best_merge(clusters: _Clusters, total: float) -> tuple[int, int] | None:
    """The two neighbours whose merging gains most by the BIC; None if none gains anything.

    What is merged has five parameters fewer: a centre, a variance and a share.
    """
    distances = torch.cdist(clusters.centres, clusters.centres).fill_diagonal_(torch.inf)
    alone = clusters.likelihood().tolist()
    gains = {}
    for first, second in enumerate(distances.argmin(1).tolist()):
        if second > first:
            together = clusters.joined(first, second).likelihood().item()
            gains[first, second] = together - alone[first] - alone[second] + 2.5 * math.log(total)
    best = max(gains, key=gains.__getitem__, default=None)
    return best if best is not None and gains[best] > 0 else None


def _first_centres(points: _Points, count: int, generator: torch.Generator) -> Tensor:
    """Centres by k-means++: each drawn in proportion to the squared distance from those before."""
    chosen: list[int] = []
    weights = points.counts
    for _ in range(min(count, len(points.places))):
        chosen.append(int(torch.multinomial(weights.cpu(), 1, generator=generator)))
        distances = torch.cdist(points.places, points.places[chosen]).amin(1)
        weights = points.counts * distances.square()
    return points.places[chosen]


def _kmeans(points: _Points, centres_K3: Float[Tensor, "K 3"]) -> Int[Tensor, "P"]:
    """The nearest centre of each place when the centres rest (Lloyd's algorithm)."""
    centres = centres_K3
    for _ in range(_ROUNDS):
        before = centres
        labels = torch.cdist(points.places, centres).argmin(1)
        centres = _Clusters.of(points, labels).centres
        if len(centres) == len(before) and (centres - before).abs().max() < _STILL:
            break
    return labels
