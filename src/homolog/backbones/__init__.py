"""Frozen backbones, which turn images into feature maps; one module for each family."""

from homolog.backbones.base import Backbone
from homolog.backbones.configs import (
    BackboneConfig,
    DinoConfig,
    FreeUConfig,
    FusedConfig,
    StableDiffusionConfig,
    TuningConfig,
)
from homolog.backbones.registry import (
    BackboneFamily,
    Preset,
    backbone_from_dict,
    create,
    register,
    register_family,
)

__all__ = [
    "Backbone",
    "BackboneConfig",
    "BackboneFamily",
    "DinoConfig",
    "FreeUConfig",
    "FusedConfig",
    "Preset",
    "StableDiffusionConfig",
    "TuningConfig",
    "backbone_from_dict",
    "create",
    "register",
    "register_family",
]
