"""Where the cells of the embedded backbone's maps really look, measured with mirrors.

    python benchmarks/cell_positions.py

A photo is matched with its own mirror image, where the right answers are known. If cells look
`s` pixels to the left of the place their grid says, answers come out 2 s to the right. Printed
for each map alone, with the grid's origin at the centre of the receptive field (what
`EfficientNetLiteConfig.shifts` corrects) and as it is declared, in pixels of the canvas.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import real_images

from homolog import Matcher
from homolog.features import FusionConfig
from homolog.image.poses import FLIP


def shift(matcher: Matcher) -> float:
    """Half the median displacement of answers in the mirror image, along x."""
    photos = real_images.dogs().annotations + real_images.bees("train").annotations[::6]
    rng, medians = np.random.default_rng(0), []
    for photo in photos:
        features = matcher.load_image(photo.path)
        mirrored = matcher.load_image(FLIP.apply(features.image))
        original = matcher.load_image(features.image)
        points = rng.uniform(0.15, 0.85, (300, 2)) * original.size
        found = matcher.transfer(original, mirrored, points).keypoints1
        error = (found - FLIP.points(points, original.size)) * matcher.backbone.canvas_size
        error /= max(original.size)
        near = np.linalg.norm(error, axis=1) < 40  # the others are wrong for other reasons
        medians.append(np.median(error[near, 0]))
    return float(np.mean(medians)) / 2


def main() -> None:
    matcher = Matcher.from_pretrained("embedded")
    backbone = matcher.backbone
    declared = backbone.grids
    centred = tuple(dataclasses.replace(grid, origin=0.5) for grid in declared)
    print("| map | stride | looks left of its receptive field's centre by | left over |")
    print("|---|---|---|---|")
    for index, grid in enumerate(declared):
        alone = matcher.with_config(
            fusion=FusionConfig(groups=((index,),), weights=(1.0,), kernel=2.0, center=True)
        )
        row = []
        for grids in (centred, declared):
            backbone.grids = grids
            row.append(shift(alone))
        print(f"| {index} | {grid.stride} | {row[0]:.1f} | {row[1]:.1f} |")
    print(f"\nall maps together, as declared: {shift(matcher):.2f} left over")


if __name__ == "__main__":
    main()
