"""Feature maps on disk, so that no picture goes through a backbone twice."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from homolog.errors import HomologError
from homolog.files import write_atomically

Maps = Sequence[Float[Tensor, "B _C _h _w"]]


class FeatureCache:
    """One safetensors file for each picture and pose, in half precision.

    Several processes may use one folder: files appear whole or not at all, and a broken one is
    made anew.

    Args:
        folder: made if it is not there.

    Raises:
        HomologError: the folder cannot be made.
    """

    def __init__(self, folder: str | os.PathLike[str]):
        self.folder = Path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise HomologError(f"cache: cannot make {folder}: {error.strerror}") from error

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
            HomologError: a file cannot be written.
        """
        digest = hashlib.sha256(picture)
        digest.update(made_by.encode())
        name = digest.hexdigest()
        path = self.folder / name[:2] / f"{name}.safetensors"
        kept = _read(path)
        if kept is None:
            kept = [features.half().contiguous().cpu() for features in make()]
            path.parent.mkdir(exist_ok=True)
            data = save({str(index): features for index, features in enumerate(kept)})
            write_atomically(path, data, "cache")
        return [features.float().to(device) for features in kept]


def _read(path: Path) -> list[Tensor] | None:
    """The maps in a file; None if it is not there or broken."""
    try:
        maps = load(path.read_bytes())
        return [maps[str(index)] for index in range(len(maps))]
    except (OSError, SafetensorError, KeyError):
        return None
