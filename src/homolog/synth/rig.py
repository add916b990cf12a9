"""A model with its skeleton ready to be posed and reshaped.

Here a model stands on the plane y = 0 or near it, y up, its own left towards +x and its front
towards +z, which is how glTF has it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from homolog.synth.gltf import Model, Track, composed, matrices


@dataclass(frozen=True, eq=False)
class Landmark:
    """A keypoint of one model.

    Attributes:
        node: that it follows.
        place: where it is in the bind pose.
    """

    node: int
    place: Float[np.ndarray, "3"]


@dataclass(eq=False, repr=False)
class Rig:
    """A model turned to face +z, with what is needed to pose it.

    Attributes:
        model: as read, unturned.
        turn: the transform from the model's own world.
        positions: of the vertices in the bind pose.
        bind: transforms of the nodes in the bind pose.
        parents: which node each one follows when it is posed; feet that hang on nothing in the
            file hang on their legs here.
        order: the nodes, parents first.
        sides: 1 left, -1 right, 0 neither; of each node.
        bases: names without sides.
        groups: see `group_of`.
        share: how much of the mesh follows each node; 0 for helpers.
        heads: where the nodes are in the bind pose.
        axes: unit vectors along the bones in the bind pose.
        lengths: of the bones.
        radii: how far the surface is from the bone.
        dominant: the node that each vertex follows most.
        length: from front to back, without the tail.
        sided: whether the names tell the sides.
        canonical: canonical coordinates of the vertices, once known.
        landmarks: keypoints by name, once known.
        notes: what should be known of it.
    """

    model: Model
    turn: Float[np.ndarray, "4 4"]
    positions: Float[np.ndarray, "V 3"]
    bind: Float[np.ndarray, "N 4 4"]
    parents: Int[np.ndarray, "N"]
    order: list[int]
    sides: Int[np.ndarray, "N"]
    bases: list[str]
    groups: list[str]
    share: Float[np.ndarray, "N"]
    heads: Float[np.ndarray, "N 3"]
    axes: Float[np.ndarray, "N 3"]
    lengths: Float[np.ndarray, "N"]
    radii: Float[np.ndarray, "N"]
    dominant: Int[np.ndarray, "V"]
    length: float
    sided: bool
    canonical: Float[np.ndarray, "V 3"] = field(default_factory=lambda: np.empty((0, 3)))
    landmarks: dict[str, Landmark] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Of the model."""
        return self.model.name

    @property
    def deforming(self) -> list[int]:
        """The nodes that move the mesh, parents first."""
        return [n for n in self.order if self.share[n] > 0]

    def above(self, node: int) -> int | None:
        """The bone that a node hangs on: the nearest that moves the mesh."""
        return next((n for n in up(self.parents, node)[1:] if self.share[n] > 0), None)

    def key(self, node: int) -> tuple[str, int]:
        """What a bone is called in all models."""
        return self.bases[node], int(self.sides[node])

    def sampled(self, animation: str | None, time: float = 0.0) -> Float[np.ndarray, "N 4 4"]:
        """The nodes' transforms at a time of an animation, or in the bind pose."""
        if animation is None:
            return self.bind.copy()
        return self.turn @ sample(self.model, self.model.animations[animation], time)

    def skinned(self, moved: Float[np.ndarray, "N 4 4"]) -> Float[np.ndarray, "V 3"]:
        """The vertices when each node's bind pose has moved by a transform."""
        joints, weights = self.model.joints, self.model.weights
        total = np.zeros((len(joints), 3, 4))
        flat = moved[:, :3, :]
        for k in range(4):
            total += flat[joints[:, k]] * weights[:, k, None, None]
        return np.einsum("vij,vj->vi", total[:, :, :3], self.positions) + total[:, :, 3]

    def moved(self, pose: Pose) -> Float[np.ndarray, "N 4 4"]:
        """What a pose does to each node's bind pose."""
        start = self.sampled(pose.animation, pose.time)
        now = np.empty_like(start)
        unbind = np.linalg.inv(self.bind)
        stretch = np.tile(np.eye(4), (len(start), 1, 1))
        for node, scale in pose.scales.items():
            frame = _orthonormal(self.bind[node][:3, :3])
            stretch[node, :3, :3] = frame.T @ scale @ frame
        inverse = np.linalg.inv(start)
        for node in self.order:
            parent = int(self.parents[node])
            if parent < 0:
                now[node] = start[node]
            else:
                local = inverse[parent] @ start[node]
                local[:3, 3] = stretch[parent, :3, :3] @ local[:3, 3]
                now[node] = now[parent] @ local
            if node in pose.turns:
                since = _orthonormal((now[node] @ unbind[node])[:3, :3])
                now[node, :3, :3] = since @ pose.turns[node] @ since.T @ now[node, :3, :3]
            if node in pose.aims:
                since = _orthonormal((now[node] @ unbind[node])[:3, :3])
                now[node, :3, :3] = (
                    swing(since @ self.axes[node], pose.aims[node]) @ (now[node, :3, :3])
                )
        return now @ stretch @ unbind

    def placed(self, moved: Float[np.ndarray, "N 4 4"]) -> dict[str, Float[np.ndarray, "3"]]:
        """Where the keypoints are."""
        return {
            name: moved[mark.node, :3, :3] @ mark.place + moved[mark.node, :3, 3]
            for name, mark in self.landmarks.items()
        }

    def facing(self, vertices: Float[np.ndarray, "V 3"]) -> Float[np.ndarray, "3 3"]:
        """How the trunk has turned since the bind pose: a rotation, fitted to the vertices."""
        trunk = [n for n, group in enumerate(self.groups) if group == "trunk"]
        mine = np.isin(self.dominant, trunk)
        if mine.sum() < 12:
            mine = np.ones(len(vertices), bool)
        before, after = self.positions[mine], vertices[mine]
        before, after = before - before.mean(0), after - after.mean(0)
        u, _, v = np.linalg.svd(after.T @ before)
        return u @ np.diag([1, 1, np.linalg.det(u @ v)]) @ v


@dataclass(eq=False)
class Pose:
    """How a model stands and is shaped.

    Attributes:
        animation: its name; None for the bind pose.
        time: in seconds.
        turns: by node, rotations in terms of the bind pose's world.
        aims: by node, the direction that its bone gets.
        scales: by node, a symmetric matrix in terms of the bind pose's world.
    """

    animation: str | None = None
    time: float = 0.0
    turns: dict[int, Float[np.ndarray, "3 3"]] = field(default_factory=dict)
    aims: dict[int, Float[np.ndarray, "3"]] = field(default_factory=dict)
    scales: dict[int, Float[np.ndarray, "3 3"]] = field(default_factory=dict)


def slerp(
    a: Float[np.ndarray, "4"], b: Float[np.ndarray, "4"], along: float
) -> Float[np.ndarray, "4"]:
    """A unit quaternion on the shorter way between two."""
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    cosine = float(a @ b)
    if cosine < 0:
        b, cosine = -b, -cosine
    if cosine > 0.9995:
        mixed = (1 - along) * a + along * b
        return mixed / np.linalg.norm(mixed)
    angle = np.arccos(cosine)
    return (np.sin((1 - along) * angle) * a + np.sin(along * angle) * b) / np.sin(angle)


def at(track: Track, time: float) -> Float[np.ndarray, "..."]:
    """The value of a track at a time; before its beginning and after its end, what it is there."""
    times, values = track.times, track.values
    spline = track.interpolation == "CUBICSPLINE"
    after = int(np.searchsorted(times, time, side="right"))
    if after == 0 or after == len(times):
        edge = values[0] if after == 0 else values[-1]
        found = edge[1] if spline else edge
    else:
        step = times[after] - times[after - 1]
        t = float((time - times[after - 1]) / step)
        a, b = values[after - 1], values[after]
        if track.interpolation == "STEP":
            found = a
        elif spline:
            found = (
                (2 * t**3 - 3 * t**2 + 1) * a[1]
                + step * (t**3 - 2 * t**2 + t) * a[2]
                + (-2 * t**3 + 3 * t**2) * b[1]
                + step * (t**3 - t**2) * b[0]
            )
        elif track.path == "rotation":
            found = slerp(a, b, t)
        else:
            found = (1 - t) * a + t * b
    return np.asarray(found)


def sample(model: Model, tracks: Sequence[Track], time: float) -> Float[np.ndarray, "N 4 4"]:
    """The nodes' transforms to the world at a time of an animation."""
    parts = {
        "translation": model.translations.copy(),
        "rotation": model.rotations.copy(),
        "scale": model.scales.copy(),
    }
    for track in tracks:
        parts[track.path][track.node] = at(track, time)
    return composed(
        model.parents, matrices(parts["translation"], parts["rotation"], parts["scale"])
    )


def duration(tracks: Iterable[Track]) -> float:
    """Seconds that an animation lasts."""
    return max((float(track.times[-1]) for track in tracks), default=0.0)


def _orthonormal(matrix: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3 3"]:
    """The rotation in a transform, whatever it scales."""
    a, b = matrix[:, 0], matrix[:, 1]
    a = a / max(math.sqrt(a @ a), 1e-12)
    b = b - a * (a @ b)
    b = b / max(math.sqrt(b @ b), 1e-12)
    return np.array([a, b, _cross(a) @ b]).T


def swing(a: Float[np.ndarray, "3"], b: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3 3"]:
    """The smallest rotation that turns one direction to another."""
    a, b = a / max(np.linalg.norm(a), 1e-12), b / max(np.linalg.norm(b), 1e-12)
    above = float((a + b) @ (a + b)) / 2  # one and the cosine, exact for opposites too
    if above < 1e-16:
        other = np.eye(3)[np.argmin(np.abs(a))]
        axis = np.cross(a, other)
        axis /= np.linalg.norm(axis)
        return 2 * np.outer(axis, axis) - np.eye(3)
    k = _cross(np.cross(a, b))
    return np.eye(3) + k + k @ k / above


def _cross(v: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3 3"]:
    return np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])


def about(
    axis: Sequence[float] | Float[np.ndarray, "3"], degrees: float
) -> Float[np.ndarray, "3 3"]:
    """A rotation about an axis, counter-clockwise when it points at you."""
    v = np.asarray(axis, float)
    k = _cross(v / np.linalg.norm(v))
    angle = np.deg2rad(degrees)
    return np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * (k @ k)


def up(parents: Int[np.ndarray, "N"], node: int) -> list[int]:
    """A node and those that it hangs on, up to the root."""
    chain = [node]
    while parents[chain[-1]] >= 0:
        chain.append(int(parents[chain[-1]]))
    return chain
