"""Drawings of an image with the boxes of its objects."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from homolog.image.reading import ImageLike, load_image
from homolog.utils.printable import printable
from homolog.viz.figures import PanelFigure
from homolog.viz.palette import colours_by_index, text_colour_on
from homolog.viz.raster import MAX_SIZE


def plot_boxes(
    image: ImageLike,
    boxes: Sequence[tuple[float, float, float, float]],
    labels: Sequence[str],
    caption: str = "",
) -> Image.Image:
    """An image with boxes in colours of their own, each with a label at its upper left corner.

    Args:
        image: the image.
        boxes: (x, y, width, height) in pixels.
        labels: a short text for each.
        caption: what stands below the image.
    """
    from matplotlib.patches import Rectangle

    loaded = load_image(image, longest_edge=MAX_SIZE)
    drawing = PanelFigure([loaded.image], [(loaded.width, loaded.height)], columns=1)
    (axes,) = drawing.panels
    colours = colours_by_index(len(boxes))
    for (x, y, width, height), label, colour in zip(boxes, labels, colours, strict=True):
        for edge, thickness in (("white", 3.4), (colour, 1.8)):
            axes.add_patch(
                Rectangle(
                    (x, y), width, height, fill=False, edgecolor=edge, linewidth=thickness,
                    zorder=4, clip_on=False,
                )
            )  # fmt: skip
        axes.text(
            x, y, printable(label), fontsize=8, color=text_colour_on(colour), ha="left", va="top",
            zorder=5, bbox={"boxstyle": "square,pad=0.2", "facecolor": colour, "edgecolor": "none"},
        )  # fmt: skip
    return drawing.render(caption)
