"""What the formats of morphometrics share: landmarks by number, specimens, y from the bottom.

In TPS, NTS and MorphoJ's files landmarks have numbers, and perhaps a file beside gives their names;
y runs from the bottom edge of the image, so y from its top is its height less y. The images have to
be found for that. Coordinates that are negative, or no numbers, mean that a landmark is missing.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np

from homolog.data.formats import curves
from homolog.data.formats.document import DocumentBuilder, LabelFile, ReadOptions
from homolog.data.formats.landmark_names import names_of
from homolog.data.reading import ImageFinder, unreadable
from homolog.errors import HomologError
from homolog.image import reading
from homolog.image.folders import image_suffixes

CATEGORY = "specimen"
"""The category of objects in files that have none."""

TOLERANCE = 1.0
"""Pixels by which a landmark may lie outside its image: tools differ in where pixels begin."""

_LINE_END = re.compile(r"\r\n?|\n")
_NO_TEXT = "\0\x1a\ufeff"  # the second one ends files of DOS
_ABSENT = {"", "na", "nan", "n/a", "null", "none", "-", "."}

Point = tuple[float, float]


@dataclass(frozen=True)
class Specimen:
    """An object as a file of landmarks gives it.

    Attributes:
        location: where it is in the file, such as `line 12`.
        image: the name of its image, with the suffix or without.
        points: x and y of its landmarks as they are in the file, NaN where missing.
        curves: the points of each of its curves, likewise.
        attributes: whatever else the file says of it.
    """

    location: str
    image: str
    points: Sequence[Point]
    curves: Sequence[Sequence[Point]] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)


def read_lines(path: Path, argument: str) -> list[tuple[int, str]]:
    """The lines of a text file that are not blank, with their numbers from 1 on.

    Its text is UTF-8, UTF-16 with a byte order mark, or else Windows-1252, and lines end as on any
    system.

    Raises:
        HomologError: it cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise HomologError(f"{argument}: {unreadable(path, error)}") from error
    encodings = ("utf-16",) if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig", "cp1252")
    text = data.decode("latin-1")
    for encoding in encodings:
        try:
            text = data.decode(encoding)
            break
        except UnicodeDecodeError:
            continue
    lines = (line.strip(_NO_TEXT) for line in _LINE_END.split(text))
    return [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]


def as_number(text: str) -> float:
    """A coordinate, perhaps with a decimal comma; NaN for `NA` and the like.

    Raises:
        ValueError: it is no number.

    >>> as_number("12,5"), as_number("NA")
    (12.5, nan)
    """
    if text.strip().lower() in _ABSENT:
        return math.nan
    value = float(text.replace(",", "."))
    if "_" in text or not math.isfinite(value):  # which Python takes for numbers
        raise ValueError(f"expected a number, got {text!r}")
    return value


def format_number(value: float) -> str:
    """A coordinate as text, to a hundred-millionth of a pixel; `NA` where it is missing.

    >>> format_number(12.50), format_number(float("nan"))
    ('12.5', 'NA')
    """
    return "NA" if math.isnan(value) else f"{value:.8f}".rstrip("0").rstrip(".")


def find_image(name: str, finder: ImageFinder) -> Path:
    """The path of the image of that name, without its suffix or with another if that is the only.

    Programs on other systems write suffixes in capitals, and images are saved in other formats.

    Raises:
        HomologError: there is none, or several have that name without suffix.
    """
    try:
        return finder.find(name)
    except HomologError as error:
        base = PureWindowsPath(name)  # whose separators are slashes and backslashes
        known = base.suffix.lower() in image_suffixes()
        try:
            return finder.find_stem(base.stem if known else base.name)
        except HomologError as other:
            raise (error if known else other) from None


def assemble(
    path: Path,
    specimens: Sequence[Specimen],
    options: ReadOptions,
    notes: Sequence[str] = (),
    names: Sequence[str] | None = None,
    from_bottom: bool = True,
    unlabelled: Sequence[str] = (),
) -> LabelFile:
    """The labels of specimens, checked.

    Args:
        path: of their file.
        specimens: in its order, at least one.
        options: the folder of images, and the file of names.
        notes: remarks on the file.
        names: of the landmarks, where the file has them.
        from_bottom: whether y runs from the bottom, and negative numbers mean missing landmarks.
        unlabelled: the names of images that the file lists without landmarks.

    Raises:
        HomologError: specimens differ in their number of landmarks, an image is not found, a
            landmark lies outside it, or names do not fit.
    """
    where = f"{options.argument}: {path}"
    if not specimens:
        raise HomologError(f"{where}: expected specimens with landmarks, got none")
    count = _common_count(where, specimens)
    laid, curve_notes = _equal_curves(path, specimens)
    counts = [len(curve) for curve in laid[0]]
    category = _category(path, options, count, counts, names)
    builder = DocumentBuilder([category])
    for note in (*notes, *curve_notes):
        builder.note(note)
    images = _Images(options.finder(path))
    per_image = Counter(images.key(specimen.image) for specimen in specimens)
    seen: Counter[str] = Counter()
    odd: Counter[str] = Counter()
    for specimen, its_curves in zip(specimens, laid, strict=True):
        try:
            name, found, size = images.find(specimen.image)
        except HomologError as error:
            reason = (
                "; y runs from the bottom of the image, which has to be found for that"
                if from_bottom
                else ""
            )
            raise HomologError(f"{where}, {specimen.location}: {error}{reason}") from None
        rows = np.array([*specimen.points, *(p for curve in its_curves for p in curve)], float)
        rows = rows.reshape(-1, 2)
        missing = _missing(rows, from_bottom, odd)
        rows[missing] = np.nan
        _check_inside(f"{where}, {specimen.location}", rows, name, size)
        if from_bottom:
            # Rounded, so that what a writer of ours subtracted comes back as it was.
            rows[:, 1] = np.round(size[1] - rows[:, 1], 9)
        points = {
            keypoint: (x, y, 2) if x == x else (0.0, 0.0, 0)
            for keypoint, (x, y) in zip(category["keypoints"], rows.tolist(), strict=True)
        }
        members: dict[str, Any] = {}
        if specimen.attributes:
            members["attributes"] = dict(specimen.attributes)
        key = images.key(specimen.image)
        if per_image[key] > 1:
            seen[key] += 1
            members["instance_id"] = seen[key]
        image = builder.add_image(name, size, found)
        builder.add_annotation(image, CATEGORY, points, **members)
    for kind, number in odd.items():
        if number:
            builder.note(f"{path}: {kind}, which counts as missing: {number}")
    for listed in unlabelled:
        try:
            name, found, size = images.find(listed)
            builder.add_image(name, size, found)
        except HomologError:
            builder.note(f"{path}: {listed}, without landmarks, was not found and is left out")
    for note in images.notes:
        builder.note(f"{path}: {note}")
    return builder.build()


class _Images:
    """The images of specimens, each looked up once."""

    def __init__(self, finder: ImageFinder):
        self._finder = finder
        self.notes: list[str] = []
        self._found: dict[str, tuple[str, Path, tuple[int, int]]] = {}

    def find(self, name: str) -> tuple[str, Path, tuple[int, int]]:
        """The name of an image with its suffix, its path and its size."""
        if name not in self._found:
            path = find_image(name, self._finder)
            full = name
            if PureWindowsPath(name).name != path.name:
                folders = [f for f in self._finder.folders if path.is_relative_to(f)]
                nearest = max(folders, key=lambda f: len(f.parts), default=path.parent)
                full = path.relative_to(nearest).as_posix()
            suffix = PureWindowsPath(name).suffix.lower()
            if suffix in image_suffixes() and suffix != path.suffix.lower():
                self.notes.append(f"{name} is not there; {path} is taken for it")
            self._found[name] = full, path, reading.image_size(path)
        return self._found[name]

    def key(self, name: str) -> str:
        """What is the same for the same image."""
        try:
            return str(self.find(name)[1])
        except HomologError:
            return name


def _common_count(where: str, specimens: Sequence[Specimen]) -> int:
    """The number of landmarks of every specimen."""
    counts = Counter(len(specimen.points) for specimen in specimens)
    count = counts.most_common(1)[0][0]
    for specimen in specimens:
        if len(specimen.points) != count:
            raise HomologError(
                f"{where}, {specimen.location}: expected {count} landmarks as most specimens have, "
                f"got {len(specimen.points)}; try NA NA for each that is missing"
            )
    if not count and not any(specimen.curves for specimen in specimens):
        raise HomologError(f"{where}: expected specimens with landmarks, got none")
    return count


def _equal_curves(
    path: Path, specimens: Sequence[Specimen]
) -> tuple[list[list[np.ndarray]], list[str]]:
    """The curves of every specimen with equal counts, and a line for each curve that was changed.

    Where counts differ, all specimens' curves are resampled to the largest count: otherwise some
    would have points at equal distances and others where somebody clicked.
    """
    number = max(len(specimen.curves) for specimen in specimens)
    laid: list[list[np.ndarray]] = [[] for _ in specimens]
    notes = []
    for index in range(number):
        drawn = [
            np.array(s.curves[index] if index < len(s.curves) else [], float).reshape(-1, 2)
            for s in specimens
        ]
        lengths = {len(curve) for curve in drawn if len(curve)}
        count = max(lengths, default=0)
        for result, curve, specimen in zip(laid, drawn, specimens, strict=True):
            whole = bool(len(curve)) and bool(np.isfinite(curve).all() and (curve >= 0).all())
            if len(lengths) > 1 and len(curve) and not whole:
                raise HomologError(
                    f"{path}, {specimen.location}: curve {index + 1}: expected no missing points, "
                    "for counts differ and curves are resampled, got some"
                )
            if not len(curve):
                result.append(np.full((count, 2), np.nan))
            else:
                result.append(curves.resample(curve, count) if len(lengths) > 1 else curve)
        if len(lengths) > 1:
            notes.append(
                f"{path}: curve {index + 1} has {min(lengths)} to {count} points; it is resampled "
                f"to {count} points at equal distances between its ends"
            )
        if absent := sum(not len(curve) for curve in drawn):
            notes.append(f"{path}: specimens without curve {index + 1}: {absent}")
    return laid, notes


def _category(
    path: Path,
    options: ReadOptions,
    count: int,
    counts: Sequence[int],
    names: Sequence[str] | None,
) -> dict[str, Any]:
    """The category of specimens: names of landmarks, curves and left-right counterparts."""
    own = list(names) if names is not None else [str(n) for n in range(1, count + 1)]
    keypoints, mirror = names_of(path, options, own, counts)
    category: dict[str, Any] = {"id": 1, "name": CATEGORY, "keypoints": keypoints}
    if mirror is not None:
        category["flip_indices"] = mirror
    if any(counts):
        category["curves"] = curves.consecutive(count, counts)
    return category


def _missing(rows: np.ndarray, from_bottom: bool, odd: Counter[str]) -> np.ndarray:
    """Which landmarks are missing; those for which that is a guess are counted by what they are."""
    missing = ~np.isfinite(rows).all(axis=1)
    origin = ~missing & (rows == 0).all(axis=1)
    odd["landmark at 0 0"] += int(origin.sum())
    if not from_bottom:
        return missing | origin
    negative = rows < 0
    once = ~missing & (negative.sum(axis=1) == 1)
    odd["landmark with one negative coordinate"] += int(once.sum())
    return missing | origin | negative.any(axis=1)


def _check_inside(where: str, rows: np.ndarray, name: str, size: tuple[int, int]) -> None:
    """Check that landmarks lie within their image.

    Raises:
        HomologError: one does not.
    """
    outside = (rows < -TOLERANCE) | (rows > np.array(size) + TOLERANCE)
    if outside.any():
        number = int(outside.any(axis=1).argmax())
        x, y = rows[number]
        raise HomologError(
            f"{where}: landmark {number + 1}: expected x and y in pixels of {name}, which has "
            f"{size[0]} x {size[1]}, got {x:g} {y:g}"
        )
