"""Rendered data sets as `homolog synth` writes them: images, their objects, and their keypoints."""

from __future__ import annotations

import hashlib
import itertools
import json
import zipfile
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt

from homolog.data.pairs import Annotation, DataSet, Pair
from homolog.errors import HomologError
from homolog.keypoints import KeypointSchema

_VISIBLE = 2  # COCO's word for it


# What reading a damaged archive raises.
_DAMAGED = (
    OSError, ValueError, KeyError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


@dataclass(frozen=True)
class RenderedDataset:
    """N rendered images and the objects they show.

    Attributes:
        folder: the folder of the set.
        files: the image files, relative to it.
        objects: of each image the annotations of its objects, as the set lists them.
        schema: the keypoints.
        categories: names of the objects' categories by id.
    """

    folder: Path
    files: tuple[str, ...]
    objects: tuple[tuple[Mapping[str, Any], ...], ...]
    schema: KeypointSchema
    categories: Mapping[int, str] = field(default_factory=dict)

    @cached_property
    def keypoint_sides(self) -> Float[np.ndarray, "K"]:
        """The side of each keypoint: 1 for left, -1 for right, 0 for none."""
        names = self.schema.names
        return np.array([n.startswith("left_") - n.startswith("right_") for n in names], float)

    @property
    def models(self) -> list[set[str]]:
        """The names of the 3D models in each image."""
        return [{each["model"] for each in objects} for objects in self.objects]

    def category(self, index: int) -> str:
        """The category of an image's largest object; of an image without objects, the first."""
        default = next(iter(self.categories.values()), "object")
        if not self.objects[index]:
            return default
        largest = max(self.objects[index], key=lambda each: each["area"])
        return self.categories.get(largest.get("category_id", -1), default)

    def split(self, held_out: Collection[str]) -> tuple[list[int], list[int]]:
        """Indices of the training images and of the held-out images.

        Args:
            held_out: 3D models; training images show none of them, held-out images no others.
        """
        held = set(held_out)
        return (
            [i for i, models in enumerate(self.models) if not models & held],
            [i for i, models in enumerate(self.models) if models and models <= held],
        )

    def check_held_out(self, held_out: Collection[str], argument: str) -> None:
        """Refuse to hold out 3D models that the set does not show.

        Args:
            held_out: the models.
            argument: what messages call them.

        Raises:
            HomologError: there is no such model.
        """
        known = set().union(*self.models)
        if unknown := sorted(set(held_out) - known):
            raise HomologError(
                f"{argument}: expected models of {self.folder} ({', '.join(sorted(known))}), "
                f"got {', '.join(unknown)}"
            )

    def keypoints(self, annotation: Mapping[str, Any]) -> Float[np.ndarray, "K 3"]:
        """An object's keypoints: (x, y) in pixels, and visibility as in COCO.

        Models that cannot move have no keypoints; for them all numbers are 0.
        """
        points = np.array(annotation.get("keypoints", np.zeros(3 * len(self.schema))), float)
        return points.reshape(-1, 3)

    def single_object(self, rows: Sequence[int]) -> list[int]:
        """Those of some images that show exactly one object."""
        return [row for row in rows if len(self.objects[row]) == 1]

    def to_dataset(self, rows: Sequence[int], max_objects: int | None = None) -> DataSet:
        """All ordered pairs of objects in two images that have a keypoint in common.

        Args:
            rows: the images.
            max_objects: take only so many objects, those of the first images.
        """
        annotations = [self._annotation(row, each) for row in rows for each in self.objects[row]][
            :max_objects
        ]
        pairs = [
            Pair.of(f"{source.name} {target.name}", source, target)
            for source, target in itertools.permutations(annotations, 2)
            if source.path != target.path
        ]
        usable = [pair for pair in pairs if len(pair.keypoint_ids)]
        schemas = {annotation.category: self.schema for annotation in annotations}
        return DataSet("renders", self.folder, schemas, usable, "box", (0.1, 0.05))

    def _annotation(self, row: int, found: Mapping[str, Any]) -> Annotation:
        """An object of an image; where there are several, its number is part of its name."""
        points = self.keypoints(found)
        points[points[:, 2] != _VISIBLE] = np.nan
        x, y, width, height = found["bbox"]
        several = len(self.objects[row]) > 1
        file = self.files[row]
        return Annotation(
            f"{file}#{found['instance']}" if several else file,
            self.folder / file,
            self.categories.get(found.get("category_id", -1), self.category(row)),
            points[:, :2],
            (x, y, x + width, y + height),
            shares_image=several,
        )

    def coordinates(self, index: int) -> tuple[Float[np.ndarray, "H W 3"], UInt[np.ndarray, "H W"]]:
        """Canonical coordinates of every pixel, and the object that it shows (0 for none).

        Raises:
            HomologError: the file that holds them is missing or damaged.
        """
        path = self.folder / "coordinates" / f"{Path(self.files[index]).stem}.npz"
        try:
            with np.load(path) as stored:
                return stored["coordinates"], stored["instance"]
        except _DAMAGED as error:
            raise HomologError(
                f"folder: expected a rendered set, got {path}, which cannot be read: {error}"
            ) from None

    def fingerprint(self) -> dict[str, Any]:
        """Tells these images from others, for JSON."""
        plain = json.dumps([self.files, self.objects, self.schema.names])
        digest = hashlib.sha256(plain.encode()).hexdigest()
        return {"images": len(self.files), "annotations_sha256": digest}


def read_rendered_dataset(folder: Path) -> RenderedDataset:
    """Read the annotations of a rendered set.

    Args:
        folder: as `homolog synth` writes it.

    Raises:
        HomologError: the annotations cannot be read, or are of something else.
    """
    path = folder / "annotations.json"
    try:
        plain = json.loads(path.read_text("utf-8"))
        with_keypoints = [each for each in plain["categories"] if each.get("keypoints")]
        schema = (
            KeypointSchema.coco(with_keypoints[0]) if with_keypoints else KeypointSchema((), ())
        )
        by_image: dict[int, list[Mapping[str, Any]]] = {i["id"]: [] for i in plain["images"]}
        for annotation in plain["annotations"]:
            annotation["model"], annotation["facing"], annotation["instance"]  # must be there
            by_image[annotation["image_id"]].append(annotation)
        files = tuple(image["file_name"] for image in plain["images"])
        objects = tuple(tuple(by_image[image["id"]]) for image in plain["images"])
        categories = {each["id"]: each["name"] for each in plain["categories"]}
    except OSError as error:
        raise HomologError(f"folder: cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise HomologError(
            f"folder: expected a rendered set, got {path}, which cannot be read: {error}"
        ) from None
    return RenderedDataset(folder, files, objects, schema, categories)
