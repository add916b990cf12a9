"""Frozen features: the backbones, one file a family, and how their maps become descriptors."""

from homolog.features.base import Backbone, create, register
from homolog.features.cache import FeatureCache
from homolog.features.configs import (
    BackboneConfig,
    DinoConfig,
    FreeUConfig,
    FusedConfig,
    StableDiffusionConfig,
    TuningConfig,
    backbone_from_dict,
)
from homolog.features.fusion import FusionConfig, fuse, stack

__all__ = [
    "Backbone",
    "BackboneConfig",
    "DinoConfig",
    "FeatureCache",
    "FreeUConfig",
    "FusedConfig",
    "FusionConfig",
    "StableDiffusionConfig",
    "TuningConfig",
    "backbone_from_dict",
    "create",
    "fuse",
    "register",
    "stack",
]
