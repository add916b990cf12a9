"""The batch sampler: which images are trained on together, and how much each pair of them weighs.

The published loop draws one pair of images at a time. Here images are drawn, and all pairs among
them are trained on, so that each image goes through the network once for many pairs. The pairs are
weighted so that the expected gradient is that of drawing single pairs.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from homolog.data import Annotation, DataSet
from homolog.errors import HomologError
from homolog.training.augmentation import FLIPPED, UNCHANGED, Augmentation, RandomAffineView
from homolog.training.recipes import PoseVariants, TrainingConfig, ViewsConfig


@dataclass(frozen=True, eq=False)
class Batch:
    """A group of B augmented images of one category, and the weights of the pairs among them.

    Attributes:
        category: of all images.
        images: annotated images, each with its augmentation; flipped variants come last.
        sparse_weights_BB: of each ordered pair, source by target, in the contrastive loss.
        dense_weights_BB: the same for the dense loss.
        seed: of everything else that is drawn at random for this batch.
        step: the optimizer step that it is for, from 0.
    """

    category: str
    images: Sequence[tuple[Annotation, Augmentation]]
    sparse_weights_BB: Float[np.ndarray, "B B"]
    dense_weights_BB: Float[np.ndarray, "B B"]
    seed: int
    step: int


@dataclass(frozen=True)
class _Category:
    """The N images of a category, and how often each ordered pair of them is listed."""

    name: str
    annotations: list[Annotation]
    pair_counts_NN: Float[np.ndarray, "N N"]

    @cached_property  # used at every step
    def num_pairs(self) -> int:
        return int(self.pair_counts_NN.sum())

    def expected_pairs(self, images: int) -> float:
        """The expected number of listed pairs among so many images drawn at random."""
        total = len(self.annotations)
        count = min(images, total)
        return self.num_pairs * count * (count - 1) / (total * (total - 1))


class BatchSampler:
    """Draws batches; the same batch for the same seed, step and index.

    Args:
        data: the pairs to train on.
        config: of the run.

    Raises:
        HomologError: no pair has a keypoint that is visible in both images, or images are to be
            flipped and nothing says which of their keypoints are left and right.
    """

    def __init__(self, data: DataSet, config: TrainingConfig):
        self.config = config
        self.categories = _categories(data)
        self.num_pairs = sum(category.num_pairs for category in self.categories)
        if self.num_pairs == 0:
            raise HomologError(
                f"{data.root}: expected two images of {data.name} with a keypoint in common, "
                "got none"
            )
        self._probabilities = np.array(
            [category.num_pairs / self.num_pairs for category in self.categories]
        )
        for category in self.categories:
            if config.flips and not data.schemas[category.name].sides_known:
                raise HomologError(
                    f"{data.root}: expected keypoints of {category.name!r} that are known to be "
                    "left or right, since images are flipped, got none; try "
                    "DataSet.with_sides, flip_indices in the category, or a recipe without flips"
                )

    @property
    def pairs_per_batch(self) -> float:
        """The expected number of pairs in a batch."""
        return float(
            sum(
                probability * category.expected_pairs(self.config.images_per_group)
                for probability, category in zip(self._probabilities, self.categories, strict=True)
            )
        )

    def draw(self, step: int, index: int) -> Batch:
        """Draw a batch.

        Args:
            step: the optimizer step it is for, from 0.
            index: its number among the batches of that step, over all processes.
        """
        config = self.config
        rng = np.random.default_rng([config.seed, step, index])
        category = self.categories[rng.choice(len(self.categories), p=self._probabilities)]
        count = min(config.images_per_group, len(category.annotations))
        chosen = rng.choice(len(category.annotations), count, replace=False)
        # A pair of this category is drawn with probability n (n - 1) / N (N - 1).
        weights = category.pair_counts_NN[np.ix_(chosen, chosen)] / category.expected_pairs(count)
        annotations = [category.annotations[row] for row in chosen]
        images = [(annotation, self._augmentation(annotation, rng)) for annotation in annotations]
        sparse = dense = weights
        if config.variants is not None:
            images += [(annotation, FLIPPED) for annotation in annotations]
            sparse, dense = _weights_of_variants(weights, config.variants)
        seed = int(rng.integers(2**62))
        return Batch(category.name, images, sparse, dense, seed, step)

    def _augmentation(self, annotation: Annotation, rng: np.random.Generator) -> Augmentation:
        views = self.config.views
        if views is None:
            return UNCHANGED
        return random_view(annotation, int(rng.integers(views.count)), views, self.config.seed)


def random_view(
    annotation: Annotation, index: int, config: ViewsConfig, seed: int
) -> RandomAffineView:
    """One of the random views of an image; the same one for the same seed and index.

    Args:
        annotation: of the image.
        index: of the view, from 0.
        config: limits of the views.
        seed: of the run.
    """
    name = zlib.crc32(annotation.name.encode(errors="surrogateescape"))
    return RandomAffineView.draw(config, np.random.default_rng([seed, name, index]))


def _categories(data: DataSet) -> list[_Category]:
    """The categories of a data set with the pairs that have a keypoint in common."""
    members: dict[str, dict[Annotation, int]] = {}
    listed: dict[str, list[tuple[int, int]]] = {}
    for pair in data.pairs:
        if len(pair.keypoint_ids) == 0 or pair.source.category != pair.target.category:
            continue
        rows = members.setdefault(pair.category, {})
        source, target = (
            rows.setdefault(annotation, len(rows)) for annotation in (pair.source, pair.target)
        )
        listed.setdefault(pair.category, []).append((source, target))
    categories = []
    for name in sorted(members):
        counts = np.zeros((len(members[name]),) * 2)
        np.add.at(counts, tuple(np.array(listed[name]).T), 1)
        categories.append(_Category(name, list(members[name]), counts))
    return categories


def _weights_of_variants(
    weights_NN: Float[np.ndarray, "N N"], variants: PoseVariants
) -> tuple[Float[np.ndarray, "B B"], Float[np.ndarray, "B B"]]:
    """Sparse and dense weights of N images followed by their mirror images."""
    zeros = np.zeros_like(weights_NN)
    own = np.diag(weights_NN.sum(axis=1))
    sparse = np.block([[weights_NN, zeros], [zeros, zeros]])
    flipped = variants.self_pair * own + variants.single * weights_NN
    dense = np.block([[weights_NN, zeros], [flipped, variants.double * weights_NN]])
    total = 1 + variants.double + variants.single + variants.self_pair
    return sparse / total, dense / total
