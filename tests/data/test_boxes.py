"""Boxes of objects from every format: the same objects in each, and what is wrong is said."""

import re

import numpy as np
import pandas as pd
import pytest
import yaml
from helpers import datasets
from PIL import ExifTags, Image

from homolog.data.boxes import BoxSet, read_boxes
from homolog.data.formats.entries import as_instance

SIZES = {"a.png": (64, 48), "b.png": (80, 100), "sub/c.png": (50, 50)}
OBJECTS = {
    "a.png": [((4.0, 5.0, 20.0, 12.0), "mouse", 0.9), ((30.0, 8.0, 16.0, 32.0), "rat", 0.25)],
    "b.png": [((10.0, 20.0, 30.0, 40.0), "mouse", 0.5)],
    "sub/c.png": [((0.0, 0.0, 50.0, 50.0), "rat", 0.75), ((5.0, 7.0, 2.0, 3.0), "rat", 1.0)],
}
CATEGORIES = {3: "mouse", 8: "rat"}


@pytest.fixture
def folder(tmp_path):
    for seed, (name, size) in enumerate(SIZES.items()):
        datasets.save_image(tmp_path / "images" / name, seed, size)
    return tmp_path / "images"


def flat():
    """All objects with their number in the file, their image, and their number in that."""
    number = 0
    for name, objects in OBJECTS.items():
        for index, (box, category, score) in enumerate(objects, start=1):
            number += 1
            yield number, name, index, box, category, score


def as_coco() -> dict:
    ids = {name: number for number, name in enumerate(SIZES, start=7)}
    to_category = {name: number for number, name in CATEGORIES.items()}
    return {
        "images": [
            {"id": ids[name], "file_name": name, "width": width, "height": height}
            for name, (width, height) in SIZES.items()
        ],
        "annotations": [
            {"id": number, "image_id": ids[name], "category_id": to_category[category],
             "bbox": list(box), "area": box[2] * box[3], "iscrowd": 0}
            for number, name, _, box, category, _ in flat()
        ],
        "categories": [{"id": number, "name": name} for number, name in CATEGORIES.items()],
    }  # fmt: skip


def as_results(names=None) -> list:
    to_category = {name: number for number, name in CATEGORIES.items()}
    ids = names or {name: number for number, name in enumerate(SIZES, start=7)}
    return [
        {"image_id": ids[name], "category_id": to_category[category], "bbox": list(box),
         "score": score}
        for _, name, _, box, category, score in flat()
    ]  # fmt: skip


def as_rows(**names) -> pd.DataFrame:
    rows = [
        {"image": name, "x": box[0], "y": box[1], "width": box[2], "height": box[3],
         "instance": f"m{number}", "score": score, "category": category}
        for number, name, _, box, category, score in flat()
    ]  # fmt: skip
    return pd.DataFrame(rows).rename(columns=names)


def fractions(size, box):
    x, y, width, height = box
    return np.array([x + width / 2, y + height / 2, width, height]) / (*size, *size)


def write_yolo(root, rows_of=fractions, names=("mouse", "rat"), **extra):
    """Labels beside a folder of images; a data set's YAML file, if there are names."""
    for name, size in SIZES.items():
        lines = []
        for box, category, _ in OBJECTS[name]:
            values = rows_of(size, box)
            label = list(CATEGORIES.values()).index(category)
            lines.append(" ".join([str(label), *(f"{value:.8g}" for value in values)]))
        path = (root / "labels" / name).with_suffix(".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n")
    content = {"path": ".", "train": "images", "names": list(names), **extra}
    if names:
        (root / "data.yaml").write_text(yaml.safe_dump(content))
    return root / "data.yaml"


def assert_same(found: BoxSet, folder, ids=None, scores=False, categories=True, atol=1e-4):
    assert found.problems == ()
    assert set(found.objects) == {(folder / name).resolve() for name in SIZES}
    assert found.count == 5
    for number, name, index, box, category, score in flat():
        got = found.of(folder / name)[index - 1]
        np.testing.assert_allclose(got.box, box, atol=atol)
        assert got.instance == (ids or {}).get(number, index)
        assert got.score == (score if scores else None)
        assert got.category == (category if categories else None)


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
    third["segmentation"] = {"size": [48, 64], "counts": [48 * 64]}
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


def test_tables_of_keypoints(folder):
    """Boxes are those around the keypoints of each image, instance and category."""
    rows = [
        {"image": name, "instance": number, "category": category, "keypoint": part, "x": x, "y": y}
        for number, name, _, (left, top, width, height), category, _ in flat()
        for part, x, y in (
            ("nose", left, top + 1),
            ("tail", left + width, top),
            ("ear", left + 1, top + height),
        )
    ]
    path = folder.parent / "points.csv"
    pd.DataFrame(rows).sample(frac=1, random_state=1).sort_values("image").to_csv(path)
    found = read_boxes(path, folder)
    assert found.count == 5 and found.problems == ()
    for number, name, _, box, category, _ in flat():
        (got,) = (each for each in found.of(folder / name) if each.instance == number)
        assert got.box == box and got.category == category


def write_deeplabcut(path, images, individuals, columns=1):
    """As `DataFrame.to_csv` writes the tables of DeepLabCut, whose columns have several levels."""
    parts = ("nose", "left_ear", "tail")
    levels = pd.MultiIndex.from_product(
        [["anna"], [name for name in individuals if name], parts, ["x", "y"]],
        names=["scorer", "individuals", "bodyparts", "coords"],
    )
    if individuals == [None]:
        levels = pd.MultiIndex.from_product(
            [["anna"], parts, ["x", "y"]], names=["scorer", "bodyparts", "coords"]
        )
    rng = np.random.default_rng(0)
    values = rng.uniform(2, 46, (len(images), len(levels)))
    index = images if columns == 1 else pd.MultiIndex.from_tuples([n.split("/") for n in images])
    table = pd.DataFrame(values, index=index, columns=levels)
    return table, path


@pytest.mark.parametrize("columns", [1, 3])
@pytest.mark.parametrize("individuals", [["m1", "m2", "single"], [None]])
def test_deeplabcut(individuals, columns, tmp_path):
    folder = tmp_path / "labeled-data" / "video1"
    names = ["img003.png", "img017.png"]
    for name in names:
        datasets.save_image(folder / name, 0)
    path = folder / "CollectedData_anna.csv"
    table, _ = write_deeplabcut(
        path, [f"labeled-data/video1/{name}" for name in names], individuals, columns
    )
    table.iloc[0, 2:4] = np.nan  # a keypoint that is not visible
    if individuals[0]:
        table.iloc[1, 6:12] = np.nan  # an animal that is not there
    table.to_csv(path)
    found = read_boxes(path)
    assert found.problems == ()
    expected = []
    for row, name in enumerate(names):
        for at, animal in enumerate(each for each in individuals if each != "single"):
            points = table.to_numpy()[row, 6 * at : 6 * at + 6].reshape(3, 2)
            if np.isfinite(points).any():
                low, high = np.nanmin(points, axis=0), np.nanmax(points, axis=0)
                expected.append((name, animal or 1, (*low, *(high - low))))
    got = [(p.name, o.instance, o.box) for p, each in found.objects.items() for o in each]
    assert len(got) == len(expected) == (3 if individuals[0] else 2)
    for one, other in zip(got, expected, strict=True):
        assert one[:2] == other[:2]
        np.testing.assert_allclose(one[2], other[2])
    assert len(found.notes) == (individuals[0] is not None), "body parts of no individual"
    # Elsewhere, from the folder of the project, or with Windows' names.
    away = path.rename(tmp_path / "table.csv")
    assert read_boxes(away).count == len(got) and read_boxes(away, folder).count == len(got)
    if columns == 1:
        away.write_text(away.read_text().replace("/", "\\"))
        assert read_boxes(away, folder).count == len(got)


def test_deeplabcut_of_a_video(tmp_path):
    table, path = write_deeplabcut(tmp_path / "v.csv", [0, 1], ["m1"])
    table.to_csv(path)
    datasets.refused(lambda: read_boxes(path), path, "line 5: expected the name of an image, got 0")


def test_sleap(folder):
    """A file written by sleap-io, with images, tracks, predictions and corrections of them."""
    sio = pytest.importorskip("sleap_io", reason="no sleap-io, which reads SLEAP's files")
    skeleton = sio.Skeleton(["nose", "ear", "tail"])
    images = list(SIZES)
    video = sio.Video.from_filename([str(folder / name) for name in images])
    film = sio.Video(filename="cage.mp4", open_backend=False)
    tracks = {number: sio.Track(f"m{number}") for number, *_ in flat()}

    def points_in(box):
        x, y, width, height = box
        return np.array([[x, y + 1], [x + width, y], [x + 1, y + height]])

    frames = []
    for name in images:
        instances = []
        for number, image, index, box, _, score in flat():
            if image != name:
                continue
            options = {"skeleton": skeleton, "track": tracks[number]}
            if index == 1:
                predicted = sio.PredictedInstance.from_numpy(
                    points_in(box) + 1, point_scores=np.ones(3), score=0.5, **options
                )
                corrected = sio.Instance.from_numpy(points_in(box), **options)
                corrected.from_predicted = predicted
                instances += [predicted, corrected]
            else:
                instances.append(
                    sio.PredictedInstance.from_numpy(
                        points_in(box), point_scores=np.ones(3), score=score, **options
                    )
                )
        frames.append(
            sio.LabeledFrame(video=video, frame_idx=images.index(name), instances=instances)
        )
    lost = sio.Instance.from_numpy(np.full((3, 2), np.nan), skeleton=skeleton)
    of_film = sio.LabeledFrame(video=film, frame_idx=4, instances=[lost])
    path = folder / "mice.slp"
    sio.Labels([*frames, of_film]).save(str(path))
    found = read_boxes(path)
    assert found.notes == (f"{path}: frames of cage.mp4, which are left out: 1",)
    assert found.problems == () and found.count == 5
    for number, name, index, box, _, score in flat():
        got = found.of(folder / name)[index - 1]
        np.testing.assert_allclose(got.box, box)
        assert got.instance == f"m{number}"
        assert got.score == (None if index == 1 else pytest.approx(score))
    sio.Labels(frames).save(str(folder / "mice.pkg.slp"), embed=True, verbose=False)
    assert read_boxes(folder / "mice.pkg.slp").count == 5, "packed with its images"
    sio.Labels([of_film]).save(str(path))
    datasets.refused(lambda: read_boxes(path), "got frames of cage.mp4", path)
    path.write_text("no HDF5")
    datasets.refused(lambda: read_boxes(path), "boxes: expected a SLEAP file", path)


def test_masks(folder):
    masks = folder.parent / "masks"
    (masks / "sub").mkdir(parents=True)
    for name, size in SIZES.items():
        values = np.zeros(size[::-1], dtype=np.uint8)
        for index, ((x, y, width, height), *_) in enumerate(OBJECTS[name], start=1):
            values[int(y) : int(y + height), int(x) : int(x + width)] = 10 * index
        Image.fromarray(values).save(masks / name)
    found = read_boxes(masks, folder)
    assert {p.name: [o.instance for o in each] for p, each in found.objects.items()} == {
        "a.png": [10, 20], "b.png": [10], "c.png": [10, 20]
    }  # fmt: skip
    assert [each.box for each in found.of(folder / "a.png")] == [b for b, *_ in OBJECTS["a.png"]]
    second = found.of(folder / "a.png")[1].mask()
    assert second[8:40, 30:46].all() and second.sum() == 16 * 32
    datasets.refused(lambda: read_boxes(masks), "expected the folder of the images", masks)


def save_mask(path, values, **options):
    path.parent.mkdir(exist_ok=True)
    image = Image.fromarray(values)
    if options.pop("palette", False):
        image = image.convert("P") if image.mode != "L" else Image.frombytes(
            "P", image.size, values.tobytes()
        )  # fmt: skip
        image.putpalette([value for value in range(256) for _ in range(3)])
    image.save(path, **options)
    return path


def test_masks_of_all_kinds(tmp_path):
    image = datasets.save_image(tmp_path / "images" / "a.jpg", 0)
    values = np.zeros((48, 64), dtype=np.uint8)
    values[10:20, 5:25] = 255
    masks = tmp_path / "masks"

    def read(values, **options):
        save_mask(masks / "a.png", values, **options)
        return read_boxes(masks, image.parent).of(image)

    for binary in (values, values > 0, np.dstack([values] * 3), values.astype(np.uint16) * 257):
        (one,) = read(binary)
        assert one.box == (5, 10, 20, 10) and one.mask().sum() == 200
    assert read(values)[0].instance == 1, "255 is no number of an object"
    labels = values.copy()
    labels[30:40, 50:60] = 3
    assert [each.instance for each in read(labels)] == [3, 255]
    assert [each.instance for each in read(labels, palette=True)] == [3], "255 is void there"
    many = labels.astype(np.uint16)
    many[0:3, 0:3] = 40000
    assert [each.instance for each in read(many)] == [3, 255, 40000]
    soft = np.array(Image.fromarray(values).resize((640, 480), Image.Resampling.BICUBIC))
    soft = np.array(Image.fromarray(soft).rotate(20, Image.Resampling.BICUBIC).resize((64, 48)))
    for wrong, reason in (
        (soft, "soft edges"),
        (np.dstack([values, values, values // 2]), "got an image in colours"),
        (np.zeros_like(values), "expected values above 0"),
        (values[:-1], "reaches"),
    ):
        save_mask(masks / "a.png", wrong)
        if reason == "reaches":
            (problem,) = read_boxes(masks, image.parent).problems
            assert "mask: expected 64 x 48 pixels, got 64 x 47 pixels" in problem
        else:
            datasets.refused(lambda: read_boxes(masks, image.parent), reason, masks / "a.png")


def save_sideways(path, size):
    """An image whose EXIF orientation turns it upright; its pixels are `size`, upright is not."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    datasets.save_image(path, 0, size)
    with Image.open(path) as image:
        image.save(path, exif=exif)
    return path


def test_boxes_refer_to_the_upright_image(tmp_path):
    image = save_sideways(tmp_path / "a.jpg", (64, 48))
    file = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 48, "height": 64}],
        "annotations": [{"id": 5, "image_id": 1, "category_id": 1, "bbox": [4, 40, 20, 20]}],
        "categories": [],
    }
    path = datasets.save_json(tmp_path / "boxes.json", file)
    assert read_boxes(path).of(image)[0].box == (4, 40, 20, 20)
    datasets.edit_json(path, datasets.change_first("images", width=64, height=48))
    datasets.refused(
        lambda: read_boxes(path),
        "annotation 5", "expected 64 x 48 pixels as in the file, got 48 x 64 pixels; boxes refer",
    )  # fmt: skip
    image.with_suffix(".txt").write_text("0 0.5 0.75 0.5 0.25\n")
    assert read_boxes(tmp_path).of(image)[0].box == (12, 40, 24, 16)


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
    path.write_bytes(b"\xff\xfe,\n")
    datasets.refused(lambda: read_boxes(path), "boxes: expected a CSV table", path)


@pytest.mark.parametrize(
    ("written", "place"),
    [
        (r"sub\c d.png", "sub/c d.png"),
        ("sub/c%20d.png", "sub/c d.png"),
        ("images/sub/c d.png", "sub/c d.png"),
        ("/home/anna/images/sub/c d.png", "sub/c d.png"),
        (r"C:\data\sub\c d.png", "sub/c d.png"),
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
        ("a.yaml", "names: 3", "expected names and train or val"),
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
