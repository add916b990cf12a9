"""Charts of numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from homolog.utils.printable import printable
from homolog.viz.figures import new_figure, render
from homolog.viz.palette import CORRECT, CURVES, INK, WRONG

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_curves(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    xlabel: str,
    ylabel: str,
    intervals: Mapping[str, Sequence[tuple[float, float]]] | None = None,
    *,
    percent: bool = True,
    title: str = "",
) -> Image.Image:
    """A line chart of some curves.

    Args:
        curves: x and y values of each curve, by name.
        xlabel: label of the x axis.
        ylabel: label of the y axis.
        intervals: lower and upper bounds around the curves of the same names, drawn as bands.
        percent: whether y values are shares of one, to be shown in percent.
        title: of the chart, shown as it is given.
    """
    figure = new_figure((7.0, 4.6), layout="constrained")
    draw_curves(figure.add_subplot(), curves, xlabel, ylabel, intervals, percent, title)
    return render(figure)


def draw_curves(
    axes: Axes,
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    xlabel: str,
    ylabel: str,
    intervals: Mapping[str, Sequence[tuple[float, float]]] | None = None,
    percent: bool = True,
    title: str = "",
) -> None:
    """Draw curves into a part of a figure; arguments as for `plot_curves`."""
    factor = 100 if percent else 1
    for (name, (x, y)), colour in zip(curves.items(), CURVES, strict=False):
        marker = "o" if len(x) < 10 else ""
        axes.plot(
            x,
            factor * np.asarray(y),
            marker=marker,
            color=colour,
            linewidth=2,
            label=printable(name),
        )
        if intervals and name in intervals:
            low, high = factor * np.array(intervals[name]).T
            axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
    ticks = sorted({value for x, _ in curves.values() for value in x})
    if len(ticks) < 10 and all(float(value).is_integer() for value in ticks):
        axes.set_xticks(ticks, [str(int(value)) for value in ticks])
    axes.set(xlabel=xlabel, ylabel=ylabel, ylim=(0, None))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    for text in (
        *axes.legend(frameon=False).get_texts(),
        axes.set_title(printable(title), fontsize="medium"),
    ):
        text.set_parse_math(False)  # names may have dollar signs


def draw_differences(
    axes: Axes,
    differences: Mapping[str, float],
    intervals: Mapping[str, tuple[float, float]],
    xlabel: str,
    title: str,
) -> None:
    """Draw differences in percentage points, with their intervals, one below the other.

    Args:
        axes: the part of a figure to draw into.
        differences: of shares of one, by name.
        intervals: lower and upper bounds, by name.
        xlabel: label of the x axis.
        title: of the part.
    """
    rows = np.arange(len(differences))
    values = 100 * np.array(list(differences.values()))
    low, high = 100 * np.array([intervals[name] for name in differences]).T
    colours = [CORRECT if value > 0 else WRONG for value in values]
    axes.barh(rows, values, color=colours, alpha=0.6)
    # An interval need not contain the value itself.
    axes.hlines(rows, low, high, color=INK, linewidth=1.2)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_yticks(rows, list(map(printable, differences)), fontsize="small")
    axes.set_ylim(max(len(rows), 4) - 0.4, -0.6)  # a bar alone is no wider than others
    axes.set(xlabel=xlabel)
    axes.grid(alpha=0.25, axis="x")
    axes.spines[["top", "right"]].set_visible(False)
    for text in (*axes.get_yticklabels(), axes.set_title(printable(title), fontsize="medium")):
        text.set_parse_math(False)
