"""NTS, MorphoJ's and ImageJ's files, against what other tools' documentation says of them."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from helpers.datasets import refused
from helpers.specimens import (
    SIZES,
    assert_same_points,
    contents,
    document_of,
    rows_of,
    save_images,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homolog import HomologError
from homolog.data.formats.document import DocumentBuilder, ReadOptions
from homolog.data.label_files import find_format, read, write

FORMATS = {"nts": "a.nts", "morphoj": "a.txt", "imagej": "a.csv"}


@pytest.fixture
def folder(tmp_path):
    save_images(tmp_path / "images")
    return tmp_path


def save(folder, text, name):
    path = folder / name
    path.write_bytes(text.encode())
    return path


def points(file):
    return [
        np.where(rows[:, 2:] > 0, rows[:, :2], -1).tolist() for _, rows in rows_of(file.document)
    ]


def as_geomorph_reads(text):
    """Labels and values of an NTS file as `readland.nts` documents them."""
    words = [line.split() for line in text.splitlines() if line.strip() and line[0] not in "\"'"]
    header = [word.upper() for word in words[0]]
    assert header[0] == "1" and header[-1] == "DIM=2"
    rows, columns = (int(word.rstrip("L")) for word in header[1:3])
    flat = [word for line in words[1:] for word in line]
    labels, flat = flat[:rows], flat[rows:]
    if header[2].endswith("L"):
        flat = flat[columns:]
    values = np.array(flat, float).reshape(rows, columns // 2, 2)
    if header[3] == "1":
        values[values == float(header[4])] = math.nan
    return labels, values


@pytest.mark.parametrize(
    "text",
    [
        "1 2L 4 0 DIM=2\na.png\nd.jpg\n10 30 20 39\n1 2 3 4\n",
        "\"a comment\n'another\n\n1 2l 4 0 dim = 2\na.png d.jpg\n10 30\n20 39\n1 2\n3 4\n",
        "1 2L 4L 0 DIM=2\na\nd\nx1 y1 x2 y2\n10 30 20 39\n1 2 3 4\n",
        "1 2 L 4 1 9999 Dim=2\na.png\nd.jpg\n10 30 20 39\n1 2 3 4\n",
        "1 2B 4 0 DIM=2\na.png 10 30 20 39\nd.jpg 1 2 3 4\n",
        "1 2E 4 0 DIM=2\n10 30 20 39 a.png\n1 2 3 4 d.jpg\n",
        "1 2L 4 0\r\na.png\r\nd.jpg\r\n10,0 30 2e1 39.0\r\n1 2 3 4\r\n",
    ],
)
def test_nts_headers(folder, text):
    file = read(save(folder, text, "a.nts"))
    assert points(file) == [[[10, 10], [20, 1]], [[1, 46], [3, 44]]]
    assert [name for name, _ in rows_of(file.document)] == ["a.png", "d.jpg"]
    assert file.notes == (
        f"{folder / 'a.nts'}: y is taken to run from the bottom of the images, as in TPS files",
    )


def test_nts_labels_with_blanks(folder):
    text = "1 2L 2 0 DIM=2\na.png\nb c.png\n10 30\n1 2\n"
    assert points(read(save(folder, text, "a.dta"))) == [[[10, 10]], [[1, 68]]]


@pytest.mark.parametrize("header", ["0", "1 9999", "1 -999", "1 NA", "1 0"])
@pytest.mark.parametrize("code", ["9999", "-999", "NA", "-1"])
def test_nts_missing_codes_that_lie(folder, header, code):
    text = f"1 1L 4 {header} DIM=2\na.png\n10 30 {code} {code}\n"
    file = read(save(folder, text, "a.nts"))
    assert points(file) == [[[10, 10], [-1, -1]]]
    lies = code == "9999" and header != "1 9999"
    assert any("does not name: 1" in note for note in file.notes) == lies


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["no header"]),
        ("2 1L 2 0 DIM=2\na.png\n1 2\n", ["line 1", "header"]),
        ("1 1L 3 0 DIM=3\na.png\n1 2 3\n", ["line 1", "DIM=2"]),
        ("1 1L 3 0 DIM=2\na.png\n1 2 3\n", ["line 1", "DIM=2"]),
        ("1 1 2 0 DIM=2\n1 2\n", ["line 1", "labels of rows"]),
        ("1 2L 2 0 DIM=2\na.png\n1 2\n", ["2 labels and 2 x 2 numbers"]),
        ("1 999999999L 999999998 0 DIM=2\na.png\n1 2\n", ["999999999 labels"]),
        ("1 99999999999999999999L 99999999999999999998 0 DIM=2\na.png\n", ["labels"]),
        ("1 " + "9" * 5000 + "L 2 0 DIM=2\na.png\n1 2\n", ["line 1", "header"]),
        ("1" + " " * 1_000_000 + "x\n", ["line 1", "header"]),
        ("1 50000B 2 0 DIM=2\n" + "a.png 1 2\n" * 49_999 + "a 1", ["50000 labels"]),
        ("1 1L 2 1 9-9 DIM=2\na.png\n1 2\n", ["line 1", "marks missing", "9-9"]),
        ("1 1L 2 0 DIM=2\na.png\n1 x\n", ["numbers"]),
        ("1 1L 2 0 DIM=2\ngone.png\n1 2\n", ["row 1", "gone.png"]),
        ("1 1L 2 0 DIM=2\na.png\n1 90\n", ["row 1", "60 x 40"]),
    ],
)
def test_nts_files_that_cannot_be_read(folder, text, parts):
    assert "\n" not in refused(lambda: read(save(folder, text, "a.nts")), "a.nts", *parts)


@pytest.mark.parametrize(
    "text",
    [
        "ID\tx1\ty1\tx2\ty2\na.png\t10\t30\t20\t39\nd\t1\t2\t3\t4\n",
        "a.png\t10\t30\t20\t39\nd.jpg\t1\t2\t3\t4\n",
        "a.png, 10,30 ,20,39\nd.jpg,1,2,3,4\n",
        "Id;X1;Y1;X2;Y2\n a.png ;10,0;30;20;39\nd.jpg;1;2;3;4;;\n\n",
        '\ufeff"ID"\t"1 x"\t"1 y"\t"2 x"\t"2 y"\r\n"a.png"\t10\t30\t20\t39\r\nd\t1\t2\t3\t4\r\n',
    ],
)
def test_morphoj(folder, text):
    file = read(save(folder, text, "a.txt"))
    assert file.format == "morphoj"
    assert points(file) == [[[10, 10], [20, 1]], [[1, 46], [3, 44]]]
    assert file.document["categories"][0]["keypoints"] == ["1", "2"]


def test_morphoj_names_in_the_first_line(folder):
    text = "ID\tbase_x\tbase_y\ttip_x\ttip_y\na.png\t10\t30\tNA\tNA\n"
    file = read(save(folder, text, "a.txt"))
    assert file.document["categories"][0]["keypoints"] == ["base", "tip"]
    assert points(file) == [[[10, 10], [-1, -1]]]
    for header in ("ID\ty1\tx1\ty2\tx2", "ID\tx1\tx2\ty1\ty2", "ID\ta\tb\tc\td"):
        path = save(folder, f"{header}\na.png\t10\t30\t1\t1\n", "a.txt")
        refused(lambda path=path: read(path), "a.txt", "line 1", "x and y")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a.png\t1\t2\nd.jpg\t1\n", ["line 2", "1 numbers"]),
        ("a.png\t1\t2\nd.jpg\t1\tx\n", ["line 2", "x"]),
        ("a.png\t1\t2\ngone\t1\t1\n", ["line 2", "gone"]),
        ("a.png\t1\t2\nd.jpg\t1\t99\n", ["line 2", "64 x 48"]),
        ("ID\tx1\ty1\nd.jpg\t1\t9\t1\t9\n", ["line 2", "2 numbers", "got 4"]),
        ("ID\t" + "_" * 1_000_000 + "\tz\nd.jpg\t1\t9\n", ["line 1", "x and y"]),
        ("hello\n", ["other content"]),
        ("", ["other content"]),
    ],
)
def test_morphoj_files_that_cannot_be_read(folder, text, parts):
    assert "\n" not in refused(lambda: read(save(folder, text, "a.txt")), "a.txt", *parts)


def test_imagej(folder):
    for name, text in (
        ("a.csv", " ,X,Y\n1,10,30\n2,20.5,39\n3,NaN,NaN\n"),
        ("a.csv", ",Area,Mean,X,Y,Counter\n1,0,13,10,30,0\n2,0,9,20.5,39,0\n3,0,0,NaN,NaN,0\n"),
        ("a.xls", " \tX\tY\n1\t10\t30\n2\t20,5\t39\n3\tNaN\tNaN\n"),
        ("any.csv", " ,Label,X,Y\n1,a.png,10,30\n2,a.png,20.5,39\n3,a.png,NaN,NaN\n"),
        ("any.csv", " ,Label,X,Y\n1,a:0031-9,10,30\n2,a:0031-9,20.5,39\n3,a:0031-9,,\n"),
    ):
        file = read(save(folder, text, name))
        assert file.format == "imagej"
        assert points(file) == [[[10, 30], [20.5, 39], [-1, -1]]]  # y from the top
        assert rows_of(file.document)[0][0] == "a.png"
    (folder / "names.txt").write_text("p\nq\nr\n")
    (category,) = read(folder / "any.csv", ReadOptions(names=folder / "names.txt")).document[
        "categories"
    ]
    assert category["keypoints"] == ["p", "q", "r"]


def test_other_tables_are_not_taken_for_imagej(folder):
    text = ",image,keypoint,x,y\n0,a.png,nose,1,2\n"
    assert find_format(save(folder, text, "a.csv")).name == "csv"
    refused(lambda: read(save(folder, "1,2\n", "a.txt"), format="imagej"), "a.txt", "X and Y")
    refused(lambda: read(save(folder, " ,X,Y\n1,2\n", "a.csv")), "a.csv", "line 2")
    refused(lambda: read(save(folder, " ,X,Y\n1,2,77\n", "a.csv")), "line 2", "60 x 40")
    refused(lambda: read(save(folder, " ,X,Y\n1,2,3\n", "gone.csv")), "gone")


def test_what_other_tools_read(folder):
    builder = DocumentBuilder([{"id": 1, "name": "w", "keypoints": ["1", "2"]}])
    truth = np.array([[[1.5, 2], [30, 39]], [[5, 5], [np.nan, np.nan]]])
    for name, (p, q) in zip(("a.png", "d.jpg"), truth, strict=True):
        image = builder.add_image(name, SIZES[name])
        second = (*q, 2) if np.isfinite(q).all() else (0, 0, 0)
        builder.add_annotation(image, "w", {"1": (*p, 2), "2": second})
    document = builder.build().document
    up = np.stack([truth[..., 0], np.array([[40], [48]]) - truth[..., 1]], axis=2)
    assert write(folder / "a.nts", document) == []
    labels, values = as_geomorph_reads((folder / "a.nts").read_text())
    assert labels == ["a.png", "d.jpg"]
    np.testing.assert_array_equal(values, up)
    assert write(folder / "a.txt", document) == [
        "MorphoJ reads no missing landmarks, which are NA here: 1"
    ]
    table = pd.read_csv(folder / "a.txt", sep="\t", index_col="ID")
    assert list(table.columns) == ["x1", "y1", "x2", "y2"]
    np.testing.assert_array_equal(table.to_numpy().reshape(2, 2, 2), up)
    assert write(folder / "a.csv", document, format="imagej") == []
    table = pd.read_csv(folder / "a.csv", index_col=0)
    np.testing.assert_array_equal(table[["X", "Y"]].to_numpy().reshape(2, 2, 2), truth)


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_what_is_written_comes_back(folder, name, data):
    document = document_of(data.draw(contents(curves=data.draw(st.booleans()))))
    path = folder / FORMATS[name]
    for each in folder.glob("a.*"):
        each.unlink()
    notes = write(path, document, format=name)
    if any(each.get("attributes") for each in document["annotations"]):
        assert any("attributes" in note for note in notes)
    found = read(path).document
    if "curves" in document["categories"][0]:
        assert "curve1 1" in found["categories"][0]["keypoints"]
    assert_same_points(found, document)


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("a.nts", "1 2L 4 1 9999 DIM=2\na.png\nd.jpg\n10 30 20 39\n1 2 9999 9999\n"),
        ("a.txt", "ID\tx1\ty1\tx2\ty2\na.png\t10\t30\t20\t39\nd\t1\t2\t3\t4\n"),
        ("a.csv", " ,Label,X,Y\n1,a:0031-9,10,30\n2,a:0031-9,20.5,39\n3,a:0031-9,,\n"),
    ],
)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files(folder, name, good, data):
    content = bytearray(good.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        if data.draw(st.booleans()):
            del content[at:]
        content[at : at + 1] = data.draw(st.binary(max_size=4))
        content = content or bytearray(b"1")
    path = folder / name
    path.write_bytes(bytes(content))
    try:
        read(path)
    except HomologError as error:
        assert "\n" not in str(error)
