"""How much memory there is, asked before much of it is taken."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from homolog.errors import HomologError

_MEMINFO, _STATM = Path("/proc/meminfo"), Path("/proc/self/statm")
_GROUP = Path("/sys/fs/cgroup")


def available_memory(device: torch.device) -> int | None:
    """Bytes that can still be allocated on a device; None where nothing tells.

    Args:
        device: the device.
    """
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return min(_limits(), default=None) if device.type == "cpu" else None


def require_memory(needed: int, purpose: str, device: torch.device) -> None:
    """Refuse what would not fit, before anything is computed.

    Args:
        needed: bytes that are allocated at most.
        purpose: what they are for, as in "matching 220 x 220 cells".
        device: where.

    Raises:
        HomologError: there is less.
    """
    available = available_memory(device)
    if available is not None and available < needed:
        raise HomologError(
            f"memory: expected {needed / 1e9:.1f} GB free for {purpose}, got "
            f"{max(available, 0) / 1e9:.1f} GB; try a smaller canvas"
        )


def _limits() -> Iterator[int]:
    """What the machine, the process's control group and its own limit leave."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in _MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                yield int(line.split()[1]) * 1024
    with contextlib.suppress(OSError, ValueError):
        # Both files are there inside a container; what files take is given back when needed.
        most, used = ((_GROUP / f"memory.{name}").read_text() for name in ("max", "current"))
        statistics = (_GROUP / "memory.stat").read_text().split()
        cached = int(statistics[statistics.index("inactive_file") + 1])
        yield int(most) - int(used) + cached
    if sys.platform != "win32":
        import resource

        most_addresses = resource.getrlimit(resource.RLIMIT_AS)[0]
        if most_addresses != resource.RLIM_INFINITY:
            with contextlib.suppress(OSError, ValueError):
                pages = int(_STATM.read_text().split()[0])
                yield most_addresses - pages * os.sysconf("SC_PAGE_SIZE")
