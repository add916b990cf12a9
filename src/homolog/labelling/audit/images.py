"""Images of a label audit: descriptors of each labelled object, extracted once and kept small."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from PIL import Image

from homolog.data.pairs import Annotation
from homolog.descriptors import DescriptorMap
from homolog.errors import HomologError
from homolog.image import reading
from homolog.image.poses import IDENTITY, PoseVariant
from homolog.labelling.exemplar_features import object_box
from homolog.labelling.posed_exemplars import evenly_spaced, principal_directions
from homolog.matcher import Matcher

ImageOf = Callable[[Annotation], Path | Image.Image | None]
"""Gives the image of an object: a file, or an upright image."""

_DIRECTIONS = 96  # principal ones, that descriptors are projected onto
_SAMPLED = 12  # objects that these are found from, evenly spaced
_CELLS = 128  # of each of these


class ObjectExtractor:
    """Extracts descriptors of labelled objects, each in the region around its box.

    Attributes:
        failed: the messages of images that cannot be read.

    Args:
        matcher: extracts the descriptors.
        annotations: the objects; those whose image is missing have no descriptors.
        image_of: gives the image of an object, None if it is missing; by default its file.

    Raises:
        HomologError: none of their images can be read, and some are there.
    """

    def __init__(
        self,
        matcher: Matcher,
        annotations: Sequence[Annotation],
        image_of: ImageOf = lambda annotation: (
            annotation.path if annotation.path.is_file() else None
        ),
    ):
        self.failed: list[str] = []
        self._matcher = matcher
        self._image_of = image_of
        present = [each for each in annotations if image_of(each) is not None]
        chosen = evenly_spaced(torch.arange(len(present)), _SAMPLED).tolist() if present else []
        self._sampled: dict[tuple[Annotation, PoseVariant], DescriptorMap] = {}
        rows = []
        for index in dict.fromkeys(chosen):
            found = self._extract(present[index], IDENTITY)
            if found is not None:
                self._sampled[present[index], IDENTITY] = found
                rows.append(evenly_spaced(found.descriptors_HWC[found.valid_HW], _CELLS))
        if chosen and not rows:
            raise HomologError(self.failed[0])
        self._basis_CD = principal_directions(torch.cat(rows), _DIRECTIONS) if rows else None

    def __call__(self, annotation: Annotation, pose: PoseVariant) -> DescriptorMap | None:
        """The descriptors of an object in a pose; None if its image is not there or unreadable."""
        found = self._sampled.pop((annotation, pose), None) or self._extract(annotation, pose)
        if found is None or self._basis_CD is None:
            return None
        descriptors = found.descriptors_HWC @ self._basis_CD
        return dataclasses.replace(found, descriptors_HWC=descriptors, sides=None)

    def _extract(self, annotation: Annotation, pose: PoseVariant) -> DescriptorMap | None:
        image = self._image_of(annotation)
        if image is None:
            return None
        try:
            size = image.size if isinstance(image, Image.Image) else reading.image_size(image)
            box = object_box(annotation, size)
            name = annotation.name if isinstance(image, Image.Image) else str(image)
            features = self._matcher.load_image(image, name, annotation.category, box=box)
            return self._matcher.descriptor_map(features, pose)
        except HomologError as error:
            if str(error) not in self.failed:
                self.failed.append(str(error))
            return None
