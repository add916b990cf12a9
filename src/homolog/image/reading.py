"""Safe loading of images: whatever is given becomes 8-bit RGB, upright, of a known size."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError
from torch import Tensor

from homolog.errors import HomologError
from homolog.image.folders import HEIF_SUFFIXES, register_heif
from homolog.image.folders import find_images as find_images
from homolog.image.geometry import Letterbox

ImageLike = str | os.PathLike[str] | Image.Image | np.ndarray | Tensor

MAX_PIXELS = 100_000_000
"""Default limit for the pixels of an image file: a guard against decompression bombs."""

_NUMPY_FLOATS = (torch.float16, torch.float32, torch.float64)  # but no bfloat16, nor 8 bits
_BIT_DEPTHS = (8, 10, 12, 14, 16)
_SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that swap width and height


@dataclass(frozen=True)
class LoadedImage:
    """An upright RGB image, perhaps resized, and the size that points refer to.

    Attributes:
        image: the pixels, in mode `RGB`.
        width: of the original upright image, in pixels.
        height: of the original upright image, in pixels.
    """

    image: Image.Image
    width: int
    height: int


def load_image(
    image: ImageLike,
    *,
    longest_edge: int | None = None,
    max_pixels: int = MAX_PIXELS,
    name: str = "image",
) -> LoadedImage:
    """Load an image as upright 8-bit RGB.

    Files may have any format that Pillow knows: the first of several frames is taken, the EXIF
    orientation is applied, and transparency is laid on white. 16 bits are reduced to 8: the fewest
    of 8, 10, 12, 14 and 16 bits that hold the largest value count as the whole range. `PIL.Image`
    objects and arrays are taken as they are. Arrays are (height, width), (height, width, 1, 3 or
    4) and tensors (1, 3 or 4, height, width) or (height, width): uint8, uint16, bool, or float in
    0..1.

    Args:
        image: a path, a `PIL.Image`, a NumPy array (RGB, not BGR) or a tensor.
        longest_edge: resize the image so that its longer edge has this many pixels; large JPEG
            files are then decoded at a reduced resolution.
        max_pixels: refuse files with more pixels than this.
        name: what error messages call the image.

    Raises:
        HomologError: the file is missing, unreadable, not an image, damaged or too large, or the
            array has another shape or type.
    """
    if isinstance(image, (str, os.PathLike)):
        return _load_file(Path(image), longest_edge, max_pixels, name)
    if isinstance(image, Image.Image):
        with explain_decoding_errors(name, repr(image)):
            return reduce(_to_rgb(image), longest_edge)
    if isinstance(image, Tensor):
        image = _from_tensor(image, name)
    if isinstance(image, np.ndarray):
        return reduce(_to_rgb(_from_array(image, name)), longest_edge)
    raise HomologError(
        f"{name}: expected a path, a PIL image, an array or a tensor, got {type(image).__name__}"
    )


def image_size(path: Path, *, max_pixels: int = MAX_PIXELS, name: str = "image") -> tuple[int, int]:
    """Width and height of an image file once upright, usually from its header alone.

    Raises:
        HomologError: the file is missing, unreadable, not an image, damaged or too large.
    """
    (width, height), orientation = stored_size(path, max_pixels=max_pixels, name=name)
    return (height, width) if orientation in _SIDEWAYS else (width, height)


def stored_size(
    path: Path, *, max_pixels: int = MAX_PIXELS, name: str = "image"
) -> tuple[tuple[int, int], int]:
    """Width and height of an image as its file stores it, and its EXIF orientation, 1 to 8.

    Raises:
        HomologError: the file is missing, unreadable, not an image, damaged or too large.
    """
    with open_image(path, max_pixels, name) as image, explain_decoding_errors(name, str(path)):
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
        return image.size, orientation if orientation in range(1, 9) else 1


# Pillow's own limit is a global of its module; it is lifted only while a file's header is read,
# after which the size is known and checked here.
_pillow_limit = threading.Lock()


def check_max_pixels(max_pixels: Any) -> None:
    """Refuse a limit of pixels that is none.

    Raises:
        HomologError: it is not a number, or below 1.
    """
    if isinstance(max_pixels, bool) or not isinstance(max_pixels, (int, float, np.number)):
        raise HomologError(f"max_pixels: expected a whole number, got {max_pixels!r}")
    if not max_pixels >= 1:
        raise HomologError(f"max_pixels: expected at least 1, got {max_pixels}")


def open_image(path: str | os.PathLike[str], max_pixels: int, name: str) -> Image.Image:
    """Open an image file after checks of its kind and size; its pixels are not decoded yet.

    Args:
        path: the file.
        max_pixels: refuse a file with more pixels than this.
        name: what error messages call the image.

    Raises:
        HomologError: the file is missing, unreadable, not an image or too large, or the limit is
            below 1.
    """
    check_max_pixels(max_pixels)
    path = Path(path)
    try:
        found = path.is_file()
    except OSError as error:  # such as a name that is too long
        raise HomologError(f"{name}: cannot read {path}: {error.strerror}") from None
    if not found:
        kind = "a directory" if path.is_dir() else "a special file"
        got = f"{path}, which is {kind}" if path.exists() else f"{path}, which does not exist"
        raise HomologError(f"{name}: expected an image file, got {got}")
    if path.suffix.lower() in HEIF_SUFFIXES:
        register_heif()
    with explain_decoding_errors(name, str(path)), _pillow_limit:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = Image.open(path)
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    if image.width * image.height > max_pixels:
        image.close()
        raise HomologError(
            f"{name}: expected at most {max_pixels:,} pixels (max_pixels), got {path} with "
            f"{image.width} x {image.height}"
        )
    return image


@contextmanager
def explain_decoding_errors(name: str, what: str) -> Iterator[None]:
    """Turn whatever an image decoder raises into a `HomologError` of one line.

    Decoders meet hostile bytes and raise nearly anything (OSError, SyntaxError, struct.error,
    zlib.error, IndexError …), so all of it is caught.

    Args:
        name: what error messages call the image.
        what: the image, such as its path.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about metadata, of no use to the caller
            yield
    except UnidentifiedImageError:
        raise HomologError(f"{name}: expected an image in a known format, got {what}") from None
    except Exception as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise HomologError(
            f"{name}: expected an image, got {what}, which cannot be read: {reason}"
        ) from error


def _load_file(path: Path, longest_edge: int | None, max_pixels: int, name: str) -> LoadedImage:
    with open_image(path, max_pixels, name) as image, explain_decoding_errors(name, str(path)):
        width, height = image.size
        if longest_edge is not None and image.format == "JPEG":
            # Twice the size needed keeps the resampling that follows as good as from the whole.
            scaled = Letterbox(width, height, longest_edge).scaled_size
            image.draft(None, (2 * scaled[0], 2 * scaled[1]))
        _load(image)
        if _is_sideways(image):
            width, height = height, width
        upright = _to_rgb(ImageOps.exif_transpose(image))
        return reduce(upright, longest_edge, (width, height))


def _is_sideways(image: Image.Image) -> bool:
    return image.getexif().get(ExifTags.Base.Orientation, 1) in _SIDEWAYS


def reduce(
    image: Image.Image, longest_edge: int | None, size: tuple[int, int] | None = None
) -> LoadedImage:
    """An image resized so that its longer edge has a number of pixels.

    Args:
        image: an upright image, in mode `RGB`.
        longest_edge: the number of pixels; None leaves the image as it is.
        size: width and height that points refer to, where the image has been reduced before.
    """
    width, height = size or image.size
    if longest_edge is not None:
        scaled = Letterbox(width, height, longest_edge).scaled_size
        image = image.resize(scaled, Image.Resampling.BILINEAR)
    return LoadedImage(image, width, height)


def _load(image: Image.Image) -> None:
    """Decode an image.

    Raises:
        HomologError: its colours have 16 bits of which Pillow, which keeps the upper 8, would keep
            next to nothing.
    """
    tiles = image.tile if isinstance(image, ImageFile.ImageFile) else []
    deep = image.mode[0] != "I" and any(";16" in str(tile.args) for tile in tiles)
    image.load()
    if deep and np.asarray(image.convert("RGB")).max() < 16:
        raise HomologError(
            "its 16-bit colours use 12 bits at most, of which 4 would be left; try to store "
            "8 bits, or multiples of 16"
        )


def _to_rgb(image: Image.Image) -> Image.Image:
    _load(image)
    if image.mode.startswith("I;16") or image.mode == "I":
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise HomologError("its integers need more than 16 bits")
        image = Image.fromarray(_to_8_bits(values))
    elif image.mode == "F":
        raise HomologError("its pixels are 32-bit floats, not integers of 8 or 16 bits")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.new("RGBA", layer.size, "white")
        image.alpha_composite(layer)
    return image.convert("RGB")


def _to_8_bits(values: np.ndarray) -> np.ndarray:
    """Integers of up to 16 bits as uint8.

    Cameras store 10, 12 or 14 bits in 16 without saying so: the fewest bits of these that hold the
    largest value count as the whole range.
    """
    largest = int(values.max())
    bits = next(bits for bits in _BIT_DEPTHS if largest < 1 << bits)
    return (values >> (bits - 8)).astype(np.uint8)


def _from_tensor(tensor: Tensor, name: str) -> np.ndarray:
    """A tensor (channels, height, width) as an array (height, width, channels)."""
    try:
        values = tensor.detach().cpu()
        if values.is_floating_point() and values.dtype not in _NUMPY_FLOATS:
            values = values.float()
        return (values.movedim(0, -1) if values.ndim == 3 else values).numpy()
    except (TypeError, RuntimeError):
        raise HomologError(
            f"{name}: expected a tensor of uint8, uint16, bool or float in 0..1, got "
            f"{tensor.dtype} on {tensor.device} ({tensor.layout})"
        ) from None


def _from_array(array: np.ndarray, name: str) -> Image.Image:
    if np.ma.is_masked(array):
        raise HomologError(f"{name}: expected an array without masked pixels, got a masked array")
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or array.size == 0:
        raise HomologError(
            f"{name}: expected an array of height x width x 1, 3 or 4, got shape {array.shape}"
        )
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    elif array.dtype == np.uint16:
        array = _to_8_bits(array)
    elif np.issubdtype(array.dtype, np.floating):
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            raise HomologError(f"{name}: expected floats in 0..1 or uint8, got floats outside 0..1")
        array = np.round(array * 255).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise HomologError(
            f"{name}: expected an array of uint8, uint16, bool or float in 0..1, got {array.dtype}"
        )
    return Image.fromarray(np.ascontiguousarray(array.squeeze(2) if array.shape[2] == 1 else array))
