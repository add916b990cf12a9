"""Predict once, score as often as wanted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from jaxtyping import Float

from homolog.data import Annotation, DataSet, Pair
from homolog.data.pairs import Threshold
from homolog.descriptors import Features
from homolog.errors import HomologError
from homolog.evaluation.metrics import PCKAccumulator
from homolog.features import FeatureCache
from homolog.image.geometry import IDENTITY, PoseVariant
from homolog.matcher import Matcher
from homolog.utils.lru_cache import LRUCache
from homolog.utils.outputs import claim_run_dir
from homolog.utils.progress import ProgressBar
from homolog.utils.resume_log import read_complete_lines
from homolog.utils.serialization import to_plain

Predictions = Mapping[str, Float[np.ndarray, "K 2"]]
"""For each pair's name, (x, y) in pixels of the target for its keypoints in order; NaN for none."""

MEMORY = 4_000_000_000
"""Features kept in memory unless told otherwise, in bytes."""

ALIGNED = "predicted_xy_in_target_pixels"
UNALIGNED = "unaligned_xy_in_target_pixels"


def predict(
    matcher: Matcher,
    data: DataSet,
    folder: Path,
    *,
    poses: Sequence[PoseVariant] = (IDENTITY,),
    memory: int = MEMORY,
) -> Path:
    """Find all keypoints of all pairs; every picture goes through the backbone once a pose.

    The folder gets `run.json`, which says what is evaluated, and `predictions.jsonl`, a line for
    each pair as soon as it is done. An interrupted run goes on where it stopped. With several
    poses each line also has the points found without alignment.

    Args:
        matcher: finds the keypoints.
        data: the pairs.
        folder: made if it is not there.
        poses: of the source, for pose alignment.
        memory: bytes of features to keep in memory; what is more goes to the matcher's cache, or
            to a temporary one in the folder.

    Returns:
        The file of predictions.

    Raises:
        HomologError: there are no pairs, pictures are missing or broken, the folder holds another
            run, or it cannot be written.
    """
    if not data.pairs:
        raise HomologError(f"{data.root}: {data.name} has no pairs")
    for annotation in data.annotations:
        if not annotation.path.is_file():
            raise HomologError(f"{annotation.path}: there is no such picture ({annotation.name})")
    path = folder / "predictions.jsonl"
    claim_run_dir(folder, _describe(matcher, data, poses))
    done = _resume(path)
    todo = [pair for pair in data.pairs if pair.name not in done]
    try:
        with (
            _FeatureStore.open(matcher, poses, todo, memory, folder) as features,
            path.open("a", encoding="utf-8") as file,
            ProgressBar(len(todo)) as steps,
        ):
            for pair in todo:
                steps.update(f"predicting {data.name}")
                file.write(json.dumps(_predict_pair(matcher, data, pair, features, poses)) + "\n")
                file.flush()
    except OSError as error:
        raise HomologError(f"out: cannot write {path}: {error.strerror}") from error
    return path


def _predict_pair(
    matcher: Matcher,
    data: DataSet,
    pair: Pair,
    features: Callable[[Annotation], Features],
    poses: Sequence[PoseVariant],
) -> dict[str, Any]:
    source, target = features(pair.source), features(pair.target)
    # All visible keypoints are given: in a flipped picture, counterparts are looked up.
    given = np.flatnonzero(pair.source.visible)
    points = np.clip(pair.source.keypoints[given], 0, source.size)
    schema = data.schemas[pair.source.category]
    asked = np.searchsorted(given, pair.keypoint_ids)
    line: dict[str, Any] = {"pair": pair.name, "keypoint_ids": pair.keypoint_ids.tolist()}
    if len(given):
        aligned = matcher.pair(source, target, poses=poses, schema=schema)
        line[ALIGNED] = aligned.transfer_points(points, given.tolist())[asked].tolist()
        if len(poses) > 1:
            line[UNALIGNED] = matcher.pair(source, target).transfer_points(points[asked]).tolist()
    else:
        line[ALIGNED] = []
    return line


class _FeatureStore:
    """Features of pictures, those last used in memory, the others on disk."""

    def __init__(self, matcher: Matcher, poses: Sequence[PoseVariant], memory: int):
        self.matcher = matcher
        self.poses = tuple(dict.fromkeys((IDENTITY, *poses)))
        self.kept: LRUCache[tuple[Path, str], Features] = LRUCache(
            memory, lambda features: features.nbytes, min_items=2
        )  # both of a pair

    @classmethod
    @contextmanager
    def open(
        cls,
        matcher: Matcher,
        poses: Sequence[PoseVariant],
        pairs: Sequence[Pair],
        memory: int,
        folder: Path,
    ) -> Iterator[_FeatureStore]:
        """The store for some pairs; it caches on disk if memory will not do."""
        store = cls(matcher, poses, memory)
        pictures = {side.path for pair in pairs for side in (pair.source, pair.target)}
        if not pictures:
            yield store
            return
        one = store(pairs[0].source)
        if matcher.cache is not None or one.nbytes * len(pictures) <= memory:
            yield store
            return
        with TemporaryDirectory(dir=folder, prefix=".features-") as temporary:
            yield cls(matcher.with_cache(FeatureCache(temporary)), poses, memory)

    def __call__(self, annotation: Annotation) -> Features:
        path, category = annotation.path, annotation.category
        return self.kept.get(
            (path, category), lambda: self.matcher.extract(path, self.poses, category)
        )


def _describe(matcher: Matcher, data: DataSet, poses: Sequence[PoseVariant]) -> dict[str, Any]:
    """What decides predictions, to tell one run from another."""
    return {
        **data.fingerprint(),
        "model": to_plain(matcher.config),
        "weights": matcher.weights_digest,
        "poses": [pose.name for pose in poses],
    }


def _resume(path: Path) -> set[str]:
    """The pairs that are done; a line that was being written when a run stopped is taken off."""
    if not path.exists():
        return set()
    lines = read_complete_lines(path)
    try:
        return {json.loads(line)["pair"] for line in lines}
    except (ValueError, KeyError, TypeError):
        raise HomologError(f"out: {path} has lines that are not predictions") from None


def read_predictions(
    path: Path, data: DataSet, field: str = ALIGNED
) -> tuple[Predictions, list[str]]:
    """Anybody's predictions for a data set.

    Args:
        path: JSON lines, or one JSON list, of objects with `pair` (its name), `keypoint_ids` and
            the predicted (x, y) of each, in pixels of the target.
        data: the pairs.
        field: the name of the predicted points.

    Returns:
        Predictions of all pairs, and what there is to say about them: points that are missing or
        not numbers count as wrong.

    Raises:
        HomologError: the file cannot be read, an entry is malformed or there twice, or it names
            pairs or keypoints that the data set does not have; the message names the line.
    """
    pairs = {pair.name: pair for pair in data.pairs}
    found: dict[str, np.ndarray] = {}
    missing = not_numbers = 0
    for where, entry in _entries(path):
        try:
            name, ids = entry["pair"], [int(i) for i in entry["keypoint_ids"]]
            points = np.array(entry[field], dtype=float).reshape(-1, 2)
        except (KeyError, TypeError, ValueError):
            raise HomologError(
                f"{where}: is not a prediction: takes pair, keypoint_ids and {field}"
            ) from None
        if name not in pairs:
            raise HomologError(f"{where}: {data.name} has no pair {name!r}")
        if name in found:
            raise HomologError(f"{where}: pair {name!r} is there twice")
        if len(points) != len(ids) or len(set(ids)) != len(ids):
            raise HomologError(f"{where}: {len(points)} points for keypoint_ids {ids}")
        rows = {int(k): row for row, k in enumerate(pairs[name].keypoint_ids)}
        strange = [i for i in ids if i not in rows]
        if strange:
            raise HomologError(f"{where}: pair {name!r} does not ask for keypoints {strange}")
        found[name] = np.full((len(rows), 2), np.nan)
        found[name][[rows[i] for i in ids]] = points
        missing += len(rows) - len(ids)
        not_numbers += int((~np.isfinite(points).all(axis=1)).sum())
    absent = [name for name in pairs if name not in found]
    notes = []
    if absent:
        notes.append(f"{len(absent)} pairs have no prediction, such as {absent[0]}: counted wrong")
    if missing:
        notes.append(f"{missing} keypoints have no prediction: counted wrong")
    if not_numbers:
        notes.append(f"{not_numbers} predicted points are not numbers: counted wrong")
    for name in absent:
        found[name] = np.full((len(pairs[name].keypoint_ids), 2), np.nan)
    return found, notes


def _entries(path: Path) -> Iterator[tuple[str, Any]]:
    """Each prediction and where it stands."""
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise HomologError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise HomologError(f"{path}: is not text") from None
    if text.lstrip().startswith("["):
        try:
            entries = json.loads(text)
        except json.JSONDecodeError as error:
            raise HomologError(f"{path}, line {error.lineno}: {error.msg}") from None
        for index, entry in enumerate(entries):
            yield f"{path}, entry {index}", entry
        return
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                yield f"{path}, line {number}", json.loads(line)
            except json.JSONDecodeError as error:
                raise HomologError(f"{path}, line {number}: {error.msg}") from None


def score(
    data: DataSet,
    predictions: Predictions,
    *,
    threshold: Threshold | None = None,
    alphas: Sequence[float] | None = None,
) -> PCKAccumulator:
    """The predictions of all pairs, ready to be asked for figures.

    Args:
        data: the pairs.
        predictions: for each pair's name, the points found.
        threshold: what alpha multiplies, if not the data set's own.
        alphas: the thresholds, if not the data set's own.
    """
    accumulator = PCKAccumulator(data, threshold, alphas)
    for pair in data.pairs:
        accumulator.add(pair, predictions[pair.name])
    return accumulator
