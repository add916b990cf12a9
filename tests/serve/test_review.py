"""Labels under review: every correction is checked and written at once."""

import io
import json
import tempfile
import zipfile
from pathlib import Path
from urllib.parse import quote

import pytest
import real_images
from helpers.serve import client
from helpers.toys import random_image

from homolog import HomologError
from homolog.data import label_files
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


def test_ids_of_text_and_numbers_that_are_none(colour_matcher, labels):
    """As other tools write them: whatever is in the file is served, and comes back."""
    data = json.loads(labels.read_text())
    data["images"][0]["id"], data["categories"][0]["id"] = "7", "bee/1"
    data["annotations"][0] |= {"id": "a/3 ü", "image_id": "7", "category_id": "bee/1"}
    data["annotations"][0]["score"] = float("nan")
    labels.write_text(json.dumps(data))
    with client(colour_matcher, labels=labels) as page:
        state = page.get("/api/review").json()
        assert state["annotations"][0]["score"] is None
        assert state["doubtful"] == [["a/3 ü", 1], ["a/3 ü", 2]] and state["order"] == ["7"]
        correction = {"annotation": "a/3 ü", "keypoint": 1, "point": [95.5, 52], "occluded": True}
        assert page.post("/api/review", json=correction).json()["doubtful"] == [["a/3 ü", 2]]
        address = f"/api/review/instances/{quote(json.dumps('a/3 ü'), safe='')}"
        assert page.post(address, json={"box": [5, 5, 170, 80]}).status_code == 200
        new = {"image": "7", "category": "bee/1", "box": [5, 5, 20, 20]}
        assert page.post("/api/review/instances", json=new).json()["id"] == "2"
        assert page.delete(address).json()["deleted"][0]["id"] == "a/3 ü"
    after = Labels.read(labels)
    assert [each["id"] for each in after.annotations] == ["2"]
    assert after.deleted[0]["keypoints"][3:6] == [95.5, 52, 1]


@pytest.mark.parametrize("case", ["serve_str_id", "serve_nan_kp"])
def test_files_that_were_not_served(colour_matcher, tmp_path, case):
    source, images = real_images.ROOT.parent / "cases" / case, real_images.ROOT / "dogs" / "images"
    if not source.is_dir():
        pytest.skip(f"no files of labels at {source}")
    for path in source.glob("*.json"):
        labels = tmp_path / path.name
        labels.write_bytes(path.read_bytes())
        with client(colour_matcher, labels=labels, folder=images) as page:
            answer = page.get("/api/review")
            assert answer.status_code == 200 and answer.json()["annotations"]
            for id, keypoint in answer.json()["doubtful"][:2]:
                correction = {"annotation": id, "keypoint": keypoint}
                assert page.post("/api/review", json=correction).status_code == 200


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"annotation": 3}', "keypoint: expected a value, got none"),
        ('{"annotation": 3, "keypoint": "x"}', "keypoint: expected an integer, got 'x'"),
        ('{"annotation": 3.5, "keypoint": 1}', "annotation: expected an integer or text, got 3.5"),
        ('{"annotation": 3, "keypoint": 1, "point": [1]}', "point.1: expected a value, got none"),
        ('{"annotation": 3, "keypoint": 1, "point": [1, "a"]}',
         "point.1: expected a number, got 'a'"),
        ('{"annotation": 3, "keypoint": 1, "visible": "maybe"}',
         "visible: expected true or false, got 'maybe'"),
        ("[1]", "request: expected a JSON object, got something else"),
        ("{", "request: expected JSON, got something else"),
    ],
)  # fmt: skip
def test_requests_that_make_no_sense(colour_matcher, labels, content, message):
    with client(colour_matcher, labels=labels) as page:
        headers = {"content-type": "application/json"}
        answer = page.post("/api/review", content=content, headers=headers)
        assert (answer.status_code, answer.json()["detail"]) == (422, message)


def test_exports_in_every_format(colour_matcher, labels):
    with client(colour_matcher, labels=labels, folder=labels.parent) as page:
        offered = page.get("/api/review/formats").json()
        names = {each["name"] for each in offered}
        assert {"coco", "csv", "tps", "nts", "yolo"} <= names
        before = sorted(labels.parent.rglob("*"))
        for name in names:
            answer = page.get(f"/api/review/export/{name}")
            if answer.status_code == 400:  # a library is missing, which is said
                assert "install" in answer.json()["detail"]
                continue
            assert answer.status_code == 200 and answer.content
            assert tempfile.gettempdir().encode() not in answer.content
        assert sorted(labels.parent.rglob("*")) == before, "nothing is left beside the images"
        answer = page.get("/api/review/export/tps")
        assert answer.headers["x-name"] == "labels-tps.zip", "with the names beside"
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            archive.extractall(labels.parent / "again")
        (tps,) = label_files.read(labels.parent / "again" / "labels.tps").document["annotations"]
        assert tps["keypoints"] == [20, 30, 2, 90, 50, 2, 150, 60, 2]
        with zipfile.ZipFile(io.BytesIO(page.get("/api/review/export/yolo").content)) as archive:
            assert sorted(archive.namelist()) == ["a.txt", "labels.yaml"]
        assert page.get("/api/review/export/xyz").status_code == 400


def test_whole_images_are_accepted_and_undone(colour_matcher, labels):
    before = json.loads(labels.read_text())
    with client(colour_matcher, labels=labels) as page:
        answer = page.post("/api/review/accept", json={"image": 7}).json()
        assert answer["doubtful"] == [] and answer["undo"]
        assert Labels.read(labels).annotations[0]["homolog"]["reviewed"] == [0, 1, 2]
        assert page.post("/api/review/undo").json()["annotations"][0][0] == 3
        assert json.loads(labels.read_text()) == before
        assert page.post("/api/review/accept", json={"image": 70}).status_code == 400


def test_sides_are_told(colour_matcher, labels):
    with client(colour_matcher, labels=labels) as page:
        given = {"category": 1, "counterparts": [0, 2, 1]}
        answer = page.post("/api/review/sides", json=given).json()
        assert answer["categories"][0]["flip_indices"] == [0, 2, 1]
        given = {"category": 1, "counterparts": [0, 2, 2]}
        assert page.post("/api/review/sides", json=given).status_code == 400
    assert Labels.read(labels).categories[0]["flip_indices"] == [0, 2, 1]
