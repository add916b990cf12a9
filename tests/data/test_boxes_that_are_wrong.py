"""Boxes that cannot be right: a line names file and entry, and the others are used."""

import numpy as np
import pandas as pd
import pytest
from helpers import datasets
from helpers.boxes import as_coco, as_rows, save_images, write_yolo

from homolog.data.boxes import read_boxes
from homolog.data.formats.entries import as_instance


@pytest.fixture
def folder(tmp_path):
    return save_images(tmp_path)


BAD = [
    ([70, 5, 20, 12], "which lies outside the image of 64 x 48 pixels"),
    ([4, 5, 0, 12], "which is empty or flipped"),
    ([24, 5, -20, 12], "which is empty or flipped"),
    ([4, float("nan"), 20, 12], "which is not finite"),
    ([0.1, 0.2, 0.3, 0.4], "try to multiply shares by the image's 64 x 48 pixels"),
    ([30, 20, 60, 45], "which reaches beyond the image of 64 x 48 pixels; (30, 20, 30, 25)?"),
    ([1, 2, 3], "got 3 numbers"),
    ("words", "got 'words'"),
    ([1, 2, "x", 4], "expected (x, y, width, height) in pixels, got [1, 2, 'x', 4]"),
    ([[1, 2], 3, 4, 5], "expected (x, y, width, height) in pixels"),
]


@pytest.mark.parametrize(("numbers", "reason"), BAD, ids=lambda value: str(value)[:20])
def test_boxes_that_cannot_be_right(numbers, reason, folder):
    """One line names file and entry, and the other entries are used."""
    content = as_coco()
    content["annotations"][0]["bbox"] = numbers
    path = datasets.save_json(folder / "boxes.json", content)
    found = read_boxes(path)
    (problem,) = found.problems
    assert problem.startswith(f"{path}: annotation 1: box: ") and reason in problem
    assert "\n" not in problem and found.count == 4
    assert found.messages == [problem]
    content["annotations"] = content["annotations"][:1]
    datasets.save_json(path, content)
    datasets.refused(lambda: read_boxes(path), "annotation 1: box: ", reason)


ENTRIES = [
    ({"image_id": 99}, "annotation 1: image_id: expected one of the images, got 99"),
    ({"image_id": None}, "annotation 1: image_id: expected one of the images, got None"),
    ({"image_id": [1]}, "annotation 1: image_id: expected one of the images, got [1]"),
    ({"score": "high"}, "annotation 1: score: expected a number, got 'high'"),
    ({"track_id": [1]}, "annotation 1: instance: expected text or a whole number, got [1]"),
    ({"track_id": 1.5}, "annotation 1: instance: expected text or a whole number, got 1.5"),
    ({"segmentation": 3}, "annotation 1: segmentation: expected polygons or run lengths"),
    ({"bbox": None}, "annotation 1: box: expected (x, y, width, height) in pixels, got None"),
]


@pytest.mark.parametrize(("change", "reason"), ENTRIES, ids=lambda value: str(value)[:20])
def test_entries_that_are_wrong(change, reason, folder):
    content = as_coco()
    content["annotations"][0] |= change
    content["annotations"] += [4, {}]
    path = datasets.save_json(folder / "boxes.json", content)
    found = read_boxes(path)
    assert found.count == 4 and len(found.problems) == 3
    assert sum(reason in line for line in found.problems) == 1
    assert f"{path}: annotation at position 5: expected a JSON object, got 4" in found.problems
    assert f"{path}: annotation at position 6: expected 'image_id', got none" in found.problems


def test_images_that_are_not_there_or_broken(folder):
    content = as_coco()
    for number, name in enumerate(("gone.png", "broken.png", "text.png"), start=50):
        content["images"].append({"id": number, "file_name": name})
        for twice in (0, 10):
            content["annotations"].append(
                {"id": number + twice, "image_id": number, "category_id": 3, "bbox": [1, 2, 9, 9]}
            )
    (folder / "broken.png").write_bytes((folder / "a.png").read_bytes()[:20])
    (folder / "text.png").write_text("not an image")
    path = datasets.save_json(folder / "boxes.json", content)
    found = read_boxes(path)
    assert found.count == 5
    gone, broken, text = found.problems
    assert gone.startswith(f"{path}: annotation 50: expected an image gone.png in {folder}")
    assert (
        broken.startswith(f"{path}: annotation 51: image: expected an image")
        and str(folder / "broken.png") in broken
    )
    assert "annotation 52" in text and "known format" in text


def test_two_objects_with_one_id(folder):
    path = folder.parent / "boxes.csv"
    as_rows().assign(instance=["m", "m", "m", "7", 7]).to_csv(path, index=False)
    found = read_boxes(path)
    assert found.problems == (
        f"{path}, line 3: instance: expected each once in an image, got 'm' again",
        f"{path}, line 6: instance: expected each once in an image, got 7 again",
    )
    assert found.count == 3, "in other images the id may occur again"


def test_corners_in_place_of_boxes(folder):
    """Where all numbers do as corners and some do not as boxes, none is used."""
    rows = as_rows()
    rows.width, rows.height = rows.x + rows.width, rows.y + rows.height
    path = folder.parent / "boxes.csv"
    rows.to_csv(path, index=False)
    datasets.refused(
        lambda: read_boxes(path),
        f"{path}, line 3: box: expected (x, y, width, height) in pixels, got (30, 8, 46, 40)",
        "look like corners (x0, y0, x1, y1)",
    )
    # One entry that cannot be a corner: then it is only the others that are wrong.
    mixed = as_rows()
    mixed.loc[1, ["width", "height"]] = 46.0, 40.0
    mixed.to_csv(path, index=False)
    (problem,) = read_boxes(path).problems
    assert "line 3" in problem and "(30, 8, 16, 32)?" in problem


def test_fractions_that_are_pixels(folder):
    path = write_yolo(folder.parent, lambda size, box: box)
    datasets.refused(lambda: read_boxes(path), "a.txt, line 1: box: expected fractions of the")


def test_yolo_rows_that_are_wrong(folder):
    path = write_yolo(folder.parent)
    labels = folder.parent / "labels"
    good = (labels / "a.txt").read_text()
    (labels / "a.txt").write_text(
        f"{good}\n0 0.5 0.5 1\n9 0.5 0.5 1 1\n0.5 0.5 0.5 1 1\n0 a b c d\n0 0.5 0.5 nan 1\n"
    )
    (labels / "b.txt").write_bytes(b"\xff\xfe\x00")
    (labels / "lost.txt").write_text(good)
    found = read_boxes(path)
    assert found.count == 4 and len(found.problems) == 6
    for line in range(4, 8):
        assert any(f"a.txt, line {line}: expected class and" in each for each in found.problems)
    assert any("a.txt, line 8: box" in each for each in found.problems)
    found = read_boxes(labels)
    assert len(found.problems) == 7 and str(labels / "lost.txt") in found.problems[0]


def test_tables_with_rows_that_are_wrong(folder):
    path = folder.parent / "boxes.csv"
    text = as_rows().to_csv(index=False)
    path.write_text(text + "a.png,1,2\n,1,2,3,4,m,1,rat\na.png,1,2,x,4,m,1,rat\n\n")
    found = read_boxes(path)
    assert found.count == 5
    assert [line.partition(": ")[0] for line in found.problems] == [
        f"{path}, line {number}" for number in (7, 8, 9)
    ]
    path.write_text(text + '"a.png,1,2,3,4,m,1,rat\nb.png,1,2,3,4,m,1,rat')
    (problem,) = read_boxes(path).problems
    assert "\n" not in problem, "a quote that nothing ends"
    path.write_bytes(b"\xe9,\n")
    datasets.refused(lambda: read_boxes(path), "boxes: expected a CSV table", path)


@pytest.mark.parametrize(
    ("written", "place"),
    [
        (r"sub\c d.png", "sub/c d.png"),
        ("sub/c%20d.png", "sub/c d.png"),
        ("images/sub/c d.png", "sub/c d.png"),
        ("/home/anna/images/sub/c d.png", "sub/c d.png"),
        (r"C:\data\sub\c d.png", "sub/c d.png"),
        (r"..\..\label-studio\upload\4\c d.png", "c d.png"),
        ("https://x.org/data/c%20d.png?d=1", None),
        ("s3://bucket/sub/c d.png", "sub/c d.png"),
        ("other/c d.png", None),
        ("c%20d.png", "c%20d.png"),
        ("x" * 5000 + ".png", None),
        ("a\0b.png", None),
    ],
)
def test_names_of_images(written, place, tmp_path):
    folder = tmp_path / "images"
    datasets.save_image(folder / "c d.png" if place is None else folder / place, 0)
    results = [{"image_id": written, "category_id": 1, "bbox": [1, 2, 30, 40]}]
    path = datasets.save_json(tmp_path / "r.json", results)
    if place is None:
        datasets.refused(
            lambda: read_boxes(path, folder), "result at position 0: expected an image"
        )
    else:
        assert read_boxes(path, folder).of(folder / place)[0].box == (1, 2, 30, 40)


def test_a_name_for_two_images(tmp_path):
    """Two names that lead to one file are not two images."""
    datasets.save_image(tmp_path / "a.png", 0)
    rows = "image,x,y,width,height\n/one/a.png,1,2,30,40\n/two/a.png,2,2,30,40\n"
    (tmp_path / "b.csv").write_text(rows)
    found = read_boxes(tmp_path / "b.csv", tmp_path)
    assert found.count == 1
    (problem,) = found.problems
    assert "line 3: expected an image /two/a.png and another /one/a.png" in problem


def test_a_thousand_boxes(folder):
    path = folder.parent / "boxes.csv"
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.uniform(0, 20, (1000, 2)), columns=["x", "y"])
    table.assign(image="b.png", width=40, height=30).to_csv(path, index=False)
    found = read_boxes(path)
    assert [each.instance for each in found.of(folder / "b.png")] == list(range(1, 1001))
    assert found.messages == []
    table.assign(image="b.png", width=-40, height=30).to_csv(path, index=False)
    with path.open("a") as file:
        file.write("1,2,b.png,30,40\n")
    found = read_boxes(path)
    assert found.count == 1 and len(found.problems) == 1000
    assert len(found.messages) == 11 and found.messages[-1] == "and 990 more entries left out"


def test_files_that_hold_no_boxes(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "mask").mkdir()
    (tmp_path / "mask" / "a.jpg").write_text("")
    for name, content, reason in (
        ("a.txt", "", "expected a file in .json, .csv, .yaml, .yml, .slp, or a folder"),
        ("none.json", None, "expected an existing file or folder"),
        ("a.json", "{}", "expected a COCO file with the lists"),
        ("a.json", "[]", "expected at least one to use in"),
        ("a.json", "{,", "line 1: expected JSON"),
        ("a.json", '{"images": [], "annotations": [], "categories": []}', "expected at least one"),
        ("a.yaml", "a: [", "expected a YAML file"),
        ("a.yaml", "names: 3", "names: expected a list, or names by numbers"),
        ("a.csv", "", "expected a header"),
        ("a.csv", "scorer,x\nframe,y\n", "expected the header of a DeepLabCut table"),
        ("empty", None, "expected masks in"),
        ("mask", None, "expected masks in"),
    ):
        if content is not None:
            (tmp_path / name).write_text(content)
        message = datasets.refused(lambda name=name: read_boxes(tmp_path / name, tmp_path), reason)
        assert name in message
    datasets.refused(lambda: read_boxes(tmp_path / "a.json", tmp_path / "no"), "images: expected")


def test_instance_ids():
    assert as_instance(" 12 ") == 12 and as_instance(12.0) == 12 and as_instance("012") == "012"
    for wrong in ("", " ", True, 1.5, float("nan"), float("inf"), None, []):
        with pytest.raises(ValueError, match="instance: expected"):
            as_instance(wrong)
