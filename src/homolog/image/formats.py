"""Which kinds of image files are read, and how much memory and time one may take.

Pillow knows some forty formats. A few of them start other programs (PostScript) or hold images of
other formats, whose size nobody has checked, and most are no photos' formats. So a file's first
bytes decide, and Pillow is told the one format that it may read.
"""

from __future__ import annotations

import functools
import importlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import Image

from homolog.errors import HomologError
from homolog.image import jpeg

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "TIFF", "BMP", "PPM", "HEIF")
"""Pillow's names of the formats that are read; HEIF with pillow-heif alone."""

HEIF_SUFFIXES = frozenset({".heic", ".heif", ".hif"})
"""Of images as phones write them, which Pillow reads with pillow-heif."""

START = 64
"""Bytes of a file that tell its format."""

MAX_EDGE = 1_000_000
"""Pixels of an image file along either axis at most: rows cost memory, however short."""

_SIGNATURES = {
    "JPEG": (b"\xff\xd8\xff",),
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "GIF": (b"GIF87a", b"GIF89a"),
    "BMP": (b"BM",),
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"II\0*", b"MM*\0"),
    "PPM": tuple(b"P%d" % kind for kind in range(1, 7)),
}
_AV1_BRANDS = (b"avif", b"avis")
_HEIF_BRANDS = (
    b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1",
)  # fmt: skip

# Bytes that decoders take for a pixel, which hold an image several times over. Measured on Pillow
# 13 and pillow-heif 1.8: WebP 16; AVIF of 8 bits 12 and of 12 bits half more, but its files do not
# tell; HEIF of 8 bits 9, and 12 with transparency; of more bits 16 and 21.
_DECODING = {"WEBP": 16, "AVIF": 18, "HEIF": 9}
_HEIF = {(8, "RGB"): 9, (8, "RGBA"): 12, (16, "RGB"): 17}
_SMALL_MODES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}
_BYTES_A_ROW = 64
_OVERHEAD = 75_000_000  # bytes that a file may take beside five a pixel that may be declared

# Pillow decodes these in Python: pixels at most, so that no file takes more than some seconds.
_SLOW = {"ppm_plain": 4_000_000, "ppm": 16_000_000, "bmp_rle": 16_000_000}
_MAX_COMMENTS = 1000  # of a plain-text file, each of which costs as much as a megabyte of pixels


def of_start(start: bytes) -> str | None:
    """The format of a file by its first bytes, of those that are read; None if it has another.

    Args:
        start: the first `START` bytes.
    """
    if start[:4] == b"RIFF":
        return "WEBP" if start[8:12] == b"WEBP" else None
    if start[4:8] == b"ftyp":
        length = min(int.from_bytes(start[:4], "big"), len(start))
        brands = [start[8:12], *(start[i : i + 4] for i in range(16, length - 3, 4))]
        if any(brand in _AV1_BRANDS for brand in brands):
            return "AVIF"
        return "HEIF" if brands[0] in _HEIF_BRANDS else None
    for kind, signatures in _SIGNATURES.items():
        if start.startswith(signatures):
            return None if kind == "PPM" and start[2:3] not in b"\t\n\v\f\r #" else kind
    return None


def stated_size(kind: str, start: bytes) -> tuple[int, int] | None:
    """Width and height that a file's first bytes state; None if others do.

    Of the formats for which Pillow takes memory when it opens a file, before it tells the size.

    Args:
        kind: its format.
        start: its first `START` bytes.
    """
    if kind == "PNG":
        return int.from_bytes(start[16:20], "big"), int.from_bytes(start[20:24], "big")
    if kind == "GIF":
        return int.from_bytes(start[6:8], "little"), int.from_bytes(start[8:10], "little")
    if kind != "WEBP":
        return None
    chunk, data = start[12:16], start[20:]
    if chunk == b"VP8X":
        return 1 + int.from_bytes(data[4:7], "little"), 1 + int.from_bytes(data[7:10], "little")
    if chunk == b"VP8L":
        bits = int.from_bytes(data[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    sizes = (int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (6, 8))
    return next(sizes), next(sizes)


def memory_of(image: Image.Image, path: Path) -> int:
    """Bytes that decoding an opened file and turning it into upright RGB take at most, as a whole.

    Args:
        image: opened, not decoded.
        path: the file.

    Raises:
        HomologError: it would take too long, or its structure cannot be that of an image.
    """
    pixels, kind = image.width * image.height, image.format or ""
    stored = _SMALL_MODES.get(image.mode, 4)
    extra = image.height * _BYTES_A_ROW
    tiles: list[Any] = getattr(image, "tile", [])
    codec = str(tiles[0][0]) if tiles else ""
    if pixels > _SLOW.get(codec, pixels):
        raise HomologError(
            f"its kind of {kind} takes too long; expected at most {_SLOW[codec]:,} pixels, got "
            f"{image.width} x {image.height}"
        )
    if codec == "ppm_plain":
        _check_comments(path)
    if codec in _SLOW:
        stored *= 3
    if kind in ("JPEG", "MPO"):
        extra += jpeg.check(path)
    if kind == "TIFF":
        extra += _strip_bytes(image)
    if getattr(image, "is_animated", False) and kind == "PNG":
        stored *= 3  # the frame, what it replaces, and the part of that which changes
    decoding = _DECODING.get(kind, 0)
    if kind == "HEIF":
        decoding = _HEIF.get((8 if image.info.get("bit_depth") == 8 else 16, image.mode), 22)
    return pixels * max(stored, decoding) + extra


def finishing(image: Image.Image, orientation: int) -> int:
    """Bytes a pixel that an image takes while the whole of it becomes upright RGB.

    4 are those of the image itself, which then is what it is to become.

    Args:
        image: opened.
        orientation: by which it is turned, as EXIF numbers them.
    """
    turned = orientation != 1 and image.format != "TIFF"  # which Pillow turns while it decodes
    kept = turned or image.has_transparency_data or image.format in _DECODING
    if image.mode == "RGB" and not kept:
        return 4
    return 5 if image.mode == "I" or image.mode in _SMALL_MODES else 8  # by way of 8 bits


def limit(max_pixels: float) -> float:
    """Bytes that a file may take, where it may have a number of pixels."""
    return 5 * max_pixels + _OVERHEAD


def image_suffixes() -> frozenset[str]:
    """The suffixes, in lower case, of the image files that can be read."""
    Image.init()
    readable = Image.OPEN.keys() & {*FORMATS} | {"MPO"}  # opened as JPEG
    suffixes = {
        suffix for suffix, kind in Image.registered_extensions().items() if kind in readable
    }
    return frozenset(suffixes | HEIF_SUFFIXES if find_spec("pillow_heif") else suffixes)


@functools.cache
def register_heif() -> bool:
    """Let Pillow read HEIC, as phones write it; False where pillow-heif is not installed."""
    if not find_spec("pillow_heif"):
        return False
    importlib.import_module("pillow_heif").register_heif_opener()
    return True


def _strip_bytes(image: Any) -> int:
    """Bytes of the largest part of a TIFF file that is decoded at once."""
    tags = image.tag_v2
    if 322 in tags:
        width, height = tags[322], tags.get(323, 0)
    else:
        width, height = image.width, min(tags.get(278, image.height), max(image.size))
    bits = tags.get(258, (1,))
    samples = max(tags.get(277, 1), len(bits))
    sizes = width, height, samples, *bits
    if not all(isinstance(size, int) for size in sizes):
        raise HomologError("its tags are damaged")
    whole = int(width * height * samples * max(bits) / 8)
    turned = 4 * image.width * image.height if tags.get(274, 1) != 1 else 0
    return max(whole, turned)


def _check_comments(path: Path) -> None:
    """Refuse plain-text images of many comments, each of which is looked for in all that follows.

    Raises:
        HomologError: there are more than anybody writes.
    """
    found = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            found += block.count(b"#")
    if found > _MAX_COMMENTS:
        raise HomologError(f"expected at most {_MAX_COMMENTS} comments, got {found}")
