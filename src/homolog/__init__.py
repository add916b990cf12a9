"""Semantic correspondence that tells left from right: a point here, the same part there."""

from typing import TYPE_CHECKING, Any

from homolog import features, geometry, images, keypoints, losses, matching, metrics, points, pose
from homolog.config import MatcherConfig
from homolog.errors import HomologError
from homolog.geometry import Pose
from homolog.keypoints import KeypointSchema
from homolog.matcher import Matcher
from homolog.types import Features, Flow, FlowField, Heatmap, Matches, Sides

if TYPE_CHECKING:
    from homolog.post_processor import PostProcessor

__all__ = [
    "Features",
    "Flow",
    "FlowField",
    "Heatmap",
    "HomologError",
    "KeypointSchema",
    "Matcher",
    "MatcherConfig",
    "Matches",
    "Pose",
    "PostProcessor",
    "Sides",
    "features",
    "geometry",
    "images",
    "keypoints",
    "losses",
    "matching",
    "metrics",
    "points",
    "pose",
]


def __getattr__(name: str) -> Any:
    # Imported when asked for: what talks to model hubs takes longer to import than all the rest.
    if name == "PostProcessor":
        from homolog.post_processor import PostProcessor

        return PostProcessor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
