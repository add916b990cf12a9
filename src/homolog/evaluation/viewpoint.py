"""Viewpoint prediction: which way an object faces, by instance matching distance to templates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from rich.console import Console
from rich.table import Table

from homolog.descriptors import FeaturesLike
from homolog.errors import HomologError
from homolog.image import reading
from homolog.matcher import Matcher
from homolog.utils.progress import ProgressBar

VIEWS = ("left", "right", "front", "back")
"""The way an object faces: to the image's left or right, towards the camera or away from it."""


def predict(
    matcher: Matcher, image: FeaturesLike, templates: Mapping[str, FeaturesLike]
) -> dict[str, float]:
    """Compute the instance matching distance of an image to the template of each view.

    The view with the smallest distance is the prediction (Zhang et al., CVPR 2024, who evaluate it
    on 100 cats).

    Args:
        matcher: computes the descriptors.
        image: the image.
        templates: by the name of each view an image of it.
    """
    return {view: matcher.distance(image, template) for view, template in templates.items()}


@dataclass(frozen=True)
class ViewpointReport:
    """The accuracy of viewpoint prediction.

    Attributes:
        confusion: number of images of each view (row) predicted as each view (column), in the order
            of `VIEWS`.
        left_right: accuracy for left and right, when only these two templates are compared; None
            without such images.
        front_back: the same for front and back.
        either: both together.
        four_ways: accuracy when all four templates are compared.
    """

    confusion: Int[np.ndarray, "4 4"]
    left_right: float | None
    front_back: float | None
    either: float
    four_ways: float

    def print(self, console: Console | None = None) -> None:
        """Print the confusion matrix and the accuracies."""
        console = console or Console()
        table = Table("images of \\ predicted as", *VIEWS)
        for view, counts in zip(VIEWS, self.confusion, strict=True):
            table.add_row(view, *(str(count) for count in counts))
        console.print(table)
        for name, accuracy in (
            ("left/right", self.left_right),
            ("front/back", self.front_back),
            ("either", self.either),
            ("four ways", self.four_ways),
        ):
            if accuracy is not None:
                console.print(f"{name}: {100 * accuracy:.1f} %", highlight=False)


def evaluate(root: Path, matcher: Matcher) -> ViewpointReport:
    """Predict the view of all images in a folder.

    Args:
        root: the folder, with the folders `left`, `right`, `front` and `back` of images, some of
            which may be missing or empty, and `templates` with an image named after each view.
        matcher: computes the descriptors.

    Raises:
        HomologError: a template is missing, there are no images, or one cannot be read.
    """
    images = {view: _find_images(root / view) for view in VIEWS}
    templates = {}
    for view in VIEWS:
        named = [path for path in _find_images(root / "templates") if path.stem == view]
        if not named:
            raise HomologError(f"{root / 'templates'}: expected an image named {view}, got none")
        templates[view] = matcher.extract(named[0])
    if not any(images.values()):
        raise HomologError(f"{root}: expected images in {' or '.join(VIEWS)}, got none")
    labels, distances = [], []
    with ProgressBar(sum(len(paths) for paths in images.values())) as steps:
        for label, view in enumerate(VIEWS):
            for path in images[view]:
                steps.update(f"comparing {path.name}")
                labels.append(label)
                by_view = predict(matcher, matcher.extract(path), templates)
                distances.append([by_view[name] for name in VIEWS])
    return summarise(np.array(labels), np.array(distances))


def summarise(
    labels_N: Int[np.ndarray, "N"], distances_N4: Float[np.ndarray, "N 4"]
) -> ViewpointReport:
    """Compute confusion and accuracies from the distances of N images to the four templates.

    Args:
        labels_N: the true view of each image, as an index into `VIEWS`.
        distances_N4: to the template of each view.
    """
    confusion = np.zeros((4, 4), dtype=int)
    np.add.at(confusion, (labels_N, distances_N4.argmin(axis=1)), 1)
    rows = np.arange(len(labels_N))
    # Left and right are 0 and 1, front and back 2 and 3: the opposite differs in the last bit.
    correct = distances_N4[rows, labels_N] < distances_N4[rows, labels_N ^ 1]
    sideways, lengthways = labels_N < 2, labels_N >= 2
    return ViewpointReport(
        confusion,
        float(correct[sideways].mean()) if sideways.any() else None,
        float(correct[lengthways].mean()) if lengthways.any() else None,
        float(correct.mean()),
        float(np.trace(confusion) / len(labels_N)),
    )


def _find_images(folder: Path) -> list[Path]:
    """The images in a folder; none if there is no such folder."""
    return reading.find_images([folder]) if folder.is_dir() else []
