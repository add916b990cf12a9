"""Evaluation: predictions of a matcher on a data set, metrics of them, reports."""

from typing import Any

from homolog import moved
from homolog.evaluation.metrics import score
from homolog.evaluation.predictions import ALIGNED, UNALIGNED, Predictions, read_predictions
from homolog.evaluation.run import MEMORY, evaluate, predict

__all__ = [
    "ALIGNED",
    "MEMORY",
    "UNALIGNED",
    "Predictions",
    "evaluate",
    "predict",
    "read_predictions",
    "score",
]


def __getattr__(name: str) -> Any:
    return moved.attribute(__name__, name)
