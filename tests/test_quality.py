"""Named settings: what each stands for, and that what is given beside the name has its own way."""

import dataclasses

import numpy as np
import pytest
from helpers.toys import random_image

from homolog import HomologError
from homolog.matching.refinement import RefinementConfig
from homolog.quality import QUALITIES, Quality, choose

BOXES = {"box0": (30, 20, 50, 40), "box1": (10, 10, 60, 50)}


def test_settings_and_what_is_given_beside_them():
    for name, expected in QUALITIES.items():
        assert choose(name) == choose(name, None, None, None) == expected
    best = QUALITIES["best"]
    assert best == Quality("auto", True, True)
    assert choose("best", "none") == dataclasses.replace(best, zoom=None)
    assert choose("best", mirror=False) == dataclasses.replace(best, mirror=False)
    assert choose("best", refine=False) == dataclasses.replace(best, refine=False)
    config = RefinementConfig((0.5,))
    assert choose("fast", "auto", np.True_, config) == Quality("auto", True, config)
    assert not any(dataclasses.astuple(QUALITIES["fast"]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"quality": "good"}, "quality: expected fast, default or best, got 'good'"),
        ({"quality": None}, "quality: expected fast, default or best, got None"),
        ({"zoom": True}, "zoom: expected auto or None, got True"),
        ({"mirror": "yes"}, "mirror: expected True or False, got 'yes'"),
    ],
)
def test_other_values(arguments, message):
    with pytest.raises(HomologError) as raised:
        choose(**{"quality": "best", **arguments})
    assert str(raised.value) == message


@pytest.mark.parametrize("name", QUALITIES)
def test_a_setting_is_short_for_its_arguments(colour_matcher, name):
    images, given = [random_image(120, 80, 0), random_image(110, 90, 1)], QUALITIES[name]
    points = [[50, 40], [70, 30], [40, 55]]
    arguments = {"zoom": given.zoom or "none", "mirror": given.mirror, "refine": given.refine}
    found = colour_matcher.transfer(*images, points, **BOXES, quality=name)
    expected = colour_matcher.transfer(*images, points, **BOXES, **arguments)
    np.testing.assert_array_equal(found.keypoints1, expected.keypoints1)
    np.testing.assert_array_equal(found.matching_scores, expected.matching_scores)
    del arguments["refine"]
    features = colour_matcher.extract(images[0], box=BOXES["box0"], quality=name)
    assert features.mirror == given.mirror and (features.context is not None) == bool(given.zoom)
    flow = colour_matcher.flow(*images, **BOXES, quality=name)
    expected = colour_matcher.flow(*images, **BOXES, **arguments)
    np.testing.assert_array_equal(flow.forward.points1, expected.forward.points1)
    kept = colour_matcher.extract(images[0], box=BOXES["box0"], quality=name, mirror=False)
    assert not kept.mirror


def test_without_a_name_it_is_the_default(colour_matcher):
    images, points = [random_image(120, 80, 0), random_image(110, 90, 1)], [[50, 40], [70, 30]]
    found = colour_matcher.transfer(*images, points)
    named = colour_matcher.transfer(*images, points, quality="default")
    np.testing.assert_array_equal(found.keypoints1, named.keypoints1)
