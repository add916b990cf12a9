"""Files of predicted keypoints, one JSON object for each pair."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from homolog.data import DataSet, Pair
from homolog.data.reading import unreadable
from homolog.errors import HomologError

Predictions = Mapping[str, Float[np.ndarray, "K 2"]]
"""By the name of each pair, (x, y) in pixels of the target for its keypoints in order; NaN for a
keypoint without prediction."""

ALIGNED = "predicted_xy_in_target_pixels"
UNALIGNED = "unaligned_xy_in_target_pixels"


def to_record(
    pair: Pair,
    aligned_K2: Float[np.ndarray, "K 2"],
    unaligned_K2: Float[np.ndarray, "K 2"] | None = None,
) -> dict[str, Any]:
    """The record of one pair in a file of predictions.

    Args:
        pair: the pair.
        aligned_K2: the predicted points, (x, y) in pixels of the target.
        unaligned_K2: those without pose alignment, if it was used.
    """
    record = {
        "pair": pair.name,
        "keypoint_ids": pair.keypoint_ids.tolist(),
        ALIGNED: aligned_K2.tolist(),
    }
    if unaligned_K2 is not None:
        record[UNALIGNED] = unaligned_K2.tolist()
    return record


def read_predictions(
    path: Path, data: DataSet, field: str = ALIGNED
) -> tuple[Predictions, list[str]]:
    """Read the predictions of any method for a data set.

    Args:
        path: JSON lines, or one JSON list, of objects with `pair` (its name), `keypoint_ids` and
            the predicted (x, y) of each, in pixels of the target.
        data: the data set.
        field: the name of the member with the predicted points.

    Returns:
        Predictions of all pairs, and notes about those that are missing or not finite, which count
        as wrong.

    Raises:
        HomologError: the file cannot be read, an entry is malformed or repeated, or it names pairs
            or keypoints that are not in the data set; the message says in which line.
    """
    pairs = {pair.name: pair for pair in data.pairs}
    predictions: dict[str, np.ndarray] = {}
    missing = not_finite = 0
    for location, entry in _entries(path):
        try:
            name, ids = entry["pair"], [int(i) for i in entry["keypoint_ids"]]
            points = np.array(entry[field], dtype=float).reshape(-1, 2)
        except (KeyError, TypeError, ValueError):
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
        missing += len(rows) - len(ids)
        not_finite += int((~np.isfinite(points).all(axis=1)).sum())
    absent = [name for name in pairs if name not in predictions]
    notes = []
    if absent:
        notes.append(f"{len(absent)} pairs have no prediction, such as {absent[0]}: counted wrong")
    if missing:
        notes.append(f"{missing} keypoints have no prediction: counted wrong")
    if not_finite:
        notes.append(f"{not_finite} predicted points are not finite: counted wrong")
    for name in absent:
        predictions[name] = np.full((len(pairs[name].keypoint_ids), 2), np.nan)
    return predictions, notes


def _entries(path: Path) -> Iterator[tuple[str, Any]]:
    """Each entry of a JSON list or of JSON lines, after its location in the file."""
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise unreadable(path, error) from error
    except UnicodeDecodeError:
        raise HomologError(f"{path}: expected JSON, got bytes that are not text") from None
    if text.lstrip().startswith("["):
        try:
            entries = json.loads(text)
        except json.JSONDecodeError as error:
            raise HomologError(
                f"{path}, line {error.lineno}: expected JSON, got {error.msg}"
            ) from None
        for index, entry in enumerate(entries):
            yield f"{path}, entry {index}", entry
        return
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                yield f"{path}, line {number}", json.loads(line)
            except json.JSONDecodeError as error:
                raise HomologError(
                    f"{path}, line {number}: expected JSON, got {error.msg}"
                ) from None
