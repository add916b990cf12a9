"""Running a matcher on all pairs of a data set, and reporting how accurate it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from jaxtyping import Float

from homolog.data import Annotation, DataSet, Pair
from homolog.descriptors import Features
from homolog.errors import HomologError
from homolog.evaluation.charts import plot_best_and_worst, plot_pck
from homolog.evaluation.metrics import score
from homolog.evaluation.predictions import UNALIGNED, read_predictions, to_record
from homolog.evaluation.report import Report
from homolog.features import FeatureCache
from homolog.image.geometry import IDENTITY, PoseVariant
from homolog.matcher import Matcher
from homolog.utils.lru_cache import LRUCache
from homolog.utils.outputs import claim_run_dir
from homolog.utils.progress import ProgressBar
from homolog.utils.resume_log import ResumeLog
from homolog.utils.serialization import to_plain

MEMORY = 4_000_000_000
"""Bytes of features that are kept in memory by default."""


def predict(
    matcher: Matcher,
    data: DataSet,
    folder: Path,
    *,
    poses: Sequence[PoseVariant] = (IDENTITY,),
    memory: int = MEMORY,
) -> Path:
    """Predict all keypoints of all pairs, with one backbone pass for each image and pose.

    The folder gets `run.json`, which identifies the run, and `predictions.jsonl`, a line for each
    pair as soon as it is done. An interrupted run resumes there. With several poses each line also
    has the points predicted without alignment.

    Args:
        matcher: the matcher to evaluate.
        data: the data set.
        folder: created if it does not exist.
        poses: of the source, for pose alignment.
        memory: bytes of features to keep in memory; the others are in the matcher's cache, or in a
            temporary one in the folder.

    Returns:
        The file of predictions.

    Raises:
        HomologError: there are no pairs, images are missing or broken, the folder has another run,
            or it cannot be written.
    """
    if not data.pairs:
        raise HomologError(f"{data.root}: expected pairs in {data.name}, got none")
    for annotation in data.annotations:
        if not annotation.path.is_file():
            raise HomologError(
                f"{annotation.path}: expected the image of {annotation.name}, got none"
            )
    path = folder / "predictions.jsonl"
    claim_run_dir(folder, _run_identity(matcher, data, poses))
    log = ResumeLog(path, "pair")
    done = log.records
    remaining = data.select([i for i, pair in enumerate(data.pairs) if pair.name not in done])
    with (
        _FeatureStore.open(matcher, poses, remaining, memory, folder) as features,
        log,
        ProgressBar(len(remaining.pairs)) as progress,
    ):
        for pair in remaining.pairs:
            progress.update(f"predicting {data.name}")
            log.append(to_record(pair, *predict_pair(matcher, data, pair, features, poses)))
    return path


def predict_pair(
    matcher: Matcher,
    data: DataSet,
    pair: Pair,
    features: Callable[[Annotation], Features],
    poses: Sequence[PoseVariant],
) -> tuple[Float[np.ndarray, "K 2"], Float[np.ndarray, "K 2"] | None]:
    """Predict the keypoints of one pair in pixels of the target.

    Args:
        matcher: the matcher.
        data: has the keypoints' schemas.
        pair: the pair.
        features: returns the features of an annotation's image.
        poses: of the source, for pose alignment.

    Returns:
        The points (x, y) for its `keypoint_ids`, and those without alignment if there are several
        poses.
    """
    source, target = features(pair.source), features(pair.target)
    # All visible keypoints are given: in a flipped image, mirror counterparts are looked up.
    given = np.flatnonzero(pair.source.visible)
    if len(given) == 0:
        nothing = np.empty((0, 2))
        return nothing, None if len(poses) == 1 else nothing
    points = np.clip(pair.source.keypoints[given], 0, source.size)
    rows = np.searchsorted(given, pair.keypoint_ids)
    schema = data.schemas[pair.source.category]
    aligned = matcher.pair(source, target, poses=poses, schema=schema)
    predicted = aligned.transfer_points(points, given.tolist())[rows]
    if len(poses) == 1:
        return predicted, None
    return predicted, matcher.pair(source, target).transfer_points(points[rows])


def evaluate(
    matcher: Matcher,
    data: DataSet,
    folder: Path,
    model: str,
    poses: Sequence[PoseVariant] = (IDENTITY,),
    poses_name: str = "none",
    memory: int = MEMORY,
) -> Report:
    """Predict all keypoints, score them, and write tables, predictions and charts into a folder.

    Args:
        matcher: the matcher to evaluate.
        data: the data set.
        folder: created if it does not exist; an interrupted evaluation in it resumes.
        model: the matcher's name in the tables.
        poses: of the source, for pose alignment.
        poses_name: their name in the tables.
        memory: bytes of features to keep in memory.

    Raises:
        HomologError: as `predict`.
    """
    path = predict(matcher, data, folder, poses=poses, memory=memory)
    predictions, notes = read_predictions(path, data)
    scored, unaligned = score(data, predictions), None
    if len(poses) > 1:
        unaligned = score(data, read_predictions(path, data, UNALIGNED)[0])
    report = Report.of(data, scored, model, notes, poses_name, unaligned)
    report.write(folder)
    plot_pck(folder, report, scored, unaligned)
    plot_best_and_worst(folder, scored, predictions)
    return report


class _FeatureStore:
    """Features of images by their annotation: the latest in memory, the others on disk."""

    def __init__(self, matcher: Matcher, poses: Sequence[PoseVariant], memory: int):
        self.matcher = matcher
        self.poses = tuple(dict.fromkeys((IDENTITY, *poses)))
        # Both images of a pair must fit.
        self.features: LRUCache[tuple[Path, str], Features] = LRUCache(
            memory, lambda features: features.nbytes, min_items=2
        )

    @classmethod
    @contextmanager
    def open(
        cls,
        matcher: Matcher,
        poses: Sequence[PoseVariant],
        data: DataSet,
        memory: int,
        folder: Path,
    ) -> Iterator[_FeatureStore]:
        """A store for the images of a data set; with a cache on disk if they exceed the memory."""
        store = cls(matcher, poses, memory)
        images = {annotation.path for annotation in data.annotations}
        if not images:
            yield store
            return
        one = store(data.pairs[0].source)
        if matcher.cache is not None or one.nbytes * len(images) <= memory:
            yield store
            return
        try:
            temporary = TemporaryDirectory(dir=folder, prefix=".features-")
        except OSError as error:
            raise HomologError(f"out: cannot write {folder}: {error.strerror}") from error
        with temporary as name:
            yield cls(matcher.with_cache(FeatureCache(name)), poses, memory)

    def __call__(self, annotation: Annotation) -> Features:
        path, category = annotation.path, annotation.category
        return self.features.get(
            (path, category), lambda: self.matcher.extract(path, self.poses, category)
        )


def _run_identity(matcher: Matcher, data: DataSet, poses: Sequence[PoseVariant]) -> dict[str, Any]:
    """What predictions depend on, to tell one run from another."""
    return {
        **data.fingerprint(),
        "model": to_plain(matcher.config),
        "weights": matcher.weights_digest,
        "poses": [pose.name for pose in poses],
    }
