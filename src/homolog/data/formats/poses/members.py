"""Members of COCO documents that tools for poses have, too: skeletons, sides and predictions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from homolog.data.labels import EXTRA, is_manual, manual_keypoints
from homolog.keypoints import KeypointSchema

REVIEW_BELOW = 0.8
"""Predicted keypoints with a lower score are doubtful, as `homolog annotate` has it by default."""


def skeleton_edges(category: Mapping[str, Any]) -> list[tuple[int, int]]:
    """The pairs of keypoints that a category's skeleton joins, counted from 0.

    COCO counts them from 1. Files of tools that count from 0 are recognised where a 0 occurs.

    >>> skeleton_edges({"keypoints": ["a", "b", "c"], "skeleton": [[1, 2], [2, 3]]})
    [(0, 1), (1, 2)]
    """
    edges = [(int(a), int(b)) for a, b in category.get("skeleton") or []]
    start = 0 if any(0 in edge for edge in edges) else 1
    count = len(category["keypoints"])
    shifted = [(a - start, b - start) for a, b in edges]
    return [(a, b) for a, b in shifted if a != b and max(a, b) < count]


def symmetric_pairs(category: Mapping[str, Any]) -> list[tuple[int, int]]:
    """The pairs of keypoints that are each other's mirror counterparts, lower indices first."""
    schema = KeypointSchema.coco(category)
    if not schema.sides_known:
        return []
    return [(index, other) for index, other in enumerate(schema.mirror) if index < other]


def category_members(
    names: Sequence[str],
    edges: Iterable[tuple[int, int]] = (),
    pairs: Iterable[tuple[int, int]] = (),
) -> dict[str, Any]:
    """What a category says of its keypoints.

    Args:
        names: of the keypoints.
        edges: pairs of keypoints that are joined, counted from 0.
        pairs: pairs of mirror counterparts, counted from 0; without any, sides are not told.

    >>> category_members(["l", "r"], [(0, 1)], [(0, 1)])
    {'keypoints': ['l', 'r'], 'skeleton': [[1, 2]], 'flip_indices': [1, 0]}
    """
    members: dict[str, Any] = {"keypoints": list(names)}
    if joined := [[a + 1, b + 1] for a, b in edges]:
        members["skeleton"] = joined
    flips = list(range(len(names)))
    for a, b in pairs:
        flips[a], flips[b] = b, a
    if flips != list(range(len(names))):
        members["flip_indices"] = flips
    return members


def predicted_members(
    rows: Sequence[Sequence[float]],
    scores: Sequence[float],
    score: float | None = None,
    reviewed: Sequence[int] = (),
) -> dict[str, Any]:
    """The members of an annotation that say it was predicted (`homolog.data.labels`).

    Args:
        rows: x, y and v of each keypoint, as predicted.
        scores: of each keypoint; what is no number becomes 0.
        score: of the object; the mean of its keypoints by default.
        reviewed: the keypoints that a person has accepted or corrected.
    """
    finite = [float(value) if math.isfinite(value) else 0.0 for value in scores]
    labelled = [value for value, row in zip(finite, rows, strict=True) if row[2] > 0]
    if score is None or not math.isfinite(score):
        score = sum(labelled) / len(labelled) if labelled else 0.0
    doubtful = [
        index
        for index, (value, row) in enumerate(zip(finite, rows, strict=True))
        if row[2] > 0 and value < REVIEW_BELOW
    ]
    return {
        "score": float(score),
        EXTRA: {
            "scores": finite,
            "doubtful": doubtful,
            "reviewed": sorted(reviewed),
            "predicted": [value for row in rows for value in row],
            "exemplars": [],
        },
    }


def keypoint_rows(annotation: Mapping[str, Any]) -> list[list[float]]:
    """x, y and v of each keypoint of an annotation."""
    flat = annotation.get("keypoints") or []
    return [[float(value) for value in flat[at : at + 3]] for at in range(0, len(flat), 3)]


def predicted_scores(annotation: Mapping[str, Any]) -> list[float] | None:
    """The scores of the keypoints of an annotation that was predicted, reviewed or not."""
    scores = annotation.get(EXTRA, {}).get("scores")
    return list(map(float, scores)) if scores else None


def reviewed_keypoints(annotation: Mapping[str, Any]) -> set[int] | None:
    """The keypoints that a person made, accepted or corrected; None if that is all of them."""
    entry = dict(annotation)
    rows = keypoint_rows(annotation)
    manual = manual_keypoints(entry) if rows else set()
    labelled = {index for index, row in enumerate(rows) if row[2] > 0}
    return None if is_manual(entry) and labelled <= manual else manual


def posed(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The annotations of a document that have keypoints, labelled or not."""
    named = {each["id"] for each in document["categories"] if each.get("keypoints")}
    return [
        each
        for each in document["annotations"]
        if each["category_id"] in named and each.get("keypoints")
    ]


def without_keypoints(document: Mapping[str, Any], title: str, empty: bool = True) -> list[str]:
    """A line that says how many objects a format of poses leaves out, if any.

    Args:
        document: the labels.
        title: of the format.
        empty: whether it holds objects none of whose keypoints is labelled.
    """
    kept = [each for each in posed(document) if empty or any(each["keypoints"][2::3])]
    count = len(document["annotations"]) - len(kept)
    kind = "keypoints" if empty else "labelled keypoints"
    return [f"{title} holds no objects without {kind}: {count}"] if count else []
