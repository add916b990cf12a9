"""Descriptors of exemplars: of whole images, or of the regions around objects that share one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from homolog.data.pairs import Annotation, box_around
from homolog.descriptors import DescriptorMap, Features
from homolog.errors import HomologError
from homolog.image import reading
from homolog.image.poses import PoseVariant
from homolog.image.regions import as_box
from homolog.labelling.neighbours import Territories
from homolog.loading import joined, without_descriptors
from homolog.matcher import Matcher
from homolog.zoom import Zoom

BATCH = 8
"""Regions of one image that are in memory at once."""


def exemplar_features(
    matcher: Matcher,
    annotations: Sequence[Annotation],
    poses: Mapping[str, Sequence[PoseVariant]],
    *,
    regions: bool = False,
    zoom: Zoom = None,
    mirror: bool = False,
) -> Iterator[tuple[Annotation, DescriptorMap]]:
    """Descriptors of labelled objects, in one pose after the other.

    An object that is alone in its image is looked at in the whole image, as other images are;
    objects that share one, each in the region around its box. Images are decoded once. The boxes of
    objects in the same image are not matched.

    Args:
        matcher: extracts the descriptors.
        annotations: the labelled objects.
        poses: of the objects of each category.
        regions: whether every object is looked at in the region around its box.
        zoom: whether regions, or objects found, are joined with their whole images.
        mirror: whether they are joined with their mirrored views, which costs nothing where these
            are among the poses.

    Raises:
        HomologError: an image cannot be read.
    """
    by_image: dict[Path, list[Annotation]] = {}
    for annotation in annotations:
        by_image.setdefault(annotation.path, []).append(annotation)
    for path, own in by_image.items():
        if len(own) == 1 and not regions and zoom is None:
            features = matcher.load_image(path, str(path), own[0].category, mirror=mirror)
            yield from _in_poses(matcher, own, [features], poses, None)
        else:
            yield from _in_regions(matcher, path, own, poses, zoom, mirror)


def _in_regions(
    matcher: Matcher,
    path: Path,
    own: Sequence[Annotation],
    poses: Mapping[str, Sequence[PoseVariant]],
    zoom: Zoom,
    mirror: bool,
) -> Iterator[tuple[Annotation, DescriptorMap]]:
    """The objects of one image, each in its region, or in the whole where its box cannot be."""
    pixels = reading.load_image(path, max_pixels=matcher.max_pixels, name=str(path)).image
    boxes = [object_box(annotation, pixels.size) for annotation in own]
    boxed = [annotation for annotation, box in zip(own, boxes, strict=True) if box is not None]
    territories = Territories([box for box in boxes if box is not None])
    for category in dict.fromkeys(annotation.category for annotation in own):
        whole = matcher.load_image(pixels, str(path), category, mirror=mirror)
        for annotation, box in zip(own, boxes, strict=True):
            if annotation.category == category and box is None:
                features = whole if zoom is None else joined(whole)
                yield from _in_poses(matcher, [annotation], [features], poses, None)
        members = [n for n, annotation in enumerate(boxed) if annotation.category == category]
        for start in range(0, len(members), BATCH):
            chosen = members[start : start + BATCH]
            given = [box for box in boxes if box is not None]
            loaded = matcher.load_regions(
                whole, [given[n] for n in chosen], str(path), category, zoom=zoom
            )
            several = [boxed[n] for n in chosen]
            found = _in_poses(matcher, several, loaded, poses, (territories, chosen))
            yield from found


def _in_poses(
    matcher: Matcher,
    own: Sequence[Annotation],
    loaded: Sequence[Features],
    poses: Mapping[str, Sequence[PoseVariant]],
    shares: tuple[Territories, Sequence[int]] | None,
) -> Iterator[tuple[Annotation, DescriptorMap]]:
    """Objects of one image and category in every pose."""
    left = list(poses[own[0].category])
    while left:
        # One pose at a time: all of them at once would take eight times the memory. But two that
        # are each other's mirrored view share their passes.
        mirror_image = [left[0].mirrored] if loaded[0].mirror else []
        chosen = [left[0], *(pose for pose in left[1:] if pose in mirror_image)]
        left = [pose for pose in left if pose not in chosen]
        context = loaded[0].context
        whole = None if context is None else without_descriptors(context)
        fresh = [dataclasses.replace(without_descriptors(f), context=whole) for f in loaded]
        for n, features in enumerate(matcher.extract(fresh, chosen)):
            for pose in chosen:
                descriptor_map = features.descriptor_map(pose)
                if shares is not None:
                    descriptor_map, _ = shares[0].restrict(descriptor_map, shares[1][n])
                yield own[n], descriptor_map


def object_box(
    annotation: Annotation, size: tuple[int, int]
) -> tuple[float, float, float, float] | None:
    """The box of an object with all its keypoints; None where that is no box, as of one keypoint.

    Args:
        annotation: the object.
        size: width and height of the image.
    """
    points = np.clip(annotation.keypoints[annotation.visible], 0, size)
    corners = np.array([box_around(points), annotation.box]).reshape(4, 2)
    if not np.isfinite(corners).all():
        corners = corners[:2]
    (x0, y0), (x1, y1) = corners.min(0), corners.max(0)
    try:
        return as_box((x0, y0, x1 - x0, y1 - y0), size)
    except HomologError:
        return None
