"""Masks: which pixels of an image show the object."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool
from PIL import Image
from torch import Tensor

from homolog.errors import HomologError
from homolog.image.decoding import strips
from homolog.image.reading import MAX_PIXELS, decoded, explain_decoding_errors, open_image

MaskReader = Callable[[], Bool[np.ndarray, "height width"]]
"""Reads or decodes the mask of an object when it is called."""


class EmptyMaskError(HomologError):
    """A mask without any pixel of the object."""


def read_mask(
    mask: str | os.PathLike[str] | np.ndarray | Tensor,
    size: tuple[int, int],
    *,
    max_pixels: int = MAX_PIXELS,
    name: str = "mask",
) -> Bool[np.ndarray, "height width"]:
    """A mask from an image file or an array: the object is where it is not zero.

    Files are turned upright by their EXIF orientation, as images are. In images that are partly
    transparent (cut-outs) the object is what is more opaque than not, whatever its colour; in other
    images with a palette index 0 is the background; in JPEG files, whose pixels are not exact, all
    that is darker than half of the brightest is.

    Args:
        mask: a path or an array (height, width) of bool or numbers.
        size: width and height of the image it belongs to, in pixels.
        max_pixels: refuse files with more pixels than this.
        name: what error messages call the mask.

    Raises:
        EmptyMaskError: the mask is empty.
        HomologError: the mask cannot be read, has another size than the image, or has a palette of
            which it is not clear what the background is.
    """
    if isinstance(mask, (str, os.PathLike)):
        selected = _read_file(mask, max_pixels, name)
    else:
        values = _as_array(mask, name)
        if values.ndim != 2:
            raise HomologError(
                f"{name}: expected an array of height x width, got shape {values.shape}"
            )
        selected = values != 0
    height, width = selected.shape
    if (width, height) != size:
        raise HomologError(
            f"{name}: expected the size of its image, {size[0]} x {size[1]} pixels, got "
            f"{width} x {height}"
        )
    if not selected.any():
        raise EmptyMaskError(f"{name}: expected at least one pixel that is not zero, got none")
    return selected


def _read_file(
    path: str | os.PathLike[str], max_pixels: int, name: str
) -> Bool[np.ndarray, "height width"]:
    """Where an image file shows the object."""
    path = Path(path)
    with (
        open_image(path, max_pixels, name) as image,
        explain_decoding_errors(name, str(path)),
        decoded(image, path, max_pixels, whole=False) as orientation,
    ):
        lossy, mode = image.format in ("JPEG", "MPO"), image.mode
        if image.has_transparency_data:
            opacity = np.concatenate(
                [np.asarray(s.convert("RGBA"))[..., 3] for _, s in strips(image, orientation)]
            )
            if opacity.min() < 255:
                return opacity > 127
        mode = "P" if mode == "PA" else mode
        if mode not in ("P", "1", "L", "RGB", "F", "I") and mode[0] != "I":
            mode = "RGB"
        values = np.concatenate([_brightest(s, mode) for _, s in strips(image, orientation)])
        palette = image.getpalette("RGB") if mode == "P" else None
    if mode == "P":
        _check_palette(values, palette or [], f"{name}: {os.fspath(path)}")
    return values > values.max() // 2 if lossy else values != 0


def _brightest(strip: Image.Image, mode: str) -> np.ndarray:
    """The values of some rows, of several channels the largest; 0 or 1 where they have depth."""
    values = np.asarray(strip if strip.mode == mode else strip.convert(mode))
    if values.dtype.itemsize > 1:
        return values != 0
    return values if values.ndim == 2 else values.max(axis=2)


def _check_palette(indices: np.ndarray, palette: list[int], where: str) -> None:
    """Check that index 0 is the background by its colour, too, as far as colours tell.

    Raises:
        HomologError: another index that the image has is black, and index 0 is not.
    """
    colours = [tuple(palette[start : start + 3]) for start in range(0, len(palette), 3)]
    black = [i for i in np.unique(indices).tolist() if colours[i : i + 1] == [(0, 0, 0)]]
    if black and black[0] != 0 and any(palette[:3]):
        raise HomologError(
            f"{where}: expected a palette whose index 0 is black, for it is the background, got "
            f"index {black[0]} black; try a grey image"
        )


def _as_array(mask: Any, name: str) -> np.ndarray:
    """A mask that is no file, as an array of numbers."""
    try:
        if isinstance(mask, Tensor):
            values = (mask.detach().cpu() != 0).numpy()
        else:
            values = np.ma.filled(np.asanyarray(mask), 0)
        if values.dtype.kind not in "biuf":
            raise TypeError
    except (TypeError, ValueError, RuntimeError):
        raise HomologError(
            f"{name}: expected a path or an array of height x width numbers, got {mask!r}"
        ) from None
    return values
