"""A pair made small enough for a browser, which then finds points by itself.

What is sent is a product that approximates the similarity of all cells of one picture to all of
the other. Of all products of a given rank the truncated singular value decomposition comes
closest (Eckart and Young, 1936); it is linear in either picture's descriptors, so that places
between cells can be asked for as well.
"""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int8
from torch import Tensor

from homolog.image.geometry import View
from homolog.matcher import Matcher
from homolog.matching.consensus import Guide
from homolog.pair import Pairing, Side, choose
from homolog.results import Features

RANK = 128
"""Numbers a cell; 0.99992 of the similarity of the example pair, as a share of its square."""

_SPARE = 48  # directions searched beyond those kept, which makes these exact
_ROUNDS = 2


class Couple:
    """Two pictures, the first in a pose, ready to be asked in either direction.

    Args:
        matcher: how they are matched.
        first: features of the first picture in one pose.
        second: features of the second picture as it is.
    """

    def __init__(self, matcher: Matcher, first: Features, second: Features):
        ((self.pose, posed0),) = first.posed.items()
        ((_, posed1),) = second.posed.items()
        self.matcher = matcher
        self.features = first, second
        self.sides = Side.of(posed0, None), Side.of(posed1, None)

    @property
    def distance(self) -> float:
        """The instance matching distance, as `Matcher.transfer` reports it."""
        return self.sides[0].distance(self.sides[1], masked=False)

    def pairing(self, source: int) -> Pairing:
        """The pair with one of the pictures, 0 or 1, as the one that points are on."""
        _, note = choose([self.pose], {}, named=False)
        (a, side0), (b, side1) = (
            (self.features[end], self.sides[end]) for end in (source, 1 - source)
        )
        return Pairing(a, b, side0, side1, {self.pose: self.distance}, note, self.matcher.config)

    def packed(self) -> bytes:
        """All that a browser needs to find the points of either picture in the other.

        The length of a JSON header (uint32, little endian), the header, then the arrays that it
        lists, each at a multiple of four bytes from the header's end.
        """
        pairing = self.pairing(0)
        config = self.matcher.config
        factors = _factors(*self.sides)
        arrays: list[np.ndarray] = []
        sides: list[dict[str, Any]] = []
        for side, factor in zip(self.sides, factors, strict=True):
            values, scale = _quantised(factor)
            allowed = side.allowed_HW.cpu().numpy().astype(np.uint8)
            arrays += [values.cpu().numpy(), scale.cpu().numpy(), allowed]
            sides.append(_view(side.posed.view) | {"channels": factor.shape[2]})
        guides: list[dict[str, Any] | None] = []
        for source in (0, 1):
            guide = self._guide(source)
            if guide is None:
                guides.append(None)
                continue
            arrays.append(guide.popularity_HW.float().cpu().numpy())
            guides.append({"layout": _layout(guide)})
        header = {
            "pose": self.pose.name,
            "distance": self.distance,
            "pair_score": pairing.score,
            "same_kind": config.same_kind,
            "note": pairing.note,
            "window": config.window,
            "temperature": config.temperature,
            "guidance": None
            if config.guidance is None
            else {
                "surroundings": config.guidance.surroundings,
                "reach": config.guidance.reach,
                "layout": config.guidance.layout,
            },
            "guides": guides,
            "sides": sides,
            "arrays": [{"type": str(a.dtype), "length": a.size} for a in arrays],
        }
        text = json.dumps(header, allow_nan=False).encode()
        text += b" " * (-len(text) % 4)
        parts = [struct.pack("<I", len(text)), text]
        for array in arrays:
            content = np.ascontiguousarray(array).tobytes()
            parts += [content, bytes(-len(content) % 4)]
        return b"".join(parts)

    def _guide(self, source: int) -> Guide | None:
        guidance = self.matcher.config.guidance
        if guidance is None:
            return None
        side0, side1 = self.sides[source], self.sides[1 - source]
        return Guide(
            side0.posed.descriptors_HWC, side1.posed.descriptors_HWC, side0.weight_HW,
            side1.weight_HW, side0.allowed_HW, side1.allowed_HW, guidance,
        )  # fmt: skip


def _factors(side0: Side, side1: Side) -> tuple[Float[Tensor, "H W R"], Float[Tensor, "H2 W2 R"]]:
    """Arrays whose products come closest to the similarity of all cells to all that count.

    By subspace iteration from seeded directions (Halko, Martinsson and Tropp, 2011); the
    similarity itself is never made.
    """
    first, second = (
        (side.posed.descriptors_HWC * side.allowed_HW[..., None]).flatten(0, 1)
        for side in (side0, side1)
    )
    most = min(first.shape[1], len(first), len(second))
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(first.shape[1], min(RANK + _SPARE, most), generator=generator)
    basis1 = torch.linalg.qr(second @ start.to(second)).Q
    for _ in range(_ROUNDS):
        basis0 = torch.linalg.qr(first @ (second.T @ basis1)).Q
        basis1 = torch.linalg.qr(second @ (first.T @ basis0)).Q
    left, strength, right = torch.linalg.svd((basis0.T @ first) @ (second.T @ basis1))
    rank = min(RANK, most)
    root = strength[:rank].clamp_min(1e-6).sqrt()
    # With S = A B' = U s V', half of it, U sqrt(s), is A B' V / sqrt(s): a map of descriptors.
    to_first = second.T @ (basis1 @ right.T[:, :rank]) / root
    to_second = first.T @ (basis0 @ left[:, :rank]) / root
    return side0.posed.descriptors_HWC @ to_first, side1.posed.descriptors_HWC @ to_second


def _quantised(
    factor_HWR: Float[Tensor, "H W R"],
) -> tuple[Int8[Tensor, "H W R"], Float[Tensor, " R"]]:
    """Whole numbers from -127 to 127, and what they are to be multiplied with."""
    scale = factor_HWR.abs().amax((0, 1)).clamp_min(1e-12) / 127
    return (factor_HWR / scale).round().to(torch.int8), scale


def _view(view: View) -> dict[str, Any]:
    """The way between points and cells, affine both ways: each a row of x, y and 1 times these."""
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])

    def matrix(images: np.ndarray) -> list[list[float]]:
        origin, right, down = images
        return np.stack([right - origin, down - origin, origin]).tolist()

    return {
        "size": [view.width, view.height],
        "grid": [view.grid.height, view.grid.width],
        "to_cells": matrix(view.to_cells(corners)),
        "to_points": matrix(view.to_points(corners)),
    }


def _layout(guide: Guide) -> dict[str, Any] | None:
    layout = guide.layout
    if layout is None:
        return None
    return {
        "side": layout.side,
        "source_mean": layout.source_mean.tolist(),
        "target_mean": layout.target_mean.tolist(),
        "affine": layout.affine.tolist(),
        "variance": float(layout.variance),
    }
