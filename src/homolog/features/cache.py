"""Feature maps on disk, so that no picture goes through a backbone twice."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from homolog.errors import HomologError
from homolog.files import write_atomically

Maps = Sequence[Float[Tensor, "B _C _h _w"]]

_SUFFIX = ".safetensors"


class FeatureCache:
    """One safetensors file for each picture and pose, in half precision.

    Several processes may use one folder: files appear whole or not at all, and a broken one is
    made anew. A file's name is a hash of all that its maps depend on, so that one made from another
    picture, by another backbone or in another pose is never taken for it.

    Args:
        folder: made if it is not there.
        budget: bytes that the files may take; those not used for longest give way.

    Raises:
        HomologError: the folder cannot be made.
    """

    def __init__(self, folder: str | os.PathLike[str], budget: int | None = None):
        self.folder = Path(folder)
        self.budget = budget
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise HomologError(f"cache: cannot make {folder}: {error.strerror}") from error
        self._used = self.size() if budget is not None else 0

    def maps(
        self, picture: bytes, made_by: str, device: torch.device, make: Callable[[], Maps]
    ) -> Maps:
        """The maps of a picture, from the disk or made and kept there.

        They are rounded to half precision either way, so that results do not depend on which.

        Args:
            picture: what the backbone sees, as bytes.
            made_by: what else the maps depend on: the backbone, the pose.
            device: where the maps are wanted.
            make: computes the maps.

        Raises:
            HomologError: a file cannot be written; what was kept before is untouched.
        """
        digest = hashlib.sha256(picture)
        digest.update(made_by.encode())
        name = digest.hexdigest()
        path = self.folder / name[:2] / f"{name}{_SUFFIX}"
        kept = _read(path)
        if kept is None:
            kept = [features.half().contiguous().cpu() for features in make()]
            data = save({str(index): features for index, features in enumerate(kept)})
            self._write(path, data)
        elif self.budget is not None:
            _touch(path)
        return [features.float().to(device) for features in kept]

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
        return [path for path in sorted(self.files()) if _read(path) is None]

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


def _read(path: Path) -> list[Tensor] | None:
    """The maps in a file; None if it is not there or broken."""
    try:
        maps = load(path.read_bytes())
        return [maps[str(index)] for index in range(len(maps))]
    except (OSError, SafetensorError, KeyError):
        return None


def _touch(path: Path) -> None:
    """Note that a file was used."""
    with contextlib.suppress(OSError):  # it has just given way, or the folder is for reading only
        os.utime(path)
