"""Operations on pixels: warping along a flow, stacking, writing; all without matplotlib."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image

from homolog.flow import FlowField
from homolog.image.geometry import interpolate
from homolog.utils.outputs import write_atomically

MAX_SIZE = 1024
"""Pixels of the longer edge that drawings and results have at most by default."""
UNMATCHED_GREY = 225
"""Grey level of pixels that have no match."""


def warp_image(
    image: Image.Image, field: FlowField, size: tuple[int, int] | None = None
) -> Image.Image:
    """An image warped along a flow, faded to grey where the flow is not consistent.

    Args:
        image: the target of the flow, in any resolution of its shape.
        field: the flow from an image of the wanted shape to `image`; `FlowField.smoothed` looks
            best.
        size: width and height of the result; by default those of the flow's source, at most
            1,024 pixels.
    """
    size = size or reduced_size((field.transform0.width, field.transform0.height))
    warped = sample_along_flow(image.convert("RGB"), field, size)
    alpha = np.clip(4 * field.confidence(size), 0, 1)[..., None]
    return Image.fromarray((warped * alpha + UNMATCHED_GREY * (1 - alpha)).astype(np.uint8))


def sample_along_flow(
    image: Image.Image, field: FlowField, size: tuple[int, int]
) -> Float[np.ndarray, "height width channels"]:
    """The values of an image where a flow leads, 0 to 255, consistent or not.

    Args:
        image: the target of the flow, in any resolution of its shape; `RGB` or `L`, whose one
            channel is kept.
        field: the flow from an image of the wanted shape to `image`.
        size: width and height of the result.
    """
    pixels = np.atleast_3d(np.asarray(image, dtype=np.float32))
    scale = np.array(image.size) / (field.transform1.width, field.transform1.height)
    positions = field.dense(size).reshape(-1, 2) * scale - 0.5
    return interpolate(pixels, positions).reshape(size[1], size[0], pixels.shape[2])


def reduced_size(size: tuple[int, int], max_size: int = MAX_SIZE) -> tuple[int, int]:
    """Width and height of an image reduced until its longer edge is at most `max_size` pixels.

    Args:
        size: width and height of the image; returned as it is if it is small enough.
        max_size: pixels of the longer edge.
    """
    scale = min(1.0, max_size / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def stack_vertically(images: Sequence[Image.Image]) -> Image.Image:
    """Images one below the other, all reduced to the width of the narrowest."""
    width = min(image.width for image in images)
    scaled = [each.resize((width, round(each.height * width / each.width))) for each in images]
    sheet = Image.new("RGB", (width, sum(each.height for each in scaled)), "white")
    top = 0
    for each in scaled:
        sheet.paste(each, (0, top))
        top += each.height
    return sheet


def save_image(image: Image.Image, path: Path) -> None:
    """Write an image in the format that the file's name ends with: PNG, JPEG or WebP.

    Raises:
        HomologError: the file cannot be written.
    """
    buffer = io.BytesIO()
    suffixes = {".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
    image.save(buffer, suffixes.get(path.suffix.lower(), "PNG"), quality=92)
    write_atomically(path, buffer.getvalue())
