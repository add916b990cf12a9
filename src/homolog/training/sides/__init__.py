"""Training of side heads on rendered images, where every pixel knows its side of the object.

Photos look unlike renders, and what tells them apart is mostly the strength of single channels. So
channels are dropped, and given the mean and the spread that they have in other images.
"""

from typing import Any

from homolog import moved
from homolog.training.sides.calibration import (
    add_sides,
    calibrate,
    fit_presence,
    presence_calibration,
    score_pairs,
)
from homolog.training.sides.examples import Examples, build_dataset, mirrored_images
from homolog.training.sides.fitting import fit
from homolog.training.sides.recipe import LOSSES, SidesRecipe
from homolog.training.sides.rendered import RenderedDataset, read_rendered_dataset
from homolog.training.sides.run import train
from homolog.training.sides.scoring import Score, score

__all__ = [
    "LOSSES",
    "Examples",
    "RenderedDataset",
    "Score",
    "SidesRecipe",
    "add_sides",
    "build_dataset",
    "calibrate",
    "fit",
    "fit_presence",
    "mirrored_images",
    "presence_calibration",
    "read_rendered_dataset",
    "score",
    "score_pairs",
    "train",
]


def __getattr__(name: str) -> Any:
    return moved.attribute(__name__, name)
