"""Which predicted keypoints a person should review, when all of them have their scores."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from homolog.data.labels import EXTRA
from homolog.labelling.calibration import review_threshold


def mark_doubtful(
    records: Mapping[str, Mapping[str, Any]], errors: float, threshold: float | None = None
) -> dict[str, dict[str, Any]]:
    """Mark those keypoints doubtful without which the others have few errors.

    Args:
        records: of images by their names, as the annotator makes them, in which those keypoints
            are doubtful already on whose visibility the exemplars disagree.
        errors: the share of the keypoints that are not doubtful which may be wrong, as expected
            from their scores.
        threshold: the score below which a keypoint is doubtful, where that is settled.

    Returns:
        The records, with more of their keypoints marked.
    """
    marked = copy.deepcopy({name: dict(record) for name, record in records.items()})
    annotations = [
        annotation
        for record in marked.values()
        for annotation in [*record.get("annotations", []), record.get("annotation")]
        if annotation is not None and EXTRA in annotation
    ]
    scores = [
        (annotation, keypoint, score)
        for annotation in annotations
        for keypoint, score in enumerate(annotation[EXTRA]["scores"])
        if annotation["keypoints"][3 * keypoint + 2] > 0
    ]
    if threshold is None:
        open_ = [
            score
            for annotation, keypoint, score in scores
            if keypoint not in annotation[EXTRA]["doubtful"]
        ]
        threshold = review_threshold(open_, errors)
    for annotation, keypoint, score in scores:
        if score < threshold:
            doubtful = {*annotation[EXTRA]["doubtful"], keypoint}
            annotation[EXTRA]["doubtful"] = sorted(doubtful)
    return marked
