"""Pictures show what they should, where they should."""

import numpy as np
import pytest
from helpers.toys import random_image
from PIL import Image

from homolog.image.geometry import FLIP
from homolog.viz.pairs import plot_flow, plot_heatmap, plot_matches
from homolog.viz.raster import warp_image


def marks(drawn: Image.Image, plain: Image.Image) -> np.ndarray:
    difference = np.abs(np.asarray(drawn, float) - np.asarray(plain, float)).sum(axis=2)
    return difference > 60


@pytest.mark.parametrize("size", [(96, 64), (64, 96), (2000, 3000), (30, 20), (5000, 20), (1, 1)])
def test_pictures_are_readable_at_any_size(colour_matcher, size):
    picture = random_image(*size)
    middle = [[size[0] / 2, size[1] / 2]]
    drawn = plot_matches(picture, picture, colour_matcher.transfer(picture, picture, middle))
    assert min(drawn.size) >= 60 and 200 <= max(drawn.size) <= 2500


def test_points_are_drawn_where_they_are(colour_matcher):
    """Against the same drawing with the point elsewhere, the change is at its two places."""
    picture = Image.new("RGB", (96, 96), (200, 200, 200))
    places = [[24.0, 72.0], [72.0, 24.0]]
    one, other = (
        plot_matches(picture, picture, colour_matcher.transfer(picture, picture, [place]))
        for place in places
    )
    assert one.size == other.size
    changed = marks(one, other)
    width = one.width
    for x, y in places:
        # Both panels are square, side by side with gaps; a point's disc is wider than the gaps.
        panel = (width - 3 * 0.15 * 130) / 2
        column = round(0.15 * 130 + x / 96 * panel)
        row = round(0.15 * 130 + y / 96 * panel)
        assert changed[row - 3 : row + 3, column - 8 : column + 8].any()


def test_doubtful_points_are_white(colour_matcher):
    import dataclasses

    picture = Image.new("RGB", (96, 96), (90, 90, 90))
    found = colour_matcher.transfer(picture, picture, [[48, 48]])
    sure, doubtful = (
        plot_matches(
            picture, picture, dataclasses.replace(found, matching_scores=np.array([score]))
        )
        for score in (0.9, 0.1)
    )
    white = [(np.asarray(p).min(axis=2) > 250).sum() for p in (sure, doubtful)]
    assert white[1] > white[0] + 100


def test_many_matches_are_drawn_without_numbers(colour_matcher):
    picture = random_image(96, 96)
    found = colour_matcher.match(picture, picture)
    assert len(found) > 40
    assert marks(plot_matches(picture, picture, found), Image.new("RGB", (1, 1))).any()


def test_warping_onto_the_mirrored_shape_mirrors(colour_matcher):
    picture = random_image(96, 96)
    mirrored = FLIP.apply(picture)
    flow = colour_matcher.flow(picture, mirrored, poses=["flip"])
    warped = warp_image(picture, flow.backward.smoothed())
    sure = flow.backward.smoothed().confidence((96, 96)) > 0.25
    assert sure.mean() > 0.3
    difference = np.abs(np.asarray(warped, float) - np.asarray(mirrored, float)).mean(axis=2)
    plain = np.abs(np.asarray(picture, float) - np.asarray(mirrored, float)).mean(axis=2)
    assert np.median(difference[sure]) < 0.35 * np.median(plain[sure])


def test_flow_and_heatmap_pictures(colour_matcher):
    first, second = random_image(96, 64), random_image(64, 96, seed=1)
    flow = plot_flow(first, second, colour_matcher.flow(first, second))
    heat = plot_heatmap(first, second, colour_matcher.heatmap(first, second, [[10, 10]]))
    assert flow.height > 1.5 * heat.height and flow.mode == heat.mode == "RGB"


def test_features_are_drawn_like_pictures(colour_matcher):
    picture = random_image(90, 60)
    features = colour_matcher.extract(picture)
    found = colour_matcher.transfer(features, features, [[20, 20]])
    assert (
        plot_matches(features, features, found).size == plot_matches(picture, picture, found).size
    )
