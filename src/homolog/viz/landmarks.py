"""Drawings of shapes: the mean shape with the objects laid over it, and a bar for each landmark."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from PIL import Image

from homolog.utils.printable import printable
from homolog.viz.figures import new_figure, render
from homolog.viz.palette import CURVES, INK

_DOTS = 20_000  # of aligned landmarks that are drawn at most
_NAMED = 60  # landmarks, of which each has a name; of more only some can be read


def plot_shapes(
    mean: Float[np.ndarray, "K 2"],
    aligned: Float[np.ndarray, "N K 2"],
    names: Sequence[str],
    values: Float[np.ndarray, "K"],
    label: str,
    curves: Sequence[Sequence[int]] = (),
    title: str = "",
) -> Image.Image:
    """The mean shape, y down as in images, with all objects in its place; and a value for each.

    Args:
        mean: the mean shape, NaN where no object has a landmark.
        aligned: the objects laid over it.
        names: of the landmarks.
        values: of each landmark, drawn as bars.
        label: what the values are.
        curves: the landmarks along each curve, which are joined by lines.
        title: of the drawing.
    """
    count = len(names)
    figure = new_figure((11.0, min(16.0, max(5.0, 0.19 * count + 1.2))), layout="constrained")
    shape, bars = figure.subplots(1, 2, width_ratios=(3, 2))
    dots = aligned.reshape(-1, 2)
    dots = dots[np.isfinite(dots).all(axis=1)]
    shown = dots[:: max(1, len(dots) // _DOTS)]
    shape.scatter(*shown.T, s=7, color=CURVES[0], alpha=0.25, linewidths=0)
    for curve in curves:
        shape.plot(*mean[list(curve)].T, color=INK, linewidth=0.8)
    shape.scatter(*mean.T, s=60, facecolors="none", edgecolors=CURVES[1], zorder=3)
    on_curve = {point for curve in curves for point in curve}
    for number, (x, y) in enumerate(mean):
        if np.isfinite(x) and number not in on_curve:
            shape.annotate(
                names[number], (x, y), xytext=(6, 6), textcoords="offset points", fontsize=8,
                color=INK, clip_on=False,
            )  # fmt: skip
    shape.set_aspect("equal")
    shape.invert_yaxis()
    shape.margins(0.1)
    shape.set_axis_off()
    shape.set_title("mean shape, and objects laid over it", fontsize=10, color=INK)
    places = np.arange(count)
    bars.barh(places, np.nan_to_num(values), color=CURVES[0])
    every = max(1, -(-count // _NAMED))
    bars.set_yticks(places[::every], [names[place] for place in places[::every]], fontsize=8)
    bars.invert_yaxis()
    bars.set_xlabel(label)
    bars.grid(axis="x", alpha=0.25)
    bars.spines[["top", "right"]].set_visible(False)
    if title:
        figure.suptitle(textwrap.fill(printable(title), 100), fontsize=11, color=INK)
    return render(figure)
