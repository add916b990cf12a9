"""What integrations share: keypoints of images in memory, predicted from a file of exemplars."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from homolog.data import exemplars as exemplar_files
from homolog.data.labels import EXTRA
from homolog.errors import HomologError
from homolog.image.reading import ImageLike
from homolog.labelling.annotator import AnnotateConfig, Annotator, LoadedImage
from homolog.matcher import Matcher

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class PredictedObject:
    """An object that was found in an image, and its K keypoints.

    Attributes:
        category: its name.
        box: (x, y, width, height) in pixels of the image.
        score: the mean of its keypoints' scores.
        names: of the keypoints.
        points: (x, y) in pixels of the image, not a number where a keypoint is not visible.
        scores: the probability that each lies within a tenth of the box's longer side of its true
            position.
        occluded: the keypoints that something hides, whose positions are estimated.
    """

    category: str
    box: tuple[float, float, float, float]
    score: float
    names: tuple[str, ...]
    points: Float[np.ndarray, "K 2"]
    scores: Float[np.ndarray, "K"]
    occluded: Bool[np.ndarray, "K"]

    @property
    def found(self) -> Bool[np.ndarray, "K"]:
        """Which keypoints have a position."""
        return np.isfinite(self.points[:, 0])


class Predictor:
    """Predicts the keypoints of the objects in images, from a file of exemplars.

    The file may have any format that `homolog annotate --exemplars` takes.

    Args:
        exemplars: the file.
        images: the folder of its images, if they are not beside it.
        model: a preset, or the folder of a trained model.
        device: where to compute, such as `cuda`.
        max_objects: how many objects an image may show; None for one, wherever it is.

    Attributes:
        categories: those of the exemplars, as in a COCO file.

    Raises:
        HomologError: the file, one of its images or the model cannot be used.
    """

    def __init__(
        self,
        exemplars: str | os.PathLike[str],
        images: str | os.PathLike[str] | None = None,
        *,
        model: str = "embedded",
        device: str | None = None,
        max_objects: int | None = None,
    ):
        if max_objects is not None and max_objects < 1:
            raise HomologError(f"max_objects: expected at least 1, got {max_objects}")
        labelled = exemplar_files.read(Path(exemplars), None if images is None else Path(images))
        for note in labelled.notes:
            _log.warning("%s", note)
        self.categories: Sequence[Mapping[str, Any]] = labelled.categories
        self._by_id = {category["id"]: category for category in labelled.categories}
        config = AnnotateConfig(max_objects=max_objects)
        self._annotator = Annotator(Matcher.from_pretrained(model, device=device), labelled, config)

    def predict(self, image: ImageLike, name: str = "image") -> list[PredictedObject]:
        """The objects of an image; none if nothing in it is like an exemplar.

        Args:
            image: a `PIL.Image`, an array (RGB), a tensor or a path.
            name: what error messages call it.

        Raises:
            HomologError: it cannot be read.
        """
        return [self._object(entry) for entry in self.annotations(image, name)[0]]

    def annotations(
        self, image: ImageLike, name: str = "image"
    ) -> tuple[list[dict[str, Any]], tuple[int, int]]:
        """The objects of an image as annotations of a COCO file, and the size of the image.

        Args:
            image: as for `predict`.
            name: what error messages call it.

        Returns:
            The annotations, which have no ids of their own or of the image; and width and height
            of the upright image in pixels.

        Raises:
            HomologError: it cannot be read.
        """
        features = self._annotator.matcher.load_image(image, name)
        # An image in memory has no path, by which it could be one of the exemplars.
        loaded = LoadedImage(Path("in memory") / name, features.size, features)
        record = self._annotator.record(name, loaded)
        if "failed" in record:
            raise HomologError(record["failed"])
        entries = record["annotations"] if "annotations" in record else [record["annotation"]]
        return list(entries), features.size

    def _object(self, entry: Mapping[str, Any]) -> PredictedObject:
        """An annotation of a COCO file as an object."""
        category = self._by_id[entry["category_id"]]
        keypoints = np.reshape(np.array(entry["keypoints"], dtype=float), (-1, 3))
        visibility = keypoints[:, 2]
        return PredictedObject(
            category["name"],
            tuple(map(float, entry["bbox"])),  # type: ignore[arg-type]
            float(entry["score"]),
            tuple(category["keypoints"]),
            np.where(visibility[:, None] > 0, keypoints[:, :2], np.nan),
            np.array(entry[EXTRA]["scores"], dtype=float),
            visibility == 1,
        )
