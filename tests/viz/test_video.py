"""Frames with tracked points show what they should, where they should."""

import numpy as np
from PIL import Image

from homolog.viz.video import draw_tracks

GREY = (128, 128, 128)


def test_uncertain_points_are_hollow_and_occluded_ones_are_not_drawn():
    image = Image.new("RGB", (400, 300), GREY)
    points = np.array([[[100.0, 150.0]]] * 2)

    def changed(score: float, occluded: bool) -> np.ndarray:
        drawn = draw_tracks(image, (400, 300), points, np.full((2, 1), occluded), np.array([score]))
        return np.abs(np.asarray(drawn, float) - 128).max(axis=2) > 30

    certain, uncertain, occluded = changed(0.9, False), changed(0.2, False), changed(0.2, True)
    assert not occluded.any()
    # Beside the number, a certain point is filled.
    assert certain[150, 96] and not uncertain[150, 96] and uncertain[140:161, 90:111].any()


def test_trails_are_interrupted_where_a_point_jumps_or_is_occluded():
    image = Image.new("RGB", (400, 300), GREY)

    def between(points: list[float], occluded: bool = False) -> bool:
        """Whether something is drawn between the first two positions, along a row."""
        path = np.array([[[x, 150.0]] for x in points])
        hidden = np.zeros((len(points), 1), bool)
        hidden[0] = occluded
        drawn = draw_tracks(image, (400, 300), path, hidden, np.array([0.9]))
        row = np.abs(np.asarray(drawn, float) - 128).max(axis=2)[150]
        return bool((row[round(points[0]) + 1 : round(points[1]) - 1] > 10).any())

    far = [300.0]
    assert between([100.0, 130.0, *far])
    assert not between([100.0, 200.0, *far]), "a jump of more than a tenth"
    assert not between([100.0, 130.0, *far], occluded=True)
