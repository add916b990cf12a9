"""Labels whose file states other sizes than the images have: scaled, turned, or refused."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from homolog import HomologError
from homolog.data import ErrorCollector, coco
from homolog.data.boxes import read_boxes
from homolog.data.check import check
from homolog.data.exemplars import read
from homolog.data.formats import segmentation
from homolog.data.formats.image_sizes import Fit, fit_to_images
from homolog.data.labels import EXTRA, Labels

ORIENTATION = 0x0112
NAMES = ["nose", "left_eye", "right_eye"]
POINTS = [[30.0, 40.0], [150.0, 20.0], [90.0, 85.0]]
"""Labelled in an upright image of 160 x 90 pixels; (150, 20) lies outside one of 90 x 160."""


def photo(size: tuple[int, int] = (160, 90), seed: int = 0) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(values)


def store(path: Path, image: Image.Image, orientation: int = 1) -> Path:
    """Save an upright image as a camera does: turned the other way, with the EXIF orientation."""
    stored = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    image = image.transpose(stored[orientation]) if orientation > 1 else image
    image.save(path, exif=exif)
    return path


def labels(size, points=POINTS, box=(20.0, 15.0, 135.0, 72.0), count: int = 1) -> dict:
    """A COCO document of images a0.png, a1.png … of a stated size."""
    rows = [[*point, 2] for point in points]
    return {
        "info": {"year": 2026},
        "images": [
            {"id": n, "file_name": f"a{n}.png", "width": size[0], "height": size[1], "license": 3}
            for n in range(count)
        ],
        "annotations": [
            {"id": 10 + n, "image_id": n, "category_id": 1, "bbox": list(box), "area": 900.0,
             "keypoints": [value for row in rows for value in row], "attributes": {"sex": "f"}}
            for n in range(count)
        ],
        "categories": [{"id": 1, "name": "dog", "keypoints": NAMES}],
    }  # fmt: skip


def saved(folder: Path, data: dict) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "few.json"
    path.write_text(json.dumps(data))
    return path


def test_labels_of_a_larger_image_are_scaled_everywhere(tmp_path):
    store(tmp_path / "a0.png", photo())
    store(tmp_path / "a1.png", photo(seed=1))
    large = [[3 * x, 3 * y] for x, y in POINTS]
    data = labels((480, 270), large, (60, 45, 405, 216), count=2)
    path = saved(tmp_path, data)
    for annotations in (read(path).annotations, coco.load(path).annotations):
        for annotation in annotations:
            np.testing.assert_allclose(annotation.keypoints, POINTS, rtol=1e-12)
            np.testing.assert_allclose(annotation.xywh, (20, 15, 135, 72), rtol=1e-12)
            assert annotation.size == (160, 90)
    (note,) = read(path).notes
    assert note == (
        f"{path}: labels scaled to their images, which have other sizes: 2 images "
        "(a0.png: 480 x 270 became 160 x 90 first)"
    )
    assert note in coco.load(path).notes
    report = check(path)
    assert report.problems == () and report.notes == (f"few: {note}",)
    found = Labels.read(path, tmp_path)
    np.testing.assert_allclose(found.annotations[0]["keypoints"][:2], POINTS[0])
    assert found.annotations[0]["area"] == pytest.approx(100)
    assert found.annotations[0]["attributes"] == {"sex": "f"}
    assert found.images[0] == {
        "id": 0, "file_name": "a0.png", "width": 160, "height": 90, "license": 3
    }  # fmt: skip
    assert found.notes == (note,) and json.loads(path.read_text()) == data, "nothing is written"
    assert Labels.read(path).data["images"] == data["images"], "without images nothing is compared"


def test_boxes_and_masks_are_scaled(tmp_path):
    """As `--boxes` reads them, of a file without keypoints, too."""
    store(tmp_path / "a0.png", photo())
    mask = np.zeros((270, 480), bool)
    mask[60:120, 90:180] = True
    data = labels((480, 270), [[3 * x, 3 * y] for x, y in POINTS], (60, 45, 405, 216))
    data["annotations"][0]["segmentation"] = segmentation.encode_rle(mask, compressed=True)
    data["annotations"].append({"id": 11, "image_id": 0, "category_id": 1, "bbox": [3, 6, -9, 12]})
    found = read_boxes(saved(tmp_path, data))
    ((each,),) = found.objects.values()
    np.testing.assert_allclose(each.box, (20, 15, 135, 72))
    np.testing.assert_array_equal(each.mask(), mask[1::3, 1::3])
    (note,) = found.notes
    assert "labels scaled to their images" in note
    (problem,) = found.problems
    assert "annotation 11: box: expected" in problem
    data["images"][0]["width"] = 500
    with pytest.raises(HomologError, match=r"a0.png: expected 500 x 270 pixels as in the file"):
        read_boxes(saved(tmp_path, data))


def test_all_that_has_coordinates_is_scaled(tmp_path):
    store(tmp_path / "a0.png", photo())
    data = labels((80, 45), [[15, 20], [75, 10], [45, 42.5]], (10, 7.5, 67.5, 36))
    entry = data["annotations"][0]
    entry["keypoints"][5] = 1
    mask = np.zeros((45, 80), bool)
    mask[10:20, 30:50] = True
    entry["segmentation"] = [[10, 10, 20, 10, 20, 30]]
    entry[EXTRA] = {
        "scores": [0.5] * 3, "doubtful": [0], "reviewed": [1],
        "predicted": [15, 20, 2, 0, 0, 0, 40, 40, 2], "predicted_bbox": [1, 2, 3, 4],
    }  # fmt: skip
    gone = {**copy.deepcopy(entry), "id": 99}
    gone["segmentation"] = segmentation.encode_rle(mask, compressed=True)
    data[EXTRA] = {"deleted": [gone], "other": 1}
    found = Labels.read(saved(tmp_path, data), tmp_path)
    for moved in (found.annotations[0], found.deleted[0]):
        assert moved["keypoints"] == [30, 40, 2, 150, 20, 1, 90, 85, 2]
        assert moved["bbox"] == [20, 15, 135, 72]
        assert moved[EXTRA]["predicted"] == [30, 40, 2, 0, 0, 0, 80, 80, 2]
        assert moved[EXTRA]["predicted_bbox"] == [2, 4, 6, 8]
        assert moved[EXTRA]["scores"] == [0.5] * 3
    assert found.annotations[0]["segmentation"] == [[20, 20, 40, 20, 40, 60]]
    large = segmentation.decode_rle(found.deleted[0]["segmentation"])
    np.testing.assert_array_equal(large, np.kron(mask, np.ones((2, 2), bool)))
    assert isinstance(found.deleted[0]["segmentation"]["counts"], str), "compressed as it was"
    assert found.data[EXTRA]["other"] == 1


def test_masks_that_do_not_fit(tmp_path):
    """One that has the image's own size fits as it is; one of a third size is refused."""
    store(tmp_path / "a0.png", photo())
    data = labels((80, 45), [[15, 20], [75, 10], [45, 42.5]], (10, 7.5, 67.5, 36))
    mask = np.zeros((90, 160), bool)
    mask[20:40, 60:100] = True
    for compressed in (True, False):
        rle = segmentation.encode_rle(mask, compressed)
        data["annotations"][0]["segmentation"] = rle
        found = Labels.read(saved(tmp_path, data), tmp_path)
        assert found.annotations[0]["segmentation"] == rle
    data["annotations"][0]["segmentation"] = segmentation.encode_rle(mask[:50], True)
    path = saved(tmp_path, data)
    for load in (lambda: read(path), lambda: coco.load(path), lambda: Labels.read(path, tmp_path)):
        with pytest.raises(HomologError, match=r"annotation 10: segmentation: expected run lengt"):
            load()


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
@pytest.mark.parametrize("kind", ["upright", "stored"])
def test_photos_turned_by_exif(tmp_path, orientation, kind):
    """Width and height are those of the file; the points tell of which image they are."""
    upright = photo()
    path = store(tmp_path / "a0.png", upright, orientation)
    with Image.open(path) as image:
        stated = image.size
    assert stated == (90, 160)
    points, box = POINTS, (20.0, 15.0, 135.0, 72.0)
    if kind == "stored":  # found by where the pixels of the upright photo are in the file
        points = [stored_place(upright, path, point) for point in POINTS]
        corners = [stored_place(upright, path, corner) for corner in ((20, 15), (155, 87))]
        start, end = np.min(corners, axis=0), np.max(corners, axis=0)
        box = (*start.tolist(), *(end - start).tolist())
    file = saved(tmp_path, labels(stated, points, box))
    for annotation in (read(file).annotations[0], Labels.read(file, tmp_path).annotations[0]):
        found = annotation["keypoints"] if isinstance(annotation, dict) else annotation.keypoints
        found = np.reshape(found, (3, -1))[:, :2]
        np.testing.assert_allclose(found, POINTS, atol=1e-9)
    np.testing.assert_allclose(read(file).annotations[0].xywh, (20, 15, 135, 72), atol=1e-9)
    (note,) = read(file).notes
    what = "kept as they are" if kind == "upright" else "turned with the photo"
    assert note.endswith(f"{what}: 1 image (a0.png)")
    assert Labels.read(file, tmp_path).images[0]["width"] == 160


def stored_place(upright: Image.Image, path: Path, point) -> list[float]:
    """Where a point of an upright photo lies in its file, found by the colours around it."""
    with Image.open(path) as image:
        stored = np.asarray(image.convert("RGB"))
    x, y = map(int, point)
    around = {}
    for dx, dy in ((0, 0), (-1, -1)):
        colour = np.asarray(upright)[min(max(y + dy, 0), 89), min(max(x + dx, 0), 159)]
        (row,), (column,) = np.nonzero((stored == colour).all(axis=2))
        around[dx] = np.array([column + 0.5, row + 0.5])
    return ((around[0] + around[-1]) / 2).tolist()


def test_masks_are_turned_with_their_photos(tmp_path):
    """As Pillow turns the photo, for every orientation and a resized file."""
    values = np.zeros((20, 32), bool)
    values[3:11, 5:9] = values[12:15, 20:30] = True
    for orientation in range(1, 9):
        path = store(tmp_path / f"{orientation}.png", Image.fromarray(values), orientation)
        with Image.open(path) as image:
            stored = np.asarray(image.convert("1"))
        fit = Fit(stored.shape[::-1], stored.shape[::-1], orientation)
        turned = fit.segmentation(segmentation.encode_rle(stored, False))
        np.testing.assert_array_equal(segmentation.decode_rle(turned), values)
        whole = segmentation.encode_rle(stored, True)["counts"]
        again = {"size": [20, 32], "counts": fit.segmentation(whole)}
        np.testing.assert_array_equal(segmentation.decode_rle(again), values)


def test_points_that_fit_both_are_refused_unless_others_decide(tmp_path):
    for number in range(3):
        store(tmp_path / f"a{number}.png", photo(seed=number), 6)
    both = [[30, 40], [60, 20], [80, 85]]
    path = saved(tmp_path, labels((90, 160), both, (20, 15, 60, 70), count=3))
    reason = r"image 0, a0.png: expected width and height of the image, 160 x 90.* points that fit"
    for load in (lambda: read(path), lambda: coco.load(path), lambda: Labels.read(path, tmp_path)):
        with pytest.raises(HomologError, match=reason):
            load()
    assert len([p for p in check(path).problems if "that fit both" in p]) == 3
    data = json.loads(path.read_text())
    data["annotations"][1]["keypoints"][0] = 150
    path.write_text(json.dumps(data))
    found = read(path)
    np.testing.assert_allclose(found.annotations[0].keypoints, both)
    assert len(found.notes) == 1 and "3 images (a0.png first)" in found.notes[0]


@pytest.mark.parametrize("stated", [(160, 120), (320, 100), (90, 160), (1000, 1000)])
def test_other_sizes_are_refused(tmp_path, stated):
    store(tmp_path / "a0.png", photo())
    store(tmp_path / "a1.png", photo())
    path = saved(tmp_path, labels(stated, [[30, 40], [60, 20], [80, 85]], count=2))
    reason = (
        f"{path}: image 0, a0.png: expected width and height of the image, 160 x 90, or the "
        f"same ratio, got {stated[0]} x {stated[1]}"
    )
    for load in (lambda: read(path), lambda: coco.load(path), lambda: Labels.read(path, tmp_path)):
        with pytest.raises(HomologError) as error:
            load()
        assert str(error.value) == reason
    assert reason in check(path).problems


def test_sizes_that_are_right_or_missing_change_nothing(tmp_path):
    """What is unlabelled keeps its zeros, and images that cannot be read are left to others."""
    store(tmp_path / "a0.png", photo())
    (tmp_path / "a1.png").write_text("no image")
    for size in ((160, 90), (None, None), (0, 0)):
        data = labels(size, [*POINTS[:2], [0, 0]], count=2)
        data["annotations"][0]["keypoints"][8] = 0
        found = Labels.read(saved(tmp_path, data), tmp_path)
        assert found.notes == ()
        assert found.annotations[0]["keypoints"] == data["annotations"][0]["keypoints"]
        assert (found.images[0]["width"], found.images[0]["height"]) == (160, 90)
        assert found.images[1]["width"] == size[0]
    data["images"][0]["width"] = -3
    with pytest.raises(HomologError, match="image 0: expected width and height above 0, got -3"):
        read(saved(tmp_path, {**data, "images": [{**data["images"][0], "height": 5}]}))


@given(
    st.integers(1, 8), st.integers(200, 4000), st.integers(200, 4000), st.floats(0.1, 8),
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=5),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_any_scale_and_orientation(orientation, width, height, factor, shares):
    """Relative places in the upright image are those in the stored one, turned as EXIF says."""
    stated = max(round(width * factor), 1), max(round(height * factor), 1)
    fit = Fit(stated, (width, height), orientation)
    points = fit.points(np.array(shares) * stated)
    # 6: what is stored at the left is at the top of the upright image, and so on.
    turn = {
        1: lambda x, y: (x, y), 2: lambda x, y: (1 - x, y), 3: lambda x, y: (1 - x, 1 - y),
        4: lambda x, y: (x, 1 - y), 5: lambda x, y: (y, x), 6: lambda x, y: (1 - y, x),
        7: lambda x, y: (1 - y, 1 - x), 8: lambda x, y: (y, 1 - x),
    }[orientation]  # fmt: skip
    expected = np.array([turn(x, y) for x, y in shares]) * fit.size
    np.testing.assert_allclose(points, expected, atol=1e-6)
    (x0, y0), (x1, y1) = np.array(shares[0]) * stated, np.array(shares[1]) * stated
    start = min(x0, x1), min(y0, y1)
    box = fit.box([*start, abs(x1 - x0), abs(y1 - y0)])
    low, high = points[:2].min(axis=0), points[:2].max(axis=0)
    np.testing.assert_allclose(box, [*low, *(high - low)], atol=1e-6)


@given(st.integers(64, 3000), st.integers(64, 3000), st.floats(0.15, 6))
@settings(max_examples=60, deadline=None)
def test_resized_images_are_recognised(tmp_path_factory, width, height, factor):
    """Whole pixels, rounded up or down, in either direction."""
    small = min(factor, 1 / factor)
    reduced = max(int(width * small), 8), max(round(height * small), 8)
    folder = tmp_path_factory.mktemp("sizes")
    Image.new("L", reduced).save(folder / "a0.png")
    document = labels((width, height), [[width / 2, height / 4]] * 3)
    fit_to_images(document, {0: folder / "a0.png"}, folder, ErrorCollector())
    x, y, *_ = document["annotations"][0]["keypoints"]
    np.testing.assert_allclose((x, y), (reduced[0] / 2, reduced[1] / 4))
