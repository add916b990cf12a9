"""The image store: descriptors of all images on disk, so that memory does not grow with them."""

from __future__ import annotations

import contextlib
import math
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from homolog.backbones.base import canvas_transform
from homolog.errors import HomologError
from homolog.extractor import BATCH
from homolog.features.foreground import saliency
from homolog.image.geometry import CanvasTransform
from homolog.loading import ImageLoader
from homolog.matcher import Matcher
from homolog.networks.attention import principal_directions
from homolog.training.augmentation import UNCHANGED, Augmentation
from homolog.training.distributed import SINGLE_PROCESS, Process
from homolog.utils.lru_cache import LRUCache
from homolog.utils.outputs import write_atomically
from homolog.utils.progress import ProgressBar
from homolog.utils.tensor_files import read_tensors, tensor_bytes

_BASIS = "basis.safetensors"
_BASIS_IMAGES, _BASIS_EVERY = 64, 3  # images, and cells of them, that components are taken from
_CACHE_BYTES = 2_000_000_000

ViewKey = tuple[int, Augmentation]
"""The index of an image, and its view."""


@dataclass(frozen=True, eq=False)
class StoredView:
    """Zero-shot descriptors of an image in one view, by their principal components.

    Attributes:
        components_HWK: principal components of the descriptors, half precision.
        valid_HW: the cells that show the image rather than the black around it.
        saliency_HW: how much each cell belongs to the object, 0 to 1.
        size: width and height of the upright image, in pixels.
    """

    components_HWK: Float[Tensor, "H W K"]
    valid_HW: Bool[Tensor, "H W"]
    saliency_HW: Float[Tensor, "H W"]
    size: tuple[int, int]


class ImageStore:
    """Descriptors of images in any views, each extracted once and kept in a file of its own.

    An interrupted run finds what is there. Files are written atomically; a damaged one is made
    again.

    Args:
        folder: of the files; made if it does not exist.
        matcher: makes the descriptors; only its zero-shot ones are kept.
        paths: of the images.
        components: principal components that are kept of the descriptors, at most.

    Attributes:
        basis_CK: orthonormal; takes descriptors to their components.

    Raises:
        HomologError: an image cannot be read, or the folder cannot be written.
    """

    def __init__(self, folder: Path, matcher: Matcher, paths: Sequence[Path], components: int):
        self.folder = folder
        self.matcher = matcher
        self.paths = list(paths)
        self._images = ImageLoader(matcher.backbone.canvas_size, "", matcher.max_pixels)
        self._cache: LRUCache[ViewKey, StoredView] = LRUCache(
            _CACHE_BYTES, lambda view: view.components_HWK.nbytes
        )
        self._transforms: dict[int, CanvasTransform] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise HomologError(f"out: cannot make {folder}: {error.strerror}") from error
        self.basis_CK = self._load_basis(components)

    def __len__(self) -> int:
        return len(self.paths)

    def fill(self, views: Iterable[ViewKey], label: str, process: Process = SINGLE_PROCESS) -> None:
        """Extract the views that are not there yet, a batch at a time.

        Batches are always made up of the same views, for what a backbone makes of one may depend on
        the others in the last bits.

        Args:
            views: indices of images, each with a view.
            label: what the progress bar says.
            process: this process among those that share the work.

        Raises:
            HomologError: an image cannot be read, or a file cannot be written.
        """
        keys = list(dict.fromkeys(views))
        batches = [keys[start : start + BATCH] for start in range(0, len(keys), BATCH)]
        own = batches[process.rank :: process.world_size]
        extracted = [
            key for batch in own if not all(self._path(k).exists() for k in batch) for key in batch
        ]
        with ProgressBar(len(extracted)) as progress:
            for done, (key, zero_shot, transform, valid) in enumerate(self._extract(extracted)):
                progress.update(label, done)
                if self._path(key).exists():
                    continue
                self._write(key, zero_shot, transform, valid)
        process.gather(None)  # all are there when any goes on

    def view(self, index: int, augmentation: Augmentation = UNCHANGED) -> StoredView:
        """An image in a view, extracted if it is not in the store yet.

        Args:
            index: of the image.
            augmentation: the view.

        Raises:
            HomologError: the image cannot be read, or the file cannot be written.
        """
        key = index, augmentation
        return self._cache.get(key, lambda: self._load(key))

    def zero_shot(self, view: StoredView) -> Float[Tensor, "H W C"]:
        """The descriptors of a view as the extractor made them, but for the components left out."""
        basis = self.basis_CK
        return F.normalize(view.components_HWK.to(basis) @ basis.T, dim=-1)

    def transform(self, index: int) -> CanvasTransform:
        """From points of an image to cells of its unchanged view, and back."""
        if index not in self._transforms:
            self._transforms[index] = canvas_transform(
                self.matcher.backbone, *self.view(index).size
            )
        return self._transforms[index]

    def to_view(
        self, index: int, cells: Float[np.ndarray, "K 2"], augmentation: Augmentation
    ) -> Float[np.ndarray, "K 2"]:
        """Cells of an image in another view; NaN beyond it.

        Args:
            index: of the image.
            cells: (x, y) in cells of the unchanged view.
            augmentation: the view.
        """
        transform = self.transform(index)
        return augmentation.to_cells(transform.to_points(cells), transform)

    def _write(
        self,
        key: ViewKey,
        zero_shot_HWC: Float[Tensor, "H W C"],
        transform: CanvasTransform,
        valid_HW: Bool[Tensor, "H W"],
    ) -> None:
        components = zero_shot_HWC @ self.basis_CK.to(zero_shot_HWC)
        tensors = {
            "components": components.half(), "valid": valid_HW,
            "saliency": saliency(zero_shot_HWC, valid_HW), "size": torch.tensor(transform.size),
        }  # fmt: skip
        write_atomically(self._path(key), tensor_bytes(tensors))

    def _path(self, key: ViewKey) -> Path:
        index, augmentation = key
        return (
            self.folder / f"{index:06d}-{zlib.crc32(repr(augmentation).encode()):08x}.safetensors"
        )

    def _load(self, key: ViewKey) -> StoredView:
        path = self._path(key)
        if path.exists():
            with contextlib.suppress(HomologError, KeyError, ValueError):  # damaged
                return _read(path)
        for made in self._extract([key]):
            self._write(*made)
        return _read(path)

    @torch.no_grad()
    def _extract(
        self, keys: Sequence[ViewKey]
    ) -> Iterator[tuple[ViewKey, Float[Tensor, "H W C"], CanvasTransform, Bool[Tensor, "H W"]]]:
        """Zero-shot descriptors of views, a batch at a time."""
        transforms: list[CanvasTransform] = []

        def canvases() -> Iterator[Tensor]:
            for index, augmentation in keys:
                path = self.paths[index]
                image = self._images.whole(path, str(path))
                transforms.append(canvas_transform(self.matcher.backbone, *image.size))
                canvas = augmentation.canvas(image.image, transforms[-1])
                yield torch.from_numpy(np.array(canvas))

        extractor = self.matcher.extractor
        for index, maps in enumerate(extractor.feature_maps(canvases())):
            key, transform = keys[index], transforms[index]
            valid = torch.from_numpy(key[1].valid_cells(transform)).to(maps[0].device)
            yield key, extractor.zero_shot(maps, valid[None])[0], transform, valid

    def _load_basis(self, components: int) -> Float[Tensor, "C K"]:
        """The principal components, taken from some of the images when the store is made."""
        path, device = self.folder / _BASIS, self.matcher.backbone.device
        if path.exists():
            with contextlib.suppress(HomologError, KeyError):  # damaged; images give the same again
                return read_tensors(path, "out")["basis"].to(device)
        keys: list[ViewKey] = [(i, UNCHANGED) for i in spread(len(self.paths), _BASIS_IMAGES)]
        cells = [zero_shot[valid][::_BASIS_EVERY] for _, zero_shot, _, valid in self._extract(keys)]
        basis = principal_directions(torch.cat(cells), components)
        write_atomically(path, tensor_bytes({"basis": basis}))
        return read_tensors(path, "out")["basis"].to(device)


def spread(count: int, most: int) -> range:
    """Some of so many indices, evenly spread over all of them.

    Args:
        count: how many there are, at least one.
        most: how many are taken, at most.
    """
    return range(0, count, math.ceil(count / most))


def _read(path: Path) -> StoredView:
    tensors = read_tensors(path, "out")
    width, height = tensors["size"].tolist()
    return StoredView(tensors["components"], tensors["valid"], tensors["saliency"], (width, height))
