"""From feature maps to zero-shot descriptors, and the cache of feature maps on disk."""

from typing import Any

from homolog import moved
from homolog.features.cache import FeatureCache
from homolog.features.fusion import FusionConfig, fuse, stack

__all__ = ["FeatureCache", "FusionConfig", "fuse", "stack"]


def __getattr__(name: str) -> Any:
    return moved.attribute(__name__, name)
