"""Labels: doubtful and corrected keypoints, and files that other tools have edited."""

import copy
import json

import pytest

from homolog import HomologError
from homolog.data.labels import EXTRA, Labels, manual_keypoints

DATA = {
    "info": {"failed": []},
    "images": [{"id": 7, "file_name": "a.png", "width": 100, "height": 80}],
    "annotations": [
        {
            "id": 3, "image_id": 7, "category_id": 1, "bbox": [10, 10, 30, 20], "area": 600,
            "num_keypoints": 2, "keypoints": [10, 10, 2, 40, 30, 2, 0, 0, 0],
            EXTRA: {
                "scores": [0.9, 0.4, 0.3], "doubtful": [1, 2], "reviewed": [],
                "predicted": [10, 10, 2, 40, 30, 2, 0, 0, 0],
            },
        },
    ],
    "categories": [{"id": 1, "name": "ant", "keypoints": ["head", "left", "right"]}],
}  # fmt: skip


@pytest.fixture
def labels() -> Labels:
    return Labels(copy.deepcopy(DATA))


def test_reviewed_points_are_no_longer_doubtful(labels):
    assert labels.doubtful() == [(3, 1), (3, 2)]
    labels.correct(3, 1, None)
    assert labels.doubtful() == [(3, 2)]
    (annotation,) = labels.annotations
    assert annotation["keypoints"] == DATA["annotations"][0]["keypoints"]
    labels.correct(3, 2, (60.5, 5.0))
    assert labels.doubtful() == []
    assert annotation["keypoints"][6:] == [60.5, 5.0, 2] and annotation["num_keypoints"] == 3
    assert annotation["bbox"] == [10, 5, 50.5, 25]  # holds it
    assert manual_keypoints(annotation) == {1, 2}


def test_a_point_marked_invisible_returns_to_its_prediction(labels):
    (annotation,) = labels.annotations
    labels.correct(3, 1, None, visible=False)
    assert annotation["keypoints"][3:6] == [0, 0, 0] and annotation["num_keypoints"] == 1
    labels.correct(3, 1, None)
    assert annotation["keypoints"][3:6] == [40, 30, 2]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((4, 0, None), "annotation: expected the id of an annotation, got 4"),
        ((3, 3, None), "keypoint: expected 0 to 2, got 3"),
        (
            (3, 0, (100.5, 3)),
            r"point: expected x and y within the image of 100 x 80 pixels, got \(100.5, 3\)",
        ),
        ((3, 0, (float("nan"), 3)), "point: expected x and y within"),
        ((3, 2, None), "point: expected x and y, for nothing was predicted"),
    ],
)
def test_corrections_that_are_refused(labels, arguments, reason):
    with pytest.raises(HomologError, match=reason):
        labels.correct(*arguments)
    assert labels.data == DATA


def test_written_and_read_again(labels, tmp_path):
    labels.correct(3, 1, (41.25, 30.0))
    labels.write(tmp_path / "labels.json")
    again = Labels.read(tmp_path / "labels.json")
    assert again.data == labels.data and again.doubtful() == [(3, 2)]


def test_edits_by_other_tools_are_manual(labels):
    (annotation,) = labels.annotations
    assert manual_keypoints(annotation) == set()
    annotation["keypoints"][0] += 0.004  # written with fewer digits
    assert manual_keypoints(annotation) == set()
    annotation["keypoints"][3] += 1
    assert manual_keypoints(annotation) == {1}
    annotation["keypoints"][6:] = [5, 5, 2]
    assert manual_keypoints(annotation) == {1, 2}
    del annotation[EXTRA]
    assert manual_keypoints(annotation) == {0, 1, 2}
    # Once it is corrected here, what had been made elsewhere still counts.
    labels.correct(annotation["id"], 1, None, visible=False)
    assert annotation[EXTRA]["reviewed"] == [1]
    assert manual_keypoints(annotation) == {0, 1, 2}


def test_occluded_keypoints_stay_so(labels):
    """v = 1 is kept when a point is accepted, moved, or hidden and shown again."""
    (annotation,) = labels.annotations
    annotation["keypoints"][5] = annotation[EXTRA]["predicted"][5] = 1
    before = copy.deepcopy(annotation["keypoints"])
    labels.correct(3, 1, None)
    assert annotation["keypoints"] == before
    labels.correct(3, 1, (41.0, 30.0))
    assert annotation["keypoints"][3:6] == [41.0, 30.0, 1]
    labels.correct(3, 1, None, visible=False)
    labels.correct(3, 1, None)
    assert annotation["keypoints"][3:6] == [40, 30, 1]
    labels.correct(3, 1, None, occluded=False)
    assert annotation["keypoints"][5] == 2
    labels.correct(3, 0, None, occluded=True)
    assert annotation["keypoints"][:3] == [10, 10, 1]
    labels.correct(3, 2, (60.0, 5.0), occluded=True)
    assert annotation["keypoints"][6:] == [60.0, 5.0, 1] and annotation["num_keypoints"] == 3


def test_ids_of_text(tmp_path):
    data = copy.deepcopy(DATA)
    data["annotations"][0]["id"] = "ann-1"
    data["annotations"][0]["image_id"] = "7"  # as some tools write what is a number in the list
    (tmp_path / "labels.json").write_text(json.dumps(data))
    labels = Labels.read(tmp_path / "labels.json")
    assert labels.doubtful() == [("ann-1", 1), ("ann-1", 2)]
    labels.correct("ann-1", 1, (41.0, 30.0))
    labels.write(tmp_path / "labels.json")
    again = Labels.read(tmp_path / "labels.json")
    assert again.annotations[0]["id"] == "ann-1" and again.annotations[0]["image_id"] == 7
    assert again.doubtful() == [("ann-1", 2)]


def test_nan_is_never_served_nor_written(tmp_path):
    """Anywhere in the file, as Python's own JSON writes it."""
    data = copy.deepcopy(DATA)
    nan = float("nan")
    (entry,) = data["annotations"]
    entry["keypoints"][6:] = [nan, nan, 0]
    entry[EXTRA]["predicted"][6:] = [nan, nan, nan]
    entry[EXTRA]["scores"][2] = nan
    entry |= {"area": nan, "score": float("inf"), "bbox": [nan] * 4, "tags": {"weight": [1, nan]}}
    data["images"][0]["gps"] = [nan, 3]
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(data))
    labels = Labels.read(path)
    (entry,) = labels.annotations
    assert entry["keypoints"][6:] == [0, 0, 0] == entry[EXTRA]["predicted"][6:]
    assert entry[EXTRA]["scores"] == [0.9, 0.4, 0.0]
    assert entry["bbox"] == [10, 10, 30, 20] and entry["tags"] == {"weight": [1, None]}
    labels.correct(3, 2, (5.0, 6.0))
    labels.write(path)
    written = json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(name))
    assert written["images"][0]["gps"] == [None, 3] and written["annotations"][0]["score"] is None
    labels.data["mine"] = nan
    before = path.read_bytes()
    with pytest.raises(HomologError, match=r"labels.json: expected finite numbers .* in mine"):
        labels.write(path)
    assert path.read_bytes() == before


def test_what_was_deleted_is_kept(tmp_path):
    """In the one form where its image is there, and else as it is."""
    data = copy.deepcopy(DATA)
    gone = {**copy.deepcopy(data["annotations"][0]), "id": 4}
    nan = float("nan")
    known = {**gone, "id": 5, "bbox": [nan] * 4, "keypoints": [10, 10, 2, 40, 30, 1, nan, nan, 0]}
    data[EXTRA] = {"deleted": [{**gone, "image_id": 9}, known]}
    (tmp_path / "labels.json").write_text(json.dumps(data))
    labels = Labels.read(tmp_path / "labels.json")
    assert labels.deleted[0] == {**gone, "image_id": 9}
    assert labels.deleted[1]["keypoints"] == [10, 10, 2, 40, 30, 1, 0, 0, 0]
    assert labels.deleted[1]["bbox"] == [10, 10, 30, 20]


def test_a_box_without_size_grows_around_the_first_point(tmp_path):
    data = copy.deepcopy(DATA)
    data["annotations"][0] = {
        "id": 3, "image_id": 7, "category_id": 1, "bbox": [0, 0, 0, 0], "keypoints": [0] * 9
    }  # fmt: skip
    (tmp_path / "labels.json").write_text(json.dumps(data))
    labels = Labels.read(tmp_path / "labels.json")
    labels.correct(3, 0, (50.0, 40.0))
    assert labels.annotations[0]["bbox"] == [0, 0, 100, 80], "one point tells no size"
    labels.annotations[0]["bbox"] = [0, 0, 0, 0]
    labels.correct(3, 1, (60.0, 44.0))
    assert labels.annotations[0]["bbox"] == [50, 40, 10, 4]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda d: d.pop("images"), "expected a COCO file"),
        (
            lambda d: d["annotations"][0].update(image_id=9),
            "annotation 3: image_id: expected one of the images, got 9",
        ),
        (
            lambda d: d["annotations"][0].update(keypoints=[1, 2]),
            "keypoints: expected x, y, v of 3 keypoints",
        ),
        (
            lambda d: d["annotations"][0].update(bbox=[1, 2, 3]),
            "annotation 3: bbox: expected x, y, width and height",
        ),
        (lambda d: d["annotations"].append(d["annotations"][0]), "annotation 3: expected another"),
        (
            lambda d: d["annotations"][0][EXTRA].update(scores=[0.5]),
            r"annotation 3: scores: expected 3 numbers, got \[0.5\]",
        ),
        (lambda d: d["annotations"][0].update({EXTRA: 3}), "annotation 3: homolog: expected an"),
        (
            lambda d: d.update({EXTRA: {"deleted": [{"id": 4, "image_id": 7}]}}),
            "deleted annotation .*expected 'category_id', got none",
        ),
        (
            lambda d: d["annotations"][0][EXTRA].update(doubtful=[3]),
            r"doubtful: expected keypoints 0 to 2, got \[3\]",
        ),
        (lambda d: d["annotations"][0][EXTRA].pop("predicted"), "expected 'predicted'"),
    ],
)
def test_malformed_files(tmp_path, change, reason):
    data = copy.deepcopy(DATA)
    change(data)
    (tmp_path / "labels.json").write_text(json.dumps(data))
    with pytest.raises(HomologError, match=reason):
        Labels.read(tmp_path / "labels.json")


def test_only_coco_files_are_reviewed(tmp_path):
    path = tmp_path / "labels.tps"
    path.write_text("LM=0\n")
    with pytest.raises(HomologError, match=r"labels: expected a COCO file .* labels convert"):
        Labels.read(path)
