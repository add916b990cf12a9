"""CVAT: tracking of shapes through the frames of a task, by one of CVAT's agents.

A module for `cvat-cli function create-native NAME --function-module
homolog.integrations.cvat_tracking`, and for `cvat-cli function run-agent` with the same module.

See https://docs.cvat.ai/docs/api_sdk/sdk/auto-annotation/. This needs `pip install cvat-cli`.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from homolog.applications.object_tracker import ObjectTracker
from homolog.applications.point_tracker import Tracker
from homolog.descriptors import Features
from homolog.image.reading import ImageLike
from homolog.matcher import Matcher
from homolog.utils.optional import require

_SDK = "cvat_sdk.auto_annotation"
_RECTANGLE = "rectangle"
SHAPE_TYPES = ("points", "polygon", "polyline", _RECTANGLE)
"""The types of shapes that can be tracked."""


class ShapeTracker:
    """A tracking function of CVAT: rectangles as objects, other shapes point by point.

    Args:
        matcher: matches the points.
    """

    def __init__(self, matcher: Matcher):
        self._sdk = require(_SDK, package="cvat-sdk")
        self._matcher = matcher

    @functools.cached_property
    def spec(self) -> Any:
        """The types of shapes, as a `TrackingFunctionSpec` of the SDK."""
        return self._sdk.TrackingFunctionSpec(supported_shape_types=SHAPE_TYPES)

    def preprocess_image(self, context: Any, image: ImageLike) -> Features:
        """The features of a frame, which all of its shapes share."""
        return self._matcher.extract(image)

    def init_tracking_state(
        self, context: Any, pp_image: Features, shape: Any
    ) -> Tracker | ObjectTracker:
        """Take a shape on its first frame, from which it is tracked.

        Args:
            context: of the SDK.
            pp_image: the features of the frame.
            shape: a `TrackableShape` of the SDK.

        Raises:
            HomologError: a rectangle is empty.
        """
        points = np.reshape(np.array(shape.points, dtype=float), (-1, 2))
        points = np.clip(points, 0, pp_image.size)
        tracker: Tracker | ObjectTracker
        if shape.type == _RECTANGLE:
            box = [*points.min(axis=0), *np.ptp(points, axis=0)]
            tracker = ObjectTracker(self._matcher, pp_image, [box])
        else:
            tracker = Tracker(self._matcher, pp_image, points)
        tracker.restart()
        return tracker

    def track(self, context: Any, pp_image: Features, state: Tracker | ObjectTracker) -> Any:
        """Where a shape is on the next frame; None if it is out of sight.

        Args:
            context: of the SDK; its `original_shape_type` is that of the shape.
            pp_image: the features of the frame.
            state: what `init_tracking_state` returned; it follows the frames.
        """
        if isinstance(state, ObjectTracker):
            found = state.update(pp_image)
            if found.lost[0]:
                return None
            x, y, width, height = found.boxes[0].tolist()
            points = [x, y, x + width, y + height]
        else:
            tracks = state.update(pp_image)
            if tracks.occluded.all():
                return None
            points = tracks.points.flatten().tolist()
        return self._sdk.TrackableShape(type=context.original_shape_type, points=points)


def create(model: str = "embedded", device: str | None = None) -> ShapeTracker:
    """Make the tracking function, as `cvat-cli` does with its `-p` parameters.

    Args:
        model: a preset, or the folder of a trained model.
        device: where to compute, such as `cuda`.

    Raises:
        HomologError: the model cannot be used.
    """
    return ShapeTracker(Matcher.from_pretrained(model, device=device))
