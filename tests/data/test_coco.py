"""COCO files as data sets: all pairs of a category, images found, errors named."""

import itertools
import json

import numpy as np
import pytest
import real_images
from helpers import crowds, datasets
from hypothesis import given, settings
from hypothesis import strategies as st

from homolog import KeypointSchema
from homolog.data import ErrorCollector, coco
from homolog.data.check import check

real = pytest.mark.skipif(
    not real_images.ROOT.is_dir(), reason=f"no real photos at {real_images.ROOT}"
)


def test_coco(tmp_path):
    path = datasets.make_coco(tmp_path / "set")
    file = json.loads(path.read_text())
    seen = {}
    for entry in file["annotations"]:
        points = np.array(entry["keypoints"]).reshape(-1, 3)
        seen[entry["image_id"]] = set(np.flatnonzero(points[:, 2]))
    of = {image["id"]: image["file_name"] for image in file["images"]}
    expected = {
        (of[a], of[b])
        for a, b in itertools.permutations(seen, 2)
        if a // 10 == b // 10 and seen[a] & seen[b]
    }
    dataset = coco.load(path)
    assert set(datasets.pair_names(dataset)) == expected and len(dataset.pairs) == len(expected)
    assert datasets.pair_names(dataset) == sorted(datasets.pair_names(dataset)), "ant before fox"
    first = dataset.annotations[0]
    entry = next(e for e in file["annotations"] if of[e["image_id"]] == first.name)
    points = np.array(entry["keypoints"]).reshape(-1, 3)
    for (x, y, v), found in zip(points, first.keypoints, strict=True):
        assert found.tolist() == [x, y] if v else np.isnan(found).all(), "v of 1 is visible"
    assert first.box == datasets.BOX
    assert dataset.schemas["fox"].mirror == (0, 2, 1, 3)
    assert dataset.schemas["ant"].mirror == (0, 2, 1)


def test_coco_does_not_depend_on_the_order_of_the_file(tmp_path):
    path = datasets.make_coco(tmp_path, images=6)
    before = coco.load(path)

    def shuffle(file):
        for section in file.values():
            np.random.default_rng(1).shuffle(section)

    datasets.edit_json(path, shuffle)
    after = coco.load(path)
    assert datasets.pair_names(before) == datasets.pair_names(after) and list(
        before.schemas
    ) == list(after.schemas)


def test_coco_in_blocks(tmp_path, monkeypatch):
    path = datasets.make_coco(tmp_path, images=7)
    whole = coco.load(path)
    monkeypatch.setattr(coco, "_ROWS", 3)
    assert datasets.pair_names(coco.load(path)) == datasets.pair_names(whole)


@pytest.mark.parametrize("place", ["", "images", "data", "../images", "../data", ".."])
def test_coco_finds_images(place, tmp_path):
    path = datasets.make_coco(tmp_path / "one" / "annotations")
    images = path.parent / "images"
    expected = datasets.pair_names(coco.load(path))
    elsewhere = path.parent / "moved"
    images.rename(elsewhere)
    assert datasets.pair_names(coco.load(path, images=elsewhere)) == expected
    datasets.refused(lambda: coco.load(path), path, "annotation 350: expected an image ant_0.jpg")
    (path.parent / place).mkdir(exist_ok=True)
    for image in elsewhere.iterdir():
        image.rename(path.parent / place / image.name)
    assert datasets.pair_names(coco.load(path)) == expected


def test_coco_notes_what_is_left_out(tmp_path):
    path = datasets.make_coco(tmp_path)

    def change(file):
        again = {**file["annotations"][0], "id": 1000}
        unseen = {**file["annotations"][1], "id": 1001, "keypoints": [0] * 12}
        boxed = {"id": 1002, "image_id": 32, "category_id": 3, "bbox": [1, 2, 3, 4]}
        file["annotations"] += [again, unseen, boxed]
        file["categories"].append({"id": 8, "name": "rock"})
        file["categories"].append({"id": 9, "name": "owl", "keypoints": ["beak"]})

    dataset = coco.load(datasets.edit_json(path, change), single=True)
    assert dataset.notes == (
        "images with several annotated objects, left out: 1",
        "categories without keypoints: rock",
        "categories with fewer than two images: owl",
    )
    assert "fox_0.jpg" not in {name for pair in datasets.pair_names(dataset) for name in pair}
    assert "fox_1.jpg" in {name for pair in datasets.pair_names(dataset) for name in pair}


@given(st.lists(st.integers(0, 6), min_size=1, max_size=5))
@settings(max_examples=15)
def test_every_annotation_with_keypoints_is_an_object(tmp_path_factory, counts):
    path = crowds.make_crowds(tmp_path_factory.mktemp("crowds"), counts)
    file = json.loads(path.read_text())
    of = {image["id"]: image["file_name"] for image in file["images"]}
    data = coco.load(path)
    objects = {}
    for entry in file["annotations"]:
        several = counts[entry["image_id"] - 1] > 1
        name = of[entry["image_id"]]
        objects[f"{name}#{entry['id']}" if several else name] = entry, several
    expected = {
        (a, b)
        for a, b in itertools.permutations(objects, 2)
        if objects[a][0]["image_id"] != objects[b][0]["image_id"]
    }
    assert set(datasets.pair_names(data)) == expected and len(data.pairs) == len(expected)
    if expected:
        assert len(data.annotations) == len(objects) == sum(counts)
    for found in data.annotations:
        entry, several = objects[found.name]
        points = np.reshape(entry["keypoints"], (-1, 3))[:, :2]
        assert found.xywh == tuple(entry["bbox"]) and (found.keypoints == points).all()
        assert found.path.name == of[entry["image_id"]] and found.shares_image == several
    single = coco.load(path, single=True)
    alone = {name for name, (_, several) in objects.items() if not several}
    assert set(datasets.pair_names(single)) == set(itertools.permutations(alone, 2))


def test_objects_do_not_depend_on_the_order_of_the_file(tmp_path):
    path = crowds.make_crowds(tmp_path, [3, 1, 4])
    before = datasets.pair_names(coco.load(path))
    datasets.edit_json(path, lambda file: file["annotations"].reverse())
    assert datasets.pair_names(coco.load(path)) == before


@pytest.mark.parametrize("sized", [True, False])
def test_an_object_whose_box_cannot_be_right_is_left_out(tmp_path, sized):
    """The others of its image remain; the check of the data set says which it is."""
    path = crowds.make_crowds(tmp_path, [2, 3], sized=sized)
    datasets.edit_json(path, datasets.change_first("annotations", bbox=[900, 20, 60, 60]))
    data = coco.load(path)
    assert len(data.annotations) == 4 and len(data.pairs) == 2 * 3
    (line,) = (note for note in data.notes if "left out" in note)
    assert line.startswith("objects left out for their boxes: annotation 11: box: expected")
    assert "outside the image of 480 x 320 pixels" in line
    problems = ErrorCollector(collect=True)
    coco.load(path, problems=problems)
    (message,) = problems.messages
    assert message.startswith(f"{path}: annotation 11: box: expected (x, y, width, height)")
    # An object that is alone in its image needs no box to be told from others.
    alone = crowds.make_crowds(tmp_path / "alone", [1, 1], sized=sized)
    datasets.edit_json(alone, datasets.change_first("annotations", bbox=[900, 20, 60, 60]))
    assert len(coco.load(alone).annotations) == 2 and coco.load(alone).notes == ()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            datasets.change_first("annotations", keypoints=[1, 2, 2]),
            "annotation 210: keypoints: expected x, y, v of 4 keypoints, got 3",
        ),
        (
            datasets.change_first("annotations", keypoints=[1, 2, None] * 4),
            "annotation 210: keypoints: expected finite",
        ),
        (
            datasets.change_first("annotations", keypoints="words"),
            "annotation 210: keypoints: expected a list",
        ),
        (
            datasets.change_first("annotations", image_id=77),
            "annotation 210: image_id: expected one of the images, got 77",
        ),
        (
            datasets.change_first("annotations", category_id=77),
            "annotation 210: category_id: expected one of the categories, got 77",
        ),
        (
            datasets.change_first("annotations", bbox=[1, 2, 3]),
            "annotation 210: bbox: expected x, y, width and height above 0, got [1, 2, 3]",
        ),
        (
            datasets.change_first("annotations", bbox=[1, 2, -4, 3]),
            "annotation 210: bbox: expected",
        ),
        (datasets.change_first("annotations", id=217), "annotation 217: expected another id"),
        (lambda file: file["annotations"][1].pop("id"), "annotation at position 1: expected 'id'"),
        (
            lambda file: file["annotations"].append(3),
            "annotation at position 8: expected a JSON object, got 3",
        ),
        (lambda file: file["images"][0].pop("file_name"), "image 30: expected 'file_name'"),
        (
            datasets.change_first("images", file_name="fox_1.jpg"),
            "image 31: expected another id and file_name than before, got 31 and fox_1.jpg",
        ),
        (
            datasets.change_first("categories", name="ant"),
            "category 5: expected another id and name than before, got 5 and ant",
        ),
        (datasets.change_first("categories", flip_pairs=[[0, 9]]), "category 3: flip_pairs"),
    ],
)
def test_coco_that_is_wrong(change, reason, tmp_path):
    path = datasets.edit_json(datasets.make_coco(tmp_path), change)
    datasets.refused(lambda: coco.load(path), f"{path}: {reason}")
    problems = ErrorCollector(collect=True)
    coco.load(path, problems=problems)
    assert any(reason in line for line in problems.messages)


def test_coco_files_that_are_no_json(tmp_path):
    path = tmp_path / "a.json"
    datasets.refused(lambda: coco.load(path), path, "expected a readable file, got: No such file")
    path.write_text('{"images": [],\n "annotations": }')
    datasets.refused(lambda: coco.load(path), f"{path}, line 2")
    for content in ("[]", '{"images": [], "annotations": []}', '{"images": {}}'):
        path.write_text(content)
        datasets.refused(lambda: coco.load(path), path, "expected a COCO file", coco.HOMEPAGE)


@real
@pytest.mark.parametrize(
    ("file", "pairs"),
    [
        ("dogs/annotations.json", 240),
        ("bees/test.json", 1406),
        ("bees/train.json", 166 * 165),
        ("coco_samples/ap10k/test_ap10k.json", 0),
        ("coco_samples/animalpose/test_animalpose.json", 2),
    ],
)
def test_real_coco_files(file, pairs):
    report = check(real_images.ROOT / file)
    assert sum(report.pairs.values()) == pairs and report.problems == ()


@real
def test_animal_kingdom():
    """The sample does not list the category of its own annotations; all that it lists are alike."""
    path = real_images.ROOT / "coco_samples" / "ak" / "test_animalkingdom.json"
    dataset = coco.load(path)
    assert len(dataset.pairs) == 2 and "not listed" in dataset.notes[0]
    schema = dataset.schemas["category 4"]
    assert schema == KeypointSchema.from_names(schema.names) and "Ankle_Left" in schema.names
    assert check(path).problems == ()
