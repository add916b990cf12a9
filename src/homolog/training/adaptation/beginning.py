"""The beginning of a run: its images and masks are found before its folder is claimed."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homolog import checkpoints
from homolog.data.pairs import Annotation
from homolog.errors import HomologError
from homolog.training.adaptation.images import (
    ImageSet,
    check_enough,
    read_images,
    write_images_csv,
)
from homolog.training.adaptation.masks import find_masks
from homolog.training.adaptation.workspace import make_folder, write_json
from homolog.training.run_dir import RESULTS, RUN
from homolog.utils.outputs import claim_run_dir

IMAGES, WORK, MASKS = "images.csv", "work", "masks.json"

Source = Path | list[Path]
"""A folder, a list in a text file, an image, or several of these."""


@dataclass(frozen=True)
class Beginning:
    """The beginning of a run: its images and masks are found, and its folder is claimed after that.

    Attributes:
        images: where they are.
        out: the folder.
        max_pixels: images with more are left out.
        masks: the folder of masks, if there is one.
        labelled: objects whose images are used, too.
    """

    images: Source
    out: Path
    max_pixels: int
    masks: Path | None
    labelled: list[Annotation]

    @property
    def is_done(self) -> bool:
        """Whether the run knows its images already."""
        return (self.out / WORK / IMAGES).exists() or (self.out / RESULTS).exists()

    def check_folder(self, run: Mapping[str, Any]) -> None:
        """Refuse the folder of another run, or of a model that no run has made.

        Args:
            run: everything that identifies this run, for JSON.

        Raises:
            HomologError: it is one.
        """
        own = self.out.resolve()
        inside = [path for path in self._given() if path.resolve().is_relative_to(own)]
        if inside:
            raise HomologError(
                f"out: expected a folder that the images are not in, got {str(self.out)!r}, which "
                f"has {inside[0]}"
            )
        if (self.out / RUN).exists():
            claim_run_dir(self.out, run)
        files = (self.out / name for name in (checkpoints.CONFIG, checkpoints.WEIGHTS, IMAGES))
        if not (self.out / RUN).exists() and any(path.exists() for path in files):
            raise HomologError(
                f"out: expected a folder for this run, got {self.out}, which holds a model; try "
                "another"
            )

    def read(self) -> tuple[ImageSet, Mapping[Path, Path]]:
        """The images, and their masks by path.

        Raises:
            HomologError: there are too few images, or the masks do not fit them.
        """
        if self.masks is not None:
            self._check_masks(self.masks)
        images = read_images(
            self.images,
            max_pixels=self.max_pixels,
            exclude=[self.out] if self.masks is None else [self.out, self.masks],
            first=[annotation.path for annotation in self.labelled],
        )
        if self.masks is None:
            return images, {}
        found = find_masks(images.files, self.masks, max_pixels=self.max_pixels)
        images = images.without(found.left_out)
        check_enough(images, describe_source(self.images))
        return dataclasses.replace(images, notes=images.notes + found.notes), found.paths

    def _given(self) -> list[Path]:
        return [self.images] if isinstance(self.images, Path) else self.images

    def _check_masks(self, masks: Path) -> None:
        if not masks.is_dir() or masks.resolve() in [path.resolve() for path in self._given()]:
            raise HomologError(f"masks: expected a folder of masks alone, got {masks}")

    def write(self, images: ImageSet, masks: Mapping[Path, Path], notes: list[str]) -> None:
        """Write what was read for the stages that follow, and say what is left out.

        Args:
            images: the images.
            masks: by path of the image.
            notes: what else is to be said.

        Raises:
            HomologError: a file cannot be written.
        """
        inside = [path.resolve() for path in self._given()]
        labelled = {annotation.path.resolve() for annotation in self.labelled}
        more = [p for p in labelled if not any(p.is_relative_to(each) for each in inside)]
        if more and isinstance(self.images, Path) and self.images.is_dir():
            notes = [
                *notes,
                f"labelled images that are not in {self.images}, used, too: {len(more)}",
            ]
        for note in (*notes, *images.notes):
            print(f"note: {note}", file=sys.stderr)
        make_folder(self.out / WORK)
        absolute = {os.path.abspath(path): os.path.abspath(mask) for path, mask in masks.items()}
        write_json(self.out / WORK / MASKS, absolute)
        write_images_csv(self.out / WORK / IMAGES, images)


def as_source(images: Any) -> Source:
    """What somebody gave as images.

    Args:
        images: the path of a folder, list or image, or several.

    Raises:
        HomologError: it is none of these.
    """
    if isinstance(images, (str, os.PathLike)):
        return Path(images)
    try:
        paths = [Path(path) for path in images]
    except TypeError:
        raise HomologError(
            f"images: expected a folder, a list of images or their paths, got {images!r}"
        ) from None
    return paths[0] if len(paths) == 1 else paths


def describe_source(source: Source) -> str:
    """What was given, in words."""
    return str(source) if isinstance(source, Path) else f"{len(source)} paths"


def identify_source(source: Source) -> str:
    """What tells the images of one run from those of another."""
    if isinstance(source, Path):
        return os.path.abspath(source)
    lines = "\n".join(os.path.abspath(path) for path in source)
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()
