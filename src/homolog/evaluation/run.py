"""Running a matcher on all pairs of a data set, and reporting how accurate it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from homolog.data import Annotation, DataSet, Pair
from homolog.descriptors import Features
from homolog.errors import HomologError
from homolog.evaluation import kap
from homolog.evaluation.charts import plot_best_and_worst, plot_pck
from homolog.evaluation.estimates import as_alphas
from homolog.evaluation.metrics import score
from homolog.evaluation.predictions import (
    UNALIGNED,
    PairDetails,
    PairPrediction,
    read_predictions,
    to_record,
)
from homolog.evaluation.report import Report
from homolog.evaluation.views import Boxes, FeatureStore, ObjectViews, queries
from homolog.image.poses import IDENTITY, PoseVariant
from homolog.keypoints import check_flips
from homolog.matcher import Matcher
from homolog.utils.locks import lock_folder
from homolog.utils.outputs import claim_run_dir
from homolog.utils.progress import ProgressBar
from homolog.utils.resume_log import ResumeLog
from homolog.utils.serialization import to_plain
from homolog.zoom import Zoom

MEMORY = 4_000_000_000
"""Bytes of features that are kept in memory by default."""


def predict(
    matcher: Matcher,
    data: DataSet,
    folder: Path,
    *,
    poses: Sequence[PoseVariant] = (IDENTITY,),
    boxes: Boxes = None,
    zoom: Zoom = None,
    mirror: bool = False,
    refine: bool = False,
    memory: int = MEMORY,
) -> Path:
    """Predict all keypoints of all pairs, with one backbone pass for each object and pose.

    The folder gets `run.json`, which identifies the run, and `predictions.jsonl`, a line for each
    pair as soon as it is done. An interrupted run resumes there. Each line also has what KAP and
    GECO's n01 are computed from, and with several poses the points predicted without alignment.

    Args:
        matcher: the matcher to evaluate.
        data: the data set.
        folder: created if it does not exist.
        poses: of the source, for pose alignment.
        boxes: `annotated` to match in the regions around the objects' boxes, `none` to match whole
            images; None for boxes where an image has several objects.
        zoom: `auto` for a second look at each object that does not fill its image.
        mirror: whether to look at every image mirrored, too.
        refine: whether to look for matches again, in closer looks.
        memory: bytes of features to keep in memory; the others are in the matcher's cache, or in a
            temporary one in the folder.

    Returns:
        The file of predictions.

    Raises:
        HomologError: there are no pairs, images are missing or broken, poses are flipped and the
            keypoints' sides are not known, the box of an object that shares its image cannot be
            right, the folder has another run, is in use, or cannot be written.
    """
    views = _views(data, poses, boxes, zoom, mirror, refine)
    with lock_folder(folder):
        return _predict(matcher, data, folder, poses, views, memory)


def _views(
    data: DataSet,
    poses: Sequence[PoseVariant],
    boxes: Boxes,
    zoom: Zoom,
    mirror: bool,
    refine: bool,
) -> ObjectViews:
    """How the objects of a data set are shown, after a check of its images and of the poses."""
    check_flips(data.schemas, poses)
    if not data.pairs:
        raise HomologError(f"{data.root}: expected pairs in {data.name}, got none")
    for annotation in data.annotations:
        if not annotation.path.is_file():
            raise HomologError(
                f"{annotation.path}: expected the image of {annotation.name}, got none"
            )
    return ObjectViews.of(data, boxes, zoom, mirror, refine)


def _predict(
    matcher: Matcher,
    data: DataSet,
    folder: Path,
    poses: Sequence[PoseVariant],
    views: ObjectViews,
    memory: int,
) -> Path:
    """As `predict`, of objects that are shown in a certain way, while the folder is locked."""
    path = folder / "predictions.jsonl"
    claim_run_dir(folder, _run_identity(matcher, data, poses, views))
    log = ResumeLog(path, "pair")
    done = log.records
    remaining = data.select([i for i, pair in enumerate(data.pairs) if pair.name not in done])
    with (
        FeatureStore.open(matcher, views, remaining, poses, memory, folder) as features,
        log,
        ProgressBar(len(remaining.pairs)) as progress,
    ):
        for pair in remaining.pairs:
            progress.update(f"predicting {data.name}")
            found = predict_pair(matcher, data, pair, features, poses, views.refine)
            log.append(to_record(pair, found))
    return path


def predict_pair(
    matcher: Matcher,
    data: DataSet,
    pair: Pair,
    features: Callable[[Annotation], Features],
    poses: Sequence[PoseVariant],
    refine: bool = False,
) -> PairPrediction:
    """Predict all keypoints of one pair that the source shows, in pixels of the target.

    Args:
        matcher: the matcher.
        data: has the keypoints' schemas, and the thresholds at which similarities are kept.
        pair: the pair.
        features: returns the features of an annotated object, or of its image.
        poses: of the source, for pose alignment.
        refine: whether to look for matches again, in closer looks.
    """
    source, target = features(pair.source), features(pair.target)
    # All visible keypoints are given: in a flipped image, mirror counterparts are looked up.
    given = np.flatnonzero(pair.source.visible)
    hidden = np.setdiff1d(given, np.flatnonzero(pair.target.visible))
    if len(given) == 0:
        nothing = np.empty((0, 2))
        return PairPrediction(
            nothing, None if len(poses) == 1 else nothing, PairDetails(hidden, nothing)
        )
    points = queries(pair.source.keypoints[given], source)
    rows = np.searchsorted(given, pair.keypoint_ids)
    schema = data.schemas[pair.source.category]
    aligned = matcher.pair(source, target, poses=poses, schema=schema, refine=refine)
    predicted, maps = aligned.transfer_with_maps(points, given.tolist())
    details = PairDetails(
        hidden, predicted[np.searchsorted(given, hidden)],
        kap.of_pair(pair, given, maps, data.threshold, as_alphas(data.alphas)),
    )  # fmt: skip
    unaligned = None
    if len(poses) > 1:
        alone = matcher.pair(source, target, refine=refine)
        unaligned = alone.transfer_points(points[rows])
    return PairPrediction(predicted[rows], unaligned, details)


def evaluate(
    matcher: Matcher,
    data: DataSet,
    folder: Path,
    model: str,
    poses: Sequence[PoseVariant] = (IDENTITY,),
    poses_name: str = "none",
    boxes: Boxes = None,
    zoom: Zoom = None,
    memory: int = MEMORY,
    mirror: bool = False,
    refine: bool = False,
) -> Report:
    """Predict all keypoints, score them, and write tables, predictions and charts into a folder.

    Args:
        matcher: the matcher to evaluate.
        data: the data set.
        folder: created if it does not exist; an interrupted evaluation in it resumes.
        model: the matcher's name in the tables.
        poses: of the source, for pose alignment.
        poses_name: their name in the tables.
        boxes: as for `predict`.
        zoom: as for `predict`.
        mirror: as for `predict`.
        refine: as for `predict`.
        memory: bytes of features to keep in memory.

    Raises:
        HomologError: as `predict`.
    """
    views = _views(data, poses, boxes, zoom, mirror, refine)
    with lock_folder(folder):
        path = _predict(matcher, data, folder, poses, views, memory)
        return _report(path, data, folder, model, poses, poses_name, views)


def _report(
    path: Path,
    data: DataSet,
    folder: Path,
    model: str,
    poses: Sequence[PoseVariant],
    poses_name: str,
    views: ObjectViews,
) -> Report:
    """Score a file of predictions, and write tables and charts into a folder."""
    predictions, notes = read_predictions(path, data)
    scored, unaligned = score(data, predictions), None
    if len(poses) > 1:
        unaligned = score(data, read_predictions(path, data, UNALIGNED)[0])
    report = Report.of(data, scored, model, notes, poses_name, unaligned, views)
    report.write(folder)
    plot_pck(folder, report, scored, unaligned)
    plot_best_and_worst(folder, scored, predictions)
    return report


def _run_identity(
    matcher: Matcher, data: DataSet, poses: Sequence[PoseVariant], views: ObjectViews
) -> dict[str, Any]:
    """What predictions depend on, to tell one run from another."""
    return {
        **data.fingerprint(),
        "model": to_plain(matcher.config),
        "weights": matcher.weights_digest,
        "poses": [pose.name for pose in poses],
        **views.identity(),
    }
