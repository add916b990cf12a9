"""Neighbours: which cells of an object's region belong to it, and which to objects beside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from homolog.data.boxes import XYWH
from homolog.descriptors import DescriptorMap
from homolog.image.geometry import CanvasTransform
from homolog.image.masks import MaskReader

# Standard deviation of where an object is, in half widths and heights of its box
# (docs/experiments.md).
_SPREAD = 0.8
_SAME_OBJECT = 0.8  # overlap (intersection over union) from which two boxes are of one object


class Territories:
    """Shares an image out among its objects, so that none takes the points of another.

    Pixels on the mask of an object are its own. Otherwise those in its box are, and those around it
    that lie in no other box. Where two boxes overlap, a pixel belongs to the box that more likely
    put it there: its density is normal, centred, and as wide and high as the box. Of two boxes of
    one size that is the one whose centre is nearer; a small box in front of a large one keeps most
    of what it covers.

    Args:
        boxes: (x, y, width, height) of each object, in pixels.
        masks: gives the mask of each object, where there is one; none have one by default.
    """

    def __init__(
        self, boxes: Sequence[XYWH], masks: Sequence[MaskReader | None] | None = None
    ) -> None:
        self._boxes = np.array(boxes, dtype=float).reshape(-1, 4)
        self._owner: Int[np.ndarray, "height width"] | None = None
        self._masked = np.zeros(len(self._boxes), dtype=bool)
        given = [index for index, read in enumerate(masks or ()) if read is not None]
        if masks is None or not given:
            return
        # One map for all masks, however many there are; smaller objects lie in front.
        area = self._boxes[:, 2] * self._boxes[:, 3]
        for index in sorted(given, key=lambda each: -area[each]):
            read = masks[index]
            assert read is not None
            mask = read()
            if self._owner is None:
                self._owner = np.full(mask.shape, -1, dtype=np.int32)
            self._owner[mask] = index
        assert self._owner is not None
        found = np.unique(self._owner)
        self._masked[found[found >= 0]] = True

    def restrict(
        self, descriptor_map: DescriptorMap, index: int
    ) -> tuple[DescriptorMap, Float[Tensor, "H W"]]:
        """The descriptors of the region around an object, matched where they belong to it.

        Args:
            descriptor_map: of the region, in some pose.
            index: of the object.

        Returns:
            The descriptors, and for each cell the log of the probability that it is the object's,
            0 where no other object is near.
        """
        transform = descriptor_map.transform
        device = descriptor_map.valid_HW.device
        cells = self.cells(transform, index)
        matchable = torch.from_numpy(cells).to(device)
        if self._masked[index]:
            saliency = matchable.float()
            log_shares = torch.zeros_like(saliency)
        else:
            own, others = self._log_densities(transform.to_points(transform.grid.cells), index)
            contested = np.isfinite(own) & np.isfinite(others)
            # Of cells that are not matchable it does not count.
            logs = np.zeros(len(own))
            logs[contested] = own[contested] - np.logaddexp(own, others)[contested]
            log_shares = torch.from_numpy(logs.reshape(cells.shape)).to(device).float()
            saliency = descriptor_map.saliency_HW * log_shares.exp() * matchable
            if not saliency.any():  # the neighbour was all that is salient
                shown = cells & self._inside(transform, index)
                saliency = torch.from_numpy(shown if shown.any() else cells).to(device).float()
        restricted = dataclasses.replace(
            descriptor_map, matchable_HW=matchable, saliency_HW=saliency
        )
        return restricted, log_shares

    def cells(self, transform: CanvasTransform, index: int) -> Bool[np.ndarray, "H W"]:
        """The cells that belong to an object; at least one.

        Args:
            transform: of its region, in some pose.
            index: of the object.
        """
        if self._masked[index]:
            assert self._owner is not None
            return transform.mask_cells(self._owner == index)
        points = transform.to_points(transform.grid.cells)
        valid = transform.valid_cells.ravel()
        free = valid.copy()
        if self._owner is not None:
            height, width = self._owner.shape
            column, row = np.floor(transform.clip(points)).astype(int).T
            owner = self._owner[row.clip(max=height - 1), column.clip(max=width - 1)]
            free &= (owner < 0) | (owner == index)
        own = free & ~self._taken(points, index)
        # Where others take all of it, it keeps its box: something is to be found there.
        inside = self._inside(transform, index).ravel()
        kept = next((each for each in (own, free & inside, inside) if each.any()), valid)
        return kept.reshape(transform.grid.shape)

    def _taken(self, points: Float[np.ndarray, "P 2"], index: int) -> Bool[np.ndarray, "P"]:
        """Which points belong to the box of another object."""
        own = _log_density(points, self._boxes[index])
        taken = np.zeros(len(points), dtype=bool)
        for box in self._near(points, index):
            taken |= _log_density(points, box) > own
        return taken

    def _log_densities(
        self, points: Float[np.ndarray, "P 2"], index: int
    ) -> tuple[Float[np.ndarray, "P"], Float[np.ndarray, "P"]]:
        """How densely an object covers points, and all others together, as logs."""
        others = np.full(len(points), -np.inf)
        for box in self._near(points, index):
            others = np.logaddexp(others, _log_density(points, box))
        return _log_density(points, self._boxes[index]), others

    def _near(
        self, points: Float[np.ndarray, "P 2"], index: int
    ) -> Iterator[Float[np.ndarray, "4"]]:
        """The boxes of other objects without masks that reach as far as the points."""
        low, high = self._boxes[:, :2], self._boxes[:, :2] + self._boxes[:, 2:]
        near = ((low <= points.max(0)) & (high >= points.min(0))).all(1) & ~self._masked
        near[index] = False
        for box in self._boxes[near]:
            if overlap(self._boxes[index], box) < _SAME_OBJECT:
                yield box

    def _inside(self, transform: CanvasTransform, index: int) -> Bool[np.ndarray, "H W"]:
        """The valid cells whose centres lie in the box of an object."""
        points = transform.to_points(transform.grid.cells)
        inside = np.isfinite(_log_density(points, self._boxes[index]))
        return inside.reshape(transform.grid.shape) & transform.valid_cells


def overlap(box0: Sequence[float] | np.ndarray, box1: Sequence[float] | np.ndarray) -> float:
    """Intersection over union of two boxes (x, y, width, height); 0 if both are empty.

    >>> overlap((0, 0, 4, 2), (2, 0, 4, 2))
    0.3333333333333333
    """
    both = intersection(box0, box1)
    union = float(box0[2] * box0[3] + box1[2] * box1[3]) - both
    return both / union if union > 0 else 0.0


def intersection(box0: Sequence[float] | np.ndarray, box1: Sequence[float] | np.ndarray) -> float:
    """The area that two boxes (x, y, width, height) have in common."""
    (x0, y0, w0, h0), (x1, y1, w1, h1) = box0, box1
    width = min(x0 + w0, x1 + w1) - max(x0, x1)
    height = min(y0 + h0, y1 + h1) - max(y0, y1)
    return max(0.0, float(width)) * max(0.0, float(height))


def _log_density(
    points: Float[np.ndarray, "P 2"], box: Float[np.ndarray, "4"]
) -> Float[np.ndarray, "P"]:
    """The log of how densely an object covers points, but for a constant; -inf beyond its box."""
    half = box[2:] / 2
    offsets = (points - (box[:2] + half)) / half
    density = -(offsets**2).sum(1) / (2 * _SPREAD**2) - np.log(half).sum()
    return np.where((np.abs(offsets) <= 1).all(1), density, -np.inf)
