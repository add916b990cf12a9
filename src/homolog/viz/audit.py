"""A contact sheet of labels that contradict the others."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from PIL import Image

from homolog.errors import HomologError
from homolog.image.reading import load_image
from homolog.utils.printable import printable
from homolog.viz.figures import new_figure, render
from homolog.viz.palette import CORRECT, INK, LEFT, RIGHT, WRONG

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS = 4
_PANEL = 3.0  # inches along either axis
_TITLE, _GAP, _CAPTION = 0.62, 0.12, 0.4
_PIXELS = 600  # along the longer edge of an image as it is drawn
_MARGIN = 0.15  # around an object, as a share of the longer side of its box
_LETTERS = 42  # in a line of a title


@dataclass(frozen=True, eq=False)
class SheetEntry:
    """An object of a contact sheet.

    Attributes:
        image: its image; None if that is missing.
        title: what was found, a few words.
        box: (x0, y0, x1, y1) of the object in pixels.
        given: (x, y) of the keypoints concerned in pixels, NaN where one is not labelled.
        suggested: where they should be, likewise.
        names: of these keypoints.
        sides: of each keypoint 1 if its label says left, -1 if right; of keypoints whose side is
            not in question 0.
    """

    image: str | None
    title: str
    box: tuple[float, float, float, float]
    given: Float[np.ndarray, "P 2"]
    suggested: Float[np.ndarray, "P 2"]
    names: tuple[str, ...]
    sides: tuple[int, ...]


def plot_audit(entries: Sequence[SheetEntry], caption: str) -> Image.Image:
    """A contact sheet: objects whose labels contradict the others, several in a row.

    Of objects whose sides are exchanged, keypoints labelled left are blue and those labelled right
    orange. Others are red, with their names, and an arrow leads to where each should be.

    Args:
        entries: the objects, at least one.
        caption: the line below them.
    """
    columns = min(_COLUMNS, len(entries))
    rows = -(-len(entries) // columns)
    width = columns * (_PANEL + _GAP) + _GAP
    height = rows * (_PANEL + _TITLE + _GAP) + _CAPTION
    figure = new_figure((width, height))
    for index, entry in enumerate(entries):
        row, column = divmod(index, columns)
        left = _GAP + column * (_PANEL + _GAP)
        bottom = height - (row + 1) * (_PANEL + _TITLE + _GAP) + _GAP
        place = left / width, bottom / height, _PANEL / width, _PANEL / height
        axes = figure.add_axes(place)
        axes.set_axis_off()
        _show_image(axes, entry)
        _show_keypoints(axes, entry)
        lines = [line for part in entry.title.split("\n") for line in textwrap.wrap(part, _LETTERS)]
        axes.set_title(printable("\n".join(lines[:3])), fontsize=8, color=INK, loc="left", pad=3)
    figure.text(_GAP / width, 0.15 / height, printable(caption), fontsize=9, color=INK)
    return render(figure)


def _show_image(axes: Axes, entry: SheetEntry) -> None:
    """The part of an image around an object; grey if the image is missing."""
    x0, y0, x1, y1 = entry.box
    points = np.concatenate([entry.given, entry.suggested])
    points = points[np.isfinite(points).all(axis=1)]
    if len(points):
        x0, y0 = np.minimum((x0, y0), points.min(0))
        x1, y1 = np.maximum((x1, y1), points.max(0))
    half = max(x1 - x0, y1 - y0, 1.0) * (0.5 + _MARGIN)
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    axes.set(xlim=(x - half, x + half), ylim=(y + half, y - half), aspect="equal")
    if entry.image is None:
        axes.text(x, y, "image not found", ha="center", fontsize=9, color=INK)
        return
    try:
        loaded = load_image(entry.image)
    except HomologError:
        axes.text(x, y, "image cannot be read", ha="center", fontsize=9, color=INK)
        return
    pixels = loaded.image
    low = np.clip(np.floor((x - half, y - half)), 0, pixels.size).astype(int)
    high = np.clip(np.ceil((x + half, y + half)), 0, pixels.size).astype(int)
    (left, top), (right, bottom) = low.tolist(), np.maximum(high, low + 1).tolist()
    shown = pixels.crop((left, top, right, bottom))
    shown.thumbnail((_PIXELS, _PIXELS))
    axes.imshow(shown, extent=(left, right, bottom, top), interpolation="antialiased")
    axes.set(xlim=(x - half, x + half), ylim=(y + half, y - half))


def _show_keypoints(axes: Axes, entry: SheetEntry) -> None:
    """The keypoints concerned, and arrows to where they should be."""
    for point, other, name, side in zip(
        entry.given, entry.suggested, entry.names, entry.sides, strict=True
    ):
        if not np.isfinite(point).all():
            continue
        colour = {0: WRONG, 1: LEFT, -1: RIGHT}[side]
        if side == 0 and np.isfinite(other).all():
            axes.annotate(
                "", tuple(other), tuple(point), zorder=5, annotation_clip=False,
                arrowprops={"arrowstyle": "-|>", "color": CORRECT, "lw": 1.8},
            )  # fmt: skip
        axes.plot(
            *point, "o", markersize=6, markerfacecolor=colour, markeredgecolor="white",
            markeredgewidth=1.2, zorder=6,
        )  # fmt: skip
        if side == 0:
            box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "alpha": 0.8, "lw": 0}
            axes.annotate(
                name, tuple(point), (6, 5), textcoords="offset points", fontsize=7, color=INK,
                bbox=box, zorder=7, annotation_clip=True,
            )  # fmt: skip
