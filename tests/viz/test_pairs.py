"""Drawings show what they should, where they should."""

import dataclasses

import numpy as np
import pytest
from helpers.toys import random_image
from PIL import Image

from homolog import KeypointSchema
from homolog.image.poses import FLIP
from homolog.viz.pairs import plot_flow, plot_heatmap, plot_matches

GAP = 0.15 * 130  # pixels between panels


def changes(one: Image.Image, other: Image.Image) -> np.ndarray:
    return np.abs(np.asarray(one, float) - np.asarray(other, float)).sum(axis=2) > 60


@pytest.mark.parametrize("size", [(96, 64), (64, 96), (2000, 3000), (30, 20), (5000, 20), (1, 1)])
def test_drawings_are_readable_at_any_size(colour_matcher, size):
    image = random_image(*size)
    centre = [[size[0] / 2, size[1] / 2]]
    drawn = plot_matches(image, image, colour_matcher.transfer(image, image, centre))
    assert min(drawn.size) >= 60 and 200 <= max(drawn.size) <= 2500


def test_points_are_drawn_at_their_positions(colour_matcher):
    """Against the same drawing with the point elsewhere, the change is at both positions."""
    image = Image.new("RGB", (96, 96), (200, 200, 200))
    positions = [[24.0, 72.0], [72.0, 24.0]]
    one, other = (
        plot_matches(image, image, colour_matcher.transfer(image, image, [position]))
        for position in positions
    )
    assert one.size == other.size
    changed = changes(one, other)
    panel = (one.width - 3 * GAP) / 2  # both are square; a point's disc is wider than the gaps
    for x, y in positions:
        column, row = round(GAP + x / 96 * panel), round(GAP + y / 96 * panel)
        assert changed[row - 3 : row + 3, column - 8 : column + 8].any()


def test_doubtful_points_are_white(colour_matcher):
    image = Image.new("RGB", (96, 96), (90, 90, 90))
    matches = colour_matcher.transfer(image, image, [[48, 48]])
    certain, doubtful = (
        plot_matches(image, image, dataclasses.replace(matches, matching_scores=np.array([score])))
        for score in (0.9, 0.1)
    )
    white = [(np.asarray(each).min(axis=2) > 250).sum() for each in (certain, doubtful)]
    assert white[1] > white[0] + 100


def test_named_points_have_a_legend(colour_matcher):
    """Names stand below the images: with other names, nothing but the legend changes."""
    image = random_image(96, 96)
    points = [[24.0, 24.0], [72.0, 60.0], [40.0, 80.0]]
    free = plot_matches(image, image, colour_matcher.transfer(image, image, points))
    one, other = (
        plot_matches(
            image,
            image,
            colour_matcher.transfer(image, image, points, KeypointSchema.from_names(names)),
        )
        for names in (["nose", "tail", "chin"], ["nose", "horn", "chin"])
    )
    assert one.width == free.width and one.height > free.height
    assert one.size == other.size
    rows = np.flatnonzero(changes(one, other).any(axis=1))
    panel = (one.width - 3 * GAP) / 2
    assert len(rows) and rows.min() > GAP + panel
    above = (0, 0, free.width, round(GAP + panel))
    assert changes(one.crop(above), free.crop(above)).mean() < 0.01


@pytest.mark.parametrize("count", [1, 17, 40])
def test_legends_fit_whatever_the_names(colour_matcher, count):
    image = random_image(96, 96)
    points = np.random.default_rng(0).uniform(5, 90, (count, 2))
    heights = []
    for name in ("a{}", "the_left_hind_paw_of_the_animal_{}"):
        schema = KeypointSchema.from_names([name.format(i) for i in range(count)])
        drawn = plot_matches(image, image, colour_matcher.transfer(image, image, points, schema))
        heights.append(drawn.height)
        white = np.asarray(drawn).min(axis=2) > 250
        assert white[:, -8:].all(), "nothing is cut off on the right"
    assert heights[1] >= heights[0]


def test_many_matches_are_drawn_without_numbers(colour_matcher):
    image = random_image(96, 96)
    matches = colour_matcher.match(image, image)
    assert len(matches) > 40
    assert changes(plot_matches(image, image, matches), Image.new("RGB", (1, 1))).any()


def test_flows_and_heatmaps(colour_matcher):
    source, target = random_image(96, 64), random_image(64, 96, seed=1)
    flow = plot_flow(source, target, colour_matcher.flow(source, target))
    heatmap = plot_heatmap(source, target, colour_matcher.heatmap(source, target, [[10, 10]]))
    assert flow.height > 1.5 * heatmap.height and flow.mode == heatmap.mode == "RGB"


def test_regions_are_outlined_and_whole_images_are_not(colour_matcher):
    image = Image.new("RGB", (96, 96), (200, 200, 200))
    box = {"box0": (24, 24, 40, 40)}
    for result, plot in (
        (colour_matcher.transfer(image, image, [[44, 44]], **box), plot_matches),
        (colour_matcher.heatmap(image, image, [[44, 44]], **box), plot_heatmap),
    ):
        matches = getattr(result, "matches", result)
        region = matches.region0
        whole = dataclasses.replace(matches, region0=None)
        without = dataclasses.replace(result, matches=whole) if result is not matches else whole
        drawn = plot(image, image, result)
        changed = changes(drawn, plot(image, image, without))
        panel = (drawn.width - 3 * GAP) / 2
        edges = np.array(
            [[region.x, region.x + region.width], [region.y, region.y + region.height]]
        )
        (left, right), (top, bottom) = np.round(GAP + edges / 96 * panel).astype(int)
        rows, columns = np.nonzero(changed)
        assert abs(columns.min() - left) <= 3 and abs(columns.max() - right) <= 3
        assert abs(rows.min() - top) <= 3 and abs(rows.max() - bottom) <= 3
        assert not changed[top + 5 : bottom - 5, left + 5 : right - 5].any(), "an outline alone"
    boxed = plot_flow(image, image, colour_matcher.flow(image, image, **box))
    assert changes(boxed, plot_flow(image, image, colour_matcher.flow(image, image))).any()


def test_features_are_drawn_like_images(colour_matcher):
    image = random_image(90, 60)
    features = colour_matcher.extract(image)
    matches = colour_matcher.transfer(features, features, [[20, 20]])
    drawn = plot_matches(features, features, matches)
    assert drawn.size == plot_matches(image, image, matches).size


def test_results_draw_themselves_with_their_names(colour_matcher):
    image = random_image(96, 96)
    schema = KeypointSchema.from_names(["nose", "tail"])
    matches = colour_matcher.transfer(image, FLIP.apply(image), [[20, 20], [60, 60]], schema)
    assert matches.plot().size == plot_matches(image, image, matches).size
    assert "nose" in matches._repr_html_() and matches.to_dict()["point_names"] == ["nose", "tail"]
