"""Closer looks at predicted keypoints, on toy images with known truth."""

import numpy as np
import pytest
from helpers.toy_training import toy_data, toy_matcher

from homolog import Matcher
from homolog.image.poses import FLIP, IDENTITY
from homolog.labelling.closer import CloserLooks
from homolog.labelling.exemplars import Exemplars
from homolog.matching.refinement import RefinementConfig


@pytest.fixture
def data(tmp_path):
    return toy_data(tmp_path, 5)


@pytest.fixture
def toy() -> Matcher:
    return toy_matcher()


def both(toy, data, known, last, poses=(IDENTITY,), **settings):
    """The keypoints of an image as predicted, and after closer looks."""
    features = toy.extract(last.path)
    first = Exemplars(toy, known, data.schemas, poses).find(features)
    closer = CloserLooks(toy, data.schemas, RefinementConfig(**settings) if settings else None)
    return first, closer.refine(features, features.by_pose[IDENTITY], first)


@pytest.mark.parametrize("pose", [IDENTITY, FLIP])
def test_an_exemplar_in_its_own_image(toy, data, pose):
    only = data.annotations[0]
    first, refined = both(toy, data, [only], only, [pose])
    x0, y0, x1, y1 = first.box
    moved = np.linalg.norm(refined.points - first.points, axis=1)
    bound = RefinementConfig().radius * 1.1 * max(x1 - x0, y1 - y0) + 2  # of whole pixels
    assert 0 < moved.max() <= bound
    if pose == IDENTITY:
        np.testing.assert_allclose(refined.points, only.keypoints, atol=3)
    np.testing.assert_array_equal(refined.scores, first.scores)
    assert refined.box == first.box


def test_points_of_other_images_do_not_get_worse(toy, data):
    errors: list[list[float]] = [[], []]
    for last in data.annotations:
        known = [each for each in data.annotations if each is not last]
        for kept, found in zip(errors, both(toy, data, known, last), strict=True):
            distances = np.linalg.norm(found.points - last.keypoints, axis=1)
            kept.extend(distances[np.isfinite(distances) & (distances < 15)])
            assert (found.points >= 0).all() and (found.points <= (96, 80)).all()
    assert np.mean(errors[1]) < np.mean(errors[0])


def test_an_exemplar_is_looked_at_once(toy, data):
    *known, one, other = data.annotations
    closer = CloserLooks(toy, data.schemas)
    exemplars = Exemplars(toy, known, data.schemas, [IDENTITY])
    passes = []
    seen = 0
    forward = toy.backbone.__class__.__call__

    def count(self, canvases):
        nonlocal seen
        seen += len(canvases)
        return forward(self, canvases)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toy.backbone.__class__, "__call__", count)
        for image in (one, other):
            features = toy.extract(image.path)
            before = seen
            closer.refine(features, features.by_pose[IDENTITY], exemplars.find(features))
            passes.append(seen - before)
    # Four crops an image, and once of each exemplar.
    assert 4 < passes[0] <= 4 * (1 + len(known))
    assert passes[1] <= 4
