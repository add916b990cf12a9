"""Decoded images as upright 8-bit RGB, strip by strip: never are two whole copies needed.

Every result is that of converting, turning and resizing the whole image, bit for bit: conversions
know one pixel at a time, and Pillow resizes rows before columns.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import ExifTags, Image, ImageFile

from homolog.errors import HomologError

SIDEWAYS = (5, 6, 7, 8)
"""EXIF orientations that exchange width and height."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_STRIP = 1 << 20  # pixels
_BIT_DEPTHS = (8, 10, 12, 14, 16)


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation of an image, 1 to 8; 1 where the file states none, or another."""
    found = image.getexif().get(ExifTags.Base.Orientation, 1)
    return found if found in _TURNS else 1


def decode(image: Image.Image) -> None:
    """Decode an image.

    Raises:
        HomologError: its colours have 16 bits of which Pillow, which keeps the upper 8, would keep
            next to nothing.
    """
    tiles = image.tile if isinstance(image, ImageFile.ImageFile) else []
    deep = image.mode[0] != "I" and any(";16" in str(tile.args) for tile in tiles)
    image.load()
    if deep and all(np.asarray(strip.convert("RGB")).max() < 16 for _, strip in strips(image)):
        raise HomologError(
            "its 16-bit colours use 12 bits at most, of which 4 would be left; try to store "
            "8 bits, or multiples of 16"
        )


def strips(image: Image.Image, orientation: int = 1) -> Iterator[tuple[int, Image.Image]]:
    """A decoded image in strips of rows, turned upright, each with its first row.

    Args:
        image: decoded, of any mode.
        orientation: by which it is turned, as EXIF numbers them.
    """
    width, height = image.size
    sideways = orientation in SIDEWAYS
    last, across = (width, height) if sideways else (height, width)
    step = max(1, _STRIP // across)
    backwards = orientation in (3, 4, 7, 8)
    for top in range(0, last, step):
        end = min(top + step, last)
        start, stop = (last - end, last - top) if backwards else (top, end)
        strip = image.crop((start, 0, stop, height) if sideways else (0, start, width, stop))
        yield top, strip.transpose(_TURNS[orientation]) if orientation in _TURNS else strip


def rgb_strips(image: Image.Image, orientation: int = 1) -> Iterator[tuple[int, Image.Image]]:
    """A decoded image in strips of upright rows, each with its first row, in mode `RGB`.

    Transparency is laid on white.
    """
    transparent = image.has_transparency_data
    for top, strip in strips(image, orientation):
        if transparent:
            layer = strip.convert("RGBA")
            strip = Image.new("RGBA", layer.size, "white")
            strip.alpha_composite(layer)
        yield top, strip.convert("RGB")


def without_depth(image: Image.Image) -> Image.Image:
    """A decoded image whose grey has 8 bits; as it is if it has none of more.

    Cameras store 10, 12 or 14 bits in 16 without saying so: the fewest bits of these that hold the
    largest value count as the whole range.

    Raises:
        HomologError: it has more than 16 bits.
    """
    if image.mode == "F":
        raise HomologError("its pixels are 32-bit floats, not integers of 8 or 16 bits")
    if not image.mode.startswith("I"):
        return image
    extremes = [
        (int(values.min()), int(values.max()))
        for values in (np.asarray(strip) for _, strip in strips(image))
    ]
    lowest, largest = min(low for low, _ in extremes), max(high for _, high in extremes)
    if lowest < 0 or largest > 65535:
        raise HomologError("its integers need more than 16 bits")
    grey = Image.new("L", image.size)
    for top, strip in strips(image):
        grey.paste(Image.fromarray(as_8_bits(np.asarray(strip), largest)), (0, top))
    return grey


def as_8_bits(values: np.ndarray, largest: int | None = None) -> np.ndarray:
    """Integers of up to 16 bits as uint8; see `without_depth`.

    Args:
        values: not below 0.
        largest: of the whole image; None if the values are all of it.
    """
    largest = int(values.max()) if largest is None else largest
    bits = next(bits for bits in _BIT_DEPTHS if largest < 1 << bits)
    return (values >> (bits - 8)).astype(np.uint8)


def to_rgb(image: Image.Image, orientation: int = 1) -> Image.Image:
    """A decoded image as a new upright one, in mode `RGB`.

    Args:
        image: decoded, with 8 bits.
        orientation: by which it is turned, as EXIF numbers them.
    """
    width, height = image.size
    found = Image.new("RGB", (height, width) if orientation in SIDEWAYS else (width, height))
    for top, strip in rgb_strips(image, orientation):
        found.paste(strip, (0, top))
    return found


def resized_rgb(image: Image.Image, orientation: int, size: tuple[int, int]) -> Image.Image:
    """A decoded image, upright, in mode `RGB`, and resized (bilinear, with antialiasing).

    Args:
        image: decoded, with 8 bits.
        orientation: by which it is turned, as EXIF numbers them.
        size: width and height of the result.
    """
    height = image.width if orientation in SIDEWAYS else image.height
    narrow = Image.new("RGB", (size[0], height))
    for top, strip in rgb_strips(image, orientation):
        narrow.paste(strip.resize((size[0], strip.height), Image.Resampling.BILINEAR), (0, top))
    return narrow.resize(size, Image.Resampling.BILINEAR)
