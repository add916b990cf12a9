"""From which side a thing is seen, told by instance matching distance to pictures of each side."""

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
"""The way a thing faces in the picture: to the picture's left or right, to us or away."""


def predict(
    matcher: Matcher, picture: FeaturesLike, templates: Mapping[str, FeaturesLike]
) -> dict[str, float]:
    """The instance matching distance of a picture to the template of each view.

    The least is the prediction (Zhang et al., CVPR 2024, who try it on 100 cats).

    Args:
        matcher: makes the descriptors.
        picture: the picture.
        templates: a picture of each view, by name.
    """
    return {view: matcher.distance(picture, template) for view, template in templates.items()}


@dataclass(frozen=True)
class ViewpointReport:
    """How often views are told apart.

    Attributes:
        confusion: how many pictures of each view (row) are predicted as each (column), in the
            order of `VIEWS`.
        left_right: share of the pictures of either side that are nearer to their own side's
            template than to the other's; None without such pictures.
        front_back: the same of front and back.
        either: both together.
        four_ways: share of all pictures whose own view's template is the nearest.
    """

    confusion: Int[np.ndarray, "4 4"]
    left_right: float | None
    front_back: float | None
    either: float
    four_ways: float

    def print(self, console: Console | None = None) -> None:
        """The confusion and the shares."""
        console = console or Console()
        table = Table("pictures of \\ taken for", *VIEWS)
        for view, counts in zip(VIEWS, self.confusion, strict=True):
            table.add_row(view, *(str(count) for count in counts))
        console.print(table)
        for name, share in (
            ("left/right", self.left_right),
            ("front/back", self.front_back),
            ("either", self.either),
            ("four ways", self.four_ways),
        ):
            if share is not None:
                console.print(f"{name}: {100 * share:.1f} %", highlight=False)


def evaluate(root: Path, matcher: Matcher) -> ViewpointReport:
    """Predict the views of all pictures in a folder.

    Args:
        root: has the folders `left`, `right`, `front` and `back` with pictures, of which some may
            be missing or empty, and `templates` with a picture named after each view.
        matcher: makes the descriptors.

    Raises:
        HomologError: a template is missing, there are no pictures, or one cannot be read.
    """
    found = {view: _pictures(root / view) for view in VIEWS}
    templates = {}
    for view in VIEWS:
        named = [path for path in _pictures(root / "templates") if path.stem == view]
        if not named:
            raise HomologError(f"{root / 'templates'}: there is no picture named {view}")
        templates[view] = named[0]
    if not any(found.values()):
        raise HomologError(f"{root}: there are no pictures in {', '.join(VIEWS)}")
    references = {view: matcher.extract(path) for view, path in templates.items()}
    labels, distances = [], []
    with ProgressBar(sum(len(paths) for paths in found.values())) as steps:
        for label, view in enumerate(VIEWS):
            for path in found[view]:
                steps.update(f"looking at {path.name}")
                labels.append(label)
                nearness = predict(matcher, matcher.extract(path), references)
                distances.append([nearness[other] for other in VIEWS])
    return summarise(np.array(labels), np.array(distances))


def summarise(
    labels_N: Int[np.ndarray, "N"], distances_N4: Float[np.ndarray, "N 4"]
) -> ViewpointReport:
    """The report on distances of N pictures to the four templates.

    Args:
        labels_N: each picture's view, as an index into `VIEWS`.
        distances_N4: to each view's template.
    """
    confusion = np.zeros((4, 4), dtype=int)
    np.add.at(confusion, (labels_N, distances_N4.argmin(axis=1)), 1)
    rows = np.arange(len(labels_N))
    # Left and right are 0 and 1, front and back 2 and 3: the opposite differs in the last bit.
    right = distances_N4[rows, labels_N] < distances_N4[rows, labels_N ^ 1]
    sides, ends = labels_N < 2, labels_N >= 2
    return ViewpointReport(
        confusion,
        float(right[sides].mean()) if sides.any() else None,
        float(right[ends].mean()) if ends.any() else None,
        float(right.mean()),
        float(np.trace(confusion) / len(labels_N)),
    )


def _pictures(folder: Path) -> list[Path]:
    """The pictures in a folder, if it is there."""
    return reading.find([folder]) if folder.is_dir() else []
