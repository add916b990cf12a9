"""Labels under review: shown point by point, corrected, and written at every correction."""

from __future__ import annotations

import copy
import threading
from pathlib import Path
from typing import Any

import numpy as np

from homolog.data import exemplars
from homolog.data.labels import Labels
from homolog.errors import HomologError
from homolog.serve.uploads import ImageStore, StoredImage


class Review:
    """A file of labels under review.

    Args:
        path: the labels; every correction is written to them at once.
        folder: where their images are; none outside it is shown.
        exemplars: labels made by hand, to show what a keypoint means.
        images: the store that gives ids to the images.

    Raises:
        HomologError: a file cannot be read, or none of the labels' images is in the folder.
    """

    def __init__(self, path: Path, folder: Path, exemplars: Path | None, images: ImageStore):
        self._path, self._labels = path, Labels.read(path)
        self._lock = threading.Lock()
        self._version = _file_version(path)
        found = _images_in(folder, self._labels, images)
        if self._labels.images and not found:
            name = self._labels.images[0]["file_name"]
            raise HomologError(
                f"labels: expected images in {folder}, got none of those labelled, such as {name}"
            )
        self._image_ids = {id: image.id for id, image in found.items()}
        self._total = len(self._labels.doubtful())
        self._exemplars: dict[str, dict[str, Any]] = {}
        if exemplars is not None:
            self._exemplars = _exemplar_points(exemplars, folder, images)

    def state(self) -> dict[str, Any]:
        """All that the page shows: the labels in COCO's three lists, and the doubtful points."""
        with self._lock:
            state = {
                "file": self._path.name,
                "categories": self._labels.categories,
                "images": [
                    {
                        "id": image["id"],
                        "name": image["file_name"],
                        "picture": self._image_ids.get(image["id"]),
                    }
                    for image in self._labels.images
                ],
                "annotations": self._labels.annotations,
                "exemplars": self._exemplars,
                "total": self._total,
                "doubtful": self._labels.doubtful(),
            }
            return copy.deepcopy(state)  # corrections come from another thread

    def correct(
        self, annotation: int, keypoint: int, point: tuple[float, float] | None, visible: bool
    ) -> dict[str, Any]:
        """Accept, move or hide a point, and write the file.

        Args:
            annotation: id of the annotation.
            keypoint: index of the keypoint in it.
            point: (x, y) in pixels; None to leave it where it is.
            visible: whether the point is visible.

        Returns:
            The annotation as it is now, and the points that are still doubtful.

        Raises:
            HomologError: the arguments do not fit the labels, the file cannot be written, or
                another program has changed it.
        """
        with self._lock:
            if _file_version(self._path) != self._version:
                raise HomologError(
                    f"labels: expected {self._path.name} as last written here, got a file that "
                    "another program has changed; try to start homolog serve again"
                )
            self._labels.correct(annotation, keypoint, point, visible)
            self._labels.write(self._path)
            self._version = _file_version(self._path)
            (current,) = (a for a in self._labels.annotations if a["id"] == annotation)
            return {"annotation": copy.deepcopy(current), "doubtful": self._labels.doubtful()}


def _file_version(path: Path) -> tuple[int, int]:
    """The time a file was modified, in nanoseconds, and its size."""
    try:
        status = path.stat()
    except OSError as error:
        raise HomologError(
            f"labels: expected a readable file, got {path}: {error.strerror}"
        ) from None
    return status.st_mtime_ns, status.st_size


def _images_in(folder: Path, labels: Labels, images: ImageStore) -> dict[int, StoredImage]:
    """The labels' images in a folder, by their ids in the file; not those that lead out of it."""
    root = folder.resolve()
    found = {}
    for image in labels.images:
        name = str(image["file_name"])
        path = (root / name).resolve()
        if path.is_relative_to(root) and path.is_file():
            found[image["id"]] = images.add(path, name)
    return found


def _exemplar_points(path: Path, folder: Path, images: ImageStore) -> dict[str, dict[str, Any]]:
    """By the names of categories and keypoints: the first exemplar in which each is visible."""
    given = exemplars.read(path, folder)
    names = {category["name"]: category["keypoints"] for category in given.categories}
    points: dict[str, dict[str, Any]] = {}
    for annotation in given.annotations:
        image = images.add(annotation.path, annotation.name)
        of_category = points.setdefault(annotation.category, {})
        x0, y0, x1, y1 = annotation.box
        for name, (x, y) in zip(names[annotation.category], annotation.keypoints, strict=True):
            if np.isfinite(x) and name not in of_category:
                of_category[name] = {
                    "picture": image.id,
                    "point": [float(x), float(y)],
                    "box": [x0, y0, x1 - x0, y1 - y0],
                }
    return points
