"""Probabilities of labels: how often such an answer has been right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from homolog.utils.stats import fit_logistic, sigmoid

# Logistic regression of "within a tenth of the box" on the evidence (docs/experiments.md).
_WEIGHTS = (3.5, 1.7, 0.9, 1.25)
_BIAS = -4.1

_PER_PICTURE = 4.0  # independent answers that a picture's points are worth: they fail together
_SPREADS = (0.5, 1.5)  # of slope and offset around the default's, before exemplars are seen


@dataclass(frozen=True)
class Calibration:
    """Turns evidence into a probability.

    Attributes:
        slope: of the logit, 1 for the default's.
        offset: added to it.
    """

    slope: float = 1.0
    offset: float = 0.0

    def probability(self, evidence: Float[np.ndarray, "K 4"]) -> Float[np.ndarray, "K"]:
        """The probability that each answer is right."""
        return sigmoid(self.slope * _logit(evidence) + self.offset)

    def adapted(
        self,
        evidence: Float[np.ndarray, "N 4"],
        right: Bool[np.ndarray, "N"],
        pictures: Int[np.ndarray, "N"],
    ) -> Calibration:
        """The calibration that answers with a known outcome make of the default.

        The most probable slope and offset, with normal distributions around the default's before.

        Args:
            evidence: a row for each answer.
            right: which of them were.
            pictures: the picture that each is on; a picture's answers fail together, and count as
                four at most.
        """
        _, place, counts = np.unique(pictures, return_inverse=True, return_counts=True)
        weights = np.minimum(1, _PER_PICTURE / counts)[place]
        logits = _logit(evidence)
        slope, offset = fit_logistic(logits, right, weights, (1.0, 0.0), _SPREADS)
        return Calibration(max(slope, 0.05), offset)


TRAINED = Calibration(offset=-1.0)
"""For networks: their maps are clearer than right (docs/experiments.md)."""


def _logit(evidence: Float[np.ndarray, "N 4"]) -> Float[np.ndarray, "N"]:
    return evidence @ np.array(_WEIGHTS) + _BIAS
