"""Left and right in the names of keypoints: which names are each other's mirror counterparts."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

SIDE_IN_NAME = re.compile(r"left|right|(?<![A-Za-z])[lr](?![A-Za-z])", re.IGNORECASE)
"""The English words and single letters by which a keypoint's or bone's name tells its side."""

# Words that tell a side wherever they are in a name: no other word has a partner of the kind.
_WORDS = (
    ("left", "right"),
    ("link(?:s|e[rsmn]?)", "recht(?:s|e[rsmn]?)"),  # German, Dutch
    ("gauches?", "droite?s?"),  # French
    ("izquierd[oa]s?", "derech[oa]s?"),  # Spanish
    ("esquerd[oa]s?", "direit[oa]s?"),  # Portuguese
    ("sinistr[oaie]", "destr[oaie]"),  # Italian
    ("左", "右"),  # Chinese, Japanese
)

# Abbreviations, which tell a side where they stand alone.
_ABBREVIATIONS = (
    ("lt|lft|lef", "rt|rgt|rig"),
    ("li|lks", "re|rts"),
    ("g", "d"),
    ("izq|izqd[oa]|izd[oa]", "der|d[re]?ch[oa]"),
    ("esq", "dir"),
    ("sx|sin", "dx|des"),
)

_POSITIONS = "bfhlmrtu"
"""Letters of codes such as FL: back, front or fore, hind, lower, middle, rear, top, upper."""

_PARTS = re.compile(
    "(?:abdomen|ankle|antenna|arm|base|body|brow|cheek|chest|claw|corner|ear|elbow|eye|face|femur|"
    "fin|finger|flank|flipper|foot|fore|front|gill|hand|heel|hind|hip|hock|hoof|horn|inner|jaw|"
    "knee|leg|lid|limb|lower|mandible|mid|middle|mouth|nostril|outer|palm|paw|pinky|pupil|rear|rib|"
    "shin|shoulder|side|stifle|temple|thigh|thumb|tibia|tip|toe|tusk|upper|whisker|wing|wrist)+"
)
"""What a letter may stand for a side of, where neither a border nor a capital sets it off."""

_ENUMERATED = 3  # other letters in the place of a letter, from which on they number what they name

_LONGEST = 500  # characters of a name; in longer ones, which would take minutes, no side is read

_SEPARATORS = re.compile(r"[\s_.()\[\]-]+")

_TOKENS = re.compile("U+(?=Ul)|Ul+|U+|l+|d+|o+")
"""The words of a name, by the kinds of its characters (`_kind`): `REarTip1` is R, Ear, Tip, 1."""


@dataclass(frozen=True)
class NamedSides:
    """What the names of keypoints say of their sides.

    Attributes:
        mirror: for each keypoint the index of its mirror counterpart; its own if it has none.
        sides: for each keypoint 1 if it is on the left, -1 if on the right, and 0 if its name does
            not say so, or names no counterpart.
    """

    mirror: tuple[int, ...]
    sides: tuple[int, ...]


@dataclass(frozen=True)
class _Marker:
    """A part of a name that may tell its side: 1 for left, -1 for right."""

    start: int
    end: int
    side: int


_Pairs = dict[int, tuple[int, int]]
"""By the index of a keypoint, the index of its counterpart and its own side."""


def read_sides(names: Sequence[str]) -> NamedSides:
    """Which names are each other's mirror counterparts, and which of the two is the left one.

    Names are read pair by pair: a side counts only where both partners are there and the rest of
    their names is equal. The most explicit reading comes first, the others are for the names that
    it leaves: words (`left_eye`, `Auge links`, `左眼`); letters and abbreviations that stand alone
    (`L_Eye`, `eye.R`, `ojo_izq`) or that capitals set off (`lEye`, `wingL`, `eyeL1`); letters in
    codes of two (`FL_paw`, `LF`); letters beside a part of the body (`lshoulder`, `WINGR`). Where
    a name has several such letters, the reading counts that pairs more names; of readings that
    contradict each other and pair equally many, none does.

    >>> read_sides(["nose", "FL_paw", "FR_paw", "HL_paw", "HR_paw"]).mirror
    (0, 2, 1, 4, 3)
    >>> read_sides(["lip", "rip", "light", "right"]).mirror
    (0, 1, 2, 3)
    """
    return _read_sides(tuple(names))


@functools.lru_cache(maxsize=256)  # the categories of a file often have the same keypoints
def _read_sides(names: tuple[str, ...]) -> NamedSides:
    clean = [
        unicodedata.normalize("NFKC", name).strip() if len(name) <= _LONGEST else ""
        for name in names
    ]
    found: _Pairs = {}
    for finder in (
        *(_words(*pair) for pair in _WORDS),
        _english,
        _letters,
        *(_abbreviations(*pair) for pair in _ABBREVIATIONS),
        _position_codes,
        _beside_parts,
    ):
        found |= _read(clean, found, finder)
    codes = _read(clean, found, _codes)
    if len(codes) > 2:  # one pair alone may be two abbreviations that are alike by chance
        found |= codes
    pairs = [found.get(index, (index, 0)) for index in range(len(names))]
    return NamedSides(tuple(other for other, _ in pairs), tuple(side for _, side in pairs))


def _read(names: Sequence[str], known: _Pairs, find: Callable[[str], list[_Marker]]) -> _Pairs:
    """The pairs among the names that have no counterpart yet, by the markers found in them."""
    found = {i: find(name) for i, name in enumerate(names) if i not in known}
    found = {i: markers for i, markers in _without_enumerations(names, found).items() if markers}
    # Of several markers in a name, all may tell the side, or the first or the last one alone.
    readings: list[_Pairs] = []
    for part in (slice(None), slice(1), slice(-1, None)):
        reading = _pairs(names, {i: markers[part] for i, markers in found.items()})
        if reading not in readings:
            readings.append(reading)
    readings.sort(key=len, reverse=True)
    accepted: _Pairs = {}
    if len(readings) == 1 or len(readings[0]) > len(readings[1]):
        accepted |= readings[0]
    partners = {
        i: {reading[i][0] for reading in readings if i in reading}
        for reading in readings
        for i in reading
    }
    for reading in readings:
        for i, (j, side) in reading.items():
            undisputed = partners[i] == {j} and partners[j] == {i}
            if undisputed and i not in accepted and j not in accepted:
                accepted |= {i: (j, side), j: (i, -side)}
    return accepted


def _pairs(names: Sequence[str], markers: Mapping[int, list[_Marker]]) -> _Pairs:
    """The names that are equal but for their markers, all of which tell opposite sides."""
    pairs: _Pairs = {}
    for separators in (None, _SEPARATORS):
        keys: dict[tuple[str, ...], list[int]] = {}
        for i, found in markers.items():
            if i not in pairs:
                keys.setdefault(_key(names[i], found, separators), []).append(i)
        for key, (i, *more) in keys.items():
            partners = keys.get(tuple({"<": ">", ">": "<"}.get(part, part) for part in key), [])
            if not more and len(partners) == 1:
                pairs[i] = partners[0], markers[i][0].side
    return pairs


def _key(
    name: str, markers: Sequence[_Marker], separators: re.Pattern[str] | None
) -> tuple[str, ...]:
    """The rest of a name in parts, with `<` in place of what says left and `>` of what says right.

    Args:
        name: the name.
        markers: the parts of it that tell its side.
        separators: what does not count.
    """
    parts, start = [], 0
    for marker in markers:
        parts += [f"={name[start : marker.start]}", "<" if marker.side > 0 else ">"]
        start = marker.end
    parts.append(f"={name[start:]}")
    if separators is not None:
        parts = [separators.sub("", part) for part in parts]
    return tuple(part.casefold() for part in parts)


def _without_enumerations(
    names: Sequence[str], found: Mapping[int, list[_Marker]]
) -> dict[int, list[_Marker]]:
    """The markers without letters that only number: `point_l` and `point_r` of a to z."""
    letters: dict[tuple[str, str], set[str]] = {}
    for name in names:
        for start, end in _tokens(name):
            if end - start == 1:
                rest = name[:start].casefold(), name[end:].casefold()
                letters.setdefault(rest, set()).add(name[start:end].casefold())

    def numbers(name: str, marker: _Marker) -> bool:
        rest = name[: marker.start].casefold(), name[marker.end :].casefold()
        return marker.end - marker.start == 1 and len(letters.get(rest, ())) - 2 >= _ENUMERATED

    return {
        i: [marker for marker in markers if not numbers(names[i], marker)]
        for i, markers in found.items()
    }


def _words(left: str, right: str) -> Callable[[str], list[_Marker]]:
    """A finder of words wherever they are in a name."""
    pattern = re.compile(f"(?P<left>{left})|(?:{right})", re.IGNORECASE)
    return lambda name: [
        _Marker(*match.span(), 1 if match["left"] else -1) for match in pattern.finditer(name)
    ]


def _english(name: str) -> list[_Marker]:
    """Words and letters between borders."""
    return [
        _Marker(*match.span(), 1 if match[0][0] in "lL" else -1)
        for match in SIDE_IN_NAME.finditer(name)
    ]


def _abbreviations(left: str, right: str) -> Callable[[str], list[_Marker]]:
    """A finder of abbreviations that are words of their own."""
    pattern = re.compile(f"(?P<left>{left})|(?:{right})", re.IGNORECASE)

    def find(name: str) -> list[_Marker]:
        tokens = [(token, pattern.fullmatch(name, *token)) for token in _tokens(name)]
        return [_Marker(*token, 1 if match["left"] else -1) for token, match in tokens if match]

    return find


_letters = _abbreviations("l", "r")


def _position_codes(name: str) -> list[_Marker]:
    """A letter beside one that tells a position: `FL`, `LF`, `HR`."""
    return [
        _marker(name, place)
        for start, end in _tokens(name)
        if end - start == 2
        for place, other in ((start, start + 1), (start + 1, start))
        if name[place] in "lLrR" and name[other].lower() in _POSITIONS
    ]


def _codes(name: str) -> list[_Marker]:
    """A letter at the beginning or end of two or three capitals: `LS`, `RFP`."""
    return [
        _marker(name, place)
        for start, end in _tokens(name)
        if end - start in (2, 3) and name[start:end].isupper()
        for place in (start, end - 1)
        if name[place] in "LR"
    ]


def _beside_parts(name: str) -> list[_Marker]:
    """A letter at the beginning or end of a word that is a part of a body otherwise."""
    return [
        _marker(name, place)
        for start, end in _tokens(name)
        for place, rest in ((start, name[start + 1 : end]), (end - 1, name[start : end - 1]))
        if name[place] in "lLrR" and _PARTS.fullmatch(rest.lower())
    ]


def _marker(name: str, place: int) -> _Marker:
    return _Marker(place, place + 1, 1 if name[place] in "lL" else -1)


def _tokens(name: str) -> list[tuple[int, int]]:
    """Where the words of a name begin and end."""
    return [match.span() for match in _TOKENS.finditer("".join(map(_kind, name)))]


def _kind(character: str) -> str:
    if character.isupper():
        return "U"
    if character.islower():
        return "l"
    return "d" if character.isdecimal() else "o" if character.isalpha() else "-"
