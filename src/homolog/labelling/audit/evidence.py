"""Evidence of a label audit: how well labels agree with those of reference objects."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Complex, Float, Int

from homolog import matching
from homolog.data.pairs import Annotation
from homolog.descriptors import DescriptorMap
from homolog.image.poses import IDENTITY, PoseVariant
from homolog.keypoints import KeypointSchema
from homolog.labelling import shapes
from homolog.utils.stats import sigmoid

Extract = Callable[[Annotation, PoseVariant], DescriptorMap | None]
"""The descriptors of an object in a pose; None where its image is missing."""

_NEIGHBOURS = 10  # of similar shape, which say where keypoints should be
_LOOKALIKES = 40  # of similar shape, which say what keypoints should look like
_LEAST_SPREAD = 0.02  # of a keypoint, in units of the object's size
_FLOOR = 1e-4  # of the density of a keypoint's position, relative to its peak
_FLIP_MARGIN = 0.02  # by which a flipped shape must fit better, for its image to be flipped
# Settings below were chosen on other draws than those reported (docs/experiments.md).
_APPEARANCE_WEIGHT = 6.0  # of a similarity, against the log of the density of a position
_EXCHANGED_RATE = 0.1  # share of objects whose sides are exchanged, as expected beforehand
_VOTE_FLOOR = 0.25  # standard deviation of a vote at least, relative to a typical one
_VOTE_TEMPER = 0.75  # of log odds, for votes are not independent of each other
_LARGEST_VOTE = 1.5  # relative to a typical one


class AuditedObject:
    """A labelled object in the course of an audit.

    Attributes:
        annotation: the object.
        exchanged: whether its left and right were found to be exchanged; its shape and descriptors
            are then those of the corrected labels.
        map: descriptors of its image, if that is there.

    Args:
        annotation: the object.
        mirror: the mirror counterpart of each keypoint.
    """

    def __init__(self, annotation: Annotation, mirror: tuple[int, ...]):
        self.annotation = annotation
        self.exchanged = False
        self.map: DescriptorMap | None = None
        self._mirror = np.array(mirror)
        self._given_K = shapes.as_complex(annotation.keypoints)
        self._pose = IDENTITY
        self._queries_KC: Float[np.ndarray, "K C"] | None = None

    def __len__(self) -> int:
        return len(self._mirror)

    @property
    def shape_K(self) -> Complex[np.ndarray, "K"]:
        """Its keypoints as complex numbers."""
        return self._given_K[self.order]

    @property
    def order(self) -> Int[np.ndarray, "K"]:
        """For each keypoint the one whose label it has after the correction."""
        return self._mirror if self.exchanged else np.arange(len(self))

    @property
    def queries_KC(self) -> Float[np.ndarray, "K C"] | None:
        """Descriptors at its keypoints; NaN where they are not labelled."""
        return None if self._queries_KC is None else self._queries_KC[self.order]

    @property
    def posed(self) -> Int[np.ndarray, "K"]:
        """For each keypoint the one that it is in the image in its pose, where a flip renames."""
        return self._mirror if self._pose.flip else np.arange(len(self))

    def extract(self, pose: PoseVariant, extract: Extract) -> None:
        """Extract the descriptors of its image in a pose."""
        self._pose = pose
        self.map = extract(self.annotation, pose)
        if self.map is not None:
            points = np.nan_to_num(self.annotation.keypoints)
            cells = self.map.descriptors_HWC.new_tensor(self.map.transform.to_cells(points))
            found = matching.sample_descriptors(self.map.descriptors_HWC, cells)
            labelled = self.annotation.visible[:, None]
            self._queries_KC = np.where(labelled, found.cpu().numpy(), np.nan)


class References:
    """The objects that others, and they themselves in turn, are compared with.

    Args:
        objects: all of one category.
        schema: what their keypoints mean.
    """

    def __init__(self, objects: Sequence[AuditedObject], schema: KeypointSchema):
        self.objects = objects
        self.schema = schema
        self.sided = np.array(schema.mirror) != np.arange(len(schema))
        self._copies = 2 if schema.sides_known else 1  # with mirror images
        self._spread_K = np.full(len(schema), _LEAST_SPREAD)
        self._typical_votes, self._log_odds = np.ones(2), np.zeros(2)
        self.collect()
        distances = np.stack([self._fit(each)[1] for each in objects])
        nearer = distances.reshape(len(objects), self._copies, -1).min(1)
        self._medoid = int(np.argmin(np.minimum(nearer, 1.0).mean(0)))

    def pose(self, each: AuditedObject) -> PoseVariant:
        """The pose, in quarter turns, in which an object lies as the most typical one does."""
        typical = self.objects[self._medoid].shape_K
        choices = [each.shape_K]
        if self.schema.sides_known:
            choices.append(shapes.mirrored(each.shape_K[None], self.schema.mirror)[0])
        _, distances = shapes.align(np.stack(choices), typical)
        flip = len(choices) > 1 and distances[1] < distances[0] - _FLIP_MARGIN
        clockwise = shapes.turn(choices[int(flip)], typical)
        # Complex conjugation mirrors top and bottom: a flip and half a turn.
        quarters = round((180.0 * flip - clockwise) / 90)
        return PoseVariant(bool(flip), 90.0 * quarters)

    def find_exchanged(self) -> None:
        """Decide which of the references have left and right exchanged, and correct them."""
        for _ in range(2):  # the second time against corrected references
            votes = np.stack([self.votes(each) for each in self.objects])
            self._typical_votes, self._log_odds = weigh_votes(votes)
            for each, own in zip(self.objects, votes, strict=True):
                each.exchanged = self._exchanged(own) > 0.5
            self.collect()

    def exchanged(self, each: AuditedObject) -> float:
        """The probability that left and right of an object are exchanged in its given labels."""
        return self._exchanged(self.votes(each))

    def measure_spread(self) -> None:
        """Measure how far each keypoint usually is from where similar shapes have it."""
        residuals = np.stack([self._residuals(each) for each in self.objects])
        known = np.isfinite(residuals).any(axis=0)
        self._spread_K[:] = np.median(residuals[np.isfinite(residuals)]) if known.any() else 1.0
        self._spread_K[known] = np.nanmedian(residuals[:, known], axis=0)
        self._spread_K = np.maximum(self._spread_K, _LEAST_SPREAD)

    def log_density(
        self, each: AuditedObject
    ) -> tuple[Float[np.ndarray, "K K"], Float[np.ndarray, "K"], Float[np.ndarray, "K 2"]]:
        """How well each keypoint of an object fits each of its labelled points.

        Returns:
            The log density of keypoint k at the point labelled as keypoint a, up to a constant for
            each k, and NaN where no point is labelled; the greatest density anywhere in the
            image; and where that is, x and y in pixels.
        """
        shape = each.shape_K
        placed, distances = self._fit(each)
        nearest = np.argsort(distances)[:_NEIGHBOURS]
        placed = placed[nearest[np.isfinite(distances[nearest])]]
        unit = shapes.shape_size(shape) * self._spread_K
        density = self._position(placed, shape, unit)
        if each.map is None or each.queries_KC is None:
            best = np.array([_peak(column) for column in placed.T])
            return density, self._position(placed, best, unit).diagonal(), _as_points(best)
        prototypes = self._prototypes(each, distances)
        density = density + _APPEARANCE_WEIGHT * prototypes @ each.queries_KC.T
        transform = each.map.transform
        cells = transform.to_points(transform.grid.cells)
        valid = each.map.valid_HW.flatten().cpu().numpy()
        similarity = prototypes @ each.map.descriptors_HWC.flatten(0, 1).cpu().numpy()[valid].T
        everywhere = self._position(placed, shapes.as_complex(cells[valid]), unit)
        everywhere = everywhere + _APPEARANCE_WEIGHT * similarity
        peaks = np.argmax(np.nan_to_num(everywhere, nan=-np.inf), axis=1)
        return density, everywhere[np.arange(len(peaks)), peaks], cells[valid][peaks]

    def collect(self) -> None:
        """Gather what all references say about shape and appearance."""
        own = np.stack([each.shape_K for each in self.objects])
        copies = [own, shapes.mirrored(own, self.schema.mirror)][: self._copies]
        self._shapes_RK = np.concatenate(copies)
        descriptors = [each.queries_KC for each in self.objects]
        empty = next(
            (np.full_like(found, np.nan) for found in descriptors if found is not None), None
        )
        self._posed_RKC = None
        if empty is not None:
            self._posed_RKC = np.stack(
                [
                    empty if found is None else found[each.posed]
                    for each, found in zip(self.objects, descriptors, strict=True)
                ]
            )

    def _fit(
        self, each: AuditedObject, shape: Complex[np.ndarray, "K"] | None = None
    ) -> tuple[Complex[np.ndarray, "N K"], Float[np.ndarray, "N"]]:
        """All references, and their mirror images, laid over an object; itself infinitely far."""
        placed, distances = shapes.align(self._shapes_RK, each.shape_K if shape is None else shape)
        for index, other in enumerate(self.objects):
            if other is each:
                distances[index :: len(self.objects)] = np.inf
        return placed, distances

    def votes(self, each: AuditedObject) -> Float[np.ndarray, "2"]:
        """How much better an object's given sides fit than exchanged ones, by shape and by look."""
        count = len(self.objects)
        given, mirror = each.shape_K, list(self.schema.mirror)
        fits = [
            self._fit(each, shape)[1].reshape(self._copies, count).min(0)
            for shape in (given, given[mirror])
        ]
        comparable = np.isfinite(fits[0]) & np.isfinite(fits[1])
        gains = fits[1][comparable] - fits[0][comparable]
        by_shape = float(np.mean(gains)) if len(gains) else 0.0
        by_look = 0.0
        if each.queries_KC is not None and self._posed_RKC is not None:
            own = each.queries_KC[each.posed]
            others = np.array([other is not each for other in self.objects])
            mean = _mean(self._posed_RKC[others])
            gain = ((mean - mean[mirror]) * own).sum(1)[self.sided]
            if np.isfinite(gain).any():
                by_look = float(np.nanmean(gain))
        votes = np.array([by_shape, by_look])
        return -votes if each.exchanged else votes

    def _exchanged(self, votes: Float[np.ndarray, "2"]) -> float:
        relative = np.clip(votes / self._typical_votes, -_LARGEST_VOTE, _LARGEST_VOTE)
        logit = -self._log_odds @ relative
        prior = np.log(_EXCHANGED_RATE / (1 - _EXCHANGED_RATE))
        return float(sigmoid(np.array([logit + prior]))[0])

    def _residuals(self, each: AuditedObject) -> Float[np.ndarray, "K"]:
        placed, distances = self._fit(each)
        nearest = np.argsort(distances)[:_NEIGHBOURS]
        nearest = nearest[np.isfinite(distances[nearest])]
        residuals = np.abs(placed[nearest] - each.shape_K) / shapes.shape_size(each.shape_K)
        return _median(residuals)

    def _position(
        self,
        placed_RK: Complex[np.ndarray, "N K"],
        points_P: Complex[np.ndarray, "P"],
        unit_K: Float[np.ndarray, "K"],
    ) -> Float[np.ndarray, "K P"]:
        """The log density of each keypoint at each point: Student's t around its neighbours'."""
        apart = np.abs(placed_RK[:, :, None] - points_P) / unit_K[:, None]
        return np.log(_mean((1 + apart**2 / 2) ** -1.5) + _FLOOR)

    def _prototypes(
        self, each: AuditedObject, distances: Float[np.ndarray, "N"]
    ) -> Float[np.ndarray, "K C"]:
        """The mean descriptor of each keypoint in the objects of similar shape."""
        assert self._posed_RKC is not None
        nearer = distances.reshape(self._copies, len(self.objects)).min(0)
        chosen = np.argsort(nearer)[:_LOOKALIKES]
        found = self._posed_RKC[chosen[np.isfinite(nearer[chosen])]][:, each.posed]
        return np.nan_to_num(_mean(found))


def weigh_votes(
    votes_NV: Float[np.ndarray, "N V"],
) -> tuple[Float[np.ndarray, "V"], Float[np.ndarray, "V"]]:
    """How large votes on labels usually are, most of which are right, and how far to trust them.

    A vote is modelled as normal around the same value, positive where the label is right and
    negative where it is wrong. One that contradicts itself from object to object is worth little,
    and so is one about few objects.

    Args:
        votes_NV: of N objects; positive if for the label.

    Returns:
        The typical vote, and the log odds that a vote of this size stands for.
    """
    typical, size = np.median(votes_NV, axis=0), np.median(np.abs(votes_NV), axis=0)
    deviation = 1.4826 * np.median(np.abs(np.abs(votes_NV) - size), axis=0)
    typical = np.maximum(typical, 1e-9)
    relative = (deviation / typical) ** 2 + _VOTE_FLOOR**2 + 1 / len(votes_NV)
    return typical, _VOTE_TEMPER * 2 / relative


def _peak(points_R: Complex[np.ndarray, "N"]) -> complex:
    """The coordinate-wise median of where neighbours have a keypoint."""
    known = points_R[np.isfinite(points_R)]
    if not len(known):
        return complex(np.nan, np.nan)
    return complex(np.median(known.real), np.median(known.imag))


def _as_points(points_K: Complex[np.ndarray, "K"]) -> Float[np.ndarray, "K 2"]:
    return np.stack([points_K.real, points_K.imag], axis=1)


def _mean(values: Float[np.ndarray, "N *B"]) -> Float[np.ndarray, "*B"]:
    """The mean over the first axis of what is known; NaN where nothing is."""
    known = np.isfinite(values)
    count = known.sum(0)
    total = np.where(known, values, 0).sum(0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _median(values: Float[np.ndarray, "N K"]) -> Float[np.ndarray, "K"]:
    known = np.isfinite(values).any(0)
    found = np.full(values.shape[1], np.nan)
    found[known] = np.nanmedian(values[:, known], axis=0)
    return found
