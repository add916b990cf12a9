"""The one error users meet."""

from __future__ import annotations

import re

_LONGEST_VALUE = 200  # characters of a value that a message quotes
_VALUE = re.compile(r"""(?<=, got )(?:'[^']*'|"[^"]*"|\[.*\]|\{.*\}|\([^()]*\))""")
_WORD = re.compile(rf"[^\s;/\\]{{{_LONGEST_VALUE + 1},}}")  # of what is no path
_LONGEST = 1000  # characters of a message
_END = 300  # of them at the end, of a message that is longer


class HomologError(ValueError):
    """A wrong argument or an unusable input.

    The message is one line that names the argument, what was given and what is taken. The
    command prints that line alone and exits with status 2. Values that go over several lines, as
    arrays do, are joined into one, and what is too long to read is left out.
    """

    def __init__(self, message: str):
        line = re.sub(r"\s*[\r\n]\s*", " ", str(message))
        for pattern in (_VALUE, _WORD):
            line = pattern.sub(_shortened, line)
        if len(line) > _LONGEST:
            line = f"{line[: _LONGEST - _END - 5]} ... {line[-_END:]}"
        super().__init__(line)


def _shortened(value: re.Match[str]) -> str:
    text = value.group()
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"
