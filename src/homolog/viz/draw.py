"""Pictures of matches, flows and heatmaps.

Every function returns an RGB `PIL.Image`; pictures are drawn side by side at one height, large
enough that labels are readable whatever the size of the originals.
"""

from __future__ import annotations

import colorsys
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image, ImageDraw, ImageFont

from homolog.descriptors import Features, FeaturesLike
from homolog.flow import Flow, FlowField
from homolog.image import reading
from homolog.image.geometry import interpolate
from homolog.image.reading import ImageLike
from homolog.results import Heatmap, Matches, Sides
from homolog.utils.outputs import write_atomically

if TYPE_CHECKING:  # matplotlib is imported when the first picture is drawn
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Lengths in inches.
_PANEL = (8.0, 5.0)  # the largest width and height of one picture
_GAP = 0.15
_FOOTER = 0.42
_DPI = 130

_INK = "#1c1c28"
_SIDE = 1024  # pixels of the longer side that pictures are drawn with
_MAX_NUMBERED = 40
LEFT, RIGHT = (0.12, 0.47, 0.96), (1.0, 0.5, 0.05)
"""Colours of a thing's own left and right."""


def matches(image0: FeaturesLike, image1: FeaturesLike, found: Matches) -> Image.Image:
    """Both pictures side by side, matching points joined by lines.

    Points have the same colour and number in both pictures. The surer a match, the wider and
    the more opaque its line; the number of a doubtful point (score below 0.5) stands on white.

    Args:
        image0: the first picture, or its features.
        image1: the second picture, likewise.
        found: the matches; above 40 they are drawn without numbers.
    """
    from matplotlib.patches import ConnectionPatch

    sizes = found.size0, found.size1
    figure, (left, right) = _panels([_picture(image0), _picture(image1)], sizes)
    colours = _colours(found.keypoints0, found.size0)
    numbered = len(found) <= _MAX_NUMBERED
    # The surest are drawn last, on top.
    for rank, index in enumerate(np.argsort(found.matching_scores, kind="stable")):
        score, colour = float(found.matching_scores[index]), colours[index]
        ends = found.keypoints0[index], found.keypoints1[index]
        order = 10 + 3 * rank
        figure.add_artist(
            ConnectionPatch(
                ends[0], ends[1], "data", "data", axesA=left, axesB=right, color=colour,
                linewidth=0.6 + 2.0 * score, alpha=0.15 + 0.7 * score, zorder=order,
            )
        )  # fmt: skip
        for axes, end in zip((left, right), ends, strict=True):
            _number(axes, end, int(index) if numbered else None, colour, score < 0.5, order + 1)
    parts = [
        f"{len(found)} match{'' if len(found) == 1 else 'es'}",
        f"pair score {found.pair_score:.2f}",
        f"scores {found.matching_scores.min():.2f} to {found.matching_scores.max():.2f}",
    ]
    if found.pose != "identity":
        parts.append(f"pose {found.pose}")
    return _finish(figure, "   ·   ".join(parts), "wide line: sure   ·   white point: doubtful")


def heatmap(
    image0: FeaturesLike, image1: FeaturesLike, heat: Heatmap, temperature: float = 0.05
) -> Image.Image:
    """A point of the first picture, and where in the second it could be.

    Args:
        image0: the first picture, or its features.
        image1: the second picture, likewise.
        heat: the heatmap; its first point is drawn.
        temperature: of the probabilities shown; higher shows more of the alternatives.
    """
    found = heat.matches
    sizes = found.size0, found.size1
    figure, (left, right) = _panels([_picture(image0), _picture(image1)], sizes)
    probability = heat.probability(temperature)[0]
    import matplotlib

    share = heat.transform1.resample(probability[..., None], reduced(found.size1))[..., 0]
    share /= probability.max()
    painted = matplotlib.colormaps["inferno"](share)
    painted[..., 3] = 0.35 + 0.5 * share**0.5
    right.imshow(painted, extent=_extent(found.size1), zorder=2)
    for axes, (x, y) in ((left, found.keypoints0[0]), (right, found.keypoints1[0])):
        axes.plot(x, y, "o", markersize=14, markeredgecolor="white", markerfacecolor="none",
                  markeredgewidth=3.2, zorder=5, clip_on=False)  # fmt: skip
        axes.plot(x, y, "o", markersize=14, markeredgecolor="#e6194b", markerfacecolor="none",
                  markeredgewidth=1.6, zorder=6, clip_on=False)  # fmt: skip
    return _finish(
        figure,
        f"score {found.matching_scores[0]:.2f}   ·   pair score {found.pair_score:.2f}",
        "bright: likely   ·   ring: the answer",
    )


def sides(image: FeaturesLike, found: Sides) -> Image.Image:
    """A picture with the thing's left half painted blue and its right half orange.

    The surer a side, the stronger its colour; where the thing has none, or there is no thing that
    the model knows, the picture stays grey. An arrow from the middle of the thing points where it
    faces.

    Args:
        image: the picture, or its features.
        found: its sides.
    """
    from matplotlib.patheffects import withStroke

    size = found.transform.width, found.transform.height
    figure, (axes,) = _panels([_picture(image).convert("L").convert("RGB")], [size], columns=1)
    left, right, confidence = np.moveaxis(found.dense(reduced(size)), -1, 0)
    colours = np.where((left > right)[..., None], LEFT, RIGHT)
    opacity = 0.8 * confidence * np.abs(left - right)
    axes.imshow(np.dstack([colours, opacity]), extent=_extent(size), zorder=2)
    middle = found.centre
    if middle is not None:
        length = 0.25 * max(size)
        tip = middle + length * np.array(found.heading[:2])
        ends = tuple(tip), tuple(middle)
        style = {"arrowstyle": "-|>", "color": _INK, "lw": 3, "mutation_scale": 22, "shrinkA": 0}
        arrow = axes.annotate("", *ends, zorder=5, annotation_clip=False, arrowprops=style)
        assert arrow.arrow_patch is not None
        arrow.arrow_patch.set_path_effects([withStroke(linewidth=6, foreground="white")])
    return _finish(figure, found.describe(), "blue: its left   ·   orange: its right")


def flow(image0: FeaturesLike, image1: FeaturesLike, found: Flow) -> Image.Image:
    """Four panels: both pictures painted with matching colours, and each warped onto the other.

    In the upper row every part of the first picture has a colour by its place, and every part of
    the second the colour of its match; where the flow is unsure the picture shows through. Below
    the second, the first picture is warped onto its shape; below the first, the second.

    Args:
        image0: the first picture, or its features.
        image1: the second picture, likewise.
        found: the flow between them.
    """
    pictures = _picture(image0), _picture(image1)
    sizes = [(f.transform0.width, f.transform0.height) for f in (found.forward, found.backward)]
    forward, backward = found.forward.smoothed(), found.backward.smoothed()
    warped = [warp(pictures[1], forward), warp(pictures[0], backward)]
    figure, axes = _panels([*pictures, *warped], sizes * 2, columns=2)
    left, right, below_left, below_right = axes
    for panel, field, size in ((left, forward, sizes[0]), (right, backward, sizes[1])):
        pixels = reduced(size)
        if field is forward:
            x, y = np.meshgrid(np.linspace(0, 1, pixels[0]), np.linspace(0, 1, pixels[1]))
            place = np.stack([x, y], axis=-1)
        else:
            place = field.dense(pixels) / sizes[0]
        opacity = 0.75 * np.clip(2 * field.confidence(pixels), 0, 1)
        painted = np.dstack([_place_colours(place), opacity])
        panel.imshow(painted, extent=_extent(size), zorder=2)
    left.set_title("first picture, coloured by place", fontsize=10, color=_INK)
    right.set_title("second picture, coloured by match", fontsize=10, color=_INK)
    below_left.set_title("second picture on the first one's shape", fontsize=10, color=_INK)
    below_right.set_title("first picture on the second one's shape", fontsize=10, color=_INK)
    share = found.forward.consistent.sum() / max(1, found.forward.transform0.valid_cells.sum())
    text = f"pair score {found.pair_score:.2f}   ·   {100 * share:.0f} % consistent both ways"
    if found.pose != "identity":
        text += f"   ·   pose {found.pose}"
    return _finish(figure, text, "")


def errors(
    image0: ImageLike,
    image1: ImageLike,
    keypoints0: Float[np.ndarray, "K 2"],
    truth1: Float[np.ndarray, "K 2"],
    predicted1: Float[np.ndarray, "K 2"],
    right: Bool[np.ndarray, "K"],
    caption: str,
) -> Image.Image:
    """An evaluated pair: keypoints, where they were found, and how far that is from the truth.

    Points have the same colour and number in both pictures. A line leads from where a point was
    found to a cross at the truth; points that are wrong stand on white, with a red line.

    Args:
        image0: the first picture.
        image1: the second picture.
        keypoints0: (x, y) in pixels of the first picture.
        truth1: (x, y) in pixels of the second picture.
        predicted1: likewise; points that are NaN are not drawn.
        right: whether each is near enough to the truth.
        caption: the line below.
    """
    read = [reading.read(image, side=_SIDE) for image in (image0, image1)]
    sizes = [(picture.width, picture.height) for picture in read]
    figure, (left, panel) = _panels([picture.image for picture in read], sizes)
    colours = _colours(keypoints0, sizes[0])
    for index, colour in enumerate(colours):
        _number(left, keypoints0[index], index, colour, False, 10)
        ends = np.stack([predicted1[index], truth1[index]])
        if not np.isfinite(ends).all():
            continue
        line = _GOOD if right[index] else _BAD
        panel.plot(*ends.T, "-", color="white", linewidth=3.4, zorder=8)
        panel.plot(*ends.T, "-", color=line, linewidth=1.8, zorder=9)
        panel.plot(*truth1[index], "x", color="white", markersize=9, markeredgewidth=3.6, zorder=8)
        panel.plot(*truth1[index], "x", color=line, markersize=8, markeredgewidth=2, zorder=9)
        _number(panel, predicted1[index], index, colour, not right[index], 10)
    return _finish(figure, caption, "cross: truth   ·   white point: wrong")


def trails(
    image: Image.Image,
    size: tuple[int, int],
    points: Float[np.ndarray, "T K 2"],
    lost: Bool[np.ndarray, "T K"],
    scores: Float[np.ndarray, "K"],
) -> Image.Image:
    """A frame of a video with numbered points, and the ways that they came.

    Doubtful points (score below 0.5) are hollow, lost ones are not drawn; a way ends where a point
    jumps by more than a tenth of the frame.

    Args:
        image: the frame, in any resolution of its shape.
        size: width and height of the original frame.
        points: (x, y) in pixels of the original, up to now; at most 40 are numbered.
        lost: which of them to leave out.
        scores: of the points as they are now.
    """
    over = 2  # drawn larger, then reduced: Pillow draws without smoothing
    scale = over * np.array(image.size) / size
    layer = Image.new("RGBA", (over * image.width, over * image.height))
    pen = ImageDraw.Draw(layer)
    numbered = len(scores) <= _MAX_NUMBERED
    radius = over * max(image.size) / (65 if numbered else 160)
    font = ImageFont.load_default(1.25 * radius)
    for index, hue in enumerate(_spread_hues(len(scores))):
        colour = tuple(round(255 * value) for value in hue)
        for step in range(1, len(points)):
            ends = points[step - 1 : step + 1, index] * scale
            jump = np.abs(ends[1] - ends[0]).max() > 0.1 * max(layer.size)
            if not (jump or lost[step - 1 : step + 1, index].any()):
                opacity = round(200 * step / len(points))
                pen.line([*ends.ravel()], (*colour, opacity), round(radius / 2))
    for index, hue in enumerate(_spread_hues(len(scores))):
        if lost[-1, index]:
            continue
        colour = tuple(round(255 * value) for value in hue)
        place = tuple(points[-1, index] * scale)
        doubtful = scores[index] < 0.5
        line = round(radius / (5 if doubtful else 6))
        pen.circle(place, radius + line / 2, None, (*(_DARK if doubtful else _WHITE), 255), line)
        pen.circle(
            place, radius, None if doubtful else colour, colour if doubtful else _WHITE, line
        )
        if numbered:
            ink = _WHITE if doubtful or _contrast(hue) == "white" else _DARK
            edge = over if doubtful else 0
            pen.text(
                place, str(index + 1), ink, font, anchor="mm", stroke_width=edge, stroke_fill=_DARK
            )
    layer = layer.resize(image.size, Image.Resampling.BOX)
    return Image.alpha_composite(image.convert("RGBA"), layer).convert("RGB")


def stack(pictures: Sequence[Image.Image]) -> Image.Image:
    """Pictures one below the other, at one width."""
    width = min(picture.width for picture in pictures)
    scaled = [p.resize((width, round(p.height * width / p.width))) for p in pictures]
    sheet = Image.new("RGB", (width, sum(picture.height for picture in scaled)), "white")
    top = 0
    for picture in scaled:
        sheet.paste(picture, (0, top))
        top += picture.height
    return sheet


def curves(
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    xlabel: str,
    ylabel: str,
    bands: Mapping[str, Sequence[tuple[float, float]]] | None = None,
    *,
    shares: bool = True,
) -> Image.Image:
    """A chart of some lines.

    Args:
        lines: x and y of each, by name.
        xlabel: what x is.
        ylabel: what y is.
        bands: intervals around the lines of the same names.
        shares: whether y are shares, which are shown in percent.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((7.0, 4.6), dpi=_DPI, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for (name, (x, y)), colour in zip(lines.items(), _LINES, strict=False):
        factor = 100 if shares else 1
        marker = "o" if len(x) < 10 else ""
        axes.plot(x, factor * np.asarray(y), marker=marker, color=colour, linewidth=2, label=name)
        if bands and name in bands:
            low, high = factor * np.array(bands[name]).T
            axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
    ticks = sorted({value for x, _ in lines.values() for value in x})
    if len(ticks) < 10 and all(float(value).is_integer() for value in ticks):
        axes.set_xticks(ticks, [str(int(value)) for value in ticks])
    axes.set(xlabel=xlabel, ylabel=ylabel, ylim=(0, None))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return _rendered(figure)


def save(picture: Image.Image, path: Path) -> None:
    """Write a picture in the format that its name ends with; PNG, JPEG or WebP.

    Raises:
        HomologError: it cannot be written.
    """
    buffer = io.BytesIO()
    form = {".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}.get(path.suffix.lower(), "PNG")
    picture.save(buffer, form, quality=92)
    write_atomically(path, buffer.getvalue())


_GOOD, _BAD = "#1a9850", "#d73027"
_LINES = ("#1f4e9e", "#d9660a", "#1a9850", "#8b2fa3")


def warp(
    picture: Image.Image, field: FlowField, size: tuple[int, int] | None = None
) -> Image.Image:
    """A picture on the shape of another's thing.

    Where the flow is not consistent the picture fades to grey.

    Args:
        picture: what the flow leads to, in any resolution of its shape.
        field: the flow from the shape that is wanted to that picture; `smoothed` looks best.
        size: width and height of the result; by default those of the flow's source, at most
            1,024 pixels.
    """
    size = size or reduced((field.transform0.width, field.transform0.height))
    warped = resampled(picture.convert("RGB"), field, size)
    sure = np.clip(4 * field.confidence(size), 0, 1)[..., None]
    return Image.fromarray((warped * sure + FADED * (1 - sure)).astype(np.uint8))


def resampled(
    picture: Image.Image, field: FlowField, size: tuple[int, int]
) -> Float[np.ndarray, "height width channels"]:
    """A picture's values where a flow leads, 0 to 255, sure or not.

    Args:
        picture: what the flow leads to, in any resolution of its shape; `RGB` or `L`, whose one
            channel is kept.
        field: the flow from the shape that is wanted to that picture.
        size: width and height of the result.
    """
    pixels = np.atleast_3d(np.asarray(picture, dtype=np.float32))
    scale = np.array(picture.size) / (field.transform1.width, field.transform1.height)
    positions = field.dense(size).reshape(-1, 2) * scale - 0.5
    return interpolate(pixels, positions).reshape(size[1], size[0], pixels.shape[2])


_WHITE, _DARK = (255, 255, 255), (28, 28, 40)
FADED = 225
"""Grey level of what has no match."""


def _picture(image: FeaturesLike) -> Image.Image:
    return image.image if isinstance(image, Features) else reading.read(image, side=_SIDE).image


def reduced(size: tuple[int, int], side: int = _SIDE) -> tuple[int, int]:
    """The size a picture is drawn with: its own, or with this longer side if it is larger."""
    scale = min(1.0, side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _extent(size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Puts pixel (0, 0)'s corner at the origin, so that axes are in points of the picture."""
    return 0, size[0], size[1], 0


def _panels(
    pictures: Sequence[Image.Image], sizes: Sequence[tuple[int, int]], columns: int = 2
) -> tuple[Figure, list[Axes]]:
    """A figure with the pictures in rows; the axes of each are in points of the original."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    scales = [min(_PANEL[0] / width, _PANEL[1] / height) for width, height in sizes]
    spans = [
        (max(0.3, width * scale), max(0.3, height * scale))
        for (width, height), scale in zip(sizes, scales, strict=True)
    ]
    rows = len(pictures) // columns
    widths = [max(spans[i][0] for i in range(c, len(spans), columns)) for c in range(columns)]
    heights = [max(s[1] for s in spans[r * columns : (r + 1) * columns]) for r in range(rows)]
    title = 0.32 if rows > 1 else 0.0
    total = (
        sum(widths) + _GAP * (columns + 1),
        sum(heights) + (_GAP + title) * rows + _GAP + _FOOTER,
    )
    figure = Figure(total, dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    axes = []
    for index, (picture, size, span) in enumerate(zip(pictures, sizes, spans, strict=True)):
        row, column = divmod(index, columns)
        x = sum(widths[:column]) + _GAP * (column + 1) + (widths[column] - span[0]) / 2
        y = total[1] - sum(heights[: row + 1]) - (_GAP + title) * (row + 1)
        y += (heights[row] - span[1]) / 2
        panel = figure.add_axes(
            (x / total[0], y / total[1], span[0] / total[0], span[1] / total[1])
        )
        panel.imshow(picture, extent=_extent(size), aspect="auto", interpolation="antialiased")
        panel.set(xlim=(0, size[0]), ylim=(size[1], 0))
        panel.set_axis_off()
        axes.append(panel)
    return figure, axes


def _number(
    axes: Axes,
    point: Float[np.ndarray, "2"],
    index: int | None,
    colour: tuple[float, float, float],
    doubtful: bool,
    order: int,
) -> None:
    """A point with its number, or a small one without; on white if it is doubtful."""
    axes.plot(
        *point, "o", markersize=6 if index is None else 14, zorder=order,
        markerfacecolor="white" if doubtful else colour,
        markeredgecolor=colour if doubtful else "white", markeredgewidth=1.4, clip_on=False,
    )  # fmt: skip
    if index is not None:
        axes.annotate(
            str(index + 1), (point[0], point[1]), ha="center", va="center_baseline", fontsize=8,
            fontweight="bold", color=_INK if doubtful else _contrast(colour), zorder=order + 1,
            annotation_clip=False,
        )  # fmt: skip


def _finish(figure: Figure, left: str, right: str) -> Image.Image:
    """The footer added, and the figure as a picture."""
    width, height = figure.get_size_inches()
    y = (_FOOTER / 2 + 0.03) / height
    style: dict[str, Any] = {"fontsize": 10, "color": _INK, "va": "center"}
    note = figure.text(1 - _GAP / width, y, right, ha="right", alpha=0.65, **style)
    caption = figure.text(_GAP / width, y, left, ha="left", **style)
    # A long name loses its beginning, which is usually folders.
    free = note.get_window_extent().x0 - _GAP * figure.dpi
    while left and caption.get_window_extent().x1 > free:
        left = left[max(1, len(left) // 40) :]
        caption.set_text(f"…{left}")
    return _rendered(figure)


def _rendered(figure: Figure) -> Image.Image:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def _colours(
    points: Float[np.ndarray, "K 2"], size: tuple[int, int]
) -> list[tuple[float, float, float]]:
    """A colour for each point, neighbours alike: the hue goes round the points' middle."""
    from matplotlib.colors import hsv_to_rgb

    place = points / size
    from_middle = place - place.mean(axis=0)
    around = np.arctan2(from_middle[:, 1], from_middle[:, 0])
    # Evenly spaced hues in the order of the angles: distinct however the points lie.
    hue = np.empty(len(points))
    hue[np.argsort(around, kind="stable")] = np.arange(len(points)) / max(1, len(points))
    reach = np.linalg.norm(from_middle, axis=1)
    value = 0.72 + 0.25 * reach / max(reach.max(), 1e-9)
    colours = hsv_to_rgb(np.stack([hue, np.full_like(hue, 0.85), value], axis=1))
    return [tuple(colour) for colour in colours]


def _spread_hues(count: int) -> list[tuple[float, float, float]]:
    """Distinct colours for points that move, by their numbers alone."""
    return [colorsys.hsv_to_rgb(index / count, 0.85, 0.95) for index in range(count)]


def _contrast(colour: tuple[float, float, float]) -> str:
    """Black or white, whichever is readable on the colour."""
    luminance = float(np.dot(colour, (0.299, 0.587, 0.114)))
    return _INK if luminance > 0.55 else "white"


def _place_colours(
    place: Float[np.ndarray, "height width 2"],
) -> Float[np.ndarray, "height width 3"]:
    """Colours for places (x, y) in 0..1: blends of four, one a corner."""
    corners = np.array(
        [[[0.90, 0.20, 0.20], [0.98, 0.80, 0.10]], [[0.35, 0.20, 0.80], [0.10, 0.70, 0.45]]]
    )
    flat = np.clip(place, 0, 1).reshape(-1, 2)
    return interpolate(corners, flat).reshape(*place.shape[:2], 3)
