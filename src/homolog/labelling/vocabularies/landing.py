"""Where keypoints of one vocabulary land among those of another, transferred between images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from homolog.data import label_files
from homolog.data.formats import coco
from homolog.data.formats.document import ReadOptions
from homolog.data.pairs import Annotation
from homolog.data.reading import ErrorCollector
from homolog.descriptors import Features
from homolog.errors import HomologError
from homolog.image import reading
from homolog.keypoints import KeypointSchema
from homolog.labelling.exemplar_features import object_box
from homolog.matcher import Matcher, PosesLike

MAX_OBJECTS = 6
"""Objects of each vocabulary that are looked at, at most: those with the most labels."""

_LEAST_CONFIDENCE = 0.05  # with which a transferred point counts
_NEAR = 0.1  # the distance at which closeness has fallen to 0.6, as a share of the box


@dataclass(frozen=True)
class LabelledVocabulary:
    """A vocabulary of keypoints, and objects that are labelled with it.

    Attributes:
        schema: the keypoints.
        annotations: the objects that are looked at: those with the most labels whose images are
            there.
        notes: what was left out, a line each.
    """

    schema: KeypointSchema
    annotations: Sequence[Annotation]
    notes: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """The number of objects."""
        return len(self.annotations)

    @classmethod
    def read(cls, path: Path, images: Path | None = None) -> LabelledVocabulary:
        """The vocabulary of a file of labels; of several, that of most objects.

        Args:
            path: the file, in any format (`homolog.data.label_files`).
            images: a folder where its images are looked up.

        Raises:
            HomologError: it cannot be read, or has no keypoints.
        """
        file = label_files.read(path, ReadOptions(images))
        parsed = coco.parse(file.document, path, ErrorCollector())
        notes = list(file.notes)
        schemas = {
            name: category.schema
            for category in parsed.categories.values()
            for name in [category.name]
            if category.schema is not None
        }
        if not schemas:
            raise HomologError(f"labels: expected a category with keypoints, got none in {path}")
        counts = Counter(schemas[each.category].names for each in parsed.instances)
        first = next(iter(schemas.values())).names
        names = counts.most_common(1)[0][0] if counts else first
        others = {schema.names for schema in schemas.values()} - {names}
        if others:
            notes.append(f"{path}: {len(others)} other vocabularies of keypoints are left out")
        found = [
            each.annotation(file.paths[each.image_id])
            for each in parsed.instances
            if each.image_id in file.paths and schemas[each.category].names == names
        ]
        labelled = [each for each in found if each.visible.any()]
        if not labelled:
            notes.append(f"{path}: names alone are compared: no image was found")
        labelled.sort(key=lambda each: -int(each.visible.sum()))
        (schema,) = {each.names: each for each in schemas.values() if each.names == names}.values()
        return cls(schema, labelled[:MAX_OBJECTS], tuple(notes))


def landing_scores(
    matcher: Matcher,
    source: LabelledVocabulary,
    target: LabelledVocabulary,
    progress: Callable[[], None] = lambda: None,
) -> Float[np.ndarray, "K M"]:
    """How near points of one vocabulary land to those of another in the images of the other.

    Points are transferred both ways, from each object to each, and weighted by confidence.

    Args:
        matcher: transfers the points.
        source: the one vocabulary.
        target: the other.
        progress: called before each pair of objects.

    Returns:
        For each source and target keypoint the mean closeness, 0 to 1; NaN where no pair of objects
        has both.

    Raises:
        HomologError: an image cannot be read.
    """
    sides = [
        [(each, _features(matcher, each), vocabulary.schema) for each in vocabulary.annotations]
        for vocabulary in (source, target)
    ]
    shape = len(source.schema), len(target.schema)
    total, weight = np.zeros(shape), np.zeros(shape)
    for one in sides[0]:
        for other in sides[1]:
            progress()
            there = _closeness(matcher, one, other)
            back = _closeness(matcher, other, one)
            for closeness, weights in (there, (back[0].T, back[1].T)):
                total += weights * closeness
                weight += weights
    return np.where(weight > 0, total / np.maximum(weight, 1e-12), np.nan)


_Object = tuple[Annotation, Features, KeypointSchema]


def _features(matcher: Matcher, annotation: Annotation) -> Features:
    size = annotation.size or reading.image_size(annotation.path)
    box = object_box(annotation, size)
    return matcher.load_image(annotation.path, str(annotation.path), annotation.category, box=box)


def _closeness(
    matcher: Matcher, source: _Object, target: _Object
) -> tuple[Float[np.ndarray, "K M"], Float[np.ndarray, "K M"]]:
    """How close each source keypoint lands to each target keypoint, and how much that counts."""
    annotation, features, schema = source
    keypoints = target[0].keypoints
    poses: PosesLike = "flip" if schema.sides_known else "none"
    pair = matcher.pair(features, target[1], poses=poses, schema=schema)
    ids = np.flatnonzero(annotation.visible)
    points = np.clip(annotation.keypoints[ids], 0, features.size)
    if features.region is not None:
        left, top, right, bottom = features.region.box
        points = np.clip(points, (left, top), (right, bottom))
    found = pair.transfer(points, ids.tolist())
    shape = len(annotation.keypoints), len(keypoints)
    closeness, weights = np.zeros(shape), np.zeros(shape)
    apart = np.linalg.norm(found.keypoints1[:, None] - keypoints[None], axis=2)
    apart = apart / target[0].reference_length("box")
    known = np.isfinite(apart)
    closeness[ids] = np.where(known, np.exp(-((np.nan_to_num(apart) / _NEAR) ** 2) / 2), 0)
    weights[ids] = known * np.maximum(found.matching_scores, _LEAST_CONFIDENCE)[:, None]
    return closeness, weights
