"""Viewpoint prediction by distances to templates."""

import numpy as np
import pytest
from helpers.toys import random_image

from homolog import HomologError
from homolog.evaluation.viewpoint import ViewpointReport, summarise
from homolog.evaluation.viewpoint import evaluate as evaluate_viewpoint
from homolog.image.poses import FLIP


def test_confusion_and_accuracies():
    """Of six images: two of the left, one right as front, one front, two back, one as left."""
    distances = np.array(
        [
            [1, 2, 3, 4],
            [1, 2, 3, 4],
            [3, 2, 1, 4],  # right is nearer than left, front nearer still
            [4, 3, 1, 2],
            [4, 3, 2, 1],
            [1, 3, 4, 2],  # back is nearer than front, left nearer still
        ],
        float,
    )
    report = summarise(np.array([0, 0, 1, 2, 3, 3]), distances)
    assert report.confusion.tolist() == [[2, 0, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0], [1, 0, 0, 1]]
    assert (report.left_right, report.front_back, report.either) == (1.0, 1.0, 1.0)
    assert report.four_ways == 4 / 6
    assert summarise(np.array([2]), distances[3:4]).left_right is None


def test_views_in_folders(colour_matcher, tmp_path):
    views = {name: random_image(96, 96, seed) for seed, name in enumerate(("left", "front"))}
    views["right"] = FLIP.apply(views["left"])
    views["back"] = random_image(96, 96, 5)
    (tmp_path / "templates").mkdir()
    for name, image in views.items():
        image.save(tmp_path / "templates" / f"{name}.png")
        if name != "back":
            (tmp_path / name).mkdir()
            image.resize((80, 80)).save(tmp_path / name / "1.png")
    report = evaluate_viewpoint(tmp_path, colour_matcher)
    assert isinstance(report, ViewpointReport) and report.four_ways == 1
    assert report.confusion.sum() == 3
    (tmp_path / "templates" / "back.png").unlink()
    with pytest.raises(HomologError, match="expected an image named back"):
        evaluate_viewpoint(tmp_path, colour_matcher)
