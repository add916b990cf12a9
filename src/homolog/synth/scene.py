"""Random scenes: models in poses and materials, distractors, props, a camera, light, a background.

The world has y up and the ground at y = 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image

from homolog import moved
from homolog.synth.appearance.backgrounds import random_backdrop, random_crop, random_texture
from homolog.synth.appearance.camera_effects import gaussian_blur
from homolog.synth.appearance.light import Light, random_light
from homolog.synth.camera import Camera, random_camera
from homolog.synth.instances import (
    Distractor,
    ModelInstance,
    place_beside,
    random_distractor,
    random_distractor_among,
    random_instance,
)
from homolog.synth.props import Prop, random_props
from homolog.synth.rig import Rig

_SECOND_DISTRACTOR = 0.25
"""Probability of a second distractor in a scene without models."""
_DISTRACTOR_AMONG_MODELS = 0.17
"""Probability of a distractor in a scene with models."""


@dataclass(eq=False)
class Scene:
    """A 3-D scene to render: models, distractors, props, camera, light and background.

    Attributes:
        instances: models; the camera looks at the first one, or else at the first distractor.
        props: small objects in front, beside and behind.
        camera: that sees the scene.
        light: that falls on it.
        backdrop: the image behind everything, sRGB.
        ground: texture of the plane y = 0, sRGB; None for no ground.
        ground_scale: units of the world that the texture spans.
        shadow_strength: of shadows on a backdrop that has no ground of its own, 0..1.
        fog_distance: at which the ground fades into the backdrop.
        distractors: at least one if there are no instances.
    """

    instances: list[ModelInstance]
    props: list[Prop]
    camera: Camera
    light: Light
    backdrop: Float[np.ndarray, "s s 3"]
    ground: Float[np.ndarray, "t t 3"] | None
    ground_scale: float = 1.0
    shadow_strength: float = 0.0
    fog_distance: float = 1e9
    distractors: list[Distractor] = field(default_factory=list)


def random_scene(
    rigs: Sequence[Rig],
    rng: np.random.Generator,
    size: int,
    photo: Image.Image | None = None,
    without_instances: bool = False,
) -> Scene:
    """Draw a random scene.

    Args:
        rigs: models to choose from.
        rng: source of all randomness.
        size: of the image in pixels.
        photo: to stand behind the scene, instead of a made-up backdrop.
        without_instances: whether distractors take the place of models.
    """
    instances: list[ModelInstance] = []
    distractors: list[Distractor] = []
    if without_instances:
        distractors.append(random_distractor(rng, 1.0))
        subject = distractors[0].vertices
    else:
        count = int(rng.choice([1, 2, 3], p=[0.78, 0.16, 0.06]))
        first = random_instance(rigs, rng, 1.0)
        instances.append(first.moved(rng.uniform(0, 360), (0, 0, 0)))
        for _ in range(count - 1):
            new = random_instance(rigs, rng, float(np.exp(rng.normal(0, 0.25))))
            instances.append(place_beside(instances, new, rng))
        subject = instances[0].vertices
    above_ground = rng.random() < (0.35 if photo is not None else 0.8)
    camera = random_camera(subject, rng, size, above_ground)
    if rng.random() < (_SECOND_DISTRACTOR if without_instances else _DISTRACTOR_AMONG_MODELS):
        another = random_distractor_among(instances, distractors, camera, rng)
        if another is not None:
            distractors.append(another)
    if camera.position[1] < 0.03:
        above_ground = False
    light = random_light(rng)
    backdrop, ground = _background(camera, rng, size, photo, above_ground)
    props = random_props(subject, camera, rng, size, ground is not None)
    return Scene(
        instances,
        props,
        camera,
        light,
        backdrop,
        ground,
        ground_scale=float(np.exp(rng.uniform(-0.7, 2.0))),
        shadow_strength=float(rng.uniform(0.3, 0.8)) if above_ground and ground is None else 0.0,
        fog_distance=float(np.exp(rng.uniform(1.5, 4.5))),
        distractors=distractors,
    )


def _background(
    camera: Camera,
    rng: np.random.Generator,
    size: int,
    photo: Image.Image | None,
    above_ground: bool,
) -> tuple[Float[np.ndarray, "s s 3"], Float[np.ndarray, "t t 3"] | None]:
    """A backdrop and, perhaps, a texture of the ground, both sRGB."""
    if photo is not None:
        backdrop = random_crop(photo, rng, size)
        if rng.random() < 0.4:
            backdrop = gaussian_blur(backdrop, rng.uniform(1, 8) * size / 480)
        ground = random_texture(rng) if above_ground and rng.random() < 0.3 else None
        return backdrop, ground
    away = camera.rotation[2]
    level = np.hypot(away[0], away[2])
    # Where the ground ends, as a fraction of the image's height.
    row = camera.principal_point[1] - camera.focal * -away[1] / max(level, 0.05)
    horizon = float(row / size)
    backdrop = random_backdrop(rng, size, float(np.clip(horizon, -0.5, 1.5)))
    return backdrop, random_texture(rng) if above_ground else None


def __getattr__(name: str) -> Any:
    return moved.attribute(__name__, name)
