"""Vocabularies of keypoints: which keypoint of one is which of another, by names and by images."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from homolog.keypoints import SIDE_IN_NAME, KeypointSchema, read_sides
from homolog.utils.optional import require

LEAST_SCORE = 0.3
"""Pairs with a lower score are not proposed."""

_NAMES_ALONE = 0.8  # what equal names count where no image tells anything
_SAME_LIMB = 0.2  # what names of different parts of the same limb count

# Words that mean the same part of a body, or nearly so; the first stands for all.
_SYNONYMS = (
    "paw foot feet hand hoof hooves toe toes tarsus pes manus",
    "front fore f forelimb forefoot anterior",
    "hind rear back h b hindlimb hindfoot posterior",
    "middle mid m",
    "nose snout muzzle",
    "eye eyes ocular",
    "ear ears pinna",
    "throat neck",
    "withers wither",
    "tip end",
    "base root start origin set insertion",
    "chin jaw mandible",
    "mouth lip lips",
    "head skull",
    "elbow",
    "knee stifle",
    "ankle hock tarsal",
    "wrist carpus carpal",
    "hip",
    "shoulder scapula",
    "thorax chest",
    "body torso trunk",
    "abdomen belly",
    "antenna antennae feeler",
    "wing wings",
    "center centre",
    "top upper",
    "bottom lower",
    "joint",
)
_CANONICAL = {word: words.split()[0] for words in _SYNONYMS for word in words.split()}
_IGNORED = {"of", "the", "leg", "limb", "a", "point", "kp", "keypoint"}
# Parts that are on the front limbs, or on the hind limbs, unless a name says otherwise.
_IMPLIED = {"elbow": "front", "wrist": "front", "shoulder": "front", "knee": "hind",
            "ankle": "hind", "hip": "hind"}  # fmt: skip
_LIMBS = {"front", "middle", "hind"}

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_]+")


@dataclass(frozen=True)
class KeypointPair:
    """A keypoint of one vocabulary and the one of another that it is.

    Attributes:
        source: its name in the one.
        target: its name in the other.
        score: how much speaks for it, 0 to 1.
        names: how much their names do.
        images: how much transfers between images do; None where no image has both.
    """

    source: str
    target: str
    score: float
    names: float
    images: float | None


@dataclass(frozen=True)
class Proposal:
    """Which keypoints of one vocabulary are which of another.

    Attributes:
        pairs: in the order of the source; no keypoint is in two of them.
        unmatched_source: keypoints of the source without a partner.
        unmatched_target: keypoints of the target without one.
    """

    pairs: tuple[KeypointPair, ...]
    unmatched_source: tuple[str, ...]
    unmatched_target: tuple[str, ...]


def propose(
    source: KeypointSchema,
    target: KeypointSchema,
    landing: Float[np.ndarray, "K M"] | None = None,
) -> Proposal:
    """Propose which keypoint of one vocabulary is which of another.

    Every keypoint has one partner at most, and left ones are only paired with left ones. Of all
    such assignments, the one with the greatest sum of scores is proposed.

    Args:
        source: the one vocabulary.
        target: the other.
        landing: how near points of the source land to those of the target when they are transferred
            between images, 0 to 1, NaN where no image tells (`landing_scores`).

    Raises:
        HomologError: scipy is not installed.
    """
    optimize = require("scipy.optimize", "data")
    names = name_scores(source, target)
    images = (
        np.full_like(names, np.nan) if landing is None else _both_sides(source, target, landing)
    )
    known = np.isfinite(images)
    scores = np.where(known, (names + np.nan_to_num(images)) / 2, _NAMES_ALONE * names)
    scores = np.where(same_side(source, target), scores, 0.0)
    rows, columns = optimize.linear_sum_assignment(
        np.where(scores >= LEAST_SCORE, scores, 0.0), True
    )
    pairs = tuple(
        KeypointPair(
            source.names[i], target.names[j], float(scores[i, j]), float(names[i, j]),
            float(images[i, j]) if known[i, j] else None,
        )
        for i, j in zip(rows.tolist(), columns.tolist(), strict=True)
        if scores[i, j] >= LEAST_SCORE
    )  # fmt: skip
    taken = {pair.source for pair in pairs}, {pair.target for pair in pairs}
    return Proposal(
        pairs,
        tuple(name for name in source.names if name not in taken[0]),
        tuple(name for name in target.names if name not in taken[1]),
    )


def name_scores(source: KeypointSchema, target: KeypointSchema) -> Float[np.ndarray, "K M"]:
    """How much the names of two vocabularies' keypoints have in common, 0 to 1.

    Words are compared without regard to case, order, sides and synonyms.

    >>> a = KeypointSchema.from_names(["left_front_paw", "right_front_paw"])
    >>> b = KeypointSchema.from_names(["L_F_Foot", "R_F_Foot"])
    >>> name_scores(a, b).round(2).tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """
    words = [_word_sets(schema) for schema in (source, target)]
    return np.array([[_similarity(one, other) for other in words[1]] for one in words[0]])


def same_side(source: KeypointSchema, target: KeypointSchema) -> Bool[np.ndarray, "K M"]:
    """Which keypoints of two vocabularies are on the same side, or both on none."""
    sides = [np.array(read_sides(schema.names).sides) for schema in (source, target)]
    return np.asarray(sides[0][:, None] == sides[1])


def _both_sides(
    source: KeypointSchema, target: KeypointSchema, landing: Float[np.ndarray, "K M"]
) -> Float[np.ndarray, "K M"]:
    """The mean of what images say of left keypoints and of their right counterparts."""
    mirrors = [list(read_sides(schema.names).mirror) for schema in (source, target)]
    both = np.stack([landing, landing[np.ix_(*mirrors)]])
    known = np.isfinite(both)
    count = known.sum(0)
    total = np.where(known, both, 0).sum(0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _word_sets(schema: KeypointSchema) -> list[frozenset[str]]:
    mirror = read_sides(schema.names).mirror
    return [
        _words(_without_side(name, schema.names[mirror[index]]))
        for index, name in enumerate(schema.names)
    ]


def _without_side(name: str, counterpart: str) -> str:
    """What a keypoint's name and its counterpart's have in common: the name without its side."""
    if name == counterpart:
        return name
    one, other = SIDE_IN_NAME.sub(" ", name), SIDE_IN_NAME.sub(" ", counterpart)
    if one.lower() == other.lower():
        return one
    start = 0
    while start < min(len(one), len(other)) and one[start] == other[start]:
        start += 1
    end = 0
    while end < min(len(one), len(other)) - start and one[-1 - end] == other[-1 - end]:
        end += 1
    return f"{one[:start]} {one[len(one) - end :]}"


def _words(name: str) -> frozenset[str]:
    """The canonical words of a name: `FrontFoot1` has front, paw and 1."""
    plain = unicodedata.normalize("NFKC", name)
    split = [word.lower() for word in _WORDS.findall(plain)]
    split = [part for word in split for part in _compound(word)]
    words = {_CANONICAL.get(word, word) for word in split if word not in _IGNORED}
    if not words & _LIMBS:
        words |= {limb for part, limb in _IMPLIED.items() if part in words}
    return frozenset(words)


def _compound(word: str) -> list[str]:
    """A word written as one that is two: `tailbase` is tail and base."""
    for end in range(3, len(word) - 2):
        first, second = word[:end], word[end:]
        if (first in _CANONICAL or first == "tail") and second in _CANONICAL:
            return [first, second]
    return [word]


def _similarity(one: frozenset[str], other: frozenset[str]) -> float:
    """The share of words that two names have in common; 0 where they are of different limbs."""
    if not one or not other:
        return 0.0
    limbs = one & _LIMBS, other & _LIMBS
    if all(limbs) and not limbs[0] & limbs[1]:
        return 0.0
    parts = one - _LIMBS, other - _LIMBS
    if all(parts) and not parts[0] & parts[1]:
        return _SAME_LIMB if limbs[0] & limbs[1] else 0.0
    return len(one & other) / len(one | other)


def describe(proposal: Proposal) -> list[str]:
    """The proposal as a table for people, a line for each keypoint.

    Args:
        proposal: what was proposed.
    """
    rows: list[Sequence[str]] = [("source", "target", "score", "names", "images")]
    for pair in proposal.pairs:
        images = "-" if pair.images is None else f"{pair.images:.2f}"
        row = pair.source, pair.target, f"{pair.score:.2f}", f"{pair.names:.2f}", images
        rows.append(row)
    rows += [(name, "-", "", "", "") for name in proposal.unmatched_source]
    rows += [("-", name, "", "", "") for name in proposal.unmatched_target]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
