"""Proposals: boxes of the objects in an image, found by what is salient or like the exemplars.

The image is looked at whole and in overlapping tiles; cells that look like an object make
components, whose boxes are looked at once more, each filling the canvas. This finds objects that
stand out from what is around them, or that look like the exemplars. It is no detector of
everything: where there is a detector of the kind, its boxes are better.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from PIL import Image

from homolog.data.boxes import BoxSet
from homolog.data.pairs import Annotation
from homolog.descriptors import DescriptorMap, Features, FeaturesLike
from homolog.errors import HomologError
from homolog.features.foreground import connected_components
from homolog.image import reading
from homolog.image.geometry import interpolate
from homolog.image.regions import Region, box_of_mask
from homolog.labelling.likeness import Likeness, Saliency
from homolog.labelling.neighbours import intersection, overlap
from homolog.matcher import Matcher

Box = tuple[float, float, float, float]
"""(x, y, width, height) in pixels."""

_CATEGORY = "object"  # of exemplars whose file names none

MAX_OBJECTS = 100
"""How many objects are proposed at most."""

_OVERLAP = 0.5  # of neighbouring tiles
_UPSAMPLING = 2.0  # tiles are scaled up to this at most
_WHOLE_WEIGHT = 0.25  # of the whole image, beside 1 for tiles
_BATCH = 8  # regions whose descriptors are kept at once

_THRESHOLDS = (-1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0)  # logits; higher ones part what lower ones join
_PEAK = 0.5  # by which an object's highest logit exceeds the threshold
_SHARE = 0.15  # of the largest part's cells, which parts of their own have
_FEW_CELLS = 3
_MARGIN = 0.3  # around a candidate, as a share of its longer side
_AGREEMENT = 0.25  # overlap of a candidate with what a closer look shows
_LEAST_SCORE = 0.5
_DUPLICATE, _CONTAINED = 0.5, 0.8  # overlap, and share of a box within another


@dataclass(frozen=True)
class ObjectProposal:
    """A box that may hold an object.

    Attributes:
        box: (x, y, width, height) in pixels of the upright image.
        score: how much the object looks like one that is sought, 0 to 1.
        category: of the exemplars that it looks like; `object` without exemplars.
    """

    box: Box
    score: float
    category: str


class ObjectFinder:
    """Proposes the objects of one image after another.

    Args:
        matcher: extracts the descriptors.
        exemplars: labelled images of the objects that are sought; their boxes and categories are
            used. Without any, objects are what a side head recognises, or else what is salient.

    Raises:
        HomologError: an exemplar cannot be read.
    """

    def __init__(self, matcher: Matcher, exemplars: Sequence[Annotation] = ()):
        self.matcher = matcher
        self.exemplars = exemplars
        self.likeness = Likeness(matcher, exemplars)

    @property
    def categories(self) -> tuple[str, ...]:
        """Of the proposals: those of the exemplars, or `object` alone."""
        return self.likeness.categories

    def find(
        self, image: FeaturesLike, max_objects: int = MAX_OBJECTS, name: str = "image"
    ) -> list[ObjectProposal]:
        """The objects of an image, those with the highest scores first; none if nothing is alike.

        Args:
            image: the image, which is read once.
            max_objects: how many at most.
            name: what error messages call it.

        Raises:
            HomologError: the image cannot be read, or the number is below 1.
        """
        if max_objects < 1:
            raise HomologError(f"max_objects: expected at least 1, got {max_objects}")
        given = image.original if isinstance(image, Features) else image
        assert given is not None, "features of a matcher know their image"
        loaded = reading.load_image(given, max_pixels=self.matcher.max_pixels, name=name)
        found = self._find(loaded.image, self.likeness, tiled=True)
        if not found and not self.exemplars:
            # In a tile something always is salient, whether there is an object or not.
            found = self._find(loaded.image, Saliency(), tiled=False)
        return suppress(found)[:max_objects]

    def _find(
        self, image: Image.Image, likeness: Likeness | Saliency, tiled: bool
    ) -> list[ObjectProposal]:
        """What looks like an object, perhaps several times."""
        logits, pitch = self._logit_map(image, likeness, tiled)
        # A cell of a tile has two rows and columns on the map.
        candidates = [_box_of(cells, pitch) for cells in separate(logits, 4 * _FEW_CELLS)]
        regions = [Region.around(each, image.size, margin=_MARGIN) for each in candidates]
        views = self._descriptor_maps(image, regions)
        return [
            proposal
            for candidate, region, cells in zip(candidates, regions, views, strict=True)
            for proposal in _refine(candidate, region, cells, likeness)
        ]

    def _descriptor_maps(
        self, image: Image.Image, regions: Sequence[Region]
    ) -> Iterator[DescriptorMap]:
        """Descriptors of regions of an image, a batch after another."""
        for start in range(0, len(regions), _BATCH):
            batch = [image.crop(each.box) for each in regions[start : start + _BATCH]]
            for features in self.matcher.extract(batch):
                yield features.descriptor_map()

    def _logit_map(
        self, image: Image.Image, likeness: Likeness | Saliency, tiled: bool
    ) -> tuple[Float[np.ndarray, "H W"], tuple[float, float]]:
        """Logits of likeness all over an image, from tiles that overlap and the whole.

        Returns:
            The map, and the width and height of its cells in pixels of the image.
        """
        width, height = image.size
        whole, tiles = make_tiles(image.size, 0), make_tiles(image.size, 1)
        if not tiled or tiles[0].width * _UPSAMPLING < self.matcher.backbone.canvas_size:
            tiles = []
        regions = whole + tiles
        smallest = regions[-1]
        pitch = max(smallest.width, smallest.height) / (2 * max(self.matcher.backbone.grid.shape))
        shape = max(1, round(height / pitch)), max(1, round(width / pitch))
        step = np.array([width / shape[1], height / shape[0]])
        total, weights = np.zeros(shape), np.zeros(shape)
        for tile, cells in zip(regions, self._descriptor_maps(image, regions), strict=True):
            low = np.ceil(np.array([tile.x, tile.y]) / step - 0.5).astype(int)
            high = np.ceil(np.array([tile.x + tile.width, tile.y + tile.height]) / step - 0.5)
            columns, rows = (np.arange(a, b) for a, b in zip(low, high.astype(int), strict=True))
            x, y = (columns + 0.5) * step[0] - tile.x, (rows + 0.5) * step[1] - tile.y
            points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
            values = interpolate(
                likeness.logits(cells)[..., None], cells.transform.to_cells(points)
            )
            # What surrounds an object says a lot about it: near its borders a tile knows less.
            inner = [
                np.minimum(1, 8 * np.minimum(v, length - v) / length + 0.01)
                for v, length in ((y, tile.height), (x, tile.width))
            ]
            weight = np.outer(*inner)
            if tile == whole[0]:
                weight = np.full_like(weight, _WHOLE_WEIGHT)
            window = np.ix_(rows, columns)
            total[window] += weight * values.reshape(weight.shape)
            weights[window] += weight
        return total / weights, (float(step[0]), float(step[1]))


def find_objects(
    matcher: Matcher,
    image: FeaturesLike,
    exemplars: Sequence[Annotation] = (),
    max_objects: int = MAX_OBJECTS,
) -> list[ObjectProposal]:
    """The objects of one image; for several, `ObjectFinder` looks at the exemplars once.

    Args:
        matcher: extracts the descriptors.
        image: the image.
        exemplars: labelled images of the objects that are sought.
        max_objects: how many at most.

    Raises:
        HomologError: an image cannot be read, or the number is below 1.
    """
    return ObjectFinder(matcher, exemplars).find(image, max_objects)


def exemplars_of(boxes: BoxSet) -> list[Annotation]:
    """The objects of a file of boxes as exemplars, which need no keypoints."""
    return [
        Annotation(
            f"{path.name}#{each.instance}",
            path,
            each.category or _CATEGORY,
            np.empty((0, 2)),
            (each.box[0], each.box[1], each.box[0] + each.box[2], each.box[1] + each.box[3]),
        )
        for path, found in boxes.objects.items()
        for each in found
    ]


def coco_document(
    found: Mapping[str, tuple[tuple[int, int], Sequence[ObjectProposal]]],
    categories: Sequence[str],
) -> dict[str, Any]:
    """The proposals of several images as a COCO file, which `read_boxes` reads.

    Args:
        found: by the name of each image its width and height, and its objects.
        categories: of the objects.
    """
    ids = {name: number for number, name in enumerate(categories, start=1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for name, ((width, height), proposals) in found.items():
        number = len(images) + 1
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        for instance, each in enumerate(proposals, start=1):
            box = [round(value, 2) for value in each.box]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": ids[each.category],
                    "instance_id": instance,
                    "bbox": box,
                    "area": round(box[2] * box[3], 2),
                    "iscrowd": 0,
                    "score": round(each.score, 4),
                }
            )
    return {
        "info": {"description": "Objects proposed by homolog"},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for name, number in ids.items()],
    }


def make_tiles(size: tuple[int, int], level: int) -> list[Region]:
    """Square tiles that cover an image and overlap by half.

    Args:
        size: width and height of the image.
        level: 0 for the whole image; a tile's side is the longer one, halved so often.
    """
    if level == 0:
        return [Region(0, 0, *size)]
    side = max(1, max(size) // 2**level)
    starts, lengths = [], []
    for length in size:
        count = 1 + max(0, math.ceil((length - side) / (side * (1 - _OVERLAP)) - 1e-6))
        starts.append(np.linspace(0, max(0, length - side), count).round().astype(int).tolist())
        lengths.append(min(side, length))
    return [Region(x, y, *lengths) for y in starts[1] for x in starts[0]]


def separate(logits: Float[np.ndarray, "H W"], few: int = 1) -> list[Bool[np.ndarray, "H W"]]:
    """The objects on a map: connected components, taken apart where a higher threshold does so.

    Args:
        logits: that cells show an object.
        few: cells that an object has at least.

    Returns:
        Masks of the objects. Of a component that a higher threshold separates into several parts,
        each cell belongs to the part that it is next to.
    """
    found = []
    for whole in components(logits > _THRESHOLDS[0]):
        if whole.sum() >= few and logits[whole].max() >= _THRESHOLDS[0] + _PEAK:
            found += _grown(_split(whole, logits, few, _THRESHOLDS[1:]), whole)
    return found


def _split(
    whole: Bool[np.ndarray, "H W"],
    logits: Float[np.ndarray, "H W"],
    few: int,
    thresholds: Sequence[float],
) -> list[Bool[np.ndarray, "H W"]]:
    """The parts that the lowest threshold that does so separates, each split further."""
    for index, threshold in enumerate(thresholds):
        parts = [
            part
            for part in components(whole & (logits > threshold))
            if part.sum() >= few and logits[part].max() >= threshold + _PEAK
        ]
        largest = max((part.sum() for part in parts), default=0)
        parts = [part for part in parts if part.sum() >= _SHARE * largest]
        if len(parts) > 1:
            rest = thresholds[index + 1 :]
            return [each for part in parts for each in _split(part, logits, few, rest)]
    return [whole]


def _grown(
    parts: Sequence[Bool[np.ndarray, "H W"]], whole: Bool[np.ndarray, "H W"]
) -> list[Bool[np.ndarray, "H W"]]:
    """Parts of a component grown, all at the same pace, until they make up all of it."""
    if len(parts) == 1:
        return [whole]
    owner = torch.zeros(whole.shape)
    for number, part in enumerate(parts, start=1):
        owner[torch.from_numpy(part)] = number
    free = torch.from_numpy(whole) & (owner == 0)
    while free.any():
        reached = F.max_pool2d(owner[None], 3, 1, 1)[0] * free
        owner, free = owner + reached, free & (reached == 0)
    return [(owner == number).numpy() for number in range(1, len(parts) + 1)]


def components(mask: Bool[np.ndarray, "H W"]) -> list[Bool[np.ndarray, "H W"]]:
    """The connected components of a mask."""
    numbers = connected_components(torch.from_numpy(mask)).numpy()
    return [numbers == number for number in np.unique(numbers) if number]


def suppress(proposals: Iterable[ObjectProposal]) -> list[ObjectProposal]:
    """Non-maximum suppression: of proposals of the same object the one with the highest score.

    Returns:
        Those that are left, best first.
    """
    kept: list[ObjectProposal] = []
    for each in sorted(proposals, key=lambda each: each.score, reverse=True):
        if all(
            overlap(each.box, other.box) < _DUPLICATE
            and share_within(each.box, other.box) < _CONTAINED
            for other in kept
        ):
            kept.append(each)
    return kept


def share_within(box0: Box, box1: Box) -> float:
    """The share of the first box (x, y, width, height) that lies in the second, 0 if empty."""
    area = box0[2] * box0[3]
    return intersection(box0, box1) / area if area > 0 else 0.0


def _refine(
    candidate: Box, region: Region, cells: DescriptorMap, likeness: Likeness | Saliency
) -> Iterator[ObjectProposal]:
    """The objects in the region around a candidate, as a closer look shows them."""
    logits = likeness.logits(cells)
    logits[~cells.valid_HW.cpu().numpy()] = -np.inf
    for shown in separate(logits, _FEW_CELLS):
        x, y, width, height = cells.transform.box_of(shown)
        box = region.x + x, region.y + y, width, height
        score = float(1 / (1 + np.exp(-logits[shown].mean())))
        if overlap(box, candidate) >= _AGREEMENT and score >= _LEAST_SCORE:
            yield ObjectProposal(box, score, likeness.category(cells, shown))


def _box_of(cells: Bool[np.ndarray, "H W"], pitch: tuple[float, float]) -> Box:
    """The box around cells of a map, in pixels."""
    (dx, dy), (x, y, width, height) = pitch, box_of_mask(cells)
    return x * dx, y * dy, width * dx, height * dy
