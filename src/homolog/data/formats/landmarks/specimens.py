"""What the formats of morphometrics share: landmarks by number, specimens, y from the bottom.

In TPS, NTS and MorphoJ's files landmarks have numbers, and perhaps a file beside gives their names;
y runs from the bottom edge of the image, so y from its top is its height less y. The images have to
be found for that. Coordinates that are negative, or no numbers, mean that a landmark is missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np

from homolog.data.formats.document import DocumentBuilder, LabelFile, ReadOptions
from homolog.data.formats.image_sizes import Fit
from homolog.data.formats.landmarks import curves
from homolog.data.formats.landmarks.names import names_of
from homolog.data.reading import ImageFinder
from homolog.errors import HomologError
from homolog.image import reading
from homolog.image.formats import image_suffixes

CATEGORY = "specimen"
"""The category of objects in files that have none."""

TOLERANCE = 1.0
"""Pixels by which a landmark may lie outside its image: tools differ in where pixels begin."""

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

    @property
    def all_points(self) -> list[Point]:
        """Its landmarks, then the points of its curves."""
        return [*self.points, *(point for curve in self.curves for point in curve)]


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
    reason = "; y runs from the bottom of the image, which has to be found for that"
    odd: Counter[str] = Counter()
    found: list[_Found] = []
    for specimen, its_curves in zip(specimens, laid, strict=True):
        try:
            image = images.find(specimen.image)
        except HomologError as error:
            said = f"{error}{reason if from_bottom else ''}"
            raise HomologError(f"{where}, {specimen.location}: {said}") from None
        rows = np.array([*specimen.points, *(p for curve in its_curves for p in curve)], float)
        rows = rows.reshape(-1, 2)
        rows[_missing(rows, from_bottom, odd)] = np.nan
        found.append(_Found(specimen, image, rows))
    as_stored, photo_notes = _orientations(path, found)
    per_image = Counter(each.image.path for each in found)
    seen: Counter[Path] = Counter()
    for each, stored in zip(found, as_stored, strict=True):
        image, size = each.image, each.image.stored if stored else each.image.size
        _check_inside(f"{where}, {each.specimen.location}", each.rows, image.name, size)
        rows = each.rows.copy()
        if from_bottom:
            rows[:, 1] = size[1] - rows[:, 1]
        if stored:
            rows = Fit(size, size, image.orientation).points(rows)
        # Rounded, so that what a writer of ours subtracted comes back as it was.
        points = {
            keypoint: (x, y, 2) if x == x else (0.0, 0.0, 0)
            for keypoint, (x, y) in zip(
                category["keypoints"], np.round(rows, 9).tolist(), strict=True
            )
        }
        members: dict[str, Any] = {}
        if each.specimen.attributes:
            members["attributes"] = dict(each.specimen.attributes)
        if per_image[image.path] > 1:
            seen[image.path] += 1
            members["instance_id"] = seen[image.path]
        number = builder.add_image(image.name, image.size, image.path)
        builder.add_annotation(number, CATEGORY, points, **members)
    for kind, number in odd.items():
        if number:
            builder.note(f"{path}: {kind}, which counts as missing: {number}")
    for listed in unlabelled:
        try:
            image = images.find(listed)
            builder.add_image(image.name, image.size, image.path)
        except HomologError:
            builder.note(f"{path}: {listed}, without landmarks, was not found and is left out")
    for note in (*images.notes, *photo_notes):
        builder.note(f"{path}: {note}")
    return builder.build()


@dataclass(frozen=True)
class _Image:
    """An image that was found.

    Attributes:
        name: with its suffix.
        path: of its file.
        stored: width and height before it is turned.
        orientation: by which it is turned, as EXIF numbers them.
    """

    name: str
    path: Path
    stored: tuple[int, int]
    orientation: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the upright image."""
        return Fit(self.stored, self.stored, self.orientation).size


@dataclass(frozen=True, eq=False)
class _Found:
    """A specimen, its image, and its points x, y as in the file, NaN where missing."""

    specimen: Specimen
    image: _Image
    rows: np.ndarray


class _Images:
    """The images of specimens, each looked up once."""

    def __init__(self, finder: ImageFinder):
        self._finder = finder
        self.notes: list[str] = []
        self._found: dict[str, _Image] = {}

    def find(self, name: str) -> _Image:
        """The image of a name as a file has it."""
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
            self._found[name] = _Image(full, path, *reading.stored_size(path))
        return self._found[name]


def _orientations(path: Path, found: Sequence[_Found]) -> tuple[list[bool], list[str]]:
    """Whether landmarks are those of photos before these are turned; and lines that say so.

    Programs that do not know of EXIF show photos as they are stored. Landmarks that fit only one of
    both tell which it is, for all photos of a file; otherwise they are taken to be upright.
    """
    fits: list[tuple[bool, bool]] = []
    for each in found:
        inside = [
            _outside(each.rows, size).sum() == 0 for size in (each.image.size, each.image.stored)
        ]
        fits.append((bool(inside[0]), bool(inside[1])))
    turned = [each.image.orientation != 1 for each in found]
    if not any(turned):
        return turned, []
    only_stored = [t and fit == (False, True) for t, fit in zip(turned, fits, strict=True)]
    only_upright = any(t and fit == (True, False) for t, fit in zip(turned, fits, strict=True))
    if not any(only_stored):
        note = "are taken to be those of the upright photos"
        as_stored = [False] * len(found)
    elif only_upright:
        note = "fit the upright photos or not, and are turned where not"
        as_stored = only_stored
    else:
        note = "fit only the photos as they are stored, and are turned with them"
        as_stored = [t and fit[1] for t, fit in zip(turned, fits, strict=True)]
    return as_stored, [f"landmarks of photos that EXIF says to turn {note}: {sum(turned)}"]


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
    outside = _outside(rows, size)
    if outside.any():
        number = int(outside.any(axis=1).argmax())
        x, y = rows[number]
        raise HomologError(
            f"{where}: landmark {number + 1}: expected x and y in pixels of {name}, which has "
            f"{size[0]} x {size[1]}, got {x:g} {y:g}"
        )


def _outside(rows: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.asarray((rows < -TOLERANCE) | (rows > np.array(size) + TOLERANCE))
