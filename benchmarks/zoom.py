"""Accuracy of a second look: objects that fill the canvas, by annotated and by found boxes.

    python benchmarks/zoom.py [--tables margins small time] [--model embedded] [--limit PAIRS]

`margins` compares whole images with annotated boxes, by the margin around them, alone and with both
views (`zoom="auto"`), and with found boxes. `small` pastes dogs, cut out by their masks, at 1, 1/2,
1/4 and 1/8 of themselves on other photos, 2,000 pixels wide, and matches them with and without
boxes. `time` is what a pair costs from files. PCK is per image; confusion is that of `homolog
evaluate`. `--limit` takes fewer pairs of each set, evenly spaced.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import real_images
import trays
from PIL import Image

from homolog import Features, Matcher
from homolog.data import Annotation, DataSet, Pair
from homolog.data.formats.segmentation import decode_rle
from homolog.evaluation.metrics import PCKAccumulator
from homolog.image.regions import MARGIN
from homolog.pair import ImagePair

MARGINS = (0.05, 0.1, 0.2, 0.4)
SCALES = (1.0, 0.5, 0.25, 0.125)
SMALL_SIZE = (2000, 1500)

Box = tuple[float, float, float, float]


def box_with_margin(annotation: Annotation, margin: float = MARGIN) -> Box:
    """The annotated box as (x, y, width, height), so much larger that its region has a margin.

    Args:
        annotation: has the box.
        margin: around the annotated box, as a share of its longer side.
    """
    x0, y0, x1, y1 = annotation.box
    # The matcher adds its own margin, a share of the longer side of the box that it is given.
    grow = (margin - MARGIN) / (1 + 2 * MARGIN) * max(x1 - x0, y1 - y0)
    assert annotation.size is not None
    low = np.maximum(0.0, (x0 - grow, y0 - grow))
    high = np.minimum(annotation.size, (x1 + grow, y1 + grow))
    return (*low.tolist(), *(high - low).tolist())


@dataclass(frozen=True)
class Way:
    """A way to look at annotated images.

    Attributes:
        label: what a table calls it.
        box: of an annotated object; None for a way that is given none.
        zoom: as for `Matcher.pair`.
    """

    label: str
    box: Callable[[Annotation], Box] | None = None
    zoom: Literal["auto"] | None = None

    def extract(self, matcher: Matcher, annotation: Annotation) -> Features:
        """The features of an image that every pair with it starts from."""
        if self.box is None:
            return matcher.extract(annotation.path)
        return matcher.extract(annotation.path, box=self.box(annotation), zoom=self.zoom)

    def prepare(self, matcher: Matcher, source: Features, target: Features) -> ImagePair:
        """The pair of two images, of which found objects are zoomed in on only here."""
        return matcher.pair(source, target, zoom=self.zoom if self.box is None else None)


def ways(margins: Sequence[float]) -> list[Way]:
    """All ways to look at images, with margins around annotated boxes."""
    boxes = [(margin, partial(box_with_margin, margin=margin)) for margin in margins]
    alone = [Way(f"annotated box, margin {margin:g}, alone", box) for margin, box in boxes]
    both = [Way(f"annotated box, margin {margin:g}", box, "auto") for margin, box in boxes]
    return [Way("whole image"), *alone, *both, Way("found box", zoom="auto")]


def evaluate(matcher: Matcher, data: DataSet, way: Way) -> str:
    """PCK at 0.10 and 0.05, and confusion, as a cell of a table."""
    features = {each.name: way.extract(matcher, each) for each in data.annotations}
    accumulator = PCKAccumulator(data)
    for pair in data.pairs:
        prepared = way.prepare(matcher, features[pair.source.name], features[pair.target.name])
        points = pair.source.keypoints[pair.keypoint_ids]
        if way.zoom is None and (region := prepared.image0.region) is not None:
            # By itself, a region knows no points beyond it; few are annotated beyond their box.
            points = points.clip(region.box[:2], region.box[2:])
        accumulator.add(pair, prepared.transfer_points(points))
    rows = {(row.kind, row.label): row.estimates for row in accumulator.rows()}
    pck = rows["per_image", ""]
    cell = f"{100 * pck['pck@0.10'].value:.1f} / {100 * pck['pck@0.05'].value:.1f}"
    confusion = rows.get(("left_right_confusion", ""))
    return cell if confusion is None else f"{cell}, {100 * confusion['share'].value:.1f}"


def with_sizes(data: DataSet) -> DataSet:
    """The same with the size of every image known."""
    known: dict[str, Annotation] = {}
    for annotation in data.annotations:
        with Image.open(annotation.path) as image:
            known[annotation.name] = replace(annotation, size=image.size)
    pairs = [
        replace(pair, source=known[pair.source.name], target=known[pair.target.name])
        for pair in data.pairs
    ]
    return replace(data, pairs=pairs)


def small_dogs(scale: float, folder: Path) -> DataSet:
    """Dogs cut out by their masks and pasted onto other photos, with exact boxes.

    Args:
        scale: of each dog, against its own photo.
        folder: where the images are written.
    """
    dogs = real_images.dogs()
    document = json.loads((real_images.ROOT / "dogs" / "annotations.json").read_text())
    files = {image["id"]: image["file_name"] for image in document["images"]}
    run_lengths = {
        Path(files[each["image_id"]]).name: each["segmentation"] for each in document["annotations"]
    }
    photos = sorted((real_images.ROOT / "photos" / "other").iterdir())
    pasted: dict[str, Annotation] = {}
    for index, annotation in enumerate(dogs.annotations):
        # The same background and, as far as there is room, the same place at every scale.
        rng = np.random.default_rng(index)
        behind = trays.background(rng, SMALL_SIZE, photos)
        with Image.open(annotation.path) as opened:
            image = opened.convert("RGB")
        segmentation = {"size": [image.height, image.width]}
        mask = decode_rle({**segmentation, "counts": run_lengths[annotation.path.name]})
        dog = trays.cut(image, mask, annotation.keypoints, annotation.category, annotation.name)
        length = scale * max(dog.image.size)
        (placed,) = (tray := trays.make_tray([dog], behind, rng, length=length, spread=1)).objects
        path = folder / f"{index:02}-{scale:g}.png"
        tray.image.save(path)
        x, y, width, height = placed.box
        pasted[annotation.name] = replace(
            annotation,
            path=path,
            keypoints=placed.keypoints,
            box=(x, y, x + width, y + height),
            size=SMALL_SIZE,
        )
    pairs = [
        Pair.of(pair.name, pasted[pair.source.name], pasted[pair.target.name])
        for pair in dogs.pairs
    ]
    return replace(dogs, pairs=pairs)


def table_of_margins(matcher: Matcher, limit: int | None) -> None:
    """Print the accuracy of every way to look at photos, on so many pairs of each set at most."""
    print("| PCK@0.10 / 0.05, confusion | dogs | PF-WILLOW | bees, test |\n|---|---|---|---|")
    sets = [
        with_sizes(data.subsample(limit))
        for data in (real_images.dogs(), real_images.willow(), real_images.bees("test"))
    ]
    for way in ways(MARGINS):
        cells = [evaluate(matcher, data, way) for data in sets]
        print(f"| {way.label} | {' | '.join(cells)} |", flush=True)


def table_of_scales(matcher: Matcher, limit: int | None) -> None:
    """Print the accuracy on dogs that are small in large images, on so many pairs at most."""
    with tempfile.TemporaryDirectory() as folder:
        sets = [small_dogs(scale, Path(folder)).subsample(limit) for scale in SCALES]
        originals = with_sizes(real_images.dogs()).subsample(limit)
        names = ["own photo", *(f"{scale:g}" for scale in SCALES)]
        print(f"| scale of the dog | {' | '.join(names)} |\n|---{'|---' * len(names)}|")
        for way in ways([MARGIN]):
            cells = [evaluate(matcher, data, way) for data in (originals, *sets)]
            print(f"| {way.label} | {' | '.join(cells)} |", flush=True)


def table_of_times(matcher: Matcher, limit: int | None) -> None:
    """Print seconds per pair, from files to points, on ten pairs or fewer."""
    dogs = with_sizes(real_images.dogs()).subsample(min(10, limit or 10))
    print("| seconds a pair, from files | median |\n|---|---|")
    for way in ways([MARGIN]):
        seconds = []
        for pair in dogs.pairs:
            begun = time.perf_counter()
            looks = [way.extract(matcher, each) for each in (pair.source, pair.target)]
            prepared = way.prepare(matcher, *looks)
            prepared.transfer(pair.source.keypoints[pair.keypoint_ids])
            seconds.append(time.perf_counter() - begun)
        print(f"| {way.label} | {np.median(seconds):.2f} |", flush=True)


def main() -> None:
    tables = {"margins": table_of_margins, "small": table_of_scales, "time": table_of_times}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", nargs="+", choices=tables, default=list(tables))
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--limit", type=int)
    given = parser.parse_args()
    matcher = Matcher.from_pretrained(given.model)
    for name in given.tables:
        tables[name](matcher, given.limit)
        print()


if __name__ == "__main__":
    main()
