"""The short name of `homolog.evaluation.metrics`."""

from homolog.evaluation.metrics import (
    Accumulator,
    Figure,
    Row,
    geometry_aware,
    left_right_confusion,
    pck_per_image,
    pck_per_point,
    relative_errors,
)
from homolog.utils.stats import bootstrap

__all__ = [
    "Accumulator",
    "Figure",
    "Row",
    "bootstrap",
    "geometry_aware",
    "left_right_confusion",
    "pck_per_image",
    "pck_per_point",
    "relative_errors",
]
