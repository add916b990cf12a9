"""Messages that image libraries print by themselves; what matters of them is raised."""

from __future__ import annotations

import ctypes
import functools
import logging
from pathlib import Path

from PIL import features

_MAPS = Path("/proc/self/maps")  # of Linux: the files that this process has loaded


@functools.cache
def silence() -> None:
    """Keep what libtiff and Pillow say of damaged files off standard error, as far as possible.

    Pillow's log still reaches those who ask for it; libtiff's own messages, which none can ask
    for, are turned off on Linux alone.
    """
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    if not features.check("libtiff") or not _MAPS.exists():
        return
    lines = _MAPS.read_text(errors="surrogateescape").splitlines()
    for path in {line.split(maxsplit=5)[5] for line in lines if "/libtiff" in line}:
        try:
            library = ctypes.CDLL(path)
            setters = library.TIFFSetErrorHandler, library.TIFFSetWarningHandler
        except (OSError, AttributeError):
            continue
        for setter in setters:
            setter.argtypes, setter.restype = [ctypes.c_void_p], ctypes.c_void_p
            setter(None)
