"""JSON that others wrote: whatever it holds, errors are one line that names the place."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

from homolog.errors import HomologError

# What may be a number beyond all floats, which Python reads as infinity.
_LARGE = re.compile(r"[0-9]{300}|[eE]\+?[0-9]{3}")


def parse_json(
    content: bytes | str,
    where: str,
    *,
    one_line: bool = False,
    nan_as_null: bool = False,
    pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None,
) -> Any:
    """Parse JSON.

    Args:
        content: the JSON.
        where: the file it comes from, and perhaps the place there, which messages name.
        one_line: whether it is one line of others, which `where` names.
        nan_as_null: read NaN and infinity, which Python writes but JSON does not know, as None.
        pairs_hook: makes objects of their members.

    Raises:
        HomologError: it is not JSON, or holds numbers beyond all floats.
    """
    try:
        if isinstance(content, bytes):
            content = content.decode(json.detect_encoding(content), "surrogatepass")
        return json.loads(
            content,
            parse_constant=_none if nan_as_null else None,
            parse_float=_finite if _LARGE.search(content) else None,
            object_pairs_hook=pairs_hook,
        )
    except json.JSONDecodeError as error:
        line = "" if one_line else f", line {error.lineno}"
        raise HomologError(f"{where}{line}: expected JSON, got {error.msg}") from error
    except UnicodeDecodeError:
        raise HomologError(f"{where}: expected JSON, got bytes that are not text") from None
    except RecursionError:
        raise HomologError(f"{where}: expected JSON, got lists nested too deeply") from None
    except ValueError as error:  # numbers of thousands of digits
        raise HomologError(f"{where}: expected JSON, got: {error}") from None


def _none(constant: str) -> None:
    return None


def _finite(number: str) -> float:
    value = float(number)
    if math.isinf(value):
        raise ValueError(f"a number beyond all floats, {number:.40}")
    return value
