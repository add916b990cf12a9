"""Checks of data sets list all errors at once."""

import re

import numpy as np
import pytest
from helpers import datasets
from PIL import Image
from scipy.io import savemat

from homolog.data import ap10k, coco, pf_pascal, spair
from homolog.data.check import check


@pytest.mark.parametrize(
    ("make", "title", "images", "pairs"),
    [
        (datasets.make_spair, "SPair-71k", dict.fromkeys(spair.SPLITS, 6), 12),
        (datasets.make_pf_pascal, "PF-PASCAL", dict.fromkeys(pf_pascal.SPLITS, 6), 6),
        (datasets.make_pf_willow, "PF-WILLOW", {"test": 6}, 12),
    ],
)
def test_checks_find_nothing(make, title, images, pairs, tmp_path):
    report = check(make(tmp_path))
    assert report.title == title and report.images == images
    assert report.pairs == dict.fromkeys(images, pairs) and report.problems == ()


def test_checks_of_coco_and_ap10k(tmp_path):
    path = datasets.make_coco(tmp_path / "coco")
    report = check(path)
    assert report.title == "COCO" and report.problems == ()
    assert report.pairs == {"annotations": len(coco.load(path).pairs)}
    root = datasets.make_ap10k(
        tmp_path / "ap10k", {"cat": ("Felidae", 60), "bison": ("Bovidae", 33)}, images=True
    )
    report = check(root)
    assert report.title == "AP-10K" and len(report.pairs) == 7
    assert report.pairs["test cross-family"] == 30
    # Neither family has two species, so there are no pairs of two species.
    assert report.problems == tuple(
        f"{root}: expected cross-species pairs in split {split}, got none"
        for split in ("val", "test")
    )


def test_checks_list_everything_at_once(tmp_path):
    root = datasets.make_spair(tmp_path)
    images = root / "JPEGImages" / "cat"
    (images / "2008_000000.jpg").unlink()
    broken = images / "2008_000001.jpg"
    broken.write_bytes(broken.read_bytes()[:-200])
    (images / "2008_000002.jpg").write_text("not an image")
    annotations = root / "ImageAnnotation" / "bus"
    datasets.edit_json(annotations / "2008_100000.json", lambda entry: entry.update(image_width=65))
    datasets.edit_json(annotations / "2008_100001.json", lambda entry: entry.pop("bndbox"))
    pair = next((root / "PairAnnotation" / "test").glob("*:cat.json"))
    layout = root / "Layout" / "large" / "test.txt"
    again = f"999999-{pair.name.split('-', 1)[1]}"
    pair.with_name(again).write_bytes(pair.read_bytes())
    layout.write_text(layout.read_text() + again.removesuffix(".json"))
    (root / "Layout" / "large" / "val.txt").write_text("000000-a-b:cat\n")

    found = check(root).problems
    for reason in (
        "expected an image file, got .*2008_000000.jpg",
        "2008_000001.jpg, which cannot be read",
        "expected an image in a known format, got .*2008_000002.jpg",
        "000000-a-b:cat.json: expected a readable file",
        "expected pairs in split val",
        "as a pair once, got 2 times",
    ):
        assert len([line for line in found if re.search(reason, line)]) == 1, reason


def test_checks_note_what_is_odd(tmp_path):
    root = datasets.make_pf_willow(tmp_path)
    points = np.tile([[10.0], [20.0]], 10)
    points[:, 4] = 1000, 5
    savemat(root / "car(G)" / "car(G)_000.mat", {"pts_coord": points})
    (note,) = check(root).notes
    assert "keypoint 4 at (1000, 5) lies outside the image of 64 x 48" in note

    root = datasets.make_spair(tmp_path / "spair")
    datasets.edit_json(
        root / "ImageAnnotation" / "bus" / "2008_100000.json",
        lambda entry: entry.update(image_width=65),
    )
    (problem,) = check(root).problems
    assert "2008_100000.jpg: expected 65 x 48 pixels, got 64 x 48" in problem
    layout = root / "Layout" / "large" / "val.txt"
    lines = layout.read_text().split()
    layout.write_text("\n".join(line for line in lines if line.endswith("cat")))
    assert check(root).notes == ("val: no pairs of bus",)


def test_checks_of_nothing_known(tmp_path):
    message = datasets.refused(
        lambda: check(tmp_path), tmp_path, spair.HOMEPAGE, ap10k.HOMEPAGE, coco.HOMEPAGE
    )
    assert all(kind in message for kind in ("SPair-71k", "AP-10K", "PF-PASCAL", "PF-WILLOW"))
    datasets.refused(lambda: check(tmp_path / "none"), "expected a file or folder")


def test_checks_count_objects_and_images(tmp_path):
    """Two of three images show a second object; boxes without keypoints are counted apart."""
    path = datasets.make_coco(tmp_path)

    def crowd(file):
        for number, entry in enumerate(file["annotations"][:2]):
            again = {**entry, "id": 900 + number, "bbox": [30, 4, 20, 30]}
            file["annotations"].append(again)

    plain = check(path)
    assert plain.objects == plain.images and plain.problems == () and plain.notes == ()
    datasets.edit_json(path, crowd)
    report = check(path)
    assert report.images == plain.images and report.problems == ()
    assert report.objects == {"annotations": plain.objects["annotations"] + 2}

    def more(file):
        box = {"image_id": file["images"][0]["id"], "category_id": 3, "iscrowd": 0}
        file["annotations"] += [
            {**box, "id": 910, "bbox": [1, 2, 3, 4]},
            {**box, "id": 911, "bbox": [100, 2, 3, 4]},
        ]

    report = check(datasets.edit_json(path, more))
    total = report.objects["annotations"] + 1
    assert f"boxes: {report.images['annotations']} images, {total} objects" in report.notes
    assert report.problems == () and any("annotation 911: box: " in n for n in report.notes)


def test_checks_of_boxes(tmp_path):
    images = tmp_path / "photos"
    for number in range(3):
        datasets.save_image(images / f"{number}.png", number)
    results = [
        {"image_id": f"{n}.png", "category_id": 1, "bbox": [1 + n, 2, 20, 30], "score": 0.5}
        for n in (0, 0, 1, 2)
    ]
    path = datasets.save_json(tmp_path / "results.json", results)
    report = check(path, images)
    assert report.title == "boxes" and report.pairs == {} and report.problems == ()
    assert report.images == {"results": 3} and report.objects == {"results": 4}
    results[0]["segmentation"] = {"size": [48, 64], "counts": [5]}
    results[1]["segmentation"] = {"size": [48, 64], "counts": [48 * 64]}
    results.append({**results[3], "image_id": "0.png"})
    results[2]["bbox"] = [1, 2, -3, 4]
    datasets.save_json(path, results)
    broken = images / "2.png"
    broken.write_bytes(broken.read_bytes()[:-100])
    problems = check(path, images).problems
    for reason in (
        "result at position 2: box: .* which is empty or flipped",
        "2.png, which cannot be read",
        "result at position 0: segmentation: expected run lengths of 3072 pixels, got 5",
        "result at position 1: segmentation: expected at least one pixel of the object",
    ):
        assert len([line for line in problems if re.search(reason, line)]) == 1, reason
    assert len(problems) == 4

    labels = tmp_path / "labels"
    labels.mkdir()
    (labels / "0.txt").write_text("0 0.5 0.5 0.2 0.2\n1 0.2 0.2 0.1 0.1\n")
    report = check(labels, images)
    assert report.images == {"labels": 1} and report.objects == {"labels": 2}
    masks = datasets.save_image(tmp_path / "masks" / "0.png", 0)
    Image.new("L", datasets.SIZE, 255).save(masks)
    assert check(masks.parent, images).objects == {"masks": 1}
    file = datasets.make_coco(tmp_path / "coco")
    datasets.edit_json(file, lambda data: [c.pop("keypoints") for c in data["categories"]])
    assert check(file).title == "COCO", "keypoints without names are numbered"
    datasets.edit_json(file, lambda data: [a.pop("keypoints") for a in data["annotations"]])
    assert check(file).title == "boxes" and check(file).objects == {"annotations": 8}


def test_checks_with_a_folder_of_images(tmp_path):
    path = datasets.make_coco(tmp_path / "set")
    before = check(path)
    (path.parent / "images").rename(tmp_path / "moved")
    assert len(check(path).problems) == 8
    assert check(path, tmp_path / "moved") == before
    root = datasets.make_pf_willow(tmp_path / "willow")
    datasets.refused(lambda: check(root, tmp_path), "images: expected none with PF-WILLOW")
