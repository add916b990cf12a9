"""Checkpoints of torch, read without importing or running anything that they name.

`torch.load(weights_only=True)` refuses a file that holds anything but tensors and containers, such
as a run's arguments beside its weights. Here, what is not known becomes an inert stand-in.
"""

from __future__ import annotations

import collections
import io
import math
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_DTYPES = {
    "DoubleStorage": torch.float64, "FloatStorage": torch.float32, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}  # fmt: skip
_CONTAINERS = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("collections", "defaultdict"): collections.defaultdict,
    ("torch", "Size"): torch.Size,
    **{
        (module, kind.__name__): kind
        for module in ("builtins", "__builtin__")
        for kind in (dict, list, set, frozenset, tuple)
    },
}


def load_torch_file(path: Path) -> Any:
    """What a file of `torch.save` holds: tensors, containers, and stand-ins for all else.

    Args:
        path: the file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged, holds no tensors, or would have to run code; the message says
            which, in one line.
    """
    with path.open("rb") as file:
        file.read(1)
    # From here on, whoever made the file decides what is raised, an OSError among it.
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other pickle protocols; what matters is raised
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = _first_line(error)
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return _read(archive)
    except Exception as error:
        reason = _first_line(error)
    raise ValueError(reason)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _read(archive: zipfile.ZipFile) -> Any:
    names = archive.namelist()
    found = [name for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(found) != 1:
        raise ValueError("no data.pkl, which torch.save writes, is in it")
    folder = found[0].removesuffix("data.pkl")
    order = f"{folder}byteorder"
    if order in names and archive.read(order) != b"little":
        raise ValueError("its numbers are not little-endian")
    return _Reader(archive, folder).load()


class _Inert(type):
    """The class of stand-ins' classes: making an instance runs nothing, calling one is refused."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        raise pickle.UnpicklingError(f"it would have to call {cls.__name__}")


class _StandIn(metaclass=_Inert):
    """Stands in for an object of an unknown class, and forgets what it is given."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return object.__new__(cls)

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, value: Any) -> None:
        """Forget an entry of a list."""

    def extend(self, values: Any) -> None:
        """Forget entries of a list."""

    def add(self, value: Any) -> None:
        """Forget an entry of a set."""


class _Storage:
    """The bytes of a storage, and the type of its numbers."""

    __slots__ = ("data", "dtype")

    def __init__(self, data: bytes, dtype: torch.dtype):
        self.data, self.dtype = data, dtype


class _StorageType:
    """The name of a type of storages."""

    __slots__ = ("dtype",)

    def __init__(self, dtype: torch.dtype):
        self.dtype = dtype


class _RebuildTensor:
    """Makes a tensor of its storage, as `torch._utils._rebuild_tensor_v2` does."""

    __slots__ = ()

    def __call__(self, storage: _Storage, offset: int, size: Any, stride: Any, *_: Any) -> Tensor:
        numbers = torch.empty(0, dtype=storage.dtype)
        if storage.data:
            numbers = torch.frombuffer(bytearray(storage.data), dtype=storage.dtype)
        if len(size) != len(stride) or min((*size, *stride, offset), default=0) < 0:
            raise ValueError("a tensor's size or stride is damaged")
        last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
        if 0 not in size and last >= len(numbers):
            raise ValueError("a tensor is larger than its storage")
        if math.prod(size) > max(len(numbers), 1):  # such as one number, repeated
            raise ValueError("a tensor is larger than its storage")
        return numbers.as_strided(tuple(size), tuple(stride), offset)


class _RebuildParameter:
    """Returns the tensor of a parameter, as `torch._utils._rebuild_parameter` has it."""

    __slots__ = ()

    def __call__(self, tensor: Tensor, *_: Any) -> Tensor:
        return tensor


class _Reader(pickle.Unpickler):
    """Unpickles tensors, containers and stand-ins; everything it hands out is its own.

    Args:
        archive: the file.
        folder: of the records in it, with a slash at the end.
    """

    def __init__(self, archive: zipfile.ZipFile, folder: str):
        super().__init__(io.BytesIO(archive.read(f"{folder}data.pkl")), encoding="utf-8")
        self.archive, self.folder = archive, folder
        self.storages: dict[str, bytes] = {}

    def find_class(self, module: str, name: str) -> Any:
        """What a name in the file stands for."""
        if (module, name) in _CONTAINERS:
            return _CONTAINERS[module, name]
        if module == "torch._utils" and name in ("_rebuild_tensor", "_rebuild_tensor_v2"):
            return _RebuildTensor()
        if module == "torch._utils" and name == "_rebuild_parameter":
            return _RebuildParameter()
        if module in ("torch", "torch.storage") and name in _DTYPES:
            return _StorageType(_DTYPES[name])
        return _Inert(f"{module}.{name}", (_StandIn,), {})

    def persistent_load(self, pid: Any) -> _Storage:
        """A storage, read when a tensor asks for it."""
        kind, of, key, _, count = pid
        if kind != "storage" or not isinstance(of, _StorageType):
            raise pickle.UnpicklingError("it holds something else than storages beside its objects")
        if key not in self.storages:
            self.storages[key] = self.archive.read(f"{self.folder}data/{key}")
        data = self.storages[key]
        if len(data) < count * of.dtype.itemsize:
            raise ValueError("a storage is cut short")
        return _Storage(data, of.dtype)
