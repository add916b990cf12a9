"""Trays, which tests and benchmarks take for the truth, against what is on their images."""

from __future__ import annotations

import numpy as np
import pytest
import trays
from PIL import Image

SIZE = (240, 180)


def cutouts(count: int) -> list[trays.Cutout]:
    """L-shaped pieces, each of a colour of its own, with a keypoint at three corners."""
    found = []
    for number in range(count):
        mask = np.zeros((80, 80), bool)
        mask[10:70, 20:35] = True
        mask[55:70, 20 : 50 + 2 * number] = True
        colour = (20 + 18 * number, 200 - 11 * number, 90)
        image = Image.new("RGB", (80, 80), colour)
        points = np.array([(20.5, 10.5), (20.5, 69.5), (49.5 + 2 * number, 69.5), (np.nan, np.nan)])
        found.append(trays.cut(image, mask, points, "piece", f"piece{number}"))
    return found


def colours(tray: trays.Tray) -> np.ndarray:
    return np.asarray(tray.image).astype(int)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("overlap", [False, True])
def test_what_a_tray_says_is_on_its_image(seed, overlap):
    pieces = cutouts(6)
    rng = np.random.default_rng(seed)
    # At the size of the cutouts themselves, colours are exact.
    tray = trays.make_tray(
        pieces, Image.new("RGB", SIZE, "white"), rng, overlap=overlap, length=60, spread=1.0
    )
    pixels, taken = colours(tray), np.zeros(SIZE[::-1], int)
    for number, (piece, each) in enumerate(zip(pieces, tray.objects, strict=True)):
        taken += each.mask
        x, y, width, height = (int(value) for value in each.box)
        assert np.array_equal(np.argwhere(each.mask).min(0), (y, x))
        assert np.array_equal(np.argwhere(each.mask).max(0) + 1, (y + height, x + width))
        if each.cutout.image.size == piece.image.size:
            shown = np.all(pixels == (20 + 18 * number, 200 - 11 * number, 90), axis=-1)
            assert np.array_equal(each.mask, shown)
        visible = np.isfinite(each.keypoints[:, 0])
        assert not visible[3]
        for (px, py), seen in zip(np.nan_to_num(each.keypoints[:3]), visible, strict=False):
            assert not seen or each.mask[int(py), int(px)]
        # A keypoint is visible unless a later piece covers it.
        where = (each.cutout.keypoints[:3] + each.corner).astype(int)
        covered = [any(o.mask[y, x] for o in tray.objects[number + 1 :]) for x, y in where]
        assert visible[:3].tolist() == [not each for each in covered]
    assert taken.max() == 1
    touching = [each.touching for each in tray.objects]
    assert any(touching) if overlap else not any(touching)


def test_a_tray_as_a_coco_file():
    tray = trays.make_tray(cutouts(2), Image.new("RGB", SIZE), np.random.default_rng(0), length=50)
    document = tray.coco("tray.png", ["a", "b", "c", "d"])
    assert document["images"] == [{"id": 1, "file_name": "tray.png", "width": 240, "height": 180}]
    for entry, each in zip(document["annotations"], tray.objects, strict=True):
        assert tuple(entry["bbox"]) == each.box and entry["area"] == each.mask.sum()
        points = np.reshape(entry["keypoints"], (-1, 3))
        assert np.allclose(points[:3, :2], each.keypoints[:3]) and points[:, 2].tolist() == [
            2,
            2,
            2,
            0,
        ]
        assert entry["num_keypoints"] == 3


def test_overlap_is_that_of_the_boxes_areas():
    assert trays.overlap_of((0, 0, 10, 10), (5, 0, 10, 10)) == pytest.approx(50 / 150)
    assert trays.overlap_of((0, 0, 10, 10), (20, 0, 10, 10)) == 0
