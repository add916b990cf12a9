"""Boxes of the objects in images, read from whatever file a detector or a labelling tool wrote."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homolog.data.formats import box_table, coco_boxes, label_masks, yolo_boxes
from homolog.data.formats.entries import (
    Entries,
    Entry,
    InstanceId,
    as_instance,
    number_instances,
)
from homolog.data.formats.poses import sleap
from homolog.data.reading import ImageFinder
from homolog.errors import HomologError
from homolog.image import reading
from homolog.image.masks import MaskReader
from homolog.image.regions import as_box

XYWH = tuple[float, float, float, float]
"""(x, y, width, height) in pixels of the upright image."""

SUFFIXES = (".json", ".csv", ".yaml", ".yml", ".slp")
"""Of the files that hold boxes."""

_SHOWN = 10  # problems that `BoxSet.messages` lists
_CORNERS = 0.1  # share of boxes that reach beyond their images, from which corners are suspected
_LARGEST_FRACTION = 1.5  # larger ones are pixels


@dataclass(frozen=True, eq=False)
class BoxedObject:
    """One object of an image.

    Attributes:
        instance: its id, unique in the image: from the file, or else numbered from 1.
        box: (x, y, width, height) in pixels of the upright image, within the image.
        score: of a detector, if the file has it.
        category: its name, if the file has it.
        mask: reads or decodes its mask (height, width) when it is called; None if the file has
            none.
    """

    instance: InstanceId
    box: XYWH
    score: float | None = None
    category: str | None = None
    mask: MaskReader | None = None


@dataclass(frozen=True, eq=False)
class BoxSet:
    """The objects of several images.

    Attributes:
        objects: of each image that the file names and that is there, by its path, resolved; empty
            for images that are listed without an object.
        problems: a line for each entry that is left out, naming file and entry.
        notes: other remarks, a line each.
    """

    objects: Mapping[Path, Sequence[BoxedObject]]
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def of(self, path: str | Path) -> Sequence[BoxedObject]:
        """The objects of an image; none if the file does not name it."""
        return self.objects.get(Path(path).resolve(), ())

    @property
    def count(self) -> int:
        """Number of objects in all images."""
        return sum(map(len, self.objects.values()))

    @property
    def messages(self) -> list[str]:
        """What to tell a user: the notes and the first problems, a line each."""
        more = len(self.problems) - _SHOWN
        rest = [f"and {more} more entries left out"] if more > 0 else []
        return [*self.notes, *self.problems[:_SHOWN], *rest]


def read_boxes(path: Path, folder: Path | None = None, *, images: Path | None = None) -> BoxSet:
    """Read the objects of images from a file or a folder.

    - COCO (`.json`): annotations with `bbox`, and perhaps `segmentation`. Instance ids are
      `track_id`, `instance_id` or `instance`, or else the annotation's `id`.
    - Results (`.json`): a list of `image_id`, `category_id`, `bbox`, `score`, as detectors write
      it. An `image_id` is a file name with or without its ending, or a number that a COCO file
      lists or that is an image's name, such as 139 for `000000000139.jpg`.
    - Ultralytics YOLO: the data set (`.yaml`), or a folder of text files; rows are a box, perhaps
      with keypoints or with a score and an id, or an outline.
    - Table (`.csv`): a header with `image`, and `x`, `y`, `width`, `height` or corners such as
      `x0`, `y0`, `x1`, `y1`, and perhaps `instance`, `score`, `category`; or a table of keypoints
      of homolog or DeepLabCut, whose boxes are those around the keypoints of each instance.
    - SLEAP (`.slp`): the boxes around the keypoints of each instance in labelled images; its track
      is its instance id. This needs sleap-io.
    - Masks: a folder of images, named as those in `folder`, in which every value above 0 is an
      object.

    Boxes refer to the upright image and are cut off at its border. Entries that cannot be right
    are left out and said, and so are those of images that are not there.

    Args:
        path: the file or folder.
        folder: of the images. Without it they are looked up near the file, as `ImageFinder` does.
        images: a COCO file that lists the images of results. Without it one beside the results is
            taken that lists all of their image ids.

    Raises:
        HomologError: the file cannot be read or is in no such format, or no entry can be used.
    """
    finder = ImageFinder(path, folder)
    entries = _read_entries(path, folder, images, finder)
    reader = _Reader(path, finder, entries)
    problems = tuple(" ".join(line.splitlines()) for line in reader.problems)
    if not any(reader.objects.values()):
        reason = f"; {problems[0]}" if problems else ""
        more = len(problems) - 1
        rest = f" (and {more} more)" if more > 0 else ""
        raise HomologError(f"boxes: expected at least one to use in {path}, got none{reason}{rest}")
    return BoxSet(reader.objects, problems, tuple(entries.notes))


def _read_entries(
    path: Path, folder: Path | None, images: Path | None, finder: ImageFinder
) -> Entries:
    """The entries of a file or folder, by its kind."""
    if folder is not None and not folder.is_dir():
        raise HomologError(f"images: expected a folder, got {folder}")
    if path.is_dir():
        if any(path.rglob("*.txt")):
            return yolo_boxes.read_folder(path, folder)
        return label_masks.read(path, folder)
    if not path.is_file():
        raise HomologError(f"boxes: expected an existing file or folder, got {path}")
    match path.suffix.lower():
        case ".json":
            return coco_boxes.read(path, images, finder)
        case ".csv":
            return box_table.read(path)
        case ".yaml" | ".yml":
            return yolo_boxes.read(path, folder)
        case ".slp":
            return sleap.read_entries(path)
    raise HomologError(
        f"boxes: expected a file in {', '.join(SUFFIXES)}, or a folder of YOLO labels or masks, "
        f"got {path}"
    )


class _Reader:
    """Checks entries and sorts them by image.

    Attributes:
        objects: by the resolved path of the image.
        problems: a line for each entry left out.

    Args:
        path: the file.
        finder: finds the images.
        entries: of the file.
    """

    def __init__(self, path: Path, finder: ImageFinder, entries: Entries):
        self.objects: dict[Path, list[BoxedObject]] = {}
        self.problems = list(entries.problems)
        self._finder = finder
        self._sizes = entries.sizes
        self._images: dict[str | int | Path, tuple[Path, tuple[int, int]] | None] = {}
        self._names: dict[Path, str | int | Path] = {}
        for listed in entries.images:
            with contextlib.suppress(HomologError):
                self.objects.setdefault(self._find(listed), [])
        boxes = self._check_boxes(path, entries.entries)
        taken: dict[Path, set[InstanceId]] = defaultdict(set)
        checked: list[tuple[Path, InstanceId | None, float | None, Entry, XYWH]] = []
        for entry, image, box in boxes:
            try:
                instance = None if entry.instance is None else as_instance(entry.instance)
                if instance in taken[image]:
                    raise ValueError(
                        f"instance: expected each once in an image, got {instance!r} again"
                    )
                score = _as_score(entry.score)
            except ValueError as error:
                self.problems.append(f"{entry.location}: {error}")
                continue
            if instance is not None:
                taken[image].add(instance)
            checked.append((image, instance, score, entry, box))
        instances = number_instances([each[0] for each in checked], [each[1] for each in checked])
        for (image, _, score, entry, box), instance in zip(checked, instances, strict=True):
            self.objects.setdefault(image, []).append(
                BoxedObject(instance, box, score, entry.category, entry.mask)
            )

    def _check_boxes(self, path: Path, entries: Sequence[Entry]) -> list[tuple[Entry, Path, XYWH]]:
        """The entries whose boxes can be used, with their images and boxes.

        Raises:
            HomologError: the boxes of the file can only be corners.
        """
        boxes = []
        like_corners = 0
        beyond: list[HomologError] = []
        for entry in entries:
            if (image := self._image(entry)) is None:
                continue
            found, size = image
            corners = _may_be_corners(entry, size)
            like_corners += corners
            try:
                box = _box(entry, size)
            except HomologError as error:
                self.problems.append(str(error))
                if corners:
                    beyond.append(error)
                continue
            if entry.mask is not None and entry.mask_size not in (None, size):
                problem = (
                    f"{entry.location}: mask: expected {_pixels(size)}, got "
                    f"{_pixels(entry.mask_size)}"
                )
                if path.is_dir():  # the box is that of the mask, and in its pixels
                    self.problems.append(problem)
                    continue
                self.problems.append(f"{problem}; its box is used without it")
                entry = dataclasses.replace(entry, mask=None)
            boxes.append((entry, found, box))
        count = len(boxes) + len(beyond)
        if beyond and like_corners == count and len(beyond) >= _CORNERS * count:
            # Those that reach beyond no image would pass for boxes, and be wrong.
            raise HomologError(
                f"{beyond[0]}; all boxes of {path} look like corners (x0, y0, x1, y1), try to "
                "convert them"
            )
        return boxes

    def _image(self, entry: Entry) -> tuple[Path, tuple[int, int]] | None:
        """Path and size of an entry's image; None, and one line in all, if it cannot be used."""
        name = entry.image
        if name not in self._images:
            try:
                found = self._find(name)
                size = reading.image_size(found)
                given = self._sizes.get(name) if isinstance(name, str) else None
                if given not in (None, size):
                    raise HomologError(
                        f"{found}: expected {_pixels(given)} as in the file, got {_pixels(size)}"
                        + ("; boxes refer to the upright image" if given == size[::-1] else "")
                    )
                other = self._names.setdefault(found, name)
                if other != name:
                    raise HomologError(f"expected an image {name} and another {other}, got one")
                self._images[name] = found, size
            except HomologError as error:
                self._images[name] = None
                self.problems.append(f"{entry.location}: {error}")
        return self._images[name]

    def _find(self, name: str | int | Path) -> Path:
        """The resolved path of an image.

        Raises:
            HomologError: there is none, or there are several.
        """
        if isinstance(name, Path):
            return name.resolve()
        if isinstance(name, int):
            try:
                return self._finder.find_stem(name).resolve()
            except HomologError as error:
                raise HomologError(
                    f"{error}; try a COCO file that lists the image ids beside the results"
                ) from None
        try:
            return self._finder.find(name).resolve()
        except HomologError:
            with contextlib.suppress(HomologError):
                return self._finder.find_stem(name).resolve()
            raise


def _box(entry: Entry, size: tuple[int, int]) -> XYWH:
    """The checked box of an entry.

    Raises:
        HomologError: it cannot be right.
    """
    name = f"{entry.location}: box"
    values = _numbers(entry)
    if values is None or entry.form == "box":
        return as_box(entry.numbers, size, name)
    if entry.form == "corners":
        x0, y0, x1, y1 = values
        return as_box((x0, y0, x1 - x0, y1 - y0), size, name)
    if max(values) > _LARGEST_FRACTION:
        given = ", ".join(f"{value:g}" for value in values)
        raise HomologError(f"{name}: expected fractions of the image, got ({given})")
    x, y, width, height = (value * side for value, side in zip(values, (*size, *size), strict=True))
    return as_box((x - width / 2, y - height / 2, width, height), size, name)


def _numbers(entry: Entry) -> list[float] | None:
    """The four numbers of an entry, if it has four."""
    try:
        values = [float(value) for value in entry.numbers]
    except (ArithmeticError, TypeError, ValueError):
        return None
    return values if len(values) == 4 else None


def _may_be_corners(entry: Entry, size: tuple[int, int]) -> bool:
    """Whether the numbers of a box would do as the corners of one in its image, too."""
    values = _numbers(entry)
    if values is None or entry.form != "box" or max(values) <= 1:
        return False
    x0, y0, x1, y1 = values
    return 0 <= x0 < x1 <= size[0] + 1 and 0 <= y0 < y1 <= size[1] + 1


def _as_score(value: Any) -> float | None:
    """The score of an entry; None where there is none."""
    try:
        score = math.nan if value is None else float(value)
        if math.isinf(score):
            raise ValueError
    except (ArithmeticError, TypeError, ValueError):
        raise ValueError(f"score: expected a number, got {value!r}") from None
    return None if math.isnan(score) else score


def _pixels(size: tuple[int, int] | None) -> str:
    return " x ".join(map(str, size or ())) + " pixels"
