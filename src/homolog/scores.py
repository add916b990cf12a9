"""Matching scores as probabilities: what two images' descriptors tell of their matches."""

from __future__ import annotations

from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from homolog import matching
from homolog.config import MatcherConfig
from homolog.descriptors import DescriptorMap
from homolog.matching.calibration import MatchEvidence
from homolog.networks.sides import SidesConfig, presence

_ALL_DISTANCES = 10_000  # matches whose distances from each other are held at once
_FARTHEST = 2.0  # distance of canonical coordinates from which on more makes no difference


class MatchScorer:
    """Scores of the matches of two images, in one pose of the source.

    Args:
        source: descriptors of the source, in that pose.
        target: descriptors of the target.
        pair_score: of the two.
        config: has the calibration, if the model is calibrated.
    """

    def __init__(
        self, source: DescriptorMap, target: DescriptorMap, pair_score: float, config: MatcherConfig
    ):
        self.source, self.target = source, target
        self.pair_score = pair_score
        self.calibration = config.score_calibration
        self.sides = config.sides

    @cached_property
    def objects(self) -> tuple[Float[Tensor, "H W"], Float[Tensor, "H2 W2"]]:
        """How much each cell of the source, and of the target, belongs to the object."""
        return (
            object_likelihood(self.source, self.sides),
            object_likelihood(self.target, self.sides),
        )

    @cached_property
    def known(self) -> float:
        """The probability that both objects are of a kind that the side head knows."""
        if self.sides is None or self.source.sides is None or self.target.sides is None:
            return 0.0
        known0, known1 = (
            presence(each.objectness, self.sides) for each in (self.source.sides, self.target.sides)
        )
        return float((known0 * known1).sqrt())

    def evidence(
        self,
        cells_K2: Float[Tensor, "K 2"],
        targets_K2: Float[Tensor, "K 2"],
        confidence_K: Float[Tensor, "K"],
    ) -> MatchEvidence:
        """What is known of matches.

        Args:
            cells_K2: (x, y) of the points in source cells.
            targets_K2: (x, y) of their matches in target cells.
            confidence_K: of the matches, by cycle consistency (`match_confidence`).
        """
        ends = ((self.source, cells_K2), (self.target, targets_K2))
        queries = [matching.sample_descriptors(m.descriptors_HWC, at) for m, at in ends]
        object0, object1 = (
            matching.bilinear(likelihood[..., None], at)[:, 0]
            for likelihood, (_, at) in zip(self.objects, ends, strict=True)
        )
        apart = torch.zeros_like(confidence_K)
        sides0, sides1 = self.source.sides, self.target.sides
        if self.known > 0 and sides0 is not None and sides1 is not None:
            xyz0 = matching.bilinear(sides0.canonical_xyz, cells_K2)
            xyz1 = matching.bilinear(sides1.canonical_xyz, targets_K2)
            distance = torch.linalg.vector_norm(xyz0 - xyz1, dim=1)
            apart = self.known * distance.clamp_max(_FARTHEST)
        return MatchEvidence(
            confidence=confidence_K.clamp_min(1e-6).log(),
            similarity=(queries[0] * queries[1]).sum(1),
            source_object=object0,
            target_object=object1,
            coordinates=apart,
            pair_score=torch.full_like(confidence_K, self.pair_score),
        )

    def __call__(
        self,
        cells_K2: Float[Tensor, "K 2"],
        targets_K2: Float[Tensor, "K 2"],
        confidence_K: Float[Tensor, "K"],
    ) -> tuple[Float[Tensor, "K"], Bool[Tensor, "K"] | None]:
        """Scores of matches, and whether the target shows what the points are on.

        Arguments are those of `evidence`.

        Returns:
            Probabilities that they are right, and what is visible; without a calibration the
            confidence as it is, and None.
        """
        if self.calibration is None:
            return confidence_K, None
        evidence = self.evidence(cells_K2, targets_K2, confidence_K)
        visible = self.calibration.visible.probability(evidence) >= 0.5
        return self.calibration.right.probability(evidence), visible

    def distances(
        self,
        cells_K2: Float[Tensor, "K 2"],
        targets_K2: Float[Tensor, "K 2"],
        only: int | None = None,
    ) -> Float[Tensor, "P K"]:
        """How far matches are from each other, in shares of the objects' size.

        The smaller of the distances in the two images.

        Args:
            cells_K2: (x, y) of the points in source cells.
            targets_K2: (x, y) of their matches in target cells.
            only: the match whose distances are wanted; None for those of all.
        """
        rows = slice(None) if only is None else slice(only, only + 1)
        in_source, in_target = (
            torch.cdist(points[rows], points) / length
            for points, length in zip((cells_K2, targets_K2), self.lengths, strict=True)
        )
        return torch.minimum(in_source, in_target)

    def spread(
        self,
        cells_K2: Float[Tensor, "K 2"],
        targets_K2: Float[Tensor, "K 2"],
        quality_K: Float[Tensor, "K"],
        count: int,
    ) -> Int[Tensor, "P"]:
        """Indices of good matches that are far apart (`matching.spread_matches`).

        Args:
            cells_K2: (x, y) of the points in source cells.
            targets_K2: (x, y) of their matches in target cells.
            quality_K: larger is better.
            count: how many to return at most.
        """
        if len(quality_K) <= _ALL_DISTANCES:
            distances = self.distances(cells_K2, targets_K2)
            return matching.spread_matches(distances, quality_K, count)
        return matching.spread_matches(
            lambda match: self.distances(cells_K2, targets_K2, match)[0], quality_K, count
        )

    @cached_property
    def lengths(self) -> tuple[float, float]:
        """The longer edges of the two objects' boxes, in cells."""
        source, target = self.objects
        return _length(source), _length(target)


def _length(likelihood_HW: Float[Tensor, "H W"]) -> float:
    """The longer edge of the object's box, in cells; of the grid where nothing is an object."""
    cells = (likelihood_HW >= 0.5).nonzero()
    if not len(cells):
        return float(max(likelihood_HW.shape))
    return float((cells.amax(0) - cells.amin(0)).max() + 1)


def object_likelihood(found: DescriptorMap, config: SidesConfig | None) -> Float[Tensor, "H W"]:
    """How much each cell belongs to the object, 0 to 1, by all that is known.

    A mask says so. Otherwise it is the root of the side head's objectness, as far as the image
    shows an object of the kinds that it knows, and of the saliency, as far as it does not.

    Args:
        found: of the image.
        config: of the side head; None for a model without one.
    """
    salient = found.saliency_HW
    if found.sides is None or config is None or not torch.equal(found.matchable_HW, found.valid_HW):
        return salient.sqrt()
    known = presence(found.sides.objectness, config)
    return known * found.sides.objectness.sqrt() + (1 - known) * salient.sqrt()
