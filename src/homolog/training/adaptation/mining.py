"""Mining: matches of a teacher between unlabelled images, with what tells good ones from bad."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from homolog import matching
from homolog.config import MatcherConfig
from homolog.descriptors import DescriptorMap
from homolog.image.poses import IDENTITY, PoseVariant
from homolog.matching.consensus import Consensus
from homolog.training.adaptation.teacher import Teacher, at_cells, object_size


@dataclass(frozen=True, eq=False)
class PseudoMatches:
    """M matches of an object in one image with an object in another, and what speaks for each.

    Attributes:
        source: index of the source image.
        target: index of the target image.
        source_cells: (x, y) in cells of the source, unchanged.
        target_cells: (x, y) in cells of the target, unchanged.
        on_object: 1 where the match lies on the target's object, else 0.
        cycle_errors: how far from its source point the way back ends, in sizes of the object.
        coordinate_distances: between the canonical coordinates of both ends; 0 where no side head
            recognises both objects.
        side_agreement: product of the sides of both ends, -1 to 1; 1 where none does.
        affine_residuals: distance from where the affine map of the matches around it leads, in
            sizes of the target's object.
    """

    source: int
    target: int
    source_cells: Float[np.ndarray, "M 2"]
    target_cells: Float[np.ndarray, "M 2"]
    on_object: Float[np.ndarray, "M"]
    cycle_errors: Float[np.ndarray, "M"]
    coordinate_distances: Float[np.ndarray, "M"]
    side_agreement: Float[np.ndarray, "M"]
    affine_residuals: Float[np.ndarray, "M"]

    def __len__(self) -> int:
        return len(self.source_cells)


class PointMatcher:
    """Matches points of one image in another as `ImagePair` does, in cells.

    Args:
        source: descriptors of the source.
        target: descriptors of the target.
        config: how to match.
    """

    def __init__(self, source: DescriptorMap, target: DescriptorMap, config: MatcherConfig):
        self.source, self.target, self.config = source, target, config
        self.consensus = None
        if config.consensus is not None:
            self.consensus = Consensus(
                source.descriptors_HWC, target.descriptors_HWC,
                source.saliency_HW, target.saliency_HW,
                source.matchable_HW, target.matchable_HW, config.consensus,
            )  # fmt: skip

    def __call__(self, cells_K2: Float[Tensor, "K 2"]) -> Float[Tensor, "K 2"]:
        """The matches (x, y), in cells of the target.

        Args:
            cells_K2: (x, y) in cells of the source.
        """
        if self.consensus is not None:
            similarity = self.consensus.similarity(cells_K2)
        else:
            queries = matching.sample_descriptors(self.source.descriptors_HWC, cells_K2)
            similarity = matching.similarity(
                queries, self.target.descriptors_HWC, self.target.matchable_HW
            )
        return self.config.locate(similarity)


@torch.no_grad()
def mine_pair(
    teacher: Teacher,
    source: int,
    target: int,
    queries: int,
    poses: Sequence[PoseVariant],
    rng: np.random.Generator,
    through: int | None = None,
) -> PseudoMatches:
    """Match points of one image's object in another image, and follow each match back.

    Args:
        teacher: matches.
        source: index of the source image.
        target: index of the target image.
        queries: points of the object that are matched, at most; drawn at random.
        poses: of the source; with several, the one with the least instance matching distance.
        rng: draws the points.
        through: index of an image between the two: points are matched there first, and from there
            in the target.
    """
    goal = teacher.descriptor_map(target)
    stations = [goal] if through is None else [teacher.descriptor_map(through), goal]
    start = in_best_pose(teacher, source, stations[0], poses)
    on_source, on_target = teacher.object_cells(start), teacher.object_cells(goal)
    rows, columns = on_source.nonzero().unbind(1)
    order = torch.from_numpy(rng.permutation(len(rows))[:queries])
    cells = torch.stack([columns, rows], dim=1)[order].to(start.descriptors_HWC)

    path = [start, *stations]
    found = cells
    for here, there in itertools.pairwise(path):
        found = PointMatcher(here, there, teacher.config)(found)
    back = found
    for here, there in itertools.pairwise(path[::-1]):
        back = PointMatcher(here, there, teacher.config)(back)

    cycle = torch.linalg.vector_norm(back - cells, dim=1) / object_size(on_source)
    landed = at_cells(on_target[..., None].float(), found)[:, 0]
    distances, agreement = torch.zeros_like(cycle), torch.ones_like(cycle)
    sides0, sides1 = start.sides, goal.sides
    recognised = teacher.recognises(start) and teacher.recognises(goal)
    if recognised and sides0 is not None and sides1 is not None:
        xyz0 = at_cells(sides0.canonical_xyz, cells)
        xyz1 = at_cells(sides1.canonical_xyz, found)
        distances = torch.linalg.vector_norm(xyz0 - xyz1, dim=1)
        side0 = at_cells(sides0.side[..., None], cells)[:, 0]
        side1 = at_cells(sides1.side[..., None], found)[:, 0]
        agreement = side0 * side1
    residuals = local_affine_residuals(cells, found, cycle) / object_size(on_target)
    upright = cells.double().cpu().numpy()
    if start.transform.pose != IDENTITY:
        upright = teacher.store.transform(source).to_cells(start.transform.to_points(upright))
    arrays = (landed, cycle, distances, agreement, residuals)
    return PseudoMatches(
        source, target, upright, found.double().cpu().numpy(),
        *(each.double().cpu().numpy() for each in arrays),
    )  # fmt: skip


_NEIGHBOURS, _RIDGE = 8, 1.0


def local_affine_residuals(
    source_M2: Float[Tensor, "M 2"],
    target_M2: Float[Tensor, "M 2"],
    cycle_errors_M: Float[Tensor, "M"],
) -> Float[Tensor, "M"]:
    """How far each match lies off the affine map of the matches around it, in cells.

    The map is a least-squares fit to the nearest of the better half of the matches, without the
    match itself, and a little drawn to a pure shift.

    Args:
        source_M2: (x, y) in cells.
        target_M2: (x, y) in cells.
        cycle_errors_M: of the matches; the better half of them serves as reference.
    """
    good = cycle_errors_M <= cycle_errors_M.median()
    count = min(_NEIGHBOURS, int(good.sum()) - 1)
    if count < 3:
        return torch.zeros_like(cycle_errors_M)
    distances = torch.cdist(source_M2, source_M2)
    distances.fill_diagonal_(torch.inf)
    distances[:, ~good] = torch.inf
    nearest = distances.topk(count, largest=False).indices
    source, target = source_M2[nearest], target_M2[nearest]
    centre, goal = source.mean(1), target.mean(1)
    offsets, moved = source - centre[:, None], target - goal[:, None]
    ridge = _RIDGE * torch.eye(2).to(source_M2)
    # Ridge regression of what differs from a shift: moved = offsets + offsets @ change.
    change = torch.linalg.solve(offsets.mT @ offsets + ridge, offsets.mT @ (moved - offsets))
    away = (source_M2 - centre)[:, None]
    expected = goal + (away + away @ change)[:, 0]
    return torch.linalg.vector_norm(target_M2 - expected, dim=1)


def in_best_pose(
    teacher: Teacher, source: int, target: DescriptorMap, poses: Sequence[PoseVariant]
) -> DescriptorMap:
    """The source in the pose in which its instance matching distance is least.

    Args:
        teacher: has its descriptors.
        source: index of the source image.
        target: descriptors of the target.
        poses: to choose from.
    """
    found = [teacher.descriptor_map(source, pose) for pose in poses]
    if len(found) == 1:
        return found[0]
    distances = [
        matching.saliency_weighted_imd(
            each.descriptors_HWC, target.descriptors_HWC, each.saliency_HW, target.saliency_HW
        )
        for each in found
    ]
    return found[int(np.argmin(distances))]
