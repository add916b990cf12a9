"""Any labels come back from files of poses as they went in."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from helpers.pose_documents import simplified
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homolog.data.label_files import read, write
from homolog.data.labels import is_manual

pytest.importorskip("sleap_io")
pytest.importorskip("tables")
NAMES = ["nose", "left_ear", "right ear, outer", "Schwanz (ä)"]
SIZE = 640, 480

coordinates = st.floats(0.5, 470, allow_nan=False).map(lambda value: round(value, 3))
ids = st.one_of(st.none(), st.integers(0, 99), st.text("abé 1-_", min_size=1).map(str.strip))


@st.composite
def documents(draw):
    """Labels of one category, of several objects an image."""
    images = draw(st.integers(1, 3))
    annotations = []
    for image in range(1, images + 1):
        taken = set()
        for _ in range(draw(st.integers(0, 3))):
            flat = []
            for _ in NAMES:
                v = draw(st.sampled_from([0, 1, 2, 2]))
                flat += [draw(coordinates), draw(coordinates), v] if v else [0, 0, 0]
            if not any(flat[2::3]):
                flat[:3] = [1.5, 2.5, 2]
            entry = {
                "id": len(annotations) + 1, "image_id": image, "category_id": 1, "keypoints": flat,
                "bbox": [1.0, 2.0, 50.0, 70.0], "area": 3500.0, "iscrowd": 0,
                "num_keypoints": sum(v > 0 for v in flat[2::3]),
            }  # fmt: skip
            number = draw(ids)
            if number not in (None, "") and str(number) not in taken:
                taken.add(str(number))
                entry["instance_id"] = number
            if draw(st.booleans()):
                scores = [draw(st.floats(0, 1).map(lambda value: round(value, 4))) for _ in NAMES]
                entry["score"] = 0.5
                entry["homolog"] = {
                    "scores": scores, "doubtful": [], "reviewed": [], "predicted": list(flat),
                    "exemplars": [],
                }  # fmt: skip
            annotations.append(entry)
    return {
        "images": [
            {"id": k, "file_name": f"{k} ü.png", "width": SIZE[0], "height": SIZE[1]}
            for k in range(1, images + 1)
        ],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "animal", "keypoints": NAMES}],
    }


def there_and_back(document, suffix, form):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"labels{suffix}"
        write(path, document, format=form)
        return read(path, format=form).document


def named(document):
    """Instance ids that are text of digits are numbers when they come back."""
    for each in document["annotations"]:
        number = each.get("instance_id")
        if isinstance(number, str) and number.isascii() and number.isdigit():
            each["instance_id"] = int(number) if str(int(number)) == number else number
    return document


relaxed = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


@relaxed
@given(documents())
def test_sleap(document):
    after = there_and_back(document, ".slp", "sleap")
    members = ("instance_id", "bbox", "score")
    assert simplified(after, *members) == simplified(named(document), *members)
    np.testing.assert_allclose(predicted_scores(after), predicted_scores(document))
    assert [image["file_name"] for image in after["images"]] == [
        image["file_name"] for image in document["images"]
    ]


def predicted_scores(document):
    """The scores of labelled keypoints, sorted."""
    return sorted(
        score
        for each in document["annotations"]
        if not is_manual(each)
        for score, v in zip(each["homolog"]["scores"], each["keypoints"][2::3], strict=True)
        if v
    )


@relaxed
@given(documents())
def test_label_studio(document):
    after = there_and_back(document, ".jsonl", "label-studio")
    members = ("instance_id", "bbox", "score")
    assert simplified(after, *members) == simplified(named(document), *members)
    np.testing.assert_allclose(predicted_scores(after), predicted_scores(document))


@relaxed
@given(documents(), st.sampled_from([".csv", ".h5"]))
def test_deeplabcut(document, suffix):
    if not document["annotations"]:
        return
    after = there_and_back(document, suffix, "deeplabcut")
    for each in document["annotations"]:
        each["keypoints"][2::3] = [2 if v else 0 for v in each["keypoints"][2::3]]
    assert simplified(after) == simplified(document)
    assert [image["file_name"] for image in after["images"]] == [
        image["file_name"] for image in document["images"]
    ]
