"""Zoom: a second look at an object that does not fill its image.

The region around the object fills the canvas, and its descriptors are joined with those of the
first look, so that a cell is similar to another if it is so at both scales. Not from the paper;
docs/experiments.md measures it.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal

import torch
from jaxtyping import Bool
from torch import Tensor

from homolog.descriptors import DescriptorMap, with_lengths
from homolog.errors import HomologError
from homolog.features.foreground import main_components
from homolog.matching import sample_descriptors
from homolog.networks.sides import SidesConfig, presence

Zoom = Literal["auto"] | None
"""Whether matches take a second look at the objects: `auto`, or None."""

CONTEXT_WEIGHT = 0.5
"""The part of the first look in the similarity of two cells (docs/experiments.md)."""


# What counts as found (docs/experiments.md): the probability that there is an object of a known
# kind, that of its cells, and a piece's part in the largest piece's sum of these.
_PRESENT, _OBJECT, _PIECE = 0.8, 0.2, 0.3


def check_zoom(zoom: Any) -> None:
    """Refuse what is no way to zoom.

    Raises:
        HomologError: it is neither `auto` nor None.
    """
    if zoom is not None and not (isinstance(zoom, str) and zoom == "auto"):
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
    places = whole.cells_of(region.transform.to_points(region.transform.grid.cells))
    descriptors, own, lengths = whole.descriptors_HWC, region.descriptors_HWC, region.lengths_HW
    sampled = sample_descriptors(descriptors, places, whole.lengths_HW)
    sampled = sampled.unflatten(0, own.shape[:2])
    if lengths is not None:
        own = own * lengths[..., None]
    joined = torch.cat([math.sqrt(1 - weight) * own, math.sqrt(weight) * sampled], dim=-1)
    if lengths is not None:
        joined, lengths = with_lengths(joined)
    coarse = region.coarse
    if coarse is not None and whole.coarse is not None:
        coarse = with_context(coarse, whole.coarse, weight)
    return dataclasses.replace(region, descriptors_HWC=joined, lengths_HW=lengths, coarse=coarse)


def find_object(
    whole: DescriptorMap, config: SidesConfig | None
) -> tuple[float, float, float, float] | None:
    """The box of the object that the first look shows, or None where a second would not help.

    The cells that the side head takes for an object of the kinds it knows, without small pieces
    apart. Saliency, which knows no kinds, is not sure enough (docs/experiments.md).

    Args:
        whole: the descriptors of the whole image.
        config: of the side head; None for a model without one.

    Returns:
        (x, y, width, height) in pixels.
    """
    cells = object_cells(whole, config)
    return None if cells is None else whole.transform.box_of(cells.cpu().numpy())


def object_cells(whole: DescriptorMap, config: SidesConfig | None) -> Bool[Tensor, "H W"] | None:
    """The cells of an object of a kind that the side head knows; None where there is none.

    Args:
        whole: the descriptors of the whole image.
        config: of the side head; None for a model without one.
    """
    if whole.sides is None or config is None:
        return None
    objectness = whole.sides.objectness
    if presence(objectness, config) < _PRESENT:
        return None
    weight = objectness * ((objectness > _OBJECT) & whole.valid_HW)
    if not weight.any():
        return None
    return main_components(weight, _PIECE)
