"""Ids, names and numbers in files of labels, boxes and predictions: anything else is one line."""

import copy
import json

import numpy as np
import pytest
from helpers.datasets import refused
from PIL import Image

from homolog import HomologError
from homolog.data import exemplars, label_files
from homolog.data.boxes import read_boxes
from homolog.data.values import as_id, as_name, is_finite
from homolog.image.point_files import read_points
from homolog.utils.json_text import parse_json

DOCUMENT = {
    "categories": [{"id": 1, "name": "dog", "keypoints": ["nose", "tail"]}],
    "images": [
        {"id": 1, "file_name": "a.png", "width": 40, "height": 30},
        {"id": 2, "file_name": "b.png", "width": 40, "height": 30},
    ],
    "annotations": [
        {
            "id": number,
            "image_id": number,
            "category_id": 1,
            "keypoints": [1, 2, 2, 3, 4, 2],
            "bbox": [1, 1, 10, 10],
            "area": 100,
            "iscrowd": 0,
            "homolog": {
                "predicted": [1, 2, 2, 3, 4, 2],
                "scores": [0.5, 0.6],
                "doubtful": [],
                "reviewed": [],
            },
        }
        for number in (1, 2)
    ],
}
VALUES = {
    "too-large": "1e999",
    "infinite": "-Infinity",
    "nan": "NaN",
    "negative": "-5",
    "digits": "9" * 5000,
    "many-digits": "9" * 40,
    "deep": "[" * 100_000 + "]" * 100_000,
    "null": "null",
    "true": "true",
    "text": '"x"',
    "long": json.dumps("n" * 5000),
    "nul": json.dumps("a\0b"),
    "not-utf8": json.dumps("caf\udce9"),
    "list": "[]",
    "object": "{}",
}


def places(node, before=()):
    """The path of every value in a document."""
    for key in node if isinstance(node, dict) else range(len(node)):
        yield (*before, key)
        if isinstance(node[key], (dict, list)):
            yield from places(node[key], (*before, key))


def with_value(place, token: str) -> str:
    """The document as JSON with something else in one place."""
    document = copy.deepcopy(DOCUMENT)
    node = document
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = "HERE"
    return json.dumps(document).replace('"HERE"', token)


@pytest.fixture
def folder(tmp_path):
    for name in ("a.png", "b.png"):
        Image.new("RGB", (40, 30)).save(tmp_path / name)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("kind", VALUES)
def test_whatever_stands_anywhere_in_labels_is_read_or_refused_in_one_line(folder, kind):
    path = folder / "labels.json"
    options = label_files.ReadOptions(images=folder)
    for place in places(DOCUMENT):
        if place[1:2] == (1,) and place[0] != "images":
            continue  # as in the first annotation
        path.write_text(with_value(place, VALUES[kind]))
        for read in (
            lambda: label_files.read(path, options),
            lambda: exemplars.read(path, images=folder),
            lambda: read_boxes(path, folder),
        ):
            try:
                read()
            except HomologError as error:
                assert "\n" not in str(error) and len(str(error)) < 600, place


@pytest.mark.parametrize(
    ("place", "token", "reason"),
    [
        (("annotations", 1, "id"), "1", "annotation 1: expected another id than before, got 1"),
        (("annotations", 1, "id"), "1e999", "beyond all floats, 1e999"),
        (("annotations", 0, "homolog", "scores", 0), "1e30", "scores: expected finite numbers"),
        (("annotations", 0, "iscrowd"), "1e999", "beyond all floats, 1e999"),
        (("annotations", 0, "keypoints", 0), "1e30", "expected finite numbers x, y, v"),
        (("annotations", 0, "bbox", 2), "1e30", "bbox: expected finite numbers"),
        (("annotations", 0, "bbox", 2), "-5", "width and height above 0"),
        (("images", 0, "width"), "-5", "expected width and height above 0, got -5 and 30"),
        (("images", 0, "id"), "9" * 30, "expected a whole number or text as an id"),
        (("images", 0, "file_name"), json.dumps("n" * 5000), "at most 1000 characters, got 5000"),
        (("images", 0, "file_name"), json.dumps("a\0"), "without NUL"),
        (("categories", 0, "name"), "[]", "name: expected a name, got []"),
        (("categories", 0, "keypoints", 0), json.dumps("a\0"), "keypoints: expected a name"),
    ],
)
def test_labels_that_are_refused(folder, place, token, reason):
    path = folder / "labels.json"
    path.write_text(with_value(place, token))
    options = label_files.ReadOptions(images=folder)
    refused(lambda: label_files.read(path, options), path, reason)


def test_results_of_detectors(folder):
    path = folder / "found.json"
    for token, reason in (("Infinity", "score: expected a number, got inf"), ("1e999", "1e999")):
        result = {"image_id": "a.png", "bbox": [1, 1, 9, 9], "score": "HERE"}
        path.write_text(json.dumps([result]).replace('"HERE"', token))
        with pytest.raises(HomologError, match=reason):
            read_boxes(path, folder)


def test_points(folder):
    for content in ("[" * 100_000, "[[1, " + "9" * 5000 + "]]", "[[1, 1e999]]", "[[1, NaN]]"):
        (folder / "points.json").write_text(content)
        with pytest.raises(HomologError) as error:
            read_points(folder / "points.json")
        assert "\n" not in str(error.value) and len(str(error.value)) < 600


def test_ids_names_and_numbers():
    assert [as_id(value) for value in (3, 3.0, "a", -1)] == [3, 3, "a", -1]
    for value in (2.5, float("nan"), float("inf"), True, None, "", 2**63, [], "a\0", "a" * 1001):
        with pytest.raises(ValueError, match="expected"):
            as_id(value)
    assert as_name(5, "name") == "5" and as_name("caf\udce9.png", "name") == "caf\udce9.png"
    assert [v for v in (0, -1.5, 1e15, 10**40, float("inf"), np.nan, True) if is_finite(v)] == [
        0, -1.5, 1e15
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[1e999]", "file: expected JSON, got: a number beyond all floats, 1e999"),
        ("[" + "9" * 400 + ".0]", "beyond all floats, 9999"),
        ("[" + "9" * 5000 + "]", "file: expected JSON, got: Exceeds the limit"),
        ("[\n1,\n]", "file, line 3: expected JSON"),
        (b"[\xff\xff]", "file: expected JSON, got bytes that are not text"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_json_that_others_wrote(content, reason):
    with pytest.raises(HomologError, match=reason):
        parse_json(content, "file")
    assert parse_json('{"a": 1e308, "b": 1e-999}', "file") == {"a": 1e308, "b": 0}


def test_messages_quote_little_of_a_value():
    long = "n" * 5000
    for value in (f"'{long}'", str(list(range(500))), str({"a": [1] * 500}), long):
        message = str(HomologError(f"a.json: x: expected a number, got {value}; try 5"))
        assert len(message) < 260 and message.endswith("…; try 5")
    path = "/".join(["folder"] * 60)
    assert str(HomologError(f"image: expected one, got {path}")).endswith(path)
