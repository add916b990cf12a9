"""Drawings of what an adaptation learned from, and of what it changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image

from homolog.image.reading import LoadedImage
from homolog.results import Sides
from homolog.utils.printable import printable
from homolog.viz.figures import PanelFigure, plot_point
from homolog.viz.pairs import paint_sides
from homolog.viz.palette import INK, colours_by_position

_PANEL = (4.4, 3.3)  # width and height of an image, in inches at most
_NARROW_PANEL = (3.6, 3.0)  # where there are three in a row
_REJECTED = "#9a9aa2"


@dataclass(frozen=True, eq=False)
class MinedPair:
    """A pair of images with M matches, of which some are kept as pseudo-labels.

    Attributes:
        source: the image that is matched.
        target: the image that it is matched with.
        source_points: (x, y) in pixels of the source.
        target_points: (x, y) in pixels of the target.
        kept: whether each match is kept.
        title: a few words on the pair.
    """

    source: LoadedImage
    target: LoadedImage
    source_points: Float[np.ndarray, "M 2"]
    target_points: Float[np.ndarray, "M 2"]
    kept: Bool[np.ndarray, "M"]
    title: str


@dataclass(frozen=True, eq=False)
class ComparedPair:
    """K points of an image, matched in another by two matchers.

    Attributes:
        source: the image that is matched.
        target: the image that it is matched with.
        source_points: (x, y) in pixels of the source.
        before: where the first matcher finds them, in pixels of the target.
        after: where the second does.
        consistent_before: whether each match of the first matcher leads back to its source.
        consistent_after: the same of the second.
        titles: a few words above the source, and above each of the targets.
    """

    source: LoadedImage
    target: LoadedImage
    source_points: Float[np.ndarray, "K 2"]
    before: Float[np.ndarray, "K 2"]
    after: Float[np.ndarray, "K 2"]
    consistent_before: Bool[np.ndarray, "K"]
    consistent_after: Bool[np.ndarray, "K"]
    titles: tuple[str, str, str]


def plot_mined_pairs(pairs: Sequence[MinedPair]) -> Image.Image:
    """Pairs of images, one below the other, with the matches that were kept and those rejected.

    A kept match has the same colour at both ends; its colour tells where it lies on the source. A
    rejected one is grey.

    Args:
        pairs: the pairs, at least one.
    """
    from matplotlib.patches import ConnectionPatch

    images = [image for pair in pairs for image in (pair.source, pair.target)]
    drawing = _panels(images, 2, _PANEL)
    for row, pair in enumerate(pairs):
        source, target = drawing.panels[2 * row : 2 * row + 2]
        source.set_title(printable(pair.title), fontsize=10, color=INK, loc="left")
        colours = iter(
            colours_by_position(
                pair.source_points[pair.kept], (pair.source.width, pair.source.height)
            )
        )
        for index in np.argsort(pair.kept, kind="stable"):
            kept = bool(pair.kept[index])
            colour = next(colours) if kept else _REJECTED
            ends = pair.source_points[index], pair.target_points[index]
            drawing.figure.add_artist(
                ConnectionPatch(
                    ends[0], ends[1], "data", "data", axesA=source, axesB=target, color=colour,
                    linewidth=1.0 if kept else 0.7, alpha=0.6,
                    zorder=8 if kept else 4,
                )
            )  # fmt: skip
            for axes, end in zip((source, target), ends, strict=True):
                axes.plot(
                    *end, "o", markersize=6 if kept else 3, color=colour, clip_on=False,
                    markeredgecolor="white", markeredgewidth=0.9 if kept else 0.4,
                    zorder=10 if kept else 5,
                )  # fmt: skip
    return drawing.render("", "coloured: kept   ·   grey: rejected")


def plot_compared_pairs(pairs: Sequence[ComparedPair]) -> Image.Image:
    """Pairs of images, one below the other, with the matches of two matchers.

    Three panels in a row: the source, and the target as matched before and after. A point has the
    same colour and number in all three. It is white where its match does not lead back to it.

    Args:
        pairs: the pairs, at least one.
    """
    images = [image for pair in pairs for image in (pair.source, pair.target, pair.target)]
    drawing = _panels(images, 3, _NARROW_PANEL)
    for row, pair in enumerate(pairs):
        panels = drawing.panels[3 * row : 3 * row + 3]
        for axes, title in zip(panels, pair.titles, strict=True):
            axes.set_title(printable(title), fontsize=10, color=INK, loc="left")
        colours = colours_by_position(pair.source_points, (pair.source.width, pair.source.height))
        everywhere = np.ones(len(colours), dtype=bool)
        for axes, points, consistent in zip(
            panels,
            (pair.source_points, pair.before, pair.after),
            (everywhere, pair.consistent_before, pair.consistent_after),
            strict=True,
        ):
            for index, colour in enumerate(colours):
                hollow = not consistent[index]
                plot_point(axes, points[index], index, colour, hollow, 10 + 2 * index)
    return drawing.render("", "white point: its match does not lead back to it")


def plot_compared_sides(
    images: Sequence[LoadedImage], before: Sequence[Sides], after: Sequence[Sides]
) -> Image.Image:
    """Images, one below the other, with the sides of their objects as two side heads see them.

    Colours are those of `homolog.viz.plot_sides`.

    Args:
        images: at least one.
        before: the sides of each image, on the left.
        after: those on the right.
    """
    grey = [LoadedImage(i.image.convert("L").convert("RGB"), i.width, i.height) for i in images]
    drawing = _panels([image for image in grey for _ in range(2)], 2, _PANEL)
    for row, found in enumerate(zip(before, after, strict=True)):
        panels = drawing.panels[2 * row : 2 * row + 2]
        for axes, sides, when in zip(panels, found, ("before", "after"), strict=True):
            paint_sides(axes, sides)
            axes.set_title(f"{when}: {sides.describe()}", fontsize=10, color=INK, loc="left")
    return drawing.render("", "blue: its left   ·   orange: its right   ·   arrow: its heading")


def _panels(
    images: Sequence[LoadedImage], columns: int, largest: tuple[float, float]
) -> PanelFigure:
    sizes = [(image.width, image.height) for image in images]
    return PanelFigure(
        [image.image for image in images], sizes, columns, largest=largest, titled=True
    )
