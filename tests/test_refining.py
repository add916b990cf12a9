"""Closer looks: where crops come from, what is computed once, and that matches stay near."""

import numpy as np
import pytest
from helpers.toys import random_image
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from homolog import HomologError, KeypointSchema
from homolog.image.poses import FLIP, IDENTITY
from homolog.matching.refinement import RefinementConfig

CONFIG = RefinementConfig()
BOX0, BOX1 = (30, 20, 50, 40), (10, 10, 60, 50)
BOXES = {"box0": BOX0, "box1": BOX1}


@pytest.fixture
def images() -> tuple[Image.Image, Image.Image]:
    return random_image(120, 80, 0), random_image(110, 90, 1)


def in_box(box, count=12, seed=0) -> np.ndarray:
    shares = np.random.default_rng(seed).uniform(0.1, 0.9, (count, 2))
    return shares * box[2:] + box[:2]


@pytest.mark.parametrize("arguments", [{}, BOXES, {**BOXES, "zoom": "auto"}])
@pytest.mark.parametrize("pose", [IDENTITY, FLIP])
def test_matches_move_but_never_far(colour_matcher, images, arguments, pose):
    points = in_box(BOX0)
    pairs = [
        colour_matcher.pair(*images, poses=[pose], refine=refine, **arguments)
        for refine in (False, True)
    ]
    first, refined = (pair.transfer_points(points) for pair in pairs)
    region = pairs[1].image1.region
    width, height = (region.width, region.height) if region else images[1].size
    moved = np.linalg.norm(refined - first, axis=1) / max(width, height)
    assert 0 < moved.max() <= CONFIG.radius + 1e-6
    assert (refined >= 0).all() and (refined <= images[1].size).all()
    again = pairs[1].transfer(points)
    np.testing.assert_allclose(again.keypoints1, refined, atol=1e-4)
    np.testing.assert_array_equal(again.matching_scores, pairs[0].transfer(points).matching_scores)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.tuples(st.integers(40, 200), st.integers(40, 200)),
    scale=st.floats(0.3, 0.9),
    radius=st.floats(0.02, 0.2),
    seed=st.integers(0, 9),
)
def test_bounds_hold_for_all_settings(colour_matcher, size, scale, radius, seed):
    source, target = random_image(100, 90, seed), random_image(*size, seed + 1)
    points = in_box((0, 0, 100, 90), seed=seed)
    config = RefinementConfig(scales=(scale,), radius=radius)
    first = colour_matcher.transfer(source, target, points).keypoints1
    refined = colour_matcher.transfer(source, target, points, refine=config).keypoints1
    assert (refined >= 0).all() and (refined <= size).all()
    # The object is at most the image; the lattice rounds the radius to whole steps.
    bound = (radius + config.spacing / 2) * max(size)
    assert np.linalg.norm(refined - first, axis=1).max() <= bound + 1e-6


def test_an_image_with_itself(colour_matcher, images):
    points = in_box(BOX0, 30)
    found = colour_matcher.transfer(images[0], images[0], points, box0=BOX0, box1=BOX0, refine=True)
    # A cell of the crop is 4 pixels wide here, the lattice's step half a pixel.
    assert np.linalg.norm(found.keypoints1 - points, axis=1).max() < 2


def test_what_is_finer_than_a_cell_is_found_better(colour_matcher):
    """An enlarged part of an image in the image: closer looks know more of where points are."""
    source = random_image(96, 96, 3)
    target = source.transform(
        (96, 96), Image.Transform.AFFINE, (1, 0, -3.3, 0, 1, 2.6), Image.Resampling.BICUBIC
    )
    points = in_box((10, 10, 70, 70), 40)
    truth = points + np.array([3.3, -2.6])
    box = (0, 0, 96, 96)
    errors = [
        np.median(
            np.linalg.norm(
                colour_matcher.transfer(
                    source, target, points, box0=box, box1=box, refine=refine
                ).keypoints1 - truth, axis=1,
            )
        )
        for refine in (False, True)
    ]  # fmt: skip
    assert errors[1] < 0.6 * errors[0]


def test_crops_are_shared_and_kept(colour_matcher, images):
    backbone = colour_matcher.backbone
    features = [
        colour_matcher.extract(image, box=box)
        for image, box in zip(images, (BOX0, BOX1), strict=True)
    ]
    assert backbone.seen == 2
    pair = colour_matcher.pair(*features, refine=True)
    pair.transfer_points(in_box(BOX0, 100))
    seen = backbone.seen
    # Four crops of each image at most, however many points there are.
    assert 2 < seen <= 2 + 8
    pair.transfer(in_box(BOX0, 100))
    colour_matcher.pair(*features, refine=True).transfer_points(in_box(BOX0, 100))
    assert backbone.seen == seen
    # The other way round, the same crops serve.
    colour_matcher.pair(*reversed(features), refine=True).transfer_points(in_box(BOX1, 100))
    assert backbone.seen <= 2 + 8
    whole = colour_matcher.transfer(*features, in_box(BOX0), refine=False)
    assert backbone.seen <= 2 + 8 and whole.region0 is not None


def test_crops_come_from_the_file(colour_matcher, tmp_path):
    """A large image is reduced for the first look, and its crops show what that has lost."""
    fine = Image.fromarray(np.random.default_rng(0).integers(0, 256, (600, 600, 3), dtype=np.uint8))
    fine.save(path := tmp_path / "fine.png")
    kept = colour_matcher.extract(path)
    pair = colour_matcher.pair(kept, path, refine=True)
    pair.transfer_points([[300, 300]])
    (crop,) = {crop.region: crop for crop in kept.crops.values() if crop.by_pose}.values()
    expected = fine.crop(crop.region.box).resize(crop.view.size, Image.Resampling.LANCZOS)
    difference = np.abs(np.asarray(crop.view, float) - np.asarray(expected, float)).mean()
    enlarged = kept.image.resize((600, 600)).crop(crop.region.box).resize(crop.view.size)
    lost = np.abs(np.asarray(enlarged, float) - np.asarray(expected, float)).mean()
    assert difference < lost / 2
    path.unlink()
    with pytest.raises(HomologError, match="image: "):
        colour_matcher.pair(
            colour_matcher.extract(fine), kept, refine=RefinementConfig((0.3,))
        ).transfer([[5, 5]])


def test_masks_hold(colour_matcher, images):
    mask = np.zeros((90, 110), bool)
    mask[20:60, 30:80] = True
    found = colour_matcher.transfer(*images, in_box(BOX0, 40), mask1=mask, refine=True)
    x, y = found.keypoints1.T
    # Between the centres of cells that lie on the mask, of 9 pixels in the first look.
    assert (x > 20).all() and (x < 90).all() and (y > 10).all() and (y < 70).all()


def test_named_points_in_a_flipped_source(colour_matcher):
    schema = KeypointSchema.from_names(["left ear", "right ear", "nose"])
    source = random_image(96, 96, 5)
    target = source.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    points = np.array([[30.0, 40.0], [60.0, 42.0], [45.0, 70.0]])
    found = colour_matcher.transfer(source, target, points, schema, poses=["flip"], refine=True)
    assert found.pose == "flip" and found.found_in_pose.all()
    truth = np.array([[96 - 60.0, 42.0], [96 - 30.0, 40.0], [96 - 45.0, 70.0]])
    assert np.linalg.norm(found.keypoints1 - truth, axis=1).max() < 2


def test_the_reverse_of_a_flipped_pair(colour_matcher):
    source = random_image(96, 96, 5)
    target = source.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    pair = colour_matcher.pair(source, target, poses=["flip"], refine=True).reversed()
    points = in_box((10, 10, 70, 70), 20)
    found = pair.transfer_points(points)
    assert np.linalg.norm(found - (96, 0) - points * (-1, 1), axis=1).max() < 2.5


def test_mutual_matches(colour_matcher, images):
    first, refined = (colour_matcher.match(*images, 20, refine=refine) for refine in (False, True))
    np.testing.assert_array_equal(first.keypoints0, refined.keypoints0)
    np.testing.assert_array_equal(first.matching_scores, refined.matching_scores)
    moved = np.linalg.norm(first.keypoints1 - refined.keypoints1, axis=1)
    assert 0 < moved.max() <= CONFIG.radius * 110 + 1e-6


@pytest.mark.parametrize("refine", ["yes", 1, None])
def test_other_values(colour_matcher, refine):
    with pytest.raises(HomologError, match="refine: expected True, False"):
        colour_matcher.refiner(refine)
