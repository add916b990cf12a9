"""Label audit: precision and recall of findings where labels were spoiled on purpose.

In each draw, left and right are exchanged in a tenth of the images, two keypoints are swapped in
another tenth, and one keypoint is moved by more than a fifth of the box in a third. Images go
through the backbone once for all draws. `videos` has one frame of each video of the bees.

python benchmarks/audit.py [--draws 20] [--first-seed 0] [--sets dogs bees videos] [--shape-alone]
"""

from __future__ import annotations

import argparse
import dataclasses
from collections import defaultdict

import numpy as np
import real_images
from rich.console import Console
from rich.table import Table

from homolog import KeypointSchema, Matcher
from homolog.data import Annotation
from homolog.descriptors import DescriptorMap
from homolog.image.poses import PoseVariant
from homolog.labelling.audit.evidence import Extract
from homolog.labelling.audit.images import ObjectExtractor
from homolog.labelling.audit.objects import Finding, audit

SHARE = 0.1
# The published labels of the bees have faults of their own (docs/experiments.md): two bees whose
# left and right are exchanged, and four frames of others, which are left out of the rest.
OPPOSITE_HANDS = ("id5353", "id6521")
FAULTY = ("id2851_f3671", "id4663_f0670", "id4663_f0672", "id4663_f0673")

Truth = dict[int, tuple[str, tuple[int, ...]]]
"""What was done to an image, by its index, and to which of its keypoints."""


class CachedExtractor:
    """Descriptors of each object in each pose, extracted once whatever its labels are."""

    def __init__(self, extractor: Extract):
        self.extractor = extractor
        self.found: dict[tuple[str, str], DescriptorMap | None] = {}

    def __call__(self, annotation: Annotation, pose: PoseVariant) -> DescriptorMap | None:
        key = annotation.name, pose.name
        if key not in self.found:
            self.found[key] = self.extractor(annotation, pose)
        return self.found[key]


def spoil(
    annotations: list[Annotation], schema: KeypointSchema, seed: int
) -> tuple[list[Annotation], Truth]:
    """The annotations with some of their labels spoiled, and which."""
    rng = np.random.default_rng(seed)
    count = max(1, round(SHARE * len(annotations)))
    order = rng.permutation(len(annotations)).tolist()
    spoiled, truth = list(annotations), {}
    for rank, index in enumerate(order[: 3 * count]):
        annotation = annotations[index]
        keypoints = annotation.keypoints.copy()
        visible = np.flatnonzero(annotation.visible)
        if rank < count:
            keypoints = keypoints[list(schema.mirror)]
            truth[index] = "sides", ()
        elif rank < 2 * count:
            one, other = sorted(rng.choice(visible, 2, replace=False).tolist())
            keypoints[[one, other]] = keypoints[[other, one]]
            truth[index] = "swap", (one, other)
        else:
            moved = int(rng.choice(visible))
            keypoints[moved] = elsewhere(annotation, keypoints[moved], rng)
            truth[index] = "outlier", (moved,)
        spoiled[index] = dataclasses.replace(annotation, keypoints=keypoints)
    return spoiled, truth


def elsewhere(annotation: Annotation, point: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A point of the box that is more than a fifth of its longer side away."""
    while True:
        found = rng.uniform(annotation.box[:2], annotation.box[2:])
        if np.linalg.norm(found - point) > 0.2 * annotation.reference_length("box"):
            return found


def is_right(finding: Finding, truth: Truth, opposite: set[int]) -> bool:
    """Whether a finding is what was done to the image, or is wrong in the published labels."""
    done, keypoints = truth.get(finding.index, ("", ()))
    if finding.kind == "sides":
        return (done == "sides") != (finding.index in opposite)
    kind = "outlier" if finding.kind == "outlier" else "swap"
    return done == kind and keypoints == finding.keypoints


def measure(
    annotations: list[Annotation], schema: KeypointSchema, extract: Extract, seed: int
) -> dict[str, np.ndarray]:
    """Of each kind the right findings, all findings, and what there was to find, in one draw."""
    opposite = {i for i, a in enumerate(annotations) if any(b in a.name for b in OPPOSITE_HANDS)}
    faulty = {i for i, a in enumerate(annotations) if any(f in a.name for f in FAULTY)}
    counts: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(3, dtype=int))
    spoiled, truth = spoil(annotations, schema, seed)
    for finding in audit(spoiled, schema, extract):
        kind = "swap" if finding.kind == "pair" else finding.kind
        if kind == "sides" or finding.index not in faulty:
            counts[kind] += [is_right(finding, truth, opposite), 1, 0]
    sides = {index for index, (kind, _) in truth.items() if kind == "sides"}
    counts["sides"] += [0, 0, len(sides ^ opposite)]
    for index, (kind, _) in truth.items():
        if kind != "sides" and index not in faulty:
            counts[kind] += [0, 0, 1]
    return counts


def one_of_each_video(annotations: list[Annotation], seed: int) -> list[Annotation]:
    """A frame of each video, drawn at random: no image has a near copy."""
    rng = np.random.default_rng([seed, 1])
    videos = defaultdict(list)
    for annotation in annotations:
        videos[annotation.name.rpartition("_f")[0]].append(annotation)
    return [several[rng.integers(len(several))] for several in videos.values()]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--sets", nargs="+", default=["dogs", "bees", "videos"])
    parser.add_argument("--shape-alone", action="store_true")
    options = parser.parse_args()
    seeds = range(options.first_seed, options.first_seed + options.draws)
    matcher = Matcher.from_pretrained("embedded")
    table = Table("set", "images", "spoiled", "found", "right", "precision", "recall")
    for name in options.sets:
        data = real_images.dogs() if name == "dogs" else real_images.bees("train")
        annotations, (schema,) = data.annotations, data.schemas.values()
        if name == "videos":
            annotations = [*annotations, *real_images.bees("test").annotations]
        extract: Extract = CachedExtractor(ObjectExtractor(matcher, annotations))
        if options.shape_alone:
            extract = lambda annotation, pose: None  # noqa: E731
        found: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(3, dtype=int))
        for seed in seeds:
            chosen = one_of_each_video(annotations, seed) if name == "videos" else annotations
            for kind, counts in measure(chosen, schema, extract, seed).items():
                found[kind] += counts
        for kind, (right, findings, all_spoiled) in sorted(found.items()):
            table.add_row(
                f"{name}, {kind}", str(len(chosen)), str(all_spoiled), str(findings),
                str(right), f"{right / max(1, findings):.2f}", f"{right / max(1, all_spoiled):.2f}",
            )  # fmt: skip
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
