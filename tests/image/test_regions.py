"""Boxes and regions against closed forms, and what cannot be a box."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from homolog import HomologError, PoseVariant
from homolog.image.geometry import CanvasTransform, Grid
from homolog.image.regions import Region, as_box, as_boxes, box_of_mask

sizes = st.tuples(st.integers(3, 3000), st.integers(3, 3000))
shares = st.floats(0, 1)
poses = st.builds(
    PoseVariant, flip=st.booleans(), rotation=st.sampled_from([0.0, 90.0, 180.0, -90.0, 30.0])
)


@st.composite
def boxes(draw, size):
    x, y = (draw(st.floats(0, length - 1.5)) for length in size)
    width, height = (
        draw(st.floats(1.25, length - start)) for start, length in zip((x, y), size, strict=True)
    )
    return x, y, width, height


@given(data=st.data(), size=sizes, margin=st.floats(0, 0.5))
def test_a_region_is_its_box_and_the_margin_as_far_as_the_image_goes(data, size, margin):
    x, y, width, height = box = data.draw(boxes(size))
    region = Region.around(box, size, margin=margin)
    pad = margin * max(width, height)
    assert region.x == max(0, math.floor(x - pad))
    assert region.y == max(0, math.floor(y - pad))
    assert region.x + region.width == min(size[0], math.ceil(x + width + pad))
    assert region.y + region.height == min(size[1], math.ceil(y + height + pad))


@given(data=st.data(), size=sizes, smallest=st.integers(1, 500))
def test_a_small_box_gets_more_of_the_image_around_it(data, size, smallest):
    box = data.draw(boxes(size))
    region = Region.around(box, size, smallest)
    assert region.x >= 0 and region.x + region.width <= size[0]
    assert region.y >= 0 and region.y + region.height <= size[1]
    assert max(region.width, region.height) >= min(smallest, max(size))
    corners = np.array([box[:2], np.add(box[:2], box[2:])])
    assert region.contains(corners).all()


@pytest.mark.parametrize(
    "box, reason",
    [
        ((1, 2, 3), "got 3 numbers"),
        ((0, 0, math.nan, 5), "not finite"),
        ((0, 0, math.inf, 5), "not finite"),
        ((5, 5, 0, 5), "empty or flipped"),
        ((50, 50, -20, 10), "empty or flipped"),
        ((0.1, 0.2, 0.5, 0.5), "multiply shares by the image's 200 x 100 pixels"),
        ((200, 20, 30, 30), "outside the image of 200 x 100 pixels"),
        ((-40, 20, 30, 30), "outside the image"),
        ((120, 40, 180, 90), r"reaches beyond the image .* \(120, 40, 60, 50\)\?"),
        ((150, 40, 100, 20), "reaches beyond the image of 200 x 100 pixels$"),
        ("3,4,5", "got '3,4,5'"),
        (7, "got 7"),
        ((1, 2, "wide", 4), "expected"),
    ],
)
def test_what_cannot_be_a_box_is_refused_with_a_reason(box, reason):
    with pytest.raises(HomologError, match=r"^box1: expected \(x, y, width, height\)") as error:
        as_box(box, (200, 100), "box1")
    error.match(reason)


def test_boxes_may_be_arrays_and_reach_a_little_beyond_the_image():
    assert as_box(np.array([-1.5, 10, 60, 30]), (200, 100)) == (0, 10, 58.5, 30)
    assert as_box(torch.tensor([150, 80, 54, 22]), (200, 100)) == (150, 80, 50, 20)
    # Shares of an image and pixels of a tiny one look alike; then pixels are meant.
    assert as_box((0, 0, 1, 1), (2, 2)) == (0, 0, 1, 1)


def test_messages_give_the_index_of_a_box():
    with pytest.raises(HomologError, match=r"boxes\[1\]: expected .* empty"):
        as_boxes([(1, 1, 5, 5), (2, 2, 0, 5)], (20, 20))
    with pytest.raises(HomologError, match="at least one box"):
        as_boxes([], (20, 20))


def test_the_box_of_a_mask_covers_its_pixels():
    mask = np.zeros((40, 60), bool)
    mask[5, 7] = mask[30, 50] = True
    assert box_of_mask(mask) == (7, 5, 44, 26)


def test_cells_at_the_border_do_not_depend_on_where_a_region_begins():
    grid, region = Grid.from_patches(96, 8), Region(0, 2, 8, 3)
    whole = CanvasTransform(8, 5, PoseVariant(), 96, grid, region)
    cut = CanvasTransform(8, 3, PoseVariant(), 96, grid)
    assert (whole.valid_cells == cut.valid_cells).all()


@given(data=st.data(), size=sizes, pose=poses, seed=st.integers(0, 99))
def test_a_region_is_put_on_the_canvas_as_the_image_cut_out_by_hand(data, size, pose, seed):
    region = Region.around(data.draw(boxes(size)), size, margin=0)
    assume(min(region.width, region.height) > 1)
    grid = Grid.from_patches(96, 8)
    whole = CanvasTransform(*size, pose, 96, grid, region)
    cut = CanvasTransform(region.width, region.height, pose, 96, grid)
    points = np.random.default_rng(seed).uniform(0, 1, (5, 2)) * size
    origin = region.x, region.y
    cells = whole.to_cells(points)
    np.testing.assert_allclose(cells, cut.to_cells(points - origin), rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(whole.to_points(cells), points, rtol=1e-9, atol=1e-6)
    shares = whole.to_shares(points)
    np.testing.assert_allclose(shares, cut.to_shares(points - origin), rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(whole.from_shares(shares), whole.clip(points), rtol=1e-9, atol=1e-6)
    assert region.contains(whole.to_points(grid.cells * 3 - 10, clip=True)).all()
    assert (whole.valid_cells == cut.valid_cells).all()
    assert whole.letterbox == cut.letterbox and whole.extent == cut.size


def test_what_lies_beyond_a_region_has_no_value_of_its_own():
    transform = CanvasTransform(
        80, 60, PoseVariant(), 96, Grid.from_patches(96, 8), Region(20, 10, 30, 40)
    )
    drawn = transform.resample(np.ones((12, 12, 2)), (80, 60), outside=0.0)
    expected = np.zeros((60, 80))
    expected[10:50, 20:50] = 1
    np.testing.assert_array_equal(drawn[..., 0], expected)
    np.testing.assert_array_equal(transform.resample(np.ones((12, 12, 1)), (80, 60)), 1)


def test_a_mask_of_the_image_is_cut_with_the_region():
    region = Region(20, 10, 32, 32)
    mask = np.zeros((60, 80), bool)
    mask[10:26, 20:36] = True
    mask[50:, 60:] = True  # beyond the region
    transform = CanvasTransform(80, 60, PoseVariant(), 96, Grid.from_patches(96, 8), region)
    expected = np.zeros((12, 12), bool)
    expected[:6, :6] = True
    np.testing.assert_array_equal(transform.mask_cells(mask), expected)
