"""Metrics of semantic correspondence, under a short name: `homolog.evaluation.metrics`."""

from typing import Any

from homolog import moved
from homolog.evaluation.metrics import (
    Estimate,
    PCKAccumulator,
    Row,
    average_precision,
    geometry_aware,
    group_errors,
    left_right_confusion,
    mirror_errors,
    mirror_split,
    nearest_is_right,
    pck_per_image,
    pck_per_point,
    relative_errors,
)
from homolog.utils.stats import bootstrap_ci

__all__ = [
    "Estimate",
    "PCKAccumulator",
    "Row",
    "average_precision",
    "bootstrap_ci",
    "geometry_aware",
    "group_errors",
    "left_right_confusion",
    "mirror_errors",
    "mirror_split",
    "nearest_is_right",
    "pck_per_image",
    "pck_per_point",
    "relative_errors",
]


def __getattr__(name: str) -> Any:
    return moved.attribute(__name__, name)
