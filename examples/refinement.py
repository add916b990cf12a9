"""What a second look changes: keypoints of the example pair, and where both looks find them.

    python examples/refinement.py OUT.jpg [--keypoints nose left_front_paw left_hind_paw]

Each row has a point of the source, and the same part of the target: a white ring where the first
look finds it, an orange one where refinement does, and a green dot where it was annotated.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from homolog import Matcher, example

REACH = 60  # pixels of an image on each side of the point
SCALE = 4
KEYPOINTS = ("nose", "left_front_paw", "left_hind_paw")


def cut(image: Image.Image, centre: np.ndarray) -> Image.Image:
    """The surroundings of a point, enlarged."""
    x, y = centre
    box = (x - REACH, y - REACH, x + REACH, y + REACH)
    size = (2 * REACH * SCALE,) * 2
    return image.transform(size, Image.Transform.EXTENT, box, Image.Resampling.BICUBIC)


def mark(panel: Image.Image, offset: np.ndarray, colour: str, radius: int, filled: bool) -> None:
    """Draw a ring or a dot; `offset` is from the panel's centre, in pixels of the image."""
    x, y = (offset + REACH) * SCALE
    around = (x - radius, y - radius, x + radius, y + radius)
    draw = ImageDraw.Draw(panel)
    if filled:
        draw.ellipse(around, fill=colour)
    else:
        draw.ellipse(around, outline=colour, width=4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--keypoints", nargs="+", default=KEYPOINTS)
    given = parser.parse_args()
    matcher = Matcher.from_pretrained("embedded")
    with example.pair() as pair:
        rows = [pair.schema.names.index(name) for name in given.keypoints]
        source, target = (Image.open(path).convert("RGB") for path in (pair.image0, pair.image1))
        points, truth = pair.keypoints0[rows], pair.keypoints1[rows]
        ends = matcher.extract(pair.image0), matcher.extract(pair.image1)
        first, second = (
            matcher.pair(*ends, refine=refine).transfer(points).keypoints1
            for refine in (False, True)
        )
    side = 2 * REACH * SCALE
    sheet = Image.new("RGB", (2 * side, len(rows) * side))
    for row, point in enumerate(points):
        shown = cut(source, point), cut(target, truth[row])
        mark(shown[0], np.zeros(2), "orange", 10, True)
        mark(shown[1], np.zeros(2), "limegreen", 6, True)
        mark(shown[1], first[row] - truth[row], "white", 14, False)
        mark(shown[1], second[row] - truth[row], "orange", 14, False)
        for column, panel in enumerate(shown):
            sheet.paste(panel, (column * side, row * side))
        errors = (np.linalg.norm(each[row] - truth[row]) for each in (first, second))
        name = given.keypoints[row]
        print(name, "off by {:.1f} pixels, refined by {:.1f}".format(*errors))
    sheet.save(given.out, quality=88)


if __name__ == "__main__":
    main()
