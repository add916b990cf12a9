"""Labelled images are read from COCO, YOLO-pose and CSV files alike."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from helpers import toy_annotate
from helpers.toy_training import SCHEMA, toy_data

from homolog import HomologError
from homolog.data.exemplars import read
from homolog.data.labels import EXTRA


def as_coco(data, extra=()) -> dict:
    images = [
        {"id": i, "file_name": a.path.name, "width": 96, "height": 80}
        for i, a in enumerate(data.annotations)
    ]
    annotations = []
    for i, a in enumerate(data.annotations):
        points = np.column_stack([np.nan_to_num(a.keypoints), 2 * a.visible])
        x0, y0, x1, y1 = a.box
        annotations.append(
            {"id": i + 1, "image_id": i, "category_id": 4, "bbox": [x0, y0, x1 - x0, y1 - y0],
             "keypoints": points.flatten().tolist(), **dict(extra)}
        )  # fmt: skip
    return {"images": images, "annotations": annotations, "categories": [toy_annotate.CATEGORY]}


def assert_same(found, data):
    assert found.schemas == data.schemas
    for a, b in zip(found.annotations, data.annotations, strict=True):
        assert a.path.resolve() == b.path.resolve() and a.category == b.category
        np.testing.assert_allclose(a.keypoints, b.keypoints, atol=1e-3)


@pytest.mark.parametrize(
    "extra",
    [
        {},
        # As CVAT and FiftyOne export: attributes of theirs, no `homolog`.
        {"attributes": {"occluded": False, "keyframe": True}, "segmentation": [], "iscrowd": 0},
        {"score": 0.7, "tags": ["reviewed"], "area": 12.5},
    ],
)
def test_coco(tmp_path, extra):
    data = toy_data(tmp_path / "images", 3)
    (tmp_path / "labels.json").write_text(json.dumps(as_coco(data, extra.items())))
    found = read(tmp_path / "labels.json", tmp_path / "images")
    assert_same(found, data)
    assert found.categories == [toy_annotate.CATEGORY]
    np.testing.assert_allclose(
        [a.box for a in found.annotations], [a.box for a in data.annotations]
    )


def test_yolo_pose(tmp_path):
    data = toy_data(tmp_path / "images" / "train", 3)
    (tmp_path / "labels" / "train").mkdir(parents=True)
    mirror = list(SCHEMA.mirror)
    names = list(SCHEMA.names)
    (tmp_path / "toys.yaml").write_text(
        f"path: .\ntrain: images/train\nval: images/val\nkpt_shape: [5, 3]\nflip_idx: {mirror}\n"
        f"names:\n  0: toy\nkpt_names:\n  0: {names}\n"
    )
    for a in data.annotations:
        x0, y0, x1, y1 = a.box
        box = [(x0 + x1) / 2 / 96, (y0 + y1) / 2 / 80, (x1 - x0) / 96, (y1 - y0) / 80]
        points = np.column_stack([np.nan_to_num(a.keypoints) / (96, 80), 2 * a.visible]).flatten()
        row = " ".join(f"{v:.7f}" for v in [*box, *points])
        (tmp_path / "labels" / "train" / f"{a.path.stem}.txt").write_text(f"0 {row}\n")
    found = read(tmp_path / "toys.yaml")
    assert_same(found, data)
    np.testing.assert_allclose(found.annotations[0].box, data.annotations[0].box, atol=1e-4)
    (tmp_path / "labels" / "train" / "toy0.txt").write_text("0 0.5 0.5 1 1 0.1\n")
    with pytest.raises(
        HomologError, match=r"toy0.txt, line 1: expected class, box and 5 keypoints"
    ):
        read(tmp_path / "toys.yaml")


def test_csv(tmp_path):
    data = toy_data(tmp_path / "images", 3)
    rows = ["image,keypoint,x,y,category"]
    for a in data.annotations:
        for name, (x, y) in zip(SCHEMA.names, a.keypoints, strict=True):
            if np.isfinite(x):
                rows.append(f"{a.path.name},{name},{x:.6f},{y:.6f},toy")
    (tmp_path / "toys.csv").write_text("\n".join(rows))
    assert_same(read(tmp_path / "toys.csv", tmp_path / "images"), data)
    for line, reason in (
        ("toy0.png,nose,3,4,toy", "line 16: expected each keypoint of toy0.png once, got 'nose'"),
        ("toy0.png,ear,3,x,toy", "line 16: expected numbers as x and y, got '3', 'x'"),
        ("toy9.png,ear,3,4,toy", "expected an image toy9.png"),
    ):
        (tmp_path / "bad.csv").write_text("\n".join([*rows, line]))
        with pytest.raises(HomologError, match=reason):
            read(tmp_path / "bad.csv", tmp_path / "images")
    (tmp_path / "bad.csv").write_text("image,x,y\na.png,1,2\n")
    with pytest.raises(HomologError, match="line 1: expected a heading with image, keypoint, x"):
        read(tmp_path / "bad.csv", tmp_path / "images")


def test_exemplars_that_cannot_be_used(tmp_path):
    toy_data(tmp_path / "images", 2)
    for name, content, reason in (
        ("a.pdf", "", r"expected a file in .*\.json, .*\.tps, .* got .*a\.pdf"),
        ("a.json", None, "expected an existing file"),
        ("a.json", "{}", "expected a COCO file"),
        ("a.yaml", "names: [toy]", "expected kpt_shape"),
        ("a.yaml", "a: [", "expected a YAML file"),
        ("a.csv", "image,keypoint,x,y", "expected objects with visible keypoints, got none"),
    ):
        path = tmp_path / name
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_text(content)
        with pytest.raises(HomologError, match=reason):
            read(path, tmp_path)


def crowd(data) -> dict:
    """A COCO file with the objects of three images in the first of them, side by side."""
    file = as_coco(data)
    for number, entry in enumerate(file["annotations"]):
        entry["image_id"] = 0
        entry["bbox"] = [30.0 * number, 4.0, 28.0, 60.0]
    return file


def test_every_object_of_an_image_is_an_exemplar(tmp_path):
    data = toy_data(tmp_path / "images", 3)
    path = tmp_path / "labels.json"
    file = crowd(data)
    path.write_text(json.dumps(file))
    found = read(path, tmp_path / "images")
    assert [a.name for a in found.annotations] == ["toy0.png#1", "toy0.png#2", "toy0.png#3"]
    assert found.instances == [1, 2, 3] and found.notes == ()
    for annotation, known in zip(found.annotations, data.annotations, strict=True):
        assert annotation.path.name == "toy0.png" and annotation.shares_image
        np.testing.assert_allclose(annotation.keypoints, known.keypoints)
    assert found.annotations[1].xywh == (30.0, 4.0, 28.0, 60.0)
    # Track ids name them; those without get a number that is free.
    file["annotations"][0]["track_id"] = "queen"
    file["annotations"][2]["attributes"] = {"track_id": 1}
    path.write_text(json.dumps(file))
    assert read(path, tmp_path / "images").instances == ["queen", 2, 1]
    # One that shows nothing is no exemplar, and the other two keep their ids.
    file["annotations"][1]["keypoints"] = [0] * 15
    path.write_text(json.dumps(file))
    assert read(path, tmp_path / "images").instances == ["queen", 1]
    # What is alone in its image is named as the image is.
    file["annotations"][0]["keypoints"] = [0] * 15
    path.write_text(json.dumps(file))
    (alone,) = read(path, tmp_path / "images").annotations
    assert alone.name == "toy0.png" and not alone.shares_image


def test_objects_that_cannot_be_told_apart_are_left_out(tmp_path):
    data = toy_data(tmp_path / "images", 3)
    path = tmp_path / "labels.json"
    file = crowd(data)
    file["annotations"][0]["bbox"] = [200, 4, 28, 60]
    file["annotations"][1]["track_id"] = file["annotations"][2]["track_id"] = "queen"
    path.write_text(json.dumps(file))
    found = read(path, tmp_path / "images")
    assert [a.name for a in found.annotations] == ["toy0.png#queen"]
    outside, twice = found.notes
    assert outside.startswith(f"{path}: toy0.png#1: box: expected") and "outside" in outside
    assert twice == (
        f"{path}: toy0.png#queen: expected each instance once in an image, got it again; "
        "it is left out"
    )
    for entry in file["annotations"]:
        entry["bbox"] = [200, 4, 28, 60]
    path.write_text(json.dumps(file))
    with pytest.raises(HomologError, match=r"visible keypoints, got none in .*toy0.png#1: box"):
        read(path, tmp_path / "images")
    file["annotations"][0]["track_id"] = [1]
    path.write_text(json.dumps(file))
    with pytest.raises(HomologError, match=r"annotation 1: instance: expected text or a whole"):
        read(path, tmp_path / "images")


def test_several_rows_of_a_yolo_file(tmp_path):
    toy_data(tmp_path / "images", 1)
    rows = []
    for left in (0.25, 0.75):
        points = " ".join(f"{left + 0.04 * k} {0.2 + 0.1 * k} 2" for k in range(5))
        rows.append(f"0 {left} 0.5 0.4 0.8 {points}\n")
    (tmp_path / "images" / "toy0.txt").write_text("".join(rows))
    (tmp_path / "toys.yaml").write_text("train: images\nkpt_shape: [5, 3]\nnames: [toy]\n")
    found = read(tmp_path / "toys.yaml")
    assert [a.name for a in found.annotations] == ["images/toy0.png#1", "images/toy0.png#2"]
    assert found.instances == [1, 2]
    np.testing.assert_allclose(found.annotations[1].xywh, (0.55 * 96, 8, 38.4, 64))
    np.testing.assert_allclose(found.annotations[1].keypoints[0], (72, 16))


def test_a_table_with_instances(tmp_path):
    toy_data(tmp_path / "images", 2)
    rows = [
        {"image": image, "keypoint": part, "x": 20 * number + x, "y": 30 + y, "instance": name}
        for image, names in (("toy0.png", ("m1", "2")), ("toy1.png", ("m1",)))
        for number, name in enumerate(names)
        for part, x, y in (("nose", 1, 2), ("tail", 9, 14))
    ]
    path = tmp_path / "toys.csv"
    pd.DataFrame(rows).sample(frac=1, random_state=3).sort_values(["image"]).to_csv(path)
    found = read(path, tmp_path / "images")
    assert {a.name: i for a, i in zip(found.annotations, found.instances, strict=True)} == {
        "toy0.png#m1": "m1", "toy0.png#2": 2, "toy1.png": "m1"
    }  # fmt: skip
    second = next(a for a in found.annotations if a.name == "toy0.png#2")
    order = [list(found.schemas["thing"].names).index(part) for part in ("nose", "tail")]
    assert second.keypoints[order].tolist() == [[21, 32], [29, 44]]
    assert second.xywh == (21, 32, 8, 12), "the box around its keypoints"
    pd.DataFrame(rows).drop(columns="instance").to_csv(path)
    with pytest.raises(HomologError, match=r"'nose' again; try a column instance"):
        read(path, tmp_path / "images")
    # An object of one keypoint has no box that tells it from its neighbour.
    pd.DataFrame(rows[:3]).to_csv(path)
    found = read(path, tmp_path / "images")
    assert found.instances == ["m1"] and "box: expected one to tell it from" in found.notes[0]


def test_only_reviewed_keypoints_of_predicted_labels_count(tmp_path):
    """Of three predicted keypoints one was reviewed and one edited by another tool."""
    data = toy_data(tmp_path / "images", 2)
    labels = as_coco(data)
    first = labels["annotations"][0]
    predicted = list(first["keypoints"])
    first[EXTRA] = {"scores": [0.9] * 5, "doubtful": [], "reviewed": [1], "predicted": predicted}
    first["keypoints"] = [*predicted[:6], predicted[6] + 3, *predicted[7:]]
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    found = read(tmp_path / "labels.json", tmp_path / "images")
    assert found.annotations[0].visible.tolist() == [False, True, True, False, False]
    assert found.annotations[1].visible.tolist() == data.annotations[1].visible.tolist()


def test_sides_that_contradict_the_names_are_said(tmp_path):
    data = toy_data(tmp_path / "images", 2)
    file = as_coco(data)
    path = tmp_path / "labels.json"
    names = list(SCHEMA.names)
    told = list(SCHEMA.mirror)
    for indices, said in (
        (told, None),
        (list(range(len(told))), "pair .* with itself, and its name pairs it with"),
    ):
        file["categories"] = [{**toy_annotate.CATEGORY, "flip_indices": indices}]
        path.write_text(json.dumps(file))
        notes = read(path, tmp_path / "images").notes
        assert (notes == ()) if said is None else re.search(said, *notes)
    twice = [names[0], *names[:-1]]
    file["categories"] = [{**toy_annotate.CATEGORY, "keypoints": twice, "flip_indices": told}]
    path.write_text(json.dumps(file))
    with pytest.raises(HomologError, match="expected each keypoint once"):
        read(path, tmp_path / "images")
