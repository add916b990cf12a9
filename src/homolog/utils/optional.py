"""Libraries that only some parts need: imported when asked for."""

from __future__ import annotations

import importlib
from typing import Any

from homolog.errors import HomologError


def library(name: str, extra: str) -> Any:
    """A library that only some things need.

    Raises:
        HomologError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        raise HomologError(f"this needs {name}, try: pip install 'homolog[{extra}]'") from None
