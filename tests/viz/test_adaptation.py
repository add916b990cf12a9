"""Drawings of an adaptation: what is kept is coloured, and only what changed looks different."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from homolog.image.geometry import CanvasTransform, Grid
from homolog.image.poses import IDENTITY
from homolog.image.reading import LoadedImage
from homolog.results import Sides
from homolog.viz.adaptation import (
    ComparedPair,
    MinedPair,
    plot_compared_pairs,
    plot_compared_sides,
    plot_mined_pairs,
)

GREY = Image.new("RGB", (96, 64), (60, 60, 60))


def loaded(width=960, height=640):
    return LoadedImage(GREY.resize((width // 10, height // 10)), width, height)


def points(count, seed=0):
    return np.random.default_rng(seed).uniform(50, 600, (count, 2))


def coloured(image):
    """Pixels whose colour is not a grey."""
    pixels = np.asarray(image, int)
    return pixels.max(axis=2) - pixels.min(axis=2) > 60


def changes(one, other):
    return np.abs(np.asarray(one, int) - np.asarray(other, int)).max(axis=2) > 30


def mined(kept, title="90th percentile"):
    count = len(kept)
    return MinedPair(
        loaded(), loaded(), points(count), points(count, 1), np.array(kept, bool), title
    )


def test_kept_matches_alone_are_coloured():
    drawn = {name: plot_mined_pairs([mined(kept)]) for name, kept in (
        ("all", [True] * 6), ("none", [False] * 6), ("some", [True, False] * 3),
    )}  # fmt: skip
    shares = {name: coloured(each).sum() for name, each in drawn.items()}
    assert shares["none"] == 0 < shares["some"] < shares["all"]
    assert changes(drawn["none"], plot_mined_pairs([mined([])])).sum() > 1000, "rejected are grey"


def test_each_pair_has_a_row_and_its_title():
    one, three = (plot_mined_pairs([mined([True] * 5)] * count) for count in (1, 3))
    assert three.width == one.width and three.height > 2.5 * one.height
    white = np.asarray(one).min(axis=2) > 250
    assert white[:5].all() and not white[5:45].all(), "a title above a single row is not cut"
    renamed = plot_mined_pairs([mined([True] * 5), mined([True] * 5, "x"), mined([True] * 5)])
    rows = np.flatnonzero(changes(three, renamed).any(axis=1))
    assert 0.3 * three.height < rows.min() and rows.max() < 0.4 * three.height


@pytest.mark.parametrize("size", [(640, 960), (5000, 50), (20, 3000)])
def test_images_of_any_shape_fit(size):
    pair = dataclasses.replace(mined([True, False]), source=loaded(), target=_any(size))
    drawn = plot_mined_pairs([pair, mined([True])])
    assert 400 < drawn.width < 1400 and 400 < drawn.height < 1400


def _any(size):
    return LoadedImage(GREY, *size)


def compared(**changed):
    everywhere = np.ones(4, dtype=bool)
    pair = ComparedPair(
        loaded(), loaded(), points(4), points(4, 1), points(4, 1), everywhere, everywhere,
        ("10th percentile", "before", "after"),
    )  # fmt: skip
    return plot_compared_pairs([dataclasses.replace(pair, **changed)])


@pytest.mark.parametrize(
    "changed, panel",
    [
        ({"before": points(4, 2)}, 1),
        ({"after": points(4, 2)}, 2),
        ({"consistent_before": np.zeros(4, bool)}, 1),
        ({"consistent_after": np.zeros(4, bool)}, 2),
    ],
)
def test_what_differs_is_drawn_in_its_panel(changed, panel):
    same, other = compared(), compared(**changed)
    columns = np.flatnonzero(changes(same, other).any(axis=0))
    third = same.width / 3
    assert panel * third < columns.min() and columns.max() < (panel + 1) * third


def test_points_that_do_not_lead_back_are_white():
    white = [
        (np.asarray(compared(consistent_after=np.full(4, value))).min(axis=2) > 250).sum()
        for value in (True, False)
    ]
    assert white[1] > white[0] + 500


def test_sides_before_and_after_have_the_colours_of_each():
    grid = Grid.from_patches(96, 8)
    transform = CanvasTransform(960, 640, IDENTITY, 96, grid)
    left = np.ones((12, 12))
    confidence = np.where(transform.valid_cells, 1.0, 0.0)
    sides = [Sides(transform, x, 1 - x, confidence, (0.8, 0.0, 0.0)) for x in (left, 1 - left)]
    drawn = np.asarray(plot_compared_sides([loaded()], [sides[0]], [sides[1]]), int)
    half = drawn.shape[1] // 2
    bluer = (drawn[..., 2] - drawn[..., 0] > 60, drawn[..., 0] - drawn[..., 2] > 60)
    for colour, its_half, other_half in (
        (bluer[0], slice(0, half), slice(half, None)),
        (bluer[1], slice(half, None), slice(0, half)),
    ):
        assert colour[:, its_half].mean() > 0.5 and not colour[:, other_half].any()
