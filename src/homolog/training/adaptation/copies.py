"""Copies: images that show the same pixels, whatever their names, formats and sizes are."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image

THUMBNAIL_EDGE = 128
"""Longer edge, in pixels, of the images that thumbnails are made from."""

_CELLS = 32  # of a thumbnail, along either axis
_COARSE = 8  # of a coarser one, which is compared first
# Largest difference of two copies in any cell and channel: in levels of 256, and as a share of the
# image's contrast, so that images of little contrast are not all alike.
_LEVELS, _CONTRAST = 10.0, 0.2
_ONE_COLOUR = 2  # levels of 256

Thumbnail = UInt8[np.ndarray, "32 32 3"]


def thumbnail(image: Image.Image) -> Thumbnail:
    """The mean colours of an image in 32 x 32 cells, whatever its shape.

    Args:
        image: upright, in mode `RGB`.
    """
    return np.asarray(image.resize((_CELLS, _CELLS), Image.Resampling.BOX))


def is_of_one_colour(cells: Thumbnail) -> bool:
    """Whether an image shows nothing."""
    return int(np.ptp(cells, axis=(0, 1)).max()) <= _ONE_COLOUR


def find_copies(
    thumbnails: Sequence[Thumbnail],
    sizes: Sequence[tuple[int, int]],
    originals: Collection[int] = (),
) -> dict[int, int]:
    """Which images are copies of others, each with the image that it is a copy of.

    Images of the same shape are copies if nowhere their thumbnails differ by more than 10 levels
    of 256, nor by more than a fifth of the contrast. That is so for identical files, for other
    formats and qualities (JPEG down to a quality of 40 and WebP), and for most images resized to
    between half and twice the size. It is not so for frames of a video in which something moves by
    more than about a thousandth of the image's area, for mirrored and cropped images, and for
    other colours. Of copies the largest is the original, of those as large the first.

    Args:
        thumbnails: of the images.
        sizes: width and height of each image, in pixels.
        originals: images that are no copies of others, whatever they show.
    """
    if not thumbnails:
        return {}
    fine = np.stack(thumbnails).astype(np.int16)
    block = _CELLS // _COARSE
    coarse = fine.reshape(len(fine), _COARSE, block, _COARSE, block, 3).mean((2, 4))
    coarse = coarse.reshape(len(fine), -1).astype(np.float32)
    tolerance = np.minimum(_LEVELS, _CONTRAST * fine.std((1, 2, 3)))
    width, height = np.array(sizes, dtype=float).T
    fixed = set(originals)
    order = sorted(range(len(fine)), key=lambda i: (i not in fixed, -width[i] * height[i]))
    kept = np.empty(len(fine), dtype=int)
    count, copies = 0, {}
    for index in order:
        others = kept[:count]
        # Cells' means differ by no more than the cells do.
        near = np.abs(coarse[others] - coarse[index]).max(1) <= tolerance[index]
        # A copy's sizes are whole numbers, and so its shape differs by up to a pixel.
        stretch = np.abs(width[others] * height[index] - height[others] * width[index])
        near &= stretch <= np.maximum(width[others], height[others])
        candidates = others[near]
        differences = np.abs(fine[candidates] - fine[index]).max((1, 2, 3))
        same = np.flatnonzero(differences <= tolerance[index])
        if len(same) and index not in fixed:
            copies[index] = int(candidates[same[differences[same].argmin()]])
        else:
            kept[count] = index
            count += 1
    return copies
