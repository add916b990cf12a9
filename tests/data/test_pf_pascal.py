"""PF-PASCAL: its lists and annotations are read as published, and errors name their line."""

import numpy as np
import pytest
from helpers import datasets
from scipy.io import savemat

from homolog.data import pf_pascal


def test_pf_pascal(tmp_path):
    root = datasets.make_pf_pascal(tmp_path / "PF-dataset-PASCAL")
    dataset = pf_pascal.load(root)
    assert len(dataset.pairs) == 2 * 3 and set(dataset.schemas) == {"aeroplane", "tvmonitor"}
    assert dataset.threshold == "image" and dataset.notes == ()
    assert {pair.target.reference_length("image") for pair in dataset.pairs} == {max(datasets.SIZE)}
    training = pf_pascal.load(root, "trn")
    assert len(training.pairs) == 6, "flipped copies are left out"
    assert training.notes == ("flipped copies of pairs, left out: 6",)
    for listed, annotated in zip(dataset.pairs, training.pairs, strict=True):
        for a, b in ((listed.source, annotated.source), (listed.target, annotated.target)):
            np.testing.assert_array_equal(
                a.keypoints[listed.keypoint_ids], b.keypoints[annotated.keypoint_ids]
            )


def test_pf_pascal_lists_and_images_in_other_folders(tmp_path):
    root = datasets.make_pf_pascal(tmp_path / "elsewhere")
    assert len(pf_pascal.load(root).pairs) == 6, "found in JPEGImages by their names"
    (root / "image_pairs").mkdir()
    (root / "test_pairs_pf_pascal.csv").rename(root / "image_pairs" / "test_pairs.csv")
    assert len(pf_pascal.load(root).pairs) == 6
    (root / "image_pairs" / "test_pairs.csv").unlink()
    datasets.refused(lambda: pf_pascal.load(root), root, "test_pairs.csv", pf_pascal.HOMEPAGE)


def test_pf_pascal_points_that_are_not_there(tmp_path):
    root = datasets.make_pf_pascal(tmp_path)
    image = "JPEGImages/2008_000000_aeroplane.jpg"
    row = {"source_image": image, "target_image": image.replace("0_", "1_"), "class": "1.0"}
    points = {"XA": "1;2;;4", "YA": "1;2;3;4", "XB": "5;nan;7;8", "YB": "5;6;7;8"}
    datasets.save_csv(root / "test_pairs.csv", [{**row, **points}])
    (pair,) = pf_pascal.load(root).pairs
    assert pair.keypoint_ids.tolist() == [0, 3]
    assert pair.source.keypoints[3].tolist() == [4, 4]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"class": "21"}, "class: expected 1 to 20, got 21"),
        ({"class": "cat"}, "class: expected 1 to 20, got cat"),
        ({"class": ""}, "class: expected a value"),
        ({"source_image": "none.jpg"}, "expected an image none.jpg"),
        ({"XA": "1;2"}, "expected as many x as y"),
        ({"XA": "a"}, "XA: expected numbers between semicolons"),
        ({"XA": "1", "YA": "1"}, "expected as many source as target points, got 1"),
        (
            {"XA": ";;", "YA": ";;", "XB": "1;2;3", "YB": "1;2;3"},
            "expected a point visible in both",
        ),
    ],
)
def test_pf_pascal_that_is_wrong(change, reason, tmp_path):
    root = datasets.make_pf_pascal(tmp_path)
    path = root / "test_pairs_pf_pascal.csv"
    lines = path.read_text().splitlines()
    rows = [dict(zip(lines[0].split(","), line.split(","), strict=True)) for line in lines[1:]]
    rows[2].update(change)
    datasets.save_csv(path, rows)
    datasets.refused(lambda: pf_pascal.load(root), f"{path}, line 4: ", reason)


def test_pf_pascal_files_that_are_wrong(tmp_path):
    root = datasets.make_pf_pascal(tmp_path)
    path = root / "Annotations" / "tvmonitor" / "2008_000001_tvmonitor.mat"
    savemat(path, {"kps": np.ones((3, 4))})
    datasets.refused(lambda: pf_pascal.load(root, "trn"), "line 8", path, "3 x 4")
    path.unlink()
    datasets.refused(lambda: pf_pascal.load(root, "trn"), path)
    path = root / "test_pairs_pf_pascal.csv"
    path.write_text("source_image,class\n")
    datasets.refused(
        lambda: pf_pascal.load(root), f"{path}, line 1", "expected a column target_image"
    )
    path.write_text("source_image,target_image,class,XA,YA,XB,YB\n")
    datasets.refused(lambda: pf_pascal.load(root), path, "expected pairs")
    path.write_bytes(b"\xff\xff")
    datasets.refused(lambda: pf_pascal.load(root), path, "expected a CSV list of pairs")
