"""Masks of objects that data sets say: SPair-71k's segmentations and those of COCO files."""

import json

import numpy as np
import pytest
from helpers import datasets
from PIL import Image

from homolog import HomologError
from homolog.data import coco, spair
from homolog.data.formats.segmentation import encode_rle


def test_spair(tmp_path):
    """The pixels of the class: cats are the eighth of Pascal VOC's, buses the sixth."""
    root = datasets.make_spair(tmp_path, splits=["test"])
    assert all(each.mask is None for each in spair.load(root).annotations)
    width, height = datasets.SIZE
    values = np.random.default_rng(0).choice([0, 6, 8, 255], (height, width)).astype(np.uint8)
    for category in ("cat", "bus"):
        folder = root / "Segmentation" / category
        folder.mkdir(parents=True)
        image = Image.fromarray(values, "L")
        image.putpalette(list(range(256)) * 3)
        image.save(folder / "2008_000000.png")
    found = {each.name: each.mask for each in spair.load(root).annotations}
    assert (found["cat/2008_000000"]() == (values == 8)).all()
    assert (found["bus/2008_000000"]() == (values == 6)).all()
    assert found["cat/2008_000001"] is None
    Image.new("RGB", (4, 4)).save(root / "Segmentation" / "cat" / "2008_000000.png")
    with pytest.raises(HomologError, match=r"^mask: expected a value for each class, got colours"):
        found["cat/2008_000000"]()


def test_coco(tmp_path):
    path = datasets.make_coco(tmp_path)
    outline, mask = [10, 5, 40, 5, 40, 30, 10, 30], np.zeros(datasets.SIZE[::-1], dtype=bool)
    mask[7:20, 3:50] = True
    kinds = [[outline], encode_rle(mask, compressed=True), {"size": [1], "counts": 3}, None]

    def segment(file):
        for entry, kind in zip(file["annotations"], kinds, strict=False):
            entry["segmentation"] = kind

    datasets.edit_json(path, segment)
    file = json.loads(path.read_text())
    names = {image["id"]: image["file_name"] for image in file["images"]}
    by_name = {each.name: each.mask for each in coco.load(path).annotations}
    first, second, third, fourth = (
        by_name[names[entry["image_id"]]] for entry in file["annotations"][:4]
    )
    expected = np.zeros_like(mask)
    expected[5:30, 10:40] = True
    assert (first() == expected).all() and (second() == mask).all() and fourth is None
    with pytest.raises(HomologError, match=r"^annotation \d+: segmentation: expected run lengths"):
        third()
