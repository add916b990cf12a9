"""Parts of matplotlib figures: panels of images, numbered points, legend and caption.

matplotlib is imported when the first figure is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from PIL import Image

from homolog.image.regions import Region
from homolog.utils.printable import printable
from homolog.viz.palette import INK, Colour, text_colour_on

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 130
"""Resolution of figures."""

# Lengths in inches.
_MAX_PANEL = (8.0, 5.0)  # width and height of one image
_GAP = 0.15
_CAPTION = 0.42
_LEGEND_ROW = 0.26
_CHARACTER = 0.075  # width of one, about, in the legend


class PanelFigure:
    """Images in a grid of panels, above an optional legend and a caption.

    Args:
        images: row by row.
        sizes: width and height of each original; the axes of its panel are in these pixels.
        columns: number of panels in a row.
        names: of numbered points, for the legend; None for no legend.
        largest: width and height of one image, in inches at most.
        titled: whether there is room for titles above the panels, as above several rows.
    """

    def __init__(
        self,
        images: Sequence[Image.Image],
        sizes: Sequence[tuple[int, int]],
        columns: int = 2,
        names: Sequence[str] | None = None,
        largest: tuple[float, float] = _MAX_PANEL,
        titled: bool = False,
    ):
        scales = [min(largest[0] / width, largest[1] / height) for width, height in sizes]
        spans = [
            (max(0.3, width * scale), max(0.3, height * scale))
            for (width, height), scale in zip(sizes, scales, strict=True)
        ]
        rows = len(images) // columns
        widths = [max(spans[i][0] for i in range(c, len(spans), columns)) for c in range(columns)]
        heights = [max(s[1] for s in spans[r * columns : (r + 1) * columns]) for r in range(rows)]
        title = 0.32 if titled or rows > 1 else 0.0
        width = sum(widths) + _GAP * (columns + 1)
        self._names = list(names or ())
        entry = 0.4 + _CHARACTER * max(map(len, self._names), default=0)
        self._legend_columns = max(1, min(len(self._names), int((width - _GAP) / entry)))
        legend = _LEGEND_ROW * -(-len(self._names) // self._legend_columns)
        height = sum(heights) + (_GAP + title) * rows + _GAP + legend + _CAPTION
        self.figure: Figure = new_figure((width, height))
        self.panels: list[Axes] = []
        for index, (image, size, span) in enumerate(zip(images, sizes, spans, strict=True)):
            row, column = divmod(index, columns)
            x = sum(widths[:column]) + _GAP * (column + 1) + (widths[column] - span[0]) / 2
            y = height - sum(heights[: row + 1]) - (_GAP + title) * (row + 1)
            y += (heights[row] - span[1]) / 2
            panel = self.figure.add_axes((x / width, y / height, span[0] / width, span[1] / height))
            panel.imshow(image, extent=extent(size), aspect="auto", interpolation="antialiased")
            panel.set(xlim=(0, size[0]), ylim=(size[1], 0))
            panel.set_axis_off()
            self.panels.append(panel)

    def add_legend(self, colours: Sequence[Colour]) -> None:
        """Add the number and name of each point, in the point's colour."""
        width, height = self.figure.get_size_inches()
        step = (width - _GAP) / self._legend_columns
        rows = -(-len(self._names) // self._legend_columns)
        for index, (name, colour) in enumerate(zip(self._names, colours, strict=True)):
            column, row = divmod(index, rows)
            x, y = _GAP + column * step, _CAPTION + (rows - row - 0.5) * _LEGEND_ROW
            self.figure.text(
                (x + 0.1) / width, y / height, str(index + 1), fontsize=7, fontweight="bold",
                color=text_colour_on(colour), ha="center", va="center",
                bbox={"boxstyle": "circle,pad=0.25", "facecolor": colour, "edgecolor": "white"},
            )  # fmt: skip
            self.figure.text(
                (x + 0.26) / width, y / height, printable(name), fontsize=9, color=INK, va="center"
            )

    def render(self, caption: str, legend: str = "") -> Image.Image:
        """Add a caption and a legend below the panels, and draw the figure as an RGB image.

        Args:
            caption: on the left; if it is too long, its beginning is cut off.
            legend: what colours and signs mean, on the right.
        """
        width, height = self.figure.get_size_inches()
        y = (_CAPTION / 2 + 0.03) / height
        caption = printable(caption)
        style: dict[str, Any] = {"fontsize": 10, "color": INK, "va": "center"}
        right = self.figure.text(1 - _GAP / width, y, legend, ha="right", alpha=0.65, **style)
        left = self.figure.text(_GAP / width, y, caption, ha="left", **style)
        # A long name loses its beginning, which is usually folders.
        limit = right.get_window_extent().x0 - _GAP * self.figure.dpi
        while caption and left.get_window_extent().x1 > limit:
            caption = caption[max(1, len(caption) // 40) :]
            left.set_text(f"…{caption}")
        return render(self.figure)


def new_figure(size: tuple[float, float], **options: Any) -> Figure:
    """An empty figure with a white background that is drawn without a window.

    Args:
        size: width and height in inches.
        options: of `matplotlib.figure.Figure`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(size, dpi=DPI, facecolor="white", **options)
    FigureCanvasAgg(figure)
    return figure


def render(figure: Figure) -> Image.Image:
    """A figure of `new_figure` as an RGB image."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def extent(size: tuple[int, int]) -> tuple[float, float, float, float]:
    """The extent of an image whose pixel (0, 0) has its corner at the origin of the axes."""
    return 0, size[0], size[1], 0


def plot_regions(panels: Sequence[Axes], regions: Sequence[Region | None]) -> None:
    """Draw the outline of a region into each panel that has one.

    Args:
        panels: with the image that the region is of, in its pixels.
        regions: of each panel; None for the whole image, of which no outline is drawn.
    """
    from matplotlib.patches import Rectangle

    for panel, region in zip(panels, regions, strict=True):
        if region is not None:
            for colour, width in (("white", 2.4), (INK, 1.0)):
                panel.add_patch(
                    Rectangle(
                        (region.x, region.y), region.width, region.height, fill=False,
                        edgecolor=colour, linewidth=width, zorder=4, clip_on=False,
                    )
                )  # fmt: skip


def plot_point(
    axes: Axes,
    point: Float[np.ndarray, "2"],
    index: int | None,
    colour: Colour,
    hollow: bool,
    zorder: int,
) -> None:
    """Draw a point with its number, counted from 1.

    Args:
        axes: of the image that the point is on.
        point: (x, y) in pixels of that image.
        index: of the point, from 0; None for a small point without a number.
        colour: of the point.
        hollow: draw it white with a coloured edge, as for uncertain points.
        zorder: what is drawn later lies on top.
    """
    axes.plot(
        *point, "o", markersize=6 if index is None else 14, zorder=zorder,
        markerfacecolor="white" if hollow else colour,
        markeredgecolor=colour if hollow else "white", markeredgewidth=1.4, clip_on=False,
    )  # fmt: skip
    if index is not None:
        axes.annotate(
            str(index + 1), (point[0], point[1]), ha="center", va="center_baseline", fontsize=8,
            fontweight="bold", color=INK if hollow else text_colour_on(colour), zorder=zorder + 1,
            annotation_clip=False,
        )  # fmt: skip
