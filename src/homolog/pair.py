"""Two pictures made ready for each other, and what is found between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from homolog import matching
from homolog.config import MatcherConfig
from homolog.image.geometry import FLIP, IDENTITY, Pose, interpolate
from homolog.keypoints import KeypointSchema
from homolog.matching.consensus import Guide
from homolog.matching.imd import instance_matching_distance, weighted_distance
from homolog.results import Features, FlowField, Matches, PosedFeatures

_FLOOR = -1e4
# Forward and backward flow agree where they meet within this share of the longer side.
_CONSISTENT = 0.05

Thing = Bool[np.ndarray, "height width"]
"""A mask of a picture."""

# For every source cell: the best target cell, the position between cells, and a probability.
_Dense = tuple[Int[Tensor, "N 2"], Float[Tensor, "N 2"], Float[Tensor, "N"]]


@dataclass(frozen=True)
class Side:
    """One picture of a pair.

    Attributes:
        posed: its descriptors.
        allowed_HW: the cells that count: those on the mask, or on the picture.
        weight_HW: how much each cell belongs to the thing; the mask's word where there is one.
        thing: that mask, which serves for other poses of the picture, too.
    """

    posed: PosedFeatures
    allowed_HW: Bool[Tensor, "H W"]
    weight_HW: Float[Tensor, "H W"]
    thing: Thing | None

    @classmethod
    def of(cls, posed: PosedFeatures, thing: Thing | None) -> Side:
        """The side that descriptors and perhaps a mask make."""
        if thing is None:
            return cls(posed, posed.content_HW, posed.foreground_HW, None)
        allowed = torch.from_numpy(posed.view.mask(thing)).to(posed.content_HW.device)
        return cls(posed, allowed, allowed.float(), thing)

    def distance(self, other: Side, masked: bool) -> float:
        """The instance matching distance: over masks if there are any, or over what stands out."""
        descriptors0, descriptors1 = self.posed.descriptors_HWC, other.posed.descriptors_HWC
        if masked:
            return instance_matching_distance(
                descriptors0, descriptors1, self.allowed_HW, other.allowed_HW
            )
        return weighted_distance(descriptors0, descriptors1, self.weight_HW, other.weight_HW)


@dataclass(frozen=True)
class Pairing:
    """Two pictures ready to be matched, the source in the pose chosen.

    Attributes:
        source: the first picture.
        target: the second picture.
        side0: the source in that pose.
        side1: the target.
        distances: instance matching distance of each pose that was tried.
        note: what alignment could not do here, otherwise None.
        config: how to match.
    """

    source: Features
    target: Features
    side0: Side
    side1: Side
    distances: Mapping[Pose, float]
    note: str | None
    config: MatcherConfig

    @property
    def pose(self) -> Pose:
        """Of the source."""
        return self.side0.posed.view.pose

    @property
    def score(self) -> float:
        """The pair score."""
        return matching.pair_score(
            self.side0.posed.descriptors_HWC,
            self.side1.posed.descriptors_HWC,
            self.side0.allowed_HW,
            self.side1.allowed_HW,
        )

    def matches(
        self,
        keypoints0: Float[np.ndarray, "K 2"],
        keypoints1: Float[np.ndarray, "K 2"],
        scores: Float[np.ndarray, "K"],
        posed: Bool[np.ndarray, "K"] | None = None,
        ids: tuple[int, ...] | None = None,
    ) -> Matches:
        """The result that points and scores make."""
        return Matches(
            keypoints0=keypoints0,
            keypoints1=keypoints1,
            matching_scores=scores,
            pair_score=self.score,
            pose=self.pose.name,
            pose_distances={pose.name: distance for pose, distance in self.distances.items()},
            posed=np.full(len(keypoints0), True) if posed is None else posed,
            point_ids=ids,
            note=self.note,
            size0=self.source.size,
            size1=self.target.size,
        )

    def locate(self, points: Float[np.ndarray, "K 2"]) -> Located:
        """Where points of the source lie in the target."""
        source, target = self.side0.posed.descriptors_HWC, self.side1.posed.descriptors_HWC
        cells = _tensor(self.side0.posed.view.to_cells(points), source)
        guide = _guide(self.side0, self.side1, self.config)
        if guide is None:
            queries = matching.sample(source, cells)
            found = matching.similarity(queries, target, self.side1.allowed_HW)
        else:
            found = guide.similarity(cells)
        targets = matching.window_soft_argmax(found, self.config.window, self.config.temperature)
        return Located(self, cells, targets, found)

    def flow_fields(self) -> tuple[FlowField, FlowField]:
        """Where every part of the source lies in the target, and the reverse."""
        there, back = self._both_ways()
        return (
            _flow_field(self.side0, self.side1, there[1:], back[1:]),
            _flow_field(self.side1, self.side0, back[1:], there[1:]),
        )

    def mutual(
        self, max_matches: int
    ) -> tuple[Float[np.ndarray, "K 2"], Float[np.ndarray, "K 2"], Float[np.ndarray, "K"]]:
        """Mutual nearest neighbours on the things, best first: points of both pictures, scores."""
        (peaks0, targets, scores), (peaks1, _, _) = self._both_ways()
        view0, view1 = self.side0.posed.view, self.side1.posed.view
        forward = peaks0[:, 1] * view1.grid.width + peaks0[:, 0]
        backward = peaks1[:, 1] * view0.grid.width + peaks1[:, 0]
        index = self.side0.allowed_HW.flatten().nonzero().flatten()
        index = index[backward[forward[index]] == index]
        standing_out = self.side0.weight_HW.flatten()[index]
        standing_out = standing_out * self.side1.weight_HW.flatten()[forward[index]]
        if standing_out.any():
            index, standing_out = index[standing_out > 0], standing_out[standing_out > 0]
        cells = _tensor(view0.grid.cells, scores)
        index = index[matching.spread(cells[index], scores[index] * standing_out, max_matches)]
        index = index[scores[index].argsort(descending=True, stable=True)]
        return (
            view0.clip(view0.to_points(_array(cells[index]))),
            view1.clip(view1.to_points(_array(targets[index]))),
            _array(scores[index]),
        )

    def _both_ways(self) -> tuple[_Dense, _Dense]:
        """Where every cell of the source goes in the target, and the reverse, with scores."""
        side0, side1 = self.side0, self.side1
        source, target = side0.posed.descriptors_HWC, side1.posed.descriptors_HWC
        similarity = source.flatten(0, 1) @ target.flatten(0, 1).T
        there = _one_way(similarity, side0, side1, self.config)
        back = _one_way(similarity.T, side1, side0, self.config)
        # A floor, not -inf: rows and columns of nothing else must still have a softmax.
        similarity[~side0.allowed_HW.flatten()] = _FLOOR
        similarity[:, ~side1.allowed_HW.flatten()] = _FLOOR
        grid0, grid1 = side0.posed.view.grid.shape, side1.posed.view.grid.shape
        return (
            _scored(there, matching.way_back(similarity, there[1], grid0, grid1)),
            _scored(back, matching.way_back(similarity.T, back[1], grid1, grid0)),
        )


@dataclass(frozen=True)
class Located:
    """Points of the source and where they lie in the target, in cells of each.

    Attributes:
        pairing: the two pictures.
        cells_K2: the points.
        targets_K2: where they lie.
        similarity_KHW: the maps that say so.
    """

    pairing: Pairing
    cells_K2: Float[Tensor, "K 2"]
    targets_K2: Float[Tensor, "K 2"]
    similarity_KHW: Float[Tensor, "K H W"]

    @property
    def points(self) -> Float[np.ndarray, "K 2"]:
        """Where the points lie, in pixels of the target."""
        view = self.pairing.side1.posed.view
        return view.clip(view.to_points(_array(self.targets_K2)))

    def scores(self) -> Float[np.ndarray, "K"]:
        """Confidence in the answers: whether the way there and the way back are clear."""
        posed0, posed1 = self.pairing.side0.posed, self.pairing.side1.posed
        backward = matching.similarity(
            matching.sample(posed1.descriptors_HWC, self.targets_K2),
            posed0.descriptors_HWC,
            posed0.content_HW,
        )
        found = matching.scores(
            matching.window_log_mass(self.similarity_KHW, self.targets_K2),
            matching.window_log_mass(backward, self.cells_K2),
        )
        return _array(found)


def choose(
    candidates: Sequence[Pose], distances: Mapping[Pose, float], named: bool
) -> tuple[Pose, str | None]:
    """The pose to match in, and what there is to say about it."""
    pose = candidates[0]
    if len(candidates) > 1:
        best = min(candidates, key=distances.__getitem__)
        usable = [p for p in candidates if named or not p.flip] or candidates
        pose = min(usable, key=distances.__getitem__)
        if pose != best:
            return pose, (
                f"in pose {best.name} the first picture is nearer to the second "
                f"({distances[best]:.4f} against {distances[pose]:.4f}), but a flip exchanges left "
                "and right: it is used for points named by a schema only"
            )
    if pose.flip and not named:
        return pose, (
            "the first picture was flipped: points on one side of the thing are matched to "
            "their mirrored counterparts"
        )
    return pose, None


def by_facing(posed0: PosedFeatures, posed1: PosedFeatures) -> Pose | None:
    """The pose, as it is or flipped, in which the first picture's thing faces as the second's.

    None where the model does not know the things well enough to tell.
    """
    if posed0.sides is None or posed1.sides is None:
        return None
    facing0, facing1 = posed0.sides.direction(), posed1.sides.direction()
    if not all(sides.known for sides in (posed0.sides, posed1.sides)):
        return None
    mirrored = facing0 * facing0.new_tensor([-1, 1, 1])
    return FLIP if float(mirrored @ facing1) > float(facing0 @ facing1) else IDENTITY


def choose_facing(pose: Pose, named: bool) -> tuple[Pose, str | None]:
    """The pose to match in, of these two, and what there is to say about it."""
    if not pose.flip or named:
        return pose, None
    return IDENTITY, (
        "the things face different ways, but a flip exchanges left and right: it is used for "
        "points named by a schema only"
    )


def counterparts(
    keypoints: Float[np.ndarray, "K 2"], ids: Sequence[int], schema: KeypointSchema
) -> tuple[Float[np.ndarray, "K 2"], Bool[np.ndarray, "K"]]:
    """Where to look each keypoint up in the flipped picture, and whether that is known.

    The left paw is seen there where the right paw was.
    """
    place = {keypoint: row for row, keypoint in enumerate(ids)}
    queries, known = keypoints.copy(), np.full(len(ids), True)
    for row, keypoint in enumerate(ids):
        counterpart = place.get(schema.mirror[keypoint])
        if counterpart is None:
            known[row] = False
        else:
            queries[row] = keypoints[counterpart]
    return queries, known


def _guide(side0: Side, side1: Side, config: MatcherConfig) -> Guide | None:
    if config.guidance is None:
        return None
    return Guide(
        side0.posed.descriptors_HWC, side1.posed.descriptors_HWC, side0.weight_HW,
        side1.weight_HW, side0.allowed_HW, side1.allowed_HW, config.guidance,
    )  # fmt: skip


def _one_way(
    similarity_NM: Float[Tensor, "N M"], side0: Side, side1: Side, config: MatcherConfig
) -> _Dense:
    """Best cells, positions between cells, and logarithms of the probability around these."""
    guide = _guide(side0, side1, config)
    shape = side1.posed.view.grid.shape

    def maps_of(rows_K: Tensor) -> Tensor:
        if guide is not None:
            return guide.rows(similarity_NM, rows_K)
        found = similarity_NM[rows_K].unflatten(1, shape)
        return found.masked_fill_(~side1.allowed_HW, -torch.inf)

    return matching.dense(
        maps_of, len(similarity_NM), config.window, config.temperature, similarity_NM.device
    )


def _scored(way: _Dense, back_N: Float[Tensor, "N"]) -> _Dense:
    """The same with scores instead of the logarithms of one way's probabilities."""
    peaks, targets, masses = way
    return peaks, targets, matching.scores(masses, back_N)


def _flow_field(
    side0: Side,
    side1: Side,
    forward: tuple[Tensor, Tensor],
    backward: tuple[Tensor, Tensor],
) -> FlowField:
    """The flow in pixels, from both directions' targets in cells and scores."""
    view0, view1 = side0.posed.view, side1.posed.view
    (targets, scores), (returns, _) = ((_array(x) for x in flow) for flow in (forward, backward))
    allowed = side0.allowed_HW.cpu().numpy()
    # Cells beside the picture, or off the mask, have no match of their own: they go where the
    # nearest cell goes that has, so that values between cells are right up to the border.
    cells = view0.grid.cells
    kept = np.flatnonzero(allowed)
    nearest, _ = matching.nearest_neighbours(torch.from_numpy(cells), torch.from_numpy(cells[kept]))
    targets, scores = targets[kept[nearest]], scores[kept[nearest]]
    points1 = view1.clip(view1.to_points(targets))
    back = interpolate(returns.reshape(view1.grid.height, view1.grid.width, 2), targets)
    errors = np.linalg.norm(view0.to_points(back) - view0.to_points(cells), axis=1)
    errors = errors.reshape(allowed.shape)
    return FlowField(
        view0,
        view1,
        points1.reshape(*allowed.shape, 2),
        scores.reshape(allowed.shape),
        errors,
        allowed & (errors <= _CONSISTENT * max(view0.width, view0.height)),
    )


def _tensor(array: np.ndarray, like: Tensor) -> Tensor:
    return torch.from_numpy(array).to(like)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.double().cpu().numpy()
