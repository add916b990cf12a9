"""From descriptors to correspondences; everything here works on cells and knows no images."""

from typing import Any

from homolog import moved
from homolog.matching.confidence import (
    SCORE_TEMPERATURE,
    cycle_confidence,
    cycle_log_prob,
    match_confidence,
    pair_similarity,
    window_log_prob,
)
from homolog.matching.dense_matching import dense_matches, spread_matches
from homolog.matching.imd import instance_matching_distance, saliency_weighted_imd
from homolog.matching.neighbours import (
    has_fast_bfloat16,
    mutual_nearest_neighbours,
    nearest_neighbours,
)
from homolog.matching.sampling import (
    bilinear,
    nearest_cells,
    sample_descriptors,
    subsample_cells,
)
from homolog.matching.soft_argmax import (
    argmax,
    similarity,
    suppressed_soft_argmax,
    window_soft_argmax,
)

__all__ = [
    "SCORE_TEMPERATURE",
    "argmax",
    "bilinear",
    "cycle_confidence",
    "cycle_log_prob",
    "dense_matches",
    "has_fast_bfloat16",
    "instance_matching_distance",
    "match_confidence",
    "mutual_nearest_neighbours",
    "nearest_cells",
    "nearest_neighbours",
    "pair_similarity",
    "saliency_weighted_imd",
    "sample_descriptors",
    "similarity",
    "spread_matches",
    "subsample_cells",
    "suppressed_soft_argmax",
    "window_log_prob",
    "window_soft_argmax",
]


def __getattr__(name: str) -> Any:
    return moved.attribute(__name__, name)
