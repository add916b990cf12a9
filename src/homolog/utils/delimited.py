"""Tables as text: separators, headings, numbers and comments as people and programs write them."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_POINT = re.compile(r"(?<![\w.])[+-]?[0-9]*\.[0-9]+(?![\w.])")
_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+([eE][+-]?[0-9]+)?")
_UNIT = re.compile(r"\s*[(\[](px|pixels?)?[)\]]$")

MISSING = ("", "na", "nan", "n/a", "null", "none")
"""What stands for a value that is not there, in small letters; R, pandas and others write these."""


def _axis(name: str) -> tuple[str, ...]:
    """What the column of a coordinate is called."""
    words = ("pos", "position", "point", "coord", "px", "pixel", "center", "centre", "centroid")
    both = (f"{word}_{name}" for word in words), (f"{name}_{word}" for word in words)
    others = f"pos{name}", f"{name}pos", f"{name}coord", f"{name}_coordinate", f"{name}_pixels"
    return (name, *both[0], *both[1], *others, f"c{name}")


COLUMNS: Mapping[str, tuple[str, ...]] = {
    "x": _axis("x"),
    "y": _axis("y"),
    "image": (
        "image", "file", "filename", "file_name", "image_name", "imagename", "image_file",
        "image_path", "img", "img_name", "path",
    ),
    "keypoint": (
        "keypoint", "keypoint_name", "bodypart", "body_part", "landmark", "landmark_name", "joint",
        "marker", "part", "point", "point_name", "name", "label", "keypoint_id", "point_id",
    ),
    "category": ("category", "category_name", "class", "class_name", "species"),
    "instance": (
        "instance", "instance_id", "individual", "individuals", "track", "track_id", "animal",
        "object_id",
    ),
    "v": ("v", "vis", "visible", "visibility"),
    "score": ("score", "likelihood", "confidence", "conf", "probability", "prob"),
    "frame": ("frame", "frame_id", "frame_number", "frame_index", "slice", "t"),
}  # fmt: skip
"""What a column is called in headings, in small letters with `_` between words; best name first."""


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, or in UTF-16 with a byte order mark, as spreadsheets write it.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not such text.
    """
    data = path.read_bytes()
    utf16 = data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    try:
        text = data.decode("utf-16" if utf16 else "utf-8").lstrip("\ufeff")
    except UnicodeDecodeError:
        raise ValueError("text that is not UTF-8; try to save it as UTF-8") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


@dataclass(frozen=True)
class DelimitedRows:
    """The rows of a table, without comments and empty lines.

    Attributes:
        rows: the number of the line and the cells, without blanks around them.
        separator: between cells; a blank stands for any number of them.
        decimal_comma: whether `1,5` is one and a half.
        comment: the last comment before the first row, without its `#`; empty if there is none.
    """

    rows: Sequence[tuple[int, list[str]]]
    separator: str
    decimal_comma: bool
    comment: str = ""

    def number(self, text: str) -> float:
        """The number that a cell holds.

        Raises:
            ValueError: it holds none; NaN and infinity are no numbers here, nor is `1_000`.
        """
        if self.decimal_comma and _COMMA.fullmatch(text):
            text = text.replace(",", ".")
        if not is_number(text) or float(text) in (float("inf"), float("-inf")):
            raise ValueError(f"expected a number, got {text!r}")
        return float(text)

    def is_number(self, text: str) -> bool:
        """Whether a cell holds a number."""
        return is_number(text) or (self.decimal_comma and _COMMA.fullmatch(text) is not None)


def is_number(text: str) -> bool:
    """Whether a text is a finite number with a decimal point or none, such as `-1.5` or `2e3`.

    >>> [is_number(text) for text in ("-1.5", "2e3", "1_000", "nan", "")]
    [True, True, False, False, False]
    """
    return _NUMBER.fullmatch(text) is not None


def split_rows(text: str, comments: bool = False) -> DelimitedRows:
    """Split a text into rows and cells.

    The separator is the tab or the semicolon if every line has it, or else the comma if any line
    has it, or else blanks. Commas are decimal where they are not the separator and no number has a
    decimal point.

    Args:
        text: without a byte order mark.
        comments: whether lines that begin with `#` are comments everywhere, not only before the
            first row.

    Raises:
        ValueError: a quoted cell does not end, or the like.
    """
    lines, comment, begun = [], "", False
    for line in text.split("\n"):
        if line.lstrip().startswith("#") and (comments or not begun):
            comment, line = (comment if begun else line.lstrip()[1:].strip()), ""
        begun = begun or bool(line.strip())
        lines.append(line)
    filled = [line for line in lines if line.strip()]
    separator = separator_of(filled)
    if separator == " ":
        lines = [" ".join(line.split()) for line in lines]
    try:
        reader = csv.reader(
            (f"{line}\n" for line in lines), delimiter=separator, skipinitialspace=True
        )
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except csv.Error as error:
        raise ValueError(str(error)) from None
    decimal_comma = separator != "," and not any(_POINT.search(line) for line in filled)
    return DelimitedRows(
        [(number, cells) for number, cells in rows if any(cells)], separator, decimal_comma, comment
    )


def separator_of(lines: Sequence[str]) -> str:
    """What separates the cells of lines that are not empty."""
    for mark in "\t;":
        if lines and all(mark in line for line in lines):
            return mark
    return "," if any("," in line for line in lines) else " "


def column_key(cell: str) -> str:
    """A cell of a heading in small letters, with `_` between words and without the unit pixel.

    >>> [column_key(cell) for cell in ("X (px)", "Body Part", "axis-0", "x [mm]")]
    ['x', 'body_part', 'axis_0', 'x_[mm]']
    """
    text = _UNIT.sub("", cell.strip().lower())
    return re.sub(r"[\s.\-_]+", "_", text).strip("_")


def find_columns(heading: Sequence[str], names: Iterable[str]) -> dict[str, int]:
    """The columns of a heading that have a meaning, by that.

    Where several mean the same, the one counts that is named first in `COLUMNS`.

    Args:
        heading: cells of the heading.
        names: keys of `COLUMNS` to look for.

    Raises:
        ValueError: two columns may be x, or y, or have the same name.

    >>> find_columns(["Frame", "Body Part", "pos_x", "pos_y"], ["x", "y", "keypoint"])
    {'x': 2, 'y': 3, 'keypoint': 1}
    """
    keys = [column_key(cell) for cell in heading]
    found = {}
    for name in names:
        known = [key for key in COLUMNS[name] if key in keys]
        several = [heading[index] for index, key in enumerate(keys) if key in known]
        if len(several) > 1 and (name in ("x", "y") or keys.count(known[0]) > 1):
            raise ValueError(f"expected one column with {name}, got {' and '.join(several)}")
        if known:
            found[name] = keys.index(known[0])
    return found


def visibility(text: str, flag: bool = False) -> float | None:
    """What a cell says of whether a keypoint is labelled and visible.

    Args:
        text: 0, 1 or 2 as in COCO files, a fraction, or a word for true or false.
        flag: whether 1 means visible, so that it counts as 2.

    Returns:
        0 (not labelled), 1 (occluded), 2 (visible), or None where the cell is empty. A fraction is
        a probability, as some trackers write it, of something that was found: 2.

    Raises:
        ValueError: it is something else.

    >>> [visibility(text) for text in ("2", "1.0", "", "FALSE", "0.93")]
    [2.0, 1.0, None, 0.0, 2.0]
    """
    word = text.strip().lower()
    if word in MISSING:
        return None
    if word in ("true", "yes", "t"):
        return 2.0
    if word in ("false", "no", "f"):
        return 0.0
    number = float(word) if is_number(word) else -1.0
    if not 0 <= number <= 2 or 1 < number < 2:
        raise ValueError(f"expected a visibility of 0, 1 or 2, got {text!r}")
    return 2.0 if 0 < number < 1 or (flag and number == 1) else number
