"""Labels under review: shown point by point, corrected, and written at every change."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from homolog.data import exemplars
from homolog.data.labels import Labels
from homolog.errors import HomologError
from homolog.image.regions import as_box
from homolog.serve.instances import Entry, Instances
from homolog.serve.uploads import ImageStore, StoredImage


class Review:
    """A file of labels under review.

    Args:
        path: the labels; every change is written to them at once.
        folder: where their images are; none outside it is shown.
        exemplars: labels made by hand, to show what a keypoint means.
        images: the store that gives ids to the images.

    Raises:
        HomologError: a file cannot be read, or none of the labels' images is in the folder.
    """

    def __init__(self, path: Path, folder: Path, exemplars: Path | None, images: ImageStore):
        self._path, self._instances = path, Instances(Labels.read(path))
        self._lock = threading.Lock()
        self._version = _file_version(path)
        self._store = images
        self._images = _images_in(folder, self._labels, images)
        if self._labels.images and not self._images:
            name = self._labels.images[0]["file_name"]
            raise HomologError(
                f"labels: expected images in {folder}, got none of those labelled, such as {name}"
            )
        self._to_review = set(self._labels.doubtful())  # now or earlier
        self._exemplars: dict[str, dict[str, Any]] = {}
        if exemplars is not None:
            self._exemplars = _exemplar_points(exemplars, folder, images)

    @property
    def _labels(self) -> Labels:
        return self._instances.labels

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
                        "picture": self._images[image["id"]].id
                        if image["id"] in self._images
                        else None,
                    }
                    for image in self._labels.images
                ],
                "annotations": self._labels.annotations,
                "deleted": self._instances.deleted,
                "exemplars": self._exemplars,
                **self._progress(),
            }
            return copy.deepcopy(state)  # changes come from another thread

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

        def edit() -> int:
            self._instances.correct(annotation, keypoint, point, visible)
            return annotation

        return self._change(edit)

    def add(self, image: int, category: int, box: tuple[float, ...]) -> dict[str, Any]:
        """Add an instance without keypoints, and write the file.

        Args:
            image: id of the image in the labels.
            category: id of the category.
            box: (x, y, width, height) in pixels.

        Returns:
            As `correct`.

        Raises:
            HomologError: as `correct`.
        """
        return self._change(lambda: self._instances.add(image, category, self._checked(box, image)))

    def set_box(self, annotation: int, box: tuple[float, ...]) -> dict[str, Any]:
        """Move or resize the box of an instance, and write the file.

        Args:
            annotation: id of the annotation.
            box: (x, y, width, height) in pixels.

        Returns:
            As `correct`.

        Raises:
            HomologError: as `correct`.
        """

        def edit() -> int:
            image = self._instances[annotation]["image_id"]
            self._instances.set_box(annotation, self._checked(box, image))
            return annotation

        return self._change(edit)

    def delete(self, annotation: int) -> dict[str, Any]:
        """Delete an instance, which can be restored, and write the file; as `correct`."""

        def edit() -> int:
            self._instances.delete(annotation)
            return annotation

        return self._change(edit)

    def restore(self, annotation: int) -> dict[str, Any]:
        """Restore a deleted instance, and write the file; as `correct`."""

        def edit() -> int:
            self._instances.restore(annotation)
            return annotation

        return self._change(edit)

    def undo(self) -> dict[str, Any]:
        """Undo the last change, and write the file; as `correct`."""
        return self._change(self._instances.undo)

    def redo(self) -> dict[str, Any]:
        """Make the change again that was undone last, and write the file; as `correct`."""
        return self._change(self._instances.redo)

    def _change(self, edit: Callable[[], int]) -> dict[str, Any]:
        """Run a change, which returns the id of its annotation, and write the file."""
        with self._lock:
            if _file_version(self._path) != self._version:
                raise HomologError(
                    f"labels: expected {self._path.name} as last written here, got a file that "
                    "another program has changed; try to start homolog serve again"
                )
            id = edit()
            try:
                self._labels.write(self._path)
            except HomologError:
                self._instances = Instances(Labels.read(self._path))
                raise
            self._version = _file_version(self._path)
            self._to_review |= set(self._labels.doubtful())
            found: list[Entry] = [a for a in self._labels.annotations if a["id"] == id]
            return {
                "id": id,
                "annotation": copy.deepcopy(found[-1]) if found else None,
                "deleted": copy.deepcopy(self._instances.deleted),
                **self._progress(),
            }

    def _progress(self) -> dict[str, Any]:
        """What is left to review, and whether there are changes to undo."""
        ids = {annotation["id"] for annotation in self._labels.annotations}
        return {
            "total": sum(annotation in ids for annotation, _ in self._to_review),
            "doubtful": self._labels.doubtful(),
            "undo": self._instances.can_undo,
            "redo": self._instances.can_redo,
        }

    def _checked(self, box: tuple[float, ...], image: int) -> tuple[float, float, float, float]:
        """A box after a check that it lies in its image."""
        if image not in self._images:
            raise HomologError(f"image: expected one that is in the folder, got {image}")
        return as_box(box, self._store.size(self._images[image]))


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
