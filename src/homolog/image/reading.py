"""Safe loading of images: whatever is given becomes 8-bit RGB, upright, of a known size."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from homolog.errors import HomologError
from homolog.image import decoding, formats, messages
from homolog.image.folders import find_images as find_images
from homolog.image.geometry import Letterbox

ImageLike = str | os.PathLike[str] | Image.Image | np.ndarray | Tensor

MAX_PIXELS = 100_000_000
"""Default limit for the pixels of an image file: a guard against decompression bombs."""

_NUMPY_FLOATS = (torch.float16, torch.float32, torch.float64)  # but no bfloat16, nor 8 bits


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

    Files are JPEG, PNG, WebP, AVIF, GIF, TIFF, BMP, PPM, PGM or, with pillow-heif, HEIC: the first
    of several frames is taken, the EXIF orientation is applied, and transparency is laid on white.
    16 bits are reduced to 8: the fewest of 8, 10, 12, 14 and 16 bits that hold the largest value
    count as the whole range. `PIL.Image` objects and arrays are taken as they are. Arrays are
    (height, width), (height, width, 1, 3 or 4) and tensors (1, 3 or 4, height, width) or (height,
    width): uint8, uint16, bool, or float in 0..1.

    Args:
        image: a path, a `PIL.Image`, a NumPy array (RGB, not BGR) or a tensor.
        longest_edge: resize the image so that its longer edge has this many pixels; large JPEG
            files are then decoded at a reduced resolution.
        max_pixels: refuse files with more pixels than this, or that take more memory than five
            bytes for each of them and 100 MB, as some formats do.
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
    return (height, width) if orientation in decoding.SIDEWAYS else (width, height)


def stored_size(
    path: Path, *, max_pixels: int = MAX_PIXELS, name: str = "image"
) -> tuple[tuple[int, int], int]:
    """Width and height of an image as its file stores it, and its EXIF orientation, 1 to 8.

    Raises:
        HomologError: the file is missing, unreadable, not an image, damaged or too large.
    """
    path = Path(path)
    with open_image(path, max_pixels, name) as image, explain_decoding_errors(name, str(path)):
        width, height = image.size
        if image.format == "PNG" and "exif" not in image.info:  # it may follow the pixels
            with decoded(image, path, max_pixels, whole=False) as orientation:
                return (width, height), orientation
        orientation = decoding.orientation_of(image)
        if image.format == "TIFF" and orientation in decoding.SIDEWAYS:
            width, height = height, width  # Pillow states that of the upright image
        return (width, height), orientation


def check_decodable(path: Path, *, max_pixels: int = MAX_PIXELS, name: str = "image") -> None:
    """Refuse an image file that `load_image` would find too large, before anything is decoded.

    Raises:
        HomologError: it is, or it is missing, unreadable or not an image.
    """
    with open_image(path, max_pixels, name) as image, explain_decoding_errors(name, str(path)):
        _check_memory(image, formats.memory_of(image, path), max_pixels)


# Pillow's own limit is a global of its module; it is changed only while a file's header is read,
# after which the size is known and checked here.
_pillow_limit = threading.Lock()

_LARGE = 100_000_000  # bytes; images that take more are decoded one at a time
_one_large_image = threading.Lock()


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
        what = "a directory" if path.is_dir() else "a special file"
        got = f"{path}, which is {what}" if path.exists() else f"{path}, which does not exist"
        raise HomologError(f"{name}: expected an image file, got {got}")
    with explain_decoding_errors(name, str(path)):
        with path.open("rb") as file:
            start = file.read(formats.START)
        kind = formats.of_start(start)
        if kind is None:
            raise UnidentifiedImageError
        if kind == "HEIF" and not formats.register_heif():
            raise HomologError("try pip install 'homolog[heic]'")
    _check_size(formats.stated_size(kind, start), max_pixels, path, name)
    messages.silence()
    with explain_decoding_errors(name, str(path)), _pillow_limit:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, int(max(max_pixels, MAX_PIXELS))
        try:
            image = Image.open(path, formats=[kind])
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    # Else Pillow maps files into memory: sideways TIFF files come out scrambled (13.0), and a file
    # that is cut meanwhile ends the process.
    image.filename = ""
    try:
        _check_size(image.size, max_pixels, path, name)
    except HomologError:
        image.close()
        raise
    return image


def _check_size(size: tuple[int, int] | None, max_pixels: float, path: Path, name: str) -> None:
    """Refuse a file of too many pixels.

    Raises:
        HomologError: it has more than the limit, or more along an edge than any image.
    """
    if size is None:
        return
    if size[0] * size[1] > max_pixels:
        raise HomologError(
            f"{name}: expected at most {max_pixels:,} pixels (max_pixels), got {path} with "
            f"{size[0]} x {size[1]}"
        )
    if max(size) > formats.MAX_EDGE:
        raise HomologError(
            f"{name}: expected at most {formats.MAX_EDGE:,} pixels along an edge, got {path} with "
            f"{size[0]} x {size[1]}"
        )


@contextmanager
def decoded(
    image: Image.Image, path: Path, max_pixels: float, *, whole: bool = True
) -> Iterator[int]:
    """Decode an opened file; yields its EXIF orientation. Large ones are decoded one at a time.

    Args:
        image: opened.
        path: the file.
        max_pixels: it may take the memory that an ordinary file of as many pixels takes.
        whole: whether it then becomes RGB as a whole, not reduced.

    Raises:
        HomologError: it takes more memory or time than that.
    """
    needed = formats.memory_of(image, path)
    _check_memory(image, needed, max_pixels)
    pixels = image.width * image.height
    with _one_large_image if max(needed, 4 * pixels) > _LARGE else nullcontext():
        decoding.decode(image)
        orientation = decoding.orientation_of(image)  # which a file may state at its end
        if whole:
            _check_memory(image, pixels * formats.finishing(image, orientation), max_pixels)
        yield orientation


def _check_memory(image: Image.Image, needed: int, max_pixels: float) -> None:
    most = formats.limit(max_pixels)
    if needed > most:
        pixels = int(image.width * image.height * most / needed)
        raise HomologError(
            f"expected at most {pixels:,} pixels of such a {image.format} file, which takes "
            f"{needed / 1e6:,.0f} MB to decode, got {image.width} x {image.height}"
        )


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
        with decoded(image, path, max_pixels, whole=longest_edge is None) as orientation:
            if orientation in decoding.SIDEWAYS:
                width, height = height, width
            grey = decoding.without_depth(image)
            if grey is not image:
                image.close()
            if longest_edge is not None:
                scaled = Letterbox(width, height, longest_edge).scaled_size
                found = decoding.resized_rgb(grey, orientation, scaled)
            elif formats.finishing(image, orientation) == 4:
                found = image
            else:
                found = decoding.to_rgb(grey, orientation)
        return LoadedImage(found, width, height)


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


def _to_rgb(image: Image.Image) -> Image.Image:
    """An image in memory as a new one, in mode `RGB`."""
    decoding.decode(image)
    return decoding.to_rgb(decoding.without_depth(image))


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
        array = decoding.as_8_bits(array)
    elif np.issubdtype(array.dtype, np.floating):
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            raise HomologError(f"{name}: expected floats in 0..1 or uint8, got floats outside 0..1")
        array = np.round(array * 255).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise HomologError(
            f"{name}: expected an array of uint8, uint16, bool or float in 0..1, got {array.dtype}"
        )
    return Image.fromarray(np.ascontiguousarray(array.squeeze(2) if array.shape[2] == 1 else array))
