"""`homolog objects` from its arguments to its files."""

from __future__ import annotations

import json

import pytest
from helpers.command import run
from PIL import Image

from homolog import Matcher
from homolog.data.boxes import read_boxes
from homolog.example import pair
from homolog.labelling.neighbours import overlap


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch, matcher):
    """A folder of images with the fox, the husky and nothing, a broken one, and the fox's box."""
    monkeypatch.setattr(
        Matcher, "from_pretrained", classmethod(lambda cls, *_, **__: matcher.with_config())
    )
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images" / "more").mkdir(parents=True)
    with pair() as example:
        (tmp_path / "fox.jpg").write_bytes(example.image0.read_bytes())
        (tmp_path / "images" / "husky.jpg").write_bytes(example.image1.read_bytes())
        (tmp_path / "fox.csv").write_text(
            "image,x,y,width,height,category\nfox.jpg,41,20,570,360,fox"
        )
        points = example.keypoints1[example.visible]
    Image.new("RGB", (320, 240), (90, 120, 60)).save(tmp_path / "images" / "more" / "empty.png")
    (tmp_path / "images" / "broken.jpg").write_bytes(b"no image")
    low, high = points.min(axis=0), points.max(axis=0)
    return tuple(low.tolist()) + tuple((high - low).tolist())


def test_a_folder(tmp_path, capsys, folder):
    """Boxes are printed, written as COCO that is read again, and drawn; a broken image is said."""
    status, out, err = run(
        capsys, "objects", "images", "--exemplars", "fox.csv", "--out", "boxes.json",
        "--draw", "drawn",
    )  # fmt: skip
    assert status == 0
    husky, empty = out.splitlines()
    assert empty == "more/empty.png: nothing like the exemplars found"
    name, box, score, category = husky.split()
    values = tuple(map(float, box.split(",")))
    assert name == "husky.jpg" and category == "fox" and 0.5 < float(score) <= 1
    assert overlap(values, folder) > 0.6
    assert "skipped: broken.jpg: image: expected an image in a known format" in err
    document = json.loads((tmp_path / "boxes.json").read_text())
    assert [image["file_name"] for image in document["images"]] == ["husky.jpg", "more/empty.png"]
    assert document["annotations"][0]["instance_id"] == 1
    assert document["categories"] == [{"id": 1, "name": "fox"}]
    boxes = read_boxes(tmp_path / "boxes.json", tmp_path / "images")
    assert not boxes.problems and boxes.count == 1
    (read,) = boxes.of(tmp_path / "images" / "husky.jpg")
    assert read.category == "fox" and read.score == pytest.approx(float(score), abs=0.006)
    assert read.box == pytest.approx(values, abs=0.06)
    assert boxes.of(tmp_path / "images" / "more" / "empty.png") == []
    drawn = sorted(
        path.relative_to(tmp_path / "drawn").as_posix()
        for path in (tmp_path / "drawn").rglob("*.png")
    )
    assert drawn == ["husky.jpg.png", "more/empty.png.png"]


def test_an_image_without_exemplars(tmp_path, capsys):
    status, out, err = run(capsys, "objects", "fox.jpg", "--draw", "drawn.png")
    assert status == 0 and "drawings: drawn.png" in err
    name, box, _, category = out.split()
    assert (name, category) == ("fox.jpg", "object")
    assert overlap(tuple(map(float, box.split(","))), (41, 20, 570, 360)) > 0.6
    with Image.open(tmp_path / "drawn.png") as drawing:
        assert drawing.width > 640


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("nowhere", "images: expected a file or folder, got nowhere, which does not exist"),
        ("fox.jpg --max-objects 0", "max_objects: expected at least 1, got 0"),
        ("fox.jpg --out boxes.csv", "out: expected a name ending in .json, got boxes.csv"),
        ("fox.jpg --draw fox.jpg", "draw: expected another file than the inputs, got fox.jpg"),
        ("images --draw fox.jpg", "draw: expected a folder for the drawings of a folder"),
        ("images --draw images/drawn", "draw: expected a folder outside images"),
        ("images/broken.jpg", "image: expected an image in a known format"),
        ("fox.jpg --exemplars nothing.csv", "boxes: expected an existing file"),
    ],
)
def test_errors_are_one_line(capsys, arguments, reason):
    status, out, err = run(capsys, "objects", *arguments.split())
    assert status == 2 and out == ""
    assert reason in err and err.count("\n") == 1
