"""The mirrored view: both views at the same places, computed once, and no side preferred."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.toys import ColourBackbone, random_image
from PIL import Image, ImageOps

from homolog import Matcher
from homolog.example import pair
from homolog.features import FeatureCache
from homolog.image.geometry import Grid
from homolog.image.poses import FLIP, IDENTITY, PoseVariant

BOX0, BOX1 = (30, 20, 50, 40), (10, 10, 60, 50)


@pytest.fixture
def images() -> tuple[Image.Image, Image.Image]:
    return random_image(120, 80, 0), random_image(110, 90, 1)


class OffCentreBackbone(ColourBackbone):
    """Colours alone, which no mirror changes, on a grid that does not lie amid the canvas."""

    grid = Grid(11, 11, 8, 5.0)
    grids = (grid, grid)

    def __call__(self, canvases):
        colours, _ = super().__call__(F.pad(canvases[:, 1:89, 1:89], (0, 0, 0, 8, 0, 8)))
        return [colours[..., :11, :11]] * 2


@pytest.mark.parametrize("size", [(97, 60), (61, 96), (95, 95)])
@pytest.mark.parametrize("box", [None, (10, 3, 41, 12)])
def test_both_views_are_of_the_same_places(colour_matcher, size, box):
    """The letterbox leaves a pixel more on one side, and cells begin nearer to one border."""
    matcher = Matcher(OffCentreBackbone(), colour_matcher.config)
    x, y = np.meshgrid(np.linspace(0, 99, size[0]), np.linspace(0, 50, size[1]))
    image = Image.fromarray(np.stack([x, y, 99 - x], axis=-1).astype(np.uint8))
    found = matcher.extract(image, box=box, mirror=True).by_pose[IDENTITY]
    own, mirrored = found.descriptors_HWC.chunk(2, dim=-1)
    alike = F.cosine_similarity(own, mirrored, dim=-1)
    plain = matcher.extract(image, ["identity", "flip"], box=box)
    blind = F.cosine_similarity(
        plain.descriptors, plain.by_pose[FLIP].descriptors_HWC.flip(1), dim=-1
    )
    # Next to the border, what lies beyond it is mixed in.
    beyond = F.pad(1 - found.valid_HW.float()[None], (1, 1, 1, 1), value=1.0)
    inner = F.max_pool2d(beyond, 3, 1)[0] == 0
    assert alike[inner].min() > 0.9
    assert 1 - alike[inner].mean() < 0.25 * (1 - blind[inner].mean())


@pytest.mark.parametrize("pose", [IDENTITY, FLIP, PoseVariant(rotation=90)])
def test_similarity_is_the_mean_of_both_views(colour_matcher, pose):
    images = random_image(120, 80, 0), random_image(100, 75, 1)
    views = [
        colour_matcher.extract(image, [pose, pose.mirrored], mirror=mirror).by_pose
        for mirror in (False, True)
        for image in images
    ]
    plain, both = views[:2], views[2:]
    valid = [maps[pose].valid_HW for maps in both]
    own = [maps[pose].descriptors_HWC[v] for maps, v in zip(plain, valid, strict=True)]
    # The canvases of these images are symmetric, and so are the cells.
    turned = [maps[pose.mirrored].descriptors_HWC.flip(1) for maps in plain]
    seen = [maps[v] for maps, v in zip(turned, valid, strict=True)]
    found = [maps[pose].descriptors_HWC[v] for maps, v in zip(both, valid, strict=True)]
    expected = (own[0] @ own[1].T + seen[0] @ seen[1].T) / 2
    torch.testing.assert_close(found[0] @ found[1].T, expected, atol=1e-5, rtol=0)
    for maps, separate in zip(both, plain, strict=True):
        saliency = [separate[pose].saliency_HW, separate[pose.mirrored].saliency_HW.flip(1)]
        torch.testing.assert_close(maps[pose].saliency_HW, sum(saliency) / 2)


def test_each_view_goes_through_the_backbone_once(colour_matcher, images):
    backbone = colour_matcher.backbone
    features = [colour_matcher.extract(image) for image in images]
    assert backbone.seen == 2
    first = colour_matcher.transfer(*features, [[50, 40]], mirror=True)
    assert backbone.seen == 4
    again = colour_matcher.transfer(*features, [[50, 40]], mirror=True)
    np.testing.assert_array_equal(first.keypoints1, again.keypoints1)
    # The flipped pose has the same two views.
    prepared = colour_matcher.pair(*features, poses="flip", mirror=True)
    assert set(prepared.alignment.distances) == {IDENTITY, FLIP}
    assert backbone.seen == 4
    # And so it is for a new image.
    colour_matcher.pair(*images, poses="flip", mirror=True).transfer([[50, 40]])
    assert backbone.seen == 8
    colour_matcher.extract(images[0], "all", mirror=True)
    assert backbone.seen == 8 + 8  # of each turn, the mirror image, too


def test_features_of_both_views_stay_so(colour_matcher, images):
    first = colour_matcher.extract(images[0], mirror=True)
    assert first.mirror and first.by_pose[IDENTITY].descriptors_HWC.shape[-1] == 140
    expected = colour_matcher.transfer(*images, [[50, 40]], mirror=True)
    # The other image is looked at in both, too, or nothing could be compared.
    for other in (images[1], colour_matcher.extract(images[1])):
        for given in ({}, {"mirror": False}):
            found = colour_matcher.transfer(first, other, [[50, 40]], **given)
            np.testing.assert_array_equal(found.keypoints1, expected.keypoints1)
    assert colour_matcher.extract(first) is first
    plain = colour_matcher.extract(images[1])
    assert colour_matcher.load_image(plain, mirror=True).plain is plain and not plain.mirror


def test_regions_zoom_masks_and_several_images(colour_matcher, images):
    backbone = colour_matcher.backbone
    zoomed = [
        colour_matcher.extract(image, box=box, zoom="auto", mirror=True)
        for image, box in zip(images, (BOX0, BOX1), strict=True)
    ]
    assert backbone.seen == 8
    found = colour_matcher.transfer(*zoomed, [[50, 40], [5, 70]])  # one of them beyond the region
    assert backbone.seen == 8
    given = {"box0": BOX0, "box1": BOX1, "zoom": "auto", "mirror": True}
    features = [colour_matcher.extract(image) for image in images]
    for pair_of in (images, features, features):
        again = colour_matcher.transfer(*pair_of, [[50, 40], [5, 70]], **given)
        np.testing.assert_allclose(again.keypoints1, found.keypoints1, atol=1e-4)
    # Features that were zoomed in on with one view are given the other.
    once = [
        colour_matcher.extract(image, box=box, zoom="auto")
        for image, box in zip(images, (BOX0, BOX1), strict=True)
    ]
    again = colour_matcher.transfer(*once, [[50, 40], [5, 70]], mirror=True)
    np.testing.assert_allclose(again.keypoints1, found.keypoints1, atol=1e-4)
    # And only one of two zoomed in on, joined with itself.
    colour_matcher.transfer(zoomed[0], images[1], [[50, 40], [5, 70]])
    mask = np.zeros((80, 120), bool)
    mask[20:60, 30:80] = True
    masked = colour_matcher.extract(images[0], mask=mask, mirror=True)
    assert masked.mirror and masked.mask is not None and masked.region is not None
    several = colour_matcher.extract(list(images), box=[None, BOX1], mirror=True)
    assert [f.mirror for f in several] == [True, True] and several[1].region is not None
    regions = colour_matcher.extract(images[0], box=[BOX0, BOX1], zoom="auto", mirror=True)
    assert len({id(f.context) for f in regions}) == 1 and regions[0].context.mirror
    alone = colour_matcher.extract(images[0], box=BOX0, zoom="auto", mirror=True)
    torch.testing.assert_close(regions[0].descriptors, alone.descriptors)


def test_the_cache_keeps_both_views(colour_matcher, images, tmp_path):
    cached = colour_matcher.with_cache(FeatureCache(tmp_path))
    first = cached.extract(images[0], mirror=True)
    assert cached.backbone.seen == 2
    again = cached.extract(images[0], mirror=True)
    assert cached.backbone.seen == 2
    torch.testing.assert_close(first.descriptors, again.descriptors, atol=0, rtol=0)


def test_features_of_a_mirrored_image_are_the_mirror_image_of_the_features(matcher):
    """With the shipped model: what is found does not depend on which way round an image is."""
    with pair() as example, Image.open(example.image0) as opened:
        image = opened.convert("RGB").resize((320, 240))
    box = (60, 40, 160, 120)
    other = (320 - 60 - 160, 40, 160, 120)
    one = matcher.extract(image, box=box, zoom="auto", mirror=True)
    two = matcher.extract(ImageOps.mirror(image), box=other, zoom="auto", mirror=True)
    for features, turned in ((one, two), (one.context, two.context)):
        found, expected = features.by_pose[IDENTITY], turned.by_pose[IDENTITY]
        assert found.sides is not None and expected.sides is not None
        for name, sign in (("objectness", 1), ("side", -1), ("canonical_xyz", 1)):
            values, seen = (getattr(each.sides, name) for each in (found, expected))
            torch.testing.assert_close(values, sign * seen.flip(1), atol=1e-5, rtol=0)
        heading = expected.sides.mean_heading() * torch.tensor([-1.0, 1.0, 1.0])
        torch.testing.assert_close(found.sides.mean_heading(), heading, atol=1e-5, rtol=0)
        torch.testing.assert_close(found.saliency_HW, expected.saliency_HW.flip(1))
        # The two views have changed places, so similarities are compared.
        rows = [found.descriptors_HWC[::5, ::5], expected.descriptors_HWC.flip(1)[::5, ::5]]
        alike = [each.flatten(0, 1) @ each.flatten(0, 1).T for each in rows]
        torch.testing.assert_close(*alike, atol=1e-5, rtol=0)
        assert torch.allclose(found.descriptors_HWC.norm(dim=-1), torch.tensor(1.0), atol=1e-5)
    # One view alone prefers a side.
    plain, turned = one.context.plain.by_pose[IDENTITY], two.context.plain.by_pose[IDENTITY]
    assert (plain.sides.side + turned.sides.side.flip(1)).abs().max() > 0.1


def test_sides_are_the_mean_of_both_views(matcher):
    image = random_image(64, 64)
    features = matcher.extract(image, "flip")
    found = matcher.sides(features, mirror=True)
    views = [matcher.sides(features), *(features.by_pose[FLIP].sides,)]
    expected = (views[0].left - views[0].right - views[1].side.flip(1).numpy()) / 2
    np.testing.assert_allclose(found.left - found.right, expected, atol=1e-5)
    assert dataclasses.replace(found).heading != views[0].heading
