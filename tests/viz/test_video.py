"""Frames with tracked points show what they should, where they should."""

import numpy as np
from PIL import Image

from homolog.viz.video import draw_boxes, draw_tracks

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


def test_boxes_are_outlined_in_their_colours_with_labels():
    image = Image.new("RGB", (400, 300), GREY)
    boxes = np.array([[20.0, 40, 60, 40], [100, 60, 50, 50], [-10, -5, 40, 30]])
    colours, shown = (
        [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)],
        np.array([True, False, True]),
    )
    # Half as large as the frame that the boxes are in.
    drawn = np.asarray(draw_boxes(image, (200, 150), boxes, ["a", "b", "c"], colours, shown))
    for x, y in ((40, 100), (158, 120), (100, 81), (100, 158)):
        near = drawn[y - 3 : y + 4, x - 3 : x + 4].reshape(-1, 3)
        assert (near == (255, 0, 0)).all(axis=1).any()
    assert (drawn[110:150, 60:140] == 128).all(), "an outline alone"
    assert not (drawn == (0, 255, 0)).all(axis=2).any(), "a box that is not shown"
    assert (drawn == (0, 0, 255)).all(axis=2).sum() > 100, "a label stays in the frame"
    label = drawn[60:80, 38:60].reshape(-1, 3)
    assert (label == (255, 0, 0)).all(axis=1).any() and len(np.unique(label, axis=0)) > 2


def test_points_with_colours_of_their_own_have_them():
    image = Image.new("RGB", (400, 300), GREY)
    points = np.array([[[100.0, 150.0], [300.0, 150.0]]])
    drawn = np.asarray(
        draw_tracks(
            image, (400, 300), points, np.full((1, 2), False), np.ones(2),
            [(1.0, 0.0, 0.0), (0.0, 0.0, 1.0)],
        )
    )  # fmt: skip
    assert drawn[150, 100].tolist() == [255, 0, 0] and drawn[150, 300].tolist() == [0, 0, 255]
