"""Letterbox, poses, grids and views against the published figures, closed forms and images."""

import numpy as np
import pytest
import torch
from helpers import parity
from helpers.toys import random_image
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from homolog import HomologError, PoseVariant
from homolog.image.geometry import CanvasTransform, Grid, Letterbox, interpolate
from homolog.image.poses import FLIP, IDENTITY, as_poses

LETTERBOX = parity.facts("letterbox")

lengths = st.integers(1, 5000)
rotations = st.floats(-360, 360, allow_nan=False)
poses = st.builds(PoseVariant, flip=st.booleans(), rotation=rotations)
quarter_turns = st.builds(
    PoseVariant, flip=st.booleans(), rotation=st.sampled_from([0, 90, 180, -90])
)


def corners_and_inside(width: int, height: int) -> np.ndarray:
    shares = np.array([[0, 0], [1, 0], [0, 1], [1, 1], [0.5, 0.5], [0.3, 0.9]])
    return shares * (width, height)


@pytest.mark.parametrize("case", LETTERBOX, ids=lambda c: f"{c['width']}x{c['height']}")
def test_letterbox_agrees_with_the_published_one(case):
    box = Letterbox(case["width"], case["height"], 840)
    assert box.scale == pytest.approx(case["scale"])
    assert box.offset == tuple(case["offset"])
    for axis, name in enumerate(("content_cols", "content_rows")):
        first, last = case[name]
        assert (first, last - first + 1) == (box.offset[axis], box.scaled_size[axis])
    np.testing.assert_allclose(
        box.to_canvas(np.array(case["keypoints"])), case["mapped"], rtol=0, atol=1e-3
    )


@given(width=lengths, height=lengths, side=st.sampled_from([96, 641, 840]))
def test_points_survive_the_letterbox(width, height, side):
    box = Letterbox(width, height, side)
    points = corners_and_inside(width, height)
    on_canvas = box.to_canvas(points)
    # A side shorter than a canvas pixel is drawn as one: half a pixel at most lies beyond.
    assert (on_canvas >= -0.5).all() and (on_canvas <= side + 0.5).all()
    np.testing.assert_allclose(box.to_image(on_canvas), points, rtol=0, atol=1e-3)


@pytest.mark.parametrize("size", [(1, 1), (5000, 20), (20, 5000), (1, 5000)])
def test_points_survive_the_letterbox_of_extreme_shapes(size):
    points = corners_and_inside(*size)
    view = CanvasTransform(*size, IDENTITY, 641, Grid(41, 41, 16, 0.5))
    np.testing.assert_allclose(view.to_points(view.to_cells(points)), points, rtol=0, atol=1e-3)


def test_letterbox_places_the_image_in_the_middle_on_black():
    canvas = Letterbox(20, 10, 40).apply(Image.new("RGB", (20, 10), "white"))
    pixels = np.asarray(canvas)[..., 0]
    assert (pixels[10:30] == 255).all()
    assert (pixels[:10] == 0).all() and (pixels[30:] == 0).all()


@given(pose=poses, width=lengths, height=lengths)
def test_a_pose_and_its_inverse_cancel(pose, width, height):
    points, size = corners_and_inside(width, height), (width, height)
    posed = pose.points(points, size)
    limit = np.array(pose.size(size))
    assert (posed >= -1e-6).all() and (posed <= limit + 1e-6).all(), "nothing is cut off"
    np.testing.assert_allclose(pose.inverse_points(posed, size), points, rtol=0, atol=1e-6)


@given(rotation=st.sampled_from([90, 180, -90, 270]), width=lengths, height=lengths)
def test_a_rotation_and_the_rotation_back_cancel(rotation, width, height):
    there, back = PoseVariant(rotation=rotation), PoseVariant(rotation=-rotation)
    size, points = (width, height), corners_and_inside(width, height)
    turned = there.points(points, size)
    assert back.size(there.size(size)) == size
    np.testing.assert_allclose(back.points(turned, there.size(size)), points, rtol=0, atol=1e-6)


@given(pose=quarter_turns)
def test_pixels_and_points_go_the_same_way(pose):
    width, height, x, y = 7, 5, 5, 1
    image = Image.new("L", (width, height))
    image.putpixel((x, y), 255)
    posed = np.asarray(pose.apply(image))
    assert posed.shape[::-1] == pose.size((width, height))
    row, column = (int(v[0]) for v in np.nonzero(posed))
    place = pose.points(np.array([[x + 0.5, y + 0.5]]), (width, height))[0]
    np.testing.assert_allclose(place, (column + 0.5, row + 0.5))


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("angle", [17.0, -33.5, 45.0, 120.0])
def test_pixels_and_points_go_the_same_way_at_any_angle(angle, flip):
    pose, size = PoseVariant(flip, angle), (200, 120)
    image = Image.new("L", size)
    image.paste(255, (140, 30, 150, 40))
    posed = np.asarray(pose.apply(image), dtype=float)
    y, x = np.mgrid[: posed.shape[0], : posed.shape[1]] + 0.5
    middle = np.array([(x * posed).sum(), (y * posed).sum()]) / posed.sum()
    np.testing.assert_allclose(middle, pose.points(np.array([[145.0, 35.0]]), size)[0], atol=0.2)


def test_rotation_is_counter_clockwise():
    right_of_the_middle = np.array([[10.0, 5.0]])
    assert PoseVariant(rotation=90).points(right_of_the_middle, (10, 10)).tolist() == [[5.0, 0.0]]


@given(pose=poses)
def test_pose_names_name_the_pose(pose):
    again = PoseVariant.parse(pose.name)
    assert again.flip == pose.flip
    assert again.rotation == pytest.approx(pose.rotation, rel=1e-5)


@pytest.mark.parametrize("name", ["", "flop", "rotate", "flip+", "rotateNaN", "rotate90+flip"])
def test_unknown_poses_are_refused(name):
    with pytest.raises(HomologError, match="pose"):
        PoseVariant.parse(name)


def test_pose_sets():
    assert as_poses("none") == (IDENTITY,)
    assert as_poses("flip") == (IDENTITY, FLIP)
    assert [p.rotation for p in as_poses("rotations")] == [0, 90, 180, -90]
    assert set(as_poses("all")) == set(as_poses("flip")) | set(as_poses("rotations"))
    assert as_poses(["flip", FLIP]) == (FLIP,)
    for wrong in ("sideways", []):
        with pytest.raises(HomologError, match="poses"):
            as_poses(wrong)


def test_resampling_between_patch_grids_is_bilinear_interpolation():
    source, grid = Grid.from_patches(840, 56), Grid.from_patches(840, 14)
    rows, columns = grid.resampling(source, kernel=1.0)
    values = torch.randn(15, 15)
    expected = torch.nn.functional.interpolate(
        values[None, None], size=(60, 60), mode="bilinear", align_corners=False
    )[0, 0]
    torch.testing.assert_close(rows @ values @ columns.T, expected)


def test_resampling_follows_the_places_of_cells():
    """A map that is linear in place stays so, whatever the grids' origins."""
    source, grid = Grid(21, 21, 32, 0.5), Grid(41, 41, 16, 0.5)
    rows, _ = grid.resampling(source, kernel=1.0)
    places = source.origin + torch.arange(21) * source.stride
    torch.testing.assert_close(rows @ places, grid.origin + torch.arange(41.0) * grid.stride)


def test_wide_kernels_smooth():
    grid = Grid(5, 5, 16, 8)
    rows, _ = grid.resampling(grid, kernel=2.0)
    torch.testing.assert_close(rows[2], torch.tensor([0, 0.25, 0.5, 0.25, 0]))
    torch.testing.assert_close(rows.sum(1), torch.ones(5))


def test_content_is_the_cells_on_the_image():
    grid = Grid.from_patches(96, 8)
    assert CanvasTransform(30, 30, IDENTITY, 96, grid).valid_cells.all()
    wide = CanvasTransform(96, 48, IDENTITY, 96, grid).valid_cells
    assert wide[3:9].all() and wide.sum() == 6 * 12
    turned = CanvasTransform(96, 48, PoseVariant(rotation=90), 96, grid).valid_cells
    assert (turned == wide.T).all()
    leaning = CanvasTransform(96, 96, PoseVariant(rotation=45), 96, grid).valid_cells
    assert leaning[6, 6] and not leaning[0, 0], "corners beside a turned image are black"


@given(width=lengths, height=lengths, pose=poses)
def test_there_is_always_content(width, height, pose):
    assert CanvasTransform(width, height, pose, 641, Grid(41, 41, 16, 0.5)).valid_cells.any()


@given(pose=quarter_turns, seed=st.integers(0, 100))
def test_masks_go_where_the_image_goes(pose, seed):
    size, grid = (96, 64), Grid.from_patches(96, 8)
    mask = np.kron(np.random.default_rng(seed).random((8, 12)) < 0.3, np.ones((8, 8), bool))
    mask[0, 0] = True
    view = CanvasTransform(*size, pose, 96, grid)
    posed = np.asarray(view.apply(Image.fromarray(mask.astype(np.uint8) * 255)))
    np.testing.assert_array_equal(view.mask_cells(mask), posed[4::8, 4::8] > 0)


def test_a_mask_smaller_than_a_cell_is_not_lost():
    mask = np.zeros((400, 400), bool)
    mask[201, 101] = True
    cells = CanvasTransform(400, 400, IDENTITY, 96, Grid.from_patches(96, 8)).mask_cells(mask)
    assert cells.sum() == 1 and cells[6, 3]


def test_interpolation_between_cells():
    values = np.array([[[0.0], [1.0]], [[2.0], [3.0]]])
    at = np.array([[0, 0], [1, 1], [0.5, 0.5], [0.25, 0], [-3, 9]])
    np.testing.assert_allclose(interpolate(values, at)[:, 0], [0, 3, 1.5, 0.25, 2])


def test_sampling_a_view_gives_the_values_under_the_pixels():
    image = random_image(96, 64)
    view = CanvasTransform(96, 64, IDENTITY, 96, Grid.from_patches(96, 1))
    values = np.asarray(view.apply(image), dtype=float)
    np.testing.assert_allclose(view.resample(values, (96, 64)), np.asarray(image))
