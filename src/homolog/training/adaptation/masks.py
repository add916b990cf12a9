"""Masks of the objects in the images of an adaptation, from a folder."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from homolog.data.reading import abbreviate
from homolog.errors import HomologError
from homolog.image import reading
from homolog.image.folders import search
from homolog.image.masks import EmptyMaskError, read_mask
from homolog.training.adaptation.images import LeftOut
from homolog.utils.progress import ProgressBar


@dataclass(frozen=True)
class FoundMasks:
    """The masks of some images.

    Attributes:
        paths: the mask of each image that has one, by the image's path.
        left_out: images whose mask is empty.
        notes: which images have no mask, and which masks no image.
    """

    paths: Mapping[Path, Path]
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]


def find_masks(
    files: Sequence[Path], folder: Path, *, max_pixels: int = reading.MAX_PIXELS
) -> FoundMasks:
    """The masks of images, each named as its image apart from the ending.

    Where several images or masks have a name, the folders that they are in tell them apart, as far
    as these have the same names, too. All masks are read once.

    Args:
        files: the images.
        folder: of masks, which is searched with all below; see `read_mask` for what they may be.
        max_pixels: refuse masks with more pixels than this.

    Raises:
        HomologError: the folder does not exist or has no mask for any image, two masks belong to
            one image or the reverse, or a mask cannot be read or has another size than its image.
    """
    if not folder.is_dir():
        raise HomologError(f"masks: expected a folder, got {folder}")
    found = search([folder], "masks")
    images = {path.resolve() for path in files}
    masks = [path for path in found.files if path.resolve() not in images]
    paths = _assign(files, masks)
    if not paths:
        raise HomologError(
            f"masks: expected masks with the names of the images, such as {files[0].stem}.png, in "
            f"{folder}, got {abbreviate((path.name for path in masks), 3) or 'no images'}"
        )
    empty = []
    with ProgressBar(len(paths)) as progress:
        for done, (image, mask) in enumerate(paths.items()):
            progress.update("reading masks", done)
            size = reading.image_size(image, max_pixels=max_pixels, name="image")
            try:
                read_mask(mask, size, max_pixels=max_pixels, name=f"mask {mask}")
            except EmptyMaskError:
                empty.append(image)
    notes = found.notes
    for what, missing in (
        ("images without a mask, in which saliency finds the object",
         [path for path in files if path not in paths]),
        ("masks without an image, not used",
         [path for path in masks if path not in set(paths.values())]),
    ):  # fmt: skip
        if missing:
            notes.append(f"{what}: {len(missing)} ({abbreviate(map(str, missing), 3)})")
    return FoundMasks(
        {image: mask for image, mask in paths.items() if image not in empty},
        tuple(LeftOut.with_empty_mask(image) for image in empty),
        tuple(notes),
    )


def _assign(files: Sequence[Path], masks: Sequence[Path]) -> dict[Path, Path]:
    """The mask of each image that has one.

    Raises:
        HomologError: two masks belong to one image, or the reverse.
    """
    by_stem: dict[str, list[Path]] = defaultdict(list)
    for mask in masks:
        by_stem[mask.stem].append(mask)
    wanted: dict[Path, list[Path]] = defaultdict(list)
    for image in files:
        if best := _nearest(image, by_stem.get(image.stem, [])):
            if len(best) > 1:
                raise HomologError(
                    f"masks: expected one mask for {image}, got {' and '.join(map(str, best[:2]))}"
                )
            wanted[best[0]].append(image)
    paths = {}
    for mask, images in wanted.items():
        nearest = _nearest(mask, images)
        if len(nearest) > 1:
            raise HomologError(
                f"masks: expected one image for {mask}, got {' and '.join(map(str, nearest[:2]))}"
            )
        paths[nearest[0]] = mask
    return {image: paths[image] for image in files if image in paths}


def _nearest(path: Path, others: Sequence[Path]) -> list[Path]:
    """Those of some files of the same name whose folders have most names in common with a path."""
    common = [_common(path.absolute().parent, other.absolute().parent) for other in others]
    return [other for other, names in zip(others, common, strict=True) if names == max(common)]


def _common(folder0: Path, folder1: Path) -> int:
    """How many names the ends of two folders' paths have in common."""
    pairs = zip(reversed(folder0.parts), reversed(folder1.parts), strict=False)
    return next(
        (count for count, (name0, name1) in enumerate(pairs) if name0 != name1),
        min(len(folder0.parts), len(folder1.parts)),
    )
