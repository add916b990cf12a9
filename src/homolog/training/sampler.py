"""Which pictures are learnt from together, with what weights, and what the network is given.

The published loop draws a pair of pictures at a time. Here pictures are drawn, and all pairs among
them are learnt from; each pair is weighted so that the gradient is, in the mean, that of drawing
pairs.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from homolog.data import Annotation, DataSet
from homolog.errors import HomologError
from homolog.extractor import DescriptorExtractor
from homolog.image import reading
from homolog.image.geometry import IDENTITY, CanvasTransform
from homolog.keypoints import KeypointSchema
from homolog.training.augmentation import AS_IT_IS, FLIPPED, Augmentation, RandomAffineView
from homolog.training.recipes import PoseVariants, TrainingConfig, ViewsConfig
from homolog.utils.lru_cache import LRUCache

MEMORY = 4_000_000_000
"""What the network is given, kept in memory, in bytes."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Some pictures of one category, and the pairs among them.

    Attributes:
        category: of all of them.
        pictures: each with the way it is shown; flipped variants after all others.
        sparse_weights_BB: of each ordered pair, source by target, for the contrastive loss.
        dense_weights_BB: the same for the dense loss.
        seed: of what else is drawn at random.
    """

    category: str
    pictures: Sequence[tuple[Annotation, Augmentation]]
    sparse_weights_BB: Float[np.ndarray, "B B"]
    dense_weights_BB: Float[np.ndarray, "B B"]
    seed: int


@dataclass(frozen=True)
class _Category:
    name: str
    annotations: list[Annotation]
    listed_NN: Float[np.ndarray, "N N"]

    @cached_property  # asked for at every step
    def pairs(self) -> int:
        return int(self.listed_NN.sum())


class BatchSampler:
    """Draws groups; the same for the same seed, step and number.

    Args:
        data: the pairs to learn from.
        config: of the run.

    Raises:
        HomologError: there is no pair with a keypoint that both pictures show, or pictures are to
            be flipped whose keypoints do not say which are left and right.
    """

    def __init__(self, data: DataSet, config: TrainingConfig):
        self.config = config
        self.categories = _categories(data)
        total = sum(category.pairs for category in self.categories)
        if total == 0:
            raise HomologError(
                f"{data.root}: no two pictures of {data.name} show a keypoint in common"
            )
        self.pairs = total
        self._chances = np.array([category.pairs / total for category in self.categories])
        flips = config.variants is not None or (config.views is not None and config.views.flip)
        for category in self.categories:
            if flips and not data.schemas[category.name].sides_known:
                raise HomologError(
                    f"{data.root}: nothing says which keypoints of {category.name!r} are left and "
                    "which right, so pictures cannot be flipped; give the category flip_indices, "
                    "or train without flips"
                )

    @property
    def pairs_at_once(self) -> float:
        """Pairs in a group, in the mean."""
        return float(
            sum(
                chance * _expected_pairs(category, self.config.pictures)
                for chance, category in zip(self._chances, self.categories, strict=True)
            )
        )

    def draw(self, step: int, number: int) -> Batch:
        """The group of that number in a step."""
        config = self.config
        rng = np.random.default_rng([config.seed, step, number])
        category = self.categories[rng.choice(len(self.categories), p=self._chances)]
        count = min(config.pictures, len(category.annotations))
        chosen = rng.choice(len(category.annotations), count, replace=False)
        # A pair of this category is in the group with chance n (n - 1) / N (N - 1).
        weights = category.listed_NN[np.ix_(chosen, chosen)] / _expected_pairs(category, count)
        annotations = [category.annotations[index] for index in chosen]
        showings = [self._show(annotation, rng) for annotation in annotations]
        pictures: list[tuple[Annotation, Augmentation]] = list(
            zip(annotations, showings, strict=True)
        )
        sparse = dense = weights
        if config.variants is not None:
            pictures += [(annotation, FLIPPED) for annotation in annotations]
            sparse, dense = _with_variants(weights, config.variants)
        seed = int(rng.integers(2**62))
        return Batch(category.name, pictures, sparse, dense, seed)

    def _show(self, annotation: Annotation, rng: np.random.Generator) -> Augmentation:
        views = self.config.views
        if views is None:
            return AS_IT_IS
        return random_augmentation(
            annotation, int(rng.integers(views.count)), views, self.config.seed
        )


def random_augmentation(
    annotation: Annotation, number: int, views: ViewsConfig, seed: int
) -> RandomAffineView:
    """The random view of a picture that has that number."""
    name = zlib.crc32(annotation.name.encode())
    return RandomAffineView.draw(views, np.random.default_rng([seed, name, number]))


def _categories(data: DataSet) -> list[_Category]:
    """The categories, and which of their pictures are paired."""
    members: dict[str, dict[Annotation, int]] = {}
    listed: dict[str, list[tuple[int, int]]] = {}
    for pair in data.pairs:
        if len(pair.keypoint_ids) == 0 or pair.source.category != pair.target.category:
            continue
        known = members.setdefault(pair.category, {})
        at = [known.setdefault(side, len(known)) for side in (pair.source, pair.target)]
        listed.setdefault(pair.category, []).append((at[0], at[1]))
    categories = []
    for name in sorted(members):
        matrix = np.zeros((len(members[name]),) * 2)
        np.add.at(matrix, tuple(np.array(listed[name]).T), 1)
        categories.append(_Category(name, list(members[name]), matrix))
    return categories


def _expected_pairs(category: _Category, pictures: int) -> float:
    """Listed pairs among that many of its pictures, in the mean."""
    total = len(category.annotations)
    count = min(pictures, total)
    return category.pairs * count * (count - 1) / (total * (total - 1))


def _with_variants(
    weights_NN: Float[np.ndarray, "N N"], variants: PoseVariants
) -> tuple[Float[np.ndarray, "B B"], Float[np.ndarray, "B B"]]:
    """Sparse and dense weights of pictures and, after them, their mirror images."""
    nothing = np.zeros_like(weights_NN)
    own = np.diag(weights_NN.sum(axis=1))
    sparse = np.block([[weights_NN, nothing], [nothing, nothing]])
    flipped = variants.self_pair * own + variants.single * weights_NN
    dense = np.block([[weights_NN, nothing], [flipped, variants.double * weights_NN]])
    total = 1 + variants.double + variants.single + variants.self_pair
    return sparse / total, dense / total


@dataclass(frozen=True, eq=False)
class Sample:
    """A picture as the network is given it.

    Attributes:
        features_HWC: half precision.
        cells_K2: (x, y) of its keypoints in cells, NaN where they are not visible.
        side: the longer side of the thing's box, in cells.
    """

    features_HWC: Float[Tensor, "H W C"]
    cells_K2: Float[Tensor, "K 2"]
    side: float


class SampleLoader:
    """Makes what the network is given of pictures; those last used are kept in memory.

    Args:
        extractor: makes feature maps, and of these the network's inputs.
        schemas: by category, for flips.
        reduce: applied to what the network is given, before it is kept.
        raw: give canvases (0 to 255) in place of features, for a backbone that is trained, too.
        max_pixels: refuse picture files with more pixels than this.
    """

    def __init__(
        self,
        extractor: DescriptorExtractor,
        schemas: Mapping[str, KeypointSchema],
        max_pixels: int,
        reduce: Callable[[Tensor], Tensor] = lambda features: features,
        raw: bool = False,
    ):
        self.raw = raw
        self.extractor = extractor
        self.schemas = schemas
        self.max_pixels = max_pixels
        self.reduce = reduce
        self._kept: LRUCache[tuple[Annotation, Augmentation], Sample] = LRUCache(
            MEMORY, lambda shown: shown.features_HWC.nbytes
        )

    def __call__(self, annotation: Annotation, showing: Augmentation) -> Sample:
        """A picture, shown that way.

        Raises:
            HomologError: it cannot be read.
        """
        key = annotation, showing
        return self._kept.get(key, lambda: self._show(annotation, showing))

    @torch.no_grad()
    def _show(self, annotation: Annotation, showing: Augmentation) -> Sample:
        backbone = self.extractor.backbone
        picture = reading.read(
            annotation.path,
            side=backbone.side,
            max_pixels=self.max_pixels,
            name=str(annotation.path),
        )
        view = CanvasTransform(
            picture.width, picture.height, IDENTITY, backbone.side, backbone.grid
        )
        canvas = torch.from_numpy(np.array(showing.canvas(picture.image, view)))
        if self.raw:
            given = canvas[None]  # half precision holds 0 to 255 as they are
        else:
            maps = next(self.extractor.feature_maps([canvas], annotation.category))
            content = torch.from_numpy(showing.content(view)).to(backbone.device)
            given = self.extractor.network_inputs(maps, content[None])
        keypoints = showing.cells(annotation.keypoints, view)
        if showing.mirrored:  # the left paw is now where the right paw would be
            keypoints = keypoints[list(self.schemas[annotation.category].mirror)]
        scale = showing.scale * view.letterbox.scale / backbone.grid.stride
        return Sample(
            self.reduce(given)[0].half().cpu(),
            torch.from_numpy(keypoints).float(),
            annotation.reference_length("box") * scale,
        )
