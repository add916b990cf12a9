"""Training examples of a side head: what each cell of a rendered image shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from homolog.backbones.base import canvas_transform
from homolog.image.geometry import CanvasTransform
from homolog.image.poses import FLIP, IDENTITY
from homolog.matcher import Matcher
from homolog.networks.sides import SideHead, SidesConfig
from homolog.training.sides.rendered import RenderedDataset
from homolog.utils.progress import ProgressBar

_MIDPLANE_MARGIN = 0.05  # distance from the midplane from which a side is certain, in half lengths
_SUPERSAMPLE = 6  # samples along either axis of a cell
_PCA_IMAGES = 40  # images from which principal components are taken
_PCA_EVERY = 7  # cells of them
_MAX_KEYPOINTS = 64  # of an image


@dataclass(frozen=True)
class Examples:
    """N images and what their cells show; about half of the images are mirrored.

    Attributes:
        reduced: principal components of the descriptors, half precision.
        coverage: the fraction of a cell that shows an object.
        side: 1 on the object's left, -1 on its right, with a smooth passage at the midplane.
        canonical_xyz: canonical coordinates, as in `SideMaps`.
        heading: unit vectors, as in `SideMaps`.
        keypoints: visible keypoints with a side, (x, y) in cells; at most P in an image.
        keypoint_sides: 1 for left, -1 for right, 0 where there is no further keypoint.
    """

    reduced: Float[Tensor, "N H W K"]
    coverage: Float[Tensor, "N H W"]
    side: Float[Tensor, "N H W"]
    canonical_xyz: Float[Tensor, "N H W 3"]
    heading: Float[Tensor, "N H W 3"]
    keypoints: Float[Tensor, "N P 2"]
    keypoint_sides: Float[Tensor, "N P"]


def mirrored_images(count: int, seed: int) -> Bool[np.ndarray, "N"]:
    """Which of so many images are mirrored, drawn at random."""
    return np.random.default_rng(seed).random(count) < 0.5


def build_dataset(
    renders: RenderedDataset, matcher: Matcher, seed: int
) -> tuple[SideHead, Examples]:
    """An untrained side head with its principal components, and the examples in terms of these.

    Args:
        renders: the rendered images.
        matcher: a zero-shot matcher, which describes them.
        seed: of the initial weights, and of which images are mirrored.

    Raises:
        HomologError: an image cannot be read.
    """
    mirrored = mirrored_images(len(renders.files), seed)
    indices = range(len(renders.files))
    every = max(1, len(indices) // _PCA_IMAGES)
    sample = torch.cat(
        [
            _descriptors(renders, index, matcher, False).flatten(0, 1)[::_PCA_EVERY]
            for index in indices[::every]
        ]
    )
    config = SidesConfig(sample.shape[1], components=min(256, sample.shape[1]))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = SideHead(config)
    network.fit(sample.cpu())
    network.to(matcher.backbone.device)
    return network, extract_examples(renders, indices, matcher, network, mirrored)


def extract_examples(
    renders: RenderedDataset,
    indices: Sequence[int],
    matcher: Matcher,
    network: SideHead,
    mirrored: Bool[np.ndarray, "N"],
) -> Examples:
    """Examples for a side head whose principal components are fitted.

    Args:
        renders: the rendered images.
        indices: of those to use.
        matcher: a zero-shot matcher, which describes them.
        network: the side head.
        mirrored: which of all images are mirrored.

    Raises:
        HomologError: an image cannot be read.
    """
    rows: list[tuple[np.ndarray | Tensor, ...]] = []
    with ProgressBar(len(indices)) as progress:
        for done, index in enumerate(indices):
            progress.update("extracting features of renders", done)
            flip = bool(mirrored[index])
            descriptors = _descriptors(renders, index, matcher, flip)
            reduced = network.reduce(descriptors[None])[0].half().cpu()
            rows.append((reduced, *ground_truth_cells(renders, index, matcher, flip)))
    columns = zip(*rows, strict=True)
    return Examples(
        *(torch.stack([torch.as_tensor(each) for each in column]) for column in columns)
    )


@torch.no_grad()
def _descriptors(
    renders: RenderedDataset, index: int, matcher: Matcher, mirrored: bool
) -> Float[Tensor, "H W C"]:
    """Zero-shot descriptors of an image, as it is or mirrored."""
    pose = FLIP if mirrored else IDENTITY
    path: Path = renders.folder / renders.files[index]
    features = matcher.extract(path, [pose], renders.category(index))
    return features.descriptor_map(pose).descriptors_HWC


def ground_truth_cells(
    renders: RenderedDataset, index: int, matcher: Matcher, mirrored: bool
) -> tuple[np.ndarray, ...]:
    """The ground truth that one rendered image gives a side head, for every cell of the grid.

    In a mirrored image the left side looks like a right one, and is labelled right.

    Args:
        renders: the rendered images.
        index: of the image.
        matcher: whose grid of cells is used.
        mirrored: whether the image is mirrored.

    Returns:
        Coverage, side, canonical coordinates, heading, keypoints and their sides, each as the
        attribute of that name in `Examples`.

    Raises:
        HomologError: the image's coordinates cannot be read.
    """
    coordinates, instance = renders.coordinates(index)
    height, width = instance.shape
    sign = -1.0 if mirrored else 1.0
    backbone = matcher.backbone
    pose = FLIP if mirrored else IDENTITY
    transform = canvas_transform(backbone, width, height, pose)
    offsets = (np.arange(_SUPERSAMPLE) + 0.5) / _SUPERSAMPLE - 0.5
    inner = np.stack(np.meshgrid(offsets, offsets), axis=-1).reshape(-1, 2)
    points = transform.to_points((transform.grid.cells[:, None] + inner).reshape(-1, 2))
    x, y = np.clip(points.astype(int), 0, (width - 1, height - 1)).T
    on_object = (instance[y, x] > 0).reshape(-1, _SUPERSAMPLE**2)
    count = np.maximum(on_object.sum(1), 1)
    xyz = coordinates[y, x].reshape(*on_object.shape, 3)
    xyz = np.where(on_object[..., None], xyz, 0).astype(float)
    side = sign * np.clip(xyz[..., 0] / _MIDPLANE_MARGIN, -1, 1).sum(1) / count
    xyz[..., 0] = np.abs(xyz[..., 0])
    headings = np.zeros((int(instance.max()) + 1, 3))
    for annotation in renders.objects[index]:
        if annotation["instance"] < len(headings):
            headings[annotation["instance"]] = np.array(annotation["facing"]) * (sign, 1, 1)
    foremost = np.where(on_object, instance[y, x].reshape(on_object.shape), 0).max(1)
    keypoints, keypoint_sides = _keypoints(renders, index, transform, sign)
    grid = transform.grid.shape
    return (
        on_object.mean(1).reshape(grid).astype(np.float16),
        side.reshape(grid).astype(np.float16),
        (xyz.sum(1) / count[:, None]).reshape(*grid, 3).astype(np.float16),
        headings[foremost].reshape(*grid, 3).astype(np.float16),
        keypoints,
        keypoint_sides,
    )


def _keypoints(
    renders: RenderedDataset, index: int, transform: CanvasTransform, sign: float
) -> tuple[Float[np.ndarray, "P 2"], Float[np.ndarray, "P"]]:
    """Visible keypoints with a side in cells, of the largest objects first; padded with zeros."""
    cells = np.zeros((_MAX_KEYPOINTS, 2), np.float32)
    sides = np.zeros(_MAX_KEYPOINTS, np.float32)
    by_area = sorted(renders.objects[index], key=lambda annotation: -annotation["area"])
    keypoints = [renders.keypoints(annotation) for annotation in by_area]
    usable = [(points[:, 2] == 2) & (renders.keypoint_sides != 0) for points in keypoints]
    if keypoints:
        points = np.concatenate([p[u, :2] for p, u in zip(keypoints, usable, strict=True)])
        point_sides = np.concatenate([renders.keypoint_sides[u] for u in usable])
        count = min(len(points), _MAX_KEYPOINTS)
        cells[:count] = transform.to_cells(points[:count])
        sides[:count] = sign * point_sides[:count]
    return cells, sides
