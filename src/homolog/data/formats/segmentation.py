"""Segmentations of COCO files: polygons, and run lengths as numbers or compressed to text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from homolog.errors import HomologError
from homolog.image import reading
from homolog.image.masks import MaskReader


def mask_reader(segmentation: Any, size: tuple[int, int] | None) -> MaskReader | None:
    """What decodes a segmentation when it is called; None if there is nothing in it.

    Args:
        segmentation: polygons x, y, x, y …, or `size` and `counts`, as COCO describes them, or
            compressed `counts` alone, as StanfordExtra has them.
        size: width and height of the image, which polygons and counts alone need.

    Raises:
        ValueError: it is none of these, or its run lengths do not add up or are none of an object.
    """
    if not segmentation:
        return None
    if isinstance(segmentation, str) and size is not None:
        segmentation = {"size": [size[1], size[0]], "counts": segmentation}
    if isinstance(segmentation, dict):
        counts = segmentation.get("counts")
        if rle_size(segmentation) is None or not isinstance(counts, (list, str)):
            raise ValueError("segmentation: expected run lengths with size and counts, got others")
        if not _run_lengths(segmentation)[1::2].any():
            raise ValueError("segmentation: expected at least one pixel of the object, got none")
        return partial(decode_rle, segmentation)
    if not isinstance(segmentation, list) or not all(isinstance(p, list) for p in segmentation):
        raise ValueError("segmentation: expected polygons or run lengths, got neither")
    if size is None:
        return None
    return partial(fill_polygons, [as_polygon(polygon) for polygon in segmentation], size)


def read_mask(
    segmentation: Any, size: tuple[int, int] | None, name: str
) -> Bool[np.ndarray, "height width"]:
    """Decode a segmentation.

    Args:
        segmentation: as for `mask_reader`, and not empty.
        size: width and height of the image.
        name: what error messages call it.

    Raises:
        HomologError: it cannot be decoded.
    """
    try:
        reader = mask_reader(segmentation, size)
        if reader is None:
            raise ValueError("segmentation: expected the size of its image, got none")
        return reader()
    except ValueError as error:
        raise HomologError(f"{name}: {error}") from None


def rle_size(segmentation: Any) -> tuple[int, int] | None:
    """Width and height of a mask in run lengths; None for polygons and what gives none."""
    size = segmentation.get("size") if isinstance(segmentation, dict) else None
    if not isinstance(size, list) or len(size) != 2 or not all(isinstance(v, int) for v in size):
        return None
    return size[1], size[0]


def decode_rle(segmentation: Mapping[str, Any]) -> Bool[np.ndarray, "height width"]:
    """Decode run lengths: of background and object in turn, down the columns, from the left.

    Raises:
        ValueError: they do not add up to the size.
    """
    height, width = segmentation["size"]
    runs = _run_lengths(segmentation)
    values = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return values.reshape(width, height).T


def _run_lengths(segmentation: Mapping[str, Any]) -> Int[np.ndarray, "N"]:
    """The run lengths of a mask, decompressed where they are text."""
    height, width = segmentation["size"]
    counts = segmentation["counts"]
    runs = np.array(counts if isinstance(counts, list) else _decompress(counts), dtype=np.int64)
    if not 0 < height * width <= reading.MAX_PIXELS:
        raise ValueError(
            f"segmentation: expected at most {reading.MAX_PIXELS:,} pixels, got {width} x {height}"
        )
    if (runs < 0).any() or runs.sum() != height * width:
        raise ValueError(
            f"segmentation: expected run lengths of {height * width} pixels, got {runs.sum()}"
        )
    return runs


def _decompress(text: str) -> list[int]:
    """Run lengths from text: five bits a character, differences to the last but one from the third.

    https://github.com/cocodataset/cocoapi/blob/master/common/maskApi.c, rleFrString
    """
    runs: list[int] = []
    value = shift = 0
    for character in text.encode("latin-1", "replace"):
        digit = character - 48
        value |= (digit & 0x1F) << shift
        shift += 5
        if not digit & 0x20:
            if digit & 0x10:
                value -= 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return runs


def encode_rle(mask: Bool[np.ndarray, "height width"], compressed: bool) -> dict[str, Any]:
    """Encode a mask as run lengths, as numbers or compressed to text; undone by `decode_rle`."""
    height, width = mask.shape
    values = np.concatenate([[False], mask.T.ravel()])
    starts = np.flatnonzero(values[1:] != values[:-1])
    runs = np.diff([0, *starts, height * width]).tolist()
    counts = _compress(runs) if compressed else runs
    return {"size": [height, width], "counts": counts}


def _compress(runs: Sequence[int]) -> str:
    """Run lengths as text, as `_decompress` reads it."""
    text = []
    for position, run in enumerate(runs):
        value = run - (runs[position - 2] if position > 2 else 0)
        more = True
        while more:
            digit = value & 0x1F
            value >>= 5
            more = value != (-1 if digit & 0x10 else 0)
            text.append(chr((digit | (0x20 if more else 0)) + 48))
    return "".join(text)


def as_polygon(values: Any) -> np.ndarray:
    """The corners of a polygon from x, y, x, y ….

    Raises:
        ValueError: they are not finite numbers of three corners at least.
    """
    corners = np.array(values, dtype=float)
    if corners.ndim != 1 or len(corners) < 6 or len(corners) % 2 or not np.isfinite(corners).all():
        raise ValueError("segmentation: expected polygons with x and y of three corners or more")
    return corners.reshape(-1, 2)


def fill_polygons(
    polygons: Sequence[np.ndarray], size: tuple[int, int]
) -> Bool[np.ndarray, "height width"]:
    """The pixels whose centres lie in one of several polygons, by the even-odd rule.

    Args:
        polygons: corners (x, y) of each in pixels.
        size: width and height of the image.
    """
    width, height = size
    mask = np.zeros((height, width), dtype=bool)
    for corners in polygons:
        crossings = np.zeros((height, width + 1), dtype=np.int64)
        for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            low, high = sorted((y0, y1))
            first = int(np.clip(np.ceil(low - 0.5), 0, height))
            last = int(np.clip(np.ceil(high - 0.5), 0, height))
            if last > first:
                rows = np.arange(first, last)
                x = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)
                crossings[rows, np.clip(np.ceil(x - 0.5), 0, width).astype(int)] += 1
        mask |= crossings.cumsum(axis=1)[:, :width] % 2 == 1
    return mask
