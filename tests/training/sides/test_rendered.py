"""Rendered sets: what is listed, how they are split and paired."""

import dataclasses
import itertools
import json

import pytest
from helpers.toy_sides import NAMES, rendered

from homolog import HomologError
from homolog.training.sides import read_rendered_dataset


def test_pairs_of_images_of_one_object(tmp_path):
    renders = read_rendered_dataset(rendered(tmp_path / "set", 5))
    objects = list(renders.objects)
    objects[1], objects[2] = (), (objects[2][0], objects[2][0])
    renders = dataclasses.replace(renders, objects=tuple(objects))
    rows = renders.single_object([0, 1, 2, 4])
    assert rows == [0, 4]
    data = renders.to_dataset(rows)
    names = [(pair.source.path.name, pair.target.path.name) for pair in data.pairs]
    assert names == [("000000.jpg", "000004.jpg"), ("000004.jpg", "000000.jpg")]
    (pair, _) = data.pairs
    assert pair.keypoint_ids.tolist() == [0, 1]  # the third is hidden
    assert pair.source.keypoints[:2].tolist() == [[50, 35], [70, 40]]
    assert pair.source.box == (20, 30, 80, 70)
    assert data.schemas[pair.category].mirror == (0, 2, 1)


def test_pairs_of_images_of_several_objects(tmp_path):
    """Each object is one of its own, told from others by its box; two of one image are no pair."""
    renders = read_rendered_dataset(rendered(tmp_path / "set", 3))
    car = {**renders.objects[0][0], "instance": 7, "category_id": 2, "bbox": [1, 2, 3, 4]}
    objects = ((renders.objects[0][0], car), renders.objects[1], renders.objects[2])
    renders = dataclasses.replace(renders, objects=objects, categories={1: "animal", 2: "car"})
    data = renders.to_dataset([0, 1, 2])
    first, second = "pictures/000000.jpg#1", "pictures/000000.jpg#7"
    alone = ("pictures/000001.jpg", "pictures/000002.jpg")
    names = [(pair.source.name, pair.target.name) for pair in data.pairs]
    expected = set(itertools.permutations((first, second, *alone), 2))
    assert set(names) == expected - {(first, second), (second, first)} and len(names) == 10
    found = {annotation.name: annotation for annotation in data.annotations}
    assert found[second].xywh == (1, 2, 3, 4) and found[second].category == "car"
    assert [found[name].shares_image for name in (first, second, *alone)] == [True] * 2 + [
        False
    ] * 2
    few = renders.to_dataset([0, 1, 2], max_objects=3)
    assert {annotation.name for annotation in few.annotations} == {first, second, alone[0]}


def test_images_are_split_by_model(tmp_path):
    renders = read_rendered_dataset(rendered(tmp_path / "set", 4))
    objects = list(renders.objects)
    objects[2], objects[3] = (), (objects[0][0], objects[1][0])
    renders = dataclasses.replace(renders, objects=tuple(objects))
    assert renders.models == [{"Fox"}, {"Cow"}, set(), {"Fox", "Cow"}]
    assert renders.split(["Cow"]) == ([0, 2], [1])
    assert renders.split([]) == ([0, 1, 2, 3], [])


def test_the_category_is_that_of_the_largest_object(tmp_path):
    renders = read_rendered_dataset(rendered(tmp_path / "set", 2))
    renders = dataclasses.replace(renders, categories={1: "animal", 2: "car"})
    car = {**renders.objects[0][0], "category_id": 2, "area": 9000}
    both = dataclasses.replace(renders, objects=((renders.objects[0][0], car), ()))
    assert both.category(0) == "car"
    assert both.category(1) == "animal"  # of an image without objects, the first of the set
    assert renders.to_dataset([0, 1]).pairs[0].category == "animal"


def test_a_fingerprint_tells_sets_apart(tmp_path):
    renders = read_rendered_dataset(rendered(tmp_path / "one", 2))
    same = read_rendered_dataset(rendered(tmp_path / "two", 2))
    other = read_rendered_dataset(rendered(tmp_path / "three", 2, models=("Fox", "Stag")))
    assert renders.fingerprint() == same.fingerprint() != other.fingerprint()


def test_objects_without_keypoints(tmp_path):
    """Models that cannot move have none, and may be in a set with others."""
    folder = rendered(tmp_path / "set", 3)
    plain = json.loads((folder / "annotations.json").read_text())
    plain["categories"].append({"id": 2, "name": "car"})
    for annotation in plain["annotations"][1:]:
        del annotation["keypoints"]
    (folder / "annotations.json").write_text(json.dumps(plain))
    renders = read_rendered_dataset(folder)
    assert renders.schema.names == tuple(NAMES)
    assert not renders.keypoints(renders.objects[1][0]).any()


def test_what_is_no_rendered_set(tmp_path):
    with pytest.raises(HomologError, match=r"cannot read .*annotations\.json"):
        read_rendered_dataset(tmp_path)
    (tmp_path / "annotations.json").write_text('{"images": []}')
    with pytest.raises(HomologError, match=r"folder: expected a rendered set, got .*annotations"):
        read_rendered_dataset(tmp_path)
    folder = rendered(tmp_path / "set", 1)
    renders = read_rendered_dataset(folder)
    (folder / "coordinates" / "000000.npz").write_bytes(b"PK")
    with pytest.raises(HomologError, match=r"folder: expected a rendered set, got .*000000.npz"):
        renders.coordinates(0)
