"""Feature maps on disk, so that no image goes through a backbone twice."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import cast, get_args

import torch
from safetensors import SafetensorError
from torch import Tensor

from homolog.backbones.batching import FeatureMaps
from homolog.errors import HomologError
from homolog.features.codecs import Codec, CodecName, CompactCodec, HalfCodec, Int8Codec
from homolog.utils.outputs import write_atomically
from homolog.utils.tensor_files import parse_tensors, tensor_bytes

_log = logging.getLogger(__name__)

_SUFFIX = ".safetensors"
_CODEC_NAME, _COMPONENTS = "form", "components.safetensors"


class FeatureCache:
    """A folder of feature maps: one safetensors file for each image and pose.

    Several processes may use one folder: files are written atomically, and one that is damaged,
    which its checksum tells, is computed again. A file's name is a hash of everything that its maps
    depend on, so that maps of another image, backbone or pose are never taken for these.

    All files of a folder have the same codec, which the folder remembers. `int8` takes half the
    space of `half`, and `compact` a fifth, once `fit` has computed principal components from
    some images. docs/explanation/benchmarks.md says what they cost in accuracy.

    Args:
        folder: made if it does not exist.
        budget: bytes that the files may take; those used least recently are removed.
        codec: of a new folder; None for that of the folder, and for half precision in a new one.

    Raises:
        HomologError: the folder cannot be made, or has another codec.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        budget: int | None = None,
        codec: CodecName | None = None,
    ):
        self.folder = Path(folder)
        self.budget = budget
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise HomologError(f"cache: cannot make {folder}: {error.strerror}") from error
        self.codec = self._agree_on_codec(codec)
        codecs: dict[CodecName, Codec] = {"half": HalfCodec(), "int8": Int8Codec()}
        self._codec = codecs.get(self.codec)
        self._used = self.size() if budget is not None else 0

    @property
    def fitted(self) -> bool:
        """Whether maps can be stored: a compact cache needs principal components first."""
        return self._codec is not None or (self.folder / _COMPONENTS).exists()

    def fit(self, samples: Sequence[FeatureMaps]) -> None:
        """Compute the principal components of a compact cache from some images' feature maps.

        Raises:
            HomologError: they cannot be written.
        """
        self._codec = CompactCodec.fit(samples)
        write_atomically(self.folder / _COMPONENTS, tensor_bytes(self._codec.to_tensors()), "cache")

    def get_or_compute(
        self,
        canvas: bytes,
        cache_key: str,
        device: torch.device,
        compute: Callable[[], FeatureMaps],
    ) -> FeatureMaps:
        """The feature maps of a canvas, from the disk, or computed and stored.

        They are rounded by the codec either way, so that results do not depend on which.

        Args:
            canvas: the pixels that the backbone sees.
            cache_key: everything else that the maps depend on, such as the backbone.
            device: the device that the maps are wanted on.
            compute: computes the maps.

        Raises:
            HomologError: a file cannot be written; what was stored before is untouched.
        """
        path = self._path(canvas, cache_key)
        maps = self._read(path)
        if maps is None:
            if path.exists():
                _log.warning("%s is damaged; its feature maps are computed again", path)
            maps = self._store(path, compute())
        elif self.budget is not None:
            _touch(path)
        return [features.to(device) for features in maps]

    def contains(self, canvas: bytes, cache_key: str) -> bool:
        """Whether there is a file for a canvas, whole or damaged.

        The arguments are those of `get_or_compute`.
        """
        return self._path(canvas, cache_key).exists()

    def put(self, canvas: bytes, cache_key: str, maps: FeatureMaps) -> None:
        """Store feature maps; arguments and errors are those of `get_or_compute`."""
        self._store(self._path(canvas, cache_key), maps)

    def files(self) -> Iterator[Path]:
        """All files of feature maps."""
        return self.folder.glob(f"??/*{_SUFFIX}")

    def size(self) -> int:
        """Number of bytes that the files take."""
        total = 0
        for path in self.files():
            try:
                total += path.stat().st_size
            except FileNotFoundError:  # another process may remove it meanwhile
                continue
        return total

    def check(self) -> list[Path]:
        """The files that are damaged; their maps would be computed again."""
        return [path for path in sorted(self.files()) if self._read(path) is None]

    def clear(self) -> int:
        """Remove all files.

        Returns:
            How many there were.

        Raises:
            HomologError: one cannot be removed.
        """
        count = 0
        for path in list(self.files()):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise HomologError(f"cache: cannot remove {path}: {error.strerror}") from error
            count += 1
        return count

    def _agree_on_codec(self, codec: CodecName | None) -> CodecName:
        """The folder's codec, written down if it has none yet."""
        path = self.folder / _CODEC_NAME
        try:
            found = path.read_text("utf-8").strip() if path.exists() else None
        except (OSError, UnicodeDecodeError) as error:
            raise HomologError(f"cache: cannot read {path}: {error}") from None
        if found is None:
            if codec is not None:
                write_atomically(path, f"{codec}\n".encode(), "cache")
            return codec or "half"
        if found not in get_args(CodecName) or (codec is not None and codec != found):
            expected = codec or f"one of {', '.join(get_args(CodecName))}"
            raise HomologError(
                f"cache: expected {self.folder} to have the form {expected}, got {found}"
            )
        return cast(CodecName, found)

    def _loaded_codec(self) -> Codec:
        """The codec, whose principal components are read when they are first needed.

        Raises:
            HomologError: they are needed, and missing or damaged.
        """
        if self._codec is None:
            path = self.folder / _COMPONENTS
            try:
                self._codec = CompactCodec.from_tensors(parse_tensors(path.read_bytes()))
            except (OSError, SafetensorError, KeyError, ValueError):
                raise HomologError(
                    f"cache: expected principal components in {path}, for the cache is compact, "
                    "got none; try: homolog features build IMAGES --form compact"
                ) from None
        return self._codec

    def _path(self, canvas: bytes, cache_key: str) -> Path:
        digest = hashlib.sha256(canvas)
        digest.update(cache_key.encode())
        name = digest.hexdigest()
        return self.folder / name[:2] / f"{name}{_SUFFIX}"

    def _read(self, path: Path) -> list[Tensor] | None:
        """The maps in a file; None if it is missing or damaged."""
        codec = self._loaded_codec()
        try:
            maps = codec.decode(parse_tensors(path.read_bytes()))
        except (OSError, SafetensorError, KeyError, ValueError, RuntimeError):
            return None
        return maps if maps and all(features.isfinite().all() for features in maps) else None

    def _store(self, path: Path, maps: FeatureMaps) -> list[Tensor]:
        """Write maps to a file; returns them as they will be read."""
        codec = self._loaded_codec()
        tensors = codec.encode(maps)
        self._write(path, tensor_bytes(tensors))
        return codec.decode(tensors)

    def _write(self, path: Path, data: bytes) -> None:
        try:
            path.parent.mkdir(exist_ok=True)
        except OSError as error:
            raise HomologError(f"cache: cannot make {path.parent}: {error.strerror}") from error
        write_atomically(path, data, "cache")
        if self.budget is not None:
            self._used += len(data)
            if self._used > self.budget:
                self._evict(path)

    def _evict(self, newest: Path) -> None:
        """Remove files, those used least recently first, until a tenth of the budget is free."""
        found = []
        for path in self.files():
            try:
                stat = path.stat()
            except FileNotFoundError:  # another process evicts, too
                continue
            found.append((stat.st_mtime_ns, stat.st_size, path))
        self._used = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if self._used <= 0.9 * (self.budget or 0):
                break
            if path != newest:
                path.unlink(missing_ok=True)
                self._used -= size


def _touch(path: Path) -> None:
    """Mark a file as used just now."""
    with contextlib.suppress(OSError):  # it has just been removed, or the folder is read-only
        os.utime(path)
