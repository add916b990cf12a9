"""Images of the objects that most of a folder shows, chosen by their descriptors."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from homolog.descriptors import DescriptorMap
from homolog.matching import mutual_nearest_neighbours
from homolog.networks.sides import SidesConfig, presence
from homolog.training.adaptation.images import LeftOut
from homolog.training.adaptation.teacher import Teacher
from homolog.utils.progress import ProgressBar

_CELLS = 64  # of each object that are compared
_SPREAD = 1e-2  # of descriptors that say something
_NEIGHBOURS = 12  # images that each is compared with
_NEAREST = 3  # of these that an image must be like
# Score of an image, as a share of what is usual around it, below which it is of another kind: in
# general, and for one in which a side head finds nothing although it does in those around it.
_KINSHIP, _UNRECOGNISED_KINSHIP = 0.72, 0.85
_ABSENT, _PRESENT = 0.2, 0.8  # presences of the one and the others
_CHUNK = 512  # rows of a similarity held at a time


@dataclass(frozen=True, eq=False)
class ChosenImages:
    """Which images show objects like those of others.

    Attributes:
        indices: of the images, in order.
        left_out: the others.
        scores: for each image the mean similarity of its object to the three most similar ones;
            NaN where no object is found.
    """

    indices: tuple[int, ...]
    left_out: tuple[LeftOut, ...]
    scores: Float[np.ndarray, "N"]


def choosing_teacher(teacher: Teacher) -> Teacher:
    """The teacher whose descriptors `choose_objects` takes, with the same images and masks.

    They are zero-shot ones: what a side head adds would set objects apart that face another way,
    and learned ones are as good as the images that they were learned from. What the side head
    predicts is there all the same.
    """
    sides = teacher.config.sides
    if sides is not None:
        sides = dataclasses.replace(sides, side_weight=0.0, coordinate_weight=0.0)
    config = dataclasses.replace(teacher.config, post_processor=None, sides=sides)
    return Teacher(teacher.store, config, None, teacher.side_head, teacher.mask_paths)


@torch.no_grad()
def choose_objects(
    files: Sequence[Path],
    descriptor_map: Callable[[int], DescriptorMap],
    same_category_threshold: float | None = None,
    sides: SidesConfig | None = None,
) -> ChosenImages:
    """Leave out images in which no object is found, and those that are like no others.

    The score of two images is the mean cosine similarity of mutual nearest neighbours among 64
    cells of each object. An image's own is the mean of its three best, with the twelve images whose
    mean descriptors are nearest; it is of another kind if that is less than 0.72 of what is usual
    among these twelve, or less than 0.85 if a side head recognises these and not the image. So it
    is compared with images around it only, as the local outlier factor does (Breunig et al., 2000):
    a folder may have several kinds of objects, some of which are more alike than others, if each
    has four images or more. The mean of all images' descriptors is taken off them, for those of
    some backbones share a large part.

    Memory grows by 64 descriptors of half precision an image.

    Args:
        files: the images.
        descriptor_map: gives the descriptors of an image by its index, with the object's cells as
            salient ones (`choosing_teacher`).
        same_category_threshold: an image with such a score is never of another kind; None if the
            matcher has no such threshold.
        sides: of the side head that made the maps of sides; None without one.
    """
    objects: dict[int, _Object] = {}
    left_out = []
    total: Tensor | float = 0.0
    with ProgressBar(len(files)) as progress:
        for index, path in enumerate(files):
            progress.update("looking for objects", index)
            found = descriptor_map(index)
            cells = found.descriptors_HWC[found.valid_HW]
            mean = cells.mean(0)
            if (cells - mean).norm(dim=1).max() < _SPREAD or not _shown(found).any():
                left_out.append(LeftOut.without_object(path, "nothing in it stands out"))
                continue
            total = total + mean.cpu()
            objects[index] = _Object.of(found, sides)
    scores = np.full(len(files), np.nan)
    known = list(objects)
    strange = []
    if len(known) > 1:
        centre = total / len(known)
        assert isinstance(centre, Tensor)
        neighbours = _neighbours(list(objects.values()), centre)
        scores[known] = _scores(list(objects.values()), neighbours, centre)
        enough = np.inf if same_category_threshold is None else same_category_threshold
        for index, others in zip(known, np.array(known)[neighbours], strict=True):
            usual = float(np.median(scores[others]))
            around = np.median([objects[other].presence for other in others])
            lost = objects[index].presence < _ABSENT and around > _PRESENT
            if scores[index] < min((_UNRECOGNISED_KINSHIP if lost else _KINSHIP) * usual, enough):
                strange.append(index)
                left_out.append(LeftOut.of_another_kind(files[index], scores[index], usual))
    return ChosenImages(tuple(sorted({*known} - {*strange})), tuple(left_out), scores)


@dataclass(frozen=True, eq=False)
class _Object:
    """What an object is compared by.

    Attributes:
        mean_C: its mean descriptor, weighted by saliency.
        cells_NC: some of its descriptors, evenly spread, of half precision.
        presence: probability that it is of a kind that the side head knows; NaN without one.
    """

    mean_C: Float[Tensor, "_C"]
    cells_NC: Float[Tensor, "_N _C"]
    presence: float

    @classmethod
    def of(cls, found: DescriptorMap, sides: SidesConfig | None) -> _Object:
        """The object that an image shows."""
        weight = found.saliency_HW * found.valid_HW
        mean = (weight[..., None] * found.descriptors_HWC).sum((0, 1)) / weight.sum()
        shown = _shown(found).nonzero()
        some = torch.linspace(0, len(shown) - 1, min(_CELLS, len(shown))).round().long()
        cells = found.descriptors_HWC[shown[some.to(shown.device)].unbind(1)]
        known = np.nan
        if found.sides is not None and sides is not None:
            known = float(presence(found.sides.objectness, sides))
        return cls(mean.cpu(), cells.half().cpu(), known)

    def off(self, centre_C: Float[Tensor, "_C"]) -> Float[Tensor, "_N _C"]:
        """Its cells without what all descriptors share, of unit length."""
        return F.normalize(self.cells_NC.float() - centre_C, dim=1)


def _shown(found: DescriptorMap) -> Bool[Tensor, "H W"]:
    return (found.saliency_HW > 0) & found.valid_HW


def _neighbours(
    objects: Sequence[_Object], centre_C: Float[Tensor, "_C"]
) -> Int[np.ndarray, "N _K"]:
    """For each object those whose mean descriptors are nearest.

    Args:
        objects: at least two.
        centre_C: what all descriptors share.
    """
    means = F.normalize(torch.stack([each.mean_C for each in objects]) - centre_C, dim=1)
    count = min(_NEIGHBOURS, len(objects) - 1)
    found = []
    for start in range(0, len(means), _CHUNK):
        similarity = means[start : start + _CHUNK] @ means.T
        rows = torch.arange(len(similarity))
        similarity[rows, rows + start] = -torch.inf
        found.append(similarity.topk(count).indices)
    return torch.cat(found).numpy()


def _scores(
    objects: Sequence[_Object], neighbours: Int[np.ndarray, "N _K"], centre_C: Float[Tensor, "_C"]
) -> Float[np.ndarray, "N"]:
    """How similar each object is to the most similar ones.

    Args:
        objects: at least two.
        neighbours: those that each is compared with.
        centre_C: what all descriptors share.
    """
    scores: list[dict[int, float]] = [{} for _ in objects]
    with ProgressBar(len(objects)) as progress:
        for index, others in enumerate(neighbours.tolist()):
            progress.update("comparing objects", index)
            own = objects[index].off(centre_C)
            for other in others:
                if other not in scores[index]:
                    cells = objects[other].off(centre_C)
                    index0, index1 = mutual_nearest_neighbours(own, cells)
                    score = float((own[index0] * cells[index1]).sum(1).mean())
                    scores[index][other] = scores[other][index] = score
    return np.array([np.mean(sorted(each.values())[-_NEAREST:]) for each in scores])
