"""Frozen features: the backbones, one file a family, and how their maps become descriptors."""

from homolog.features.base import Backbone, create, register
from homolog.features.cache import FeatureCache
from homolog.features.fusion import FusionConfig, fuse, stack

__all__ = ["Backbone", "FeatureCache", "FusionConfig", "create", "fuse", "register", "stack"]
