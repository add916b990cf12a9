"""A pair compressed for a browser, which then matches points without asking the server.

What is sent is a low-rank factorisation of the similarity of all cells of one image to all cells
of the other. Of all factorisations of a given rank the truncated singular value decomposition is
the closest (Eckart and Young, 1936); it is linear in the descriptors of either image, so that
positions between cells can be queried as well.
"""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int8
from torch import Tensor

from homolog.descriptors import DescriptorMap
from homolog.features.codecs import quantise
from homolog.image.geometry import CanvasTransform
from homolog.image.poses import IDENTITY
from homolog.matching.consensus import Consensus
from homolog.pair import ImagePair
from homolog.utils.serialization import to_plain

RANK = 128
"""Channels sent for each cell; they hold 0.99992 of the squared similarity of the example pair."""

_OVERSAMPLING = 48  # directions searched beyond those sent, which makes these exact
_ITERATIONS = 2


class CompressedPair:
    """An image pair that is asked in both directions, and can be packed for a browser.

    Attributes:
        directions: the pair, and the pair with source and target exchanged.

    Args:
        pair: with a single pose to choose from.
    """

    def __init__(self, pair: ImagePair):
        (self.pose,) = pair.poses
        self.pair = pair
        self.directions = pair, pair.reversed()

    def pack(self) -> bytes:
        """Pack the pair for a browser, which can then match points of either image by itself.

        The length of a JSON header (uint32, little endian), the header, then the arrays that it
        lists, each at a multiple of four bytes from the header's end.
        """
        config = self.pair.config
        maps = self.pair.source_map(self.pose).widened(), self.pair.target_map.widened()
        arrays: list[np.ndarray] = []
        images: list[dict[str, Any]] = []
        for each, factor in zip(maps, _factors(*maps), strict=True):
            values, scale = _quantise_channels(factor)
            matchable = each.matchable_HW.cpu().numpy().astype(np.uint8)
            arrays += [values.cpu().numpy(), scale.cpu().numpy(), matchable]
            images.append(_transform(each.transform) | {"channels": factor.shape[2]})
        priors: list[dict[str, Any] | None] = []
        for pair, pose in zip(self.directions, (self.pose, IDENTITY), strict=True):
            consensus = pair.consensus(pose)
            if consensus is None:
                priors.append(None)
                continue
            arrays.append(consensus.hubness_HW.float().cpu().numpy())
            priors.append({"layout": _affine_prior(consensus)})
        calibration = None
        if config.score_calibration is not None:
            scorer = self.pair.scorer(self.pose)
            arrays += [each.float().cpu().numpy() for each in scorer.objects]
            if scorer.known > 0:
                arrays += [
                    each.sides.canonical_xyz.float().cpu().numpy()
                    for each in maps
                    if each.sides is not None
                ]
            calibration = {"known": scorer.known} | to_plain(config.score_calibration)
        _, warning = self.pair.alignment.select_pose(flip=False)
        header = {
            "pose": self.pose.name,
            "distance": self.pair.distance(),
            "pair_score": self.pair.score,
            "same_kind": config.same_category_threshold,
            "note": warning,
            "window": config.window,
            "temperature": config.temperature / (maps[0].typical_length * maps[1].typical_length),
            "sigma": config.suppression_sigma,
            "guidance": None
            if config.consensus is None
            else {
                "surroundings": config.consensus.neighbourhood_weight,
                "reach": config.consensus.neighbourhood_radius,
                "layout": config.consensus.affine_weight,
            },
            "guides": priors,
            "calibration": calibration,
            "sides": images,
            "arrays": [{"type": str(a.dtype), "length": a.size} for a in arrays],
        }
        text = json.dumps(header, allow_nan=False).encode()
        text += b" " * (-len(text) % 4)
        parts = [struct.pack("<I", len(text)), text]
        for array in arrays:
            content = np.ascontiguousarray(array).tobytes()
            parts += [content, bytes(-len(content) % 4)]
        return b"".join(parts)


def _factors(
    source: DescriptorMap, target: DescriptorMap
) -> tuple[Float[Tensor, "H W R"], Float[Tensor, "H2 W2 R"]]:
    """Two maps of channels whose products approximate the similarity of all matchable cells.

    Where the similarity is an inner product, it is divided by the maps' typical lengths, as the
    temperature is.

    By subspace iteration from seeded directions (Halko, Martinsson and Tropp, 2011); the
    similarity itself is never computed.
    """
    whole = [
        each.descriptors_HWC.float()
        if each.lengths_HW is None
        else each.descriptors_HWC.float() * (each.lengths_HW / each.typical_length)[..., None]
        for each in (source, target)
    ]
    first, second = (
        (descriptors * each.matchable_HW[..., None]).flatten(0, 1)
        for descriptors, each in zip(whole, (source, target), strict=True)
    )
    most = min(first.shape[1], len(first), len(second))
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(first.shape[1], min(RANK + _OVERSAMPLING, most), generator=generator)
    basis1 = torch.linalg.qr(second @ start.to(second)).Q
    for _ in range(_ITERATIONS):
        basis0 = torch.linalg.qr(first @ (second.T @ basis1)).Q
        basis1 = torch.linalg.qr(second @ (first.T @ basis0)).Q
    left, strength, right = torch.linalg.svd((basis0.T @ first) @ (second.T @ basis1))
    rank = min(RANK, most)
    root = strength[:rank].clamp_min(1e-6).sqrt()
    # With S = A B' = U s V', half of it, U sqrt(s), is A B' V / sqrt(s): a map of descriptors.
    to_first = second.T @ (basis1 @ right.T[:, :rank]) / root
    to_second = first.T @ (basis0 @ left[:, :rank]) / root
    return whole[0] @ to_first, whole[1] @ to_second


def _quantise_channels(
    factor_HWR: Float[Tensor, "H W R"],
) -> tuple[Int8[Tensor, "H W R"], Float[Tensor, " R"]]:
    """Integers from -127 to 127, and the scale of each channel."""
    values, scales = quantise(factor_HWR, (0, 1))
    return values, scales[0, 0]


def _transform(transform: CanvasTransform) -> dict[str, Any]:
    """Which part of the image it is, and the affine maps between image points and cells.

    Three rows each, for x, y and 1.
    """
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])

    def matrix(images: np.ndarray) -> list[list[float]]:
        origin, right, down = images
        return np.stack([right - origin, down - origin, origin]).tolist()

    return {
        "size": list(transform.size),
        "region": None if transform.region is None else transform.region.to_list(),
        "grid": list(transform.grid.shape),
        "to_cells": matrix(transform.to_cells(corners)),
        "to_points": matrix(transform.to_points(corners)),
    }


def _affine_prior(consensus: Consensus) -> dict[str, Any] | None:
    prior = consensus.affine_prior
    if prior is None:
        return None
    return {
        "side": prior.grid_size,
        "source_mean": prior.source_mean.tolist(),
        "target_mean": prior.target_mean.tolist(),
        "affine": prior.affine.tolist(),
        "variance": float(prior.variance),
    }
