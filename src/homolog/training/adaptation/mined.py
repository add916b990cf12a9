"""Mined matches on disk: of thousands of pairs of images, and kept when a run is interrupted."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import overload

import numpy as np
import torch

from homolog.errors import HomologError
from homolog.training.adaptation.mining import PseudoMatches
from homolog.training.distributed import SINGLE_PROCESS, Process
from homolog.utils.lru_cache import LRUCache
from homolog.utils.outputs import write_atomically
from homolog.utils.progress import ProgressBar
from homolog.utils.tensor_files import read_tensors, tensor_bytes

_BLOCK = 50  # pairs in a file: about three seconds' work with the embedded backbone
_CACHED_BYTES = 100_000_000
_ARRAYS = tuple(
    field.name
    for field in dataclasses.fields(PseudoMatches)
    if field.name not in ("source", "target")
)


class MinedMatches(Sequence[PseudoMatches]):
    """The matches of pairs of images, read from files of some pairs each.

    Args:
        folders: of the files that `mine_pairs` wrote; one that is not there has none.
    """

    def __init__(self, *folders: Path):
        self._paths = [path for each in folders for path in sorted(each.glob("*.safetensors"))]
        self._cache: LRUCache[int, list[PseudoMatches]] = LRUCache(_CACHED_BYTES, _nbytes)
        counts = [len(self._block(block)) for block in range(len(self._paths))]
        self._starts = np.cumsum([0, *counts])

    def __len__(self) -> int:
        return int(self._starts[-1])

    @overload
    def __getitem__(self, index: int) -> PseudoMatches: ...

    @overload
    def __getitem__(self, index: slice) -> list[PseudoMatches]: ...

    def __getitem__(self, index: int | slice) -> PseudoMatches | list[PseudoMatches]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        position = range(len(self))[index]
        block = int(np.searchsorted(self._starts, position, side="right")) - 1
        return self._block(block)[position - int(self._starts[block])]

    def _block(self, block: int) -> list[PseudoMatches]:
        return self._cache.get(block, lambda: _read(self._paths[block]))


def mine_pairs(
    folder: Path,
    pairs: Sequence[tuple[int, int]],
    mine: Callable[[int, int], PseudoMatches],
    label: str,
    process: Process = SINGLE_PROCESS,
) -> MinedMatches:
    """Mine pairs of images, some at a time; what an interrupted run has mined is kept.

    Args:
        folder: of the files; made if it is not there.
        pairs: (source, target) of images.
        mine: gives the matches of a pair, the same whatever was mined before.
        label: what the progress bar says.
        process: this process among those that share the work.

    Raises:
        HomologError: a file cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HomologError(f"out: cannot write {folder}: {error.strerror}") from error
    blocks = [pairs[start : start + _BLOCK] for start in range(0, len(pairs), _BLOCK)]
    own = [
        block
        for block in range(process.rank, len(blocks), process.world_size)
        if not _is_whole(_path(folder, block))
    ]
    with ProgressBar(sum(len(blocks[block]) for block in own)) as progress:
        for block in own:
            found = []
            for source, target in blocks[block]:
                progress.update(label)
                found.append(mine(source, target))
            write_atomically(_path(folder, block), _to_bytes(found))
    process.gather(None)  # all are there when any goes on
    return MinedMatches(folder)


def _path(folder: Path, block: int) -> Path:
    return folder / f"{block:05d}.safetensors"


def _is_whole(path: Path) -> bool:
    """Whether a file is there and can be read."""
    try:
        _read(path)
    except (HomologError, KeyError):
        return False
    return True


def _to_bytes(found: Sequence[PseudoMatches]) -> bytes:
    images = [[matches.source, matches.target, len(matches)] for matches in found]
    tensors = {"pairs": torch.tensor(images, dtype=torch.long).reshape(-1, 3)}
    for name in _ARRAYS:
        values = [torch.from_numpy(getattr(matches, name)).float() for matches in found]
        tensors[name] = torch.cat(values) if values else torch.zeros(0)
    return tensor_bytes(tensors)


def _read(path: Path) -> list[PseudoMatches]:
    tensors = read_tensors(path, "out")
    pairs = tensors["pairs"].tolist()
    ends = np.cumsum([count for _, _, count in pairs])
    found = []
    for (source, target, count), end in zip(pairs, ends, strict=True):
        arrays = {n: tensors[n][end - count : end].double().numpy() for n in _ARRAYS}
        found.append(PseudoMatches(source, target, **arrays))
    return found


def _nbytes(found: Sequence[PseudoMatches]) -> int:
    return sum(getattr(matches, name).nbytes for matches in found for name in _ARRAYS)
