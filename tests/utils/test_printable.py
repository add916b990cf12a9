"""Names of files that are not UTF-8: kept in files, shown with a mark in drawings."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from homolog.data import coco
from homolog.utils.printable import printable
from homolog.viz.charts import plot_curves
from homolog.viz.figures import PanelFigure

NAME = os.fsdecode(b"caf\xe9.png")


def test_a_mark_for_each_byte():
    assert printable(NAME) == "caf?.png" and printable("café") == "café"


def test_drawings_show_a_mark():
    shown = np.asarray(plot_curves({NAME: ([0, 1], [0, 1])}, "x", "y", title=NAME))
    marked = plot_curves({"caf?.png": ([0, 1], [0, 1])}, "x", "y", title="caf?.png")
    np.testing.assert_array_equal(shown, np.asarray(marked))
    image = Image.new("RGB", (40, 30))
    drawn = [
        PanelFigure([image], [image.size], columns=1).render(caption)
        for caption in (NAME, "caf?.png")
    ]
    np.testing.assert_array_equal(*map(np.asarray, drawn))


def test_data_sets_have_a_fingerprint(tmp_path):
    names = [os.fsdecode(b"caf\xe9%d.png" % number) for number in (1, 2)]
    try:
        for name in names:
            Image.new("RGB", (40, 30)).save(tmp_path / name)
    except OSError:
        pytest.skip("names of files are UTF-8 here")
    document = {
        "categories": [{"id": 1, "name": "dog", "keypoints": ["nose", "tail"]}],
        "images": [
            {"id": number, "file_name": name, "width": 40, "height": 30}
            for number, name in enumerate(names)
        ],
        "annotations": [
            {
                "id": number, "image_id": number, "category_id": 1,
                "keypoints": [1, 2, 2, 30, 20, 2], "bbox": [0, 0, 40, 30],
            }
            for number in range(2)
        ],
    }  # fmt: skip
    (tmp_path / "labels.json").write_text(json.dumps(document))
    data = coco.load(tmp_path / "labels.json")
    assert data.fingerprint()["pairs"] == 2
    assert {member.path.name for member in data.annotations} == set(names)
