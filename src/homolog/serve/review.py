"""Labels looked at point by point, and written down at every step."""

from __future__ import annotations

import copy
import threading
from pathlib import Path
from typing import Any

import numpy as np

from homolog.data import exemplars
from homolog.data.labels import Labels
from homolog.errors import HomologError
from homolog.serve.uploads import ImageStore, Picture


class Review:
    """Labels that are being looked at.

    Args:
        path: their file, which every correction is written to at once.
        folder: where their pictures are; none outside it is shown.
        exemplars: labels made by hand, to show what a keypoint means.
        pictures: where pictures get their ids.

    Raises:
        HomologError: a file cannot be read, or none of the labels' pictures is in the folder.
    """

    def __init__(self, path: Path, folder: Path, exemplars: Path | None, pictures: ImageStore):
        self._path, self._labels = path, Labels.read(path)
        self._lock = threading.Lock()
        self._stamp = _stamp(path)
        found = _pictures_of(self._labels, folder, pictures)
        if self._labels.images and not found:
            name = self._labels.images[0]["file_name"]
            raise HomologError(f"labels: none of their pictures is in {folder}, such as {name}")
        self._pictures = {id: picture.id for id, picture in found.items()}
        self._total = len(self._labels.doubtful())
        self._exemplars: dict[str, dict[str, Any]] = {}
        if exemplars is not None:
            self._exemplars = _examples(exemplars, folder, pictures)

    def state(self) -> dict[str, Any]:
        """All that the page shows: COCO's three lists, ids of pictures, what is left to do."""
        with self._lock:
            state = {
                "file": self._path.name,
                "categories": self._labels.categories,
                "images": [
                    {
                        "id": image["id"],
                        "name": image["file_name"],
                        "picture": self._pictures.get(image["id"]),
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

        Returns:
            The annotation as it now is, and what is left to do.

        Raises:
            HomologError: as `Labels.correct`, the file cannot be written, or another program has
                changed it.
        """
        with self._lock:
            if _stamp(self._path) != self._stamp:
                raise HomologError(
                    f"labels: another program has changed {self._path.name}; start homolog serve "
                    "again"
                )
            self._labels.correct(annotation, keypoint, point, visible)
            self._labels.write(self._path)
            self._stamp = _stamp(self._path)
            (now,) = (a for a in self._labels.annotations if a["id"] == annotation)
            return {"annotation": copy.deepcopy(now), "doubtful": self._labels.doubtful()}


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise HomologError(f"labels: cannot read {path}: {error.strerror}") from None
    return found.st_mtime_ns, found.st_size


def _pictures_of(labels: Labels, folder: Path, pictures: ImageStore) -> dict[int, Picture]:
    """Pictures by their ids in the file; a name that leads out of the folder has none."""
    home = folder.resolve()
    found = {}
    for image in labels.images:
        name = str(image["file_name"])
        path = (home / name).resolve()
        if path.is_relative_to(home) and path.is_file():
            found[image["id"]] = pictures.add(path, name)
    return found


def _examples(path: Path, folder: Path, pictures: ImageStore) -> dict[str, dict[str, Any]]:
    """For each category's name and each keypoint's, where one can be seen well."""
    given = exemplars.read(path, folder)
    names = {category["name"]: category["keypoints"] for category in given.categories}
    examples: dict[str, dict[str, Any]] = {}
    for annotation in given.annotations:
        picture = pictures.add(annotation.path, annotation.name)
        of_category = examples.setdefault(annotation.category, {})
        x0, y0, x1, y1 = annotation.box
        for name, (x, y) in zip(names[annotation.category], annotation.keypoints, strict=True):
            if np.isfinite(x) and name not in of_category:
                of_category[name] = {
                    "picture": picture.id,
                    "point": [float(x), float(y)],
                    "box": [x0, y0, x1 - x0, y1 - y0],
                }
    return examples
