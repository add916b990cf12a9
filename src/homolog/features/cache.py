"""Feature maps on disk, so that no picture goes through a backbone twice."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import cast, get_args

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from homolog.errors import HomologError
from homolog.features.codecs import Codec, CodecName, Compact, Half, Int8
from homolog.utils.outputs import write_atomically

Maps = Sequence[Float[Tensor, "B _C _h _w"]]

_SUFFIX = ".safetensors"
_FORM, _COMPONENTS = "form", "components.safetensors"


class FeatureCache:
    """One safetensors file for each picture and pose, by default in half precision.

    Several processes may use one folder: files appear whole or not at all, and a broken one is
    made anew. A file's name is a hash of all that its maps depend on, so that one made from another
    picture, by another backbone or in another pose is never taken for it.

    All files of a folder have one form, which the folder remembers. In eight bits (`int8`) they
    take half the room; as `compact` principal components a fifth of it, once `fit` has seen some
    pictures. What either costs is told in docs/benchmarks.md.

    Args:
        folder: made if it is not there.
        budget: bytes that the files may take; those not used for longest give way.
        form: of a new folder; None for that of the folder, and for half precision in a new one.

    Raises:
        HomologError: the folder cannot be made, or has another form.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        budget: int | None = None,
        form: CodecName | None = None,
    ):
        self.folder = Path(folder)
        self.budget = budget
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise HomologError(f"cache: cannot make {folder}: {error.strerror}") from error
        self.form = self._agreed(form)
        codecs: dict[CodecName, Codec] = {"half": Half(), "int8": Int8()}
        self._codec = codecs.get(self.form)
        self._used = self.size() if budget is not None else 0

    @property
    def fitted(self) -> bool:
        """Whether maps can be kept: principal components must have been taken first."""
        return self._codec is not None or (self.folder / _COMPONENTS).exists()

    def fit(self, samples: Sequence[Maps]) -> None:
        """Take principal components of some pictures' maps, for the compact form.

        Raises:
            HomologError: they cannot be written.
        """
        self._codec = Compact.fit(samples)
        write_atomically(self.folder / _COMPONENTS, save(self._codec.tensors()), "cache")

    @property
    def codec(self) -> Codec:
        """What turns maps into files' contents and back.

        Raises:
            HomologError: principal components are needed and not there.
        """
        if self._codec is None:
            path = self.folder / _COMPONENTS
            try:
                self._codec = Compact.of(load(path.read_bytes()))
            except (OSError, SafetensorError, KeyError):
                raise HomologError(
                    f"cache: {self.folder} is compact and has no principal components yet, "
                    "try: homolog features build PICTURES --form compact"
                ) from None
        return self._codec

    def _agreed(self, form: CodecName | None) -> CodecName:
        """The folder's form, written down if it has none yet."""
        path = self.folder / _FORM
        try:
            found = path.read_text("utf-8").strip() if path.exists() else None
        except (OSError, UnicodeDecodeError) as error:
            raise HomologError(f"cache: cannot read {path}: {error}") from None
        if found is None:
            if form is not None:
                write_atomically(path, f"{form}\n".encode(), "cache")
            return form or "half"
        if found not in get_args(CodecName) or (form is not None and form != found):
            raise HomologError(f"cache: {self.folder} has the form {found!r}, not {form!r}")
        return cast(CodecName, found)

    def maps(
        self, picture: bytes, made_by: str, device: torch.device, make: Callable[[], Maps]
    ) -> Maps:
        """The maps of a picture, from the disk or made and kept there.

        They are rounded either way, so that results do not depend on which.

        Args:
            picture: what the backbone sees, as bytes.
            made_by: what else the maps depend on: the backbone, the pose.
            device: where the maps are wanted.
            make: computes the maps.

        Raises:
            HomologError: a file cannot be written; what was kept before is untouched.
        """
        path = self._path(picture, made_by)
        kept = self._read(path)
        if kept is None:
            kept = self._keep(path, make())
        elif self.budget is not None:
            _touch(path)
        return [features.to(device) for features in kept]

    def holds(self, picture: bytes, made_by: str) -> bool:
        """Whether there is a file for a picture, whole or broken; arguments as for `maps`."""
        return self._path(picture, made_by).exists()

    def put(self, picture: bytes, made_by: str, maps: Maps) -> None:
        """Keep maps that have been made; arguments and errors as for `maps`."""
        self._keep(self._path(picture, made_by), maps)

    def _path(self, picture: bytes, made_by: str) -> Path:
        digest = hashlib.sha256(picture)
        digest.update(made_by.encode())
        name = digest.hexdigest()
        return self.folder / name[:2] / f"{name}{_SUFFIX}"

    def _keep(self, path: Path, maps: Maps) -> list[Tensor]:
        tensors = self.codec.encode(maps)
        self._write(path, save(tensors))
        return self.codec.decode(tensors)

    def _write(self, path: Path, data: bytes) -> None:
        try:
            path.parent.mkdir(exist_ok=True)
        except OSError as error:
            raise HomologError(f"cache: cannot make {path.parent}: {error.strerror}") from error
        write_atomically(path, data, "cache")
        if self.budget is not None:
            self._used += len(data)
            if self._used > self.budget:
                self._make_room(path)

    def _make_room(self, newest: Path) -> None:
        """Files go, those not used for longest first, until a tenth of the budget is free."""
        found = []
        for path in self.files():
            try:
                stat = path.stat()
            except FileNotFoundError:  # another process made room, too
                continue
            found.append((stat.st_mtime_ns, stat.st_size, path))
        self._used = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if self._used <= 0.9 * (self.budget or 0):
                break
            if path != newest:
                path.unlink(missing_ok=True)
                self._used -= size

    def files(self) -> Iterator[Path]:
        """All files of the cache."""
        return self.folder.glob(f"??/*{_SUFFIX}")

    def size(self) -> int:
        """Bytes that the files take."""
        total = 0
        for path in self.files():
            try:
                total += path.stat().st_size
            except FileNotFoundError:  # it may go while others make room
                continue
        return total

    def check(self) -> list[Path]:
        """The files that are broken; they would be made anew."""
        return [path for path in sorted(self.files()) if self._read(path) is None]

    def clear(self) -> int:
        """Remove all files; returns how many there were.

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

    def _read(self, path: Path) -> list[Tensor] | None:
        """The maps in a file; None if it is not there or broken."""
        codec = self.codec
        try:
            return codec.decode(load(path.read_bytes()))
        except (OSError, SafetensorError, KeyError):
            return None


def _touch(path: Path) -> None:
    """Note that a file was used."""
    with contextlib.suppress(OSError):  # it has just given way, or the folder is for reading only
        os.utime(path)
