"""Labels of any format as a COCO document: what readers of formats return, and writers take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from homolog.data.reading import ImageFinder
from homolog.errors import HomologError
from homolog.image import reading

Document = dict[str, Any]
"""The lists of a COCO file, and whatever else it holds.

- `images`: `id`, `file_name`, and where it is known `width` and `height` of the upright image;
  frames of a video have `video` and `frame`, too.
- `annotations`: `id`, `image_id`, `category_id`, `keypoints` (x, y, v of each, where v is 0 for
  unlabelled, 1 for occluded and 2 for visible), `bbox` (x, y, width, height), and perhaps
  `instance_id`, `score`, `attributes` and members of other tools.
- `categories`: `id`, `name`, `keypoints` (their names), and perhaps `flip_indices`, `skeleton` and
  `curves`: for each curve the keypoints along it in order.

All coordinates are pixels of the upright image.
"""

SECTIONS = ("images", "annotations", "categories")
"""The lists that every document has."""

EXTRA = "homolog"
"""The member of a document or an annotation that holds scores and the state of its review."""

DESCRIPTION = "Keypoints carried over by homolog"
"""What the `info` of a file says that `homolog annotate` made."""

_LEAST_SHARE = 0.1  # of the longer side of a box, which its shorter side has at least


@dataclass(frozen=True, eq=False)
class LabelFile:
    """What a file of labels holds, whatever its format.

    Attributes:
        document: the labels as a COCO document.
        paths: of the images, by their ids, those that were found.
        missing: for each image that was not found the error message that says so, by its id.
        notes: what was decided or left out in reading, a line each.
        format: the name of the file's format.
    """

    document: Document
    paths: Mapping[Any, Path]
    missing: Mapping[Any, str]
    notes: tuple[str, ...] = ()
    format: str = ""

    def path(self, image_id: Any) -> Path:
        """The path of an image.

        Raises:
            HomologError: it was not found.
        """
        if image_id in self.missing:
            raise HomologError(self.missing[image_id])
        return self.paths[image_id]


@dataclass(frozen=True)
class ReadOptions:
    """What is known of a file of labels besides the file.

    Attributes:
        images: the folder where its images lie.
        elsewhere: whether they are looked up near the file first, and in that folder only then.
        names: a file with the names of landmarks, for formats that number them.
        argument: what error messages call the file.
    """

    images: Path | None = None
    names: Path | None = None
    argument: str = "labels"
    elsewhere: bool = True

    def finder(self, path: Path) -> ImageFinder:
        """Finds the images that a file of labels names."""
        if self.elsewhere:
            return ImageFinder(path, fallback=self.images)
        return ImageFinder(path, self.images)


@dataclass(frozen=True)
class WriteOptions:
    """What is known of a file of labels that is to be written.

    Attributes:
        images: the folder that file names start from; None if they are taken as they are.
        argument: what error messages call the file.
    """

    images: Path | None = None
    argument: str = "out"


Reader = Callable[[Path, ReadOptions], LabelFile]
Writer = Callable[[Path, Document, WriteOptions], list[str]]
"""Writes labels to a file; returns a line for each kind of thing that the format cannot hold."""


def _always(path: Path) -> bool:
    return True


@dataclass(frozen=True)
class LabelFormat:
    """A format of label files.

    Attributes:
        name: as commands take it, such as `tps`.
        title: as people say it, such as `TPS (tpsDig, geomorph)`.
        suffixes: of its files, in lower case; the first is the usual one.
        read: reads a file; None if the format is only written.
        write: writes a file; None if the format is only read.
        recognise: whether a file with one of the suffixes has this format.
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    read: Reader | None = None
    write: Writer | None = None
    recognise: Callable[[Path], bool] = _always


class DocumentBuilder:
    """Puts a document together, for readers of formats other than COCO.

    Args:
        categories: as in a COCO file, where the format lists them. Keypoints that a category does
            not have yet are added to it in the order of their appearance.
    """

    def __init__(self, categories: Sequence[Mapping[str, Any]] = ()):
        self._categories: dict[str, dict[str, Any]] = {
            category["name"]: {**category, "keypoints": list(category.get("keypoints", []))}
            for category in categories
        }
        self._images: dict[str, dict[str, Any]] = {}
        self._annotations: list[tuple[dict[str, Any], str, Mapping[str, Sequence[float]]]] = []
        self._paths: dict[Any, Path] = {}
        self._missing: dict[Any, str] = {}
        self._notes: list[str] = []

    def add_image(
        self,
        name: str,
        size: tuple[int, int] | None = None,
        path: Path | None = None,
        missing: str | None = None,
        **members: Any,
    ) -> int:
        """Add an image, unless it is there already.

        Args:
            name: of its file, as the file of labels has it.
            size: width and height in pixels of the upright image.
            path: where it was found.
            missing: the message to raise for it, where it was not found.
            members: others of its entry.

        Returns:
            Its id.
        """
        if name not in self._images:
            number = len(self._images) + 1
            sized = {} if size is None else {"width": size[0], "height": size[1]}
            self._images[name] = {"id": number, "file_name": name, **sized, **members}
            if path is not None:
                self._paths[number] = path
            elif missing is not None:
                self._missing[number] = missing
        return int(self._images[name]["id"])

    def find_image(self, name: str, finder: ImageFinder, **members: Any) -> int:
        """Add an image with its path and size, unless it is there already.

        Args:
            name: of its file, as the file of labels has it.
            finder: finds it.
            members: others of its entry.

        Returns:
            Its id.

        Raises:
            HomologError: the file that was found cannot be read.
        """
        if name in self._images:
            return int(self._images[name]["id"])
        try:
            path = finder.find(name)
        except HomologError as error:
            return self.add_image(name, missing=str(error), **members)
        return self.add_image(name, reading.image_size(path), path, **members)

    def add_annotation(
        self,
        image_id: int,
        category: str,
        points: Mapping[str, Sequence[float]],
        box: Sequence[float] | None = None,
        **members: Any,
    ) -> None:
        """Add an object.

        Args:
            image_id: what `add_image` returned.
            category: its name; one that is not listed is added.
            points: x, y and v of its keypoints, by their names. Those that it lacks are unlabelled.
            box: (x, y, width, height) in pixels; the box around the keypoints by default.
            members: others of its entry.
        """
        number = len(self._categories) + 1
        listed = self._categories.setdefault(
            category, {"id": number, "name": category, "keypoints": []}
        )
        known = set(listed["keypoints"])
        listed["keypoints"] += [name for name in points if name not in known]
        entry = {"image_id": image_id, "category_id": listed["id"], **members}
        if box is not None:
            entry["bbox"] = [float(value) for value in box]
        self._annotations.append((entry, category, points))

    def note(self, line: str) -> None:
        """Add a remark for the user, once."""
        if line not in self._notes:
            self._notes.append(line)

    def build(self) -> LabelFile:
        """The labels, with ids, boxes and numbers of keypoints."""
        sizes = {
            image["id"]: (image["width"], image["height"])
            for image in self._images.values()
            if "width" in image
        }
        objects = Counter(entry["image_id"] for entry, *_ in self._annotations)
        annotations = []
        for number, (entry, category, points) in enumerate(self._annotations, start=1):
            names = self._categories[category]["keypoints"]
            rows = [list(points.get(name, (0, 0, 0))) for name in names]
            box = entry.get("bbox")
            if box is None:
                image = entry["image_id"]
                # One point does not tell where an object ends and the next begins.
                box = box_of_keypoints(rows, sizes.get(image), alone=objects[image] == 1)
            annotations.append(
                {
                    "id": number,
                    **entry,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                    "num_keypoints": sum(row[2] > 0 for row in rows),
                    "keypoints": [value for row in rows for value in row],
                }
            )
        document = {
            "images": list(self._images.values()),
            "annotations": annotations,
            "categories": list(self._categories.values()),
        }
        return LabelFile(document, self._paths, self._missing, tuple(self._notes))


def box_with_points(box: Sequence[float], points: Sequence[Sequence[float]]) -> list[float]:
    """A box (x, y, width, height) grown so far that it contains points.

    Args:
        box: the box, which stays as it is where it contains them all.
        points: of which the first two numbers are x and y in pixels.

    >>> box_with_points([10, 10, 20, 20], [(15, 15), (5, 40)])
    [5, 10, 25, 30]
    """
    x, y, width, height = box
    x0, y0 = min([x, *(p[0] for p in points)]), min([y, *(p[1] for p in points)])
    right, bottom = max([0, *(p[0] for p in points)]), max([0, *(p[1] for p in points)])
    if (x0, y0) == (x, y) and right <= x + width and bottom <= y + height:
        return list(box)
    return [x0, y0, max(x + width, right) - x0, max(y + height, bottom) - y0]


def box_of_keypoints(
    keypoints: Any, size: tuple[int, int] | None = None, *, alone: bool = True
) -> list[float]:
    """The box (x, y, width, height) around those keypoints that are labelled.

    A flat one is widened to a tenth of its longer side. Around a single keypoint, which does not
    tell how large the object is, it is the whole image, or what is as good if its size is not
    known; but of size 0 where the image has other objects.

    Args:
        keypoints: K x 3, x and y in pixels and v, which is 0 where unlabelled.
        size: width and height of the image.
        alone: whether the image has no other object.

    >>> box_of_keypoints([[10, 20, 2], [30, 20, 2], [0, 0, 0]])
    [10.0, 19.0, 20.0, 2.0]
    """
    array = np.asarray(keypoints, dtype=float).reshape(-1, 3)
    points = array[array[:, 2] > 0, :2]
    if len(np.unique(points, axis=0)) < 2:
        if not alone:
            return [*points.max(axis=0, initial=0.0).tolist(), 0.0, 0.0]
        width, height = size or (2 * points.max(axis=0, initial=0.5)).tolist()
        return [0.0, 0.0, float(width), float(height)]
    start, extent = points.min(axis=0), np.ptp(points, axis=0)
    widened = np.maximum(extent, _LEAST_SHARE * extent.max())
    start = start - (widened - extent) / 2
    if size is not None:
        end = np.minimum(start + widened, size)
        start = np.maximum(start, 0)
        widened = end - start
    return [float(value) for value in (*start, *widened)]
