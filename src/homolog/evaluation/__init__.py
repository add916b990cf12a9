"""Predict once, score as often as wanted: predictions, metrics, reports."""

from typing import Any

from homolog import moved
from homolog.evaluation.predictions import (
    ALIGNED,
    MEMORY,
    UNALIGNED,
    Predictions,
    predict,
    read_predictions,
    score,
)

__all__ = [
    "ALIGNED",
    "MEMORY",
    "UNALIGNED",
    "Predictions",
    "predict",
    "read_predictions",
    "score",
]


def __getattr__(name: str) -> Any:
    return moved.attribute(__name__, name)
