"""Instances of labels under review: added, changed, deleted, restored; nothing else is touched."""

import copy
import json
from pathlib import Path

import pytest
from helpers.serve import client
from helpers.toys import random_image
from hypothesis import example, given, settings
from hypothesis import strategies as st

from homolog import HomologError
from homolog.data.labels import Labels, manual_keypoints
from homolog.serve import Options, create_app
from homolog.serve.instances import Instances

POINTS = [20, 30, 2, 90, 50, 2, 0, 0, 0]


def entry(id: int, image: int, box: list[float], **more) -> dict:
    return {
        "id": id, "image_id": image, "category_id": 1, "bbox": box, "area": box[2] * box[3],
        "iscrowd": 0, "num_keypoints": 2, "keypoints": list(POINTS),
        "homolog": {"scores": [0.9, 0.2, 0.4], "doubtful": [1], "reviewed": [],
                    "predicted": list(POINTS)},
    } | more  # fmt: skip


def document(**more) -> dict:
    """Three instances in one image, one in another, with members that homolog does not know."""
    return {
        "info": {"made by": "somebody"},
        "images": [
            {"id": 7, "file_name": "a.png", "width": 200, "height": 100, "site": "north"},
            {"id": 8, "file_name": "b.png", "width": 200, "height": 100},
            {"id": 9, "file_name": "missing.png", "width": 200, "height": 100},
        ],
        "categories": [
            {"id": 1, "name": "bee", "keypoints": ["head", "left_wing", "right_wing"],
             "skeleton": [[1, 2], [1, 3]]},
            {"id": 2, "name": "flower"},
        ],
        "annotations": [
            entry(3, 7, [10, 20, 90, 60], track_id=1, segmentation=[[10, 20, 90, 20, 50, 60]]),
            entry(4, 7, [100, 20, 40, 60], track_id=2, attributes={"sex": "f"}),
            entry(5, 7, [150, 10, 40, 30], track_id=5),
            entry(6, 8, [10, 10, 50, 50], track_id=2),
        ],
    } | more  # fmt: skip


@pytest.fixture
def labels(tmp_path) -> Path:
    random_image(200, 100).save(tmp_path / "a.png")
    random_image(200, 100, 1).save(tmp_path / "b.png")
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(document()))
    return path


@pytest.fixture
def review(colour_matcher, labels):
    with client(colour_matcher, labels=labels) as page:
        yield page


def test_a_new_instance(review, labels):
    new = {"image": 7, "category": 1, "box": [5.5, 60, 30, 25]}
    answer = review.post("/api/review/instances", json=new).json()
    found = Labels.read(labels).annotations
    assert found[:4] == document()["annotations"]
    added = found[4]
    assert added == answer["annotation"] and answer["id"] == added["id"] == 7
    assert added["bbox"] == [5.5, 60, 30, 25] and added["area"] == 750
    assert added["track_id"] == 6, "no other object of the file has it"
    assert added["keypoints"] == [0] * 9 and added["num_keypoints"] == 0
    # Its keypoints are to be reviewed, and nothing counts as labelled until then.
    assert answer["doubtful"][-3:] == [[7, 0], [7, 1], [7, 2]] and answer["total"] == 4 + 3
    assert manual_keypoints(added) == set()
    point = {"annotation": 7, "keypoint": 0, "point": [12, 70]}
    answer = review.post("/api/review", json=point).json()
    assert answer["annotation"]["keypoints"][:3] == [12, 70, 2]
    assert answer["total"] == 7 and len(answer["doubtful"]) == 6
    assert manual_keypoints(Labels.read(labels).annotations[4]) == {0}


@pytest.mark.parametrize(
    ("member", "ids", "expected"),
    [
        ("track_id", [1, 2, 5, 8], 9),  # of the whole file: objects are the same in all images
        ("track_id", ["a", "b", "c", "a"], 1),
        ("instance_id", [1, 3, 2, 9], 4),  # of the image
        ("instance_id", ["left", "right", 1, 1], 2),
        ("instance", [2, 3, 4, 1], 1),
        (None, [None] * 4, None),
    ],
)
def test_instance_ids_follow_those_of_the_file(member, ids, expected):
    data = document()
    for annotation, id in zip(data["annotations"], ids, strict=True):
        del annotation["track_id"]
        if member is not None:
            annotation[member] = id
    instances = Instances(Labels(data))
    added = instances[instances.add(7, 1, (1, 2, 30, 40)).ids[0]]
    assert [added.get(m) for m in ("track_id", "instance_id", "instance") if m in added] == (
        [] if member is None else [expected]
    )
    # An id that was deleted is not given to another object.
    instances.delete(added["id"])
    again = instances[instances.add(7, 1, (1, 2, 30, 40)).ids[0]]
    assert member is None or again[member] != expected


def test_a_box_is_moved(review, labels):
    before = document()["annotations"]
    answer = review.post("/api/review/instances/4", json={"box": [90, 10, 50, 70]}).json()
    changed = Labels.read(labels).annotations[1]
    assert changed == answer["annotation"]
    assert changed["bbox"] == [90, 10, 50, 70] and changed["area"] == 3500
    assert changed["keypoints"] == POINTS and changed["attributes"] == {"sex": "f"}
    assert changed["homolog"]["box_reviewed"] is True
    # The area of an outline stays its own; beyond the border, a box is cut off.
    answer = review.post("/api/review/instances/3", json={"box": [-1, 10, 50, 70]}).json()
    assert answer["annotation"]["bbox"] == [0, 10, 49, 70]
    for member in ("area", "segmentation", "track_id"):
        assert answer["annotation"][member] == before[0][member]
    assert Labels.read(labels).annotations[2:] == before[2:]


def test_deleted_instances_stay_in_the_file(colour_matcher, review, labels):
    answer = review.delete("/api/review/instances/4").json()
    assert answer["annotation"] is None and [4, 1] not in answer["doubtful"]
    assert answer["total"] == 3 and answer["deleted"] == [document()["annotations"][1]]
    data = json.loads(labels.read_text())
    assert [a["id"] for a in data["annotations"]] == [3, 5, 6]
    assert data["homolog"] == {"deleted": [document()["annotations"][1]]}
    # And can be restored by another run of the server.
    with client(colour_matcher, labels=labels) as later:
        assert later.get("/api/review").json()["deleted"] == answer["deleted"]
        answer = later.post("/api/review/deleted/4").json()
        assert answer["annotation"] == document()["annotations"][1] and answer["deleted"] == []
    data = json.loads(labels.read_text())
    assert data["annotations"][-1] == document()["annotations"][1] and "homolog" not in data


def test_a_deleted_instance_whose_id_another_program_gave_away(labels):
    data = document(homolog={"deleted": [entry(4, 7, [1, 2, 3, 4])], "other": 1})
    instances = Instances(Labels(data))
    assert [each["id"] for each in instances.deleted] == [7]
    instances.restore(7)
    assert [a["id"] for a in instances.labels.annotations] == [3, 4, 5, 6, 7]
    assert data["homolog"] == {"deleted": [], "other": 1}


@pytest.mark.parametrize("kept", ["text", {"deleted": 3}, {"deleted": [{"id": 1}]}])
def test_deleted_instances_that_cannot_be_read(colour_matcher, labels, kept):
    labels.write_text(json.dumps(document(homolog=kept)))
    with pytest.raises(HomologError, match="deleted annotation"):
        create_app(colour_matcher, Options(labels=labels))


def test_undo_and_redo(review, labels):
    start = Labels.read(labels).data
    states = [start]
    for method, path, body in (
        ("POST", "/api/review/instances", {"image": 8, "category": 1, "box": [70, 20, 30, 30]}),
        ("POST", "/api/review", {"annotation": 7, "keypoint": 1, "point": [80, 30]}),
        ("POST", "/api/review/instances/3", {"box": [20, 20, 70, 60]}),
        ("DELETE", "/api/review/instances/4", None),
        ("POST", "/api/review", {"annotation": 5, "keypoint": 1, "visible": False}),
        ("POST", "/api/review/deleted/4", None),
    ):
        assert review.request(method, path, json=body).json()["undo"] is True
        states.append(Labels.read(labels).data)
    for state in states[-2::-1]:
        answer = review.post("/api/review/undo").json()
        assert Labels.read(labels).data == state and answer["redo"] is True
    assert answer["undo"] is False
    assert review.post("/api/review/undo").status_code == 400
    for state in states[1:]:
        answer = review.post("/api/review/redo").json()
        assert Labels.read(labels).data == state
    assert answer["redo"] is False and review.post("/api/review/redo").status_code == 400
    # A new change ends what could be made again.
    review.post("/api/review/undo")
    review.post("/api/review/instances/5", json={"box": [140, 10, 40, 30]})
    assert review.post("/api/review/redo").status_code == 400


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "", {"image": 7, "category": 1, "box": [300, 10, 20, 20]}, 400),
        ("POST", "", {"image": 7, "category": 1, "box": [10, 10, 0, 20]}, 400),
        ("POST", "", {"image": 7, "category": 1, "box": [10, 10, -5, 20]}, 400),
        ("POST", "", {"image": 7, "category": 1, "box": [10, 10, 20]}, 422),
        ("POST", "", {"image": 7, "category": 1, "box": [10, 10, 20, "wide"]}, 422),
        ("POST", "", {"image": 9, "category": 1, "box": [10, 10, 20, 20]}, 400),
        ("POST", "", {"image": 70, "category": 1, "box": [10, 10, 20, 20]}, 400),
        ("POST", "", {"image": 7, "category": 12, "box": [10, 10, 20, 20]}, 400),
        ("POST", "", {"image": 7, "box": [10, 10, 20, 20]}, 422),
        ("POST", "/44", {"box": [10, 10, 20, 20]}, 400),
        ("POST", "/4", {"box": [0.1, 0.1, 0.2, 0.2]}, 400),
        ("POST", "/4", {}, 422),
        ("POST", "/a", {"box": [10, 10, 20, 20]}, 400),
        ("DELETE", "/44", None, 400),
    ],
)
def test_changes_that_do_not_fit(review, labels, method, path, body, status):
    before = labels.read_bytes()
    answer = review.request(method, f"/api/review/instances{path}", json=body)
    assert answer.status_code == status and "\n" not in answer.json()["detail"]
    assert labels.read_bytes() == before
    assert review.get("/api/review").json()["undo"] is False


def test_numbers_that_are_not_finite(review, labels):
    before = labels.read_bytes()
    answer = review.post("/api/review/instances/4", content='{"box": [1, 2, NaN, 4]}')
    assert answer.status_code in (400, 422) and labels.read_bytes() == before


def test_restoring_what_was_not_deleted(review):
    answer = review.post("/api/review/deleted/4")
    assert answer.status_code == 400 and "deleted annotation, got 4" in answer.json()["detail"]


def test_a_file_that_cannot_be_written(review, labels, monkeypatch):
    """Nothing is lost: the page shows what is in the file."""

    def full(*_):
        raise HomologError("labels: expected a file that can be written, got no space left")

    with monkeypatch.context() as patch:
        patch.setattr(Labels, "write", full)
        assert review.delete("/api/review/instances/4").status_code == 400
    assert review.get("/api/review").json()["annotations"] == document()["annotations"]
    assert review.delete("/api/review/instances/4").status_code == 200


def test_other_sites_change_nothing(review, labels):
    before, headers = labels.read_bytes(), {"origin": "http://evil.example"}
    for method, path in (("DELETE", "instances/4"), ("POST", "undo"), ("POST", "deleted/4")):
        answer = review.request(method, f"/api/review/{path}", headers=headers)
        assert answer.status_code == 403
    assert labels.read_bytes() == before


CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from([7, 8]), st.sampled_from([1, 2])),
        st.tuples(st.just("set_box"), st.integers(3, 12), st.integers(1, 40)),
        st.tuples(st.just("delete"), st.integers(3, 12)),
        st.tuples(st.just("restore"), st.integers(3, 12)),
        st.tuples(st.just("correct"), st.integers(3, 12), st.integers(0, 2)),
        st.tuples(st.just("accept"), st.sampled_from([7, 8, 9])),
        st.tuples(st.just("rename"), st.integers(3, 12), st.sampled_from(["queen", 2])),
        st.tuples(st.just("label"), st.sampled_from([8, 9]), st.integers(0, 2)),
        st.tuples(st.just("prefill"), st.sampled_from([8, 9])),
        st.tuples(st.just("undo")),
        st.tuples(st.just("redo")),
    ),
    max_size=25,
)


@settings(deadline=None, max_examples=150)
@given(CHANGES)
@example([("delete", 3), ("delete", 4), ("restore", 3), ("undo",), ("redo",)])
@example([("label", 9, 0), ("prefill", 9), ("accept", 9), ("undo",), ("undo",), ("undo",)])
def test_any_changes_can_be_undone_and_made_again(changes):
    data = document()
    instances = Instances(Labels(data))
    history, position = [copy.deepcopy(data)], 0
    for name, *arguments in changes:
        if name in ("undo", "redo"):
            if getattr(instances, f"can_{name}"):
                getattr(instances, name)()
                position += -1 if name == "undo" else 1
                assert data == history[position]
            continue
        if name == "add":
            arguments.append((1.0, 2.0, 30.0, 40.0))
        elif name == "set_box":
            arguments[1] = (1.0, 2.0, float(arguments[1]), 40.0)
        elif name == "correct":
            arguments += [(15.0, 25.0), True]
        elif name == "label":
            arguments[1:] = [1, (200, 100), arguments[1], (15.0, 25.0), True, False]
        elif name == "prefill":
            predicted = entry(0, arguments[0], [10.0, 20.0, 90.0, 60.0])
            del predicted["id"], predicted["image_id"]
            if not instances.wants(arguments[0], predicted):
                continue
            arguments.append(predicted)
        try:
            getattr(instances, name)(*arguments)
        except HomologError:
            assert data == history[position], "what is refused changes nothing"
            continue
        position += 1
        history[position:] = [copy.deepcopy(data)]
        ids = [entry["id"] for entry in [*data["annotations"], *instances.deleted]]
        assert len(set(ids)) == len(ids)
        # Whatever was there is there still, or among the deleted.
        assert {3, 4, 5, 6} <= set(ids)
    while instances.can_undo:
        instances.undo()
    assert data == document()
