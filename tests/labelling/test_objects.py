"""Proposals of objects: tiles, taking joined objects apart, suppression, and whole images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trays
from helpers.toys import random_image
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from scipy import ndimage

from homolog import HomologError
from homolog.data.boxes import BoxedObject, BoxSet
from homolog.example import pair
from homolog.labelling import objects
from homolog.labelling.neighbours import overlap
from homolog.labelling.objects import ObjectFinder, ObjectProposal, find_objects
from homolog.synth import render_set

SIZES = st.tuples(st.integers(2, 700), st.integers(2, 700))
WHOLE = st.integers(0, 30)


@given(SIZES, st.integers(1, 2))
def test_tiles_cover_the_image(size, level):
    covered = np.zeros(size[::-1], int)
    tiles = objects.make_tiles(size, level)
    for tile in tiles:
        left, top, right, bottom = tile.box
        assert left >= 0 and top >= 0 and right <= size[0] and bottom <= size[1]
        covered[top:bottom, left:right] += 1
        assert max(tile.width, tile.height) == max(1, max(size) // 2**level)
    assert covered.min() >= 1
    # What is no longer than half a tile lies in one of them as a whole.
    half = tiles[0].width // 2 - 1
    for x in range(0, size[0] - half, 7):
        if half > 0:
            assert any(tile.x <= x and x + half <= tile.x + tile.width for tile in tiles)


def blob(shape: tuple[int, int], centre: tuple[float, float], spread: float) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]]
    return 6 * np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * spread**2)) - 2


def test_components_are_those_of_scipy():
    mask = np.random.default_rng(0).random((23, 31)) < 0.35
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    found = objects.components(mask)
    assert len(found) == count
    for each in found:
        (number,) = np.unique(labels[each])
        assert np.array_equal(each, labels == number)


def test_joined_objects_are_taken_apart():
    left, right = blob((30, 40), (12, 15), 4), blob((30, 40), (25, 15), 4)
    joined = np.maximum(left, right)
    assert ndimage.label(joined > -1)[1] == 1
    parts = objects.separate(joined)
    assert len(parts) == 2
    assert np.array_equal(parts[0] | parts[1], joined > -1) and not (parts[0] & parts[1]).any()
    for part, centre in zip(
        sorted(parts, key=lambda p: np.nonzero(p)[1].mean()), (12, 25), strict=True
    ):
        assert abs(np.nonzero(part)[1].mean() - centre) < 1
    assert [part.sum() for part in objects.separate(left)] == [(left > -1).sum()]


def test_weak_and_tiny_components_are_no_objects():
    logits = np.full((20, 20), -3.0)
    logits[2:6, 2:6] = -0.8  # above the lowest threshold, but without a peak
    logits[12, 12] = 2.0
    assert objects.separate(logits, few=2) == []
    assert len(objects.separate(logits, few=1)) == 1


@given(st.tuples(WHOLE, WHOLE, WHOLE, WHOLE), st.tuples(WHOLE, WHOLE, WHOLE, WHOLE))
def test_overlap_is_that_of_pixels(first, second):
    boxes = [(x, y, width + 1, height + 1) for x, y, width, height in (first, second)]
    masks = np.zeros((2, 70, 70), bool)
    for mask, (x, y, width, height) in zip(masks, boxes, strict=True):
        mask[y : y + height, x : x + width] = True
    both = (masks[0] & masks[1]).sum()
    assert overlap(*boxes) == pytest.approx(both / masks.any(0).sum())
    assert objects.share_within(*boxes) == pytest.approx(both / masks[0].sum())
    assert objects.share_within((*boxes[0][:2], 0, 0), boxes[1]) == 0


def test_of_proposals_of_one_object_the_best_is_kept():
    whole = ObjectProposal((0, 0, 100, 100), 0.9, "object")
    same = ObjectProposal((10, 5, 95, 100), 0.8, "object")
    part = ObjectProposal((60, 60, 30, 30), 0.7, "object")
    other = ObjectProposal((90, 0, 100, 100), 0.6, "object")
    assert objects.suppress([other, part, same, whole]) == [whole, other]


# A transparent model: discs of one colour on soft patches of other colours.


def discs(centres: list[tuple[int, int]], seed: int, plain: float = 0.7):
    """An image with a red disc at each place, and the boxes of the discs."""
    size = 384, 288
    image = Image.blend(random_image(*size, seed), Image.new("RGB", size, (60, 120, 90)), plain)
    pen, boxes = ImageDraw.Draw(image), []
    for x, y in centres:
        pen.ellipse((x - 24, y - 24, x + 23, y + 23), fill=(235, 30, 40))
        boxes.append((x - 24.0, y - 24.0, 48.0, 48.0))
    return image, boxes


def examples(path: Path, image: Image.Image, boxes, category: str | None = "disc"):
    image.save(path)
    boxed = [BoxedObject(n, box, category=category) for n, box in enumerate(boxes, start=1)]
    return objects.exemplars_of(BoxSet({path: boxed}))


def test_discs_are_found_from_one(tmp_path, colour_matcher):
    exemplars = examples(tmp_path / "one.png", *discs([(200, 140)], seed=1))
    image, boxes = discs([(60, 60), (200, 90), (320, 220), (120, 230)], seed=2)
    found = find_objects(colour_matcher, image, exemplars)
    assert len(found) == 4
    for box in boxes:
        assert max(overlap(each.box, box) for each in found) > 0.5
    assert {each.category for each in found} == {"disc"}
    scores = [each.score for each in found]
    assert scores == sorted(scores, reverse=True) and scores[0] <= 1 and scores[-1] >= 0
    assert find_objects(colour_matcher, image, exemplars, max_objects=2) == found[:2]
    # An image given as a file, and as features, is the same image.
    image.save(tmp_path / "four.png")
    features = colour_matcher.extract(tmp_path / "four.png")
    for given_as in (tmp_path / "four.png", features):
        again = find_objects(colour_matcher, given_as, exemplars)
        assert [each.box for each in again] == [each.box for each in found]


def test_nothing_alike_is_an_answer(tmp_path, colour_matcher):
    exemplars = examples(tmp_path / "one.png", *discs([(200, 140)], seed=1))
    finder = ObjectFinder(colour_matcher, exemplars)
    for seed in range(3, 6):
        assert finder.find(discs([], seed)[0]) == []


def test_exemplars_of_one_image_are_no_background_for_each_other(tmp_path, colour_matcher):
    """Each of several discs of one image is found, though the others lie around it."""
    image, boxes = discs([(80, 80), (200, 90), (120, 200)], seed=1)
    exemplars = examples(tmp_path / "three.png", image, boxes)
    found = find_objects(colour_matcher, discs([(60, 60), (300, 200)], seed=2)[0], exemplars)
    assert len(found) == 2


def test_without_exemplars_animals_or_the_salient_are_proposed(matcher):
    """The fox and the husky: by objectness, and by saliency with a model that has no side head."""
    with pair() as example:
        for image, points in (
            (example.image0, example.keypoints0[example.visible]),
            (example.image1, example.keypoints1[example.visible]),
        ):
            low, high = points.min(axis=0), points.max(axis=0)
            truth = (*low.tolist(), *(high - low).tolist())
            for each, least in ((matcher, 0.6), (matcher.with_config(sides=None), 0.4)):
                (found,) = find_objects(each, image)
                assert found.category == "object"
                assert overlap(found.box, truth) > least


def test_arguments_are_checked(tmp_path, colour_matcher):
    finder = ObjectFinder(colour_matcher)
    with pytest.raises(HomologError, match="max_objects: expected at least 1, got 0"):
        finder.find(random_image(64, 64), 0)
    with pytest.raises(HomologError, match=r"image: expected an image file, got .* does not exist"):
        finder.find(tmp_path / "missing.png")


@pytest.fixture(scope="module")
def foxes(tmp_path_factory) -> Path:
    """Renders of a fox that the bundled side head was not trained on."""
    folder = tmp_path_factory.mktemp("renders")
    render_set(trays.ANIMALS, folder, count=12, size=256, seed=11, workers=1, models=["Fox"])
    return folder


@pytest.mark.skipif(not trays.ANIMALS.is_dir(), reason=f"needs models in {trays.ANIMALS}")
def test_animals_on_a_tray_are_found_from_one_render(foxes, matcher):
    first, *others = trays.cutouts(foxes)
    rng = np.random.default_rng(0)
    behind = trays.background(rng, (1200, 900))
    tray = trays.make_tray(others[:4], behind, rng)
    assert len(tray.objects) == 4 and not any(each.touching for each in tray.objects)
    finder = ObjectFinder(matcher, [trays.exemplar(foxes, first)])
    found = finder.find(tray.image)
    best = [max(overlap(each.box, truth.box) for each in found) for truth in tray.objects]
    assert sorted(best)[1] > 0.5
    assert len(found) <= 5
    assert finder.find(behind) == []
