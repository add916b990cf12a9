"""Semantic correspondence that tells left from right: a point here, the same part there."""

from homolog import features, geometry, images, keypoints, matching, points, pose
from homolog.errors import HomologError
from homolog.geometry import Pose
from homolog.keypoints import KeypointSchema
from homolog.matcher import Matcher, MatcherConfig
from homolog.types import Features, Flow, FlowField, Heatmap, Matches

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
    "features",
    "geometry",
    "images",
    "keypoints",
    "matching",
    "points",
    "pose",
]
