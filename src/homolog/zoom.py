"""Zoom: a second look at an object that does not fill its image.

The region around the object fills the canvas, and its descriptors are joined with those of the
first look, so that a cell is similar to another if it is so at both scales. Not from the paper;
docs/experiments.md measures it.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

import numpy as np
import torch

from homolog.descriptors import DescriptorMap
from homolog.errors import HomologError
from homolog.matching import sample_descriptors

Zoom = Literal["auto"] | None
"""Whether matches take a second look at the objects: `auto`, or None."""

CONTEXT_WEIGHT = 0.35
"""The part of the first look in the similarity of two cells (docs/experiments.md)."""


def check_zoom(zoom: Zoom) -> None:
    """Refuse what is no way to zoom.

    Raises:
        HomologError: it is neither `auto` nor None.
    """
    if zoom not in ("auto", None):
        raise HomologError(f"zoom: expected auto or None, got {zoom!r}")


def with_context(
    region: DescriptorMap, whole: DescriptorMap, weight: float = CONTEXT_WEIGHT
) -> DescriptorMap:
    """The descriptors of a region, joined with those of the whole image at the same places.

    The inner product of two such descriptors is the mean of the similarities at both scales.

    Args:
        region: the descriptors of the region, in some pose.
        whole: the descriptors of the whole image, in the same pose.
        weight: of the whole image's similarity, 0 to 1; that of the region's is the rest.
    """
    cells = whole.transform.to_cells(region.transform.to_points(region.transform.grid.cells))
    descriptors = whole.descriptors_HWC
    sampled = sample_descriptors(descriptors, torch.from_numpy(cells).to(descriptors))
    sampled = sampled.unflatten(0, region.descriptors_HWC.shape[:2])
    joined = torch.cat(
        [math.sqrt(1 - weight) * region.descriptors_HWC, math.sqrt(weight) * sampled], dim=-1
    )
    return dataclasses.replace(region, descriptors_HWC=joined)


def find_object(
    whole: DescriptorMap,
) -> tuple[float, float, float, float] | None:
    """The box of the object that a first look found, or None where a second would not help.

    Args:
        whole: the descriptors of the whole image.

    Returns:
        (x, y, width, height) in pixels.
    """
    transform = whole.transform
    cells = whole.saliency_HW > 0
    if whole.sides is not None and whole.sides.recognised:
        cells = whole.sides.objectness > 0.5
    rows = (cells & whole.valid_HW).flatten().cpu().numpy()
    if not rows.any():
        return None
    centres = transform.grid.cells[rows]
    corners = np.array([centres.min(0) - 0.5, centres.max(0) + 0.5])
    (left, top), (right, bottom) = np.sort(transform.to_points(corners, clip=True), axis=0)
    return left, top, right - left, bottom - top
