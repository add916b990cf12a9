"""Matrices of numbers in MATLAB files (`.mat`, level 5, as MATLAB has written them since 1996).

Every tag and size is checked before it is believed: scipy's reader, written in C, ends the process
on some damaged files. Source: MAT-File Format, The MathWorks, chapter 1.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float

from homolog.data.reading import unreadable
from homolog.errors import HomologError

_HEADER = 128
_MAX_BYTES = 1 << 26
"""Of a file, and of a variable once decompressed: a million keypoints have less."""

_NUMBERS = {
    1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8",
}  # fmt: skip
_INT8, _INT32, _UINT32, _MATRIX, _COMPRESSED = 1, 5, 6, 14, 15
_OTHER_CLASSES = {1: "cells", 2: "a structure", 3: "an object", 4: "text", 5: "a sparse matrix"}
_LAST_CLASS = 15
_COMPLEX = 0x0800

Element = tuple[int, bytes]
"""The type of a data element and its content."""


def read(path: Path, name: str) -> Float[np.ndarray, "rows columns"]:
    """Read one matrix of a MATLAB file.

    Args:
        path: the file.
        name: of the variable.

    Raises:
        HomologError: the file cannot be read, is damaged, or has no such matrix.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise HomologError(f"{path}: expected at most {_MAX_BYTES:,} bytes, got more")
        content = path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error
    try:
        matrix = _find(content, name)
    except (ValueError, zlib.error) as error:
        raise HomologError(f"{path}: expected a MATLAB file, got: {error}") from error
    if matrix is None:
        raise HomologError(f"{path}: expected a variable {name!r}, got none")
    if isinstance(matrix, str) or matrix.ndim != 2:
        got = matrix if isinstance(matrix, str) else f"an array of shape {matrix.shape}"
        raise HomologError(f"{path}: {name!r}: expected a matrix of numbers, got {got}")
    return matrix


def _find(content: bytes, name: str) -> np.ndarray | str | None:
    """The variable of a name, or what it is instead of numbers; None if there is none.

    Raises:
        ValueError: the file is damaged, or of another kind.
    """
    if len(content) < _HEADER or content[126:128] not in (b"IM", b"MI"):
        raise ValueError("no header of level 5")
    order = "<" if content[126:128] == b"IM" else ">"
    if int.from_bytes(content[124:126], "little" if order == "<" else "big") != 0x0100:
        raise ValueError("another version than level 5; try to save it with '-v7'")
    for kind, data in _elements(content[_HEADER:], order, padded=False):
        if kind == _COMPRESSED:
            inflated = zlib.decompressobj().decompress(data, _MAX_BYTES)
            kind, data = next(_elements(inflated, order), (0, b""))
        if kind != _MATRIX:
            raise ValueError(f"a data element of type {kind} in place of a matrix")
        parts = _elements(data, order)
        flags, shape, found = _header(parts, order)
        if found == name:
            return _numbers(parts, order, flags, shape)
    return None


def _elements(data: bytes, order: str, *, padded: bool = True) -> Iterator[Element]:
    """The data elements in some bytes, one after the other.

    Raises:
        ValueError: one reaches beyond the end.
    """
    at = 0
    while at + 8 <= len(data):
        first, size = np.frombuffer(data, f"{order}u4", 2, at).tolist()
        if first >> 16:  # a small element, whose content stands in its tag
            kind, size, start = first & 0xFFFF, first >> 16, at + 4
            if size > 4:
                raise ValueError(f"a small data element of {size} bytes")
            end = at + 8
        else:
            kind, start = first, at + 8
            end = start + size
            if end > len(data):
                raise ValueError(f"a data element of {size} bytes where {len(data) - start} are")
            end += -size % 8 if padded and kind != _COMPRESSED else 0
        yield kind, data[start : start + size]
        at = end


def _header(parts: Iterator[Element], order: str) -> tuple[int, tuple[int, ...], str]:
    """Flags with the class, shape and name of a variable.

    Raises:
        ValueError: they are damaged.
    """
    wanted = ("flags", _UINT32), ("dimensions", _INT32), ("name", _INT8)
    values = []
    for what, expected in wanted:
        kind, data = next(parts, (0, b""))
        size = np.dtype(_NUMBERS[expected]).itemsize
        if kind != expected or len(data) % size:
            raise ValueError(f"a variable whose {what} are of type {kind}")
        values.append(data)
    flags = np.frombuffer(values[0], f"{order}u4")
    shape = tuple(np.frombuffer(values[1], f"{order}i4").tolist())
    if len(flags) != 2 or not 1 <= (flags[0] & 0xFF) <= _LAST_CLASS:
        raise ValueError("a variable of an unknown class")
    if not 2 <= len(shape) <= 32 or min(shape) < 0:
        raise ValueError("a variable whose dimensions are not two or more numbers")
    return int(flags[0]), shape, values[2].decode("latin-1")


def _numbers(
    parts: Iterator[Element], order: str, flags: int, shape: tuple[int, ...]
) -> np.ndarray | str:
    """A variable's numbers, or what it is instead.

    Raises:
        ValueError: there are others than its shape says.
    """
    if other := _OTHER_CLASSES.get(flags & 0xFF):
        return other
    if flags & _COMPLEX:
        return "complex ones"
    kind, data = next(parts, (0, b""))
    if kind not in _NUMBERS:
        raise ValueError(f"numbers of type {kind}")
    dtype = np.dtype(order + _NUMBERS[kind])
    if len(data) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{len(data)} bytes of numbers for a shape of {shape}")
    return np.frombuffer(data, dtype).reshape(shape, order="F").astype(float)
