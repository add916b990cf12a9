"""Labels under review: every correction is checked and written at once."""

import json
from pathlib import Path

import pytest
from helpers.serve import client
from helpers.toys import random_image

from homolog import HomologError
from homolog.data.labels import Labels
from homolog.serve import Options, create_app


@pytest.fixture
def labels(tmp_path) -> Path:
    """An image with three points, two of them doubtful."""
    random_image(200, 100).save(tmp_path / "a.png")
    points = [20, 30, 2, 90, 50, 2, 150, 60, 2]
    path = tmp_path / "labels.json"
    data = {
        "images": [{"id": 7, "file_name": "a.png", "width": 200, "height": 100}],
        "categories": [
            {"id": 1, "name": "bee", "keypoints": ["head", "left_wing", "right_wing"],
             "skeleton": [[1, 2], [1, 3]]}
        ],
        "annotations": [
            {"id": 3, "image_id": 7, "category_id": 1, "bbox": [10, 20, 160, 60], "area": 9600,
             "iscrowd": 0, "num_keypoints": 3, "keypoints": points,
             "homolog": {"scores": [0.9, 0.2, 0.4], "doubtful": [1, 2], "reviewed": [],
                         "predicted": points}}
        ],
    }  # fmt: skip
    path.write_text(json.dumps(data))
    return path


def test_every_correction_is_written(colour_matcher, labels):
    with client(colour_matcher, labels=labels) as page:
        state = page.get("/api/review").json()
        assert state["doubtful"] == [[3, 1], [3, 2]] and state["total"] == 2
        image = state["images"][0]["picture"]
        assert page.get(f"/api/pictures/{image}/image").status_code == 200
        assert page.get(f"/api/pictures/{image}/size").json() == {"width": 200, "height": 100}
        correction = {"annotation": 3, "keypoint": 1, "point": [95.5, 52]}
        answer = page.post("/api/review", json=correction).json()
        assert answer["doubtful"] == [[3, 2]]
        assert Labels.read(labels).annotations[0]["keypoints"][3:6] == [95.5, 52, 2]
        correction = {"annotation": 3, "keypoint": 2, "visible": False}
        page.post("/api/review", json=correction)
    after = Labels.read(labels)
    assert after.annotations[0]["keypoints"][6:] == [0, 0, 0] and after.doubtful() == []


@pytest.mark.parametrize(
    ("correction", "status"),
    [
        ({"annotation": 9, "keypoint": 1}, 400),
        ({"annotation": 3, "keypoint": 3}, 400),
        ({"annotation": 3, "keypoint": 1, "point": [500, 2]}, 400),
        ({"annotation": 3, "keypoint": 1, "point": [1]}, 422),
        ({"annotation": 3}, 422),
    ],
)
def test_corrections_that_do_not_fit(colour_matcher, labels, correction, status):
    before = labels.read_bytes()
    with client(colour_matcher, labels=labels) as page:
        answer = page.post("/api/review", json=correction)
        assert answer.status_code == status and "\n" not in answer.json()["detail"]
    assert labels.read_bytes() == before


def test_a_file_that_another_program_changes(colour_matcher, labels):
    with client(colour_matcher, labels=labels) as page:
        labels.write_text(labels.read_text() + " ")
        answer = page.post("/api/review", json={"annotation": 3, "keypoint": 1})
        assert answer.status_code == 400
        assert "got a file that another program has changed" in answer.json()["detail"]


def test_images_outside_the_folder(colour_matcher, labels, tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir()
    for name in ("../a.png", str(tmp_path / "a.png")):
        data = json.loads(labels.read_text())
        data["images"][0]["file_name"] = name
        (inner / "labels.json").write_text(json.dumps(data))
        with pytest.raises(
            HomologError, match=r"labels: expected images in .*, got none of those labelled"
        ):
            create_app(colour_matcher, Options(labels=inner / "labels.json"))


def test_exemplars(colour_matcher, labels, tmp_path):
    data = json.loads(labels.read_text())
    del data["annotations"][0]["homolog"]
    (tmp_path / "hand.json").write_text(json.dumps(data))
    with client(colour_matcher, labels=labels, exemplars=tmp_path / "hand.json") as page:
        found = page.get("/api/review").json()["exemplars"]["bee"]["left_wing"]
        assert found["point"] == [90, 50]
        assert page.get(f"/api/pictures/{found['picture']}/image").status_code == 200
