"""A 3-D model in memory: one mesh with its materials, its node hierarchy and its animations."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8

from homolog.errors import HomologError


class ModelError(HomologError):
    """A model cannot be used; the message is the reason, without the file's name."""


@dataclass(frozen=True)
class Material:
    """The colour of a part of a model's surface.

    Attributes:
        name: in the file; may be empty.
        colour: linear RGB, 0..1.
        texture: sRGB pixels, addressed by `Model.uv`; None where there is none.
    """

    name: str
    colour: tuple[float, float, float]
    texture: UInt8[np.ndarray, "h w 3"] | None = None


@dataclass(frozen=True, eq=False)
class Track:
    """How one property of one node changes during an animation.

    Attributes:
        node: index of the node.
        path: `translation`, `rotation` or `scale`.
        times: of the key frames in seconds, rising.
        values: one a key frame; with `CUBICSPLINE` three: in-tangent, value, out-tangent.
        interpolation: `LINEAR`, `STEP` or `CUBICSPLINE`.
    """

    node: int
    path: str
    times: Float[np.ndarray, "P"]
    values: Float[np.ndarray, "..."]
    interpolation: str


@dataclass(frozen=True, eq=False, repr=False)
class Model:
    """A mesh in its bind pose, and the nodes and animations that move it.

    World coordinates are those of glTF: y is up, lengths are in metres. Every vertex follows
    nodes: one that is not skinned follows the node of its mesh alone.

    Attributes:
        name: of the file, without its ending.
        path: of the file.
        node_names: one a node; empty where the file has none.
        parents: index of each node's parent, -1 for none; parents come before their children.
        translations: of each node relative to its parent, at rest.
        rotations: likewise, quaternions (x, y, z, w).
        scales: likewise.
        bind_transforms: of the nodes to the world, in the bind pose.
        positions: of the vertices, in the bind pose.
        weld_ids: for each vertex the number of its position; vertices with the same number are
            doubles of each other and share normals.
        joints: nodes that each vertex follows.
        weights: the skinning weight of each of these joints; each row sums to 1.
        uv: texture coordinates, where the file has them.
        triangles: vertex indices, counter-clockwise seen from outside.
        material_ids: of each triangle, an index into `materials`.
        materials: at least one.
        animations: tracks by the animation's name.
        bones: the nodes that are joints of a skin.
    """

    name: str
    path: Path
    node_names: tuple[str, ...]
    parents: Int[np.ndarray, "N"]
    translations: Float[np.ndarray, "N 3"]
    rotations: Float[np.ndarray, "N 4"]
    scales: Float[np.ndarray, "N 3"]
    bind_transforms: Float[np.ndarray, "N 4 4"]
    positions: Float[np.ndarray, "V 3"]
    weld_ids: Int[np.ndarray, "V"]
    joints: Int[np.ndarray, "V 4"]
    weights: Float[np.ndarray, "V 4"]
    uv: Float[np.ndarray, "V 2"] | None
    triangles: Int[np.ndarray, "M 3"]
    material_ids: Int[np.ndarray, "M"]
    materials: tuple[Material, ...]
    animations: dict[str, tuple[Track, ...]] = field(default_factory=dict)
    bones: tuple[int, ...] = ()

    @property
    def skinned(self) -> bool:
        """Whether the model has a skeleton."""
        return bool(self.bones)
