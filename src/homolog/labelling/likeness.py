"""Likeness: how much each cell of an image looks like the objects of a few labelled images.

A cell is like an object as far as it is more similar to cells of the object than to cells around
it. Descriptors change with scale, so exemplars are looked at in several, and similarities are
averaged over these. Where a side head recognises the exemplars' objects, its objectness counts
besides; where there are no exemplars, it is all there is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from PIL import Image
from torch import Tensor

from homolog.data.pairs import Annotation, Box
from homolog.descriptors import DescriptorMap
from homolog.features.foreground import prominence
from homolog.image import reading
from homolog.labelling.posed_exemplars import evenly_spaced
from homolog.matcher import Matcher

# Sides of the square views of an exemplar, in longer sides of its box.
_VIEWS = (1.15, 2.3, 4.6)
_CELLS = 128  # of all exemplars together, in each view, on the objects and around them
_FEW_CELLS = 4


_WITHOUT_EXEMPLARS = (0.0, 0.0, 7.45, -3.92)
"""As `CalibrationConfig.recognised`: the side head's objectness alone, whatever descriptors are."""
_SALIENCY = (6.0, -1.5)  # weight and offset, by hand: it is no probability


@dataclass(frozen=True, eq=False)
class ExemplarCells:
    """Cells of all exemplars in one of the scales that they are looked at in.

    Attributes:
        inside_NC: descriptors on the objects.
        categories_N: the category of each of these, as an index.
        outside_MC: descriptors around the objects.
    """

    inside_NC: Float[Tensor, "N C"]
    categories_N: Int[Tensor, "N"]
    outside_MC: Float[Tensor, "M C"]


class Likeness:
    """How much cells look like the objects of labelled images.

    Attributes:
        categories: of the exemplars, in order of first use; `object` alone without any.

    Args:
        matcher: extracts the descriptors.
        exemplars: labelled images, whose boxes and categories are used.

    Raises:
        HomologError: an image cannot be read.
    """

    def __init__(self, matcher: Matcher, exemplars: Sequence[Annotation] = ()):
        self.categories = tuple(dict.fromkeys(each.category for each in exemplars)) or ("object",)
        self._scales: list[ExemplarCells] = []
        self._weights: tuple[float, ...] = _WITHOUT_EXEMPLARS
        by_image: dict[Path, list[Annotation]] = defaultdict(list)
        for each in exemplars:
            by_image[each.path].append(each)
        share = max(_FEW_CELLS, _CELLS // max(1, len(exemplars)))
        scales: list[list[ExemplarCells]] = [[] for _ in _VIEWS]
        objectness: list[float] = []
        for path, labelled in by_image.items():
            loaded = reading.load_image(path, max_pixels=matcher.max_pixels, name=str(path))
            boxes = [each.box for each in labelled]
            for each in labelled:
                cut = [_cut_view(loaded.image, each.box, factor) for factor in _VIEWS]
                found = matcher.extract([view for view, _ in cut], category=each.category)
                category = self.categories.index(each.category)
                for scale, features, (_, corner) in zip(scales, found, cut, strict=True):
                    cells = features.descriptor_map()
                    own = _cells_in(cells, each.box, corner)
                    if cells.sides is not None:
                        objectness.append(float(cells.sides.objectness[own].median()))
                    objects = torch.stack([_cells_in(cells, box, corner) for box in boxes]).any(0)
                    scale.append(_exemplar_cells(cells, own, objects, category, share))
        if not exemplars:
            return
        self._scales = [
            ExemplarCells(
                torch.cat([each.inside_NC for each in scale]),
                torch.cat([each.categories_N for each in scale]),
                torch.cat([each.outside_MC for each in scale]),
            )
            for scale in scales
        ]
        recognised = bool(objectness) and float(np.median(objectness)) > 0.5
        calibration = matcher.config.calibration
        self._weights = calibration.recognised if recognised else calibration.unrecognised

    def logits(self, cells: DescriptorMap) -> Float[np.ndarray, "H W"]:
        """The logit of the probability that each cell shows an object like the exemplars'.

        Args:
            cells: descriptors of an image, or of a part of it.
        """
        similar, surroundings, objectness, offset = self._weights
        logits = torch.zeros_like(cells.saliency_HW)
        if self._scales:
            inside, outside = self.similarities(cells)
            logits = logits + similar * inside + surroundings * outside
        if cells.sides is not None:
            logits = logits + objectness * cells.sides.objectness.sqrt()
        return (logits + offset).double().cpu().numpy()

    def similarities(
        self, cells: DescriptorMap
    ) -> tuple[Float[Tensor, "H W"], Float[Tensor, "H W"]]:
        """Similarity to the most similar cell of the objects, and of what is around them.

        Args:
            cells: descriptors of an image, or of a part of it.

        Returns:
            Both, as means over the scales that the exemplars are looked at in.
        """
        assert self._scales, "there are exemplars"
        pairs = [(scale.inside_NC, scale.outside_MC) for scale in self._scales]
        inside, outside = (
            torch.stack([(cells.descriptors_HWC @ rows.T).amax(-1) for rows in each]).mean(0)
            for each in zip(*pairs, strict=True)
        )
        return inside, outside

    def category(self, cells: DescriptorMap, foreground: Bool[np.ndarray, "H W"]) -> str:
        """The category that most cells of an object are most similar to.

        Args:
            cells: descriptors of a part of an image.
            foreground: the cells that show the object, at least one.
        """
        if len(self.categories) == 1:
            return self.categories[0]
        found = cells.descriptors_HWC[torch.from_numpy(foreground).to(cells.valid_HW.device)]
        votes = torch.zeros(len(self.categories), device=found.device)
        for scale in self._scales:
            nearest = (found @ scale.inside_NC.T).argmax(1)
            votes += torch.bincount(scale.categories_N[nearest], minlength=len(votes))
        return self.categories[int(votes.argmax())]


class Saliency:
    """How much cells differ from the background of their image, with the methods of `Likeness`."""

    categories = ("object",)

    def logits(self, cells: DescriptorMap) -> Float[np.ndarray, "H W"]:
        """A number for each cell, above 0 where it is salient."""
        weight, offset = _SALIENCY
        salient = prominence(cells.descriptors_HWC, cells.valid_HW)
        return (weight * salient + offset).double().cpu().numpy()

    def category(self, cells: DescriptorMap, foreground: Bool[np.ndarray, "H W"]) -> str:
        """Always `object`."""
        return self.categories[0]


def _exemplar_cells(
    cells: DescriptorMap,
    own: Bool[Tensor, "H W"],
    objects: Bool[Tensor, "H W"],
    category: int,
    share: int,
) -> ExemplarCells:
    """The cells of one exemplar in one view.

    Args:
        cells: descriptors of the view.
        own: the cells in its box.
        objects: the cells in the box of any labelled object.
        category: of the exemplar, as an index.
        share: how many cells to take at most.
    """
    candidates = [own & (cells.saliency_HW > 0), own]
    if cells.sides is not None:
        candidates.insert(0, own & (cells.sides.objectness > 0.5))
    foreground = next((each for each in candidates if int(each.sum()) >= _FEW_CELLS), own)
    inside = evenly_spaced(foreground.nonzero(), share)
    outside = evenly_spaced((cells.valid_HW & ~objects).nonzero(), share)
    return ExemplarCells(
        cells.descriptors_HWC[inside.unbind(1)],
        torch.full((len(inside),), category, device=inside.device),
        cells.descriptors_HWC[outside.unbind(1)],
    )


def _cut_view(image: Image.Image, box: Box, factor: float) -> tuple[Image.Image, tuple[int, int]]:
    """A square view of a box and what is around it, and the view's upper left corner in the image.

    Beyond the image it has the image's mean colour.
    """
    x0, y0, x1, y1 = box
    length = max(2, round(max(x1 - x0, y1 - y0) * factor))
    left, top = round((x0 + x1 - length) / 2), round((y0 + y1 - length) / 2)
    mean = image.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
    view = Image.new("RGB", (length, length), mean)
    view.paste(image, (-left, -top))
    return view, (left, top)


def _cells_in(cells: DescriptorMap, box: Box, corner: tuple[int, int]) -> Bool[Tensor, "H W"]:
    """The cells of a view whose centres lie in a box of the image; at least one."""
    points = cells.transform.to_points(cells.transform.grid.cells) + corner
    inside = np.all((points >= box[:2]) & (points <= box[2:]), axis=1)
    if not inside.any():
        centre = (np.array(box[:2]) + box[2:]) / 2
        inside[np.abs(points - centre).max(1).argmin()] = True
    shape = cells.transform.grid.shape
    return torch.from_numpy(inside.reshape(shape)).to(cells.valid_HW.device)
