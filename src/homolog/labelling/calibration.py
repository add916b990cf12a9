"""Calibration: the probability that a predicted keypoint is correct."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from homolog.utils.stats import fit_logistic, sigmoid

# Logistic regression of "within a tenth of the box" on confidence features (docs/experiments.md).
_WEIGHTS = (3.5, 1.7, 0.9, 1.25)
_BIAS = -4.1

# The predictions of one image are not independent; together they count as this many that are.
_INDEPENDENT_PER_IMAGE = 4.0
_PRIOR_STDDEVS = (0.5, 1.5)  # of slope and offset around the default's


@dataclass(frozen=True)
class Calibration:
    """Turns confidence features of predicted keypoints into probabilities of being correct.

    Attributes:
        slope: factor of the default calibration's logit; 1 for the default.
        offset: added to it; 0 for the default.
    """

    slope: float = 1.0
    offset: float = 0.0

    def probability(self, confidence_features: Float[np.ndarray, "K 4"]) -> Float[np.ndarray, "K"]:
        """The probability that each prediction is correct.

        Args:
            confidence_features: a row for each prediction (`KeypointPrediction`).
        """
        return sigmoid(self.slope * _logit(confidence_features) + self.offset)

    def refit(
        self,
        confidence_features: Float[np.ndarray, "N 4"],
        correct: Bool[np.ndarray, "N"],
        images: Int[np.ndarray, "N"],
    ) -> Calibration:
        """The calibration fitted to predictions whose truth is known.

        The slope and offset of greatest posterior probability, under normal priors around the
        default's.

        Args:
            confidence_features: a row for each prediction.
            correct: which predictions are correct.
            images: index of the image that each prediction is on; all predictions of one image
                count as four at most, because they are not independent.
        """
        _, group, counts = np.unique(images, return_inverse=True, return_counts=True)
        weights = np.minimum(1, _INDEPENDENT_PER_IMAGE / counts)[group]
        logits = _logit(confidence_features)
        slope, offset = fit_logistic(logits, correct, weights, (1.0, 0.0), _PRIOR_STDDEVS)
        return Calibration(max(slope, 0.05), offset)


TRAINED = Calibration(offset=-1.0)
"""For trained post-processors, whose similarity maps are overconfident (docs/experiments.md)."""


def _logit(confidence_features: Float[np.ndarray, "N 4"]) -> Float[np.ndarray, "N"]:
    return confidence_features @ np.array(_WEIGHTS) + _BIAS
