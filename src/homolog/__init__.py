"""Semantic correspondence that tells left from right: a point here, the same part there."""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

from homolog import moved
from homolog.errors import HomologError

if TYPE_CHECKING:
    from homolog.config import MatcherConfig
    from homolog.descriptors import Features
    from homolog.flow import Flow, FlowField
    from homolog.image.poses import PoseVariant
    from homolog.keypoints import KeypointSchema
    from homolog.matcher import Matcher
    from homolog.networks.post_processor import PostProcessor
    from homolog.pair import ImagePair
    from homolog.results import Heatmap, Matches, Sides

__version__ = "0.1.0"

# Imported on first access: torch alone takes longer to import than `homolog --help` may take.
_EXPORTS = {
    "Features": "homolog.descriptors",
    "Flow": "homolog.flow",
    "FlowField": "homolog.flow",
    "Heatmap": "homolog.results",
    "ImagePair": "homolog.pair",
    "KeypointSchema": "homolog.keypoints",
    "Matcher": "homolog.matcher",
    "MatcherConfig": "homolog.config",
    "Matches": "homolog.results",
    "PoseVariant": "homolog.image.poses",
    "PostProcessor": "homolog.networks.post_processor",
    "Sides": "homolog.results",
}
_MODULES = (
    "applications", "backbones", "checkpoints", "config", "data", "evaluation", "example",
    "features", "image", "keypoints", "labelling", "matching", "metrics", "networks", "presets",
    "synth", "training", "viz",
)  # fmt: skip

__all__ = [
    "Features",
    "Flow",
    "FlowField",
    "Heatmap",
    "HomologError",
    "ImagePair",
    "KeypointSchema",
    "Matcher",
    "MatcherConfig",
    "Matches",
    "PoseVariant",
    "PostProcessor",
    "Sides",
]

moved.install()
# The log is silent unless an application, or the command's -v, asks for it.
logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    if name in _MODULES:
        return import_module(f"homolog.{name}")
    return moved.attribute(__name__, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_EXPORTS, *_MODULES})
