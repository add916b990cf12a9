"""TPS files, against what geomorph's documentation says of reading them, and closed forms."""

from __future__ import annotations

import re

import numpy as np
import pytest
import real_images
from helpers.datasets import refused
from helpers.specimens import SIZES, assert_same_points, contents, document_of, rows_of, save_images
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from homolog import HomologError, KeypointSchema
from homolog.data import exemplars
from homolog.data.formats.document import DocumentBuilder, ReadOptions, WriteOptions
from homolog.data.formats.landmarks import tps
from homolog.data.label_files import read, write


@pytest.fixture
def folder(tmp_path):
    save_images(tmp_path / "images")
    return tmp_path


def save(folder, text, name="a.tps", encoding="utf-8"):
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def as_geomorph_reads(text, readcurves=False):
    """Coordinates p x k x n as `readland.tps` documents them, scaled if all specimens have it."""
    lines = [line for line in text.splitlines() if line.strip()]
    lines = [line for line in lines if not re.search("COMMENT=|VARIABLES", line, re.I)]
    counts = [int(line[3:]) for line in lines if line.startswith("LM=")]
    assert len(set(counts)) == 1 and counts[0] > 0
    total = counts[0]
    curves = [int(line[7:]) for line in lines if line.startswith("CURVES=")]
    if curves:
        points = [int(line[7:]) for line in lines if line.startswith("POINTS=")]
        assert len(set(curves)) == 1
        total += sum(points[: curves[0]])
    scales = [float(line[6:]) for line in lines if line.startswith("SCALE=")]
    rows = [
        [float(word) if word != "NA" else np.nan for word in line.split()]
        for line in lines
        if "=" not in line
    ]
    coordinates = np.array(rows).reshape(len(counts), total, 2)
    if len(scales) == len(counts):
        coordinates *= np.array(scales)[:, None, None]
    return coordinates if readcurves else coordinates[:, : counts[0]]


def test_a_specimen(folder):
    path = save(folder, "LM=3\n10 30\n20.5 39\nNA NA\nIMAGE=a.png\nID=7\nSCALE=0.01\n")
    file = read(path)
    assert file.format == "tps" and not file.notes
    (annotation,) = file.document["annotations"]
    assert annotation["keypoints"] == [10, 10, 2, 20.5, 1, 2, 0, 0, 0]  # y = 40 - y'
    assert annotation["attributes"] == {"ID": "7", "SCALE": "0.01"}
    (image,) = file.document["images"]
    assert (image["file_name"], image["width"], image["height"]) == ("a.png", 60, 40)
    (category,) = file.document["categories"]
    assert category["keypoints"] == ["1", "2", "3"] and "flip_indices" not in category
    assert not KeypointSchema.coco(category).sides_known


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("LM=2\r\n10 30\r\n20 39\r\nIMAGE=a.png\r\nID=0\r\n", "utf-8"),
        ("LM=2\r10 30\r20 39\rIMAGE=a.png\rID=0\r", "utf-8"),
        ("\ufeffLM=2\n10 30\n20 39\nIMAGE=a.png\nID=0", "utf-8"),
        ("LM=2\n10 30\n20 39\nIMAGE=a.png\nID=0", "utf-16"),
        ("lm = 2\n10,0 30,0\n20,0\t39,0\nimage = a.png\nId=0\n", "utf-8"),
        ("LM=2\n10.,30.\n20;39\n\n\nIMAGE=a.png\nID=0\n\x1a", "utf-8"),
        ("LM=2\n  10 30  \n1e1e\n", None),
        ("LM=2\n10, 30\n2e1 3.9e1\nIMAGE=D:\\pics\\a.png\nID=0\n", "utf-8"),
        ("LM=2\n10 30\n20 39\nIMAGE=images/a.png\nID=0\n", "utf-8"),
    ],
)
def test_what_files_look_like(folder, text, encoding):
    if encoding is None:
        reason = refused(lambda: read(save(folder, text)), "line 3", "expected x and y", "1e1e")
        assert "\n" not in reason
        return
    file = read(save(folder, text, encoding=encoding), ReadOptions(folder / "images"))
    (annotation,) = file.document["annotations"]
    assert annotation["keypoints"] == [10, 10, 2, 20, 1, 2]
    assert annotation["attributes"] == {"ID": "0"}


def test_names_in_latin_letters(folder):
    Image.new("L", (60, 40)).save(folder / "Flügel ß.png")
    path = save(folder, "LM=1\n1 2\nIMAGE=Flügel ß.png\nCOMMENT=größer als…\n", encoding="cp1252")
    file = read(path)
    assert file.document["images"][0]["file_name"] == "Flügel ß.png"
    assert file.document["annotations"][0]["attributes"] == {"COMMENT": "größer als…"}


def test_missing_landmarks(folder):
    rows = ["NA NA", "-1 -1", "nan nan", "0 0", "5 -3", "5 NA", "5 3"]
    file = read(save(folder, "LM=7\n" + "\n".join(rows) + "\nIMAGE=a.png\n"))
    assert file.document["annotations"][0]["keypoints"][2::3] == [0, 0, 0, 0, 0, 0, 2]
    assert [note.split(": ", 1)[1] for note in file.notes] == [
        "landmark at 0 0, which counts as missing: 1",
        "landmark with one negative coordinate, which counts as missing: 1",
    ]


def test_several_specimens_of_an_image(folder):
    specimen = "LM=2\n{0} 30\n{1} 39\nIMAGE=a.png\nID={0}\n"
    path = save(folder, specimen.format(10, 20) + specimen.format(40, 50) + "LM=0\nIMAGE=d.jpg\n")
    file = read(path)
    assert [image["file_name"] for image in file.document["images"]] == ["a.png", "d.jpg"]
    assert [a["instance_id"] for a in file.document["annotations"]] == [1, 2]
    assert exemplars.read(path).instances == [1, 2]
    write(folder / "b.tps", file.document)
    assert read(folder / "b.tps").document["annotations"] == file.document["annotations"]


def test_specimens_without_image(folder):
    for text in ("LM=1\n10 30\nID=a\n", "LM=1\n10 30\nID=a.png\n"):  # as geomorph writes them
        assert read(save(folder, text)).document["images"][0]["file_name"] == "a.png"
    refused(lambda: read(save(folder, "LM=1\n1 2\nSCALE=3\n")), "a.tps, line 1", "IMAGE=")
    refused(
        lambda: read(save(folder, "LM=1\n1 2\nID=x\n")),
        "a.tps, line 1",
        "image x",
        "from the bottom",
    )


def test_suffixes_of_other_systems(folder):
    file = read(save(folder, "LM=1\n10 30\nIMAGE=C:\\pics\\A.PNG\n".replace("A.", "a.")))
    assert file.document["images"][0]["file_name"] == "a.png" and not file.notes
    file = read(save(folder, "LM=1\n10 30\nIMAGE=a.tif\n"))
    assert file.paths[1] == folder / "images" / "a.png"
    assert "a.tif is not there" in file.notes[0]
    Image.new("L", (60, 40)).save(folder / "images" / "a.jpg")
    refused(lambda: read(save(folder, "LM=1\n10 30\nIMAGE=a.tif\n")), "line 1", "image a.tif")
    assert not read(save(folder, "LM=0\nIMAGE=gone.png\nLM=1\n1 2\nIMAGE=a.jpg\n")).missing


def test_photos_that_exif_says_to_turn(folder):
    photo = Image.new("L", (60, 40))
    exif = photo.getexif()
    exif[0x0112] = 6  # the stored photo is turned clockwise
    photo.save(folder / "images" / "e.jpg", exif=exif)
    specimen = "LM=2\n{} 30\n20 10\nIMAGE=e.jpg\nID=0\n"
    # x = 50 fits only the stored photo of 60 x 40: there y is 10 from the top.
    file = read(save(folder, specimen.format(50) + specimen.format(15)))
    assert "turned with them: 2" in file.notes[0]
    first, second = file.document["annotations"]
    assert first["keypoints"] == [30, 50, 2, 10, 20, 2]  # (x, y) is (40 - y, x) once upright
    assert second["keypoints"][:3] == [30, 15, 2]
    assert (file.document["images"][0]["width"], file.document["images"][0]["height"]) == (40, 60)
    file = read(save(folder, specimen.format(15)))
    assert "taken to be those of the upright photos: 1" in file.notes[0]
    assert file.document["annotations"][0]["keypoints"][:3] == [15, 30, 2]
    write(folder / "b.tps", file.document)
    assert read(folder / "b.tps").document == file.document
    upright = "LM=2\n15 55\n20 10\nIMAGE=e.jpg\nID=0\n"
    file = read(save(folder, specimen.format(50) + upright))
    assert "turned where not" in file.notes[0]
    assert [a["keypoints"][:2] for a in file.document["annotations"]] == [[30, 50], [15, 5]]
    refused(lambda: read(save(folder, specimen.format(70))), "line 1", "40 x 60")


def test_specimens_without_an_id_get_free_ones(folder):
    text = "LM=1\n1 2\nIMAGE=a.png\n"
    long = "9" * 5000
    file = read(save(folder, f"{text}ID=7\n{text}{text}ID=wing\n{text}{text}ID={long}"))
    write(folder / "b.tps", file.document)
    ids = [line for line in (folder / "b.tps").read_text().splitlines() if line.startswith("ID")]
    assert ids == ["ID=7", "ID=8", "ID=wing", "ID=9", f"ID={long}"]


def test_everything_else_is_kept_in_order(folder):
    text = (
        "LM=1\n10 30\nIMAGE=a.png\nZEBRA=1\nCOMMENT=a = b\nCOMMENT=second\nID=x 1\nOUTLINES=1\n"
        "CHAIN=10 5\n1 2 3 4\n5 6 7\nVARIABLES=3.2 f\nSCALE=0,02\n"
    )
    file = read(save(folder, text))
    attributes = file.document["annotations"][0]["attributes"]
    assert list(attributes.items()) == [
        ("ZEBRA", "1"), ("COMMENT", "a = b\nsecond"), ("ID", "x 1"), ("OUTLINES", "1"),
        ("CHAIN", ["10 5", "1 2 3 4", "5 6 7"]), ("VARIABLES", "3.2 f"), ("SCALE", "0,02"),
    ]  # fmt: skip
    assert write(folder / "b.tps", file.document) == []
    assert (folder / "b.tps").read_text() == text


def test_names_and_sides(folder):
    path = save(folder, "LM=3\n10 30\n20 39\n5 5\nIMAGE=a.png\n")
    (folder / "names.txt").write_text("# wings\nbase\ntip left\ntip right\n")
    (category,) = read(path, ReadOptions(names=folder / "names.txt")).document["categories"]
    assert category["keypoints"] == ["base", "tip left", "tip right"]
    assert KeypointSchema.coco(category).mirror == (0, 2, 1)
    for text in ("p\nq\nr\nq:r\n", "p\tp\nq\tr\nr\tq\n", "p\nq;r\nr\n"):
        (folder / "names.txt").write_text(text)
        (category,) = read(path, ReadOptions(names=folder / "names.txt")).document["categories"]
        assert category["keypoints"] == ["p", "q", "r"]
        assert category["flip_indices"] == [0, 2, 1]
    for text, reason in (
        ("p\nq\n", "expected the names of 3 landmarks, got 2"),
        ("p\nq\nq\n", "expected each name once"),
        ("p\nq\nr\np:q\nq:r\n", "expected one counterpart of 'q'"),
        ("p\nq:r:s\n", "line 2"),
    ):
        (folder / "names.txt").write_text(text)
        refused(lambda: read(path, ReadOptions(names=folder / "names.txt")), "names.txt", reason)
    refused(lambda: read(path, ReadOptions(names=folder / "none.txt")), "none.txt")
    (folder / "names.txt").write_text("p\nq\nr\n")
    write(folder / "b.json", read(path).document)
    file = read(folder / "b.json", ReadOptions(names=folder / "names.txt"))
    assert "names.txt is not used" in file.notes[0]
    # Numbers as names are names, not indices.
    found = exemplars.read(path)
    assert found.schemas["specimen"].resolve(["2", "1"], 2) == (1, 0)


def test_names_are_written_beside_and_read_again(folder):
    builder = DocumentBuilder(
        [{"id": 1, "name": "w", "keypoints": ["tip", "x", "y"], "flip_indices": [0, 2, 1]}]
    )
    image = builder.add_image("a.png", SIZES["a.png"])
    builder.add_annotation(image, "w", {"tip": (1, 2, 2), "x": (3, 4, 2), "y": (5, 6, 1)})
    document = builder.build().document
    notes = write(folder / "a.tps", document)
    assert any("a.names.txt" in note for note in notes)
    assert any("occluded: 1" in note for note in notes)
    (category,) = read(folder / "a.tps").document["categories"]
    assert category["keypoints"] == ["tip", "x", "y"] and category["flip_indices"] == [0, 2, 1]
    assert not any("names" in note for note in write(folder / "a.tps", document))
    (folder / "a.names.txt").write_text("mine\nto\nkeep\n")
    before = (folder / "a.tps").read_bytes()
    refused(lambda: write(folder / "a.tps", document), "a.names.txt")
    assert (folder / "a.names.txt").read_text() == "mine\nto\nkeep\n"
    assert (folder / "a.tps").read_bytes() == before
    document["categories"][0]["keypoints"][1] = "x, y: z"
    assert any("'x, y: z'" in note for note in write(folder / "b.tps", document))


def test_curves_with_equal_counts_are_kept_as_they_are(folder):
    specimen = "LM=1\n10 30\nCURVES=2\nPOINTS=3\n1 1\n2 5\n3 9\nPOINTS=1\n7 7\nIMAGE=a.png\nID=0\n"
    file = read(save(folder, specimen * 2))
    (category,) = file.document["categories"]
    assert category["keypoints"] == ["1", "curve1 1", "curve1 2", "curve1 3", "curve2 1"]
    assert category["curves"] == [[1, 2, 3], [4]] and not file.notes
    assert rows_of(file.document)[0][1][1:4, :2].tolist() == [[1, 39], [2, 35], [3, 31]]
    notes = write(folder / "b.tps", file.document)
    assert (folder / "b.tps").read_text() == specimen * 2
    assert (folder / "curveslide.csv").read_text() == "before,slide,after\n2,3,4\n"
    assert any("curveslide.csv" in note for note in notes)


def test_curves_with_other_counts_are_resampled(folder):
    def arc(count):
        angles = np.pi / 2 * np.linspace(0, 1, count) ** 2  # not at equal distances
        return np.stack([10 + 20 * np.cos(angles), 5 + 20 * np.sin(angles)], axis=1)

    def specimen(count):
        rows = "\n".join(f"{x} {y}" for x, y in arc(count))
        return f"LM=1\n10 5\nCURVES=1\nPOINTS={count}\n{rows}\nIMAGE=a.png\n"

    file = read(save(folder, specimen(400) + specimen(300) + specimen(399)))
    assert "300 to 400 points" in file.notes[0] and "resampled" in file.notes[0]
    angles = np.linspace(0, np.pi / 2, 400)
    wanted = np.stack([10 + 20 * np.cos(angles), 40 - (5 + 20 * np.sin(angles))], axis=1)
    for _, rows in rows_of(file.document):
        np.testing.assert_allclose(rows[1:, :2], wanted, atol=0.01)
    missing = specimen(4).replace("\n10 5\n", "\n10 5\n", 1) + (
        "LM=1\n10 5\nCURVES=1\nPOINTS=2\n1 1\nNA NA\nIMAGE=a.png\n"
    )
    refused(lambda: read(save(folder, missing)), "curve 1", "missing")
    without = specimen(4) + "LM=1\n10 5\nIMAGE=a.png\n"
    file = read(save(folder, without))
    assert rows_of(file.document)[1][1][:, 2].tolist() == [2, 0, 0, 0, 0]
    assert any("without curve 1: 1" in note for note in file.notes)


def test_curves_without_landmarks(folder):
    text = "LM=0\nCURVES=1\nPOINTS=2\n33 30\n44 35\nIMAGE=a.png\nID=0\n"
    file = read(save(folder, text))
    assert file.document["annotations"][0]["keypoints"] == [33, 10, 2, 44, 5, 2]
    write(folder / "b.tps", file.document)
    assert (folder / "b.tps").read_text() == text and not (folder / "curveslide.csv").exists()


def test_sides_of_curves(folder):
    text = "LM=1\n10 30\n" + "CURVES=2\n" + "POINTS=2\n1 1\n2 2\n" * 2 + "IMAGE=a.png\n"
    path = save(folder, text)
    for content in ("tip\ncurve1:curve2\n", "tip\na 1\na 2\nb 1\nb 2\na 1:b 1\na 2:b 2\n"):
        (folder / "names.txt").write_text(content)
        (category,) = read(path, ReadOptions(names=folder / "names.txt")).document["categories"]
        assert category["flip_indices"] == [0, 3, 4, 1, 2]


def test_what_geomorph_reads(folder):
    builder = DocumentBuilder(
        [{"id": 1, "name": "w", "keypoints": list("abcdefgh"), "curves": [[1, 3, 4, 5], [6, 7, 2]]}]
    )
    rng = np.random.default_rng(0)
    truth = rng.uniform(1, 39, (3, 8, 2))
    truth[1, 0] = np.nan
    for name, points in zip(SIZES, truth, strict=True):
        image = builder.add_image(name, (60, 40))
        keypoints = {
            keypoint: (x, y, 2) if x == x else (0, 0, 0)
            for keypoint, (x, y) in zip("abcdefgh", points, strict=True)
        }
        builder.add_annotation(image, "w", keypoints, attributes={"SCALE": "0.5", "COMMENT": "k=1"})
    write(folder / "a.tps", builder.build().document)
    text = (folder / "a.tps").read_text()
    order = [0, 1, 3, 4, 5, 6, 7, 2]  # landmarks, then curve after curve
    wanted = 0.5 * np.stack([truth[:, order, 0], 40 - truth[:, order, 1]], axis=2)
    np.testing.assert_allclose(as_geomorph_reads(text, readcurves=True), wanted, atol=1e-7)
    np.testing.assert_allclose(as_geomorph_reads(text), wanted[:, :1], atol=1e-7)
    table = np.loadtxt(folder / "curveslide.csv", delimiter=",", skiprows=1, dtype=int)
    assert table.tolist() == [[2, 3, 4], [3, 4, 5], [6, 7, 8]]
    (folder / "curveslide.csv").write_text("before,slide,after\n1,2,3\n")  # somebody's own
    notes = write(folder / "b.tps", builder.build().document)
    assert (folder / "curveslide.csv").read_text() == "before,slide,after\n1,2,3\n"
    assert any("b_curveslide.csv" in note for note in notes)
    assert np.loadtxt(folder / "b_curveslide.csv", delimiter=",", skiprows=1).shape == (3, 3)


def test_what_the_format_cannot_hold_is_said(folder):
    builder = DocumentBuilder(
        [{"id": 1, "name": "w", "keypoints": ["1", "2"], "skeleton": [[1, 2]]}]
    )
    first = builder.add_image("a.png", SIZES["a.png"])
    builder.add_image("d.jpg", SIZES["d.jpg"])
    points = {"1": (-3, 5, 2), "2": (7, 8, 1)}
    builder.add_annotation(
        first, "w", points, box=(0, 0, 60, 40), attributes={"a b": [1], "c": "d"}
    )
    builder.add_annotation(first, "w", points, box=(0, 0, 60, 40), score=0.5)
    document = builder.build().document | {"info": {"year": 2026}}
    document["annotations"][0]["attributes"]["SCALE"] = "2"
    notes = write(folder / "a.tps", document)
    said = "\n".join(notes)
    for part in (
        "of the file: info", "of annotations: bbox, score", "of categories: skeleton",
        "outside their images: 2", "occluded: 2", "images without labels: 1", "attributes: a b",
        "without SCALE: 1 of 2",
    ):  # fmt: skip
        assert part in said
    two = {"id": 2, "name": "v", "keypoints": ["x"]}
    other = document["annotations"][0] | {"id": 9, "category_id": 2, "keypoints": [1, 1, 2]}
    document["categories"].append(two)
    document["annotations"].append(other)
    refused(lambda: write(folder / "a.tps", document), "w, v", "a file for each category")
    refused(lambda: write(folder / "a.tps", {**document, "annotations": []}), "expected labels")
    bad = document | {"images": [{**i, "file_name": "a\nLM=9"} for i in document["images"]]}
    bad["annotations"] = bad["annotations"][:1]
    refused(lambda: write(folder / "a.tps", bad), "printable")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["expected specimens"]),
        ("LM=0\nIMAGE=a.png\n", ["expected specimens"]),
        ("hello\n", ["line 1", "LM="]),
        ("IMAGE=a.png\n", ["line 1", "LM="]),
        ("LM=2\n1 2\nIMAGE=a.png\n", ["line 1", "LM=2", "got 1"]),
        ("LM=1\n1 2\n3 4\nIMAGE=a.png\n", ["line 1", "got 2"]),
        ("LM=999999999\n1 2\nIMAGE=a.png\n", ["line 1", "got 1"]),
        ("LM=" + "9" * 5000 + "\n1 2\nIMAGE=a.png\n", ["line 1", "whole number"]),
        ("LM=1e9\n1 2\nIMAGE=a.png\n", ["line 1", "whole number"]),
        ("LM=-1\nIMAGE=a.png\n", ["line 1", "whole number"]),
        ("LM=1\n1 2 3\nIMAGE=a.png\n", ["line 2", "x and y"]),
        ("LM=1\n1_0 2\nIMAGE=a.png\n", ["line 2", "x and y"]),
        ("LM=1\ninf 2\nIMAGE=a.png\n", ["line 2", "x and y"]),
        ("LM3=1\n1 2 3\nIMAGE=a.png\n", ["line 1", "two dimensions"]),
        ("LM=1\n1 2\nCURVES=2\nPOINTS=1\n1 1\nIMAGE=a.png\n", ["CURVES=2", "got 1"]),
        ("LM=1\n1 2\nCURVES=1\nPOINTS=9\n1 1\nIMAGE=a.png\n", ["POINTS=9", "got 1"]),
        ("LM=1\n1 2\nIMAGE=gone.png\n", ["line 1", "gone.png"]),
        ("LM=1\n70 2\nIMAGE=a.png\n", ["line 1", "landmark 1", "60 x 40", "70"]),
        ("LM=1\n7 2\nIMAGE=a.png\nLM=2\n1 2\n3 4\nIMAGE=a.png\n", ["expected 1 landmarks"]),
        ("LM=1\n7 2\nIMAGE=a.png\n5 5\n", ["line 4", "KEY=value"]),
    ],
)
def test_files_that_cannot_be_read(folder, text, parts):
    reason = refused(lambda: read(save(folder, text)), "a.tps", *parts)
    assert "\n" not in reason


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_what_is_written_comes_back(folder, data):
    document = document_of(data.draw(contents(curves=data.draw(st.booleans()))))
    for each in folder.glob("a*"):
        each.unlink()
    tps.write(folder / "a.tps", document, WriteOptions())
    found = read(folder / "a.tps").document
    assert_same_points(found, document)
    assert found["categories"][0].get("curves") == document["categories"][0].get("curves")
    for each, wanted in zip(found["annotations"], document["annotations"], strict=True):
        kept = {k: v for k, v in each["attributes"].items() if k != "ID"}
        assert kept == {k: v for k, v in wanted.get("attributes", {}).items() if k != "ID"}


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_files(folder, data):
    good = "LM=2\n10 30\n20 39\nCURVES=1\nPOINTS=2\n1 1\n2 2\nIMAGE=a.png\nID=0\nSCALE=1\n" * 2
    content = bytearray(good.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        if data.draw(st.booleans()):
            del content[at:]
        content[at : at + 1] = data.draw(st.binary(max_size=4))
        content = content or bytearray(b"=")
    path = folder / "a.tps"
    path.write_bytes(bytes(content))
    try:
        read(path)
    except HomologError as error:
        assert "\n" not in str(error) and "a.tps" in str(error)


real = pytest.mark.skipif(
    not (real_images.ROOT / "wings").is_dir(), reason="needs the wings in HOMOLOG_DATA"
)


@real
def test_wings(tmp_path):
    path = real_images.ROOT / "wings" / "wings.tps"
    document = read(path).document
    coordinates = as_geomorph_reads(path.read_text())
    assert coordinates.shape == (29, 12, 2)
    for (_, rows), wanted in zip(rows_of(document), coordinates, strict=True):
        np.testing.assert_array_equal(rows[:, 0], wanted[:, 0])
        np.testing.assert_array_equal(rows[:, 1], 480 - wanted[:, 1])
    write(tmp_path / "a.tps", document)
    np.testing.assert_array_equal(as_geomorph_reads((tmp_path / "a.tps").read_text()), coordinates)
