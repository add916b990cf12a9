"""Configurations as plain data, under names that stay when the code's names change.

Model folders, caches and resumable runs remember configurations by the names of their fields and
classes. Where one is renamed in the code, the name on disk stays: `FIELDS` and `CLASSES` say so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

FIELDS: Mapping[str, Mapping[str, str]] = {
    "MatcherConfig": {
        "consensus": "guidance",
        "same_category_threshold": "same_kind",
    },
    "ConsensusConfig": {
        "neighbourhood_weight": "surroundings",
        "neighbourhood_radius": "reach",
        "affine_weight": "layout",
    },
    "DinoConfig": {
        "canvas_size": "side",
        "pos_embed_mode": "positions",
        "crop_padding": "native",
    },
    "LossConfig": {"keypoint_fraction": "share"},
    "TrainingConfig": {
        "images_per_group": "pictures",
        "grad_accum_groups": "groups",
        "consensus": "guided",
    },
    "PostProcessorConfig": {"backbone_digest": "tuned"},
    "SidesConfig": {
        "side_weight": "side",
        "coordinate_weight": "place",
        "coordinate_bandwidth": "reach",
        "presence_calibration": "presence",
    },
    "StableDiffusionConfig": {"canvas_size": "side"},
}
"""Class: its fields that have another name on disk, and that name."""

ADDED: Mapping[str, tuple[str, ...]] = {
    "DinoConfig": ("debias", "padding"),
    "MatcherConfig": (
        "score_calibration",
        "similarity",
        "suppression_sigma",
        "coordinates",
        "exhaustive",
    ),
    "PostProcessorConfig": (
        "trained_on",
        "calibration",
        "zero_shot_threshold",
        "zero_shot_recognised",
    ),
    "TuningConfig": ("bottleneck", "adapter_scale"),
    "NetworkConfig": ("upsamplers", "similarity"),
    "LossConfig": ("annealing", "per_keypoint"),
    "TrainingConfig": ("canvas_scale", "distillation"),
}
"""Class: fields that runs and caches from before they were added lack. They are left out where they
have their defaults, so that such a run is still known to be the same."""

CLASSES: Mapping[str, str] = {"ConsensusConfig": "ConsensusConfig"}
"""Class: its name on disk, where that is another."""


def to_plain(value: Any) -> Any:
    """A configuration as dictionaries, lists and numbers, ready for JSON.

    Args:
        value: a dataclass, or anything that one holds; tuples stay tuples.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = FIELDS.get(type(value).__name__, {})
        return {
            names.get(each.name, each.name): to_plain(getattr(value, each.name))
            for each in _fields(value)
        }
    if isinstance(value, (list, tuple)):
        return type(value)(to_plain(each) for each in value)
    if isinstance(value, Mapping):
        return {key: to_plain(each) for key, each in value.items()}
    return value


def _fields(value: Any) -> list[dataclasses.Field[Any]]:
    """The fields of a dataclass that are on disk: all but added ones that have their defaults."""
    added = ADDED.get(type(value).__name__, ())
    return [
        each
        for each in dataclasses.fields(value)
        if each.name not in added or getattr(value, each.name) != each.default
    ]


def field_values(cls: type, plain: Mapping[str, Any]) -> dict[str, Any]:
    """What `to_plain` made of a dataclass, under the names of its fields; values are untouched.

    Args:
        cls: the dataclass.
        plain: the dictionary.
    """
    names = {on_disk: name for name, on_disk in FIELDS.get(cls.__name__, {}).items()}
    return {names.get(key, key): value for key, value in plain.items()}


def stable_repr(value: Any) -> str:
    """The `repr` of a configuration under its names on disk, as caches remember it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        name = type(value).__name__
        names = FIELDS.get(name, {})
        parts = (
            f"{names.get(each.name, each.name)}={stable_repr(getattr(value, each.name))}"
            for each in _fields(value)
            if each.repr
        )
        return f"{CLASSES.get(name, name)}({', '.join(parts)})"
    if isinstance(value, tuple) and any(dataclasses.is_dataclass(each) for each in value):
        inner = ", ".join(map(stable_repr, value))
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    return repr(value)
