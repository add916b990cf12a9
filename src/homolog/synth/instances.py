"""Objects placed in a scene: models and distractors, on the ground and beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from homolog.synth.appearance.materials import ProceduralMaterial
from homolog.synth.camera import Camera
from homolog.synth.distractors.catalogue import random_shape
from homolog.synth.distractors.shape import Shape
from homolog.synth.mesh import angle_weighted_normals, material_area_fractions
from homolog.synth.posing import random_pose
from homolog.synth.rig import Pose, Rig
from homolog.synth.transforms import axis_rotation

_CELL = 0.06  # of the grid on which footprints are compared, in half lengths of a model
_MAX_OVERLAP = 0.03
"""Fraction of an object's footprint that may be covered by others."""
_TRIES = 12


@dataclass(eq=False)
class ModelInstance:
    """A posed model in a scene.

    Attributes:
        rig: the model.
        pose_name: see `random_pose`.
        vertices: in the world.
        material: its colours and finish.
        keypoints: in the world, by name.
        axes: columns are its left, up and front in the world.
        scale: length in the world of a unit of the model.
    """

    rig: Rig
    pose_name: str
    vertices: Float[np.ndarray, "V 3"]
    material: ProceduralMaterial
    keypoints: dict[str, Float[np.ndarray, "3"]]
    axes: Float[np.ndarray, "3 3"]
    scale: float = 1.0

    @property
    def normals(self) -> Float[np.ndarray, "V 3"]:
        """Unit normals of the vertices."""
        model = self.rig.model
        return angle_weighted_normals(self.vertices, model.triangles, model.weld_ids)

    def moved(
        self, degrees: float, shift: Sequence[float] | Float[np.ndarray, "3"]
    ) -> ModelInstance:
        """A copy rotated about the vertical axis, then shifted."""
        rotation, offset = axis_rotation([0, 1, 0], degrees), np.asarray(shift, float)
        return ModelInstance(
            self.rig,
            self.pose_name,
            self.vertices @ rotation.T + offset,
            self.material,
            {name: rotation @ point + offset for name, point in self.keypoints.items()},
            rotation @ self.axes,
            self.scale,
        )


@dataclass(eq=False)
class Distractor:
    """A made-up object in a scene: it looks like a model's instance but counts as background.

    Attributes:
        shape: its geometry.
        vertices: in the world.
        material_coordinates: of the vertices, about -1..1, z up, for its material's patterns.
        material: its colours and finish.
    """

    shape: Shape
    vertices: Float[np.ndarray, "V 3"]
    material_coordinates: Float[np.ndarray, "V 3"]
    material: ProceduralMaterial


def place_on_ground(
    rig: Rig, pose: Pose, pose_name: str, material: ProceduralMaterial, size: float = 1.0
) -> ModelInstance:
    """A posed model with its lowest point on the ground and its middle above the origin.

    Args:
        rig: the model.
        pose: of its skeleton.
        pose_name: after sitting down and lying down (`sit`, `lie`) its tilt is corrected too.
        material: its colours and finish.
        size: half its length in the world.
    """
    transforms = rig.pose_transforms(pose)
    vertices = rig.skin(transforms)
    axes = rig.trunk_rotation(vertices)
    keypoints = rig.landmark_positions(transforms)
    if pose_name in ("sit", "lie"):
        tilt = _settling_tilt(rig, vertices)
        vertices, axes = vertices @ tilt.T, tilt @ axes
        keypoints = {name: tilt @ point for name, point in keypoints.items()}
    unit = 2 * size / rig.length
    low, high = vertices.min(0), vertices.max(0)
    shift = -(low + high) / 2
    shift[1] = -low[1]
    keypoints = {name: (point + shift) * unit for name, point in keypoints.items()}
    return ModelInstance(rig, pose_name, (vertices + shift) * unit, material, keypoints, axes, unit)


def _settling_tilt(rig: Rig, vertices: Float[np.ndarray, "V 3"]) -> Float[np.ndarray, "3 3"]:
    """The rotation after which the lowest points of front and back are both on the ground."""
    tilt = np.eye(3)
    tail = rig.belongs_to("tail")
    for _ in range(3):
        body = vertices[~tail] @ tilt.T
        middle = np.median(body[:, 2])
        front, back = body[body[:, 2] > middle], body[body[:, 2] <= middle]
        a, b = front[front[:, 1].argmin()], back[back[:, 1].argmin()]
        slope = np.rad2deg(np.arctan2(a[1] - b[1], max(a[2] - b[2], 1e-6)))
        tilt = axis_rotation([1, 0, 0], float(np.clip(slope, -20, 20))) @ tilt
    return tilt


def random_instance(rigs: Sequence[Rig], rng: np.random.Generator, size: float) -> ModelInstance:
    """A random model in a random pose and material; size is half its length in the world."""
    rig = rigs[int(rng.integers(len(rigs)))]
    pose, pose_name = random_pose(rig, rng)
    model = rig.model
    fractions = material_area_fractions(
        rig.positions, model.triangles, model.material_ids, len(model.materials)
    )
    material = ProceduralMaterial(rng, model.materials, fractions, animal=rig.has_sides)
    return place_on_ground(rig, pose, pose_name, material, size)


def random_distractor(rng: np.random.Generator, size: float) -> Distractor:
    """A random distractor with its middle above the origin; size is half its longest extent."""
    shape = random_shape(rng)
    centred = shape.vertices - [0, np.ptp(shape.vertices[:, 1]) / 2, 0]
    material = ProceduralMaterial(rng, shape.materials, shape.area_fractions, animal=False)
    rotation = axis_rotation([0, 1, 0], rng.uniform(0, 360))
    return Distractor(shape, shape.vertices @ rotation.T * size, centred[:, [0, 2, 1]], material)


def place_beside(
    instances: Sequence[ModelInstance], new: ModelInstance, rng: np.random.Generator
) -> ModelInstance:
    """One more instance, rotated at random and moved to where it hardly overlaps the others."""
    new = new.moved(rng.uniform(0, 360), (0, 0, 0))
    angle = rng.uniform(0, 2 * np.pi)
    taken = set().union(*(_cells_below(instance.vertices) for instance in instances))
    distance = rng.uniform(0.3, 1.3)
    for _ in range(_TRIES):
        placed = new.moved(0, (distance * np.cos(angle), 0, distance * np.sin(angle)))
        own = _cells_below(placed.vertices)
        if len(own & taken) <= _MAX_OVERLAP * len(own):
            break
        distance += 0.15
    return placed


def random_distractor_among(
    instances: Sequence[ModelInstance],
    distractors: Sequence[Distractor],
    camera: Camera,
    rng: np.random.Generator,
) -> Distractor | None:
    """A distractor beside, behind or partly in front of others; None if no free place is found."""
    new = random_distractor(rng, float(np.exp(rng.normal(-0.1, 0.3))))
    others = [instance.vertices for instance in instances]
    others += [distractor.vertices for distractor in distractors]
    taken = set().union(*(_cells_below(vertices) for vertices in others))
    subject = others[0]
    reach = float(np.linalg.norm(camera.position - (subject.min(0) + subject.max(0)) / 2))
    angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(0.4, 1.0)
    for _ in range(_TRIES):
        vertices = new.vertices + distance * np.array([np.cos(angle), 0, np.sin(angle)])
        own = _cells_of_box(vertices)
        _, depth = camera.project(vertices)
        in_view = bool((depth > 0.4 * reach).all())  # NaN, which is behind the camera, is not
        if in_view and len(own & taken) <= _MAX_OVERLAP * len(own):
            new.vertices = vertices
            return new
        if in_view:
            distance += 0.15
        else:
            angle = rng.uniform(0, 2 * np.pi)
    return None


def _cells_below(vertices: Float[np.ndarray, "V 3"]) -> set[tuple[int, int]]:
    """The cells of the ground below vertices."""
    x, z = (vertices[:, ::2] / _CELL).astype(int).T
    found = np.unique(x << 32 | z & 0xFFFFFFFF)  # numbers are sorted faster than pairs
    return set(zip((found >> 32).tolist(), found.astype(np.int32).tolist(), strict=True))


def _cells_of_box(vertices: Float[np.ndarray, "V 3"]) -> set[tuple[int, int]]:
    """The cells of the ground below the bounding box: a distractor's vertices may be far apart."""
    low, high = ((v[::2] / _CELL).astype(int) for v in (vertices.min(0), vertices.max(0)))
    x, z = (range(int(a), int(b) + 1) for a, b in zip(low, high, strict=True))
    return {(i, j) for i in x for j in z}
