"""What a JPEG file's markers say of the memory and the time that it takes (ITU-T T.81, annex B)."""

from __future__ import annotations

import mmap
import re
from pathlib import Path

from homolog.errors import HomologError

MAX_SCANS = 64
"""Scans of a file at most: encoders write some ten of a progressive photo, and each costs as much
time as the whole image, however few bytes it has."""

_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # in coded data, which escapes all others
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN, _END, _RESTARTS = 0xDA, 0xD9, range(0xD0, 0xD9)
_LOSSLESS = (0xC3, 0xC7, 0xCB, 0xCF)


def check(path: Path) -> int:
    """Bytes of the coefficients that a decoder keeps of a file, 0 if it needs none of them twice.

    Files end at the end of their first image; what follows, such as other views of a phone's
    camera, is not looked at. Damaged ones are left to the decoder, as far as they can be read.

    Raises:
        HomologError: it has more scans than any encoder writes.
    """
    with path.open("rb") as file:
        try:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:  # an empty file
            return 0
        with data:
            return _coefficients(data)


def _coefficients(data: mmap.mmap) -> int:
    kept, components, first, scans, at = 0, 0, 0, 0, 2
    while at + 4 <= len(data):
        found = _MARKER.search(data, at)
        if found is None:
            break
        marker, at = data[found.end() - 1], found.end()
        if marker == _END:
            break
        if marker in _RESTARTS or marker == 0x01:
            continue
        segment = data[at + 2 : at + int.from_bytes(data[at : at + 2], "big")]
        at += max(2, len(segment) + 2)
        if marker in _FRAMES and len(segment) >= 6:
            components = segment[5]
            kept = max(kept, _bytes_of(segment, 8 if marker not in _LOSSLESS else 1))
        elif marker == _START_OF_SCAN and segment:
            scans += 1
            first = first or segment[0]
            if scans > MAX_SCANS:
                raise HomologError(f"expected at most {MAX_SCANS} scans of a JPEG file, got more")
    return kept if scans > 1 or first < components else 0


def _bytes_of(frame: bytes, unit: int) -> int:
    """Bytes of all coefficients of a frame, two each, by its header.

    Args:
        frame: of the header, what follows its length.
        unit: coefficients of a block along either axis.
    """
    height, width = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")
    factors = [divmod(frame[i], 16) for i in range(7, min(len(frame), 6 + 3 * frame[5]), 3)]
    across = max((h for h, _ in factors), default=1) or 1
    down = max((v for _, v in factors), default=1) or 1
    columns, rows = -(-width // (unit * across)), -(-height // (unit * down))
    return 2 * unit * unit * columns * rows * sum(h * v for h, v in factors)
