"""Augmentation: keypoints move with the image, and random views stay within their limits."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from homolog.image.geometry import CanvasTransform, Grid
from homolog.image.poses import IDENTITY
from homolog.image.regions import Region
from homolog.training import ViewsConfig
from homolog.training.augmentation import FLIPPED, UNCHANGED, RandomAffineView


@given(st.integers(0, 2**31), st.sampled_from([(96, 96), (60, 90), (120, 50)]))
def test_keypoints_move_with_the_image(seed, size):
    """A spot painted on a keypoint appears at the keypoint's cell."""
    rng = np.random.default_rng(seed)
    point = rng.uniform(10, np.array(size) - 10, (1, 2))
    y, x = np.mgrid[: size[1], : size[0]] + 0.5
    spot = np.exp(-((x - point[0, 0]) ** 2 + (y - point[0, 1]) ** 2) / 18)
    image = Image.fromarray((255 * spot).astype(np.uint8)).convert("RGB")
    grid = Grid.from_patches(128, 8)
    transform = CanvasTransform(*size, IDENTITY, 128, grid)
    colourless = ViewsConfig(colour=0.0)
    for augmentation in (UNCHANGED, FLIPPED, RandomAffineView.draw(colourless, rng)):
        cell = augmentation.to_cells(point, transform)[0]
        if not (np.abs(cell - 7.5) < 5).all():  # partly or wholly off the canvas
            continue
        light = np.asarray(augmentation.canvas(image, transform))[..., 0].astype(float)
        centres = np.arange(128) + 0.5
        centroid = np.array([[light.sum(0) @ centres, light.sum(1) @ centres]]) / light.sum()
        np.testing.assert_allclose(grid.to_cells(centroid)[0], cell, atol=0.35)


@given(st.integers(0, 2**31))
def test_a_region_is_augmented_as_its_crop(seed):
    rng = np.random.default_rng(seed)
    width, height = (int(side) for side in rng.integers(20, 90, 2))
    region = Region(int(rng.integers(0, 200)), int(rng.integers(0, 100)), width, height)
    grid = Grid.from_patches(128, 8)
    inside = CanvasTransform(300, 200, IDENTITY, 128, grid, region)
    alone = CanvasTransform(width, height, IDENTITY, 128, grid)
    crop = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
    points = rng.uniform(0, (width, height), (5, 2))
    for augmentation in (UNCHANGED, FLIPPED, RandomAffineView.draw(ViewsConfig(), rng)):
        cells = augmentation.to_cells(points + np.array(region.box[:2]), inside)
        np.testing.assert_allclose(cells, augmentation.to_cells(points, alone), atol=1e-9)
        canvases = (augmentation.canvas(crop, each) for each in (inside, alone))
        assert next(canvases).tobytes() == next(canvases).tobytes()
        valid = augmentation.valid_cells(inside)
        np.testing.assert_array_equal(valid, augmentation.valid_cells(alone))


@given(st.integers(0, 2**31), st.booleans(), st.sampled_from(["centred", "right-bottom"]))
def test_masks_move_with_the_image(seed, cut, padding):
    """Those of the whole image, on the canvas of the image or of a region of it."""
    rng = np.random.default_rng(seed)
    width, height = (int(side) for side in rng.integers(60, 120, 2))
    y, x = np.mgrid[:height, :width] + 0.5
    radius = rng.uniform(14, 20)
    mask = np.hypot(x - width / 2, 1.3 * (y - height / 2)) < radius
    region = Region(5, 6, width - 10, height - 12) if cut else None
    grid = Grid.from_patches(128, 8)
    transform = CanvasTransform(width, height, IDENTITY, 128, grid, region, padding)
    image = Image.fromarray(mask).convert("RGB")
    if region is not None:
        image = image.crop(region.box)
    colourless = ViewsConfig(colour=0.0)
    for augmentation in (UNCHANGED, FLIPPED, RandomAffineView.draw(colourless, rng)):
        found = augmentation.mask_pixels(mask, transform)
        drawn = np.asarray(augmentation.canvas(image, transform))[..., 0]
        # White is the object; black, or the mean colour, is not. Soft is its border alone.
        assert found.shape == (128, 128)
        assert (found & (drawn > 127)).sum() >= 0.9 * max(found.sum(), (drawn > 127).sum())


def test_random_views_stay_within_their_limits():
    rng = np.random.default_rng(0)
    config = ViewsConfig(rotation=30, scale=1.5, shift=0.1, colour=0.2)
    views = [RandomAffineView.draw(config, rng) for _ in range(300)]
    assert 100 < sum(view.mirrored for view in views) < 200
    assert 25 < max(abs(view.angle) for view in views) <= 30
    assert 1 / 1.5 <= min(view.scale for view in views) < max(view.scale for view in views) <= 1.5
    assert max(np.abs(view.shift).max() for view in views) <= 0.1
    assert max(np.abs(np.log(view.colour_jitter)).max() for view in views) <= 0.2
    assert not any(RandomAffineView.draw(ViewsConfig(flip=False), rng).mirrored for _ in range(20))


def test_beyond_the_canvas_its_border_is_repeated():
    transform = CanvasTransform(90, 60, IDENTITY, 96, Grid.from_patches(96, 8))
    white = Image.new("RGB", (90, 60), "white")
    rotated = RandomAffineView(False, 90.0, 1.0, (0.0, 0.0), (1, 1, 1), (1, 1, 1))
    canvas = np.asarray(rotated.canvas(white, transform))
    assert (canvas[:, 20:76] == 255).all() and (canvas[:, :14] == 0).all()
    valid = rotated.valid_cells(transform)
    assert valid[:, 3:9].all() and not valid[:, :1].any()
