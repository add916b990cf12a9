"""Files of predicted keypoints, one JSON object for each pair."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from jaxtyping import Float, Int

from homolog.data import DataSet, Pair
from homolog.data.pairs import Threshold
from homolog.data.reading import unreadable
from homolog.errors import HomologError
from homolog.evaluation.estimates import as_alphas
from homolog.evaluation.kap import BestSimilarities
from homolog.utils.json_text import parse_json

Predictions = Mapping[str, Float[np.ndarray, "K 2"]]
"""By the name of each pair, (x, y) in pixels of the target for its keypoints in order; NaN for a
keypoint without prediction."""

ALIGNED = "predicted_xy_in_target_pixels"
UNALIGNED = "unaligned_xy_in_target_pixels"
SOURCE_ONLY_IDS = "source_only_keypoint_ids"
SOURCE_ONLY = "source_only_xy_in_target_pixels"
SIMILARITIES = "similarities"


@dataclass(frozen=True, eq=False)
class PairDetails:
    """What is predicted of a pair besides its keypoints: what KAP and GECO's n01 are made of.

    Attributes:
        source_only_ids: keypoints that the source shows and the target does not.
        source_only_Q2: where they are predicted all the same, (x, y) in pixels of the target.
        similarities: the largest similarities of all keypoints that the source shows.
    """

    source_only_ids: Int[np.ndarray, "Q"]
    source_only_Q2: Float[np.ndarray, "Q 2"]
    similarities: BestSimilarities | None = None


@dataclass(frozen=True, eq=False)
class PairPrediction:
    """What a matcher predicts of a pair.

    Attributes:
        aligned_K2: the points of its `keypoint_ids`, (x, y) in pixels of the target.
        unaligned_K2: those without pose alignment, if it was used.
        details: what else it predicts.
    """

    aligned_K2: Float[np.ndarray, "K 2"]
    unaligned_K2: Float[np.ndarray, "K 2"] | None
    details: PairDetails


class PredictedPairs(dict[str, Float[np.ndarray, "K 2"]]):
    """Predictions of all pairs of a data set (`Predictions`), and what else is in their file.

    Attributes:
        details: by the name of each pair, where its line has them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.details: dict[str, PairDetails] = {}


def to_record(pair: Pair, predicted: PairPrediction) -> dict[str, Any]:
    """The record of one pair in a file of predictions.

    Args:
        pair: the pair.
        predicted: what was predicted of it.
    """
    details = predicted.details
    record: dict[str, Any] = {
        "pair": pair.name,
        "keypoint_ids": pair.keypoint_ids.tolist(),
        ALIGNED: predicted.aligned_K2.tolist(),
    }
    if predicted.unaligned_K2 is not None:
        record[UNALIGNED] = predicted.unaligned_K2.tolist()
    record[SOURCE_ONLY_IDS] = details.source_only_ids.tolist()
    record[SOURCE_ONLY] = details.source_only_Q2.tolist()
    if (found := details.similarities) is not None:
        record[SIMILARITIES] = {
            "keypoint_ids": found.ids_S.tolist(),
            "threshold": found.threshold,
            "alphas": list(found.alphas),
            "inside": _rounded(found.inside_SA),
            "outside": _rounded(found.outside_SA),
        }
    return record


def _rounded(values_SA: Float[np.ndarray, "S A"]) -> list[list[float | None]]:
    """Similarities with seven decimals, null for NaN."""
    return [
        [None if np.isnan(value) else round(float(value), 7) for value in row] for row in values_SA
    ]


def read_predictions(
    path: Path, data: DataSet, field: str = ALIGNED
) -> tuple[Predictions, list[str]]:
    """Read the predictions of any method for a data set.

    Args:
        path: JSON lines, or one JSON list, of objects with `pair` (its name), `keypoint_ids` and
            the predicted (x, y) of each, in pixels of the target. What KAP and n01 need is read
            where it is there.
        data: the data set.
        field: the name of the member with the predicted points.

    Returns:
        Predictions of all pairs, and notes about those that are missing or not finite, which count
        as wrong.

    Raises:
        HomologError: the file cannot be read, an entry is malformed or repeated, or it names pairs
            or keypoints that are not in the data set; the message says in which line.
    """
    predictions, notes = read_given(path, data, field)
    absent = [pair for pair in data.pairs if pair.name not in predictions]
    if absent:
        notes.insert(
            0,
            f"{len(absent)} pairs have no prediction, such as {absent[0].name}: counted wrong",
        )
    for pair in absent:
        predictions[pair.name] = np.full((len(pair.keypoint_ids), 2), np.nan)
    return predictions, notes


def read_given(path: Path, data: DataSet, field: str = ALIGNED) -> tuple[PredictedPairs, list[str]]:
    """Read the predictions of those pairs that a file has; otherwise as `read_predictions`."""
    pairs = {pair.name: pair for pair in data.pairs}
    predictions = PredictedPairs()
    missing = not_finite = 0
    for location, entry in _entries(path):
        try:
            name, ids = entry["pair"], [int(i) for i in entry["keypoint_ids"]]
            points = np.array(entry[field], dtype=float).reshape(-1, 2)
        except (ArithmeticError, KeyError, TypeError, ValueError):
            raise HomologError(
                f"{location}: expected pair, keypoint_ids and {field}, got {str(entry)[:60]}"
            ) from None
        if name not in pairs:
            raise HomologError(f"{location}: pair: expected one of {data.name}, got {name!r}")
        if name in predictions:
            raise HomologError(f"{location}: pair: expected each pair once, got {name!r} again")
        if len(set(ids)) != len(ids):
            raise HomologError(f"{location}: keypoint_ids: expected each keypoint once, got {ids}")
        if len(points) != len(ids):
            raise HomologError(
                f"{location}: {field}: expected a point for each of keypoint_ids {ids}, "
                f"got {len(points)} points"
            )
        rows = {int(k): row for row, k in enumerate(pairs[name].keypoint_ids)}
        if unknown := [i for i in ids if i not in rows]:
            raise HomologError(
                f"{location}: keypoint_ids: expected those of pair {name!r}, {sorted(rows)}, "
                f"got {unknown}"
            )
        predictions[name] = np.full((len(rows), 2), np.nan)
        predictions[name][[rows[i] for i in ids]] = points
        if field == ALIGNED and (details := _details(location, entry, pairs[name])) is not None:
            predictions.details[name] = details
        missing += len(rows) - len(ids)
        not_finite += int((~np.isfinite(points).all(axis=1)).sum())
    notes = []
    if missing:
        notes.append(f"{missing} keypoints have no prediction: counted wrong")
    if not_finite:
        notes.append(f"{not_finite} predicted points are not finite: counted wrong")
    return predictions, notes


def _details(location: str, entry: Mapping[str, Any], pair: Pair) -> PairDetails | None:
    """What KAP and n01 need of a pair; None if an entry has nothing of it.

    Raises:
        HomologError: something of it is malformed.
    """
    if not {SOURCE_ONLY_IDS, SOURCE_ONLY, SIMILARITIES} & entry.keys():
        return None
    shown = np.flatnonzero(pair.source.visible)
    hidden = np.setdiff1d(shown, np.flatnonzero(pair.target.visible))
    try:
        ids = _ids(entry.get(SOURCE_ONLY_IDS, []), hidden, "that only the source shows")
        points = np.array(entry.get(SOURCE_ONLY, []), dtype=float).reshape(-1, 2)
        if len(points) != len(ids):
            raise ValueError(f"a point for each of keypoints {ids.tolist()}, got {len(points)}")
    except (ArithmeticError, TypeError, ValueError) as error:
        expected = str(error) if ", got " in str(error) else "points (x, y), got others"
        raise HomologError(f"{location}: {SOURCE_ONLY}: expected {expected}") from None
    similarities = None
    if (given := entry.get(SIMILARITIES)) is not None:
        try:
            similarities = _similarities(given, shown)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            found = (
                str(error)
                if ", got " in str(error)
                else ("keypoint_ids, threshold, alphas, inside and outside, got " + str(given)[:60])
            )
            raise HomologError(f"{location}: {SIMILARITIES}: expected {found}") from None
    return PairDetails(ids, points, similarities)


def _similarities(given: Mapping[str, Any], shown: Int[np.ndarray, "S"]) -> BestSimilarities:
    """The largest similarities of a pair, as a line has them.

    Raises:
        LookupError, TypeError, ValueError: they are malformed.
    """
    ids = _ids(given["keypoint_ids"], shown, "that the source shows")
    threshold, alphas = given["threshold"], tuple(float(alpha) for alpha in given["alphas"])
    if threshold not in get_args(Threshold):
        raise ValueError(f"threshold box or image, got {threshold!r}")
    if sorted(as_alphas(alphas)) != sorted(alphas):
        raise ValueError(f"each alpha once, got {list(alphas)}")
    found = []
    for name in ("inside", "outside"):
        values = np.array(given[name], dtype=float).reshape(len(ids), -1)
        if values.shape != (len(ids), len(alphas)) and len(ids):
            raise ValueError(f"{name} of {len(ids)} keypoints at {len(alphas)} alphas, got others")
        if ((values < 0) | (values > 1)).any():
            raise ValueError(f"{name} from 0 to 1 over the pair, got {values.tolist()}")
        found.append(values.reshape(len(ids), len(alphas)))
    return BestSimilarities(ids, threshold, alphas, found[0], found[1])


def _ids(given: Any, allowed: Int[np.ndarray, "S"], what: str) -> Int[np.ndarray, "Q"]:
    """Ids of keypoints, each once and one of those allowed.

    Raises:
        TypeError, ValueError: they are not.
    """
    ids = [int(i) for i in given]
    if len(set(ids)) != len(ids) or not set(ids) <= set(allowed.tolist()):
        raise ValueError(f"keypoints {what}, {allowed.tolist()}, each once, got {ids}")
    return np.array(ids, dtype=int)


def _entries(path: Path) -> Iterator[tuple[str, Any]]:
    """Each entry of a JSON list or of JSON lines, after its location in the file."""
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise unreadable(path, error) from error
    except UnicodeDecodeError:
        raise HomologError(f"{path}: expected JSON, got bytes that are not text") from None
    if text.lstrip().startswith("["):
        for index, entry in enumerate(parse_json(text, str(path))):
            yield f"{path}, entry {index}", entry
        return
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            where = f"{path}, line {number}"
            yield where, parse_json(line, where, one_line=True)
