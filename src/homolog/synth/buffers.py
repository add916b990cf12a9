"""The binary data of glTF files."""

from __future__ import annotations

import base64
import re
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from homolog.synth.model import ModelError

if TYPE_CHECKING:
    from pygltflib import GLTF2

_COMPONENT_TYPES = {
    5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4",
}  # fmt: skip
_COMPONENTS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}


class Buffers:
    """Arrays and bytes of a parsed glTF file; buffers are read once.

    Args:
        file: the parsed file.
        path: of the file; other files that it refers to are beside it.
    """

    def __init__(self, file: GLTF2, path: Path):
        self._file = file
        self._path = path
        self._cache: dict[int, bytes] = {}

    def array(self, index: int) -> np.ndarray:
        """The array that an accessor describes, one row an element."""
        accessor = self._file.accessors[index]
        if accessor.sparse is not None:
            raise ModelError("has sparse accessors, which are not supported")
        kind = np.dtype(_COMPONENT_TYPES[accessor.componentType])
        width = _COMPONENTS[accessor.type]
        if accessor.bufferView is None:
            return np.zeros((accessor.count, width), kind)
        view = self._file.bufferViews[accessor.bufferView]
        data = self.view(accessor.bufferView)
        start = accessor.byteOffset or 0
        stride = view.byteStride or width * kind.itemsize
        needed = start + stride * (accessor.count - 1) + width * kind.itemsize
        if accessor.count and needed > len(data):
            raise ModelError(f"is truncated: {needed - len(data):,} bytes of its data are missing")
        values = np.ndarray(
            (accessor.count, width), kind, data, start, (stride, kind.itemsize)
        ).copy()
        if accessor.normalized and kind.kind in "iu":
            return np.maximum(values / float(np.iinfo(kind).max), -1.0)
        return values

    def view(self, index: int) -> bytes:
        """The bytes of a buffer view."""
        view = self._file.bufferViews[index]
        start = view.byteOffset or 0
        data = self._buffer(view.buffer)[start : start + view.byteLength]
        if len(data) < view.byteLength:
            missing = view.byteLength - len(data)
            raise ModelError(f"is truncated: {missing:,} bytes of its data are missing")
        return data

    def _buffer(self, index: int) -> bytes:
        if index not in self._cache:
            uri = self._file.buffers[index].uri
            if uri:
                self._cache[index] = self.read_uri(uri)
            else:
                blob = self._file.binary_blob()
                if blob is None:
                    raise ModelError("has no binary data")
                self._cache[index] = bytes(blob)
        return self._cache[index]

    def read_uri(self, uri: str) -> bytes:
        """The bytes that a URI stands for: embedded, or in a file beside the model's."""
        if uri.startswith("data:"):
            return base64.b64decode(uri.partition(",")[2])
        if re.match(r"[a-z]+://", uri, re.IGNORECASE):
            raise ModelError(f"needs {uri} from the network, which is not downloaded")
        path = self._path.parent / urllib.parse.unquote(uri)
        if not path.is_file():
            raise ModelError(f"needs the file {uri}, which is missing")
        return path.read_bytes()
