"""A pair of pictures to try things on: two animals in different poses, and their keypoints.

Rendered by examples/render_pair.py from models by Quaternius, CC0 1.0.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from homolog.keypoints import KeypointSchema


@dataclass(frozen=True)
class ExamplePair:
    """Two pictures of different animals and where the same parts are in both.

    Attributes:
        image0: path of the first picture.
        image1: path of the second picture.
        schema: what the keypoints mean.
        keypoints0: (x, y) in pixels of the first picture.
        keypoints1: (x, y) in pixels of the second picture, in the same order.
        visible: which keypoints are in sight in both.
    """

    image0: Path
    image1: Path
    schema: KeypointSchema
    keypoints0: Float[np.ndarray, "K 2"]
    keypoints1: Float[np.ndarray, "K 2"]
    visible: Bool[np.ndarray, "K"]


@contextmanager
def pair() -> Iterator[ExamplePair]:
    """The example pair; its files are there until the `with` block ends."""
    with resources.as_file(resources.files("homolog").joinpath("assets/example")) as folder:
        data = json.loads((folder / "keypoints.json").read_text("utf-8"))
        left, right = (np.array(data[name], dtype=float) for name in ("left.jpg", "right.jpg"))
        yield ExamplePair(
            folder / "left.jpg",
            folder / "right.jpg",
            KeypointSchema.from_names(data["names"]),
            left[:, :2],
            right[:, :2],
            (left[:, 2] == 2) & (right[:, 2] == 2),
        )
