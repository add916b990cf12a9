"""YOLO-pose data sets are found as Ultralytics finds them, and written as it reads them."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from helpers.toys import random_image

from homolog import HomologError
from homolog.data import exemplars, label_files
from homolog.data.boxes import read_boxes
from homolog.data.formats import yolo
from homolog.data.formats.document import ReadOptions, WriteOptions

SIZES = {"a.png": (64, 48), "b.png": (48, 64), "c.png": (40, 40)}
NAMES = ["nose", "left eye", "right eye"]
FLIP = [0, 2, 1]
# Class, box, keypoints x, y, v: the second is occluded, the third unlabelled.
ROW = "0 0.5 0.5 0.5 0.25 0.25 0.5 2 0.75 0.625 1 0 0 0"
CASES = Path(__file__).parents[3].parent / "shared" / "cases"
DOGS = CASES.parent / "data" / "dogs" / "images"


def save_images(folder: Path, names=tuple(SIZES)) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(names):
        random_image(*SIZES[name], seed=seed).save(folder / name)
    return folder


def write_texts(folder: Path, names=tuple(SIZES), row: str = ROW) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).with_suffix(".txt").write_text(f"{row}\n")
    return folder


def write_yaml(file: Path, /, **members) -> Path:
    content = {"train": "images", "kpt_shape": [3, 3], "names": ["toy"], "flip_idx": FLIP}
    file.parent.mkdir(parents=True, exist_ok=True)
    merged = {key: value for key, value in (content | members).items() if value is not None}
    file.write_text(yaml.safe_dump(merged))
    return file


def check(found, names=tuple(SIZES)) -> None:
    assert sorted(a.path.name for a in found.annotations) == sorted(names)
    for annotation in found.annotations:
        width, height = SIZES[annotation.path.name]
        expected = [[0.25 * width, 0.5 * height], [0.75 * width, 0.625 * height], [np.nan] * 2]
        np.testing.assert_allclose(annotation.keypoints, expected)
        box = np.array([0.25, 0.375, 0.5, 0.25]) * (width, height, width, height)
        np.testing.assert_allclose(annotation.xywh, box)


def test_layouts(tmp_path):
    """The forms in which exports name their folders; `--images` is some other folder."""
    other = save_images(tmp_path / "other", ["a.png"])

    def read(root: Path, **members):
        return exemplars.read(write_yaml(root / "data.yaml", **members), other)

    # images/train and labels/train below the root
    root = tmp_path / "one"
    save_images(root / "images" / "train")
    write_texts(root / "labels" / "train")
    for members in (
        {"path": ".", "train": "images/train"},
        {"path": None, "train": "images/train/"},
        {"path": str(root), "train": "images"},
        {"path": "../one", "train": ["images/train"]},
        {"path": "/home/somebody/one", "train": "images/train"},
        {"path": "/home/somebody/one", "train": "/home/somebody/one/images/train"},
        {"path": "C:/data/one", "train": "images\\train"},
        {"train": "C:\\data\\one\\images\\train"},
        {"train": "../images/train"},
    ):
        found = read(root, **members)
        check(found)
        assert found.notes == () and next(iter(found.schemas.values())).mirror == (0, 2, 1)
    # A list of images, in the forms that Ultralytics writes and reads.
    for prefix in (
        "./images/train/",
        "images/train/",
        f"{root}/images/train/",
        "/elsewhere/images/train/",
    ):
        (root / "list.txt").write_text("".join(f"{prefix}{name}\n" for name in SIZES) + "\n")
        check(read(root, path=".", train="list.txt"))
    # As Roboflow exports: a folder of each split, `../` in front of each, no path.
    root = tmp_path / "two"
    for split, names in (("train", ["a.png", "b.png"]), ("valid", ["c.png"])):
        save_images(root / split / "images", names)
        write_texts(root / split / "labels", names)
    found = read(root, train="../train/images", val="../valid/images")
    check(found, ["a.png", "b.png"])
    (note,) = found.notes
    assert "the images of train are read, and those of val left out: 1" in note
    check(read(root, train=None, val="../valid/images"), ["c.png"])
    # Text files beside the images.
    root = tmp_path / "three"
    save_images(root / "photos")
    write_texts(root / "photos")
    check(read(root, train="photos"))
    check(read(root, train="."))


def test_images_in_another_folder(tmp_path):
    """Labels without their images, which are in the folder that is given."""
    root = tmp_path / "set"
    write_texts(root / "labels" / "train")
    path = write_yaml(root / "data.yaml", train="images/train")
    with pytest.raises(
        HomologError, match=r"got none; images of 3 text files, such as .*a\.txt, are"
    ):
        exemplars.read(path)
    folder = save_images(tmp_path / "photos")
    found = exemplars.read(path, folder)
    check(found)
    assert found.notes == (f"{path}: images are those of the same names in {folder}",)
    assert [image["file_name"] for image in found.file.document["images"]] == sorted(SIZES)
    # Some images in their place: the text files of the others are named, and nothing is guessed.
    save_images(root / "images" / "train", ["b.png"])
    found = exemplars.read(path, folder)
    check(found, ["b.png"])
    (note,) = found.notes
    assert "labels without an image are left out" in note and "a.txt" in note and "c.txt" in note
    # Boxes are those of the images that were given.
    assert {image.parent for image in read_boxes(path, folder).objects} == {folder.resolve()}


@pytest.mark.parametrize(
    "members",
    [
        {"names": {0: "toy"}},
        {"names": {"0": "toy"}, "kpt_names": {"0": NAMES}},
        {"names": ["toy"], "kpt_names": NAMES},
        {"names": None, "nc": 1},
        {"flip_idx": []},
    ],
)
@pytest.mark.parametrize("label", ["0", "0.0", "0.000000"])
def test_classes_and_names(tmp_path, members, label):
    save_images(tmp_path / "images")
    write_texts(tmp_path / "labels", row=label + ROW[1:])
    found = exemplars.read(write_yaml(tmp_path / "data.yaml", **members))
    check(found)
    (category,) = found.categories
    assert category["name"] == ("class_0" if "nc" in members else "toy")
    assert category["keypoints"] == (NAMES if "kpt_names" in members else ["0", "1", "2"])
    assert found.schemas[category["name"]].sides_known == (members.get("flip_idx") != [])
    records = [record["keypoints"][2::3] for record in found.records]
    assert records == [[2, 1, 0]] * 3, "occluded stays occluded"


def test_other_numbers_of_a_row(tmp_path):
    """x and y alone, and what Ultralytics writes for predictions: probabilities, a score, an id."""
    save_images(tmp_path / "images", ["a.png"])
    labels = tmp_path / "labels"
    path = write_yaml(tmp_path / "data.yaml", kpt_shape=[3, 2])
    for absent in ("0 0", "-1 -1"):
        write_texts(labels, ["a.png"], f"0 0.5 0.5 0.5 0.25 0.25 0.5 0.75 0.625 {absent}")
        check(exemplars.read(path), ["a.png"])
    write_yaml(path)
    write_texts(labels, ["a.png"], "0 0.5 0.5 0.5 0.25 0.25 0.5 0.9 0.75 0.625 0.8 0 0 0 0.7 12")
    found = exemplars.read(path)
    check(found, ["a.png"])
    (record,) = found.records
    assert record["keypoint_scores"] == [0.9, 0.8, 0] and record["score"] == 0.7
    assert found.instances == [12]
    # A box of no size is that of the keypoints.
    write_texts(labels, ["a.png"], "0 0 0 0 0 0.25 0.5 2 0.75 0.625 1 0 0 0")
    assert exemplars.read(path).annotations[0].xywh == (16, 24, 32, 6)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("0 0.5 0.5 1 1 0.1", "expected class, box and 3 keypoints of 3 numbers, got 6 values"),
        ("1" + ROW[1:], "expected class, box and 3 keypoints"),
        ("0.5" + ROW[1:], "expected class, box and 3 keypoints"),
        (ROW.replace("0.75", "nan"), "expected class, box and 3 keypoints"),
        (ROW.replace("0.75", "1_0"), "expected class, box and 3 keypoints"),
        (ROW.replace("0.75", "x"), "expected class, box and 3 keypoints"),
        (f"{ROW} 0.5 1 2", "expected class, box and 3 keypoints"),
        (ROW.replace("0.25 0.5 2", "16 24 2"), r"got \(16, 24\) for .* 0; these seem to be pix"),
        (ROW.replace("0.25 0.5 2", "-0.2 0.5 2"), r"got \(-0.2, 0.5\) for keypoint 0$"),
        (ROW.replace("0.25 0.5 2", "0.25 0.5 3"), "expected a visibility of 0, 1 or 2, got 3"),
        ("0 32 24 32 12 0.25 0.5 2 0.75 0.625 1 0 0 0", "a box in fractions .* got 32, 24, 32, 12"),
    ],
)  # fmt: skip
def test_rows_that_are_wrong(tmp_path, row, reason):
    save_images(tmp_path / "images", ["a.png"])
    write_texts(tmp_path / "labels", ["a.png"], f"{ROW}\n{row}")
    path = write_yaml(tmp_path / "data.yaml")
    with pytest.raises(HomologError, match=rf"^exemplars: .*a\.txt, line 2: .*{reason}") as error:
        exemplars.read(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "expected an Ultralytics data set with names and train, got None"),
        ("- 1\n- 2\n", r"expected an Ultralytics data set .* got \[1, 2\]"),
        ("a: [", "expected a YAML file"),
        ("{has_visible: true, classes: {toy: [nose]}}", "configuration of X-AnyLabeling"),
        ("{names: [toy], train: images}", "expected kpt_shape"),
        ("{names: [toy], kpt_shape: [3, 3]}", "expected train, a folder"),
        ("{names: [toy], kpt_shape: 3, train: images}", "kpt_shape: expected"),
        ("{names: [toy], kpt_shape: [3, 4], train: images}", "kpt_shape: expected"),
        ("{names: 5, kpt_shape: [3, 3], train: images}", "names: expected a list"),
        ("{names: {a: toy}, kpt_shape: [3, 3], train: images}", "could not convert"),
        ("{names: [toy], kpt_shape: [3, 3], train: {a: b}}", "expected folders"),
        ("{names: [toy], kpt_shape: [3, 3], train: no.txt}", "a list of images .*no.txt"),
        ("{names: [toy], kpt_shape: [3, 3], train: nowhere}", "got none"),
        ("{names: [toy], kpt_shape: [3, 3], train: images, flip_idx: [0, 1]}", "flip_idx: exp"),
        ("{names: [toy], kpt_shape: [3, 3], train: images, flip_idx: [1, 2, 0]}", "flip_idx: exp"),
        ("{names: [toy], kpt_shape: [3, 3], train: images, kpt_names: [a, b]}", "3 different"),
    ],
)  # fmt: skip
def test_data_sets_that_are_wrong(tmp_path, content, reason):
    save_images(tmp_path / "images")
    path = tmp_path / "data.yaml"
    path.write_text(content)
    with pytest.raises(
        HomologError, match=f"^exemplars: .*data.yaml.*({reason})|{reason}"
    ) as error:
        exemplars.read(path)
    assert "\n" not in str(error.value)


# Writing


def document(**members) -> dict:
    images = [
        {"id": name, "file_name": f"sub/{name}", "width": width, "height": height}
        for name, (width, height) in SIZES.items()
    ]
    rng = np.random.default_rng(3)
    annotations = []
    for number, (name, category) in enumerate([("a.png", 5), ("a.png", 7), ("b.png", 5)]):
        width, height = SIZES[name]
        points = np.column_stack([rng.uniform(0, 1, (3, 2)) * [width, height], [2, 1, 0]])
        points[2] = 0
        annotations.append(
            {"id": number, "image_id": name, "category_id": category, "num_keypoints": 2,
             "bbox": [2.5, 3.25, 30.0, 20.5], "keypoints": points.ravel().tolist(), **members}
        )  # fmt: skip
    categories = [
        {"id": 5, "name": "toy", "keypoints": NAMES},
        {"id": 7, "name": "Tier, groß", "keypoints": ["Maul", "Auge l", "Auge r"],
         "flip_indices": FLIP},
    ]  # fmt: skip
    return {"images": images, "annotations": annotations, "categories": categories}


def ultralytics(path: Path) -> dict[str, list[tuple[int, np.ndarray, np.ndarray]]]:
    """Objects of a data set, read and checked as Ultralytics does it.

    Follows `check_det_dataset`, `img2label_paths` and `verify_image_label` of version 8.3, which
    refuses a whole text file for one number that is out of place.
    """
    data = yaml.safe_load(path.read_text())
    assert {"train", "val", "names", "kpt_shape"} <= data.keys()
    count, dimensions = data["kpt_shape"]
    assert dimensions in (2, 3) and sorted(data["names"]) == list(range(len(data["names"])))
    assert sorted(data.get("flip_idx", range(count))) == list(range(count))
    folder = (Path(data["path"]) / data["train"]).resolve()
    assert folder.is_dir()
    found = {}
    for image in sorted(folder.rglob("*.png")):
        parts = "/images/".join(["", *str(image).split("/images/")[-1:]])
        text = Path(
            str(image).rsplit("/images/", 1)[0] + "/labels/" + parts.removeprefix("/images/")
            if "/images/" in str(image)
            else str(image)
        ).with_suffix(".txt")
        rows = np.array(
            [line.split() for line in text.read_text().strip().splitlines()], dtype=np.float32
        )
        found[image.name] = []
        if not len(rows):
            continue
        assert rows.shape[1] == 5 + count * dimensions
        points = rows[:, 5:].reshape(len(rows), count, dimensions)
        assert rows.min() >= 0 and points[..., :2].max() <= 1 and rows[:, 1:5].max() <= 1
        assert rows[:, 0].max() < len(data["names"]) and (points[..., 2] <= 2).all()
        assert len(np.unique(rows, axis=0)) == len(rows), "it would leave out duplicates"
        found[image.name] = [
            (int(row[0]), row[1:5], each) for row, each in zip(rows, points, strict=True)
        ]
    return found


@pytest.mark.parametrize("folder", ["photos", "images/train"])
def test_ultralytics_reads_what_is_written(tmp_path, folder):
    save_images(tmp_path / folder / "sub")
    labels = document()
    notes = yolo.write(tmp_path / "out.yaml", labels, WriteOptions(tmp_path / folder))
    assert notes == []
    found = ultralytics(tmp_path / "out.yaml")
    assert {name: len(objects) for name, objects in found.items()} == {
        "a.png": 2,
        "b.png": 1,
        "c.png": 0,
    }
    for annotation, (label, box, points) in zip(
        labels["annotations"], [*found["a.png"], *found["b.png"]], strict=True
    ):
        size = np.array(SIZES[annotation["image_id"]])
        assert label == {5: 0, 7: 1}[annotation["category_id"]]
        x, y, width, height = annotation["bbox"]
        expected = [x + width / 2, y + height / 2, width, height]
        np.testing.assert_allclose(box * np.tile(size, 2), expected, atol=1e-4)
        given = np.reshape(annotation["keypoints"], (-1, 3))
        np.testing.assert_allclose(points[:, :2] * size, given[:, :2], atol=1e-4)
        assert points[:, 2].tolist() == given[:, 2].tolist() == [2, 1, 0]


def test_round_trip(tmp_path):
    save_images(tmp_path / "photos" / "sub")
    labels = document()
    out = tmp_path / "out.yaml"
    yolo.write(out, labels, WriteOptions(tmp_path / "photos"))
    found = label_files.read(out, ReadOptions()).document
    assert [image["file_name"] for image in found["images"]] == [f"sub/{name}" for name in SIZES]
    assert [c["name"] for c in found["categories"]] == ["toy", "Tier, groß"]
    assert [c["keypoints"] for c in found["categories"]] == [
        c["keypoints"] for c in labels["categories"]
    ]
    assert all(c["flip_indices"] == FLIP for c in found["categories"])
    for before, after in zip(labels["annotations"], found["annotations"], strict=True):
        np.testing.assert_allclose(after["keypoints"], before["keypoints"], atol=1e-4)
        np.testing.assert_allclose(after["bbox"], before["bbox"], atol=1e-4)
        assert after["num_keypoints"] == 2
    # Once more, over its own text files.
    before = {text: text.read_text() for text in (tmp_path / "photos").rglob("*.txt")}
    assert yolo.write(out, found, WriteOptions(tmp_path / "photos")) == []
    assert before == {text: text.read_text() for text in (tmp_path / "photos").rglob("*.txt")}


def test_what_cannot_be_held_is_said(tmp_path):
    save_images(tmp_path / "photos" / "sub")
    labels = document(instance_id=4, score=0.5, attributes={"sex": "f"})
    labels["annotations"][0]["keypoints"][:2] = [-3.0, 70.0]
    labels["annotations"].append(
        {"id": 9, "image_id": "c.png", "category_id": 5, "bbox": [1, 2, 3, 4]}
    )
    notes = yolo.write(tmp_path / "out.yaml", labels, WriteOptions(tmp_path / "photos"))
    (members, outside, objects) = sorted(notes, key=len, reverse=True)
    assert members == (
        "YOLO has no place for these members, of annotations: attributes, instance_id, score"
    )
    assert (
        outside == "YOLO holds no keypoints outside their images, which are moved to the border: 1"
    )
    assert objects == "YOLO holds no objects without keypoints: 1"
    assert ultralytics(tmp_path / "out.yaml")["a.png"][0][2][0].tolist() == [0, 1, 2]


def test_nothing_that_was_there_is_written_over(tmp_path):
    save_images(tmp_path / "photos" / "sub")
    mine = write_texts(tmp_path / "photos" / "sub", ["b.png"]) / "b.txt"
    with pytest.raises(
        HomologError, match=r"out: expected images without YOLO labels, got .*b\.txt"
    ):
        yolo.write(tmp_path / "out.yaml", document(), WriteOptions(tmp_path / "photos"))
    assert mine.read_text() == f"{ROW}\n" and not (tmp_path / "out.yaml").exists()
    assert not (tmp_path / "photos" / "sub" / "a.txt").exists()
    with pytest.raises(HomologError, match=r"^out: .*nowhere"):
        yolo.write(tmp_path / "nowhere" / "o.yaml", document(), WriteOptions(tmp_path / "photos"))
    assert not (tmp_path / "photos" / "sub" / "a.txt").exists()
    labels = document()
    labels["images"].append({"id": "x", "file_name": "sub/a.jpg", "width": 9, "height": 9})
    mine.unlink()
    with pytest.raises(HomologError, match=r"got sub/a\.jpg and another one with the labels"):
        yolo.write(tmp_path / "out.yaml", labels, WriteOptions(tmp_path / "photos"))
    labels = document()
    labels["categories"][1]["keypoints"] = ["Maul"]
    with pytest.raises(HomologError, match=r"one number of keypoints for YOLO, got \[1, 3\]"):
        yolo.write(tmp_path / "out.yaml", labels, WriteOptions(tmp_path / "photos"))


@pytest.mark.skipif(not DOGS.is_dir(), reason="the dogs' images are not there")
@pytest.mark.parametrize(
    "case", ["elsewhere", "roboflow", "txtlist", "floatclass", "noflip", "pixels"]
)
def test_reported_data_sets(tmp_path, case):
    shutil.copytree(CASES / f"yolo_{case}", tmp_path / "set")
    for text in (tmp_path / "set").rglob("*/*.txt"):
        image = Path(str(text).replace("/labels/", "/images/")).with_suffix(".jpg")
        image.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(DOGS / image.name, image)
    other = save_images(tmp_path / "other", ["a.png"])
    if case == "pixels":
        with pytest.raises(HomologError, match=r"10591\.txt, line 1: .* these seem to be pixels"):
            exemplars.read(tmp_path / "set" / "data.yaml", other)
        return
    found = exemplars.read(tmp_path / "set" / "data.yaml", other)
    assert sorted(int(a.visible.sum()) for a in found.annotations) == [14, 17, 20]
    first = next(a for a in found.annotations if "10591" in a.name)
    np.testing.assert_allclose(first.keypoints[0], (258.5, 277.0), atol=1e-3)
    assert found.schemas["dog"].sides_known == (case != "noflip")


def test_counterparts_that_nobody_told_are_not_known(tmp_path):
    save_images(tmp_path / "images")
    write_texts(tmp_path / "labels")
    file = write_yaml(tmp_path / "data.yaml", flip_idx=[0, 1, 2])
    found = exemplars.read(file)
    assert not found.schemas["toy"].sides_known
    assert [note for note in found.notes if "flip_idx pairs no keypoints" in note]
    named = exemplars.read(write_yaml(file, flip_idx=[0, 1, 2], kpt_names={0: NAMES}))
    assert named.schemas["toy"].mirror == tuple(FLIP)
