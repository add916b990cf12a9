"""COCO files as other tools write them: all are read alike by everything that reads labels."""

import copy
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import real_images
from helpers.toys import random_image

from homolog import HomologError
from homolog.data import coco, label_files
from homolog.data.check import check
from homolog.data.exemplars import read
from homolog.data.formats.document import ReadOptions
from homolog.data.labels import Labels

NAMES = ["nose", "left_eye", "right_eye", "tail"]
KEYPOINTS = [10, 8, 2, 30, 20, 1, 0, 0, 0, 40, 30, 2]
BOX = [5, 4, 40, 30]
NAN = float("nan")


def document(count: int = 3) -> dict:
    return {
        "info": {"year": 2026},
        "images": [
            {"id": n, "file_name": f"images/a{n}.png", "width": 64, "height": 48}
            for n in range(1, count + 1)
        ],
        "annotations": [
            {"id": 10 * n, "image_id": n, "category_id": 1, "bbox": list(BOX), "area": 1200,
             "iscrowd": 0, "num_keypoints": 3, "keypoints": list(KEYPOINTS), "mine": {"a": [n]}}
            for n in range(1, count + 1)
        ],
        "categories": [{"id": 1, "name": "fox", "keypoints": NAMES, "supercategory": "canid"}],
    }  # fmt: skip


def saved(folder: Path, data: dict, name: str = "few.json", places: str = "images") -> Path:
    for number in range(1, len(data["images"]) + 1):
        image = folder / places / f"a{number}.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        random_image(64, 48, seed=number).save(image)
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))
    return path


def each_annotation(data: dict, **members) -> dict:
    for entry in data["annotations"]:
        entry.update(copy.deepcopy(members))
    return data


def first_annotation(data: dict, **members) -> dict:
    data["annotations"][0].update(members)
    return data


def ids_as(data: dict, convert) -> dict:
    for entry in data["images"]:
        entry["id"] = convert(entry["id"])
    for entry in data["annotations"]:
        entry |= {"id": convert(entry["id"]), "image_id": convert(entry["image_id"])}
    return data


def without(data: dict, section: str, member: str) -> dict:
    for entry in data[section]:
        del entry[member]
    return data


def and_one_more(data: dict, **members) -> dict:
    data["annotations"].append({**copy.deepcopy(data["annotations"][0]), "id": 99, **members})
    return data


def root_category(data: dict) -> dict:
    data["categories"].insert(0, {"id": 0, "name": "fox", "supercategory": "none"})
    return data


SAME = {
    "numbers as text": lambda d: ids_as(d, str),
    "uuids": lambda d: ids_as(d, lambda n: f"65a1f0c2-{n}"),
    "text and numbers": lambda d: (
        ids_as(d, str),
        [i.update(id=int(i["id"])) for i in d["images"]],
    )[0],
    "no sizes": lambda d: without(without(d, "images", "width"), "images", "height"),
    "sizes null": lambda d: d | {"images": [i | {"width": None} for i in d["images"]]},
    "sizes 0": lambda d: d | {"images": [i | {"width": 0, "height": 0} for i in d["images"]]},
    "Roboflow's root category": root_category,
    "no keypoints": lambda d: and_one_more(d, keypoints=[]),
    "keypoints null": lambda d: and_one_more(d, keypoints=None),
    "all zero": lambda d: and_one_more(d, keypoints=[0] * 12, bbox=[0, 0, 0, 0], num_keypoints=0),
    "no box": lambda d: and_one_more(d, keypoints=[0] * 12, bbox=None),
    "NaN": lambda d: each_annotation(d, keypoints=[*KEYPOINTS[:6], NAN, NAN, 0, *KEYPOINTS[9:]]),
    "null": lambda d: each_annotation(d, keypoints=[*KEYPOINTS[:6], None, None, None, 40, 30, 2]),
    "-1": lambda d: each_annotation(d, keypoints=[*KEYPOINTS[:6], -1, -1, 0, *KEYPOINTS[9:]]),
    "negative v": lambda d: each_annotation(d, keypoints=[*KEYPOINTS[:6], 3, 4, -1, 40, 30, 2]),
    "rows": lambda d: each_annotation(d, keypoints=np.reshape(KEYPOINTS, (4, 3)).tolist()),
    "numbers in text": lambda d: each_annotation(
        d, keypoints=list(map(str, KEYPOINTS)), bbox=list(map(str, BOX))
    ),
}
"""Changes after which a file means the same as before."""


def assert_unchanged(path: Path) -> None:
    """Labels, exemplars, pairs and the check find what is in the plain file, and say nothing."""
    for annotations in (read(path).annotations, coco.load(path).annotations):
        assert [a.path.name for a in annotations] == ["a1.png", "a2.png", "a3.png"]
        for annotation in annotations:
            expected = np.where(np.array(KEYPOINTS[2::3])[:, None] > 0,
                                np.reshape(KEYPOINTS, (4, 3))[:, :2], np.nan)  # fmt: skip
            np.testing.assert_array_equal(annotation.keypoints, expected)
            np.testing.assert_array_equal(annotation.occluded, [False, True, False, False])
            assert annotation.xywh == tuple(BOX) and annotation.category == "fox"
    assert read(path).notes == () and check(path).problems == ()
    labels = Labels.read(path, path.parent)
    labels.correct(labels.annotations[0]["id"], 0, None)
    labels.write(path)
    json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(name))
    again = Labels.read(path, path.parent)
    assert again.annotations[0]["keypoints"][2] == 2 and again.annotations[0]["mine"] == {"a": [1]}
    assert again.annotations[1]["keypoints"][5] == 1 and again.data["info"] == {"year": 2026}


@pytest.mark.parametrize("change", SAME.values(), ids=SAME.keys())
def test_other_spellings_of_the_same(change, tmp_path):
    assert_unchanged(saved(tmp_path, change(document())))


@pytest.mark.parametrize(
    ("file", "places", "name"),
    [
        ("annotations/person_keypoints_default.json", "images/default", "a{}.png"),
        ("annotations/person_keypoints_train2017.json", "images/train2017", "a{}.png"),
        ("few.json", "images", r"images\a{}.png"),
        ("few.json", "images", r"..\..\label-studio\media\upload\4\a{}.png"),
        ("few.json", "images", "/data/upload/4/0a1b2c3d-a{}.png"),
        ("few.json", "images", "https://host.example/x/a{}.png?token=1"),
    ],
)
def test_names_and_layouts_of_other_tools(file, places, name, tmp_path):
    data = document()
    for image in data["images"]:
        image["file_name"] = name.format(image["id"])
    path = saved(tmp_path, data, file, places)
    for annotations in (read(path).annotations, coco.load(path).annotations):
        assert [a.path.name for a in annotations] == ["a1.png", "a2.png", "a3.png"]


def test_names_of_other_machines_that_end_alike(tmp_path):
    data = document(2)
    for image in data["images"]:
        image["file_name"] = f"/home/me/cam{image['id']}/a1.png"
    path = saved(tmp_path, data)
    reason = r"annotation 10: expected an image for .*cam2/a1.png and another for .*cam1/a1.png"
    for load in (read, coco.load):
        with pytest.raises(HomologError, match=reason):
            load(path)


@pytest.mark.parametrize("box", ["missing", None, [], [0, 0, 0, 0], [10, 8, 30, 0], [NAN] * 4])
def test_boxes_of_no_size(box, tmp_path):
    """The box around the keypoints, said once; of a single one it is the whole image."""
    data = document()
    for entry in data["annotations"][:2]:
        entry.pop("bbox") if box == "missing" else entry.update(bbox=box)
        entry["area"] = 0
    data["annotations"][1]["keypoints"] = [10, 8, 2, *[0] * 9]
    path = saved(tmp_path, data)
    for found in (read(path).annotations, coco.load(path).annotations):
        assert [a.xywh for a in found] == [(10, 8, 30, 22), (0, 0, 64, 48), tuple(BOX)]
    note = (
        f"{path}: boxes that are missing or have no size, taken to be those around the keypoints: "
        "2 (annotations 10, 20)"
    )
    assert read(path).notes == (note,) and note in coco.load(path).notes
    assert [a["area"] for a in Labels.read(path, tmp_path).annotations] == [660, 3072, 1200]
    assert check(path).problems == ()


def test_minus_one_is_unlabelled_even_if_said_to_be_visible(tmp_path):
    data = first_annotation(document(), keypoints=[-1, -1, 2, *KEYPOINTS[3:]])
    path = saved(tmp_path, data)
    assert read(path).annotations[0].visible.tolist() == [False, True, False, True]
    assert read(path).notes == (
        f"{path}: keypoints at (-1, -1), taken to be unlabelled: annotations 10",
    )
    assert Labels.read(path).annotations[0]["num_keypoints"] == 2


def test_keypoints_without_names_are_numbered(tmp_path):
    data = document()
    flips = [0, 2, 1, 3]
    data["categories"] = [{"id": 1, "name": "fox", "flip_indices": flips}]
    path = saved(tmp_path, data)
    found = read(path)
    assert found.schemas["fox"].names == ("0", "1", "2", "3")
    assert list(found.schemas["fox"].mirror) == flips
    assert coco.load(path).schemas["fox"].mirror == found.schemas["fox"].mirror
    (note,) = found.notes
    assert note == (
        f"{path}: category 1 (fox): its keypoints have no names, so they are numbered from 0 to 3"
    )
    data["annotations"][2]["keypoints"] = KEYPOINTS[:9]
    path = saved(tmp_path, data)
    for load in (read, coco.load, Labels.read):
        with pytest.raises(HomologError, match=r"category 1: keypoints: expected their names, got"):
            load(path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda d: first_annotation(d, keypoints=[500, 8, 2, *KEYPOINTS[3:]]),
         "annotation 10: keypoints: expected nose in the image of 64 x 48 pixels, got (500, 8)"),
        (lambda d: first_annotation(d, keypoints=[*KEYPOINTS[:9], 4, -33, 1]),
         "annotation 10: keypoints: expected tail in the image of 64 x 48 pixels, got (4, -33)"),
        (lambda d: first_annotation(d, keypoints=[*KEYPOINTS[:9], 4, -7, 2]),
         "annotation 10: keypoints: expected tail in the image of 64 x 48 pixels, got (4, -7)"),
        (lambda d: each_annotation(d, keypoints=[0.5, 0.1, 2, 0.25, 1, 2, *[0] * 6]),
         "keypoints: expected pixels, got coordinates from 0 to 1 alone"),
        (lambda d: first_annotation(d, keypoints=[NAN, 8, 2, *KEYPOINTS[3:]]),
         "annotation 10: keypoints: expected finite numbers x, y, v of keypoint 0, got null, 8, 2"),
        (lambda d: first_annotation(d, id=True), "annotation True: expected a whole number"),
        (lambda d: first_annotation(d, id=20), "annotation 20: expected another id than before"),
        (lambda d: first_annotation(d, image_id="x"), "annotation 10: image_id: expected one of"),
        (lambda d: first_annotation(d, homolog={"doubtful": 3}), "annotation 10: expected 'predic"),
        (lambda d: first_annotation(d, bbox=[1, 2, -3, 4]), "annotation 10: bbox: expected x, y"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(change, reason, tmp_path):
    path = saved(tmp_path, change(document()))
    for load in (read, coco.load):
        with pytest.raises(HomologError) as error:
            load(path)
        assert str(error.value).startswith(f"{path}: {reason}")
        assert "\n" not in str(error.value)
    assert any(line.startswith(f"{path}: {reason}") for line in check(path).problems)


def test_keypoints_a_little_outside_are_said(tmp_path):
    """Visible ones by a few pixels, occluded ones by more: the image cuts the object off."""
    for x, v in ((-3, 2), (-30, 1)):
        path = saved(tmp_path, first_annotation(document(), keypoints=[x, 8, v, *KEYPOINTS[3:]]))
        (note,) = read(path).notes
        assert note.startswith(f"{path}: keypoints outside their images: 1 (images/a1.png: keypo")
        assert coco.load(path).annotations[0].keypoints[0, 0] == x


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"images": []}, "other JSON: no annotations, no categories"),
        ({"images": {"1": "a.jpg"}, "annotations": [], "categories": []},
         "other JSON: images that are no list"),
        ([1], "got other JSON"),
    ],
)  # fmt: skip
def test_other_json(content, reason, tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(HomologError, match=reason):
        coco.load(tmp_path / "a.json")


def test_images_of_exemplars_may_lie_in_a_folder_of_their_own(tmp_path):
    """Nothing is then looked up near the file, nor in the folder that is annotated."""
    path = saved(tmp_path / "set", document())
    (tmp_path / "mine" / "images").mkdir(parents=True)
    for number in (1, 2, 3):
        shutil.copy(path.parent / "images" / f"a{number}.png", tmp_path / "mine" / "images")
    found = read(path, tmp_path, images=tmp_path / "mine")
    assert {a.path.parent for a in found.annotations} == {tmp_path / "mine" / "images"}
    with pytest.raises(HomologError, match=r"exemplars: .*expected an image images/a1.png in"):
        read(path, path.parent, images=tmp_path)
    with pytest.raises(HomologError, match="exemplar_images: expected a folder, got"):
        read(path, images=tmp_path / "none")


def test_documents_keep_what_the_file_holds(tmp_path):
    data = document()
    data["licenses"] = [{"id": 1}]
    data["images"][0]["license"] = 1
    path = saved(tmp_path, data)
    file = label_files.read(path, ReadOptions())
    assert file.document == data and set(file.paths) == {1, 2, 3} and file.missing == {}
    label_files.write(tmp_path / "again.json", file.document)
    assert json.loads((tmp_path / "again.json").read_text()) == data


def test_images_that_nobody_needs_may_be_missing(tmp_path):
    data = and_one_more(document(), image_id=4, keypoints=[0] * 12)
    data["images"].append({"id": 4, "file_name": "gone.png"})
    path = saved(tmp_path, data)
    (tmp_path / "images" / "a4.png").unlink()
    assert len(read(path).annotations) == 3
    assert len(coco.load(path).annotations) == 3


CASES = real_images.ROOT.parent / "cases"
COCO_CASES = sorted(path.name for path in CASES.glob("coco_*")) if CASES.is_dir() else []


@pytest.mark.skipif(not COCO_CASES, reason=f"no collected files at {CASES}")
def test_collected_files(tmp_path):
    """Each is read with its three labelled images, and can be reviewed and written."""
    for case in COCO_CASES:
        folder = tmp_path / case
        shutil.copytree(CASES / case, folder)
        path = next(iter([*folder.glob("few.json"), *folder.glob("annotations/*.json")]))
        places = "images/train2017" if case == "coco_layout" else "images"
        (folder / places).mkdir(parents=True)
        for image in json.loads(path.read_text())["images"]:
            name = image["file_name"].replace("\\", "/").rpartition("/")[2].replace("%20", " ")
            original = real_images.ROOT / "dogs" / "images" / name.replace("my dog ", "")
            shutil.copy(original, folder / places / name)
        found = read(path)
        assert len(found.annotations) == 3, case
        assert all(a.visible.sum() >= 14 for a in found.annotations), case
        assert len(coco.load(path).annotations) == 3, case
        labels = Labels.read(path, folder)
        labels.correct(labels.annotations[0]["id"], 0, None)
        labels.write(path)
        json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(name))


@pytest.mark.skipif(os.name == "nt", reason="names of files are text on Windows")
def test_names_that_are_not_utf8(tmp_path):
    """Read, written and read again; what a format of text cannot hold is refused in one line."""
    name = os.fsdecode(b"b\xe4r.png")
    data = document()
    data["images"][0]["file_name"] = f"images/{name}"
    path = saved(tmp_path, data)
    (tmp_path / "images" / "a1.png").rename(tmp_path / "images" / name)
    assert read(path).annotations[0].path.name == name
    labels = Labels.read(path, tmp_path)
    labels.write(path)
    assert Labels.read(path).images[0]["file_name"] == f"images/{name}"
    with pytest.raises(HomologError, match=r"out: expected names in UTF-8 for .*labels.csv, got"):
        label_files.write(tmp_path / "labels.csv", labels.data)
