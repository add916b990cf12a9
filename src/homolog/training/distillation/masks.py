"""Which pixels show the objects that dense matches are mined on."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from homolog.data import Annotation, DataSet
from homolog.data.reading import abbreviate
from homolog.errors import HomologError
from homolog.image import reading
from homolog.image.masks import read_mask
from homolog.matcher import Matcher
from homolog.training.adaptation.masks import find_masks
from homolog.training.recipes import TrainingConfig
from homolog.training.samples import MaskSource
from homolog.utils.progress import ProgressBar
from homolog.zoom import object_cells

Mask = Bool[np.ndarray, "height width"]


def choose_masks(
    data: DataSet,
    matcher: Matcher,
    config: TrainingConfig,
    folder: Path | None,
    is_main: bool,
) -> tuple[TrainingConfig, MaskSource | None]:
    """Where masks come from, and the configuration without distillation if it cannot be done.

    Args:
        data: the training set.
        matcher: says where to compute.
        config: of the run.
        folder: of masks named as their images; None for those of the data set.
        is_main: whether this process prints what was decided.

    Returns:
        The configuration, and what gives the mask of an annotated object; None where none is
        needed.

    Raises:
        HomologError: masks are given that are not needed, or one cannot be read, belongs to no
            image, or has another size than its image.
    """
    if config.distillation is None:
        if folder is not None:
            raise HomologError(
                f"masks: expected none for {config.recipe}, which learns from keypoints alone, "
                f"got {folder}"
            )
        return config, None
    if importlib.util.find_spec("scipy") is None:
        _print(
            ["scipy is not installed, so nothing is learned from a teacher's dense matches, only "
             "from keypoints; try: pip install 'homolog[data]'"], is_main,
        )  # fmt: skip
        return dataclasses.replace(config, distillation=None), None
    salient = SalientObjects(matcher)
    files = list(dict.fromkeys(each.path for each in data.annotations))
    if folder is not None:
        found = find_masks(files, folder, max_pixels=matcher.max_pixels)
        notes = [*found.notes]
        empty = {each.path for each in found.left_out}
        if empty:
            names = abbreviate(map(str, sorted(empty)), 3)
            notes.append(
                f"images whose mask is empty, of which keypoints alone are learned: {len(empty)} "
                f"({names})"
            )
        _print(notes, is_main)
        return config, FolderMasks(found.paths, frozenset(empty), salient, matcher.max_pixels)
    if is_main:
        _check(data)
    without = [each.name for each in data.annotations if each.mask is None]
    if without:
        _print(
            [f"objects without a mask in the data set, found by what is salient: {len(without)} "
             f"({abbreviate(without, 3)})"], is_main,
        )  # fmt: skip
    return config, DataSetMasks(salient)


class DataSetMasks:
    """The masks that a data set has, or else what is salient.

    Args:
        salient: finds objects without one.
    """

    def __init__(self, salient: MaskSource):
        self._salient = salient

    def __call__(self, annotation: Annotation) -> Mask | None:
        """The pixels of the image that show the object; None if there are none."""
        if annotation.mask is None:
            return self._salient(annotation)
        return _or_none(annotation.mask())


class FolderMasks:
    """Masks from a folder, or else what is salient.

    Args:
        paths: the mask of each image that has one, by the image's path.
        empty: images whose mask is empty.
        salient: finds the object in images without a mask.
        max_pixels: refuse masks with more pixels than this.
    """

    def __init__(
        self,
        paths: Mapping[Path, Path],
        empty: frozenset[Path],
        salient: MaskSource,
        max_pixels: int,
    ):
        self._paths, self._empty = paths, empty
        self._salient, self._max_pixels = salient, max_pixels

    def __call__(self, annotation: Annotation) -> Mask | None:
        """The pixels of the image that show the object; None if there are none."""
        if annotation.path in self._empty:
            return None
        path = self._paths.get(annotation.path)
        if path is None:
            return self._salient(annotation)
        size = reading.image_size(annotation.path, max_pixels=self._max_pixels)
        mask = read_mask(path, size, max_pixels=self._max_pixels, name=f"mask {path}")
        return _or_none(
            mask & box_mask(annotation, mask.shape) if annotation.shares_image else mask
        )


class SalientObjects:
    """Objects found without masks, by the embedded model, in the boxes that are annotated.

    What its side head takes for an object, where it knows the kind, and what is salient otherwise.

    Args:
        matcher: says where to compute, and keeps feature maps on disk.
    """

    def __init__(self, matcher: Matcher):
        self._like = matcher
        self._matcher: Matcher | None = None

    def __call__(self, annotation: Annotation) -> Mask | None:
        """The pixels of the image that show the object; None if there are none."""
        if self._matcher is None:
            self._matcher = Matcher.from_pretrained(
                "embedded", device=self._like.backbone.device, max_pixels=self._like.max_pixels,
                cache=self._like.cache,
            )  # fmt: skip
        box = annotation.xywh if annotation.shares_image else None
        features = self._matcher.extract(annotation.path, box=box)
        found = features.descriptor_map()
        cells = object_cells(found, self._matcher.config.sides)
        if cells is None:
            cells = found.saliency_HW > 0
        values = cells.float().cpu().numpy()[..., None]
        share = found.transform.resample(values, features.size, outside=0.0)[..., 0]
        return _or_none((share >= 0.5) & box_mask(annotation, share.shape))


def box_mask(annotation: Annotation, shape: tuple[int, ...]) -> Mask:
    """The pixels in the box of an annotated object.

    Args:
        annotation: of the object.
        shape: height and width of its image.
    """
    x0, y0, x1, y1 = annotation.box
    rows, columns = (np.arange(length) + 0.5 for length in shape)
    return ((rows >= y0) & (rows <= y1))[:, None] & ((columns >= x0) & (columns <= x1))


def _check(data: DataSet) -> None:
    """Check that the data set's masks can be read and have the sizes of their images.

    Raises:
        HomologError: one cannot be read, or has another size.
    """
    masked = [each for each in data.annotations if each.mask is not None]
    with ProgressBar(len(masked)) as progress:
        for done, annotation in enumerate(masked):
            progress.update("reading masks", done)
            assert annotation.mask is not None
            height, width = annotation.mask().shape
            size = reading.image_size(annotation.path)
            if (width, height) != size:
                raise HomologError(
                    f"mask of {annotation.name}: expected the size of its image, {size[0]} x "
                    f"{size[1]} pixels, got {width} x {height}"
                )


def _or_none(mask: Mask) -> Mask | None:
    return mask if mask.any() else None


def _print(notes: list[str], is_main: bool) -> None:
    for note in notes if is_main else []:
        print(f"note: {note}", file=sys.stderr)
