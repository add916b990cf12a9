"""Adaptation: a matcher learns from images that nobody labelled.

The matcher's own matches, where they are consistent, are pseudo-labels for a small head that is
then mixed with the zero-shot similarity. After DIY-SC (Dünkel et al., 2025), whose head is trained
on one data set; here for any folder.
"""

from homolog.training.adaptation.config import (
    AdaptationConfig,
    HeadConfig,
    MiningConfig,
    SideTuningConfig,
)
from homolog.training.adaptation.run import AdaptationResult, adapt

__all__ = [
    "AdaptationConfig",
    "AdaptationResult",
    "HeadConfig",
    "MiningConfig",
    "SideTuningConfig",
    "adapt",
]
