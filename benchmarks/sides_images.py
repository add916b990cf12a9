"""Images of what a side head predicts, and of the pairs that it helps, chosen by percentile.

    python benchmarks/sides_images.py RENDERS OUT --hold-out Fox Donkey Stag [--model embedded]

RENDERS is a set that `homolog synth` rendered; only images of one object, of models held out, are
drawn. `sides.jpg` shows the sides of three images, at the 10th, 50th and 90th percentile of the
fraction of keypoints whose side is correct; `sides_pairs.jpg` shows the pairs at the same
percentiles of the gain in PCK@0.10, matched without sides (left) and with them. With `--photos` it
is dogs in photos instead, which must not be passed on.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import real_images
from PIL import Image
from sides import evaluate, extract, unseen

from homolog import Matcher
from homolog.data import Pair
from homolog.viz.pairs import plot_errors, plot_sides
from homolog.viz.raster import save_image, stack_vertically

_PERCENTILES = (10, 50, 90)
_MIN_KEYPOINTS = 6  # of an image or a pair


def at_percentiles(values: np.ndarray, counts: np.ndarray) -> list[int]:
    """The images or pairs nearest to the percentiles, of those with enough keypoints."""
    usable = np.flatnonzero(counts >= _MIN_KEYPOINTS)
    ordered = usable[np.argsort(values[usable], kind="stable")]
    return [int(ordered[round(p / 100 * (len(ordered) - 1))]) for p in _PERCENTILES]


def side_by_side(images: Sequence[Image.Image], height: int) -> Image.Image:
    """Images in a row, at one height."""
    scaled = [
        image.resize((round(image.width * height / image.height), height)) for image in images
    ]
    sheet = Image.new("RGB", (sum(image.width for image in scaled), height), "white")
    left = 0
    for image in scaled:
        sheet.paste(image, (left, 0))
        left += image.width
    return sheet


def draw_pair(matcher: Matcher, pair: Pair, label: str) -> Image.Image:
    """A pair with its predicted and its true keypoints."""
    ids = pair.keypoint_ids
    source, target = pair.source.path, pair.target.path
    points, truth = pair.source.keypoints[ids], pair.target.keypoints[ids]
    predicted = matcher.pair(source, target).transfer_points(points)
    correct = np.linalg.norm(predicted - truth, axis=1) <= 0.1 * pair.target.reference_length("box")
    caption = f"{label}: {correct.sum()} of {len(ids)}"
    return plot_errors(source, target, points, truth, predicted, correct, caption)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("renders", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--hold-out", nargs="+", required=True)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--photos", action="store_true")
    given = parser.parse_args()
    matcher = Matcher.from_pretrained(given.model)
    zero_shot = Matcher.from_pretrained("embedded-zero-shot")
    data = real_images.dogs() if given.photos else unseen(given.renders, given.hold_out)
    features = extract(zero_shot, data)
    before = evaluate(zero_shot, data, features)
    networks = matcher.side_head, matcher.network
    after = evaluate(zero_shot, data, features, matcher.config, *networks)
    assert after.sides is not None
    accuracy = after.sides.correct / np.maximum(after.sides.total, 1)
    chosen = at_percentiles(accuracy, after.sides.total)
    drawings = []
    for percentile, row in zip(_PERCENTILES, chosen, strict=True):
        path = data.annotations[row].path
        drawings.append(plot_sides(path, matcher.sides(path)))
        print(f"{percentile}th percentile of images: {100 * accuracy[row]:.0f} % correct, {path}")
    given.out.mkdir(parents=True, exist_ok=True)
    save_image(side_by_side(drawings, 420), given.out / "sides.jpg")
    gains = after.pck - before.pck
    counts = np.array([len(pair.keypoint_ids) for pair in data.pairs])
    rows = []
    for percentile, row in zip(_PERCENTILES, at_percentiles(gains, counts), strict=True):
        pair = data.pairs[row]
        both = [draw_pair(zero_shot, pair, "without"), draw_pair(matcher, pair, "with")]
        rows.append(side_by_side(both, 420))
        print(f"{percentile}th percentile of pairs: {100 * gains[row]:+.0f} %, {pair.name}")
    save_image(stack_vertically(rows), given.out / "sides_pairs.jpg")


if __name__ == "__main__":
    main()
