"""The time that an evaluation takes beside the backbone, at the size of SPair-71k's test split.

    python benchmarks/evaluation.py

Annotations are generated: 1,800 images and 12,234 pairs. Times are on two cores.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from speed import median_ms

from homolog import KeypointSchema, Matcher, MatcherConfig, evaluation
from homolog.data import Annotation, DataSet, LazyPairs, Pair, spair
from homolog.evaluation.report import Report
from homolog.evaluation.run import predict_pair
from homolog.features import FusionConfig
from homolog.image.geometry import Grid
from homolog.image.poses import IDENTITY
from homolog.matching.consensus import ConsensusConfig

CATEGORIES = ("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair",
              "cow", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "train",
              "tvmonitor")  # fmt: skip
PAIRS = 12_234


def lay_out(root: Path) -> None:
    rng = np.random.default_rng(0)
    images: dict[str, dict[str, dict]] = {category: {} for category in CATEGORIES}
    for category in CATEGORIES:
        folder = root / "ImageAnnotation" / category
        folder.mkdir(parents=True)
        for index in range(100):
            points = rng.integers(0, 375, (len(KeypointSchema.spair(category)), 2)).tolist()
            entry = {
                "image_width": 500, "image_height": 375, "bndbox": [10, 10, 480, 360],
                "azimuth_id": int(rng.integers(8)),
                "kps": {str(k): p if rng.random() < 0.6 else None for k, p in enumerate(points)},
            }  # fmt: skip
            images[category][str(index)] = entry
            (folder / f"{index}.json").write_text(json.dumps(entry))
    folder = root / "PairAnnotation" / "test"
    folder.mkdir(parents=True)
    names = []
    for index in range(PAIRS):
        category = CATEGORIES[index % len(CATEGORIES)]
        source, target = (str(i) for i in rng.choice(100, 2, replace=False))
        kps = [images[category][name]["kps"] for name in (source, target)]
        ids = [k for k in kps[0] if kps[0][k] and kps[1][k]]
        names.append(f"{index:06}-{source}-{target}:{category}")
        entry = {
            "category": category, "src_imname": f"{source}.jpg", "trg_imname": f"{target}.jpg",
            "src_bndbox": [10, 10, 480, 360], "trg_bndbox": [10, 10, 480, 360], "kps_ids": ids,
            "src_kps": [kps[0][k] for k in ids], "trg_kps": [kps[1][k] for k in ids],
        }  # fmt: skip
        (folder / f"{names[-1]}.json").write_text(json.dumps(entry))
    (root / "Layout" / "large").mkdir(parents=True)
    (root / "Layout" / "large" / "test.txt").write_text("\n".join(names))


def timed(name: str, limit: str, work: Callable[[], object]) -> object:
    start = time.perf_counter()
    result = work()
    print(f"| {name} | {time.perf_counter() - start:.1f} s | {limit} |", flush=True)
    return result


class PublishedGrid:
    """Random feature maps of the published size, 60 x 60 cells of 768 channels."""

    canvas_size = 840
    grid = Grid.from_patches(840, 14)
    grids = (grid,)
    device = torch.device("cpu")

    def __call__(self, canvases: torch.Tensor) -> list[torch.Tensor]:
        return [torch.randn(len(canvases), 768, 60, 60)]


def per_pair(consensus: ConsensusConfig | None) -> float:
    """Milliseconds for a pair of 20 keypoints whose features are in memory."""
    config = MatcherConfig("random", FusionConfig(((0,),), (1.0,)), 5, 0.02, consensus, 0.0)
    matcher = Matcher(PublishedGrid(), config)
    images = [Image.new("RGB", (500, 375), colour) for colour in ("red", "green")]
    features = matcher.extract(images)
    keypoints = np.random.default_rng(0).uniform(0, 375, (20, 2))
    annotations = [
        Annotation(name, Path(name), "person", keypoints, (0, 0, 375, 375), (500, 375))
        for name in "ab"
    ]
    pair = Pair.of("a-b", *annotations)
    store = dict(zip(annotations, features, strict=True))
    schemas = {"person": KeypointSchema.spair("person")}
    data = DataSet("toy", Path("."), schemas, [pair], "box", (0.1,))
    return median_ms(lambda: predict_pair(matcher, data, pair, store.__getitem__, (IDENTITY,)), 50)


def lazy_pairs(count: int) -> DataSet:
    """That many pairs of 1,000 images, which are made when they are accessed."""
    rng = np.random.default_rng(0)
    keypoints = rng.uniform(0, 375, (1000, 20, 2))
    annotations = [
        Annotation(str(i), Path(str(i)), "toy", points, (0, 0, 375, 375), (500, 375))
        for i, points in enumerate(keypoints)
    ]
    pairs = LazyPairs(annotations, rng.integers(0, 1000, (count, 2)))
    return DataSet("toy", Path("."), {}, pairs, "box", (0.1,))


def main() -> None:
    torch.set_num_threads(2)
    print("| what | time | limit |")
    print("|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        lay_out(root)
        data = timed("reading SPair-71k's test annotations", "15 s", lambda: spair.load(root))
        rng = np.random.default_rng(0)
        path = root / "predictions.jsonl"
        with path.open("w") as file:
            for pair in data.pairs:
                truth = pair.target.keypoints[pair.keypoint_ids]
                points = truth + rng.normal(0, 30, truth.shape)
                line = {"pair": pair.name, "keypoint_ids": pair.keypoint_ids.tolist()}
                file.write(json.dumps(line | {evaluation.ALIGNED: points.tolist()}) + "\n")

        def score() -> Report:
            predictions, _ = evaluation.read_predictions(path, data)
            return Report.of(data, evaluation.score(data, predictions), "random")

        timed("scoring its 12,234 pairs, with 95 % intervals", "5 s", score)
        many = lazy_pairs(100_000)
        timed("annotations of 100,000 pairs", "0.1 s", lambda: many.annotations)
        timed(
            "the same, accessed 1,000 times",
            "0.1 s",
            lambda: [many.annotations for _ in range(1000)],
        )
        for name, consensus in (("as published", None), ("consensus", ConsensusConfig())):
            took = per_pair(consensus)
            limit = "4 ms" if consensus is None else ""
            print(f"| a pair of 20 keypoints at 60 x 60 x 768, {name} | {took:.1f} ms | {limit} |")


if __name__ == "__main__":
    main()
