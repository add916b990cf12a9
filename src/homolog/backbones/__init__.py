"""Frozen backbones: images in, feature maps out; one module a family."""

from homolog.backbones.base import Backbone, create, register
from homolog.backbones.configs import (
    BackboneConfig,
    DinoConfig,
    FreeUConfig,
    FusedConfig,
    StableDiffusionConfig,
    TuningConfig,
    backbone_from_dict,
)

__all__ = [
    "Backbone",
    "BackboneConfig",
    "DinoConfig",
    "FreeUConfig",
    "FusedConfig",
    "StableDiffusionConfig",
    "TuningConfig",
    "backbone_from_dict",
    "create",
    "register",
]
