"""Labelled images are read from COCO, YOLO-pose and CSV files alike."""

import json

import numpy as np
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
        ("toy0.png,ear,3,x,toy", "line 16: could not convert"),
        ("toy9.png,ear,3,4,toy", "expected an image toy9.png"),
    ):
        (tmp_path / "bad.csv").write_text("\n".join([*rows, line]))
        with pytest.raises(HomologError, match=reason):
            read(tmp_path / "bad.csv", tmp_path / "images")
    (tmp_path / "bad.csv").write_text("image,x,y\na.png,1,2\n")
    with pytest.raises(HomologError, match="line 2: expected a column 'keypoint'"):
        read(tmp_path / "bad.csv", tmp_path / "images")


def test_exemplars_that_cannot_be_used(tmp_path):
    data = toy_data(tmp_path / "images", 2)
    for name, content, reason in (
        ("a.txt", "", r"expected a file in .json, .yaml, .yml, .csv"),
        ("a.json", None, "expected an existing file"),
        ("a.json", "{}", "expected a COCO file"),
        ("a.yaml", "names: [toy]", "expected kpt_shape"),
        ("a.yaml", "a: [", "expected a YAML file"),
        ("a.csv", "image,keypoint,x,y", "expected images with keypoints of one object, got none"),
    ):
        path = tmp_path / name
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_text(content)
        with pytest.raises(HomologError, match=reason):
            read(path, tmp_path)
    twice = as_coco(data)
    twice["annotations"] += [a | {"id": a["id"] + 9} for a in twice["annotations"]]
    (tmp_path / "a.json").write_text(json.dumps(twice))
    with pytest.raises(HomologError, match="of one object"):
        read(tmp_path / "a.json", tmp_path / "images")


def test_only_reviewed_keypoints_of_predicted_labels_count(tmp_path):
    """Of three predicted keypoints one was reviewed and one edited by another tool."""
    data = toy_data(tmp_path / "images", 2)
    labels = as_coco(data)
    first = labels["annotations"][0]
    predicted = list(first["keypoints"])
    first[EXTRA] = {"scores": [], "doubtful": [], "reviewed": [1], "predicted": predicted}
    first["keypoints"] = [*predicted[:6], predicted[6] + 3, *predicted[7:]]
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    found = read(tmp_path / "labels.json", tmp_path / "images")
    assert found.annotations[0].visible.tolist() == [False, True, True, False, False]
    assert found.annotations[1].visible.tolist() == data.annotations[1].visible.tolist()
