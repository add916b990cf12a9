"""Tables of keypoints, long and wide: as people write them, and there and back."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.toys import random_image
from hypothesis import given, settings
from hypothesis import strategies as st

from homolog import HomologError
from homolog.data import exemplars, label_files
from homolog.data.boxes import read_boxes
from homolog.data.formats import table
from homolog.data.formats.document import ReadOptions, WriteOptions

SIZES = {"a.png": (64, 48), "b.png": (48, 64)}
CASES = Path(__file__).parents[3].parent / "shared" / "cases"
DOGS = CASES.parent / "data" / "dogs" / "images"
LONG = (
    "image,keypoint,x,y\na.png,nose,12.5,40\na.png,tail,30,20.25\nb.png,nose,5,6\nb.png,tail,7,8\n"
)
WIDE = "image,nose_x,nose_y,tail_x,tail_y\na.png,12.5,40,30,20.25\nb.png,5,6,7,8\n"
POINTS = {"a.png": [[12.5, 40], [30, 20.25]], "b.png": [[5, 6], [7, 8]]}

HIDDEN = "keypoints with coordinates that are not labelled, for v is 0: 1"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images").mkdir()
    for seed, (name, size) in enumerate(SIZES.items()):
        random_image(*size, seed=seed).save(tmp_path / "images" / name)
    return tmp_path / "images"


def read(folder: Path, text: str, encoding: str = "utf-8"):
    path = folder.parent / "labels.csv"
    path.write_bytes(text.encode(encoding))
    return label_files.read(path, ReadOptions(folder, argument="exemplars"))


def points_of(found) -> dict[str, list]:
    """x and y of the keypoints of each image, or None where they are not labelled."""
    names = {image["id"]: image["file_name"] for image in found.document["images"]}
    points: dict[str, list] = {}
    for annotation in found.document["annotations"]:
        rows = np.reshape(annotation["keypoints"], (-1, 3)).tolist()
        points[names[annotation["image_id"]]] = [[x, y] if v else None for x, y, v in rows]
    return points


@pytest.mark.parametrize("text", [LONG, WIDE])
def test_forms_of_one_table(folder, text):
    """Separators, decimal commas, capitals, a byte order mark, comments, row numbers, synonyms."""
    rows = [line.split(",") for line in text.strip().split("\n")]
    numbered = [[str(i) if i else "", *row] for i, row in enumerate(rows)]
    swapped = [row[1:] + row[:1] for row in rows]
    forms = [
        text,
        "\ufeff" + text.replace("\n", "\r\n"),
        text.replace(",", ";"),
        text.replace(",", "\t"),
        text.replace(",", ";").replace(".5", ",5").replace(".25", ",25"),
        ",".join(cell.title() for cell in rows[0]) + text[text.index("\n") :],
        ",".join(cell.upper() for cell in rows[0]) + text[text.index("\n") :],
        "# exported yesterday\n\n" + text,
        text.replace("image", "File Name").replace("keypoint", "bodypart"),
        text.replace("image", "img").replace("keypoint", "Label").replace(",x,y", ",X (px),pos_y"),
        text.replace("_x", ".x").replace("_y", ".y"),
        text.replace("_x", " X").replace("_y", " Y"),
        "\n".join(",".join(row) for row in numbered),
        "\n".join(",".join(row) for row in swapped),
    ]  # fmt: skip
    for form in forms:
        found = read(folder, form)
        assert points_of(found) == POINTS, form
        assert points_of(read(folder, form, "utf-16")) == POINTS, form
        (category,) = found.document["categories"]
        assert [name.lower() for name in category["keypoints"]] == ["nose", "tail"]
        assert category["name"] == "thing" and found.notes == ()


@pytest.mark.parametrize(
    ("heading", "cells", "state", "note"),
    [
        ("x,y", "nan,nan", None, None),
        ("x,y", ",", None, None),
        ("x,y", "NA,NA", None, None),
        ("x,y", "-1,-1", None, "keypoints at (-1, -1), which count as not labelled: 1"),
        ("x,y", "0,0.0", None, "keypoints at (0, 0), which count as not labelled: 1"),
        ("x,y,v", "9,9,0", None, HIDDEN),
        ("x,y,v", "0,0,0", None, None),
        ("x,y,v", "0,0,2", [0, 0, 2], None),
        ("x,y,v", "9,9,1", [9, 9, 1], None),
        ("x,y,v", "9,9,", [9, 9, 2], None),
        ("x,y,visible", "9,9,True", [9, 9, 2], None),
        ("x,y,visible", "9,9,FALSE", None, HIDDEN),
        ("x,y,visibility", "9,9,1", [9, 9, 2], None),
        ("x,y,likelihood", "9,9,0.01", [9, 9, 2], None),
        ("x,y,sex", "9,9,f", [9, 9, 2], "columns that are not read: sex"),
        ("x,y", "-3,9", [-3, 9, 2], "keypoints a little outside their images, kept as they are: 1"),
    ],
)  # fmt: skip
def test_whether_keypoints_are_labelled(folder, heading, cells, state, note):
    text = f"image,keypoint,{heading}\na.png,nose,12,40\na.png,tail,{cells}\n"
    found = read(folder, text)
    (annotation,) = found.document["annotations"]
    assert annotation["keypoints"] == [12, 40, 2, *(state or [0, 0, 0])]
    assert annotation["num_keypoints"] == (2 if state else 1)
    assert found.notes == (() if note is None else (f"{folder.parent / 'labels.csv'}: {note}",))
    scores = [None, 0.01] if "likelihood" in heading else None
    assert annotation.get("keypoint_scores") == scores
    # The same in a wide table.
    own = [f"tail_{name}" for name in heading.split(",")[: 2 if "sex" in heading else None]]
    rest = cells.split(",")[: len(own)]
    found = read(folder, f"image,nose_x,nose_y,{','.join(own)}\na.png,12,40,{','.join(rest)}\n")
    assert found.document["annotations"][0]["keypoints"] == annotation["keypoints"]


def test_an_occluded_keypoint_may_be_called_so(folder):
    """Where a column of another name has a 2, it is as in COCO: 1 is occluded."""
    rows = "a.png,nose,1,2,{}\na.png,tail,3,4,1\n"
    for second, state in (("2", 1), ("1", 2)):
        found = read(folder, "image,keypoint,x,y,visibility\n" + rows.format(second))
        assert found.document["annotations"][0]["keypoints"][-1] == state


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        (LONG + "a.png,ear,5258.5,9", 6, r"expected a point in the image of 64 x 48 pixels, got"),
        (LONG + "a.png,ear,-7,9", 6, r"point in the image of 64 x 48 pixels, got \(-7, 9\)"),
        (LONG + "a.png,ear,inf,9", 6, "expected numbers as x and y, got 'inf', '9'"),
        (LONG + "a.png,ear,1_0,9", 6, "expected numbers as x and y, got '1_0', '9'"),
        (LONG + "a.png,ear,9,", 6, "expected numbers as x and y, got '9', ''"),
        (LONG + "a.png,nose,9,9", 6, "'nose' again; try a column instance"),
        (LONG + ",nose,9,9", 6, "expected the name of an image"),
        (LONG + "a.png,,9,9", 6, "expected the name of a keypoint"),
        (LONG + "a.png,ear,9,9,9", 6, "expected 4 values, got 5"),
        ("image,keypoint,x,y,v\na.png,nose,1,2,5", 2, "a visibility of 0, 1 or 2, got '5'"),
        ("image,keypoint,x,y,v\na.png,nose,,,2", 2, "expected x and y where v is 2, got none"),
        ("image,keypoint,x,y\na.png,nose,0.5,0.4\nb.png,nose,0.1,1", 2, "fractions of the images"),
        (WIDE + "a.png,1,2,x,4", 4, "tail: expected numbers as x and y, got 'x', '4'"),
        ("image,instance,nose_x,nose_y\na.png,1,2,3\na.png,1,4,5", 3, "each object of a.png once"),
        ("image,nose_x,nose_y,nose_x\n", 1, "expected each column once, got 'nose_x'"),
        ("image,x,y\na.png,1,2\n", 1, "a heading with image, keypoint, .*'image, x, y'"),
        ("keypoint,x,y\nnose,1,2\n", None, "other content"),
        ("image,keypoint,x\na.png,nose,1", 1, "a heading with image, keypoint, x and y"),
        ("image,keypoint,x,pos_x,y\n", 1, "expected one column with x, got x and pos_x"),
        ("filename,file_size,region_shape_attributes\n", 1, "one of VIA"),
        ("", None, "expected a heading"),
    ],
)  # fmt: skip
def test_rows_that_are_wrong(folder, text, line, reason):
    where = "" if line is None else rf"labels.csv, line {line}: "
    with pytest.raises(HomologError, match=f"^exemplars: .*{where}.*{reason}") as error:
        read(folder, text)
    assert "\n" not in str(error.value)


def test_text_that_is_not_utf8(folder):
    with pytest.raises(
        HomologError, match=r"expected a CSV table .*labels\.csv, got: text that is not UTF-8"
    ):
        read(folder, LONG.replace("tail", "größe"), "latin-1")


def document(**members) -> dict:
    """Several objects and categories, occluded and unlabelled keypoints, scores, an empty image."""
    images = [
        {"id": name, "file_name": name, "width": width, "height": height}
        for name, (width, height) in SIZES.items()
    ]
    points = [
        [1.5, 2.25, 2, 0.0, 0.0, 0, 20.0, 30.0, 1],
        [0.0, 0.0, 0] * 3,
        [7.0, 8.0, 2, 0.1, 0.2, 1],
    ]
    annotations = [
        {"id": 1, "image_id": "a.png", "category_id": 1, "instance_id": "m1",
         "homolog": {"scores": [0.97, 0.1, 0.5], "doubtful": [], "reviewed": [0]}},
        {"id": 2, "image_id": "a.png", "category_id": 1, "instance_id": 2},
        {"id": 3, "image_id": "a.png", "category_id": 2},
    ]  # fmt: skip
    for annotation, values in zip(annotations, points, strict=True):
        annotation.update(keypoints=values, bbox=[0.0, 0.0, 64.0, 48.0], **members)
    categories = [
        {"id": 1, "name": "mouse, grey", "keypoints": ["nose", 'left "ear"', "tail_x"]},
        {"id": 2, "name": "Käfer", "keypoints": ["nose", "Fühler"]},
    ]
    return {"images": images, "annotations": annotations, "categories": categories}


@pytest.mark.parametrize("kind", ["csv", "csv-wide"])
def test_there_and_back(folder, kind):
    labels = document()
    out = folder.parent / "out.csv"
    notes = label_files.write(out, labels, WriteOptions(folder), kind)
    assert notes == [
        "CSV has no place for these members, of annotations: bbox",
        "CSV holds no state of review: 1",
    ]
    read_back = label_files.read(out, ReadOptions(folder))
    assert read_back.notes == () and not read_back.missing
    found = read_back.document
    assert [image["file_name"] for image in found["images"]] == ["a.png", "b.png"]
    assert [c["name"] for c in found["categories"]] == ["mouse, grey", "Käfer"]
    assert [c["keypoints"] for c in found["categories"]] == [
        c["keypoints"] for c in labels["categories"]
    ]
    assert [a["keypoints"] for a in found["annotations"]] == [
        a["keypoints"] for a in labels["annotations"]
    ]
    assert [a["instance_id"] for a in found["annotations"]] == ["m1", 2, 1]
    assert found["annotations"][0]["keypoint_scores"] == [0.97, 0.1, 0.5]
    # Once more, the same bytes.
    again = folder.parent / "again.csv"
    label_files.write(again, found, WriteOptions(folder), kind)
    assert again.read_bytes() == out.read_bytes()
    assert read_boxes(out, folder).count == 2, "the object without keypoints has no box"


def test_what_pandas_reads(folder):
    out = folder.parent / "out.csv"
    label_files.write(out, document(), WriteOptions(folder))
    long = pd.read_csv(out)
    assert list(long) == ["image", "instance", "category", "keypoint", "x", "y", "v", "score"]
    assert long.keypoint.isna().sum() == 1 and len(long) == 3 + 3 + 2 + 1
    first = long[long.instance == "m1"].set_index("keypoint")
    assert first.loc["nose", ["x", "y", "v", "score"]].tolist() == [1.5, 2.25, 2, 0.97]
    assert np.isnan(first.loc['left "ear"', "x"]) and first.loc["tail_x", "v"] == 1
    label_files.write(out, document(), WriteOptions(folder), "csv-wide")
    wide = pd.read_csv(out).set_index("instance")
    assert list(wide)[:2] == ["image", "category"] and len(wide) == 4
    assert wide.loc["m1", ["nose_x", "nose_v", "tail_x_x", "tail_x_v"]].tolist() == [1.5, 2, 20, 1]
    assert np.isnan(wide.loc["m1", "Fühler_v"]) and wide.loc["2", "nose_v"] == 0
    # Without any score there are no columns for them.
    labels = document()
    del labels["annotations"][0]["homolog"]
    label_files.write(out, labels, WriteOptions(folder), "csv-wide")
    assert not [name for name in pd.read_csv(out) if name.endswith("score")]


NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=8)


@settings(max_examples=40, deadline=None)
@given(
    names=st.lists(NAMES, min_size=1, max_size=4, unique=True),
    category=NAMES,
    values=st.lists(
        st.tuples(st.floats(2, 63), st.floats(2, 47), st.sampled_from([0, 1, 2])),
        min_size=4,
        max_size=4,
    ),
    kind=st.sampled_from(["csv", "csv-wide"]),
)
def test_any_names_and_places(tmp_path_factory, names, category, values, kind):
    folder = tmp_path_factory.mktemp("table")
    random_image(64, 48).save(folder / "a.png")
    rows = [(x, y, v) if v else (0, 0, 0) for x, y, v in values][: len(names)]
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 64, 48],
                  "keypoints": [float(value) for row in rows for value in row]}  # fmt: skip
    labels = {
        "images": [{"id": 1, "file_name": "a.png", "width": 64, "height": 48}],
        "annotations": [annotation],
        "categories": [{"id": 1, "name": category, "keypoints": names}],
    }
    label_files.write(folder / "out.csv", labels, WriteOptions(folder), kind)
    found = label_files.read(folder / "out.csv", ReadOptions(folder)).document
    assert found["categories"][0]["keypoints"] == names
    assert found["categories"][0]["name"] == category
    assert found["annotations"][0]["keypoints"] == annotation["keypoints"]


def test_what_cannot_be_held_is_said(folder):
    labels = document(attributes={"sex": "f"}, segmentation=[[1, 2, 3, 4, 5, 6]])
    labels["categories"].append({"id": 3, "name": "bare", "keypoints": []})
    labels["categories"][0]["skeleton"] = [[1, 2]]
    labels["categories"][0]["keypoints"][0] = "=HYPERLINK(1)"
    labels["annotations"].append(
        {"id": 9, "image_id": "b.png", "category_id": 3, "bbox": [0, 0, 9, 9]}
    )
    labels["info"] = {"year": 2026}
    for kind in ("csv", "csv-wide"):
        notes = "\n".join(
            label_files.write(folder.parent / "o.csv", labels, WriteOptions(folder), kind)
        )
        for part in (
            "of the file: info; of annotations: attributes, bbox, segmentation; of categor",
            "CSV holds no state of review: 1",
            "CSV holds no objects without keypoints: 1",
            "spreadsheets take names that begin with = for formulas: =HYPERLINK(1)",
        ):
            assert part in notes
    labels = document()
    labels["annotations"][1]["instance_id"] = "m1"
    with pytest.raises(HomologError, match=r"each instance once in an image, got 'm1' of a\.png"):
        label_files.write(folder.parent / "o.csv", labels, WriteOptions(folder))


def test_formats_by_name_and_content(folder):
    path = folder.parent / "t.csv"
    for text, wide in ((LONG, False), (WIDE, True), ("x,y\n1,2\n", False)):
        path.write_text(text)
        assert table.recognise_wide(path) == wide
        assert table.recognise(path) == text.startswith("image")
    path.write_text("scorer,me\nbodyparts,nose\n")
    assert not table.recognise(path) and not table.recognise_wide(path)
    assert label_files.output_format(path).name == "csv"
    path.write_text(json.dumps({}))
    with pytest.raises(HomologError, match=r"t\.csv"):
        label_files.read(path)


@pytest.mark.skipif(not DOGS.is_dir(), reason="the dogs' images are not there")
@pytest.mark.parametrize(
    ("case", "result"),
    [
        ("all_nan_picture", [14, 20]),
        ("capital_header", [14, 17, 20]),
        ("semicolon", [14, 17, 20]),
        ("minus1", [11, 13, 16]),
        ("zero", [11, 13, 16]),
        ("visibility_col", [11, 13, 16]),
        ("outside", "line 2: expected a point in the image of 360 x 296 pixels, got (5258.5, 277)"),
        ("normalised", "line 2: expected pixels, got (0.517, 0.554)"),
    ],
)
def test_reported_tables(case, result):
    path = CASES / f"csv_{case}" / "few.csv"
    if isinstance(result, str):
        with pytest.raises(HomologError) as error:
            exemplars.read(path, DOGS)
        assert f"few.csv, {result}" in str(error.value)
        return
    found = exemplars.read(path, DOGS)
    assert sorted(int(a.visible.sum()) for a in found.annotations) == result
    assert len(found.notes) == (case in ("minus1", "zero", "visibility_col"))
