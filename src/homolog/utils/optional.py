"""Libraries that only some parts need: imported when asked for."""

from __future__ import annotations

import importlib
from typing import Any

from homolog.errors import HomologError


def require(name: str, extra: str | None = None) -> Any:
    """An optional library, imported.

    Args:
        name: of the module.
        extra: the extra of this package that installs it; None where users install it themselves.

    Raises:
        HomologError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        package = name if extra is None else f"'homolog[{extra}]'"
        raise HomologError(
            f"{name}: expected it to be installed, got none; try: pip install {package}"
        ) from None
