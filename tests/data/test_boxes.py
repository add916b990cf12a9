"""Boxes of objects in the formats of detectors: the same objects in each."""

import re

import numpy as np
import pandas as pd
import pytest
from helpers import datasets
from helpers.boxes import (
    OBJECTS,
    SIZES,
    as_coco,
    as_results,
    as_rows,
    assert_same,
    flat,
    fractions,
    save_images,
    write_yolo,
)

from homolog.data.boxes import read_boxes


@pytest.fixture
def folder(tmp_path):
    return save_images(tmp_path)


def test_coco(folder):
    path = datasets.save_json(folder.parent / "annotations" / "boxes.json", as_coco())
    own = {number: number for number, *_ in flat()}
    assert_same(read_boxes(path), folder, own)
    assert read_boxes(path).notes == ()
    assert_same(read_boxes(path, folder), folder, own)
    empty = datasets.save_image(folder / "empty.png", 9)

    def change(file):
        file["images"].append({"id": 1, "file_name": "empty.png"})
        file["images"].append({"id": 2, "file_name": "nowhere.png"})
        file["annotations"].append({**file["annotations"][0], "id": 99, "iscrowd": 1})

    found = read_boxes(datasets.edit_json(path, change), folder)
    assert found.of(empty) == [] and empty.resolve() in found.objects, "listed without an object"
    assert found.notes == (f"{path}: crowds, which are left out: 1",) and found.problems == ()


@pytest.mark.parametrize("place", ["track_id", "instance_id", "instance", "attributes"])
def test_coco_with_instances(place, folder):
    """Track ids name the instances, and those without get what is free."""
    content = as_coco()
    names = ["queen", 2, "3", None, 1.0]
    for annotation, name in zip(content["annotations"], names, strict=True):
        if name is not None:
            annotation |= {"attributes": {"track_id": name}} if place == "attributes" else {
                place: name
            }  # fmt: skip
    path = datasets.save_json(folder / "boxes.json", content)
    assert_same(read_boxes(path), folder, {1: "queen", 2: 2, 3: 3, 4: 2, 5: 1})


def test_coco_with_masks(folder):
    content = as_coco()
    first, second, third, *_ = content["annotations"]
    first["segmentation"] = [[4, 5, 24, 5, 24, 17, 4, 17]]
    pixels = np.zeros((48, 64), dtype=bool)
    pixels[8:40, 30:46] = True
    changes = np.flatnonzero(np.diff(pixels.T.ravel(), prepend=False, append=False))
    second["segmentation"] = {
        "size": [48, 64], "counts": np.diff([0, *changes, pixels.size]).tolist()
    }  # fmt: skip
    del second["bbox"]
    third["segmentation"] = {"size": [48, 64], "counts": [0, 48 * 64]}
    path = datasets.save_json(folder / "boxes.json", content)
    found = read_boxes(path)
    outline, runs = found.of(folder / "a.png")
    assert outline.mask().nonzero()[0].tolist() == np.repeat(np.arange(5, 17), 20).tolist()
    assert (runs.mask() == pixels).all() and runs.box == OBJECTS["a.png"][1][0], "its bounding box"
    assert found.of(folder / "b.png")[0].mask is None, "of another size than the image"
    (problem,) = found.problems
    assert problem == (
        f"{path}: annotation 3: mask: expected 80 x 100 pixels, got 64 x 48 pixels; its box is "
        "used without it"
    )


def test_coco_without_boxes(folder):
    """Tools that have none write zeros, or leave it out; then it is that of the keypoints."""
    content = as_coco()
    for entry, box in zip(content["annotations"][:2], ([0, 0, 0, 0], None), strict=True):
        x, y, width, height = entry.pop("bbox")
        entry["keypoints"] = [x, y + 1, 2, x + width, y, 1, 0, 0, 0, x + 1, y + height, 2]
        entry |= {} if box is None else {"bbox": box}
    path = datasets.save_json(folder / "boxes.json", content)
    assert_same(read_boxes(path), folder, {number: number for number, *_ in flat()})


def test_results(folder):
    """Numbers are those of a COCO file, which is given or lies beside; others are names."""
    path = datasets.save_json(folder.parent / "detected" / "results.json", as_results())
    listing = datasets.save_json(folder.parent / "list" / "gt.json", as_coco())
    assert_same(read_boxes(path, folder, images=listing), folder, scores=True)
    error = datasets.refused(lambda: read_boxes(path, folder), "an image 7 in", "try a COCO file")
    assert error.startswith("boxes: expected at least one to use in ") and "(and 2 more)" in error
    beside = datasets.save_json(path.with_name("gt.json"), as_coco())
    datasets.save_json(path.with_name("a_first.json"), {**as_coco(), "images": []})
    datasets.save_json(path.with_name("other.json"), [1, 2])
    found = read_boxes(path, folder)
    assert_same(found, folder, scores=True)
    assert found.notes == (f"{path}: image ids are taken to be those of {beside}",)
    beside.unlink()
    for names in (
        {name: name for name in SIZES},
        {name: name.removesuffix(".png") for name in SIZES},
        {"a.png": "a", "b.png": "b.png", "sub/c.png": "c"},
    ):
        datasets.save_json(path, as_results(names))
        found = read_boxes(path, folder)
        assert [o.category for o in found.of(folder / "a.png")] == ["3", "8"], "nothing names them"
        assert [o.score for o in found.of(folder / "sub" / "c.png")] == [0.75, 1.0]
        assert found.count == 5 and found.problems == ()


def test_results_with_numbers_that_are_names(tmp_path):
    """As in COCO's own folders: 139 is 000000000139.jpg."""
    for seed, number in enumerate((139, 285)):
        datasets.save_image(tmp_path / f"{number:012}.jpg", seed)
    results = [{"image_id": n, "category_id": 1, "bbox": [1, 2, 30, 40]} for n in (139, 285, 7)]
    found = read_boxes(datasets.save_json(tmp_path / "r.json", results), tmp_path)
    assert [path.name for path in found.objects] == ["000000000139.jpg", "000000000285.jpg"]
    (problem,) = found.problems
    assert re.search("r.json: result at position 2: expected an image 7 in .* got none", problem)
    datasets.save_image(tmp_path / "sub" / "139.png", 0)
    (problem, _) = read_boxes(tmp_path / "r.json", tmp_path).problems
    assert "expected an image 139 in" in problem and "000000000139.jpg" in problem


def test_yolo(folder):
    path = write_yolo(folder.parent)
    assert_same(read_boxes(path), folder)
    assert_same(read_boxes(path, folder), folder)
    assert_same(read_boxes(folder.parent / "labels"), folder)
    assert_same(read_boxes(folder.parent / "labels", folder), folder)
    moved = folder.rename(folder.parent / "photos")
    assert_same(read_boxes(folder.parent / "labels", moved), moved)
    assert_same(read_boxes(path, moved), moved)
    datasets.refused(lambda: read_boxes(path), "expected text files of labels beside the")
    # Text files in one folder, images in several.
    (folder.parent / "labels" / "sub" / "c.txt").rename(folder.parent / "labels" / "c.txt")
    assert_same(read_boxes(folder.parent / "labels", moved), moved)
    datasets.save_image(moved / "other" / "c.png", 0)
    found = read_boxes(folder.parent / "labels", moved)
    (problem,) = found.problems
    assert found.count == 3 and "c.txt: expected an image with this name" in problem


def test_yolo_beside_the_images(folder):
    """Text files in the folder of the images, no YAML file: classes are numbers."""
    write_yolo(folder.parent, names=())
    for file in (folder.parent / "labels").rglob("*.txt"):
        file.rename(folder / file.relative_to(folder.parent / "labels"))
    (folder / "classes.txt").write_text("mouse\nrat\n")
    found = read_boxes(folder)
    assert found.count == 5 and found.problems == ()
    assert [each.category for each in found.of(folder / "a.png")] == ["0", "1"]


def test_yolo_with_keypoints_outlines_scores_and_ids(folder):
    root = folder.parent
    for count, dimensions in ((3, 3), (4, 2), (5, 3)):
        points = np.tile([0.5, 0.25, 2][:dimensions], count)
        path = write_yolo(
            root, lambda s, b, p=points: [*fractions(s, b), *p], kpt_shape=[count, dimensions]
        )
        assert_same(read_boxes(path), folder)
        assert_same(read_boxes(root / "labels"), folder)  # the YAML file above it says so
    path = write_yolo(root, lambda s, b: [*fractions(s, b), 0.25, 7])
    found = read_boxes(path)
    assert {each.score for each in found.of(folder / "b.png")} == {0.25}
    assert {each.instance for each in found.of(folder / "b.png")} == {7}
    assert len(found.problems) == 2, "two objects of one image with one id, twice"
    path = write_yolo(root, lambda s, b: [*fractions(s, b), 0.5])
    assert found.of(folder / "a.png")[0].score == 0.25
    assert {each.score for each in read_boxes(path).of(folder / "a.png")} == {0.5}
    path = write_yolo(root, lambda s, b: [*fractions(s, b), 1 + round(b[0])])
    assert [each.instance for each in read_boxes(path).of(folder / "a.png")] == [5, 31], "ids alone"

    def outline(size, box):
        x, y, width, height = box
        corners = [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]
        return (np.array(corners) / size).flatten()

    path = write_yolo(root, outline)
    found = read_boxes(path)
    assert_same(found, folder)
    mask = found.of(folder / "a.png")[0].mask()
    assert mask.shape == (48, 64) and mask[5:17, 4:24].all() and mask.sum() == 12 * 20
    path.unlink()
    (note,) = read_boxes(root / "labels").notes
    assert "taken to be outlines, not keypoints" in note and note.endswith(": 5")


def test_yolo_from_other_machines(folder):
    """Folders as Roboflow writes them, lists of images, a root that is not there."""
    path = write_yolo(folder.parent, train="../images")
    assert_same(read_boxes(path), folder)
    path = write_yolo(folder.parent, path="/nowhere/data", train=["images"], val=None)
    assert_same(read_boxes(path), folder)
    (folder.parent / "train.txt").write_text("\n".join(f"./images/{name}" for name in SIZES))
    path = write_yolo(folder.parent, train="train.txt")
    assert_same(read_boxes(path), folder)


CORNERS = [
    ("x0", "y0", "x1", "y1"),
    ("x1", "y1", "x2", "y2"),
    ("xmin", "ymin", "xmax", "ymax"),
    ("left", "top", "right", "bottom"),
]


@pytest.mark.parametrize("names", CORNERS, ids=lambda names: names[0])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_tables_of_corners(names, separator, folder):
    """Columns are known by their names, whatever their order, and others do no harm."""
    table = as_rows()
    corners = pd.DataFrame(dict(zip(names, (
        table.x, table.y, table.x + table.width, table.y + table.height
    ), strict=True)))  # fmt: skip
    # As TensorFlow's tables have it: the image's own size under other names' names.
    size = pd.DataFrame([{"width": SIZES[n][0], "height": SIZES[n][1]} for n in table.image])
    rest = table[["category", "image", "score", "instance"]].rename(columns={"image": "Filename"})
    whole = pd.concat([corners[[names[3], names[0]]], size, rest, corners[[names[2], names[1]]]],
                      axis=1)  # fmt: skip
    path = folder.parent / "boxes.csv"
    whole.to_csv(path, index=False, sep=separator, encoding="utf-8-sig")
    ids = {number: f"m{number}" for number, *_ in flat()}
    assert_same(read_boxes(path, folder), folder, ids, scores=True)


def test_tables(folder):
    path = folder.parent / "boxes.csv"
    ids = {number: f"m{number}" for number, *_ in flat()}
    as_rows().sample(frac=1, axis=1, random_state=0).to_csv(path, index=False)
    assert_same(read_boxes(path), folder, ids, scores=True)
    as_rows(width="w", height="h", image="file_name").to_csv(path, index=False)
    assert_same(read_boxes(path), folder, ids, scores=True)
    as_rows(**{name: f"bbox_{name}" for name in ("x", "y", "width", "height")}).to_csv(path)
    assert_same(read_boxes(path), folder, ids, scores=True)
    as_rows(x="left", y="top").drop(columns=["instance", "score", "category"]).to_csv(path)
    assert_same(read_boxes(path), folder, categories=False)
    path.write_text(as_rows().to_csv(index=False, header=False))
    datasets.refused(lambda: read_boxes(path), path, "expected a header with image, x, y, width")
    as_rows(x="a", y="b").to_csv(path)
    datasets.refused(lambda: read_boxes(path), path, "expected a header with image, x, y, width")
