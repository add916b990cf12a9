"""Folders of masks: one image file for each image, in which each object has a value of its own."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from homolog.data.formats.entries import Entries, Entry
from homolog.errors import HomologError
from homolog.image import decoding, reading
from homolog.image.regions import box_of_mask

SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".gif")
"""Formats that keep every value as it is; JPEG does not."""

_VOID = 255
"""In images with a palette: pixels of no object, between others, as Pascal VOC has them."""

_WHITE = (255, 65535)
"""Alone in a mask: the object of a binary one, and no number of it."""

_SOFT = 32
"""A mask with more values than this that are mostly the brightest has soft edges, not objects."""


def read(path: Path, folder: Path | None) -> Entries:
    """Read the objects of a folder of masks: each value above 0 is one.

    Args:
        path: the folder of masks, each named as its image, apart from the ending.
        folder: of the images.

    Raises:
        HomologError: no folder of images is given, or there are no masks.
    """
    if folder is None:
        raise HomologError(
            f"boxes: expected the folder of the images that the masks in {path} belong to, got none"
        )
    masks = [file for file in reading.find_images([path]) if file.suffix.lower() in SUFFIXES]
    if not masks:
        raise HomologError(f"boxes: expected masks in {', '.join(SUFFIXES)} in {path}, got none")
    images = {image.relative_to(folder): image for image in reading.find_images([folder], "images")}
    by_name = {name.with_suffix(""): image for name, image in images.items()}
    entries, problems = [], []
    for file in masks:
        name = file.relative_to(path).with_suffix("")
        image = images.get(name) or by_name.get(name)
        if image is None or image.resolve() == file.resolve():
            problems.append(f"{file}: expected an image with this name in {folder}, got none")
            continue
        try:
            values = read_values(file)
        except HomologError as error:
            problems.append(str(error))
            continue
        found = np.unique(values[values > 0])
        if not len(found):
            problems.append(f"{file}: expected values above 0 where objects are, got none")
        for value in found.tolist():
            location = f"{file}, value {value}"
            box = box_of_mask(values == value)
            size = values.shape[1], values.shape[0]
            mask = partial(_read_mask, file, value)
            instance = 1 if len(found) == 1 and value in _WHITE else value
            entries.append(Entry(location, image, box, "box", instance, mask=mask, mask_size=size))
    return Entries(entries, list(images.values()), {}, problems)


def read_values(path: Path) -> Int[np.ndarray, "height width"]:
    """The value of each pixel of a mask, upright, 0 where there is no object.

    What is transparent is no object. A cut-out, partly transparent and in colours or black, is one
    object where it is opaque.

    Raises:
        HomologError: it cannot be read, has colours instead of values, or has soft edges.
    """
    first, opacity, inside = [], [], set[int]()
    in_colours = False
    with (
        reading.open_image(path, reading.MAX_PIXELS, "mask") as image,
        reading.explain_decoding_errors("mask", str(path)),
        reading.decoded(image, path, reading.MAX_PIXELS, whole=False) as orientation,
    ):
        palette, transparent = image.mode == "P", image.has_transparency_data
        for _, strip in decoding.strips(image, orientation):
            channels = np.atleast_3d(np.asarray(strip))
            if strip.getbands()[-1] == "A":
                channels = channels[..., :-1]
            opaque = np.ones(channels.shape[:2], bool)
            if transparent:
                opaque = np.asarray(strip.convert("RGBA"))[..., 3] > 127
            in_colours = in_colours or bool((channels != channels[..., :1]).any())
            inside.update(np.unique(channels[opaque]).tolist())
            first.append(channels[..., 0].astype(np.int32))
            opacity.append(opaque)
    opaque = np.concatenate(opacity)
    if not opaque.all():
        if in_colours or 0 in inside or len(inside) > _SOFT:
            return np.where(opaque, 255, 0)  # a cut-out
    elif in_colours:
        raise HomologError(
            f"{path}: expected a mask with one value for each object, got an image in colours"
        )
    values = np.where(opaque, np.concatenate(first), 0)
    labels, counts = np.unique(values[values != 0], return_counts=True)
    if palette and len(labels) > 1:
        values[values == _VOID] = 0
    elif len(labels) > _SOFT and labels[counts.argmax()] == labels[-1]:
        raise HomologError(
            f"{path}: expected a mask with one value for each object, got {len(labels)} values as "
            "soft edges have them; try to save it without smoothing"
        )
    return values


def _read_mask(path: Path, value: int) -> Bool[np.ndarray, "height width"]:
    return read_values(path) == value
