"""Masks in COCO files: against pycocotools' own text, a slow encoder, and matplotlib's polygons."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.path import Path as Outline

from homolog.data.formats.segmentation import decode_rle, fill_polygons, mask_reader

ROWS, COLUMNS = np.mgrid[:37, :53]


def run_lengths(mask: np.ndarray) -> list[int]:
    """Counted pixel by pixel, down the columns, beginning with the background."""
    runs, value = [0], False
    for pixel in mask.T.flatten().tolist():
        if pixel != value:
            runs.append(0)
            value = pixel
        runs[-1] += 1
    return runs


def compress(runs: list[int]) -> str:
    """As `rleToString` of COCO's maskApi.c does it, written from its description."""
    text = ""
    for index, run in enumerate(runs):
        rest = run - runs[index - 2] if index > 2 else run
        while True:
            low, rest = rest & 0x1F, rest >> 5
            done = rest == (-1 if low & 0x10 else 0)
            text += chr(48 + (low if done else low | 0x20))
            if done:
                break
    return text


@pytest.mark.parametrize(
    ("counts", "mask"),
    [  # written by pycocotools 2.0
        (
            "R=9k02M4N0O2N2O0000000000000001N2N102L3NYj0",
            (COLUMNS - 20) ** 2 + (ROWS - 15) ** 2 < 100,
        ),
        ("0Ym1", np.ones((37, 53), dtype=bool)),
        ("Ym1", np.zeros((37, 53), dtype=bool)),
        (
            "04Q1000000000000000oU12oiN000000000000000000000",
            (COLUMNS < 9) & (ROWS < 4) | (COLUMNS > 40) & (ROWS > 30),
        ),
    ],
)
def test_compressed_run_lengths_of_pycocotools(counts, mask):
    assert (decode_rle({"size": [37, 53], "counts": counts}) == mask).all()
    assert compress(run_lengths(mask)) == counts, "the encoder of these tests"


def test_compressed_run_lengths_without_a_size_are_of_the_image():
    mask = (COLUMNS - 20) ** 2 + (ROWS - 15) ** 2 < 100
    read = mask_reader(compress(run_lengths(mask)), (53, 37))
    assert np.array_equal(read(), mask)
    with pytest.raises(ValueError, match="segmentation: expected"):
        mask_reader(compress(run_lengths(mask)), (50, 37))


@given(arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 90))))
def test_run_lengths(mask):
    runs, size = run_lengths(mask), list(mask.shape)
    assert (decode_rle({"size": size, "counts": runs}) == mask).all()
    assert (decode_rle({"size": size, "counts": compress(runs)}) == mask).all()
    if mask.any():
        assert (mask_reader({"size": size, "counts": compress(runs)}, None)() == mask).all()


@pytest.mark.parametrize("counts", [[3, 4], [-1, 7], "3", "\x00\x7f", "語", []])
def test_run_lengths_that_do_not_add_up(counts):
    with pytest.raises(ValueError, match="segmentation: expected run lengths of 6 pixels"):
        mask_reader({"size": [2, 3], "counts": counts}, None)


def test_masks_that_are_too_large_or_empty():
    with pytest.raises(ValueError, match="expected at most 100,000,000 pixels, got 20000 x 10000"):
        mask_reader({"size": [10_000, 20_000], "counts": [10, 200_000_000 - 10]}, None)
    with pytest.raises(ValueError, match="expected at least one pixel of the object"):
        mask_reader({"size": [2, 3], "counts": [6]}, None)


@pytest.mark.parametrize("seed", range(20))
def test_polygons(seed):
    """Pixels whose centres are inside, one polygon or the other; some reach beyond the image."""
    rng = np.random.default_rng(seed)
    # Sorted by angle, corners make an outline that does not cross itself.
    polygons = []
    for _ in range(2):
        angles, radii = np.sort(rng.uniform(0, 2 * np.pi, 9)), rng.uniform(4, 30, 9)
        points = np.column_stack([np.cos(angles), np.sin(angles)]) * radii[:, None]
        polygons.append(points + rng.uniform(0, 50, 2))
    centres = np.column_stack([COLUMNS.ravel() + 0.5, ROWS.ravel() + 0.5])
    expected = np.zeros(37 * 53, dtype=bool)
    for polygon in polygons:
        expected |= Outline(polygon).contains_points(centres)
    assert (fill_polygons(polygons, (53, 37)) == expected.reshape(37, 53)).all()
    flat = [polygon.flatten().tolist() for polygon in polygons]
    assert (mask_reader(flat, (53, 37))() == expected.reshape(37, 53)).all()


def test_segmentations_that_are_none():
    assert mask_reader([], (5, 5)) is None and mask_reader(None, (5, 5)) is None
    assert mask_reader([[0, 0, 1, 0, 1, 1]], None) is None, "no size to draw it in"
    for wrong in ("words", [3, 4], {"size": [2, 3]}, {"counts": [6]}, [[1, 2, 3, 4]], [[1, "x"]]):
        with pytest.raises(ValueError, match=r"expected|could not convert"):
            mask_reader(wrong, (5, 5))
