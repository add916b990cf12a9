"""Landmark reports: errors and repeatability of labels that are known, the command, the drawing."""

from __future__ import annotations

import copy
import csv

import numpy as np
import pytest
from helpers.command import run
from helpers.datasets import refused
from helpers.specimens import save_images
from PIL import Image

from homolog.data.formats.document import DocumentBuilder, LabelFile
from homolog.data.label_files import read, write
from homolog.labelling.landmark_report import landmark_report, shapes_of

NAMES = ["tip", "base", "left", "right"]


def labels(count=6, seed=0, objects=1, image="{}.png", names=NAMES, scale="0.5"):
    """Objects of a few images, each somewhere else; the first two landmarks are 50 pixels apart."""
    rng = np.random.default_rng(seed)
    builder = DocumentBuilder([{"id": 1, "name": "wing", "keypoints": list(names)}])
    for number in range(count):
        for instance in range(objects):
            start = np.array([100 + 300 * instance, 100]) + rng.uniform(-9, 9, 2)
            rows = start + np.array([[0, 0], [30, 40], [10, 30], [25, 8]])
            rows[2:] += rng.uniform(-3, 3, (2, 2))
            points = {name: (x, y, 2) for name, (x, y) in zip(names, rows, strict=True)}
            members = {"attributes": {"SCALE": scale}} if scale else {}
            name = image.format(number)
            builder.add_annotation(builder.add_image(name, (900, 400)), "wing", points, **members)
    return builder.build()


def shifted(file, keypoint, by):
    """The same labels with one keypoint moved."""
    document = copy.deepcopy(file.document)
    for each in document["annotations"]:
        each["keypoints"][3 * keypoint : 3 * keypoint + 2] = np.add(
            each["keypoints"][3 * keypoint : 3 * keypoint + 2], by
        ).tolist()
    return LabelFile(document, {}, {})


def test_errors_in_percent_and_in_units():
    truth = labels()
    report = landmark_report(shifted(truth, 2, (3, 4)), truth)
    np.testing.assert_allclose(report.lengths, 50)
    rows = report.landmark_rows()
    assert [row["landmark"] for row in rows] == [*NAMES, "all"]
    assert [row["error_percent"] for row in rows] == pytest.approx([0, 0, 10, 0, 2.5])
    assert [row["error_units"] for row in rows] == pytest.approx([0, 0, 2.5, 0, 0.625])
    assert [row["error_pixels"] for row in rows] == pytest.approx([0, 0, 5, 0, 1.25])
    assert [row["compared"] for row in rows] == [6, 6, 6, 6, 24]
    assert [row["error_percent"] for row in report.object_rows()] == pytest.approx([2.5] * 6)
    assert "mean error 2.50 % of the object's length, 0.625 in the file's units" in report.summary()
    assert "units" not in landmark_report(labels(scale=""), labels(scale="")).summary()
    same = landmark_report(truth, truth)
    assert same.repeatability[0] == pytest.approx(1)
    assert same.landmark_rows()[-1]["error_percent"] == 0


def test_shapes_without_truth():
    report = landmark_report(labels())
    rows = report.landmark_rows()
    assert report.errors is None and "error_percent" not in rows[0]
    assert rows[0]["residual"] < rows[2]["residual"]  # that one varies
    assert report.summary().startswith("6 objects, 4 landmarks; residuals")
    assert [row["length_units"] for row in report.object_rows()] == pytest.approx([25] * 6)


def test_objects_are_matched():
    truth = labels(objects=2)
    mixed = shifted(truth, 1, (6, 8))
    mixed.document["annotations"].reverse()
    assert landmark_report(mixed, truth).landmark_rows()[-1]["error_pixels"] == pytest.approx(2.5)
    # Instance ids come first: these say that the two objects of the first image changed places.
    for number, each in enumerate(truth.document["annotations"][:2]):
        each["instance_id"] = number
    for number, each in enumerate(mixed.document["annotations"][-2:]):
        each["instance_id"] = number
    assert landmark_report(mixed, truth).errors.max() > 200
    other = labels(count=8)
    other.document["categories"][0] |= {"name": "Wing", "keypoints": ["tip", "left", "base", "x"]}
    report = landmark_report(labels(), other)
    assert [row["landmark"] for row in report.landmark_rows()] == ["tip", "base", "left", "all"]
    assert report.notes == ("objects that only the other labels have: 2",)


def test_landmarks_that_are_missing():
    file = labels()
    document = copy.deepcopy(file.document)
    document["annotations"][0]["keypoints"][:3] = [0, 0, 0]
    document["annotations"][1]["keypoints"] = [0] * 12
    report = landmark_report(LabelFile(document, {}, {}), file)
    assert [row["compared"] for row in report.landmark_rows()] == [4, 5, 5, 5, 19]
    assert report.notes == ("objects that only the other labels have: 1",)


def test_what_cannot_be_reported():
    file = labels()
    refused(lambda: landmark_report(file, labels(image="x{}.png")), "same images", "x0.png")
    refused(lambda: landmark_report(file, labels(names=list("abcd"))), "same names", "a, b, c, d")
    empty = LabelFile({"images": [], "annotations": [], "categories": []}, {}, {})
    refused(lambda: landmark_report(empty), "category", "none")
    two = copy.deepcopy(file.document)
    two["categories"].append({"id": 2, "name": "leg", "keypoints": ["a"]})
    two["annotations"].append(
        {"id": 99, "image_id": 1, "category_id": 2, "keypoints": [1, 1, 2], "bbox": [0, 0, 9, 9]}
    )
    two = LabelFile(two, {}, {})
    refused(lambda: landmark_report(two), "category", "wing, leg")
    assert landmark_report(two, category="leg").landmark_rows()[0]["labelled"] == 1
    refused(lambda: landmark_report(two, category="fin"), "fin of wing, leg")


def test_the_drawing():
    document = labels(count=40).document
    document["categories"][0]["curves"] = [[0, 2, 1]]
    drawn = landmark_report(LabelFile(document, {}, {})).plot()
    pixels = np.asarray(drawn.convert("RGB")).reshape(-1, 3)
    assert drawn.width > 1000 and len(np.unique(pixels, axis=0)) > 100
    many = labels(names=[f"landmark {n}" for n in range(4)], count=1)
    assert landmark_report(many, many).plot().height < 900


def test_the_command(tmp_path, capsys):
    folder = save_images(tmp_path / "images")
    text = "LM=3\n10 30\n20 39\n{} 5\nIMAGE=a.png\nSCALE=2\n"
    text += "LM=3\n5 9\n9 9\n40 7\nIMAGE=d.jpg\nSCALE=2\n"
    for name, x in (("a", 30), ("b", 33)):
        (tmp_path / f"{name}.tps").write_text(text.format(x))
    status, printed, errors = run(
        capsys, "labels", "report", tmp_path / "b.tps", "--truth", tmp_path / "a.tps",
        "--images", folder, "--out", tmp_path / "r.csv", "--plot", tmp_path / "r.png",
    )  # fmt: skip
    assert (status, errors) == (0, "")
    length = np.hypot(10, 34)  # between the second and the third
    percent = 100 * 3 / length / 6
    assert printed.startswith(f"2 objects, 3 landmarks; mean error {percent:.2f} %")
    with (tmp_path / "r.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["landmark"] for row in rows] == ["1", "2", "3", "all"]
    assert float(rows[2]["error_units"]) == pytest.approx(3)
    with (tmp_path / "r_objects.csv").open() as file:
        assert [row["image"] for row in csv.DictReader(file)] == ["a.png", "d.jpg"]
    with Image.open(tmp_path / "r.png") as drawn:
        assert drawn.width > 1000
    for arguments, part in (
        ([tmp_path / "a.tps", "--out", tmp_path / "r.txt"], "out: expected a name ending in .csv"),
        (
            [tmp_path / "a.tps", "--plot", tmp_path / "r.jpg"],
            "plot: expected a name ending in .png",
        ),
        ([tmp_path / "none.tps"], "file: expected an existing file"),
        (
            [tmp_path / "a.tps", "--truth", tmp_path / "none.tps"],
            "truth: expected an existing file",
        ),
    ):
        status, _, errors = run(capsys, "labels", "report", *arguments)
        assert status == 2 and part in errors and errors.count("\n") == 1


def test_files_of_different_formats(tmp_path):
    folder = save_images(tmp_path / "images")
    (tmp_path / "a.tps").write_text("LM=2\n10 30\n20 39\nIMAGE=a.png\n")
    file = read(tmp_path / "a.tps")
    write(tmp_path / "b.json", file.document)
    other = read(tmp_path / "b.json")
    other.document["images"][0]["file_name"] = "images/a.png"
    report = landmark_report(file, other)
    assert report.errors.max() == 0 and shapes_of(other).places == [str(folder / "a.png")]


def test_copies_of_images(tmp_path):
    files = []
    for name in ("one", "two"):
        save_images(tmp_path / name)
        (tmp_path / name / "a.tps").write_text("LM=2\n10 30\n20 39\nIMAGE=a.png\n")
        files.append(read(tmp_path / name / "a.tps"))
    assert landmark_report(*files).errors.max() == 0
    both = labels(count=2, image="{}/a.png")  # two images of one name in different folders
    elsewhere = labels(count=2, image="x/{}/a.png")
    refused(lambda: landmark_report(both, elsewhere), "same images")
    assert landmark_report(both, both).errors.max() == 0
