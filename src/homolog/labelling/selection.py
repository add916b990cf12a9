"""Selection: which images to label first, so that the others are like them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from homolog.data import label_files
from homolog.data.formats.document import ReadOptions
from homolog.data.labels import EXTRA, manual_keypoints
from homolog.descriptors import DescriptorMap
from homolog.labelling.posed_exemplars import evenly_spaced

CELLS = 48
"""Cells of an image that are compared with those of others."""

_NEAR_COPY = 0.9  # similarity of images of which one is enough


@dataclass(frozen=True)
class LabelState:
    """Which images are labelled, and how well the others are predicted, by their resolved paths.

    Attributes:
        manual: the images in which somebody has labelled or reviewed a keypoint.
        scores: of images that are predicted the mean score of their keypoints.
    """

    manual: frozenset[Path]
    scores: Mapping[Path, float]

    @classmethod
    def read(cls, path: Path, folder: Path) -> LabelState:
        """What a file of labels says of the images in a folder.

        Raises:
            HomologError: it cannot be read.
        """
        file = label_files.read(path, ReadOptions(folder))
        manual: set[Path] = set()
        scores: dict[Path, list[float]] = defaultdict(list)
        for entry in file.document["annotations"]:
            image = file.paths.get(entry["image_id"])
            points = entry.get("keypoints") or []
            if image is None:
                continue
            if any(points[3 * keypoint + 2] > 0 for keypoint in manual_keypoints(entry)):
                manual.add(image.resolve())
            given = [s for s in entry.get(EXTRA, {}).get("scores", []) if s is not None]
            scores[image.resolve()] += given
        means = {image: float(np.mean(each)) for image, each in scores.items() if each}
        return cls(frozenset(manual), means)

    def covered(self, files: Sequence[Path]) -> Bool[np.ndarray, "N"]:
        """Which images are labelled."""
        return np.array([path.resolve() in self.manual for path in files], dtype=bool)

    def weights(self, files: Sequence[Path]) -> Float[np.ndarray, "N"]:
        """How much each image counts: those that are predicted with low scores count most."""
        missing = float(np.mean(list(self.scores.values()))) if self.scores else 0.0
        scores = [self.scores.get(path.resolve(), missing) for path in files]
        return np.array([max(1 - score, 0.05) for score in scores])


def object_cells(cells: DescriptorMap) -> Float[Tensor, "_N C"]:
    """Descriptors of some cells of an image, evenly spread over its foreground.

    Args:
        cells: descriptors of the image.
    """
    shown = (cells.saliency_HW > 0).nonzero()
    if not len(shown):
        shown = cells.valid_HW.nonzero()
    return cells.descriptors_HWC[evenly_spaced(shown, CELLS).unbind(1)]


def similarities(images: Sequence[Float[Tensor, "_N C"]]) -> Float[np.ndarray, "N N"]:
    """How similar images are: the mean similarity of their cells to the most similar of the other.

    Args:
        images: descriptors of cells of each image (`object_cells`).
    """
    found = np.zeros((len(images), len(images)))
    sizes, rows = [len(each) for each in images], torch.cat(list(images))
    for index, cells in enumerate(images):
        parts = (cells @ rows.T).split(sizes, dim=1)
        found[index] = [float(part.amax(1).mean()) for part in parts]
    return (found + found.T) / 2


def select(
    similarity_NN: Float[np.ndarray, "N N"],
    count: int,
    covered: Bool[np.ndarray, "N"] | None = None,
    weights: Float[np.ndarray, "N"] | None = None,
) -> list[int]:
    """The images to label: those which, together, all images are most similar to.

    Facility location, solved greedily, which is within 37 % of the best choice (Nemhauser et al.,
    1978). Near copies of images that are labelled or chosen come last.

    Args:
        similarity_NN: how similar the images are (`similarities`).
        count: how many images to choose.
        covered: which images are labelled already, and are not chosen.
        weights: how much each image counts; by default all count the same.

    Returns:
        Their indices, the most useful first.
    """
    size = len(similarity_NN)
    taken = np.zeros(size, dtype=bool) if covered is None else covered.copy()
    weight = np.ones(size) if weights is None else weights
    floor = float(similarity_NN.min()) if size else 0.0
    best = similarity_NN[:, taken].max(axis=1, initial=floor)
    chosen: list[int] = []
    while len(chosen) < count and not taken.all():
        gains = weight @ np.maximum(similarity_NN - best[:, None], 0)
        copies = best > _NEAR_COPY
        candidates = ~taken & ~copies if (~taken & ~copies).any() else ~taken
        index = int(np.where(candidates, gains, -np.inf).argmax())
        chosen.append(index)
        taken[index] = True
        best = np.maximum(best, similarity_NN[:, index])
    return chosen
