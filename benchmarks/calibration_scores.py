"""Matching scores, fitted anew to be probabilities.

Points of four kinds are matched: keypoints that the target shows, keypoints that it does not,
points beside the object, and keypoints in images of other kinds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from calibration_fits import auc, calibration_error, fit
from PIL import Image, ImageFilter

from homolog import Features, Matcher
from homolog.data import Annotation, Pair
from homolog.image.poses import IDENTITY
from homolog.matching.calibration import MatchWeights, ScoreCalibration
from homolog.pair import ImagePair
from homolog.training.sides import RenderedDataset
from homolog.utils.stats import sigmoid

SHOWN, HIDDEN, BESIDE, OTHER = range(4)
KINDS = ("shown", "hidden", "beside", "other")
"""Keypoints that the target shows, and does not show, points beside the object, other kinds."""

BESIDE_COUNT = 6  # points beside the object of each source
_MARGIN = 0.15  # around a box without a mask, in shares of its longer edge
_GROWN = 9  # pixels of the filter that makes a mask larger
# How much all points of a kind count against the keypoints that are shown. Of points that users ask
# for, most are on the object and are shown: a score is to be right for these, and what is fitted on
# one set then holds on the other (docs/experiments.md).
_SHARES = {"right": (1.0, 0.0, 0.0, 0.0), "visible": (1.0, 0.1, 1.0, 0.1)}
_ALIKE = np.pi / 4  # two objects turned by more than this are matched by trying poses

MaskOf = Callable[[Annotation], np.ndarray | None]


@dataclass(frozen=True, eq=False)
class Points:
    """Matched points of one set.

    Attributes:
        columns: the evidence of each (`MatchEvidence`), and 1.
        confidence: by cycle consistency: what scores are without a calibration.
        kinds: of each, an index of `KINDS`.
        right: which are within a tenth of the box.
        pairs: the number of the pair that each is of.
    """

    columns: np.ndarray
    confidence: np.ndarray
    kinds: np.ndarray
    right: np.ndarray
    pairs: np.ndarray


def alike_in_angle(pair: Pair) -> bool:
    """Whether the two objects lie at much the same angle, by their keypoints.

    Args:
        pair: of annotations.
    """
    both = pair.source.visible & pair.target.visible
    source, target = (
        each.keypoints[both] @ np.array([1, 1j]) for each in (pair.source, pair.target)
    )
    if len(source) < 2:
        return False
    turned = np.vdot(source - source.mean(), target - target.mean())
    return bool(abs(np.angle(turned)) <= _ALIKE)


def match_points(
    matcher: Matcher,
    pairs: Sequence[Pair],
    features: Callable[[Annotation], Features],
    mask_of: MaskOf | None,
    others: Sequence[Features] = (),
) -> Points:
    """Match the keypoints of pairs, and points beside the object; in other images, too.

    Args:
        matcher: matches them.
        pairs: of annotations.
        features: of an annotation's image.
        mask_of: of an annotation's object; None where it is not known what is beside it.
        others: images without such objects.
    """
    matcher = matcher.with_config(score_calibration=None)
    parts: list[tuple[np.ndarray, ...]] = []
    rng = np.random.default_rng(0)
    for number, pair in enumerate(pairs):
        source, target = features(pair.source), features(pair.target)
        ids = np.flatnonzero(pair.source.visible)
        points = np.clip(pair.source.keypoints[ids], 0, np.array(source.size))
        shown = pair.target.visible[ids]
        beside = np.empty((0, 2))
        if mask_of is not None:
            beside = np.array(list(points_beside(pair.source, source.size, mask_of, rng)))
        found, columns, scores = evidence(
            matcher.pair(source, target), np.concatenate([points, beside.reshape(-1, 2)])
        )
        errors = np.linalg.norm(found[: len(ids)] - pair.target.keypoints[ids], axis=1)
        reach = 0.1 * pair.target.reference_length("box")
        right = shown & (np.nan_to_num(errors, nan=np.inf) <= reach)
        kinds = np.concatenate([np.where(shown, SHOWN, HIDDEN), np.full(len(beside), BESIDE)])
        right = np.concatenate([right, np.full(len(beside), False)])
        parts.append((columns, scores, kinds, right, np.full(len(kinds), number)))
        if len(others) and number % 4 == 0:
            other = others[number // 4 % len(others)]
            _, columns, scores = evidence(matcher.pair(source, other), points)
            same = np.full(len(points), number)
            parts.append(
                (columns, scores, np.full_like(same, OTHER), np.zeros_like(same) > 0, same)
            )
    return Points(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def evidence(pair: ImagePair, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Matches of points, what is known of each, with a column of ones, and their confidence."""
    found = pair.transfer(points)
    source, target = pair.source_map(IDENTITY), pair.target_map
    like = source.descriptors_HWC
    cells, targets, confidence = (
        like.new_tensor(each)
        for each in (
            source.transform.to_cells(points), target.transform.to_cells(found.keypoints1),
            found.matching_scores,
        )
    )  # fmt: skip
    columns = pair.scorer(IDENTITY).evidence(cells, targets, confidence).columns().numpy()
    columns = np.concatenate([columns, np.ones((len(columns), 1))], axis=1)
    return found.keypoints1, columns, found.matching_scores


def points_beside(
    annotation: Annotation, size: tuple[int, int], mask_of: MaskOf, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Points of an image that are not on its object, drawn at random; none where it fills it."""
    mask = mask_of(annotation)
    if mask is None:
        mask = np.zeros(size[::-1], dtype=bool)
        margin = _MARGIN * annotation.reference_length("box")
        x0, y0, x1, y1 = np.array(annotation.box) + np.array([-1, -1, 1, 1]) * margin
        mask[max(0, int(y0)) : max(0, int(y1) + 1), max(0, int(x0)) : max(0, int(x1) + 1)] = True
    else:
        grown = Image.fromarray(mask.astype(np.uint8) * 255).filter(ImageFilter.MaxFilter(_GROWN))
        mask = np.asarray(grown) > 0
    outside = np.argwhere(~mask)
    for y, x in outside[rng.permutation(len(outside))[:BESIDE_COUNT]]:
        yield np.array([x + 0.5, y + 0.5])


def rendered_masks(renders: RenderedDataset) -> MaskOf:
    """The masks of all objects of a rendered image."""
    rows = {file: row for row, file in enumerate(renders.files)}

    def mask_of(annotation: Annotation) -> np.ndarray:
        _, instances = renders.coordinates(rows[str(annotation.path.relative_to(renders.folder))])
        return instances > 0

    return mask_of


def calibrate_scores(sets: dict[str, Points]) -> ScoreCalibration:
    """Fit what makes scores probabilities, and print how good that is on each set.

    Args:
        sets: points by the name of their set, each of which counts the same.
    """
    fitted = {
        name: fit([samples(each, name) for each in sets.values()]) for name in ("right", "visible")
    }
    print(
        "\n| scores | right | mean, before | now | calibration error, before | now | fitted on the "
        "other set | AUC, before | now |"
    )
    print("|---" * 9 + "|")
    for name, points in sets.items():
        others = [samples(each, "right") for k, each in sets.items() if k != name]
        rows, right = points.kinds == SHOWN, points.right
        values = [points.confidence, sigmoid(points.columns @ np.array(fitted["right"]))]
        values += [sigmoid(points.columns @ np.array(fit(others)))] if others else []
        cells = [f"{100 * right[rows].mean():.0f} % of {rows.sum():,}"]
        cells += [f"{each[rows].mean():.2f}" for each in values[:2]]
        cells += [f"{calibration_error(each[rows], right[rows]):.3f}" for each in values]
        cells += [f"{auc(each[rows], right[rows]):.3f}" for each in values[:2]]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    print("\n| scores, and what is not visible |", " | ".join(KINDS), "|")
    print("|---" * 5 + "|")
    for name, points in sets.items():
        score = sigmoid(points.columns @ np.array(fitted["right"]))
        visible = sigmoid(points.columns @ np.array(fitted["visible"])) >= 0.5
        kinds = [points.kinds == kind for kind in range(4)]
        cells = [
            f"{score[rows].mean():.2f}, {100 * (~visible[rows]).mean():.0f} %"
            if rows.any()
            else "-"
            for rows in kinds
        ]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    return ScoreCalibration(MatchWeights(*fitted["right"]), MatchWeights(*fitted["visible"]))


def samples(points: Points, target: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Evidence, what is true, and the weights, of what is to be told."""
    truth = points.right if target == "right" else points.kinds == SHOWN
    counts = np.bincount(points.kinds, minlength=4)
    shares = np.array(_SHARES[target]) * counts[SHOWN] / np.maximum(counts, 1)
    weights = shares[points.kinds]
    used = weights > 0
    return points.columns[used], truth[used], weights[used]
