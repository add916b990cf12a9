"""CVAT: automatic annotation with skeletons, from a file of exemplars.

A module for `cvat-cli task auto-annotate --function-module homolog.integrations.cvat`, or for an
agent (`cvat-cli function create-native`). Parameters are those of `create`:

    cvat-cli task auto-annotate 7 --function-module homolog.integrations.cvat
        -p exemplars=str:few.json -p max_objects=int:5

See https://docs.cvat.ai/docs/api_sdk/sdk/auto-annotation/. This needs `pip install cvat-cli`.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from homolog.errors import HomologError
from homolog.image.reading import ImageLike
from homolog.integrations.predictor import PredictedObject, Predictor
from homolog.utils.optional import require

_SDK = "cvat_sdk.auto_annotation"


class SkeletonDetector:
    """A detection function of CVAT: the objects of an image as skeletons.

    Each category of the exemplars is a label of the type skeleton, and each of its keypoints a
    point of that, under the same names as in the file.

    Args:
        predictor: predicts the keypoints.
        point_threshold: keypoints with a lower score are marked `outside`, as those that are not
            visible, so that a person places them.
    """

    def __init__(self, predictor: Predictor, point_threshold: float = 0.5):
        self._sdk = require(_SDK, package="cvat-sdk")
        self._predictor = predictor
        self._point_threshold = point_threshold
        self._labels = {c["name"]: number for number, c in enumerate(predictor.categories)}

    @functools.cached_property
    def spec(self) -> Any:
        """The labels, as a `DetectionFunctionSpec` of the SDK."""
        sdk = self._sdk
        return sdk.DetectionFunctionSpec(
            labels=[
                sdk.skeleton_label_spec(
                    category["name"],
                    number,
                    [sdk.keypoint_spec(name, at) for at, name in enumerate(category["keypoints"])],
                )
                for number, category in enumerate(self._predictor.categories)
            ]
        )

    def detect(self, context: Any, image: ImageLike) -> list[Any]:
        """The objects of an image as shapes of the SDK, in pixels of the image.

        Args:
            context: of the SDK; objects with a score below its `conf_threshold` are left out, and
                errors name its `frame_name`.
            image: the image.

        Raises:
            HomologError: the image cannot be read.
        """
        least = context.conf_threshold or 0.0
        objects = self._predictor.predict(image, context.frame_name)
        return [self._skeleton(each) for each in objects if each.score >= least]

    def _skeleton(self, found: PredictedObject) -> Any:
        x, y, width, height = found.box
        # A point that is outside has a position, too, where it appears when a person shows it.
        centre = x + width / 2, y + height / 2
        points = np.where(found.found[:, None], found.points, centre)
        outside = ~found.found | (found.scores < self._point_threshold)
        return self._sdk.skeleton(
            self._labels[found.category],
            [
                self._sdk.keypoint(
                    number,
                    points[number].tolist(),
                    outside=bool(outside[number]),
                    occluded=bool(found.occluded[number]),
                )
                for number in range(len(points))
            ],
        )


def create(
    exemplars: str,
    images: str | None = None,
    max_objects: int | None = None,
    point_threshold: float = 0.5,
    model: str = "embedded",
    device: str | None = None,
) -> SkeletonDetector:
    """Make the detection function, as `cvat-cli` does with its `-p` parameters.

    Args:
        exemplars: a file of a few labelled images, in any format that `homolog annotate` takes.
        images: the folder of its images, if they are not beside it.
        max_objects: how many objects an image may show; without it an image shows one.
        point_threshold: keypoints with a lower score are marked `outside`.
        model: a preset, or the folder of a trained model.
        device: where to compute, such as `cuda`.

    Raises:
        HomologError: the exemplars, the model or a threshold cannot be used.
    """
    if not 0 <= point_threshold <= 1:
        raise HomologError(
            f"point_threshold: expected a probability from 0 to 1, got {point_threshold:g}"
        )
    predictor = Predictor(exemplars, images, model=model, device=device, max_objects=max_objects)
    return SkeletonDetector(predictor, point_threshold)
