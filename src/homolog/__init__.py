"""Semantic correspondence that tells left from right: a point here, the same part there."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from homolog import moved
from homolog.errors import HomologError

if TYPE_CHECKING:
    from homolog.config import MatcherConfig
    from homolog.image.geometry import Pose
    from homolog.keypoints import KeypointSchema
    from homolog.matcher import Matcher
    from homolog.networks.post_processor import PostProcessor
    from homolog.results import Features, Flow, FlowField, Heatmap, Matches, Sides

__version__ = "0.1.0"

# Imported when asked for: torch alone takes longer to import than `homolog --help` may.
_EXPORTS = {
    "Features": "homolog.results",
    "Flow": "homolog.results",
    "FlowField": "homolog.results",
    "Heatmap": "homolog.results",
    "KeypointSchema": "homolog.keypoints",
    "Matcher": "homolog.matcher",
    "MatcherConfig": "homolog.config",
    "Matches": "homolog.results",
    "Pose": "homolog.image.geometry",
    "PostProcessor": "homolog.networks.post_processor",
    "Sides": "homolog.results",
}
_MODULES = (
    "backbones", "config", "data", "evaluation", "features", "keypoints", "matching", "metrics",
    "networks", "presets", "training",
)  # fmt: skip

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
]

moved.install()


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    if name in _MODULES:
        return import_module(f"homolog.{name}")
    return moved.attribute(__name__, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_EXPORTS, *_MODULES})
