"""Calibration of matching scores: from what is known of a match to probabilities."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class MatchEvidence:
    """What is known of K matches, from which it is told whether they are right.

    Attributes:
        confidence: the logarithm of cycle consistency in probability (`match_confidence`).
        similarity: cosine similarity of the two points' descriptors.
        source_object: how much the source's point belongs to the object, 0 to 1.
        target_object: the same of the target's point.
        coordinates: the distance of the two points' canonical coordinates; 0 where a side head
            does not recognise both objects.
        pair_score: how similar the two objects are (`pair_similarity`), the same for all matches.
    """

    confidence: Float[Tensor, "K"]
    similarity: Float[Tensor, "K"]
    source_object: Float[Tensor, "K"]
    target_object: Float[Tensor, "K"]
    coordinates: Float[Tensor, "K"]
    pair_score: Float[Tensor, "K"]

    def columns(self) -> Float[Tensor, "K E"]:
        """One kind of evidence a column, in the order of the attributes."""
        values = [getattr(self, each.name) for each in dataclasses.fields(self)]
        return torch.stack([each.double() for each in values], dim=1)


@dataclass(frozen=True)
class MatchWeights:
    """A logistic model of a match: what each kind of `MatchEvidence` adds to the logit, in units.

    Attributes:
        offset: the logit where there is no evidence at all.
    """

    confidence: float
    similarity: float
    source_object: float
    target_object: float
    coordinates: float
    pair_score: float
    offset: float

    def probability(self, evidence: MatchEvidence) -> Float[Tensor, "K"]:
        """The probability of each match.

        Args:
            evidence: of the matches.
        """
        *weights, offset = dataclasses.astuple(self)
        columns = evidence.columns()
        return torch.sigmoid(columns @ columns.new_tensor(weights) + offset)


@dataclass(frozen=True)
class ScoreCalibration:
    """What makes matching scores probabilities. It depends on the descriptors of a model.

    Attributes:
        right: that a match is right within a tenth of the object's size.
        visible: that the point lies on the object, and that the target shows the same part of it.
    """

    right: MatchWeights
    visible: MatchWeights
