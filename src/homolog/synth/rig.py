"""A model whose skeleton is ready to be posed and reshaped.

Here a model stands on the plane y = 0 or near it, y up, its own left towards +x and its front
towards +z, as glTF has it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from homolog import moved
from homolog.synth.animation import sample_animation
from homolog.synth.model import Model
from homolog.synth.transforms import rotation_between, rotation_part


@dataclass(frozen=True, eq=False)
class Landmark:
    """A keypoint of one model, fixed to one of its bones.

    Attributes:
        node: the bone that it follows.
        position: in the bind pose.
    """

    node: int
    position: Float[np.ndarray, "3"]


@dataclass(eq=False)
class Pose:
    """How a model's skeleton is posed and its body reshaped.

    Attributes:
        animation: the name of the one to begin with; None for the bind pose.
        time: in that animation, in seconds.
        rotations: by node, rotations to add, in world axes of the bind pose.
        directions: by node, the direction in the world that its bone is to take.
        scales: by node, symmetric matrices that stretch the mesh, in world axes of the bind pose.
    """

    animation: str | None = None
    time: float = 0.0
    rotations: dict[int, Float[np.ndarray, "3 3"]] = field(default_factory=dict)
    directions: dict[int, Float[np.ndarray, "3"]] = field(default_factory=dict)
    scales: dict[int, Float[np.ndarray, "3 3"]] = field(default_factory=dict)


@dataclass(eq=False, repr=False)
class Rig:
    """A 3-D model with its skeleton, turned to face +z and ready to be posed.

    The bones are those nodes that move the mesh; the others are helpers.

    Attributes:
        model: as read, in its file's orientation.
        from_model: the transform from the model's own world.
        positions: of the vertices in the bind pose.
        bind_transforms: of the nodes to the world, in the bind pose.
        parents: the node that each one follows when it is posed, -1 for none; feet that have no
            parent in the file follow their legs here.
        order: the nodes, parents first.
        sides: 1 left, -1 right, 0 neither; of each node.
        base_names: the nodes' names without sides.
        groups: the part of the body that each node belongs to; see `names.body_part`.
        influence: the sum of each node's skinning weights over all vertices; 0 for helpers.
        origins: the nodes' positions in the bind pose.
        axes: unit vectors along the bones in the bind pose.
        lengths: of the bones.
        radii: root mean square distance of the surface from the bone.
        dominant_node: the node that each vertex follows most.
        length: of the body from front to back, without the tail.
        has_sides: whether the names of the bones tell left from right.
        canonical: canonical coordinates of the vertices, once known.
        landmarks: keypoints by name, once known.
        notes: what a user should know about the model.
    """

    model: Model
    from_model: Float[np.ndarray, "4 4"]
    positions: Float[np.ndarray, "V 3"]
    bind_transforms: Float[np.ndarray, "N 4 4"]
    parents: Int[np.ndarray, "N"]
    order: list[int]
    sides: Int[np.ndarray, "N"]
    base_names: list[str]
    groups: list[str]
    influence: Float[np.ndarray, "N"]
    origins: Float[np.ndarray, "N 3"]
    axes: Float[np.ndarray, "N 3"]
    lengths: Float[np.ndarray, "N"]
    radii: Float[np.ndarray, "N"]
    dominant_node: Int[np.ndarray, "V"]
    length: float
    has_sides: bool
    canonical: Float[np.ndarray, "V 3"] = field(default_factory=lambda: np.empty((0, 3)))
    landmarks: dict[str, Landmark] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The model's name."""
        return self.model.name

    @property
    def bones(self) -> list[int]:
        """The nodes that move the mesh, parents first."""
        return [n for n in self.order if self.influence[n] > 0]

    def parent_bone(self, node: int) -> int | None:
        """The nearest ancestor of a node that is a bone; None if there is none."""
        return next((n for n in ancestry(self.parents, node)[1:] if self.influence[n] > 0), None)

    def bone_key(self, node: int) -> tuple[str, int]:
        """Base name and side of a node, which identify the same bone in other models."""
        return self.base_names[node], int(self.sides[node])

    def belongs_to(self, group: str) -> Bool[np.ndarray, "V"]:
        """Which vertices mostly follow nodes of a group, such as `tail`."""
        return np.isin(self.dominant_node, [n for n, g in enumerate(self.groups) if g == group])

    def node_transforms(
        self, animation: str | None, time: float = 0.0
    ) -> Float[np.ndarray, "N 4 4"]:
        """The nodes' transforms to the world at a time of an animation, or in the bind pose."""
        if animation is None:
            return self.bind_transforms.copy()
        return self.from_model @ sample_animation(
            self.model, self.model.animations[animation], time
        )

    def skin(self, transforms: Float[np.ndarray, "N 4 4"]) -> Float[np.ndarray, "V 3"]:
        """The vertices after linear blend skinning.

        Args:
            transforms: of each node, from the bind pose to the posed world.
        """
        joints, weights = self.model.joints, self.model.weights
        total = np.zeros((len(joints), 3, 4))
        flat = transforms[:, :3, :]
        for k in range(4):
            total += flat[joints[:, k]] * weights[:, k, None, None]
        return np.einsum("vij,vj->vi", total[:, :, :3], self.positions) + total[:, :, 3]

    def pose_transforms(self, pose: Pose) -> Float[np.ndarray, "N 4 4"]:
        """The transform of each node from the bind pose to a pose."""
        start = self.node_transforms(pose.animation, pose.time)
        posed = np.empty_like(start)
        unbind = np.linalg.inv(self.bind_transforms)
        stretch = np.tile(np.eye(4), (len(start), 1, 1))
        for node, scale in pose.scales.items():
            frame = rotation_part(self.bind_transforms[node][:3, :3])
            stretch[node, :3, :3] = frame.T @ scale @ frame
        inverse = np.linalg.inv(start)
        for node in self.order:
            parent = int(self.parents[node])
            if parent < 0:
                posed[node] = start[node]
            else:
                local = inverse[parent] @ start[node]
                local[:3, 3] = stretch[parent, :3, :3] @ local[:3, 3]
                posed[node] = posed[parent] @ local
            if node in pose.rotations:
                turned = rotation_part((posed[node] @ unbind[node])[:3, :3])
                rotation = turned @ pose.rotations[node] @ turned.T
                posed[node, :3, :3] = rotation @ posed[node, :3, :3]
            if node in pose.directions:
                turned = rotation_part((posed[node] @ unbind[node])[:3, :3])
                rotation = rotation_between(turned @ self.axes[node], pose.directions[node])
                posed[node, :3, :3] = rotation @ posed[node, :3, :3]
        return posed @ stretch @ unbind

    def landmark_positions(
        self, transforms: Float[np.ndarray, "N 4 4"]
    ) -> dict[str, Float[np.ndarray, "3"]]:
        """The keypoints' positions after the nodes have moved by these transforms."""
        return {
            name: transforms[mark.node, :3, :3] @ mark.position + transforms[mark.node, :3, 3]
            for name, mark in self.landmarks.items()
        }

    def trunk_rotation(self, vertices: Float[np.ndarray, "V 3"]) -> Float[np.ndarray, "3 3"]:
        """The rotation of the trunk since the bind pose, fitted to its posed vertices."""
        trunk = self.belongs_to("trunk")
        if trunk.sum() < 12:
            trunk = np.ones(len(vertices), bool)
        before, after = self.positions[trunk], vertices[trunk]
        before, after = before - before.mean(0), after - after.mean(0)
        u, _, v = np.linalg.svd(after.T @ before)
        return u @ np.diag([1, 1, np.linalg.det(u @ v)]) @ v


def ancestry(parents: Int[np.ndarray, "N"], node: int) -> list[int]:
    """A node, its parent, that one's parent and so on up to the root."""
    chain = [node]
    while parents[chain[-1]] >= 0:
        chain.append(int(parents[chain[-1]]))
    return chain


def __getattr__(name: str) -> Any:
    return moved.attribute(__name__, name)
