"""Charts have their curves, in percent or as they are, and bands around them."""

import numpy as np
from PIL import Image

from homolog.viz.charts import plot_curves
from homolog.viz.palette import CURVES


def has_colour(image: Image.Image, colour: str) -> bool:
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return bool((np.abs(np.asarray(image, int) - wanted).max(axis=2) < 8).sum() > 20)


def test_each_curve_has_a_colour_of_its_own():
    curves = {name: ([1.0, 2.0, 3.0], [0.1, k / 10, 0.5]) for k, name in enumerate("ab")}
    chart = plot_curves(curves, "x", "y")
    assert chart.mode == "RGB" and chart.width > 600
    assert [has_colour(chart, colour) for colour in CURVES] == [True, True, False, False]


def test_intervals_and_percent_change_the_chart():
    curves = {"a": ([1.0, 2.0], [0.2, 0.4])}
    plain, in_ones, with_band = (
        np.asarray(chart)
        for chart in (
            plot_curves(curves, "x", "y"),
            plot_curves(curves, "x", "y", percent=False),
            plot_curves(curves, "x", "y", {"a": [(0.1, 0.3), (0.3, 0.5)]}),
        )
    )
    assert plain.shape == in_ones.shape and (plain != in_ones).any()
    shaded = (np.abs(with_band.astype(int) - (221, 228, 240)).max(axis=2) < 6).sum()
    assert shaded > 2000
