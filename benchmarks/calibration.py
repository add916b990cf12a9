"""What depends on a model's descriptors, fitted anew: how much sides count, and what scores mean.

    python benchmarks/calibration.py MODEL --renders SET --hold-out Fox Donkey Stag \\
        [--photos FOLDER...] [--count 60] [--draws 3]

MODEL is a preset or a model folder with a side head. Everything is fitted on renders of models that
were not trained on, on bees `train.json`, and on photos that nobody labelled, whose kinds all
differ; nothing on the sets that models are judged on. Printed are the evidence, beside what today's
values do on the same images, and at the end the values, for `homolog.presets`.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from unittest import mock

import calibration_objects
import calibration_scores
import numpy as np
import real_images
from calibration_fits import auc, balanced_threshold, calibration_error, fit, quantiles
from review import EXCHANGED

from homolog import Features, Matcher, MatcherConfig
from homolog.config import CalibrationConfig
from homolog.data import Annotation, DataSet, Pair
from homolog.image.poses import IDENTITY
from homolog.image.reading import find_images
from homolog.labelling.exemplar_features import BATCH
from homolog.labelling.exemplars import Exemplars
from homolog.matching import confidence
from homolog.networks.sides import SideHead, objectness_confidence, presence
from homolog.training.sides import (
    RenderedDataset,
    calibrate,
    presence_calibration,
    read_rendered_dataset,
)
from homolog.utils.stats import sigmoid

TEMPERATURES = (0.03, 0.04, 0.05, 0.06, 0.08)
EXEMPLARS = (1, 3, 10)
_FLOOR = 0.005  # of shape residuals, as in homolog.labelling.calibration
_INDEPENDENT_PER_IMAGE = 4.0  # likewise


@dataclass(frozen=True)
class Evidence:
    """What is calibrated on.

    Attributes:
        renders: a rendered set.
        held_out: indices of its images that show only models not trained on.
        bees: pairs of labelled photos of another kind.
        photos: photos of kinds that all differ.
        count: images of each that are looked at, at most.
        draws: of exemplars.
    """

    renders: RenderedDataset
    held_out: Sequence[int]
    bees: DataSet
    photos: Sequence[Path]
    count: int = 60
    draws: int = 3

    @classmethod
    def read(
        cls,
        renders: Path,
        held_out: Sequence[str],
        photos: Sequence[Path] = (),
        count: int = 60,
        draws: int = 3,
    ) -> Evidence:
        """The sets by where they lie; bees are those of `real_images`."""
        dataset = read_rendered_dataset(renders)
        bees = real_images.bees("train")
        # One bee is annotated with left and right exchanged.
        right = [a for a in bees.annotations if not any(bee in a.name for bee in EXCHANGED)]
        # Frames of a video follow each other: evenly spaced ones are of most videos.
        some = set(spread(sorted(right, key=lambda each: each.name), count))
        pairs = [p for p in bees.pairs if p.source in some and p.target in some]
        bees = dataclasses.replace(bees, pairs=pairs)
        found = find_images(photos) if photos else []
        return cls(dataset, dataset.split(held_out)[1], bees, found, count, draws)

    @cached_property
    def single(self) -> DataSet:
        """Pairs of renders that show one object each."""
        rows = self.renders.single_object(self.held_out)
        return self.renders.to_dataset(rows, self.count)

    @property
    def empty(self) -> list[Path]:
        """Renders without any object of a known kind."""
        files = zip(self.renders.files, self.renders.objects, strict=True)
        return [self.renders.folder / file for file, objects in files if not objects]


def spread(items: Sequence, count: int) -> list:
    """At most so many, evenly spaced."""
    return [items[i] for i in np.linspace(0, len(items) - 1, min(count, len(items))).astype(int)]


def calibrate_model(matcher: Matcher, evidence: Evidence) -> MatcherConfig:
    """The configuration of a model with all that depends on its descriptors fitted anew.

    Args:
        matcher: has a side head.
        evidence: what is calibrated on.
    """
    matcher = calibrate_sides(matcher, evidence)
    features = {
        "renders": (a := evidence.single.annotations, extract(matcher, [x.path for x in a])),
        "bees": (a := evidence.bees.annotations, extract(matcher, [x.path for x in a])),
    }
    photos = extract(matcher, spread(evidence.photos, evidence.count))
    threshold = calibrate_pair_score(matcher, features, photos)
    sets = {"renders": evidence.single, "bees": evidence.bees}
    match_scores(matcher, features, sets)
    keypoints, adapted = calibrate_keypoints(matcher, evidence, features)
    likeness = calibration_objects.calibrate_likeness(
        matcher, evidence.renders, evidence.held_out, evidence.photos, evidence.count // 2
    )
    least = calibration_objects.calibrate_least_likeness(matcher, features, photos, evidence)
    fitted = CalibrationConfig(keypoints, adapted, *likeness, least_likeness=least)
    scores = calibration_scores.calibrate_scores(
        {
            kind: scored_points(matcher, kind, features, sets[kind], photos, evidence)
            for kind in sets
        }
    )
    config = dataclasses.replace(
        matcher.config, same_category_threshold=threshold, score_calibration=scores
    )
    settings = config.post_processor
    if settings is None:
        print(f"\n{fitted}\n{scores}")
        return config
    before = settings.zero_shot_threshold
    settings = dataclasses.replace(
        settings,
        calibration=fitted,
        zero_shot_threshold=matcher.config.same_category_threshold if before is None else before,
    )
    return dataclasses.replace(config, post_processor=settings)


def scored_points(
    matcher: Matcher,
    kind: str,
    features: AnnotatedFeatures,
    data: DataSet,
    photos: Sequence[Features],
    evidence: Evidence,
) -> calibration_scores.Points:
    """Matched points of a set that scores are fitted on."""
    own, pairs = extracted_pairs(features[kind], data)
    pairs = [pair for pair in pairs if calibration_scores.alike_in_angle(pair)]
    mask_of = calibration_scores.rendered_masks(evidence.renders) if kind == "renders" else None
    return calibration_scores.match_points(
        matcher, spread(pairs, 4 * evidence.count), own.__getitem__, mask_of, photos
    )


def extracted_pairs(
    of_set: tuple[Sequence[Annotation], list[Features]], data: DataSet
) -> tuple[dict[Annotation, Features], list[Pair]]:
    """The features of each object of a set, and the pairs that these are known of."""
    own = dict(zip(*of_set, strict=True))
    return own, [pair for pair in data.pairs if pair.source in own and pair.target in own]


def extract(matcher: Matcher, paths: Sequence[Path]) -> list[Features]:
    """Features of images, a batch at a time."""
    batches = (paths[start : start + BATCH] for start in range(0, len(paths), BATCH))
    return [features for batch in batches for features in matcher.extract(batch)]


def calibrate_sides(matcher: Matcher, evidence: Evidence) -> Matcher:
    """The matcher with its presence fitted, and the best weights of sides and coordinates."""
    held_out = [evidence.renders.files[row] for row in evidence.held_out]
    kinds = {
        "renders of models held out": [evidence.renders.folder / file for file in held_out],
        "renders without such an object": evidence.empty,
        "bees": [each.path for each in evidence.bees.annotations],
        "photos of all kinds": list(evidence.photos),
    }
    found: dict[str, np.ndarray] = {}
    shares: dict[str, float] = {}
    config = matcher.config.sides
    assert config is not None and matcher.side_head is not None, "a model with a side head"
    for kind, paths in ((kind, paths) for kind, paths in kinds.items() if paths):
        maps = [f.by_pose[IDENTITY].sides for f in extract(matcher, spread(paths, evidence.count))]
        found[kind] = np.array([float(objectness_confidence(each.objectness)) for each in maps])
        shares[kind] = float(np.mean([float(presence(m.objectness, config)) > 0.8 for m in maps]))
    known, empty, *_ = found.values()
    fitted = presence_calibration(known, empty)
    print("\n| confidence in objectness | 10 % | median | 90 % | found, before | now |")
    print("|---|---|---|---|---|---|")
    for kind, values in found.items():
        now = np.mean(sigmoid(fitted[0] * values + fitted[1]) > 0.8)
        cells = f"{quantiles(values)} | {100 * shares[kind]:.0f} % | {100 * now:.0f} %"
        print(f"| {kind} | {cells} |", flush=True)

    network: SideHead = matcher.side_head
    network.config = dataclasses.replace(config, presence_calibration=fitted)
    sets = [evidence.single.subsample(4 * evidence.count)]
    sets += [evidence.bees.subsample(4 * evidence.count)]
    best, tried = calibrate(matcher.with_config(sides=None), network, sets)
    print("\n| sides | coordinates | right less mirrored |\n|---|---|---|")
    for each, value in tried:
        mark = "**" if each == best else ""
        print(f"| {each.side_weight} | {each.coordinate_weight} | {mark}{100 * value:.1f}{mark} |")
    network.config = best
    whole = dataclasses.replace(matcher.config, sides=best)
    return Matcher(
        matcher.backbone, whole, matcher.max_pixels, matcher.cache, matcher.network, network,
        matcher.name,
    )  # fmt: skip


AnnotatedFeatures = dict[str, tuple[Sequence[Annotation], list[Features]]]
"""By the name of a set its objects, and features of their images."""


def calibrate_pair_score(
    matcher: Matcher, features: AnnotatedFeatures, photos: Sequence[Features]
) -> float:
    """The pair score from which two images probably show objects of one category.

    Where as few pairs as possible are wrong, of which every row of the table counts the same.
    """
    sets = {kind: each for kind, (_, each) in features.items()}
    same = {kind: pair_scores(matcher, each, each) for kind, each in sets.items()}
    different = {"renders and bees": pair_scores(matcher, *sets.values())}
    if photos:
        different["two photos"] = pair_scores(matcher, photos, photos)
        different |= {
            f"{kind} and photos": pair_scores(matcher, each, photos) for kind, each in sets.items()
        }
    best = balanced_threshold(list(same.values()), list(different.values()))
    before = matcher.config.same_category_threshold
    print(f"\n| pair score | 10 % | median | 90 % | from {before} | from {best} |")
    print("|---|---|---|---|---|---|")
    for kind, scores in {**{f"two of {k}": v for k, v in same.items()}, **different}.items():
        passed = (
            "-" if limit is None else f"{100 * np.mean(scores >= limit):.0f} %"
            for limit in (before, best)
        )
        print(f"| {kind} | {quantiles(scores)} | {' | '.join(passed)} |", flush=True)
    return best


def pair_scores(
    matcher: Matcher, sources: Sequence[Features], targets: Sequence[Features]
) -> np.ndarray:
    """Scores of pairs drawn at random, of as many pairs as there are images."""
    rng = np.random.default_rng(0)
    drawn = ((i, int(rng.integers(len(targets)))) for i in range(len(sources)))
    return np.array(
        [
            matcher.pair(sources[i], targets[j]).score
            for i, j in drawn
            if sources[i] is not targets[j]
        ]
    )


def match_scores(matcher: Matcher, features: AnnotatedFeatures, sets: dict[str, DataSet]) -> None:
    """Print how well scores of matches rank right and wrong ones, at several temperatures."""
    matcher = matcher.with_config(score_calibration=None)
    print("\n| AUC of matching scores at temperature |", " | ".join(map(str, TEMPERATURES)), "|")
    print("|---" * (len(TEMPERATURES) + 1) + "|")
    for kind, data in sets.items():
        own, pairs = extracted_pairs(features[kind], data)
        ranked = []
        for temperature in TEMPERATURES:
            scores, correct = [], []
            with mock.patch.object(confidence.window_log_prob, "__defaults__", (None, temperature)):
                for pair in spread(pairs, 2 * len(own)):
                    points = pair.source.keypoints[pair.keypoint_ids]
                    found = matcher.pair(own[pair.source], own[pair.target]).transfer(points)
                    truth = pair.target.keypoints[pair.keypoint_ids]
                    errors = np.linalg.norm(found.keypoints1 - truth, axis=1)
                    correct.append(errors <= 0.1 * pair.target.reference_length("box"))
                    scores.append(found.matching_scores)
            ranked.append(auc(np.concatenate(scores), np.concatenate(correct)))
        print(f"| {kind} |", " | ".join(f"{each:.3f}" for each in ranked), "|", flush=True)


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predicted keypoints of one set.

    Attributes:
        features: the confidence features of each (`KeypointPrediction`).
        odds: of the keypoint among the exemplars; NaN where these did not judge each other.
        correct: which are within a tenth of the box.
        weights: so that the keypoints of one image count as four at most.
    """

    features: np.ndarray
    odds: np.ndarray
    correct: np.ndarray
    weights: np.ndarray

    def columns(self, adapted: bool) -> np.ndarray:
        """What the logit is linear in."""
        parts = [self.features[:, :4]]
        if adapted:
            parts += [np.log(self.features[:, 4:] + _FLOOR), self.odds[:, None]]
        return np.concatenate([*parts, np.ones((len(self.odds), 1))], axis=1)

    def where_adapted(self) -> Predictions:
        """Those whose exemplars judged each other."""
        rows = np.isfinite(self.odds)
        arrays = (self.features, self.odds, self.correct, self.weights)
        return Predictions(*(each[rows] for each in arrays))


def predict(
    matcher: Matcher, data: DataSet, targets: dict[Annotation, Features], draws: int
) -> Predictions:
    """Keypoints of images, each predicted from exemplars drawn at random from the others."""
    rows: list[tuple[np.ndarray, ...]] = []
    prepared: dict = {}
    annotations = list(targets)
    for draw in range(draws):
        order = np.random.default_rng(draw).permutation(len(annotations))
        for count in (each for each in EXEMPLARS if each < len(annotations)):
            chosen = [annotations[i] for i in order[:count]]
            exemplars = Exemplars(matcher, chosen, data.schemas, prepared=prepared)
            for annotation in (annotations[i] for i in order[count:]):
                found = exemplars.find(targets[annotation], annotation.category)
                visible = annotation.visible
                errors = np.linalg.norm(found.points - annotation.keypoints, axis=1)[visible]
                odds = exemplars.calibration.keypoints.get(annotation.category)
                known = np.full(len(visible), np.nan) if odds is None else np.array(odds)
                weight = min(1.0, _INDEPENDENT_PER_IMAGE / max(visible.sum(), 1))
                rows.append(
                    (
                        found.confidence_features[visible], known[visible],
                        errors <= 0.1 * annotation.reference_length("box"),
                        np.full(len(errors), weight),
                    )
                )  # fmt: skip
    return Predictions(*(np.concatenate(each) for each in zip(*rows, strict=True)))


def calibrate_keypoints(
    matcher: Matcher, evidence: Evidence, features: AnnotatedFeatures
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Weights of confidence features, without exemplars that judge each other and with them."""
    sets = {"renders": evidence.single, "bees": evidence.bees}
    found = {
        kind: predict(matcher, data, dict(zip(*features[kind], strict=True)), evidence.draws)
        for kind, data in sets.items()
    }
    before = matcher.config.calibration
    values = []
    for adapted, current in ((False, before.keypoints), (True, before.adapted_keypoints)):
        used = {k: v.where_adapted() if adapted else v for k, v in found.items()}
        fitted = fit([(p.columns(adapted), p.correct, p.weights) for p in used.values()])
        name = "adapted" if adapted else "not adapted"
        print(f"\n| keypoints, {name} | right | AUC before | now | fitted on the other set "
              "| error before | now | fitted on the other set |")  # fmt: skip
        print("|---" * 8 + "|")
        for kind, each in used.items():
            others = [(p.columns(adapted), p.correct, p.weights)
                      for k, p in used.items() if k != kind]  # fmt: skip
            tried = [sigmoid(each.columns(adapted) @ np.array(w)) for w in
                     (current, fitted, fit(others))]  # fmt: skip
            cells = [f"{100 * each.correct.mean():.0f} % of {len(each.correct):,}"]
            cells += [f"{auc(scores, each.correct):.3f}" for scores in tried]
            cells += [f"{calibration_error(scores, each.correct):.3f}" for scores in tried]
            print(f"| {kind} | {' | '.join(cells)} |", flush=True)
        values.append(fitted)
    return values[0], values[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--renders", type=Path, required=True)
    parser.add_argument("--hold-out", nargs="+", required=True)
    parser.add_argument("--photos", type=Path, nargs="+", default=[])
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--draws", type=int, default=3)
    given = parser.parse_args()
    matcher = Matcher.from_pretrained(given.model)
    evidence = Evidence.read(given.renders, given.hold_out, given.photos, given.count, given.draws)
    print(f"\n{calibrate_model(matcher, evidence)}")


if __name__ == "__main__":
    main()
