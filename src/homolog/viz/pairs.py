"""Drawings of one or two images with what was found on them.

Every function returns an RGB `PIL.Image`. Images are drawn beside each other at one scale, large
enough that labels are readable whatever the size of the originals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image

from homolog.descriptors import Features, FeaturesLike
from homolog.flow import Flow
from homolog.image.reading import ImageLike, load_image
from homolog.results import Heatmap, Matches, Sides
from homolog.viz.figures import PanelFigure, extent, plot_point, plot_regions
from homolog.viz.palette import CORRECT, INK, LEFT, RIGHT, WRONG, colour_map, colours_by_position
from homolog.viz.raster import MAX_SIZE, reduced_size, warp_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MAX_NUMBERED = 40


def plot_matches(image0: FeaturesLike, image1: FeaturesLike, matches: Matches) -> Image.Image:
    """Both images side by side, with lines that join the matching points.

    A thin rectangle is the part of an image that filled the canvas, if that was not all of it. A
    point has the same colour and number in both images; below them stand the names of named
    points. The more confident a match, the wider and the more opaque its line; points with a
    score below 0.5 are white.

    Args:
        image0: the source, or its features.
        image1: the target, or its features.
        matches: the matches; more than 40 are drawn without numbers and names.
    """
    from matplotlib.patches import ConnectionPatch

    numbered = len(matches) <= _MAX_NUMBERED
    sizes, names = (matches.size0, matches.size1), matches.point_names if numbered else None
    drawing = PanelFigure([_pixels(image0), _pixels(image1)], sizes, names=names)
    plot_regions(drawing.panels, (matches.region0, matches.region1))
    colours = colours_by_position(matches.keypoints0, matches.size0)
    # The most confident matches are drawn last, on top.
    for rank, index in enumerate(np.argsort(matches.matching_scores, kind="stable")):
        score, colour = float(matches.matching_scores[index]), colours[index]
        ends = matches.keypoints0[index], matches.keypoints1[index]
        zorder = 10 + 3 * rank
        source, target = drawing.panels
        drawing.figure.add_artist(
            ConnectionPatch(
                ends[0], ends[1], "data", "data", axesA=source, axesB=target, color=colour,
                linewidth=0.6 + 2.0 * score, alpha=0.15 + 0.7 * score, zorder=zorder,
            )
        )  # fmt: skip
        for axes, end in zip(drawing.panels, ends, strict=True):
            plot_point(axes, end, int(index) if numbered else None, colour, score < 0.5, zorder + 1)
    if names is not None:
        drawing.add_legend(colours)
    parts = [
        f"{len(matches)} match{'' if len(matches) == 1 else 'es'}",
        f"pair score {matches.pair_score:.2f}",
        *_score_range(matches),
    ]
    if matches.pose != "identity":
        parts.append(f"pose {matches.pose}")
    return drawing.render("   ·   ".join(parts), "wide line: confident   ·   white point: doubtful")


def _score_range(matches: Matches) -> list[str]:
    scores = matches.matching_scores
    return [f"scores {scores.min():.2f} to {scores.max():.2f}"] if len(scores) else []


def plot_heatmap(
    image0: FeaturesLike, image1: FeaturesLike, heatmap: Heatmap, temperature: float = 0.05
) -> Image.Image:
    """A point of the source, and beside it the probability of each place in the target.

    Args:
        image0: the source, or its features.
        image1: the target, or its features.
        heatmap: its first point is drawn.
        temperature: of the softmax that makes probabilities of similarities; the higher, the more
            of the alternatives is visible.
    """
    import matplotlib

    matches = heatmap.matches
    sizes = matches.size0, matches.size1
    drawing = PanelFigure([_pixels(image0), _pixels(image1)], sizes)
    plot_regions(drawing.panels, (matches.region0, matches.region1))
    source, target = drawing.panels
    probability = heatmap.probability(temperature)[0]
    pixels = reduced_size(matches.size1)
    share = heatmap.transform1.resample(probability[..., None], pixels, outside=0.0)[..., 0]
    share /= probability.max()
    overlay = matplotlib.colormaps["inferno"](share)
    overlay[..., 3] = 0.35 + 0.5 * share**0.5
    target.imshow(overlay, extent=extent(matches.size1), zorder=2)
    for axes, (x, y) in ((source, matches.keypoints0[0]), (target, matches.keypoints1[0])):
        axes.plot(x, y, "o", markersize=14, markeredgecolor="white", markerfacecolor="none",
                  markeredgewidth=3.2, zorder=5, clip_on=False)  # fmt: skip
        axes.plot(x, y, "o", markersize=14, markeredgecolor="#e6194b", markerfacecolor="none",
                  markeredgewidth=1.6, zorder=6, clip_on=False)  # fmt: skip
    return drawing.render(
        f"score {matches.matching_scores[0]:.2f}   ·   pair score {matches.pair_score:.2f}",
        "bright: probable   ·   ring: the match",
    )


def plot_sides(image: FeaturesLike, sides: Sides) -> Image.Image:
    """An image with the left side of its object painted blue and the right side orange.

    The more certain the side, the stronger its colour; where there is none, or no object that the
    model recognises, the image stays grey. An arrow from the object's centre shows its heading.

    Args:
        image: the image, or its features.
        sides: of that image.
    """
    size = sides.transform.width, sides.transform.height
    drawing = PanelFigure([_pixels(image).convert("L").convert("RGB")], [size], columns=1)
    plot_regions(drawing.panels, [sides.transform.region])
    paint_sides(drawing.panels[0], sides)
    return drawing.render(sides.describe(), "blue: its left   ·   orange: its right")


def paint_sides(axes: Axes, sides: Sides) -> None:
    """Paint the sides of an object over its image, as `plot_sides` does.

    Args:
        axes: of the image, in its pixels.
        sides: of that image.
    """
    from matplotlib.patheffects import withStroke

    size = sides.transform.width, sides.transform.height
    left, right, confidence = np.moveaxis(sides.dense(reduced_size(size)), -1, 0)
    colours = np.where((left > right)[..., None], LEFT, RIGHT)
    opacity = 0.8 * confidence * np.abs(left - right)
    axes.imshow(np.dstack([colours, opacity]), extent=extent(size), zorder=2)
    centre = sides.centre
    if centre is not None:
        tip = centre + 0.25 * max(size) * np.array(sides.heading[:2])
        style = {"arrowstyle": "-|>", "color": INK, "lw": 3, "mutation_scale": 22, "shrinkA": 0}
        arrow = axes.annotate(
            "", tuple(tip), tuple(centre), zorder=5, annotation_clip=False, arrowprops=style
        )
        assert arrow.arrow_patch is not None
        arrow.arrow_patch.set_path_effects([withStroke(linewidth=6, foreground="white")])


def plot_flow(image0: FeaturesLike, image1: FeaturesLike, flow: Flow) -> Image.Image:
    """Four panels: both images painted in corresponding colours, and each warped onto the other.

    In the upper row every part of the source is coloured by its position, and every part of the
    target has the colour of its match; where the flow is not confident, the image shows through.
    Below the target, the source is warped onto its shape, and below the source, the target.

    Args:
        image0: the source, or its features.
        image1: the target, or its features.
        flow: between the two.
    """
    images = _pixels(image0), _pixels(image1)
    sizes = [(f.transform0.width, f.transform0.height) for f in (flow.forward, flow.backward)]
    forward, backward = flow.forward.smoothed(), flow.backward.smoothed()
    warped = [warp_image(images[1], forward), warp_image(images[0], backward)]
    drawing = PanelFigure([*images, *warped], sizes * 2, columns=2)
    plot_regions(drawing.panels[:2], [f.transform0.region for f in (flow.forward, flow.backward)])
    source, target, below_source, below_target = drawing.panels
    for panel, field, size in ((source, forward, sizes[0]), (target, backward, sizes[1])):
        pixels = reduced_size(size)
        if field is forward:
            x, y = np.meshgrid(np.linspace(0, 1, pixels[0]), np.linspace(0, 1, pixels[1]))
            positions = np.stack([x, y], axis=-1)
        else:
            positions = field.dense(pixels) / sizes[0]
        opacity = 0.75 * np.clip(2 * field.confidence(pixels), 0, 1)
        overlay = np.dstack([colour_map(positions), opacity])
        panel.imshow(overlay, extent=extent(size), zorder=2)
    source.set_title("source, coloured by position", fontsize=10, color=INK)
    target.set_title("target, coloured by match", fontsize=10, color=INK)
    below_source.set_title("target warped onto the source's shape", fontsize=10, color=INK)
    below_target.set_title("source warped onto the target's shape", fontsize=10, color=INK)
    share = flow.forward.consistent.sum() / max(1, flow.forward.transform0.valid_cells.sum())
    text = f"pair score {flow.pair_score:.2f}   ·   {100 * share:.0f} % consistent both ways"
    if flow.pose != "identity":
        text += f"   ·   pose {flow.pose}"
    return drawing.render(text)


def plot_errors(
    image0: ImageLike,
    image1: ImageLike,
    keypoints0: Float[np.ndarray, "K 2"],
    truth1: Float[np.ndarray, "K 2"],
    predicted1: Float[np.ndarray, "K 2"],
    correct: Bool[np.ndarray, "K"],
    caption: str,
) -> Image.Image:
    """An evaluated pair: its keypoints, where they were predicted, and the error of each.

    A point has the same colour and number in both images. A line leads from each prediction to a
    cross at the truth; wrong predictions are white and have a red line.

    Args:
        image0: the source.
        image1: the target.
        keypoints0: (x, y) in pixels of the source.
        truth1: (x, y) in pixels of the target.
        predicted1: (x, y) in pixels of the target; points that are NaN are not drawn.
        correct: whether each prediction is close enough to the truth.
        caption: the line below the images.
    """
    loaded = [load_image(image, longest_edge=MAX_SIZE) for image in (image0, image1)]
    sizes = [(image.width, image.height) for image in loaded]
    drawing = PanelFigure([image.image for image in loaded], sizes)
    source, target = drawing.panels
    for index, colour in enumerate(colours_by_position(keypoints0, sizes[0])):
        plot_point(source, keypoints0[index], index, colour, False, 10)
        ends = np.stack([predicted1[index], truth1[index]])
        if not np.isfinite(ends).all():
            continue
        line = CORRECT if correct[index] else WRONG
        target.plot(*ends.T, "-", color="white", linewidth=3.4, zorder=8)
        target.plot(*ends.T, "-", color=line, linewidth=1.8, zorder=9)
        target.plot(*truth1[index], "x", color="white", markersize=9, markeredgewidth=3.6, zorder=8)
        target.plot(*truth1[index], "x", color=line, markersize=8, markeredgewidth=2, zorder=9)
        plot_point(target, predicted1[index], index, colour, not correct[index], 10)
    return drawing.render(caption, "cross: truth   ·   white point: wrong")


def _pixels(image: FeaturesLike) -> Image.Image:
    """The reduced image to be drawn."""
    if isinstance(image, Features):
        return image.image
    return load_image(image, longest_edge=MAX_SIZE).image
