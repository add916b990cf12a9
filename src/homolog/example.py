"""The example pair that comes with the package: two animals in different poses, with keypoints.

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
    """Two images of different animals and their keypoints.

    Attributes:
        image0: path of the source image.
        image1: path of the target image.
        schema: names and mirror counterparts of the keypoints.
        keypoints0: (x, y) in pixels of the source.
        keypoints1: (x, y) in pixels of the target, in the same order.
        visible: which keypoints are visible in both images.
    """

    image0: Path
    image1: Path
    schema: KeypointSchema
    keypoints0: Float[np.ndarray, "K 2"]
    keypoints1: Float[np.ndarray, "K 2"]
    visible: Bool[np.ndarray, "K"]


@contextmanager
def pair() -> Iterator[ExamplePair]:
    """The example pair; its files exist until the `with` block ends."""
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
