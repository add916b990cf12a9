"""Validation: scores of the weights so far on held-out pairs, shared by all processes of a run."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float

from homolog.data import DataSet
from homolog.evaluation.estimates import metric_name
from homolog.evaluation.metrics import PCKAccumulator
from homolog.evaluation.views import FeatureStore, ObjectViews, queries
from homolog.matcher import Matcher
from homolog.training.distributed import SINGLE_PROCESS, Process

FEATURE_BYTES = 2_000_000_000
"""Memory for the features of validation objects; those used least recently are extracted again."""


@torch.no_grad()
def validate(
    matcher: Matcher,
    data: DataSet,
    process: Process = SINGLE_PROCESS,
    max_bytes: int = FEATURE_BYTES,
) -> PCKAccumulator:
    """The PCK of a matcher on a validation set; each process matches its share of the pairs.

    Objects that share an image are matched in the regions around their boxes.

    Args:
        matcher: with the weights so far.
        data: the held-out pairs.
        process: this process among those of the run; all must take part, and get the same result.
        max_bytes: memory for features, in bytes; those of one pair are held in any case.

    Raises:
        HomologError: an image cannot be read.
    """
    features = FeatureStore(matcher, ObjectViews.of(data), max_bytes=max_bytes)
    predicted: dict[int, Float[np.ndarray, "K 2"]] = {}
    # Neighbouring pairs mostly share their source, so each process gets a run of them.
    for index in np.array_split(np.arange(len(data.pairs)), process.world_size)[process.rank]:
        pair = data.pairs[int(index)]
        source, target = features(pair.source), features(pair.target)
        points = queries(pair.source.keypoints[pair.keypoint_ids], source)
        predicted[int(index)] = matcher.pair(source, target).transfer_points(points)
        del source, target  # before others are extracted
    accumulator = PCKAccumulator(data)
    for part in process.gather(predicted):
        for index, points in part.items():
            accumulator.add(data.pairs[index], points)
    return accumulator


def summarise(accumulator: PCKAccumulator) -> dict[str, float]:
    """The scores that a run logs: `pck`, by which the best weights are chosen, comes first.

    Args:
        accumulator: with all pairs of the validation set.
    """
    rows = {row.kind: row.estimates for row in accumulator.rows() if not row.label}
    wide, fine = (metric_name("pck", alpha) for alpha in accumulator.alphas[:2])
    scores = {"pck": rows["per_image"][wide].value, "fine pck": rows["per_image"][fine].value}
    if "geometry_aware_per_image" in rows:
        scores["geometry-aware pck"] = rows["geometry_aware_per_image"][wide].value
    if "left_right_confusion" in rows:
        scores["confusion"] = rows["left_right_confusion"]["share"].value
    return scores
