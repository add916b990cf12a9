"""How large the parts of an HDF5 file say they are: looked at before memory is filled with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from homolog.utils.optional import require

_ALWAYS = 64 * 2**20
_MOST_PACKED = 1000  # times: nothing that such files are compressed with packs more
_REFERENCE = (
    16  # bytes of what stands for a text or list: its length in four of them, and where it is
)


def check_sizes(path: Path) -> None:
    """Check that no array of a file is said to be far larger than it could be.

    Raises:
        OSError: it is no HDF5 file.
        ValueError: one is, or the file is damaged.
    """
    h5py = require("h5py", "pose")
    held = path.stat().st_size

    def check(name: str, member: Any) -> None:
        size = 0
        if isinstance(member, h5py.Dataset):
            size = member.nbytes + _lengths(member, path)
        if size > _ALWAYS + _MOST_PACKED * held:
            raise ValueError(f"a file of {held} bytes, in which {name} is said to have {size}")

    with h5py.File(path, "r") as file:
        try:
            file.visititems(check)
        except (AttributeError, KeyError, RuntimeError, TypeError) as error:
            raise ValueError(f"a damaged file ({error})") from error


def _lengths(dataset: Any, path: Path) -> int:
    """The length of all texts or lists of an array together, where it is not compressed."""
    if dataset.dtype.kind != "O" or dataset.compression is not None or not dataset.size:
        return 0
    stored = dataset.id
    chunks = range(0 if dataset.chunks is None else stored.get_num_chunks())
    parts = [(info.byte_offset, info.size) for info in map(stored.get_chunk_info, chunks)]
    if dataset.chunks is None and stored.get_offset() is not None:
        parts = [(stored.get_offset(), _REFERENCE * dataset.size)]
    total = 0
    with path.open("rb") as file:
        for place, size in parts:
            file.seek(place)
            references = file.read(size)
            total += sum(
                int.from_bytes(references[at : at + 4], "little")
                for at in range(0, len(references), _REFERENCE)
            )
    return total
