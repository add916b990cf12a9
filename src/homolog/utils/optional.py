"""Optional libraries, imported when they are needed."""

from __future__ import annotations

import importlib
from typing import Any

from homolog.errors import HomologError


def require(name: str, extra: str | None = None, package: str | None = None) -> Any:
    """Import a module of an optional library.

    Args:
        name: the module, such as `scipy.io`.
        extra: the extra of homolog that installs the library; None if none does.
        package: what pip installs it from, where there is no extra and its name is another.

    Raises:
        HomologError: the library is not installed, or cannot be imported.
    """
    library = name.split(".")[0]
    try:
        return importlib.import_module(name)
    except ImportError as error:
        missing = error.name is not None and error.name.split(".")[0] == library
        requirement = package or library if extra is None else f"'homolog[{extra}]'"
        raise HomologError(
            f"{library}: expected it to be installed, got {'none' if missing else error}; "
            f"try: pip install {requirement}"
        ) from None
