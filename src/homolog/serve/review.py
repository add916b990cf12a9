"""Labels under review or begun: shown point by point, corrected, and written at every change."""

from __future__ import annotations

import copy
import math
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from homolog.data.exemplars import ExemplarSet
from homolog.data.exemplars import read as read_exemplars
from homolog.data.formats.entries import InstanceId
from homolog.data.labels import EXTRA, Labels
from homolog.data.reading import ImageFinder
from homolog.errors import HomologError
from homolog.image.regions import as_box
from homolog.keypoints import KeypointSchema
from homolog.serve.history import Edited, Entry, Id
from homolog.serve.instances import Instances
from homolog.serve.uploads import ImageStore, StoredImage
from homolog.utils.printable import printable


class Review:
    """A file of labels under review, or of labels that are begun.

    Args:
        path: the labels; every change is written to them at once.
        folder: where their images are; none outside it is shown.
        exemplars: labels made by hand, to show what a keypoint means.
        images: the store that gives ids to the images.
        from_nothing: whether the images are labelled for the first time.
        exemplar_images: where the images of the exemplars lie, if not near them or in the folder.

    Attributes:
        notes: what was decided in reading the files, a line each.

    Raises:
        HomologError: a file cannot be read, or none of the labels' images is in the folder.
    """

    def __init__(
        self,
        path: Path,
        folder: Path,
        exemplars: Path | None,
        images: ImageStore,
        *,
        from_nothing: bool = False,
        exemplar_images: Path | None = None,
    ):
        self.path, self.folder = path, folder
        self._path, self._instances = path, Instances(Labels.read(path, folder))
        self.notes = [f"{note}; written so at the first change" for note in self._labels.notes]
        self._lock = threading.Lock()
        self._version = _file_version(path)
        self._store = images
        self._images = _images_in(path, folder, self._labels, images)
        if self._labels.images and not self._images:
            name = self._labels.images[0]["file_name"]
            raise HomologError(
                f"labels: expected images in {folder}, got none of those labelled, such as {name}"
            )
        self._from_nothing = self._asks_sides = from_nothing
        self._to_review = set(self._labels.doubtful())  # now or earlier
        self._exemplars: dict[str, dict[str, Any]] = {}
        if exemplars is not None:
            given = read_exemplars(exemplars, folder, images=exemplar_images)
            self.notes += given.notes
            self._exemplars = _exemplar_points(given, images)

    @property
    def _labels(self) -> Labels:
        return self._instances.labels

    @property
    def images(self) -> Mapping[Id, StoredImage]:
        """The images that are in the folder, by their ids in the labels."""
        return self._images

    def document(self) -> dict[str, Any]:
        """A copy of the labels as they are now, with the sizes of all images in the folder."""
        with self._lock:
            data = copy.deepcopy(self._labels.data)
        for image in data["images"]:
            if None in (image.get("width"), image.get("height")) and image["id"] in self._images:
                image["width"], image["height"] = self._size(image["id"])
        return data

    def state(self) -> dict[str, Any]:
        """All that the page shows: the labels in COCO's three lists, and the doubtful points."""
        with self._lock:
            return finite(
                {
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
                    "order": self._order(),
                    "annotations": self._labels.annotations,
                    "deleted": self._instances.deleted,
                    "exemplars": self._exemplars,
                    "from_nothing": self._from_nothing,
                    "sides": self._sides(),
                    **self._progress(),
                }
            )

    def correct(
        self,
        annotation: Id | None,
        keypoint: int,
        point: tuple[float, float] | None,
        visible: bool,
        occluded: bool | None = None,
        *,
        image: Id | None = None,
        category: Id | None = None,
    ) -> dict[str, Any]:
        """Accept, move or hide a point, and write the file.

        Args:
            annotation: id of the annotation; None for the only object of an image, which is added
                with its first point.
            keypoint: index of the keypoint in it.
            point: (x, y) in pixels; None to leave it where it is.
            visible: whether the point is labelled at all, be it visible or occluded.
            occluded: whether it is occluded; None to leave that as it is.
            image: id of the image, where there is no annotation yet.
            category: id of the category, where there is no annotation yet.

        Returns:
            The annotations that were changed as they are now, and the points still doubtful.

        Raises:
            HomologError: the arguments do not fit the labels, the file cannot be written, or
                another program has changed it.
        """
        rest = keypoint, point, visible, occluded
        if annotation is not None:
            return self._change(lambda: self._instances.correct(annotation, *rest))
        if image is None or category is None:
            raise HomologError("annotation: expected one, or an image and a category, got neither")
        size = self._size(image)
        return self._change(lambda: self._instances.label(image, category, size, *rest))

    def accept(self, image: Id) -> dict[str, Any]:
        """Accept all points of an image as they are, and write the file; as `correct`."""
        return self._change(lambda: self._instances.accept(image))

    def prefill(self, image: Id, predicted: Entry) -> dict[str, Any]:
        """Add what was predicted for an image, if it is wanted, and write the file.

        Args:
            image: id of the image.
            predicted: category, box, keypoints and the member `homolog` of the prediction.

        Returns:
            As `correct`; without annotations if there was nothing to add.
        """
        if not self._instances.wants(image, predicted):
            return {"annotations": []}
        return self._change(lambda: self._instances.prefill(image, predicted))

    def add(self, image: Id, category: Id, box: tuple[float, ...]) -> dict[str, Any]:
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

    def set_box(self, annotation: Id, box: tuple[float, ...]) -> dict[str, Any]:
        """Move or resize the box of an instance, and write the file.

        Args:
            annotation: id of the annotation.
            box: (x, y, width, height) in pixels.

        Returns:
            As `correct`.

        Raises:
            HomologError: as `correct`.
        """

        def edit() -> Edited:
            image = self._instances[annotation]["image_id"]
            return self._instances.set_box(annotation, self._checked(box, image))

        return self._change(edit)

    def rename(self, annotation: Id, name: InstanceId) -> dict[str, Any]:
        """Give an instance another id, and write the file; as `correct`."""
        return self._change(lambda: self._instances.rename(annotation, name))

    def delete(self, annotation: Id) -> dict[str, Any]:
        """Delete an instance, which can be restored, and write the file; as `correct`."""
        return self._change(lambda: self._instances.delete(annotation))

    def restore(self, annotation: Id) -> dict[str, Any]:
        """Restore a deleted instance, and write the file; as `correct`."""
        return self._change(lambda: self._instances.restore(annotation))

    def undo(self) -> dict[str, Any]:
        """Undo the last change, and write the file; as `correct`."""
        return self._change(self._instances.undo)

    def redo(self) -> dict[str, Any]:
        """Make the change again that was undone last, and write the file; as `correct`."""
        return self._change(self._instances.redo)

    def set_sides(self, category: Id, counterparts: Sequence[int]) -> dict[str, Any]:
        """Say which keypoints of a category are each other's mirror images, and write the file.

        Args:
            category: id of the category.
            counterparts: for each keypoint the index of its counterpart, or its own.

        Returns:
            The categories as they are now.

        Raises:
            HomologError: the counterparts do not fit the category, or the file cannot be written.
        """
        with self._lock:
            self._check_version()
            entry = next((c for c in self._labels.categories if c["id"] == category), None)
            if entry is None:
                raise HomologError(f"category: expected one of the labels, got {category!r}")
            KeypointSchema.coco({**entry, "flip_indices": list(counterparts)})
            before = entry.get("flip_indices")
            entry["flip_indices"] = list(counterparts)
            try:
                self._write()
            except HomologError:
                entry["flip_indices"] = before
                raise
            return {"categories": copy.deepcopy(self._labels.categories), "sides": self._sides()}

    def _change(self, edit: Callable[[], Edited]) -> dict[str, Any]:
        """Run a change and write the file."""
        with self._lock:
            self._check_version()
            edited = edit()
            try:
                self._write()
            except HomologError:
                self._instances = Instances(Labels.read(self._path, self.folder))
                raise
            self._to_review |= set(self._labels.doubtful())
            now = {annotation["id"]: annotation for annotation in self._labels.annotations}
            return finite(
                {
                    "id": edited.ids[0],
                    "keypoint": edited.keypoint,
                    "annotation": now.get(edited.ids[0]),
                    "annotations": [[id, now.get(id)] for id in edited.ids],
                    "deleted": self._instances.deleted,
                    **self._progress(),
                }
            )

    def _check_version(self) -> None:
        if _file_version(self._path) != self._version:
            raise HomologError(
                f"labels: expected {self._path.name} as last written here, got a file that "
                "another program has changed; try to start homolog serve again"
            )

    def _write(self) -> None:
        self._labels.write(self._path)
        self._version = _file_version(self._path)

    def _progress(self) -> dict[str, Any]:
        """What is left to review, and whether there are changes to undo."""
        ids = {annotation["id"] for annotation in self._labels.annotations}
        return {
            "total": sum(annotation in ids for annotation, _ in self._to_review),
            "doubtful": self._labels.doubtful(),
            "undo": self._instances.can_undo,
            "redo": self._instances.can_redo,
        }

    def _order(self) -> list[Id]:
        """The ids of the images, those first that have most points expected to be wrong."""
        wrong: dict[Id, float] = {image["id"]: 0.0 for image in self._labels.images}
        for annotation in self._labels.annotations:
            extra = annotation.get(EXTRA, {})
            scores = dict(enumerate(extra.get("scores", [])))
            for keypoint in set(extra.get("doubtful", [])) - set(extra.get("reviewed", [])):
                # A keypoint on whose visibility exemplars disagree is doubtful whatever its score.
                wrong[annotation["image_id"]] += max(1 - scores.get(keypoint, 0.0), 0.05)
        return sorted(wrong, key=lambda id: -wrong[id])

    def _sides(self) -> list[Id]:
        """The ids of the categories of which it is not known which keypoints are left or right."""
        if not self._asks_sides:
            return []
        return [
            category["id"]
            for category in self._labels.categories
            if category.get("keypoints") and not KeypointSchema.coco(category).sides_known
        ]

    def _size(self, image: Id) -> tuple[int, int]:
        """Width and height of an image, after a check that it is in the folder."""
        if image not in self._images:
            raise HomologError(f"image: expected one that is in the folder, got {image!r}")
        return self._store.size(self._images[image])

    def _checked(self, box: tuple[float, ...], image: Id) -> tuple[float, float, float, float]:
        """A box after a check that it lies in its image."""
        return as_box(box, self._size(image))


def finite(value: Any) -> Any:
    """A copy of lists and dictionaries that can be sent as JSON in UTF-8.

    Numbers that are not finite are None, and names of files are text (`printable`). Changes come
    from another thread, so that what is sent is not what they are made in.
    """
    if isinstance(value, Mapping):
        return {finite(key): finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return printable(value) if isinstance(value, str) and not value.isascii() else value


def _file_version(path: Path) -> tuple[int, int]:
    """The time a file was modified, in nanoseconds, and its size."""
    try:
        status = path.stat()
    except OSError as error:
        raise HomologError(
            f"labels: expected a readable file, got {path}: {error.strerror}"
        ) from None
    return status.st_mtime_ns, status.st_size


def _images_in(
    path: Path, folder: Path, labels: Labels, images: ImageStore
) -> dict[Id, StoredImage]:
    """The labels' images in a folder, by their ids in the file; no names that lead out of it."""
    root = os.path.abspath(folder)
    finder = ImageFinder(path, folder)
    found = {}
    for image in labels.images:
        name = str(image["file_name"])
        try:
            file = finder.find(name)
        except HomologError:
            continue
        if Path(os.path.abspath(file)).is_relative_to(root):
            found[image["id"]] = images.add(file.resolve(), name)
    return found


def _exemplar_points(given: ExemplarSet, images: ImageStore) -> dict[str, dict[str, Any]]:
    """By the names of categories and keypoints: the first exemplar in which each is visible."""
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
