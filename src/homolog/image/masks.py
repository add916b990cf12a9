"""Masks: which pixels of an image show the object."""

from __future__ import annotations

import os

import numpy as np
from jaxtyping import Bool
from PIL import ImageOps
from torch import Tensor

from homolog.errors import HomologError
from homolog.image.reading import MAX_PIXELS, explain_decoding_errors, open_image


def read_mask(
    mask: str | os.PathLike[str] | np.ndarray | Tensor,
    size: tuple[int, int],
    *,
    max_pixels: int = MAX_PIXELS,
    name: str = "mask",
) -> Bool[np.ndarray, "height width"]:
    """A mask from an image file or an array: the object is where it is not zero.

    Files are turned upright by their EXIF orientation, as images are. In images with a palette,
    index 0 is the background.

    Args:
        mask: a path or an array (height, width) of bool or numbers.
        size: width and height of the image it belongs to, in pixels.
        max_pixels: refuse files with more pixels than this.
        name: what error messages call the mask.

    Raises:
        HomologError: the mask cannot be read, has another size than the image, or is empty.
    """
    if isinstance(mask, (str, os.PathLike)):
        image = open_image(mask, max_pixels, name)
        with explain_decoding_errors(name, os.fspath(mask)):
            image = ImageOps.exif_transpose(image)
            if image.mode != "P":
                image = image.convert("I" if image.mode[0] == "I" else "L")
            values = np.asarray(image)
    else:
        values = np.asarray(mask.detach().cpu() if isinstance(mask, Tensor) else mask)
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
        raise HomologError(f"{name}: expected at least one pixel that is not zero, got none")
    return selected
