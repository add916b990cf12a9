"""Charts of numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from homolog.viz.figures import new_figure, render
from homolog.viz.palette import CURVES


def plot_curves(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    xlabel: str,
    ylabel: str,
    intervals: Mapping[str, Sequence[tuple[float, float]]] | None = None,
    *,
    percent: bool = True,
) -> Image.Image:
    """A line chart of some curves.

    Args:
        curves: x and y values of each curve, by name.
        xlabel: label of the x axis.
        ylabel: label of the y axis.
        intervals: lower and upper bounds around the curves of the same names, drawn as bands.
        percent: whether y values are shares of one, to be shown in percent.
    """
    figure = new_figure((7.0, 4.6), layout="constrained")
    axes = figure.add_subplot()
    factor = 100 if percent else 1
    for (name, (x, y)), colour in zip(curves.items(), CURVES, strict=False):
        marker = "o" if len(x) < 10 else ""
        axes.plot(x, factor * np.asarray(y), marker=marker, color=colour, linewidth=2, label=name)
        if intervals and name in intervals:
            low, high = factor * np.array(intervals[name]).T
            axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
    ticks = sorted({value for x, _ in curves.values() for value in x})
    if len(ticks) < 10 and all(float(value).is_integer() for value in ticks):
        axes.set_xticks(ticks, [str(int(value)) for value in ticks])
    axes.set(xlabel=xlabel, ylabel=ylabel, ylim=(0, None))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return render(figure)
