"""Label audit: which labels of a set contradict the others.

Every labelled object is compared with the others of its category in two ways. By shape: the others
are laid over it by its own keypoints, which says where each of them should be; exchanged sides
turn a shape into its mirror image, which no rotation undoes. And by appearance: descriptors at the
others' keypoints are compared with those at its own. Most labels are taken to be right
(docs/experiments.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from homolog.data.pairs import Annotation
from homolog.keypoints import KeypointSchema
from homolog.labelling.audit.evidence import AuditedObject, Extract, References
from homolog.utils.stats import sigmoid

FEWEST_OBJECTS = 4
"""The number of objects of a category below which nothing is said about them."""

MAX_REFERENCES = 300
"""Objects that all are compared with at most, evenly spaced."""

# Logistic regressions of whether a finding is right on its gain in log density: slope and offset,
# chosen on other draws than those reported (docs/experiments.md).
_EXCHANGE = (1.1, -4.0)
_OUTLIER = (2.1, -7.9)
_LEAST = 0.05  # score of an exchange below which its keypoints may be outliers instead

Kind = Literal["sides", "pair", "swap", "outlier"]


@dataclass(frozen=True)
class Finding:
    """Labels of an object that contradict those of the others.

    Attributes:
        index: of the annotation in the list that was audited.
        kind: `sides` if left and right of the whole object are exchanged; `pair` if a keypoint and
            its mirror counterpart are; `swap` if two other keypoints are; `outlier` if one lies
            elsewhere than it should.
        keypoints: the indices of those concerned.
        score: how probable it is that the labels are wrong, 0 to 1.
        points: (x, y) in pixels of where each of them should be, NaN where it is not labelled.
    """

    index: int
    kind: Kind
    keypoints: tuple[int, ...]
    score: float
    points: Float[np.ndarray, "P 2"]


def audit(
    annotations: Sequence[Annotation],
    schema: KeypointSchema,
    extract: Extract,
    least_score: float = 0.5,
) -> list[Finding]:
    """Find labels that contradict the others, among objects of one category.

    Args:
        annotations: the labelled objects, at least `FEWEST_OBJECTS`.
        schema: what their keypoints mean. Where it does not know left from right, exchanged sides
            are not looked for.
        extract: gives the descriptors of one object after the other; it is called once for each.
        least_score: of the findings that are returned.

    Returns:
        The findings, most probable first.
    """
    assert len(annotations) >= FEWEST_OBJECTS
    objects = [AuditedObject(annotation, schema.mirror) for annotation in annotations]
    count = min(len(objects), MAX_REFERENCES)
    chosen = np.linspace(0, len(objects) - 1, count).round().astype(int).tolist()
    references = References([objects[index] for index in chosen], schema)
    for index in chosen:
        objects[index].extract(references.pose(objects[index]), extract)
    references.collect()
    if schema.sides_known:
        references.find_exchanged()
    references.measure_spread()
    findings = []
    for index, each in enumerate(objects):
        if index not in chosen:
            each.extract(references.pose(each), extract)
        findings += _examine(index, each, references)
        each.map = None
    findings = [finding for finding in findings if finding.score >= least_score]
    return sorted(findings, key=lambda finding: -finding.score)


def _examine(index: int, each: AuditedObject, references: References) -> list[Finding]:
    """All findings about an object, however improbable."""
    findings = []
    if references.schema.sides_known and references.sided.any():
        score = references.exchanged(each)
        each.exchanged = score > 0.5
        mirror, given = np.array(references.schema.mirror), each.annotation.keypoints
        labelled = each.annotation.visible | each.annotation.visible[mirror]
        sided = np.flatnonzero(references.sided & labelled)
        points = given[mirror[sided]]
        findings.append(Finding(index, "sides", tuple(sided.tolist()), score, points))
    density_KK, greatest_K, best_K2 = references.log_density(each)
    exchanges = _exchanges(index, each, density_KK, references.schema)
    accused = {keypoint for found in exchanges for keypoint in found.keypoints}
    outliers = [
        Finding(index, "outlier", (keypoint,), _probability(deficit, _OUTLIER), best_K2[[keypoint]])
        for keypoint, deficit in enumerate(greatest_K - density_KK.diagonal())
        if np.isfinite(deficit) and keypoint not in accused
    ]
    return [*findings, *exchanges, *outliers]


def _exchanges(
    index: int, each: AuditedObject, density_KK: Float[np.ndarray, "K K"], schema: KeypointSchema
) -> list[Finding]:
    """Pairs of keypoints whose labels fit better if they are exchanged, each keypoint once."""
    own = density_KK.diagonal()
    gain = density_KK + density_KK.T - own[:, None] - own[None]
    first, second = np.triu_indices(len(own), 1)
    gains = np.nan_to_num(gain[first, second], nan=-np.inf)
    points = each.annotation.keypoints[each.order]
    findings: list[Finding] = []
    accused: set[int] = set()
    for at in np.argsort(-gains)[: len(own)]:
        pair = int(first[at]), int(second[at])
        if gains[at] <= 0 or accused & set(pair):
            continue
        accused |= set(pair)
        kind: Kind = "pair" if schema.mirror[pair[0]] == pair[1] else "swap"
        score = _probability(float(gains[at]), _EXCHANGE)
        findings.append(Finding(index, kind, pair, score, points[[pair[1], pair[0]]]))
    return [finding for finding in findings if finding.score >= _LEAST]


def _probability(gain: float, regression: tuple[float, float]) -> float:
    slope, offset = regression
    return float(sigmoid(np.array([slope * gain + offset]))[0])
