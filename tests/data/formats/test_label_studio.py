"""Label Studio's tasks, as its export and its documentation have them; and sleap-io's."""

from __future__ import annotations

import json

import numpy as np
import pytest
from helpers import pose_documents
from helpers.datasets import refused
from helpers.pose_documents import SIZES, simplified
from PIL import Image

from homolog import HomologError
from homolog.data import exemplars
from homolog.data.formats.document import ReadOptions
from homolog.data.label_files import find_format, read, write
from homolog.data.labels import is_manual, manual_keypoints

MEMBERS = ("instance_id", "bbox", "score")


@pytest.fixture
def folder(tmp_path):
    pose_documents.save_images(tmp_path)
    return tmp_path


def point(name, x, y, **members):
    """A keypoint in percent of a.png, as Label Studio exports it."""
    return {
        "id": f"{name}{x}",
        "type": "keypointlabels",
        "from_name": "kp",
        "to_name": "img",
        "original_width": 60,
        "original_height": 40,
        "image_rotation": 0,
        "origin": "manual",
        "value": {"x": x, "y": y, "width": 0.2, "keypointlabels": [name]},
        **members,
    }


def box(name, x, y, width, height, number="r1", **members):
    value = {"x": x, "y": y, "width": width, "height": height, "rotation": 0}
    return {
        "id": number,
        "type": "rectanglelabels",
        "from_name": "box",
        "to_name": "img",
        "original_width": 60,
        "original_height": 40,
        "value": {**value, "rectanglelabels": [name]},
        **members,
    }


def save(folder, *tasks, name="tasks.json"):
    path = folder / name
    path.write_text(json.dumps(list(tasks)))
    return path


def annotated(*regions, image="/data/upload/3/0a1b2c3d-a.png", **members):
    return {"id": 7, "data": {"img": image}, "annotations": [{"result": list(regions)}], **members}


@pytest.mark.parametrize("name", ["labels.json", "labels.jsonl"])
def test_nothing_is_lost_on_the_way_there_and_back(folder, name):
    before = pose_documents.document()
    del before["categories"][0]["flip_indices"], before["categories"][0]["skeleton"]
    assert write(folder / name, before, format="label-studio") == []
    after = read(folder / name)
    assert after.format == "label-studio" and after.notes == () and after.missing == {}
    assert simplified(after.document, *MEMBERS) == simplified(before, *MEMBERS)
    states = {
        str(each.get("instance_id")) + str(each["image_id"]): manual_keypoints(each)
        for each in after.document["annotations"]
    }
    # Made by a person, predicted, reviewed in part, and made by a person.
    assert states == {"queen1": {0, 1, 2, 3}, "21": set(), "queen3": {0, 1}, "73": {0, 1}}
    assert [each["file_name"] for each in after.document["images"]] == list(SIZES)


def test_sides_and_skeletons_are_said_to_be_lost(folder):
    (note,) = write(folder / "labels.jsonl", pose_documents.document())
    assert note.endswith("of categories: flip_indices, skeleton")


def test_what_is_not_labelled_is_said_to_be_lost(folder):
    """Keypoints that have no place anywhere, and what somebody said of keypoints and boxes."""
    document = pose_documents.document()
    bee = document["categories"][0]
    del bee["flip_indices"], bee["skeleton"]
    bee["keypoints"] = [*bee["keypoints"], "sting", "tongue"]
    for annotation in document["annotations"]:
        if annotation["category_id"] == bee["id"]:
            annotation["keypoints"] = [*annotation["keypoints"], *[0] * 6]
            if "homolog" in annotation:
                extra = annotation["homolog"]
                extra["predicted"] = [*extra["predicted"], *[0] * 6]
                extra["scores"] = [*extra["scores"], 0.5, 0.5]
    extra["reviewed"] = [0, 1, 4, 5]
    extra["box_reviewed"] = True
    assert write(folder / "labels.json", document, format="label-studio") == [
        "Label Studio holds no state of review of boxes: 1",
        "Label Studio holds no state of review of keypoints that are not labelled: 2",
        "Label Studio holds no keypoints that are nowhere labelled: 2",
    ]
    after = read(folder / "labels.json").document["categories"]
    assert "sting" not in [name for each in after for name in each["keypoints"]]


def test_images_that_a_person_labelled_whole_are_annotations(folder):
    document = pose_documents.document()
    document["annotations"] = document["annotations"][:1]
    write(folder / "labels.json", document, format="label-studio")
    tasks = json.loads((folder / "labels.json").read_text())
    assert [sorted(task) for task in tasks] == [["annotations", "data"], ["data"], ["data"]]
    assert tasks[0]["data"] == {"image": "/data/local-files/?d=a.png"}
    first, head, wing, tail = tasks[0]["annotations"][0]["result"]
    assert first["value"]["rectanglelabels"] == ["bee"] and first["id"] == "instance-queen"
    assert head["value"] | {"width": 0} == {
        "x": pytest.approx(100 * 10 / 60), "y": pytest.approx(100 * 11.5 / 40), "width": 0,
        "keypointlabels": ["head"],
    }  # fmt: skip
    assert {each["parentID"] for each in (head, wing, tail)} == {"instance-queen"}
    assert wing["meta"] == {"text": ["occluded"]} and "meta" not in tail


def test_keypoints_of_one_object_without_a_rectangle(folder):
    path = save(folder, annotated(point("head", 50, 25), point("tail", 10, 80)))
    found = read(path)
    (image,) = found.document["images"]
    assert (image["file_name"], image["url"]) == ("a.png", "/data/upload/3/0a1b2c3d-a.png")
    assert found.path(image["id"]) == folder / "a.png"
    (annotation,) = found.document["annotations"]
    assert annotation["keypoints"] == [30, 10, 2, 6, 32, 2] and is_manual(annotation)


def test_rectangles_tell_objects_apart(folder):
    boxes = [box("bee", 0, 0, 50, 100, "r1"), box("bee", 50, 0, 50, 100, "r2")]
    by_parent = [point("head", 75, 5, parentID="r1"), point("head", 20, 5, parentID="r2")]
    by_relation = [
        *by_parent[:1],
        point("head", 20, 5),
        {"type": "relation", "from_id": "head20", "to_id": "r2", "direction": "right"},
    ]
    by_place = [point("head", 75, 5), point("head", 20, 5)]
    for points, expected in ((by_parent, 45), (by_relation, 45), (by_place, 12)):
        found = read(save(folder, annotated(*boxes, *points))).document
        first, second = found["annotations"]
        assert first["bbox"] == [0, 0, 30, 40] and second["bbox"] == [30, 0, 30, 40]
        assert first["keypoints"][0] == expected
        assert first["keypoints"][0] + second["keypoints"][0] == 57


def test_outlines_tell_objects_apart_too(folder):
    outline = {
        **box("bee", 0, 0, 1, 1, "p1"),
        "type": "polygonlabels",
        "value": {"points": [[0, 0], [50, 0], [50, 99]], "polygonlabels": ["bee"]},
    }
    circle = {
        **box("fly", 0, 0, 1, 1, "e1"),
        "type": "ellipselabels",
        "value": {"x": 70, "y": 50, "radiusX": 9, "radiusY": 5, "ellipselabels": ["fly"]},
    }
    points = [point("head", 20, 5, parentID="p1"), point("head", 70, 5, parentID="e1")]
    found = read(save(folder, annotated(outline, circle, *points))).document
    assert [each["category"] for each in simplified(found)] == ["bee", "fly"]


def test_rectangles_without_keypoints_are_objects_with_none(folder):
    regions = [
        box("bee", 0, 0, 50, 100, "r1"),
        box("bee", 50, 0, 50, 100, "r2"),
        box("tray", 0, 0, 100, 100, "r3"),
        point("head", 20, 5, parentID="r1"),
    ]
    found = read(save(folder, annotated(*regions))).document
    assert [each["num_keypoints"] for each in found["annotations"]] == [1, 0]
    assert found["annotations"][1]["bbox"] == [30, 0, 30, 40]


def test_a_turned_rectangle_is_the_parent_and_no_box(folder):
    turned = box("bee", 0, 0, 5, 5)
    turned["value"]["rotation"] = 30
    points = [point("head", 20, 5, parentID="r1"), point("tail", 50, 25, parentID="r1")]
    (found,) = read(save(folder, annotated(turned, *points))).document["annotations"]
    assert found["bbox"] == [12, 2, 18, 8]


def test_labels_in_results_of_their_own(folder):
    place = point("head", 50, 25)
    place["value"].pop("keypointlabels")
    named = {**place, "type": "labels", "value": {**place["value"], "labels": ["head"]}}
    (found,) = read(save(folder, annotated({**place, "type": "keypoint"}, named))).document[
        "annotations"
    ]
    assert found["keypoints"] == [30, 10, 2]


@pytest.mark.parametrize(
    ("regions", "message"),
    [
        ([point("head", 5, 5, original_width=None)], "with original_width and original_height"),
        ([point("head", 5, 5, original_width=-6)], "expected original sizes above 0, got -6 x 40"),
        ([point("head", 5, float("inf"))], "y: expected a number, got inf"),
        ([point("head", 5, 5, score=[])], r"score: expected a number, got \[\]"),
        ([point("head", 5, 5), point("head", 50, 5)], "each keypoint of an object once.*rectangle"),
        ([box("bee", 0, 0, 9, 9), point("head", 50, 5)], "head: expected a keypoint that belongs"),
        (
            [point("head", 5, 5, image_rotation=90)],
            "not turned in Label Studio, got image_rotation",
        ),
        (
            [{"type": "keypointlabels", "value": {"x": "?", "y": 1, "keypointlabels": ["head"]}}],
            "x: expected a number, got '[?]'",
        ),
    ],
)
def test_regions_that_are_not_clear(folder, regions, message):
    with pytest.raises(HomologError, match=rf"^labels: .*tasks.json: task 7: .*{message}"):
        read(save(folder, annotated(*regions)))


def test_which_annotation_counts(folder):
    def made(x, **members):
        return {"result": [point("head", x, 5)], **members}

    cases = [
        ([made(10, updated_at="2026-02"), made(20, updated_at="2026-01")], 6),
        ([made(10, updated_at="2026-02"), made(20, ground_truth=True)], 12),
        ([made(10, was_cancelled=True), made(20)], 12),
    ]
    for several, expected in cases:
        path = save(folder, {"id": 1, "data": {"image": "a.png"}, "annotations": several})
        found = read(path)
        assert found.document["annotations"][0]["keypoints"][0] == expected
        count = sum(not each.get("was_cancelled") for each in several)
        note = f"{path}: task 1: annotations: 2, of which one is read"
        assert found.notes == (note,) * (count - 1)


def test_predictions_count_where_nothing_was_annotated(folder):
    guess = {
        "model_version": "v1",
        "score": 0.4,
        "result": [
            box("bee", 0, 0, 50, 50, score=0.7),
            point("head", 10, 5, parentID="r1", score=0.9, origin="prediction"),
            point("tail", 20, 5, parentID="r1", score=0.3, origin="prediction"),
        ],
    }
    tasks = [
        {"id": 1, "data": {"image": "a.png"}, "predictions": [guess], "annotations": []},
        annotated(point("head", 50, 25), image="b.png", predictions=[guess]),
        {"id": 3, "data": {"image": "c.png"}, "predictions": [12], "annotations": []},
    ]
    path = save(folder, *tasks)
    found = read(path)
    predicted, made = found.document["annotations"]
    assert predicted["homolog"]["scores"] == [0.9, 0.3] and predicted["score"] == 0.7
    assert predicted["homolog"]["doubtful"] == [1] and not is_manual(predicted)
    assert is_manual(made) and made["keypoints"][:3] == [30, 10, 2]
    assert found.notes == (
        f"{path}: task 3: predictions are only counted in the file and not read",
    )
    assert [each.name for each in exemplars.read(path).annotations] == ["b.png"]


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("/data/local-files/?d=set%201/a.png", "set 1/a.png"),
        ("http://localhost:8080/data/upload/1/0a1b2c3d-a.png", "a.png"),
        ("https://example.org/pool/a.png?token=x", "a.png"),
        ("/home/me/pool/a.png", "a.png"),
        ("s3://bucket/pool/a.png", "a.png"),
        ("pool/a.png", "pool/a.png"),
    ],
)
def test_addresses_of_images(tmp_path, address, name):
    (tmp_path / "set 1").mkdir()
    pose_documents.save_images(tmp_path / "set 1")
    pose_documents.save_images(tmp_path / "pool")
    path = save(tmp_path, annotated(point("head", 50, 25), image=address))
    found = read(path, ReadOptions(tmp_path / "pool"))
    (image,) = found.document["images"]
    assert image["file_name"] == name and found.path(image["id"]).name == "a.png"


@pytest.mark.parametrize(
    "address",
    [
        "s3://bucket/proj/{}/a.png",
        "https://example.org/proj/{}/a.png?token={}",
        "/home/me/proj/{}/a.png",
        "/data/local-files/?d=/home/me/proj/{}/a.png",
        "/data/local-files/?d=home/me/proj/{}/a.png",
        "/data/local-files/?d=C%3A%5Cproj%5C{}%5Ca.png",
        "{}/a.png",
    ],
)
def test_images_of_the_same_name_in_different_folders(tmp_path, address):
    for name in ("cam1", "cam2"):
        pose_documents.save_images(tmp_path / "pool" / name)
    pose_documents.save_images(tmp_path / "pool")  # images of these names that are neither
    tasks = [
        annotated(point("head", x, 25), image=address.replace("{}", name))
        for x, name in ((10, "cam1"), (50, "cam2"), (90, "cam3"))
    ]
    found = read(save(tmp_path, *tasks), ReadOptions(tmp_path / "pool"))
    names = [image["file_name"] for image in found.document["images"]]
    assert names[:2] == ["cam1/a.png", "cam2/a.png"] and names[2].endswith("cam3/a.png")
    assert [each["image_id"] for each in found.document["annotations"]] == [1, 2, 3]
    assert found.paths[1].samefile(tmp_path / "pool" / "cam1" / "a.png")
    assert found.paths[2].samefile(tmp_path / "pool" / "cam2" / "a.png")
    assert "cam3/a.png" in found.missing[3]


def test_addresses_that_lead_to_one_image(folder):
    several = ("/data/upload/3/0a1b2c3d-a.png", "/data/upload/3/ffffffff-a.png")
    path = save(folder, *(annotated(point("head", 50, 25), image=each) for each in several))
    message = refused(lambda: read(path), *several, "a.png for both")
    assert "\n" not in message
    server = ("/data/upload/3/0a1b2c3d-a.png", "http://localhost/data/upload/3/0a1b2c3d-a.png")
    path = save(folder, *(annotated(point("head", 50, 25), image=each) for each in server))
    assert len(read(path).document["images"]) == 1


def test_labels_of_photos_of_another_size_are_scaled(folder):
    Image.new("RGB", (120, 80)).save(folder / "a.png")
    found = read(save(folder, annotated(point("head", 50, 25), image="a.png")))
    assert found.document["annotations"][0]["keypoints"] == [60, 20, 2]
    assert "scaled" in found.notes[0]


def test_forms_of_files(folder):
    task = annotated(point("head", 50, 25), image="a.png")
    stored = {"result": task["annotations"][0]["result"], "task": {"id": 7, "data": task["data"]}}
    for content in ({"tasks": [task], "total": 1}, task, stored, [stored]):
        (folder / "tasks.json").write_text(json.dumps(content))
        assert len(read(folder / "tasks.json").document["annotations"]) == 1
    coco = {"images": [], "annotations": [], "categories": []}
    (folder / "tasks.json").write_text(json.dumps(coco))
    assert find_format(folder / "tasks.json").name == "coco"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            [{"data": {"text": "hello"}, "annotations": []}],
            "task 1: data: expected one image, got none",
        ),
        (
            [{"data": {"a": "a.png", "b": "b.png"}, "annotations": []}],
            "task 1: data: expected one image, got a, b",
        ),
        ([{"data": {}, "annotations": []}, 3], "expected tasks of Label Studio, each with data"),
    ],
)
def test_tasks_that_cannot_be_read(folder, content, message):
    (folder / "tasks.json").write_text(json.dumps(content))
    with pytest.raises(HomologError, match=f"^labels: .*tasks.json: {message}"):
        read(folder / "tasks.json")


def test_lines_that_are_not_json(folder):
    (folder / "tasks.jsonl").write_text('{"data": {"image": "a.png"}}\n{"data"\n')
    with pytest.raises(HomologError, match=r"tasks.jsonl, line 2: expected JSON, got "):
        read(folder / "tasks.jsonl")


def test_sleap_io_reads_what_is_written_and_writes_what_is_read(folder):
    sleap_io = pytest.importorskip("sleap_io")
    document = pose_documents.document()
    document["annotations"] = document["annotations"][:1] + document["annotations"][3:]
    write(folder / "labels.json", document, format="label-studio")
    tasks = json.loads((folder / "labels.json").read_text())
    tasks = [task for task in tasks if "annotations" in task]
    for task in tasks:
        # sleap-io takes frames of videos, and relations in place of parents.
        task["meta"] = {"video": {"filename": "clip.mp4", "frame_idx": 0, "shape": [1, 40, 60, 3]}}
        result = task["annotations"][0]["result"]
        result += [
            {"type": "relation", "from_id": each["id"], "to_id": each["parentID"]}
            for each in result
            if "parentID" in each
        ]
    labels = sleap_io.load_labelstudio(str(save(folder, *tasks)))
    (first,) = labels[0].instances
    np.testing.assert_allclose(first["head"]["xy"], [10, 11.5])
    np.testing.assert_allclose(first["tail"]["xy"], [22, 30.25])
