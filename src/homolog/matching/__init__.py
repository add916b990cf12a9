"""From descriptors to correspondences."""

from typing import Any

from homolog import moved
from homolog.matching.correspondence import (
    SCORE_TEMPERATURE,
    argmax,
    bilinear,
    dense,
    has_fast_bfloat16,
    mutual_nearest_neighbours,
    nearest_cells,
    nearest_neighbours,
    pair_score,
    sample,
    scores,
    similarity,
    spread,
    thinned_cells,
    way_back,
    window_log_mass,
    window_soft_argmax,
)
from homolog.matching.imd import instance_matching_distance

__all__ = [
    "SCORE_TEMPERATURE",
    "argmax",
    "bilinear",
    "dense",
    "has_fast_bfloat16",
    "instance_matching_distance",
    "mutual_nearest_neighbours",
    "nearest_cells",
    "nearest_neighbours",
    "pair_score",
    "sample",
    "scores",
    "similarity",
    "spread",
    "thinned_cells",
    "way_back",
    "window_log_mass",
    "window_soft_argmax",
]


def __getattr__(name: str) -> Any:
    return moved.attribute(__name__, name)
