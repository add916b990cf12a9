"""Canonical coordinates, which the same part has in all models, and the keypoints in them.

They are (left, forward, up): x is positive on the object's own left, y towards its front, z
upwards; a body reaches from about -1 to 1 along y. Skeletons are brought to one common, symmetric
skeleton, the mean of all; models without sides in their bones' names get them from their box.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from homolog.synth.landmarks import distinct_names, find_landmarks
from homolog.synth.model import Model, ModelError
from homolog.synth.rig import Rig
from homolog.synth.rigging import agree_on_parents, build_rig, measure_bones
from homolog.synth.transforms import rotation_between

BoneKey = tuple[str, int]
"""Base name and side of a bone: what `Rig.bone_key` returns."""


def build_rigs(
    models: Sequence[Model],
) -> tuple[list[Rig], dict[str, str], dict[str, list[float]]]:
    """Rig 3-D models, with canonical coordinates and keypoints that they share.

    Returns:
        The rigs; the reasons by name for models that cannot be used; and the canonical coordinates
        of the keypoints by name, left ones directly before right ones.
    """
    rigs: list[Rig] = []
    skipped: dict[str, str] = {}
    for model in models:
        try:
            rigs.append(build_rig(model))
        except ModelError as error:
            skipped[model.name] = str(error)
    with_sides = [rig for rig in rigs if rig.has_sides]
    agree_on_parents(with_sides)
    for rig in rigs:
        measure_bones(rig)
    keypoints = _canonicalise(with_sides)
    for rig in rigs:
        if not rig.has_sides:
            rig.canonical = _box_coordinates(rig.positions)
    return rigs, skipped, keypoints


def _box_coordinates(positions: Float[np.ndarray, "V 3"]) -> Float[np.ndarray, "V 3"]:
    """Canonical coordinates of a model without a skeleton: -1..1 over its bounding box.

    x is 0 on the symmetry plane, not in the middle of the box.
    """
    low, high = positions.min(0), positions.max(0)
    half = np.maximum((high - low) / 2, 1e-9)
    middle = (low + high) / 2
    middle[0], half[0] = 0, max(np.abs(positions[:, 0]).max(), 1e-9)
    return ((positions - middle) / half)[:, [0, 2, 1]]


@dataclass(frozen=True)
class _MeanBone:
    """A bone of the common skeleton: origin, unit axis, length and radius."""

    origin: Float[np.ndarray, "3"]
    axis: Float[np.ndarray, "3"]
    length: float
    radius: float


@dataclass(eq=False)
class _CommonSkeleton:
    """Measurements of all rigs' bones, in units in which a body is 2 long.

    Left and right bones are averaged together, as mirror images of each other: their measurements
    are kept under the left one's key.
    """

    offsets: dict[BoneKey, list[np.ndarray]] = field(default_factory=dict)
    axes: dict[BoneKey, list[np.ndarray]] = field(default_factory=dict)
    sizes: dict[BoneKey, list[tuple[float, float]]] = field(default_factory=dict)
    parents: dict[BoneKey, Counter[BoneKey | None]] = field(default_factory=dict)
    origins: dict[BoneKey, np.ndarray] = field(default_factory=dict)

    def add(self, rig: Rig) -> None:
        """Add the measurements of one rig."""
        unit = 2 / rig.length
        z = rig.positions[~rig.belongs_to("tail"), 2]
        middle = np.array([0, 0, (z.min() + z.max()) / 2])
        for node in rig.bones:
            key, parent = rig.bone_key(node), rig.parent_bone(node)
            parent_key = None if parent is None else rig.bone_key(parent)
            self.parents.setdefault(key, Counter())[parent_key] += 1
            start = middle if parent is None else rig.origins[parent]
            flip = np.array([-1 if key[1] < 0 else 1, 1, 1])
            both = (key[0], abs(key[1]))
            self.offsets.setdefault(both, []).append(flip * unit * (rig.origins[node] - start))
            self.axes.setdefault(both, []).append(flip * rig.axes[node])
            self.sizes.setdefault(both, []).append(
                (unit * rig.lengths[node], unit * rig.radii[node])
            )

    def origin(self, key: BoneKey, visited: tuple[BoneKey, ...] = ()) -> np.ndarray:
        """A bone's origin: its parent's plus the mean offset; bones without a side are at x = 0."""
        if key not in self.origins:
            candidates = (
                p
                for p, _ in self.parents[key].most_common()
                if p not in visited and p in self.parents
            )
            parent = next(candidates, None)
            offset = np.mean(self.offsets[key[0], abs(key[1])], axis=0)
            if key[1] == 0:
                offset[0] = 0
            if parent is not None and parent[1] and key[1] and parent[1] != key[1]:
                parent = None
            start = np.zeros(3) if parent is None else self.origin(parent, (*visited, key))
            self.origins[key] = start + offset * [-1 if key[1] < 0 else 1, 1, 1]
        return self.origins[key]

    def bones(self) -> dict[BoneKey, _MeanBone]:
        """The mean of what has been measured."""
        found = {}
        for key in self.parents:
            both = (key[0], abs(key[1]))
            axis = np.mean(self.axes[both], axis=0)
            if key[1] == 0:
                axis[0] = 0
            axis = axis * [-1 if key[1] < 0 else 1, 1, 1]
            norm = np.linalg.norm(axis)
            axis = axis / norm if norm > 1e-6 else np.array([0.0, 1, 0])
            length, radius = np.mean(self.sizes[both], axis=0)
            found[key] = _MeanBone(self.origin(key), axis, float(length), float(radius))
        return found


def _to_common_skeleton(rig: Rig, skeleton: dict[BoneKey, _MeanBone]) -> Float[np.ndarray, "N 4 4"]:
    """For each node the transform that brings its bone to that of the common skeleton."""
    unit = 2 / rig.length
    transforms = np.tile(np.eye(4), (len(rig.order), 1, 1))
    for node in rig.bones:
        bone = skeleton[rig.bone_key(node)]
        length, radius = unit * rig.lengths[node], unit * rig.radii[node]
        along = np.clip(bone.length / length, 0.3, 3.0) if length > 1e-6 else 1.0
        thick = np.clip(bone.radius / radius, 0.5, 2.0) if radius > 1e-6 else 1.0
        a = rig.axes[node]
        stretch = unit * (thick * np.eye(3) + (along - thick) * np.outer(a, a))
        matrix = rotation_between(a, bone.axis) @ stretch
        transforms[node, :3, :3] = matrix
        transforms[node, :3, 3] = bone.origin - matrix @ rig.origins[node]
    for node in rig.order:  # helpers go with their parents
        if rig.influence[node] <= 0 and rig.parents[node] >= 0:
            transforms[node] = transforms[rig.parents[node]]
    return transforms


def _canonicalise(rigs: list[Rig]) -> dict[str, list[float]]:
    """Set canonical coordinates and landmarks of rigs whose bones' names tell sides.

    Returns:
        The keypoints that are kept, with their mean canonical coordinates.
    """
    if not rigs:
        return {}
    common = _CommonSkeleton()
    for rig in rigs:
        common.add(rig)
    skeleton = common.bones()
    transforms = [_to_common_skeleton(rig, skeleton) for rig in rigs]
    low, high = [], []
    for rig, matrices in zip(rigs, transforms, strict=True):
        rig.canonical = rig.skin(matrices)
        body = rig.canonical[~rig.belongs_to("tail")]
        low.append(body.min(0))
        high.append(body.max(0))
    bottom, top = np.mean(low, axis=0), np.mean(high, axis=0)
    middle, half = (bottom + top) / 2, (top[2] - bottom[2]) / 2
    middle[0] = 0
    positions: dict[str, list[np.ndarray]] = {}
    for rig, matrices in zip(rigs, transforms, strict=True):
        rig.canonical = ((rig.canonical - middle) / half)[:, [0, 2, 1]]
        rig.landmarks = find_landmarks(rig)
        for name, position in rig.landmark_positions(matrices).items():
            positions.setdefault(name, []).append(((position - middle) / half)[[0, 2, 1]])
    means = {name: np.mean(each, axis=0) for name, each in positions.items()}
    kept = distinct_names(means)
    for rig in rigs:
        rig.landmarks = {name: rig.landmarks[name] for name in kept if name in rig.landmarks}
    return {name: [round(float(v), 4) for v in means[name]] for name in kept}
