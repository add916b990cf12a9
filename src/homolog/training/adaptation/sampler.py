"""The batch sampler: images drawn together, and the pseudo-labels of all pairs among them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from homolog.training.adaptation.config import HeadConfig
from homolog.training.adaptation.store import ImageStore, ViewKey
from homolog.training.augmentation import UNCHANGED, Augmentation

_FIXED_SHARE = 0.25


@dataclass(frozen=True, eq=False)
class Labels:
    """Matches of one pair of images that the head is trained on, at least one.

    Attributes:
        source: index of the source image.
        target: index of the target image.
        source_cells: (x, y) in cells of the source, unchanged.
        target_cells: (x, y) in cells of the target, unchanged.
        fixed: whether they are known, for both ends are labelled keypoints.
    """

    source: int
    target: int
    source_cells: Float[np.ndarray, "M 2"]
    target_cells: Float[np.ndarray, "M 2"]
    fixed: bool = False

    def reversed(self) -> Labels:
        """The same matches the other way."""
        return Labels(self.target, self.source, self.target_cells, self.source_cells, self.fixed)

    def joined(self, other: Labels) -> Labels:
        """These matches and others of the same ordered pair and kind."""
        return Labels(
            self.source, self.target,
            np.concatenate([self.source_cells, other.source_cells]),
            np.concatenate([self.target_cells, other.target_cells]), self.fixed,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Batch:
    """B images in views, and P matches among them.

    Attributes:
        views: the images with their views; all are mirrored or none, so that left stays left.
        source_P: the row of each match's source in `views`.
        target_P: the row of its target.
        source_cells_P2: (x, y) in cells of the source's view.
        target_cells_P2: (x, y) in cells of the target's view.
        weights_P: every ordered pair of images has the same total weight, but for known matches,
            which have a quarter of all together.
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
    images of a batch, the more is learned from each that goes through the network. Where there are
    known matches, a pair of these is drawn, too: few as they are, they are in every batch.

    Args:
        labels: the matches of each pair; a pair may be there several times, and both ways.
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
        known = np.array([pair.fixed for pair in self.labels], dtype=bool)
        self._kinds = [rows for rows in map(np.flatnonzero, (known, ~known)) if len(rows)]
        # All matches of two images of one kind, the one with the lower index as the source.
        self._pairs: dict[tuple[int, int, bool], Labels] = {}
        self._partners: dict[int, list[int]] = {}
        for pair in self.labels:
            self._partners.setdefault(pair.source, []).append(pair.target)
            self._partners.setdefault(pair.target, []).append(pair.source)
            ordered = pair if pair.source < pair.target else pair.reversed()
            key = ordered.source, ordered.target, ordered.fixed
            joined = self._pairs[key].joined(ordered) if key in self._pairs else ordered
            self._pairs[key] = joined

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
        parts = self._matches(views, rng)
        if not parts:  # all lie beyond these views
            views = [(image, UNCHANGED) for image in images]
            parts = self._matches(views, rng)
        source, target, cells0, cells1, fixed = zip(*parts, strict=True)
        counts = np.array([len(cells) for cells in cells0])
        weights = np.repeat(_part_weights(np.array(fixed)) / counts, counts)
        return Batch(
            views,
            torch.from_numpy(np.repeat(source, counts)),
            torch.from_numpy(np.repeat(target, counts)),
            torch.from_numpy(np.concatenate(cells0)).float(),
            torch.from_numpy(np.concatenate(cells1)).float(),
            torch.from_numpy(weights).float(),
            int(rng.integers(2**62)),
        )

    def _draw_images(self, rng: np.random.Generator) -> list[int]:
        drawn = [self.labels[kind[int(rng.integers(len(kind)))]] for kind in self._kinds]
        images = list(dict.fromkeys(i for pair in drawn for i in (pair.source, pair.target)))
        for _ in range(4 * self.config.images):
            if len(images) >= self.config.images:
                break
            partners = self._partners[images[int(rng.integers(len(images)))]]
            found = partners[int(rng.integers(len(partners)))]
            if found not in images:
                images.append(found)
        return images

    def _matches(
        self, views: Sequence[ViewKey], rng: np.random.Generator
    ) -> list[tuple[int, int, np.ndarray, np.ndarray, bool]]:
        """Some of each pair's matches in the views of a batch, forwards and backwards."""
        parts = []
        for source, target in itertools.permutations(range(len(views)), 2):
            for fixed in (False, True):
                pair = self._pairs.get((views[source][0], views[target][0], fixed))
                if pair is None:
                    continue
                chosen = rng.permutation(len(pair.source_cells))[: self.config.matches]
                cells0, cells1 = (
                    self.store.to_view(views[row][0], cells[chosen], views[row][1])
                    for row, cells in ((source, pair.source_cells), (target, pair.target_cells))
                )
                seen = np.isfinite(cells0).all(1) & np.isfinite(cells1).all(1)
                if seen.any():
                    parts.append((source, target, cells0[seen], cells1[seen], fixed))
                    parts.append((target, source, cells1[seen], cells0[seen], fixed))
        return parts


def _part_weights(fixed: Bool[np.ndarray, "N"]) -> Float[np.ndarray, "N"]:
    """The total weight of each pair's matches one way; known ones have their share of all."""
    known = int(fixed.sum())
    others = len(fixed) - known
    share = _FIXED_SHARE if known and others else float(bool(known))
    return np.where(fixed, share / max(1, known), (1 - share) / max(1, others))
