"""What each second buys: accuracy against seconds a pair, by setting and by what it is made of.

    python benchmarks/quality.py [--model embedded] [--limit PAIRS] [--threads 2] [--timed 10]
        [--data dogs willow bees] [--boxes none annotated] [--poses none] [--only fast best]

PCK (per image, with 95 % intervals) and left/right confusion (percent) are those of
`homolog evaluate`, whose features serve several pairs. Seconds are those of a pair from its files,
the median of some. With `--poses flip` points are named, and those of a flipped source are matched
by their mirror counterparts.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

import numpy as np
import real_images
import torch
from zoom import with_sizes

from homolog import Matcher
from homolog.data import DataSet
from homolog.evaluation.metrics import PCKAccumulator
from homolog.evaluation.views import Boxes, FeatureStore, ObjectViews, queries
from homolog.image.poses import PoseVariant, as_poses
from homolog.quality import QUALITIES, Quality

SETTINGS: dict[str, Quality] = {
    **QUALITIES,
    "zoom": Quality("auto", False, False),
    "mirror": Quality(None, True, False),
    "refine": Quality(None, False, True),
    "zoom, mirror": Quality("auto", True, False),
    "zoom, refine": Quality("auto", False, True),
    "mirror, refine": Quality(None, True, True),
}
"""The named settings, and what they are made of."""

MEMORY = 8_000_000_000


def accuracy(
    matcher: Matcher,
    data: DataSet,
    boxes: Boxes,
    setting: Quality,
    poses: Sequence[PoseVariant],
) -> str:
    """PCK at 0.10 and 0.05 with intervals, and confusion, as cells of a table."""
    views = ObjectViews.of(data, boxes, setting.zoom, setting.mirror, bool(setting.refine))
    features = FeatureStore(matcher, views, poses, MEMORY)
    accumulator = PCKAccumulator(data)
    for pair in data.pairs:
        source, target = features(pair.source), features(pair.target)
        # All visible keypoints are given: in a flipped image, mirror counterparts are looked up.
        given = np.flatnonzero(pair.source.visible)
        points = queries(pair.source.keypoints[given], source)
        schema = data.schemas[pair.source.category]
        prepared = matcher.pair(source, target, poses=poses, schema=schema, refine=setting.refine)
        found = prepared.transfer_points(points, given.tolist())
        accumulator.add(pair, found[np.searchsorted(given, pair.keypoint_ids)])
    rows = {(row.kind, row.label): row.estimates for row in accumulator.rows()}
    cells = []
    for alpha in (0.1, 0.05):
        estimate = rows["per_image", ""][f"pck@{alpha:.2f}"]
        low, high = (100 * value for value in estimate.interval)
        cells.append(f"{100 * estimate.value:.1f} ({low:.1f} to {high:.1f})")
    confusion = rows.get(("left_right_confusion", ""))
    cells.append("" if confusion is None else f"{100 * confusion['share'].value:.1f}")
    return " | ".join(cells)


def seconds(
    matcher: Matcher,
    data: DataSet,
    boxes: Boxes,
    setting: Quality,
    poses: Sequence[PoseVariant],
    count: int,
) -> float:
    """Seconds that a pair takes from its files to points: the median of some pairs."""
    given = {"zoom": setting.zoom or "none", "mirror": setting.mirror, "refine": setting.refine}
    taken = []
    for pair in data.subsample(count).pairs:
        shown = [each.xywh if boxes == "annotated" else None for each in (pair.source, pair.target)]
        rows = np.flatnonzero(pair.source.visible)
        begun = time.perf_counter()
        prepared = matcher.pair(
            pair.source.path, pair.target.path, poses=poses, box0=shown[0], box1=shown[1],
            schema=data.schemas[pair.source.category], **given,
        )  # fmt: skip
        prepared.transfer(queries(pair.source.keypoints[rows], prepared.image0), rows.tolist())
        taken.append(time.perf_counter() - begun)
    return float(np.median(taken))


def main() -> None:
    sets = {
        "dogs": real_images.dogs, "willow": real_images.willow,
        "bees": lambda: real_images.bees("test"),
    }  # fmt: skip
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--data", nargs="+", choices=sets, default=list(sets))
    parser.add_argument("--boxes", nargs="+", choices=["none", "annotated"], default=["none"])
    parser.add_argument("--poses", choices=["none", "flip"], default="none")
    parser.add_argument("--only", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--limit", type=int)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--timed", type=int, default=10)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    matcher, poses = Matcher.from_pretrained(given.model), as_poses(given.poses)
    settings: dict[Quality, list[str]] = {}  # those that are the same are measured once
    for name in given.only:
        settings.setdefault(SETTINGS[name], []).append(name)
    print(
        "| data | boxes | setting | PCK@0.10 | PCK@0.05 | left/right confusion | seconds a pair |"
    )
    print("|---|---|---|---|---|---|---|")
    for name in given.data:
        data = with_sizes(sets[name]().subsample(given.limit))
        for boxes in given.boxes:
            for setting, names in settings.items():
                found = accuracy(matcher, data, boxes, setting, poses)
                cost = seconds(matcher, data, boxes, setting, poses, given.timed)
                print(f"| {data.name} | {boxes} | {' = '.join(names)} | {found} | {cost:.2f} |")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
