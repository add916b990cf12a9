"""Pair proposal: which images are matched with each other."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float

from homolog import matching
from homolog.image.poses import IDENTITY, POSE_SETS
from homolog.training.adaptation.config import MiningConfig
from homolog.training.adaptation.mining import in_best_pose
from homolog.training.adaptation.teacher import Teacher

_TRIES = 4  # candidates for each pair that is wanted
_HEADING_CANDIDATES = 30  # images that face most alike, of which some are drawn


@dataclass(frozen=True, eq=False)
class ImageDescriptors:
    """One descriptor of each of N images, for comparing thousands of them.

    Attributes:
        embeddings: mean descriptor of the object, of unit length.
        headings: of the object; 0 where no side head recognises it.
    """

    embeddings: Float[np.ndarray, "N C"]
    headings: Float[np.ndarray, "N 3"]


@torch.no_grad()
def describe_images(teacher: Teacher, indices: Sequence[int]) -> ImageDescriptors:
    """A descriptor of each image's object.

    Args:
        teacher: has the images' descriptors.
        indices: of the images in its store.
    """
    embeddings, headings = [], []
    for index in indices:
        found = teacher.descriptor_map(index)
        cells = teacher.object_cells(found).float()
        weight = found.saliency_HW * cells
        if not weight.any():  # what the side head knows need not be salient
            weight = cells
        mean = (weight[..., None] * found.descriptors_HWC).sum((0, 1))
        embeddings.append(F.normalize(mean, dim=0).double().cpu().numpy())
        heading = np.zeros(3)
        if found.sides is not None and teacher.recognises(found):
            heading = F.normalize(found.sides.mean_heading(), dim=0).double().cpu().numpy()
        headings.append(heading)
    return ImageDescriptors(np.array(embeddings), np.array(headings))


def propose_pairs(
    images: ImageDescriptors,
    config: MiningConfig,
    rng: np.random.Generator,
    accept: Callable[[int, int], bool] = lambda source, target: True,
) -> list[tuple[int, int]]:
    """Ordered pairs of images: of each image with similar ones, and with some drawn at random.

    Where headings are known, similar ones are drawn from those that face most alike, for these
    show the same side of the object; others are the most similar. In place of pairs that are not
    accepted, others are drawn, so that an image has partners in a folder of several kinds, too.

    Args:
        images: descriptors of the images.
        config: how many pairs.
        rng: draws.
        accept: whether the two images of a pair, by position, show objects of one kind.

    Returns:
        (source, target) by position in `images`, none twice.
    """
    similarity = images.embeddings @ images.embeddings.T
    facing = images.headings @ images.headings.T
    known = np.linalg.norm(images.headings, axis=1) > 0
    count, pairs = len(similarity), dict[tuple[int, int], None]()
    np.fill_diagonal(similarity, -np.inf)
    for source in range(count):
        ranked = np.argsort(-similarity[source], kind="stable")[: count - 1]
        if known[source]:
            candidates = np.flatnonzero(known & (np.arange(count) != source))
            order = np.argsort(-facing[source, candidates], kind="stable")
            candidates = candidates[order][:_HEADING_CANDIDATES]
            alike = rng.permutation(candidates)
        else:
            alike = ranked
        others = rng.permutation(ranked)
        for order, wanted in ((alike, config.neighbours), (others, config.random_pairs)):
            accepted = (t for t in order[: _TRIES * wanted].tolist() if accept(source, t))
            for target in itertools.islice(accepted, wanted):
                pairs[source, target] = None
    return list(pairs)


def propose_chains(
    shares: Mapping[tuple[int, int], float], confident: float
) -> list[tuple[int, int, int]]:
    """Images that lead from the source of a doubtful pair to its target.

    A pair is doubtful if a smaller share of its matches is kept. Of the images that share confident
    pairs with both of its ends, the one is taken whose less confident pair is the most confident.

    Args:
        shares: by (source, target), the share of the matches that is kept.
        confident: from which share on a pair is.

    Returns:
        (source, image between, target), at most one for each doubtful pair.
    """
    links: dict[int, dict[int, float]] = {}
    for (source, target), share in shares.items():
        if share >= confident:
            for one, other in ((source, target), (target, source)):
                known = links.setdefault(one, {})
                known[other] = max(share, known.get(other, 0.0))
    chains = []
    for (source, target), share in shares.items():
        ways = links.get(source, {}).keys() & links.get(target, {}).keys()
        if share < confident and ways:
            best = max(sorted(ways), key=lambda way: min(links[source][way], links[target][way]))
            chains.append((source, best, target))
    return chains


@torch.no_grad()
def pair_score(teacher: Teacher, source: int, target: int) -> float:
    """How similar the objects of two images are (`matching.pair_similarity`).

    Args:
        teacher: has their descriptors.
        source: index of an image in its store.
        target: index of another.
    """
    maps = [teacher.descriptor_map(index) for index in (source, target)]
    return matching.pair_similarity(
        maps[0].descriptors_HWC, maps[1].descriptors_HWC,
        maps[0].matchable_HW, maps[1].matchable_HW,
    )  # fmt: skip


def same_kind(teacher: Teacher, indices: Sequence[int]) -> Callable[[int, int], bool]:
    """Whether two images, by position, show objects of one kind: `accept` of `propose_pairs`.

    Args:
        teacher: of zero-shot descriptors (`choosing_teacher`), for learned ones make objects of two
            kinds alike if these were ever matched; its threshold decides, and without one all are.
        indices: of the images in its store.
    """
    least = teacher.config.same_category_threshold

    def accept(source: int, target: int) -> bool:
        return least is None or pair_score(teacher, indices[source], indices[target]) >= least

    return accept


_UPRIGHT = 0.75  # share of pairs of upright objects in which no other pose fits better


@torch.no_grad()
def vary_in_angle(teacher: Teacher, pairs: Sequence[tuple[int, int]]) -> bool:
    """Whether objects lie at any angle, as those seen from above do.

    It is so if the source of many pairs is more like its target (by instance matching distance)
    after a quarter or half turn.

    Args:
        teacher: has the descriptors, of sources in four rotations.
        pairs: (source, target) of images in its store, at least one; drawn at random from those of
            one kind, for the images most alike, such as frames of one video, also lie alike.
    """
    return upright_share(teacher, pairs) < _UPRIGHT


def upright_share(teacher: Teacher, pairs: Sequence[tuple[int, int]]) -> float:
    """The share of pairs whose source is most like its target as it is, among four rotations.

    Args:
        teacher: as for `vary_in_angle`.
        pairs: likewise.
    """
    upright = 0
    for source, target in pairs:
        goal = teacher.descriptor_map(target)
        found = in_best_pose(teacher, source, goal, POSE_SETS["rotations"])
        upright += found.transform.pose == IDENTITY
    return upright / len(pairs)
