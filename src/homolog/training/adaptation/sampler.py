"""The batch sampler: images drawn together, and the pseudo-labels of all pairs among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from homolog.training.adaptation.config import HeadConfig
from homolog.training.adaptation.store import ImageStore, ViewKey
from homolog.training.augmentation import Augmentation


@dataclass(frozen=True, eq=False)
class Labels:
    """Matches of one ordered pair of images that the head is trained on.

    Attributes:
        source: index of the source image.
        target: index of the target image.
        source_cells: (x, y) in cells of the source, unchanged.
        target_cells: (x, y) in cells of the target, unchanged.
    """

    source: int
    target: int
    source_cells: Float[np.ndarray, "M 2"]
    target_cells: Float[np.ndarray, "M 2"]


@dataclass(frozen=True, eq=False)
class Batch:
    """B images in views, and P matches among them.

    Attributes:
        views: the images with their views; all are mirrored or none, so that left stays left.
        source_P: the row of each match's source in `views`.
        target_P: the row of its target.
        source_cells_P2: (x, y) in cells of the source's view.
        target_cells_P2: (x, y) in cells of the target's view.
        weights_P: every ordered pair of images has the same total weight.
        seed: of everything else that is drawn at random for this batch.
    """

    views: Sequence[ViewKey]
    source_P: Int[Tensor, "P"]
    target_P: Int[Tensor, "P"]
    source_cells_P2: Float[Tensor, "P 2"]
    target_cells_P2: Float[Tensor, "P 2"]
    weights_P: Float[Tensor, "P"]
    seed: int


class BatchSampler:
    """Draws batches; the same batch for the same seed, step and index.

    A pair is drawn, then images that are paired with those drawn so far: the more pairs among the
    images of a batch, the more is learned from each that goes through the network.

    Args:
        labels: the matches of each pair.
        store: has the images.
        views: that every image is shown in.
        config: of the training.
        seed: of the run.
    """

    def __init__(
        self,
        labels: Sequence[Labels],
        store: ImageStore,
        views: Sequence[Augmentation],
        config: HeadConfig,
        seed: int,
    ):
        self.labels = list(labels)
        self.store = store
        self.views = {
            mirrored: [view for view in views if view.mirrored == mirrored]
            for mirrored in (False, True)
        }
        self.config = config
        self.seed = seed
        self._by_pair: dict[tuple[int, int], list[int]] = {}
        self._partners: dict[int, list[int]] = {}
        for row, pair in enumerate(self.labels):
            self._by_pair.setdefault((pair.source, pair.target), []).append(row)
            self._partners.setdefault(pair.source, []).append(pair.target)
            self._partners.setdefault(pair.target, []).append(pair.source)

    def draw(self, step: int, index: int) -> Batch:
        """Draw a batch.

        Args:
            step: the optimizer step it is for, from 0.
            index: its number among the batches of that step, over all processes.
        """
        rng = np.random.default_rng([self.seed, step, index])
        images = self._draw_images(rng)
        mirrored = bool(self.views[True]) and bool(rng.random() < 0.5)
        choice = self.views[mirrored]
        views = [(image, choice[int(rng.integers(len(choice)))]) for image in images]
        rows = {image: row for row, image in enumerate(images)}
        parts: list[tuple[int, int, np.ndarray, np.ndarray]] = []
        for source in images:
            for target in images:
                for label in self._by_pair.get((source, target), ()):
                    parts += self._both_ways(self.labels[label], views, rows, rng)
        counts = [len(part[2]) for part in parts]
        total = max(1, len(parts))
        return Batch(
            views,
            torch.tensor(np.repeat([part[0] for part in parts], counts), dtype=torch.long),
            torch.tensor(np.repeat([part[1] for part in parts], counts), dtype=torch.long),
            torch.from_numpy(np.concatenate([part[2] for part in parts])).float(),
            torch.from_numpy(np.concatenate([part[3] for part in parts])).float(),
            torch.tensor(np.repeat([1 / (count * total) for count in counts], counts)).float(),
            int(rng.integers(2**62)),
        )

    def _draw_images(self, rng: np.random.Generator) -> list[int]:
        first = self.labels[int(rng.integers(len(self.labels)))]
        images = [first.source, first.target]
        for _ in range(4 * self.config.images):
            if len(images) >= self.config.images:
                break
            partners = self._partners[images[int(rng.integers(len(images)))]]
            found = partners[int(rng.integers(len(partners)))]
            if found not in images:
                images.append(found)
        return images

    def _both_ways(
        self,
        label: Labels,
        views: Sequence[ViewKey],
        rows: dict[int, int],
        rng: np.random.Generator,
    ) -> list[tuple[int, int, np.ndarray, np.ndarray]]:
        """Some of a pair's matches in the views of a batch, forwards and backwards."""
        chosen = rng.permutation(len(label.source_cells))[: self.config.matches]
        source, target = rows[label.source], rows[label.target]
        cells = [
            self.store.to_view(image, found[chosen], views[row][1])
            for image, found, row in (
                (label.source, label.source_cells, source),
                (label.target, label.target_cells, target),
            )
        ]
        seen = np.isfinite(cells[0]).all(1) & np.isfinite(cells[1]).all(1)
        if not seen.any():
            return []
        found0, found1 = cells[0][seen], cells[1][seen]
        return [(source, target, found0, found1), (target, source, found1, found0)]
