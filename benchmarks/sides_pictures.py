"""Pictures of what sides learned from renders do, chosen by percentile and not by hand.

    python benchmarks/sides_pictures.py RENDERS OUT --hold-out Fox Donkey Stag [--model embedded]

RENDERS is a set that `homolog synth` made; only pictures of one thing, of models held out, are
drawn. `sides.jpg` paints three at the 10th, 50th and 90th percentile of the share of keypoints
whose side is right; `sides_pairs.jpg` shows the pairs at the same percentiles of the gain in
PCK@0.10, found without sides (left) and with them. With `--photos` it is dogs in photos instead,
which must not be passed on.
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
_LEAST = 6  # keypoints that a picture or a pair has to show


def at_percentiles(values: np.ndarray, counts: np.ndarray) -> list[int]:
    """The pictures or pairs nearest to the percentiles, of those with enough keypoints."""
    usable = np.flatnonzero(counts >= _LEAST)
    ordered = usable[np.argsort(values[usable], kind="stable")]
    return [int(ordered[round(p / 100 * (len(ordered) - 1))]) for p in _PERCENTILES]


def beside(pictures: Sequence[Image.Image], height: int) -> Image.Image:
    """Pictures in a row, at one height."""
    scaled = [p.resize((round(p.width * height / p.height), height)) for p in pictures]
    sheet = Image.new("RGB", (sum(picture.width for picture in scaled), height), "white")
    left = 0
    for picture in scaled:
        sheet.paste(picture, (left, 0))
        left += picture.width
    return sheet


def drawn(matcher: Matcher, pair: Pair, label: str) -> Image.Image:
    """A pair with where its keypoints are found, and where they are."""
    ids = pair.keypoint_ids
    truth = pair.target.keypoints[ids]
    found = matcher.locate(pair.source.path, pair.target.path, pair.source.keypoints[ids])
    right = np.linalg.norm(found - truth, axis=1) <= 0.1 * pair.target.reference_length("box")
    caption = f"{label}: {right.sum()} of {len(ids)}"
    return plot_errors(
        pair.source.path, pair.target.path, pair.source.keypoints[ids], truth, found, right, caption
    )


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
    after = evaluate(zero_shot, data, features, matcher.side_head, matcher.config.sides)
    assert after.sides is not None
    shares = after.sides.right / np.maximum(after.sides.counts, 1)
    painted = []
    for percentile, row in zip(
        _PERCENTILES, at_percentiles(shares, after.sides.counts), strict=True
    ):
        path = data.annotations[row].path
        painted.append(plot_sides(path, matcher.sides(path)))
        print(f"{percentile}th percentile of pictures: {100 * shares[row]:.0f} % right, {path}")
    given.out.mkdir(parents=True, exist_ok=True)
    save_image(beside(painted, 420), given.out / "sides.jpg")
    gains = after.pck - before.pck
    counts = np.array([len(pair.keypoint_ids) for pair in data.pairs])
    rows = []
    for percentile, row in zip(_PERCENTILES, at_percentiles(gains, counts), strict=True):
        pair = data.pairs[row]
        rows.append(beside([drawn(zero_shot, pair, "without"), drawn(matcher, pair, "with")], 420))
        print(f"{percentile}th percentile of pairs: {100 * gains[row]:+.0f} %, {pair.name}")
    save_image(stack_vertically(rows), given.out / "sides_pairs.jpg")


if __name__ == "__main__":
    main()
