"""The second look: what is joined, what is computed once, and what lies beyond the region."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.toys import random_image
from PIL import Image

from homolog import KeypointSchema
from homolog.example import pair
from homolog.image import reading
from homolog.image.poses import FLIP, IDENTITY
from homolog.zoom import CONTEXT_WEIGHT

BOX0, BOX1 = (30, 20, 50, 40), (10, 10, 60, 50)


@pytest.fixture
def images() -> tuple[Image.Image, Image.Image]:
    return random_image(120, 80, 0), random_image(110, 90, 1)


def inside(region, count=10) -> np.ndarray:
    shares = np.random.default_rng(0).uniform(0.1, 0.9, (count, 2))
    return shares * (region.width, region.height) + (region.x, region.y)


def at(descriptor_map, points: np.ndarray) -> torch.Tensor:
    """Descriptors at points by PyTorch's own interpolation."""
    cells = torch.from_numpy(descriptor_map.transform.to_cells(points)).float()
    height, width = descriptor_map.descriptors_HWC.shape[:2]
    grid = 2 * cells / torch.tensor([width - 1, height - 1]) - 1
    found = F.grid_sample(
        descriptor_map.descriptors_HWC.permute(2, 0, 1)[None],
        grid[None, None],
        align_corners=True,
        padding_mode="border",
    )
    return F.normalize(found[0, :, 0].T, dim=1)


@pytest.mark.parametrize("pose", [IDENTITY, FLIP])
def test_similarity_is_the_mean_of_both_scales(colour_matcher, images, pose):
    zoomed = [
        colour_matcher.extract(image, [pose], box=box, zoom="auto")
        for image, box in zip(images, (BOX0, BOX1), strict=True)
    ]
    regions = [
        colour_matcher.extract(image, [pose], box=box)
        for image, box in zip(images, (BOX0, BOX1), strict=True)
    ]
    wholes = [colour_matcher.extract(image, [pose]) for image in images]
    points = []
    for features, region in zip(zoomed, regions, strict=True):
        assert features.region == region.region
        transform = features.by_pose[pose].transform
        cells = transform.grid.cells[transform.valid_cells.ravel()]
        points.append(transform.to_points(cells)[::5])
    own, fine, coarse = (
        [at(f.by_pose[pose], p) for f, p in zip(each, points, strict=True)]
        for each in (zoomed, regions, wholes)
    )
    expected = (1 - CONTEXT_WEIGHT) * fine[0] @ fine[1].T + CONTEXT_WEIGHT * coarse[0] @ coarse[1].T
    torch.testing.assert_close(own[0] @ own[1].T, expected, atol=1e-4, rtol=0)


def test_points_beyond_the_region_are_matched_in_the_whole_images(colour_matcher, images):
    prepared = colour_matcher.pair(*images, box0=BOX0, box1=BOX1, zoom="auto")
    region = prepared.image0.region
    near, far = inside(region), np.array([[2.0, 70.0], [115.0, 5.0]])
    assert not region.contains(far).any()
    found = prepared.transfer(np.concatenate([far[:1], near, far[1:]]))
    alone, whole = prepared.transfer(near), colour_matcher.transfer(*images, far)
    np.testing.assert_allclose(found.keypoints1[1:-1], alone.keypoints1, atol=1e-4)
    np.testing.assert_allclose(found.keypoints1[[0, -1]], whole.keypoints1, atol=1e-4)
    np.testing.assert_allclose(found.matching_scores[[0, -1]], whole.matching_scores, atol=1e-5)
    np.testing.assert_allclose(
        prepared.transfer_points(np.concatenate([far, near])),
        np.concatenate([whole.keypoints1, alone.keypoints1]),
        atol=1e-4,
    )


def test_each_view_goes_through_the_backbone_once(colour_matcher, images):
    backbone = colour_matcher.backbone
    features = [colour_matcher.extract(image) for image in images]
    assert backbone.seen == 2
    boxes = {"box0": BOX0, "box1": BOX1, "zoom": "auto"}
    first = colour_matcher.transfer(*features, [[50, 40]], **boxes)
    assert backbone.seen == 4
    again = colour_matcher.transfer(*features, [[50, 40]], **boxes)
    assert backbone.seen == 4
    np.testing.assert_array_equal(first.keypoints1, again.keypoints1)
    zoomed = [
        colour_matcher.extract(image, box=box, zoom="auto")
        for image, box in zip(images, (BOX0, BOX1), strict=True)
    ]
    seen = backbone.seen
    # Features of a region are used as they were extracted, whatever is asked for later.
    for zoom in (None, "auto"):
        later = colour_matcher.transfer(*zoomed, [[50, 40]], zoom=zoom)
        np.testing.assert_array_equal(first.keypoints1, later.keypoints1)
    assert backbone.seen == seen


def test_boxes_of_one_image_share_its_first_look(colour_matcher, images):
    several = colour_matcher.extract(images[0], box=[BOX0, BOX1, (0, 0, 40, 40)], zoom="auto")
    assert colour_matcher.backbone.seen == 4
    assert len({id(features.context) for features in several}) == 1


def test_files_are_decoded_once(matcher, monkeypatch):
    opened = []
    open_image = reading.open_image
    monkeypatch.setattr(reading, "open_image", lambda *a: opened.append(a[0]) or open_image(*a))
    with pair() as example:
        files = example.image0, example.image1
        found = matcher.transfer(*files, [[200, 200]], zoom="auto")
        assert opened == list(files)
        assert found.region0 is not None and found.region1 is not None
        features = matcher.extract(files[0], zoom="auto")
        assert features.original == files[0]  # its pixels are not kept


def test_features_joined_with_nothing_match_joined_ones(colour_matcher, images):
    """Where only one image is zoomed in on, the other's one view is compared with both."""
    first = colour_matcher.extract(images[0], box=BOX0, zoom="auto")
    second = colour_matcher.extract(images[1])
    prepared = colour_matcher.pair(first, second)
    transform = first.by_pose[IDENTITY].transform
    centres = transform.grid.cells[transform.valid_cells.ravel()][::7]  # nothing between cells
    points = transform.to_points(centres)
    found = prepared.similarity(points)
    alone = colour_matcher.extract(images[0], box=BOX0)
    fine, coarse = (
        at(f.by_pose[IDENTITY], points) for f in (alone, colour_matcher.extract(images[0]))
    )
    expected = ((1 - CONTEXT_WEIGHT) * fine + CONTEXT_WEIGHT * coarse) @ (
        second.descriptors.flatten(0, 1).T
    )
    valid = second.by_pose[IDENTITY].valid_HW
    torch.testing.assert_close(
        found[:, valid], expected.unflatten(1, valid.shape)[:, valid], atol=1e-3, rtol=0
    )
    assert prepared.transfer(points).region1 is None


def test_named_points_in_a_flipped_region(matcher):
    schema = KeypointSchema.from_names(["left ear", "right ear", "nose"])
    points = [[87, 160], [109, 163], [41, 186]]
    with pair() as example:
        found = matcher.transfer(
            example.image0, example.image1, points, schema, poses=["flip"], zoom="auto"
        )
    assert found.pose == "flip" and found.found_in_pose.all()
