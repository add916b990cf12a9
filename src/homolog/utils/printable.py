"""Names of files as text that can be drawn and sent: on disk they are bytes, perhaps not UTF-8."""

from __future__ import annotations


def printable(name: str) -> str:
    r"""A name with a question mark for each byte that is not UTF-8.

    >>> printable("caf\udce9.png")
    'caf?.png'
    """
    return name.encode(errors="replace").decode()
