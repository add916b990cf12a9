"""Exchanges in sequences of frames: where they begin and end, by motion and other evidence.

The most probable sequence of states, right and exchanged, is found by dynamic programming (Viterbi
1967).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Complex, Float

from homolog.labelling.shapes import shape_size
from homolog.utils.stats import sigmoid

_GAP = 30  # frames after which nothing is said about motion
# Settings were chosen on other draws than those reported (docs/experiments.md).
_MOTION_WEIGHT, _MOST_MOTION = 5.0, 12.0  # of the log ratio of two motions, and what it is at most
_SWITCH = 5.0  # log odds against an exchange beginning or ending between two frames
_START = 1.0  # log odds against the first frame being exchanged
_STILL = 0.02  # of the size of an object, added to motions, so that those of nothing compare


def motion_evidence(
    given: Complex[np.ndarray, "M N K"],
    exchanged: Complex[np.ndarray, "M N K"],
    frames: Sequence[int],
) -> Float[np.ndarray, "M"]:
    """How much better each frame continues those before as it is than exchanged: log odds.

    Keypoints are compared with where they were seen last.

    Args:
        given: objects as they are given.
        exchanged: the same, exchanged.
        frames: the frames' numbers.
    """
    found = np.zeros(len(frames))
    if len(frames) < 2:
        return found
    seen = _seen_last(given, frames)
    straight, crossed = (_mean_distance(each[1:], seen) for each in (given, exchanged))
    sizes = [shape_size(shape) for frame in given for shape in frame if _has_points(shape)]
    known = straight[np.isfinite(straight)]
    unit = float(np.median(known)) if len(known) else 0.0
    unit += _STILL * float(np.median(sizes)) if sizes else 1.0
    ratio = _MOTION_WEIGHT * np.log((crossed + unit) / (straight + unit))
    found[1:] = np.nan_to_num(ratio)
    return np.clip(found, -_MOST_MOTION, _MOST_MOTION)


def _seen_last(
    given: Complex[np.ndarray, "M N K"], frames: Sequence[int]
) -> Complex[np.ndarray, "_ N K"]:
    """Where each keypoint was seen last before each frame but the first; NaN if long ago."""
    last, numbers = given.copy(), np.full(given.shape, frames[0])
    for t in range(1, len(frames)):
        missing = np.isnan(given[t])
        last[t] = np.where(missing, last[t - 1], given[t])
        numbers[t] = np.where(missing, numbers[t - 1], frames[t])
    old = np.asarray(frames)[1:, None, None] - numbers[:-1] > _GAP
    return np.where(old, np.nan, last[:-1])


def _has_points(shape: Complex[np.ndarray, "K"]) -> bool:
    return int(np.isfinite(shape).sum()) > 1


def _mean_distance(
    one: Complex[np.ndarray, "M N K"], other: Complex[np.ndarray, "M N K"]
) -> Float[np.ndarray, "M"]:
    """The mean distance of the keypoints that both have; NaN where there are none."""
    apart = np.abs(one - other)
    known = np.isfinite(apart)
    count = known.sum(axis=(1, 2))
    total = np.where(known, apart, 0).sum(axis=(1, 2))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def most_probable(
    evidence: Float[np.ndarray, "M"], motion: Float[np.ndarray, "M"]
) -> Bool[np.ndarray, "M"]:
    """Which frames are exchanged in the most probable sequence.

    Args:
        evidence: log odds of each frame that it is right as it is given.
        motion: log odds that it and the frame before are both right, or both exchanged.
    """
    count = len(evidence)
    score = np.array([0.0, -evidence[0] - _START])
    before = np.zeros((count, 2), dtype=int)
    for t in range(1, count):
        switched = score[::-1] - motion[t] - _SWITCH
        before[t] = np.where(score >= switched, (0, 1), (1, 0))
        score = np.maximum(score, switched) + np.array([0.0, -evidence[t]])
    states = np.zeros(count, dtype=int)
    states[-1] = int(np.argmax(score))
    for t in range(count - 1, 0, -1):
        states[t - 1] = before[t, states[t]]
    if not evidence.any() and states.mean() > 0.5:  # nothing but motion: most labels are right
        states = 1 - states
    return states.astype(bool)


def exchanged_intervals(
    evidence: Float[np.ndarray, "M"], motion: Float[np.ndarray, "M"], frames: Sequence[int]
) -> list[tuple[int, int, float]]:
    """First and last frame of each exchanged interval, and how probable it is."""
    exchanged = most_probable(evidence, motion)
    edges = np.flatnonzero(np.diff(np.pad(exchanged.astype(int), 1)))
    found = []
    for start, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        ends = [t for t in (start, end) if 0 < t < len(evidence)]
        gain = -evidence[start:end].sum() - sum(motion[t] + _SWITCH for t in ends)
        score = float(sigmoid(np.array([min(gain, 30.0)]))[0])
        found.append((frames[start], frames[end - 1], score))
    return found
