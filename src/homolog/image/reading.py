"""Safe reading of pictures: whatever is given becomes 8-bit RGB, upright, of a known size."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from homolog.errors import HomologError
from homolog.image.geometry import Letterbox

ImageLike = str | os.PathLike[str] | Image.Image | np.ndarray | Tensor

MAX_PIXELS = 100_000_000
"""Largest picture read unless told otherwise, in pixels: a guard against decompression bombs."""


_SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that swap width and height


@dataclass(frozen=True)
class Picture:
    """An upright RGB picture, perhaps reduced, and the size its points refer to.

    Attributes:
        image: the pixels, `RGB`.
        width: of the original upright picture, in pixels.
        height: of the original upright picture, in pixels.
    """

    image: Image.Image
    width: int
    height: int


def read(
    image: ImageLike,
    *,
    side: int | None = None,
    max_pixels: int = MAX_PIXELS,
    name: str = "image",
) -> Picture:
    """Read a picture.

    Files in any format that Pillow knows: of several frames the first, turned upright by their
    EXIF orientation, transparency laid on white, 16 bits reduced to 8. `PIL.Image` objects and
    arrays are taken as they stand. Arrays are (height, width), (height, width, 1, 3 or 4) and
    tensors (1, 3 or 4, height, width) or (height, width): uint8, uint16, bool, or float in 0..1.

    Args:
        image: a path, a `PIL.Image`, a NumPy array (RGB, not BGR) or a tensor.
        side: reduce the picture so that its longer side has this many pixels; large JPEG files
            are then decoded at a reduced resolution.
        max_pixels: refuse files with more pixels than this.
        name: what error messages call the picture.

    Raises:
        HomologError: the file is missing, unreadable, not a picture, broken or too large, or the
            array has another shape or type.
    """
    if isinstance(image, (str, os.PathLike)):
        return _read_file(Path(image), side, max_pixels, name)
    if isinstance(image, Image.Image):
        with _explained(name, repr(image)):
            return _reduce(_to_rgb(image), side)
    if isinstance(image, Tensor):
        image = image.detach().cpu()
        image = (image.movedim(0, -1) if image.ndim == 3 else image).numpy()
    if isinstance(image, np.ndarray):
        return _reduce(_to_rgb(_from_array(image, name)), side)
    raise HomologError(
        f"{name}: got {type(image).__name__}, takes a path, a PIL image, an array or a tensor"
    )


def size(path: Path, *, max_pixels: int = MAX_PIXELS, name: str = "image") -> tuple[int, int]:
    """Width and height of a picture file, upright, from its header where that tells.

    Raises:
        HomologError: the file is missing, unreadable, not a picture, broken or too large.
    """
    with _open(path, max_pixels, name) as picture, _explained(name, str(path)):
        width, height = picture.size
        return (height, width) if _sideways(picture) else (width, height)


def find(places: Iterable[Path], name: str = "pictures") -> list[Path]:
    """The picture files among some files and, by their names, in some folders and below; sorted.

    Raises:
        HomologError: a place is not there.
    """
    endings = Image.registered_extensions()
    found: list[Path] = []
    for place in places:
        if place.is_dir():
            found += sorted(path for path in place.rglob("*") if path.suffix.lower() in endings)
        elif place.is_file():
            found.append(place)
        else:
            raise HomologError(f"{name}: there is no file or folder {place}")
    return list(dict.fromkeys(found))


def read_mask(
    mask: str | os.PathLike[str] | np.ndarray | Tensor,
    size: tuple[int, int],
    *,
    max_pixels: int = MAX_PIXELS,
    name: str = "mask",
) -> Bool[np.ndarray, "height width"]:
    """Read a mask: a grey picture or an array, the object where it is not zero.

    Args:
        mask: a path or an array (height, width) of bool or numbers.
        size: width and height of the picture it belongs to.
        max_pixels: refuse files with more pixels than this.
        name: what error messages call the mask.

    Raises:
        HomologError: it cannot be read, has another size than the picture, or is empty.
    """
    if isinstance(mask, (str, os.PathLike)):
        # A mask is drawn on the picture as stored or as seen; only its size can tell, so it is
        # taken upright like every other file.
        picture = _open(Path(mask), max_pixels, name)
        with _explained(name, os.fspath(mask)):
            picture = ImageOps.exif_transpose(picture)
            if picture.mode == "P":  # label pictures: index 0 is the background
                found = np.asarray(picture) != 0
            else:
                found = np.asarray(picture.convert("I" if picture.mode[0] == "I" else "L")) != 0
    else:
        array = np.asarray(mask.detach().cpu() if isinstance(mask, Tensor) else mask)
        if array.ndim != 2:
            raise HomologError(f"{name}: got an array of shape {array.shape}, takes height x width")
        found = array != 0
    height, width = found.shape
    if (width, height) != size:
        raise HomologError(
            f"{name}: is {width} x {height} pixels, takes the picture's {size[0]} x {size[1]}"
        )
    if not found.any():
        raise HomologError(f"{name}: is empty, takes at least one pixel that is not zero")
    return found


# Pillow's own limit is a global of its module; it is put aside only while a file's header is
# read, after which the size is known and checked here.
_pillow_limit = threading.Lock()


def _open(path: Path, max_pixels: int, name: str) -> Image.Image:
    if path.is_dir():
        raise HomologError(f"{name}: {path} is a directory, takes a picture file")
    if not path.exists():
        raise HomologError(f"{name}: there is no file {path}")
    if not path.is_file():
        raise HomologError(f"{name}: {path} is not a regular file")
    with _explained(name, str(path)), _pillow_limit:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            picture = Image.open(path)
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    if picture.width * picture.height > max_pixels:
        picture.close()
        raise HomologError(
            f"{name}: {path} has {picture.width} x {picture.height} pixels, "
            f"more than the limit of {max_pixels:,} (max_pixels)"
        )
    return picture


def _read_file(path: Path, side: int | None, max_pixels: int, name: str) -> Picture:
    with _open(path, max_pixels, name) as picture, _explained(name, str(path)):
        width, height = picture.size
        if side is not None and picture.format == "JPEG":
            # Twice the size needed keeps the resampling that follows as good as from the whole.
            content = Letterbox(width, height, side).scaled_size
            picture.draft(None, (2 * content[0], 2 * content[1]))
        picture.load()
        if _sideways(picture):
            width, height = height, width
        return _reduce(_to_rgb(ImageOps.exif_transpose(picture)), side, (width, height))


def _sideways(picture: Image.Image) -> bool:
    return picture.getexif().get(ExifTags.Base.Orientation, 1) in _SIDEWAYS


def _reduce(picture: Image.Image, side: int | None, size: tuple[int, int] | None = None) -> Picture:
    width, height = size or picture.size
    if side is not None:
        content = Letterbox(width, height, side).scaled_size
        picture = picture.resize(content, Image.Resampling.BILINEAR)
    return Picture(picture, width, height)


def _to_rgb(picture: Image.Image) -> Image.Image:
    picture.load()
    if picture.mode.startswith("I;16") or picture.mode == "I":
        values = np.asarray(picture)
        if values.min() < 0 or values.max() > 65535:
            raise HomologError("its whole numbers go beyond 16 bits, takes 8 or 16 bits")
        picture = Image.fromarray((values >> 8).astype(np.uint8))
    elif picture.mode == "F":
        raise HomologError("its pixels are 32-bit floats, takes 8 or 16 bits")
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        picture = Image.new("RGBA", layer.size, "white")
        picture.alpha_composite(layer)
    return picture.convert("RGB")


def _from_array(array: np.ndarray, name: str) -> Image.Image:
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or array.size == 0:
        raise HomologError(
            f"{name}: got an array of shape {array.shape}, takes height x width x 1, 3 or 4"
        )
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    elif array.dtype == np.uint16:
        array = (array >> 8).astype(np.uint8)
    elif np.issubdtype(array.dtype, np.floating):
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            raise HomologError(f"{name}: got floats outside 0..1, takes 0..1 or uint8")
        array = np.round(array * 255).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise HomologError(
            f"{name}: got an array of {array.dtype}, takes uint8, uint16, bool or float in 0..1"
        )
    return Image.fromarray(np.ascontiguousarray(array.squeeze(2) if array.shape[2] == 1 else array))


@contextmanager
def _explained(name: str, what: str) -> Iterator[None]:
    """Turns whatever a decoder raises into one line.

    Decoders meet hostile bytes and raise nearly anything (OSError, SyntaxError, struct.error,
    zlib.error, IndexError …), so all of it is caught.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about metadata, of no use to the caller
            yield
    except UnidentifiedImageError:
        raise HomologError(f"{name}: {what} is not a picture in a known format") from None
    except Exception as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise HomologError(f"{name}: {what} cannot be read: {reason}") from error
