"""Audit of tracks: intervals in which left and right of an animal, or two animals, are exchanged.

An exchange makes keypoints jump at its beginning and at its end, each to where its counterpart
was (`homolog.labelling.audit.exchanges`). Between these, shape tells the sides of animals seen from
one side only, and appearance tells animals apart, and sides. Most labels are taken to be right.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image

from homolog.data.formats.entries import InstanceId
from homolog.data.pairs import Annotation, box_around
from homolog.keypoints import KeypointSchema
from homolog.labelling import shapes
from homolog.labelling.audit.evidence import AuditedObject, Extract, References, weigh_votes
from homolog.labelling.audit.exchanges import exchanged_intervals, most_probable, motion_evidence
from homolog.labelling.audit.images import ObjectExtractor
from homolog.matcher import Matcher

ReadFrames = Callable[[Collection[int]], Mapping[int, Image.Image]]
"""Gives the images of some frames of a video, by their numbers; those that it has."""

_REFERENCES = 60  # objects of all frames that shapes are compared with
_SAMPLED = 20  # frames of each animal whose images are looked at, besides those of intervals
_PER_INTERVAL = 3  # frames of each interval between jumps that are looked at
# Settings were chosen on other draws than those reported (docs/experiments.md).
_SHAPE_TEMPER = 0.25  # of log odds of single frames, which depend on each other
_LOOK_TEMPER = 0.5


@dataclass(frozen=True, eq=False)
class TrackSet:
    """Where the keypoints of N objects of one category are in F frames of a video.

    Attributes:
        frames: the frames' numbers, ascending.
        instances: the id of each object.
        points: (x, y) in pixels, NaN where a keypoint is not labelled.
        schema: what the keypoints mean.
        size: width and height of the frames; None if it is not known.
    """

    frames: tuple[int, ...]
    instances: tuple[InstanceId, ...]
    points: Float[np.ndarray, "F N K 2"]
    schema: KeypointSchema
    size: tuple[int, int] | None = None

    def corrected(self, findings: Sequence[TrackFinding]) -> TrackSet:
        """The tracks with the exchanges that were found undone, identities before sides."""
        points = self.points.copy()
        for found in sorted(findings, key=lambda each: each.kind):  # identities come first
            indices = [self.instances.index(instance) for instance in found.instances]
            for row in np.flatnonzero(found.rows(self.frames)):
                if found.kind == "identities":
                    points[row, indices] = points[row, indices[::-1]]
                else:
                    points[row, indices] = points[row, indices][:, list(self.schema.mirror)]
        return dataclasses.replace(self, points=points)


@dataclass(frozen=True)
class TrackFinding:
    """An interval in which something is exchanged.

    Attributes:
        kind: `identities` if two animals are exchanged, `sides` if left and right of one are.
        instances: the ids of those animals. Where an animal's identity was exchanged, too, sides
            are those of the corrected track.
        first: number of the first frame.
        last: number of the last frame.
        score: how probable the exchange is, 0 to 1.
    """

    kind: Literal["identities", "sides"]
    instances: tuple[InstanceId, ...]
    first: int
    last: int
    score: float

    def rows(self, frames: Sequence[int]) -> Bool[np.ndarray, "M"]:
        """Which of the frames it is about."""
        numbers = np.asarray(frames)
        return np.asarray((numbers >= self.first) & (numbers <= self.last))

    def describe(self) -> str:
        """What was found, in words."""
        span = f"frames {self.first} to {self.last}"
        if self.kind == "sides":
            return f"{span}: left and right of {self.instances[0]} are exchanged"
        return f"{span}: {self.instances[0]} and {self.instances[1]} are exchanged"


def audit_tracks(
    tracks: TrackSet,
    matcher: Matcher | None = None,
    read_frames: ReadFrames | None = None,
    least_score: float = 0.5,
) -> list[TrackFinding]:
    """Find intervals of tracks in which animals, or the sides of one, are exchanged.

    Args:
        tracks: of the objects.
        matcher: extracts descriptors of frames; without it, motion and shape alone tell.
        read_frames: gives images of frames.
        least_score: of the findings that are returned.

    Returns:
        The findings in the order of the frames; `TrackSet.corrected` undoes them.
    """
    appearance = _Appearance(tracks, matcher, read_frames)
    findings: list[TrackFinding] = []
    for one, other in itertools.combinations(range(len(tracks.instances)), 2):
        found = _exchanged_identities(tracks, one, other, appearance)
        found = [each for each in found if each.score >= least_score]
        tracks = tracks.corrected(found)
        findings += found
    if tracks.schema.sides_known and tracks.schema.mirror != tuple(range(len(tracks.schema))):
        found = _exchanged_sides(tracks, appearance)
        findings += [each for each in found if each.score >= least_score]
    return sorted(findings, key=lambda each: (each.first, each.last))


class _Appearance:
    """The appearance of the objects in some frames.

    Args:
        tracks: of the objects, as they were given.
        matcher: extracts descriptors; None if nothing is looked at.
        read_frames: gives images of frames.
    """

    def __init__(self, tracks: TrackSet, matcher: Matcher | None, read_frames: ReadFrames | None):
        self.frames = np.array(tracks.frames)
        self._matcher = matcher
        self._read = read_frames

    @property
    def possible(self) -> bool:
        """Whether there are images to compare."""
        return self._matcher is not None and self._read is not None

    def sample(self, jumps: Sequence[int]) -> list[int]:
        """The rows of the frames that are compared: spread over all, and some of each interval.

        Args:
            jumps: rows at which intervals begin.
        """
        count = len(self.frames)
        rows = set(np.linspace(0, count - 1, min(count, _SAMPLED)).round().astype(int).tolist())
        for start, end in itertools.pairwise(sorted({0, *jumps, count})):
            inner = np.linspace(start, end - 1, _PER_INTERVAL + 2)[1:-1]
            rows |= set(inner.round().astype(int).tolist())
        return sorted(rows)

    def extractor(self, annotations: Mapping[int, Sequence[Annotation]]) -> Extract:
        """An extractor of objects by the rows of the frames that they are in."""
        assert self._matcher is not None and self._read is not None
        numbers = {int(self.frames[row]) for row in annotations}
        images = self._read(numbers)
        by_name = {
            each.name: images.get(int(self.frames[row]))
            for row, several in annotations.items()
            for each in several
        }
        listed = [each for several in annotations.values() for each in several]
        return ObjectExtractor(self._matcher, listed, lambda each: by_name.get(each.name))


def _exchanged_identities(
    tracks: TrackSet, one: int, other: int, appearance: _Appearance
) -> list[TrackFinding]:
    """Intervals in which two objects are exchanged, in frames that have one of them."""
    both = shapes.as_complex(tracks.points[:, [one, other]])
    present = np.isfinite(both).any(axis=(1, 2))
    rows = np.flatnonzero(present)
    if len(rows) < 2:
        return []
    both = both[rows]
    numbers = [tracks.frames[row] for row in rows]
    motion = motion_evidence(both, both[:, ::-1], numbers)
    evidence = np.zeros(len(rows))
    if appearance.possible:
        jumps = np.flatnonzero(np.diff(most_probable(evidence, motion))) + 1
        evidence += _votes_for_identities(tracks, rows, (one, other), appearance, jumps.tolist())
    instances = tracks.instances[one], tracks.instances[other]
    return [
        TrackFinding("identities", instances, first, last, score)
        for first, last, score in exchanged_intervals(evidence, motion, numbers)
    ]


def _exchanged_sides(tracks: TrackSet, appearance: _Appearance) -> list[TrackFinding]:
    """Intervals in which left and right of an object are exchanged."""
    objects = {
        (row, index): AuditedObject(annotation, tracks.schema.mirror)
        for index in range(len(tracks.instances))
        for row, annotation in _annotations(tracks, index).items()
    }
    if not objects:
        return []
    keys = list(objects)
    chosen = np.linspace(0, len(keys) - 1, min(len(keys), _REFERENCES)).round().astype(int)
    references = References([objects[keys[i]] for i in chosen], tracks.schema)
    mirror = list(tracks.schema.mirror)
    motions = {}
    for index in range(len(tracks.instances)):
        rows = np.array([row for row, own in keys if own == index], dtype=int)
        shape = shapes.as_complex(tracks.points[rows, index])[:, None]
        numbers = [tracks.frames[row] for row in rows]
        motions[index] = rows, motion_evidence(shape, shape[:, :, mirror], numbers)
    if appearance.possible:
        _appearance_of_sides(objects, references, motions, appearance)
    votes = {key: references.votes(each) for key, each in objects.items()}
    evidence = dict.fromkeys(keys, 0.0)
    for column, temper in enumerate((_SHAPE_TEMPER, _LOOK_TEMPER)):
        cast = np.array([votes[key][column] for key in keys])
        told = np.flatnonzero(cast)  # what was not looked at has no vote
        if len(told) > 1:
            log_odds = _log_odds(cast[told])
            for at, value in zip(told.tolist(), log_odds.tolist(), strict=True):
                evidence[keys[at]] += temper * value
    findings = []
    for index, (rows, motion) in motions.items():
        own = np.array([evidence[row, index] for row in rows.tolist()])
        findings += [
            TrackFinding("sides", (tracks.instances[index],), first, last, score)
            for first, last, score in exchanged_intervals(
                own, motion, [tracks.frames[r] for r in rows]
            )
        ]
    return findings


def _appearance_of_sides(
    objects: Mapping[tuple[int, int], AuditedObject],
    references: References,
    motions: Mapping[int, tuple[np.ndarray, Float[np.ndarray, "M"]]],
    appearance: _Appearance,
) -> None:
    """Extract the objects of sampled frames, and the references."""
    looked_at = {key for key, each in objects.items() if each in references.objects}
    for index, (rows, motion) in motions.items():
        jumps = np.flatnonzero(np.diff(most_probable(np.zeros(len(rows)), motion))) + 1
        wanted = appearance.sample(rows[jumps].tolist())
        looked_at |= {(row, index) for row in wanted if (row, index) in objects}
    by_row: dict[int, list[Annotation]] = {}
    for row, index in sorted(looked_at):
        by_row.setdefault(row, []).append(objects[row, index].annotation)
    extract = appearance.extractor(by_row)
    for key in sorted(looked_at):
        objects[key].extract(references.pose(objects[key]), extract)
        objects[key].map = None  # descriptors at its keypoints are enough
    references.collect()


def _votes_for_identities(
    tracks: TrackSet,
    rows: np.ndarray,
    pair: tuple[int, int],
    appearance: _Appearance,
    jumps: Sequence[int],
) -> Float[np.ndarray, "M"]:
    """The log odds, in sampled frames, that two objects look like themselves and not the other."""
    annotations = [_annotations(tracks, index) for index in pair]
    wanted = appearance.sample([int(rows[jump]) for jump in jumps])
    wanted = [row for row in wanted if all(row in own for own in annotations)]
    evidence = np.zeros(len(rows))
    if len(wanted) < 2:
        return evidence
    objects = [
        [AuditedObject(own[row], tracks.schema.mirror) for row in wanted] for own in annotations
    ]
    references = References([*objects[0], *objects[1]], tracks.schema)
    extract = appearance.extractor({row: [own[row] for own in annotations] for row in wanted})
    for each in references.objects:
        each.extract(references.pose(each), extract)
        each.map = None
    descriptors = [[each.queries_KC for each in own] for own in objects]
    known = [n for n in range(len(wanted)) if all(own[n] is not None for own in descriptors)]
    if len(known) < 2:
        return evidence
    looks = np.stack(
        [
            [objects[side][n].queries_KC[objects[side][n].posed] for n in known]  # type: ignore[index]
            for side in (0, 1)
        ]
    )
    cast = relative_votes(looks)
    place = {int(row): at for at, row in enumerate(rows)}
    # Which of the two looks is whose, labels of most frames say.
    cast = cast if np.median(cast) >= 0 else -cast
    for n, value in zip(known, _log_odds(cast, np.abs(cast)).tolist(), strict=True):
        evidence[place[wanted[n]]] = _LOOK_TEMPER * value
    return evidence


def relative_votes(descriptors_2MKC: Float[np.ndarray, "2 M K C"]) -> Float[np.ndarray, "M"]:
    """Which of M frames have two objects in the same order, and which in the other, by their looks.

    Each frame is compared with all others; the two groups that differ most are told apart by the
    leading eigenvector, however large each is. Only votes of the same sign mean something.

    Args:
        descriptors_2MKC: of the keypoints of both objects in each frame, NaN where one is not
            labelled.
    """
    known = np.isfinite(descriptors_2MKC)
    mean = np.where(known, descriptors_2MKC, 0).sum((0, 1)) / np.maximum(known.sum((0, 1)), 1)
    looks = np.where(known, descriptors_2MKC - mean, 0)  # what both have in common tells nothing
    difference = (looks[0] - looks[1]).reshape(looks.shape[1], -1)
    likeness = difference @ difference.T
    np.fill_diagonal(likeness, 0)
    _, vectors = np.linalg.eigh(likeness)
    return np.asarray(likeness @ np.sign(vectors[:, -1]))


def _log_odds(
    votes_N: Float[np.ndarray, "N"], sizes_N: Float[np.ndarray, "N"] | None = None
) -> Float[np.ndarray, "N"]:
    """The log odds that votes stand for (`weigh_votes`).

    Args:
        votes_N: most of which are right.
        sizes_N: their sizes, where as many may be wrong as right.
    """
    typical, log_odds = weigh_votes((votes_N if sizes_N is None else sizes_N)[:, None])
    return np.asarray(np.clip(votes_N / typical[0], -1.5, 1.5) * log_odds[0])


def _annotations(tracks: TrackSet, index: int) -> dict[int, Annotation]:
    """The annotations of one object by the rows of the frames that have it."""
    found = {}
    for row, points in enumerate(tracks.points[:, index]):
        if np.isfinite(points).all(axis=1).any():
            name = f"{tracks.frames[row]} {tracks.instances[index]}"
            box = box_around(points)
            found[row] = Annotation(name, Path(""), "", points, box, tracks.size)
    return found
