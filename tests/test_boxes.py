"""Matching the regions around boxes: as if the images were cut out by hand, and read once."""

import numpy as np
import pytest
from helpers.toys import ColourBackbone, random_image
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from homolog import HomologError, KeypointSchema
from homolog.example import pair
from homolog.features import FeatureCache
from homolog.image import reading
from homolog.image.poses import FLIP

per_example = settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
BOX0, BOX1 = (40, 80, 500, 330), (150, 20, 330, 440)  # the animals of the bundled example


def cut(image, region) -> Image.Image:
    opened = image if isinstance(image, Image.Image) else Image.open(image).convert("RGB")
    return opened.crop(region.box)


def points_in(region, count=8, seed=0) -> np.ndarray:
    shares = np.random.default_rng(seed).uniform(0.05, 0.95, (count, 2))
    return shares * (region.width, region.height) + (region.x, region.y)


@pytest.mark.parametrize("poses", ["none", "flip"])
def test_a_box_gives_what_the_images_cut_out_by_hand_give(matcher, poses):
    with pair() as example:
        images = example.image0, example.image1
        prepared = matcher.pair(*images, box0=BOX0, box1=BOX1, poses=poses)
        regions = prepared.image0.region, prepared.image1.region
        by_hand = matcher.pair(*map(cut, images, regions), poses=poses)
    points = points_in(regions[0])
    origin0, origin1 = (np.array([region.x, region.y]) for region in regions)
    found, expected = prepared.transfer(points), by_hand.transfer(points - origin0)
    np.testing.assert_allclose(found.keypoints1, expected.keypoints1 + origin1, atol=1e-3)
    np.testing.assert_allclose(found.matching_scores, expected.matching_scores, atol=1e-5)
    assert (found.pose, found.region0, found.region1) == (expected.pose, *regions)
    assert found.size0 == (640, 480)
    mutual, expected = prepared.match(50), by_hand.match(50)
    np.testing.assert_allclose(mutual.keypoints0, expected.keypoints0 + origin0, atol=1e-3)
    np.testing.assert_allclose(mutual.keypoints1, expected.keypoints1 + origin1, atol=1e-3)
    np.testing.assert_allclose(
        prepared.flow().forward.at(points),
        by_hand.flow().forward.at(points - origin0) + origin1,
        atol=1e-3,
    )
    np.testing.assert_allclose(
        prepared.heatmap(points).similarity, by_hand.heatmap(points - origin0).similarity, atol=1e-5
    )
    assert prepared.distance() == pytest.approx(by_hand.distance(), abs=1e-6)


def test_sides_of_a_box_are_those_of_the_image_cut_out_by_hand(matcher):
    with pair() as example:
        found = matcher.sides(example.image0, box=BOX0)
        region = found.transform.region
        by_hand = matcher.sides(cut(example.image0, region))
    points = points_in(region)
    np.testing.assert_allclose(
        found.at(points), by_hand.at(points - (region.x, region.y)), atol=1e-5
    )
    assert found.dense()[0, 0, 2] == 0  # beyond the region nothing is known


@per_example
@given(seed=st.integers(0, 999), turned=st.booleans())
def test_boxes_refer_to_the_upright_image(colour_matcher, tmp_path, seed, turned):
    upright = random_image(120, 80, seed)
    path = tmp_path / "image.png"
    exif = Image.Exif()
    exif[0x0112] = 6 if turned else 1
    stored = upright.transpose(Image.Transpose.ROTATE_90) if turned else upright
    stored.save(path, exif=exif)
    from_file = colour_matcher.extract(path, box=(20, 10, 60, 50))
    from_memory = colour_matcher.extract(upright, box=(20, 10, 60, 50))
    assert from_file.region == from_memory.region
    assert from_file.size == (120, 80)
    assert (from_file.descriptors == from_memory.descriptors).all()


def test_several_boxes_of_an_image_are_read_once_and_share_a_pass(
    colour_matcher, tmp_path, monkeypatch
):
    path = tmp_path / "image.png"
    image = random_image(200, 160)
    image.save(path)
    boxes = np.array([[10, 10, 60, 40], [100, 20, 50, 90], [30, 100, 40, 40]])
    opened, passes = [], []
    open_image, call = reading.open_image, ColourBackbone.__call__
    monkeypatch.setattr(reading, "open_image", lambda *a: opened.append(a) or open_image(*a))
    monkeypatch.setattr(
        ColourBackbone, "__call__", lambda self, c: passes.append(len(c)) or call(self, c)
    )
    several = colour_matcher.extract(path, box=boxes)
    assert len(opened) == 1 and passes == [3]
    for features, box in zip(several, boxes, strict=True):
        (alone,) = colour_matcher.extract([path], box=[box])
        assert features.region == alone.region
        assert (features.descriptors == alone.descriptors).all()
    # Poses that are added later come from the same region.
    flipped = colour_matcher.descriptor_map(several[0], FLIP)
    by_hand = colour_matcher.descriptor_map(cut(image, several[0].region), FLIP)
    assert (flipped.descriptors_HWC == by_hand.descriptors_HWC).all()


def test_boxes_for_several_images(colour_matcher):
    images = [random_image(120, 80, seed) for seed in range(3)]
    found = colour_matcher.extract(images, box=[(10, 10, 50, 50), None, (60, 20, 40, 40)])
    assert [f.region is None for f in found] == [False, True, False]
    assert (found[1].descriptors == colour_matcher.extract(images[1]).descriptors).all()
    with pytest.raises(HomologError, match="box: expected one or None for each of 3 images, got 2"):
        colour_matcher.extract(images, box=[None, None])
    with pytest.raises(HomologError, match=r"box 2: expected .* empty or flipped"):
        colour_matcher.extract(images, box=[None, None, (0, 0, 0, 5)])


@pytest.mark.parametrize("argument", ["box0", "box1"])
def test_messages_name_the_box(colour_matcher, argument):
    images = random_image(120, 80, 0), random_image(120, 80, 1)
    with pytest.raises(HomologError, match=f"^{argument}: expected .* outside the image of 120 x"):
        colour_matcher.transfer(*images, [[50, 50]], **{argument: (500, 10, 20, 20)})
    several = [(0, 0, 50, 50), (0, 0, 50, 50), (900, 0, 5, 5)]
    with pytest.raises(HomologError, match=r"^box\[2\]: expected .* outside the image"):
        colour_matcher.extract(images[0], box=several)


def test_points_beyond_the_box_are_refused(colour_matcher):
    images = random_image(120, 80, 0), random_image(120, 80, 1)
    with pytest.raises(HomologError, match=r"region \[8, 8, 44, 44\] .* \(100, 50\) at index 1"):
        colour_matcher.transfer(*images, [[20, 20], [100, 50]], box0=(10, 10, 40, 40))


def test_a_mask_gives_the_region_and_says_where_matches_lie(colour_matcher):
    image = random_image(120, 80)
    mask = np.zeros((80, 120), bool)
    mask[20:50, 30:70] = True
    features = colour_matcher.extract(image, mask=mask)
    assert features.region == colour_matcher.extract(image, box=(30, 20, 40, 30)).region
    found = colour_matcher.match(features, features)
    columns, rows = np.floor(found.keypoints0).astype(int).T
    assert len(found) and mask[rows, columns].all()
    # As before, a mask alone leaves the whole image on the canvas of a pair.
    prepared = colour_matcher.pair(image, image, mask0=mask)
    assert prepared.image0.region is None
    with pytest.raises(HomologError, match="box: expected a box with something of the mask"):
        colour_matcher.extract(image, box=(90, 60, 20, 15), mask=mask)


def test_another_box_of_features_is_cut_out_of_the_original(colour_matcher, tmp_path):
    path = tmp_path / "image.png"
    random_image(400, 300).save(path)
    first = colour_matcher.extract(path, box=(10, 10, 100, 100))
    again = colour_matcher.extract(first, box=(200, 100, 90, 80))
    fresh = colour_matcher.extract(path, box=(200, 100, 90, 80))
    assert again.region == fresh.region
    assert (again.descriptors == fresh.descriptors).all()
    random_image(300, 300).save(path)
    with pytest.raises(HomologError, match="as it was when its features were extracted"):
        colour_matcher.extract(first, box=(20, 20, 50, 50))


def test_the_cache_knows_regions_apart(colour_matcher, tmp_path):
    cached = colour_matcher.with_cache(FeatureCache(tmp_path))
    image, boxes = random_image(120, 80), [(10, 10, 50, 50), (60, 20, 40, 40)]
    first = cached.extract(image, box=boxes)
    seen = cached.backbone.seen
    assert seen == 2
    second = cached.extract(image, box=boxes)
    assert cached.backbone.seen == seen
    for a, b in zip(first, second, strict=True):
        np.testing.assert_allclose(a.descriptors, b.descriptors, atol=2e-2)


def test_named_points_in_a_flipped_region(matcher):
    """A flipped region looks a left paw up where the right paw was, as a flipped image does."""
    schema = KeypointSchema.from_names(["left", "right", "middle"])
    with pair() as example:
        images = example.image0, example.image1
        prepared = matcher.pair(*images, box0=BOX0, box1=BOX1, poses=["flip"], schema=schema)
        regions = prepared.image0.region, prepared.image1.region
        by_hand = matcher.pair(*map(cut, images, regions), poses=["flip"], schema=schema)
    points = points_in(regions[0], 3)
    origin0, origin1 = (np.array([region.x, region.y]) for region in regions)
    found = prepared.transfer(points)
    expected = by_hand.transfer(points - origin0)
    assert found.pose == "flip"
    np.testing.assert_allclose(found.keypoints1, expected.keypoints1 + origin1, atol=1e-3)


def test_lists_of_boxes_of_any_form_are_understood_or_refused(colour_matcher):
    image = random_image(120, 80)
    assert colour_matcher.extract(image, box=[]) == []
    assert colour_matcher.extract(image, box=np.zeros((0, 4))) == []
    for boxes in ([(10, 10, 30, 30), None], [[1, 2, 3, 4], [1, 2, 3]], np.zeros((1, 2, 4))):
        with pytest.raises(HomologError, match=r"^box\[[01]\]: expected .*, got [^\n]*$"):
            colour_matcher.extract(image, box=boxes)
