"""Trays: scenes of several objects cut out of renders, of which everything is known exactly.

A tray is a background with 1 to 12 objects pasted onto it by their masks, at known places and
scales. Boxes and masks are those of the part that is visible; a keypoint that a later object covers
is not visible.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from homolog import KeypointSchema
from homolog.data import Annotation
from homolog.synth.appearance.backgrounds import random_crop, random_texture

ANIMALS = Path(
    os.environ.get("HOMOLOG_ANIMALS", Path(__file__).parents[2] / "shared" / "assets" / "animals")
)
"""Models to render trays from, which are not part of the repository."""
SIZE = (1600, 1200)
"""Width and height of a tray."""
_WHOLE = 0.95  # of the mask's pixels are connected: nothing stands in front of the object
_SMALLEST = 60  # pixels of a cutout's longer edge
_LEAST_VISIBLE = 0.6  # of an object, however many others cover it
_TRIES = 300


@dataclass(frozen=True, eq=False)
class Cutout:
    """An object cut out of an image.

    Attributes:
        name: of the image, and which of its objects.
        model: the kind of object.
        image: in mode RGBA, transparent around the object.
        keypoints: (x, y) in pixels of the cutout; NaN if not visible.
    """

    name: str
    model: str
    image: Image.Image
    keypoints: np.ndarray

    def scaled(self, length: float) -> Cutout:
        """The same with a longer edge of about so many pixels."""
        scale = length / max(self.image.size)
        size = tuple(max(1, round(edge * scale)) for edge in self.image.size)
        # Transparent pixels must not bleed into the edges: colours are multiplied by alpha.
        image = self.image.convert("RGBa").resize(size, Image.Resampling.LANCZOS).convert("RGBA")
        keypoints = self.keypoints * (np.array(size) / self.image.size)
        return Cutout(self.name, self.model, image, keypoints)

    @property
    def mask(self) -> np.ndarray:
        """The pixels of the object."""
        return np.asarray(self.image)[..., 3] > 127


@dataclass(frozen=True, eq=False)
class Object:
    """An object on a tray.

    Attributes:
        cutout: as it was pasted.
        corner: (x, y) of the cutout on the tray.
        mask: the pixels of the tray that show it.
        keypoints: (x, y) in pixels of the tray; NaN if not visible.
        box: (x, y, width, height) around the part that is visible.
        touching: whether it touches another object.
    """

    cutout: Cutout
    corner: tuple[int, int]
    mask: np.ndarray
    keypoints: np.ndarray
    box: tuple[float, float, float, float]
    touching: bool


@dataclass(frozen=True, eq=False)
class Tray:
    """An image of several objects.

    Attributes:
        image: in mode RGB.
        objects: in the order in which they were pasted.
    """

    image: Image.Image
    objects: list[Object]

    def coco(self, file_name: str, names: Sequence[str], category: str = "animal") -> dict:
        """The tray as a COCO file."""
        annotations: list[dict[str, Any]] = []
        for number, each in enumerate(self.objects, start=1):
            visible = np.isfinite(each.keypoints[:, 0])
            flat = np.column_stack([np.nan_to_num(each.keypoints), 2 * visible])
            annotations.append(
                {
                    "id": number, "image_id": 1, "category_id": 1, "iscrowd": 0,
                    "bbox": list(each.box), "area": int(each.mask.sum()),
                    "keypoints": flat.ravel().tolist(), "num_keypoints": int(visible.sum()),
                }
            )  # fmt: skip
        width, height = self.image.size
        return {
            "images": [{"id": 1, "file_name": file_name, "width": width, "height": height}],
            "annotations": annotations,
            "categories": [{"id": 1, "name": category, "keypoints": list(names)}],
        }


def cutouts(folder: Path, models: Sequence[str] | None = None) -> list[Cutout]:
    """The objects of a rendered set that are whole: not cut off by the border, nor covered.

    Args:
        folder: as `homolog synth` writes it.
        models: the kinds to take; all by default.
    """
    document = json.loads((folder / "annotations.json").read_text())
    images = {image["id"]: image for image in document["images"]}
    found = []
    for annotation in document["annotations"]:
        image = images[annotation["image_id"]]
        x, y, width, height = annotation["bbox"]
        inside = (
            min(x, y) > 1 and x + width < image["width"] - 1 and y + height < image["height"] - 1
        )
        if not inside or max(width, height) < _SMALLEST:
            continue
        if models is not None and annotation["model"] not in models:
            continue
        with np.load(folder / image["coordinates"]) as arrays:
            mask = arrays["instance"] == annotation["instance"]
        labels, _ = ndimage.label(mask, np.ones((3, 3)))
        if max(np.bincount(labels.ravel())[1:]) < _WHOLE * mask.sum():
            continue
        keypoints = _visible_keypoints(annotation)
        found.append(
            cut(
                Image.open(folder / image["file_name"]), mask, keypoints, annotation["model"],
                f"{image['file_name']}:{annotation['instance']}",
            )
        )  # fmt: skip
    return found


def exemplar(renders: Path, cutout: Cutout) -> Annotation:
    """The render that a cutout comes from, with its box and visible keypoints."""
    file_name, instance = cutout.name.split(":")
    document = json.loads((renders / "annotations.json").read_text())
    (number,) = (i["id"] for i in document["images"] if i["file_name"] == file_name)
    (found,) = (
        a
        for a in document["annotations"]
        if a["image_id"] == number and a["instance"] == int(instance)
    )
    x, y, width, height = map(float, found["bbox"])
    box = (x, y, x + width, y + height)
    keypoints = _visible_keypoints(found)
    return Annotation(cutout.name, renders / file_name, "animal", keypoints, box)


def schemas(folder: Path) -> dict[str, KeypointSchema]:
    """The keypoints of a rendered set, by category."""
    document = json.loads((folder / "annotations.json").read_text())
    return {c["name"]: KeypointSchema.coco(c) for c in document["categories"] if "keypoints" in c}


def cut(
    image: Image.Image, mask: np.ndarray, keypoints: np.ndarray, model: str, name: str
) -> Cutout:
    """Cut an object out of an image by its mask."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    layer = image.convert("RGB").convert("RGBA")
    layer.putalpha(Image.fromarray((mask * 255).astype(np.uint8)))
    return Cutout(name, model, layer.crop(box), keypoints - box[:2])


def background(
    rng: np.random.Generator, size: tuple[int, int] = SIZE, photos: Sequence[Path] = ()
) -> Image.Image:
    """A part of one of the photos, or a texture of a table or floor where there are none."""
    square = max(size)
    if photos:
        with Image.open(photos[int(rng.integers(len(photos)))]) as photo:
            pixels = random_crop(photo.convert("RGB"), rng, square)
    else:
        pixels = random_texture(rng, square)
    image = Image.fromarray((pixels * 255).astype(np.uint8))
    return image.crop((0, 0, *size))


def make_tray(
    objects: Sequence[Cutout],
    behind: Image.Image,
    rng: np.random.Generator,
    *,
    overlap: bool = False,
    length: float | None = None,
    spread: float = 1.3,
) -> Tray:
    """Paste objects onto a background, each where there is room for it.

    Args:
        objects: to be pasted, in this order.
        behind: the background.
        rng: of scales and places.
        overlap: whether objects touch or cover others; at least three fifths of each stay visible.
            Otherwise there is a gap of at least 1 % of the image between any two.
        length: longer edge of the objects in pixels; by default as many as the tray has room for.
        spread: objects are larger or smaller than that by a factor of up to this.
    """
    width, height = behind.size
    if length is None:
        length = 0.62 * float(np.sqrt(width * height / len(objects)))
        length = min(length, 0.8 * min(width, height))
    image = behind.convert("RGB")
    owner = np.zeros((height, width), np.uint8)
    gap = max(2, max(width, height) // 100)
    placed: list[tuple[Cutout, tuple[int, int], int]] = []
    for number, each in enumerate(objects, start=1):
        shrink = 1.0
        for attempt in range(_TRIES):
            shrink = 0.97 ** (attempt // 10)
            scale = shrink * float(spread ** rng.uniform(-1, 1))
            scaled = each.scaled(min(length * scale, 0.95 * min(width, height)))
            corner = _corner(rng, scaled, behind.size, placed if overlap else [])
            if _fits(owner, scaled, corner, placed, gap, overlap):
                break
        else:
            raise ValueError(f"no room for object {number} of {len(objects)}")
        image.paste(scaled.image, corner, scaled.image)
        _window(owner, scaled, corner)[scaled.mask] = number
        placed.append((scaled, corner, int(scaled.mask.sum())))
    return Tray(image, [_describe(owner, n, *p[:2]) for n, p in enumerate(placed, start=1)])


def overlap_of(box0: Sequence[float], box1: Sequence[float]) -> float:
    """Intersection over union of two boxes (x, y, width, height)."""
    (x0, y0, w0, h0), (x1, y1, w1, h1) = box0, box1
    width = min(x0 + w0, x1 + w1) - max(x0, x1)
    height = min(y0 + h0, y1 + h1) - max(y0, y1)
    both = max(0.0, width) * max(0.0, height)
    return both / (w0 * h0 + w1 * h1 - both)


def _visible_keypoints(annotation: Mapping[str, Any]) -> np.ndarray:
    flat = np.reshape(annotation["keypoints"], (-1, 3))
    return np.where(flat[:, 2:] == 2, flat[:, :2], np.nan)


def _corner(
    rng: np.random.Generator,
    scaled: Cutout,
    size: tuple[int, int],
    placed: Sequence[tuple[Cutout, tuple[int, int], int]],
) -> tuple[int, int]:
    """A random place, or one beside an object that is there."""
    room = np.array(size) - scaled.image.size
    if placed and rng.random() < 0.7:
        other, corner, _ = placed[int(rng.integers(len(placed)))]
        centre = np.array(corner) + np.array(other.image.size) / 2
        reach = (np.array(other.image.size) + scaled.image.size) / 2
        wanted = centre + reach * rng.uniform(-1, 1, 2) - np.array(scaled.image.size) / 2
        x, y = np.clip(wanted, 0, room).astype(int)
    else:
        x, y = rng.integers(0, room + 1)
    return int(x), int(y)


def _window(array: np.ndarray, scaled: Cutout, corner: tuple[int, int], gap: int = 0) -> np.ndarray:
    """The part of an array of the tray's size that a cutout covers, and so much around it."""
    (x, y), (width, height) = corner, scaled.image.size
    return array[max(0, y - gap) : y + height + gap, max(0, x - gap) : x + width + gap]


def _fits(
    owner: np.ndarray,
    scaled: Cutout,
    corner: tuple[int, int],
    placed: Sequence[tuple[Cutout, tuple[int, int], int]],
    gap: int,
    overlap: bool,
) -> bool:
    if overlap:
        covered = np.bincount(
            _window(owner, scaled, corner)[scaled.mask], minlength=len(placed) + 1
        )
        shown = np.bincount(owner.ravel(), minlength=len(placed) + 1)
        return all(
            shown[n] - covered[n] >= _LEAST_VISIBLE * area
            for n, (_, _, area) in enumerate(placed, start=1)
        )
    # On a coarse grid: distances need not be exact to the pixel.
    step = max(1, gap // 4)
    mine = np.zeros_like(owner, dtype=bool)
    _window(mine, scaled, corner)[scaled.mask] = True
    around = _window(mine, scaled, corner, gap)[::step, ::step]
    taken = _window(owner, scaled, corner, gap)[::step, ::step] > 0
    reach = -(-gap // step)
    return not (ndimage.binary_dilation(around, np.ones((3, 3)), iterations=reach) & taken).any()


def _describe(owner: np.ndarray, number: int, scaled: Cutout, corner: tuple[int, int]) -> Object:
    mask = owner == number
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    x, y = float(columns[0]), float(rows[0])
    box = x, y, float(columns[-1]) + 1 - x, float(rows[-1]) + 1 - y
    keypoints = scaled.keypoints + corner
    height, width = owner.shape
    column, row = np.nan_to_num(keypoints).astype(int).clip(0, (width - 1, height - 1)).T
    # What was pasted later lies on top.
    keypoints = np.where((owner[row, column] > number)[:, None], np.nan, keypoints)
    grown = ndimage.binary_dilation(_window(mask, scaled, corner, 2), np.ones((3, 3)))
    others = _window(owner, scaled, corner, 2)
    touching = bool((grown & (others != 0) & (others != number)).any())
    return Object(scaled, corner, mask, keypoints, box, touching)
