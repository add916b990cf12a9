"""labelme's files, as labelme and X-AnyLabeling document them."""

from __future__ import annotations

import base64
import json

import pytest
import real_images
from helpers.datasets import refused
from helpers.specimens import SIZES, assert_same_points, contents, document_of, rows_of, save_images
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homolog import HomologError
from homolog.data import exemplars
from homolog.data.formats.document import DocumentBuilder, ReadOptions, WriteOptions
from homolog.data.label_files import find_format, read, write


@pytest.fixture
def folder(tmp_path):
    return save_images(tmp_path / "images")


def shape(label, x, y, group=None, **more):
    return {
        "label": label, "points": [[x, y]], "group_id": group, "shape_type": "point", "flags": {},
    } | more  # fmt: skip


def save(path, shapes, image="a.png", **more):
    width, height = SIZES.get(image, (60, 40))
    data = {
        "version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": image, "imageData": None,
        "imageHeight": height, "imageWidth": width,
    }  # fmt: skip
    path.write_text(json.dumps(data | more))
    return path


def rectangle(label, corners, group=None, **more):
    return shape(label, 0, 0, group, points=corners, shape_type="rectangle", **more)


def test_a_file(folder):
    shapes = [shape("nose", 10, 20), shape("tail", 30.5, 5, flags={"occluded": True})]
    data = base64.b64encode(b"pixels" * 99).decode()
    file = read(save(folder / "a.json", shapes, imageData=data))
    assert file.format == "labelme" and not file.notes
    (annotation,) = file.document["annotations"]
    assert annotation["keypoints"] == [10, 20, 2, 30.5, 5, 1] and "instance_id" not in annotation
    assert "labelme" not in annotation
    assert file.document["categories"][0]["name"] == "object"
    assert file.document["images"] == [{"id": 1, "file_name": "a.png", "width": 60, "height": 40}]


def test_objects_and_boxes_of_x_anylabeling(folder):
    shapes = [
        rectangle("bee", [[5, 5], [40, 5], [40, 30], [5, 30]], 1, difficult=False),
        shape("head", 10, 20, 1, difficult=False, description=None),
        shape("tail", 30, 8, 1, difficult=True),
        shape("head", 50, 20, 2, kie_linking=[[1, 2]]),
        rectangle("crumb", [[1, 1], [3, 3]]),
        {"label": "leaf", "points": [[1, 1], [2, 2], [3, 1]], "shape_type": "polygon"},
    ]
    file = read(save(folder / "a.json", shapes, flags={"sharp": True}))
    first, second = file.document["annotations"]
    assert first["bbox"] == [5, 5, 35, 25] and first["instance_id"] == 1
    assert first["keypoints"] == [10, 20, 2, 30, 8, 1]
    assert second["keypoints"] == [50, 20, 2, 0, 0, 0] and second["instance_id"] == 2
    assert second["labelme"] == {"head": {"kie_linking": [[1, 2]]}}
    assert [c["name"] for c in file.document["categories"]] == ["bee"]
    kept = file.document["images"][0]["labelme"]
    assert kept["flags"] == {"sharp": True}
    assert [each["label"] for each in kept["shapes"]] == ["leaf", "crumb"]
    assert write(folder / "out", file.document, format="labelme") == []
    written = json.loads((folder / "out" / "a.json").read_text())
    assert {s["label"] for s in written["shapes"]} == {"bee", "head", "tail", "crumb", "leaf"}
    again = read(folder / "out", ReadOptions(folder))
    assert again.document == file.document


def test_a_folder(folder):
    bees = [
        shape(label, x, y, g) for g, x in (("x", 9), ("y", 30)) for label, y in (("n", 3), ("t", 9))
    ]
    save(folder / "a.json", bees)
    (folder / "sub").mkdir()
    (folder / "d.jpg").rename(folder / "sub" / "d.jpg")
    save(folder / "sub" / "d.json", [shape("tail", 1, 2)], "d.jpg")
    save(folder / "b c.json", [], "..\\images\\b c.png")
    (folder / "other.json").write_text('{"images": [], "annotations": [], "categories": []}')
    file = read(folder)
    assert [name for name, _ in rows_of(file.document)] == ["a.png", "a.png", "sub/d.jpg"]
    assert {image["file_name"] for image in file.document["images"]} == {
        "a.png", "b c.png", "sub/d.jpg",
    }  # fmt: skip
    assert file.notes == (f"{folder}: files that are not labelme's: other.json",)
    assert exemplars.read(folder).instances == ["x", "y", 1]
    refused(lambda: read(folder / "sub" / "none.json"), "none.json")
    (folder / "empty").mkdir()
    refused(lambda: read(folder / "empty"), "empty")


def test_images_by_the_name_of_the_file(folder):
    file = read(save(folder / "a.json", [shape("nose", 10, 20)], "old name.png", imageWidth=60))
    assert file.paths[1] == folder / "a.png" and "old name.png is not there" in file.notes[0]
    file = read(save(folder / "z.json", [shape("nose", 10, 20)], "gone.png"))
    assert "gone.png" in file.missing[1]


@pytest.fixture
def cameras(tmp_path):
    """Images of the same name in two folders, and a folder of labels for each."""
    for name in ("cam1", "cam2"):
        save_images(tmp_path / "im" / name)
        (tmp_path / "labels" / name).mkdir(parents=True)
    return tmp_path


def save_cameras(top, image):
    for n, name in enumerate(("cam1", "cam2"), start=1):
        save(top / "labels" / name / "a.json", [shape("n", n, 2)], image.format(name))
    return top / "labels"


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("image", ["../../im/{}/a.png", "..\\..\\im\\{}\\a.png"])
def test_images_of_the_same_name_in_folders_beside_the_labels(cameras, image, given):
    options = ReadOptions(cameras / "im") if given else ReadOptions()
    file = read(save_cameras(cameras, image), options)
    assert [(name, rows[0, 0]) for name, rows in rows_of(file.document)] == [
        ("cam1/a.png", 1), ("cam2/a.png", 2),
    ]  # fmt: skip
    for number, name in enumerate(("cam1", "cam2"), start=1):
        assert file.paths[number].samefile(cameras / "im" / name / "a.png")


@pytest.mark.parametrize(
    "image", ["/gone/{}/a.png", "C:\\gone\\{}\\a.png", "../../gone/{}/a.png", "a.png"]
)
def test_images_of_the_same_name_by_the_longest_end(cameras, image):
    save_images(cameras / "labels")  # an image of that name that is neither
    file = read(save_cameras(cameras, image), ReadOptions(cameras / "im"))
    assert [name for name, _ in rows_of(file.document)] == ["cam1/a.png", "cam2/a.png"]
    for number, name in enumerate(("cam1", "cam2"), start=1):
        assert file.paths[number].samefile(cameras / "im" / name / "a.png")


def test_images_that_are_gone_are_not_others_of_that_name(cameras):
    top = save_cameras(cameras, "../../gone/{}/a.png")
    file = read(top, ReadOptions(save_images(cameras / "flat")))
    assert [name for name, _ in rows_of(file.document)] == ["cam1/a.png", "cam2/a.png"]
    assert not file.paths and "cam2/a.png" in file.missing[2]


def test_files_of_different_images_that_lead_to_one(cameras):
    top = save_cameras(cameras, "a.png")
    options = ReadOptions(save_images(cameras / "flat"))
    message = refused(lambda: read(top, options), "cam1", "cam2", "a.png for both")
    assert "\n" not in message


def test_files_of_one_image(cameras):
    save(cameras / "labels" / "b.json", [shape("n", 3, 2)], "../im/cam1/a.png")
    file = read(save_cameras(cameras, "../../im/{}/a.png"))
    names = [name for name, _ in rows_of(file.document)]
    assert sorted(names) == ["cam1/a.png", "cam1/a.png", "cam2/a.png"]


def test_sizes(folder):
    file = read(save(folder / "a.json", [shape("n", 20, 30)], imageWidth=120, imageHeight=80))
    assert file.document["annotations"][0]["keypoints"] == [10, 15, 2] and "scaled" in file.notes[0]
    path = save(folder / "a.json", [shape("n", 20, 30)], imageWidth=100, imageHeight=80)
    refused(lambda: read(path), "a.json", "60 x 40", "100 x 80")
    assert read(save(folder / "a.json", [shape("n", 2, 3)], imageWidth=None)).document["images"]


def test_names_give_order_and_sides(folder):
    path = save(folder / "a.json", [shape("r", 1, 2), shape("l", 3, 4), shape("tip", 5, 6)])
    (folder / "names.txt").write_text("tip\nl\nr\nl:r\nextra\n")
    (category,) = read(path, ReadOptions(names=folder / "names.txt")).document["categories"]
    assert category["keypoints"] == ["tip", "l", "r", "extra"]
    assert category["flip_indices"] == [0, 2, 1, 3]
    (folder / "names.txt").write_text("tip\nl\n")
    refused(lambda: read(path, ReadOptions(names=folder / "names.txt")), "names.txt", "'r'")


@pytest.mark.parametrize(
    ("shapes", "parts"),
    [
        ([shape("a", 1, 2), shape("a", 3, 4)], ["shape 1", "'a' again", "group_id"]),
        ([shape("a", 1, "x")], ["shape 0"]),
        ([shape("a", 1, None)], ["shape 0"]),
        ([shape("a", 1, 2, points=[])], ["shape 0"]),
        ([shape("a", 1, 2, points=[[1, 2, 3]])], ["shape 0"]),
        ([shape("a", 1, 2, [])], ["shape 0", "instance"]),
        ([{"shape_type": "point"}], ["shape 0"]),
        (["a"], ["shape 0"]),
        ([], ["shapes of type point"]),
    ],
)
def test_files_that_cannot_be_read(folder, shapes, parts):
    path = save(folder / "a.json", shapes)
    assert "\n" not in refused(lambda: read(path), "a.json", *parts)


def test_not_a_number(folder):
    path = save(folder / "a.json", [shape("a", 1, float("nan"))])
    refused(lambda: read(path), "a.json", "shape 0")


@pytest.mark.parametrize("text", ["[" * 200_000, '{"shapes": [' + "9" * 5000 + "]}", '{"shapes": '])
def test_files_that_are_no_json(folder, text):
    (folder / "a.json").write_text(text)
    assert "\n" not in refused(lambda: read(folder / "a.json", format="labelme"), "a.json", "JSON")


def test_writing(folder):
    builder = DocumentBuilder([{"id": 1, "name": "w", "keypoints": ["p"], "skeleton": [[1, 1]]}])
    for name in ("x/a.png", "x/a.jpg", "../b.png"):
        image = builder.add_image(name, (60, 40))
        builder.add_annotation(image, "w", {"p": (1, 2, 2)}, attributes={"sex": "f"}, score=0.5)
    document = builder.build().document
    notes = write(folder / "out", document, format="labelme")
    assert notes == [
        "labelme has no place for these members, of annotations: score; of categories: skeleton"
    ]
    names = {str(p.relative_to(folder / "out")) for p in (folder / "out").rglob("*.json")}
    assert names == {"x/a.json", "x/a.jpg.json", "b.json"}
    found = read(folder / "out").document
    assert [a["attributes"] for a in found["annotations"]] == [{"sex": "f"}] * 3
    refused(lambda: write(folder / "out", document, format="labelme"), "do not exist")
    refused(lambda: write(folder / "o.json", document, format="labelme"), "a folder", "3 images")
    one = document | {"images": document["images"][:1], "annotations": document["annotations"][:1]}
    write(folder / "o.json", one, WriteOptions(), "labelme")
    assert find_format(folder / "o.json").name == "labelme"


def test_a_box_that_does_not_hold_its_points(folder):
    builder = DocumentBuilder()
    image = builder.add_image("a.png", SIZES["a.png"])
    builder.add_annotation(image, "w", {"p": (1, 2, 2), "q": (30, 30, 2)}, box=(5, 5, 9, 9))
    write(folder / "out", builder.build().document, format="labelme")
    (annotation,) = read(folder / "out").document["annotations"]
    assert annotation["bbox"] == [5, 5, 9, 9] and annotation["instance_id"] == 1


def test_images_are_named_from_where_the_files_are(folder, tmp_path):
    builder = DocumentBuilder()
    image = builder.add_image("a.png", SIZES["a.png"])
    builder.add_annotation(image, "w", {"p": (1, 2, 2)})
    write(tmp_path / "out", builder.build().document, WriteOptions(folder), "labelme")
    data = json.loads((tmp_path / "out" / "a.json").read_text())
    assert [each["group_id"] for each in data["shapes"]] == [None, None]
    assert data["imagePath"] == "../images/a.png" and data["imageWidth"] == 60
    assert read(tmp_path / "out").paths[1].samefile(folder / "a.png")


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_what_is_written_comes_back(folder, tmp_path_factory, data):
    document = document_of(data.draw(contents(occluded=True)))
    out = tmp_path_factory.mktemp("out") / "labels"
    write(out, document, WriteOptions(folder), "labelme")
    found = read(out).document
    for each in found["images"]:
        each["file_name"] = each["file_name"].split("/")[-1]
    wanted = sorted(range(len(document["annotations"])), key=lambda n: rows_of(document)[n][0])
    document["annotations"] = [document["annotations"][n] for n in wanted]
    order = document["categories"][0]["keypoints"]
    assert set(found["categories"][0]["keypoints"]) <= set(order)
    found["categories"][0]["keypoints"] += [
        name for name in order if name not in found["categories"][0]["keypoints"]
    ]
    for each in found["annotations"]:
        each["keypoints"] += [0.0] * (3 * len(order) - len(each["keypoints"]))
    assert_same_points(found, document)
    assert [a.get("attributes") for a in found["annotations"]] == [
        a.get("attributes") for a in document["annotations"]
    ]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_values(folder, data):
    leaves = st.none() | st.booleans() | st.integers(-9, 99) | st.floats() | st.text(max_size=3)
    values = leaves | st.lists(leaves | st.lists(leaves, max_size=3), max_size=3)
    content = {"shapes": [shape("p", 1, 2), shape("q", 3, 4)], "imagePath": "a.png"}
    place = data.draw(st.sampled_from([content, *content["shapes"]]))
    place[data.draw(st.sampled_from([*place, "imageWidth", "imageHeight", "difficult"]))] = (
        data.draw(values)
    )
    (folder / "a.json").write_text(json.dumps(content))
    try:
        read(folder / "a.json", format="labelme")
    except HomologError as error:
        assert "\n" not in str(error)


cases = real_images.ROOT.parent / "cases"


@pytest.mark.skipif(not cases.is_dir(), reason="needs the cases beside HOMOLOG_DATA")
def test_a_case(tmp_path):
    path = tmp_path / "labelme.json"
    path.write_bytes((cases / "other_formats" / "labelme.json").read_bytes())
    (annotation,) = read(path).document["annotations"]
    assert annotation["keypoints"] == [301, 50, 2, 50, 60, 2] and annotation["instance_id"] == 1


def test_keypoints_that_are_nowhere_labelled_are_said_to_be_lost(tmp_path):
    document = {
        "images": [{"id": 1, "file_name": "a.png", "width": 40, "height": 30}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "keypoints": [5, 5, 2, 0, 0, 0]},
        ],
        "categories": [{"id": 1, "name": "bee", "keypoints": ["nose", "tail"]}],
    }
    notes = write(tmp_path / "labels", document, format="labelme")
    assert notes == ["labelme holds no keypoints that are nowhere labelled: 1"]
