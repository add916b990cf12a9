"""Metrics of semantic correspondence, under a short name: `homolog.evaluation.metrics`."""

from typing import Any

from homolog import moved
from homolog.evaluation.metrics import (
    Estimate,
    PCKAccumulator,
    Row,
    geometry_aware,
    left_right_confusion,
    pck_per_image,
    pck_per_point,
    relative_errors,
)
from homolog.utils.stats import bootstrap_ci

__all__ = [
    "Estimate",
    "PCKAccumulator",
    "Row",
    "bootstrap_ci",
    "geometry_aware",
    "left_right_confusion",
    "pck_per_image",
    "pck_per_point",
    "relative_errors",
]


def __getattr__(name: str) -> Any:
    return moved.attribute(__name__, name)
