"""Frames of a video with tracked points."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image, ImageDraw, ImageFont

from homolog.viz.palette import Colour, colours_by_index, text_colour_on

_MAX_NUMBERED = 40
_WHITE, _DARK = (255, 255, 255), (28, 28, 40)
_SUPERSAMPLING = 2  # drawn larger, then reduced, because Pillow draws without antialiasing


def draw_tracks(
    image: Image.Image,
    size: tuple[int, int],
    points: Float[np.ndarray, "T K 2"],
    occluded: Bool[np.ndarray, "T K"],
    scores: Float[np.ndarray, "K"],
    colours: Sequence[Colour] | None = None,
) -> Image.Image:
    """A frame of a video with its tracked points, numbered, and a trail behind each.

    Uncertain points (score below 0.5) are hollow, occluded ones are not drawn. A trail is
    interrupted where a point jumps by more than a tenth of the frame.

    Args:
        image: the frame, in any resolution of its shape.
        size: width and height of the original frame.
        points: (x, y) in pixels of the original frame, in the last T frames; more than 40 points
            are not numbered.
        occluded: the points that were occluded in each of these frames.
        scores: confidence in the points of the last frame.
        colours: of the points; by default all different. Points with colours of their own have no
            numbers.
    """
    scale = _SUPERSAMPLING * np.array(image.size) / size
    layer = Image.new("RGBA", (_SUPERSAMPLING * image.width, _SUPERSAMPLING * image.height))
    pen = ImageDraw.Draw(layer)
    numbered = len(scores) <= _MAX_NUMBERED and colours is None
    hues = colours_by_index(len(scores)) if colours is None else colours
    radius = _SUPERSAMPLING * max(image.size) / (65 if numbered else 160)
    font = ImageFont.load_default(1.25 * radius)
    for index, hue in enumerate(hues):
        colour = tuple(round(255 * value) for value in hue)
        for step in range(1, len(points)):
            ends = points[step - 1 : step + 1, index] * scale
            jump = np.abs(ends[1] - ends[0]).max() > 0.1 * max(layer.size)
            if not (jump or occluded[step - 1 : step + 1, index].any()):
                opacity = round(200 * step / len(points))
                pen.line([*ends.ravel()], (*colour, opacity), round(radius / 2))
    for index, hue in enumerate(hues):
        if occluded[-1, index]:
            continue
        colour = tuple(round(255 * value) for value in hue)
        centre = tuple(points[-1, index] * scale)
        hollow = scores[index] < 0.5
        line = round(radius / (5 if hollow else 6))
        pen.circle(centre, radius + line / 2, None, (*(_DARK if hollow else _WHITE), 255), line)
        pen.circle(centre, radius, None if hollow else colour, colour if hollow else _WHITE, line)
        if numbered:
            ink = _WHITE if hollow or text_colour_on(hue) == "white" else _DARK
            edge = _SUPERSAMPLING if hollow else 0
            pen.text(
                centre, str(index + 1), ink, font, anchor="mm", stroke_width=edge, stroke_fill=_DARK
            )
    layer = layer.resize(image.size, Image.Resampling.BOX)
    return Image.alpha_composite(image.convert("RGBA"), layer).convert("RGB")


def draw_boxes(
    image: Image.Image,
    size: tuple[int, int],
    boxes: Float[np.ndarray, "N 4"],
    labels: Sequence[str],
    colours: Sequence[Colour],
    shown: Bool[np.ndarray, "N"],
) -> Image.Image:
    """A frame of a video with the outlines of boxes, each with a label above its left edge.

    Args:
        image: the frame, in any resolution of its shape.
        size: width and height of the original frame.
        boxes: (x, y, width, height) in pixels of the original frame.
        labels: of the boxes.
        colours: of the boxes.
        shown: the boxes to draw.
    """
    drawn = image.convert("RGB")
    pen = ImageDraw.Draw(drawn)
    scale = np.array(image.size) / size
    line = max(2, round(max(image.size) / 320))
    font = ImageFont.load_default(max(12, max(image.size) / 50))
    for box, label, hue, visible in zip(boxes, labels, colours, shown, strict=True):
        if not visible:
            continue
        colour = tuple(round(255 * value) for value in hue)
        left, top = (round(float(value)) for value in box[:2] * scale)
        right, bottom = (round(float(value)) for value in (box[:2] + box[2:]) * scale)
        pen.rectangle((left, top, max(left, right), max(top, bottom)), None, colour, line)
        x0, y0, x1, y1 = pen.textbbox((0, 0), label, font)
        width, height = x1 - x0 + 2 * line, y1 - y0 + 2 * line
        x, y = max(0, left), max(0, top - height)
        pen.rectangle((x, y, x + width, y + height), colour)
        ink = _WHITE if text_colour_on(hue) == "white" else _DARK
        pen.text((x + line - x0, y + line - y0), label, ink, font)
    return drawn
