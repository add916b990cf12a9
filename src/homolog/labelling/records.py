"""Records of labelled images in the file from which an interrupted run resumes, checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

from homolog.data.labels import EXTRA
from homolog.labelling.instances import INSTANCE


def check_record(record: Mapping[str, Any]) -> None:
    """Check that a record has what the document of labels is made of.

    Args:
        record: as an annotator makes it, read from a file.

    Raises:
        LookupError, TypeError, ValueError: something is missing, of another type, or not finite.
    """
    _expect(isinstance(record["file_name"], str))
    if "failed" in record:
        _expect(isinstance(record["failed"], str))
        return
    for name in ("width", "height"):
        _expect(type(record[name]) is int and record[name] > 0)
    several = record["annotations"] if "annotations" in record else [record["annotation"]]
    for annotation in several:
        _check_annotation(annotation)
    for each in record.get("unlabelled", ()):
        _expect(isinstance(each[INSTANCE], (int, str)))
        _check_numbers(each["bbox"], 4)
    for instance in record.get("exemplars", ()):
        _expect(instance is None or isinstance(instance, (int, str)))


def _check_annotation(annotation: Mapping[str, Any]) -> None:
    keypoints, extra = annotation["keypoints"], annotation[EXTRA]
    count = len(keypoints) // 3
    _check_numbers(keypoints, 3 * count)
    _expect(all(visibility in (0, 1, 2) for visibility in keypoints[2::3]))
    _check_numbers(annotation["bbox"], 4)
    _check_numbers([annotation[name] for name in ("area", "num_keypoints", "score")], 3)
    _expect(isinstance(annotation["category_id"], (int, str)))
    _expect(isinstance(annotation.get(INSTANCE, 0), (int, str)))
    _check_numbers(extra["scores"], count)
    _check_numbers(extra["predicted"], 3 * count)
    for name in ("doubtful", "reviewed"):
        _expect(all(type(k) is int and 0 <= k < count for k in extra[name]))
    _expect(isinstance(extra["exemplars"], list))


def _check_numbers(values: Any, count: int) -> None:
    _expect(isinstance(values, list) and len(values) == count)
    for value in values:
        _expect(isinstance(value, Real) and math.isfinite(value))


def _expect(true: bool) -> None:
    if not true:
        raise ValueError
