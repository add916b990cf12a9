"""Damage to files, told by a seed: bits, lengths, numbers and words that no program would write."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

_EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_NUMBERS = (
    "NaN", "Infinity", "-Infinity", "nan", "inf", "1e999", "-5", "0", "-0.0", "1e-320", "2.5",
    "99999999999999999999", "4294967296", "9" * 5000, "1" + "0" * 400, "0x10", "1_000", "١٢",
    "null", "true", '""', "[]", "{}", '"1"', "",
)  # fmt: skip
_WORDS = (
    "", " ", "\0", "a\0b", "..", "/", "../../etc/passwd", "x" * 5000, "\ud800", "\u202e", "é",
    "\r\n", "nan", "-1", '"', ",", ";", "\t", "%s%n", "{0}", "<!ENTITY a 'b'>", "&a;",
)  # fmt: skip
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_WORD = re.compile(r"[^\W\d]\w*")


def damaged(content: bytes, rng: random.Random) -> bytes:
    """The content of a file, damaged in one to three ways.

    Args:
        content: of a whole file.
        rng: what is done depends on it alone.
    """
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        try:
            text = content.decode("utf-8") if b"\0" not in content else None
        except UnicodeDecodeError:
            text = None
        if text is not None and rng.random() < 0.8:
            changed = rng.choice(_OF_TEXT)(text, rng)
            content = changed.encode("utf-8", "surrogatepass")
        else:
            content = rng.choice(_OF_BYTES)(content, rng)
    return content


def _span(length: int, rng: random.Random) -> tuple[int, int]:
    """Where a part begins and ends; short ones are as likely as long ones."""
    size = min(length, 2 ** rng.randint(0, max(1, length.bit_length())))
    begin = rng.randint(0, length - size)
    return begin, begin + size


def _flip_bits(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(2 ** rng.randint(0, 4)):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _overwrite(content: bytes, rng: random.Random) -> bytes:
    begin, end = _span(min(len(content), 64), rng)
    place = rng.randint(0, len(content) - end)
    return content[:place] + rng.randbytes(end - begin) + content[place + end - begin :]


def _set_integer(content: bytes, rng: random.Random) -> bytes:
    """A field, of a length perhaps, becomes the least, the largest, or one between."""
    width = rng.choice((1, 2, 4, 8))
    value = rng.choice(_EDGES) % 256**width
    place = rng.randint(0, max(0, len(content) - width))
    place = place if rng.random() < 0.5 else min(place, rng.randrange(512))  # headers come first
    order = rng.choice(("little", "big"))
    return content[:place] + value.to_bytes(width, order) + content[place + width :]


def _cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randint(0, len(content))]


def _remove(content: bytes, rng: random.Random) -> bytes:
    begin, end = _span(len(content), rng)
    return content[:begin] + content[end:]


def _repeat(content: bytes, rng: random.Random) -> bytes:
    begin, end = _span(len(content), rng)
    times = rng.choice((1, 2, 10, 100))
    if (end - begin) * times > 2**14:
        times = 1
    return content[:end] + content[begin:end] * times + content[end:]


def _move(content: bytes, rng: random.Random) -> bytes:
    begin, end = _span(len(content), rng)
    rest = content[:begin] + content[end:]
    place = rng.randint(0, len(rest))
    return rest[:place] + content[begin:end] + rest[place:]


def _insert(content: bytes, rng: random.Random) -> bytes:
    place = rng.randint(0, len(content))
    new = rng.choice((bytes(rng.randint(1, 64)), rng.randbytes(rng.randint(1, 64))))
    return content[:place] + new + content[place:]


def _replace_one(pattern: re.Pattern[str], values: tuple[str, ...]):
    def replace(text: str, rng: random.Random) -> str:
        found = list(pattern.finditer(text))
        if not found:
            return text + rng.choice(values)
        chosen = rng.choice(found)
        return text[: chosen.start()] + rng.choice(values) + text[chosen.end() :]

    return replace


def _change_lines(text: str, rng: random.Random) -> str:
    lines = text.splitlines(keepends=True)
    if not lines:
        return "\n"
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    action = rng.randrange(4)
    if action == 0:
        del lines[one]
    elif action == 1:
        lines.insert(one, lines[other])
    elif action == 2:
        lines[one], lines[other] = lines[other], lines[one]
    else:
        lines[one] = lines[one].rstrip("\r\n")
    return "".join(lines)


def _nest(text: str, rng: random.Random) -> str:
    """Brackets within brackets, deeper than programs that recurse can follow."""
    depth = rng.choice((*[50, 2000] * 5, 100_000))  # the deepest take longest
    before, after = rng.choice((("[", "]"), ('{"a":', "}"), ("<a>", "</a>"), ("(", ")")))
    place = rng.randint(0, len(text))
    closed = after * depth if rng.random() < 0.5 else ""
    return text[:place] + before * depth + "1" + closed + text[place:]


def _swap_quotes(text: str, rng: random.Random) -> str:
    marks = [index for index, character in enumerate(text) if character in "\"'[]{}<>,:;\n"]
    if not marks:
        return text
    place = rng.choice(marks)
    return text[:place] + rng.choice(["", '"', "[", "}", ",", "\n", "\t"]) + text[place + 1 :]


_OF_BYTES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _flip_bits, _overwrite, _set_integer, _set_integer, _cut, _remove, _repeat, _move, _insert,
)  # fmt: skip
_OF_TEXT: tuple[Callable[[str, random.Random], str], ...] = (
    _replace_one(_NUMBER, _NUMBERS),
    _replace_one(_NUMBER, _NUMBERS),
    _replace_one(_WORD, _WORDS),
    _change_lines,
    _swap_quotes,
    _nest,
)
