"""The code in a Markdown page: fenced and indented blocks, and code within sentences and tables."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^(?P<indent> *)(?P<marks>`{3,}|~{3,}) *(?P<language>[^\s`]*)[^`]*$")
_CONTAINER = re.compile(r"^ *([-*+]|\d+[.)]|!!!|\?\?\?\+?|===) ")
_EXEMPT = re.compile(r"^<!-- not run: (?P<reason>.+?) -->$")
_INLINE = re.compile(r"(?<!`)(?P<marks>`+)(?!`)(?P<code>.+?)(?<!`)(?P=marks)(?!`)", re.DOTALL)


@dataclass(frozen=True)
class Code:
    """A piece of code on a page.

    Attributes:
        line: of its first line of code, from 1.
        language: as the fence names it; `sh` where the block is indented, and `inline` within text.
        text: the code, without indentation common to all of it.
        exempt: why it is not run, where a comment `<!-- not run: reason -->` stands before it.
    """

    line: int
    language: str
    text: str
    exempt: str | None = None


def read(path: Path) -> list[Code]:
    """All code of a page, in its order."""
    return list(_parse(path.read_text("utf-8").splitlines()))


def _parse(lines: list[str]) -> Iterator[Code]:
    number, paragraph, exempt, in_container = 0, [], None, False
    while number < len(lines):
        line = lines[number]
        if match := _FENCE.match(line):
            yield from _inline(paragraph, number)
            end = _closing(lines, number + 1, match["marks"])
            text = textwrap.dedent("\n".join(lines[number + 1 : end]))
            yield Code(number + 2, match["language"].lower(), text, exempt)
            number, paragraph, exempt = end + 1, [], None
            continue
        if not line.strip():
            yield from _inline(paragraph, number)
            paragraph = []
        elif match := _EXEMPT.match(line.strip()):
            exempt = match["reason"]
        elif line.startswith("    ") and not paragraph and not in_container:
            end = number
            while end < len(lines) and (lines[end].startswith("    ") or not lines[end].strip()):
                end += 1
            text = textwrap.dedent("\n".join(lines[number:end])).rstrip()
            yield Code(number + 1, "sh", text, exempt)
            number, exempt = end, None
            continue
        else:
            if not line.startswith(" "):
                in_container = bool(_CONTAINER.match(line))
            paragraph.append(line)
            exempt = None
        number += 1
    yield from _inline(paragraph, number)


def _closing(lines: list[str], start: int, marks: str) -> int:
    for number in range(start, len(lines)):
        stripped = lines[number].strip()
        if stripped.startswith(marks) and not stripped.strip(marks[0]):
            return number
    raise ValueError(f"line {start}: this block never ends")


def _inline(paragraph: list[str], end: int) -> Iterator[Code]:
    """Code in a paragraph that ends before a line; it may be broken over several."""
    text = "\n".join(paragraph)
    for match in _INLINE.finditer(text):
        line = end - len(paragraph) + text.count("\n", 0, match.start()) + 1
        yield Code(line, "inline", " ".join(match["code"].split()))
