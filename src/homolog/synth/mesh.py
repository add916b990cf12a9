"""Operations on triangle meshes: normals, areas, refinement, skinning weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int

from homolog.synth.model import Model


def angle_weighted_normals(
    positions: Float[np.ndarray, "V 3"],
    triangles: Int[np.ndarray, "M 3"],
    weld_ids: Int[np.ndarray, "V"],
) -> Float[np.ndarray, "V 3"]:
    """Unit normals of vertices: means over the triangles around, weighted by their angles there.

    Args:
        positions: of the vertices.
        triangles: vertex indices, counter-clockwise seen from outside.
        weld_ids: vertices with the same number share one normal.
    """
    corners = positions[triangles]
    along = np.roll(corners, -1, axis=1) - corners
    along /= np.maximum(np.linalg.norm(along, axis=2, keepdims=True), 1e-30)
    flat = np.cross(along[:, 0], along[:, 1])
    flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-30)
    cosines = -(along * np.roll(along, 1, axis=1)).sum(axis=2)
    angles = np.arccos(np.clip(cosines, -1, 1))
    welds = weld_ids[triangles].ravel()
    count = int(weld_ids.max()) + 1
    weighted = (flat[:, None] * angles[:, :, None]).reshape(-1, 3)
    total = np.stack([np.bincount(welds, weighted[:, k], count) for k in range(3)], axis=1)
    lengths = np.linalg.norm(total, axis=1, keepdims=True)
    return (total / np.maximum(lengths, 1e-12))[weld_ids]


def area_weighted_normals(
    positions: Float[np.ndarray, "V 3"], triangles: Int[np.ndarray, "M 3"]
) -> Float[np.ndarray, "V 3"]:
    """Unit normals of vertices: means over the triangles that share them, weighted by area."""
    a, b, c = (positions[triangles[:, k]] for k in range(3))
    flat = np.cross(b - a, c - a)
    corners = triangles.T.ravel()
    total = np.stack(
        [np.bincount(corners, np.tile(flat[:, k], 3), len(positions)) for k in range(3)], axis=1
    )
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)


def material_area_fractions(
    positions: Float[np.ndarray, "V 3"],
    triangles: Int[np.ndarray, "M 3"],
    material_ids: Int[np.ndarray, "M"],
    count: int,
) -> list[float]:
    """The fraction of a mesh's surface that each of `count` materials covers; sums to 1."""
    a, b, c = (positions[triangles[:, k]] for k in range(3))
    areas = np.bincount(material_ids, np.linalg.norm(np.cross(b - a, c - a), axis=1), count)
    return [float(fraction) for fraction in areas / areas.sum()]


def refine(model: Model) -> Model:
    """The model with each triangle split into four that bulge along the normals.

    This is Phong tessellation; edges across which the surface has a crease stay sharp.
    """
    triangles = model.triangles
    pairs = np.sort(triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    edges, which = np.unique(pairs, axis=0, return_inverse=True)
    mids = len(model.positions) + which.reshape(-1, 3)
    a, b, c = triangles.T
    ab, bc, ca = mids.T
    finer = np.concatenate(
        [np.stack(t, axis=1) for t in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))]
    )
    vertex_normals = angle_weighted_normals(model.positions, triangles, model.weld_ids)
    p, q = model.positions[edges[:, 0]], model.positions[edges[:, 1]]
    n, m = vertex_normals[edges[:, 0]], vertex_normals[edges[:, 1]]
    along = q - p
    welds, weld = np.unique(np.sort(model.weld_ids[edges], axis=1), axis=0, return_inverse=True)
    # Where a vertex normal is far from that of a triangle there, the edge is to stay sharp.
    corners = model.positions[triangles]
    face = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    face /= np.maximum(np.linalg.norm(face, axis=1, keepdims=True), 1e-30)
    straight = np.einsum("tkc,tc->tk", vertex_normals[triangles], face)
    least = np.ones(len(welds))
    for k in range(3):  # the triangle's edges, in the order of `mids`
        both = np.minimum(straight[:, k], straight[:, (k + 1) % 3])
        np.minimum.at(least, weld.reshape(-1)[which.reshape(-1, 3)[:, k]], both)
    smoothness = np.clip((least - 0.72) / 0.2, 0, 1)[weld.reshape(-1), None]
    # The edge's middle, projected onto the tangent planes at both ends.
    bulge = 0.5 * (
        -n * (n * along).sum(1, keepdims=True) * 0.5 + m * (m * along).sum(1, keepdims=True) * 0.5
    )
    middle = (p + q) / 2 + 0.7 * smoothness * bulge
    joints, weights = strongest_influences(
        model.joints[edges].reshape(-1, 8), 0.5 * model.weights[edges].reshape(-1, 8)
    )
    uv = None
    if model.uv is not None:
        uv = np.concatenate([model.uv, model.uv[edges].mean(axis=1)])
    return replace(
        model,
        positions=np.concatenate([model.positions, middle]),
        weld_ids=np.concatenate([model.weld_ids, model.weld_ids.max() + 1 + weld.reshape(-1)]),
        joints=np.concatenate([model.joints, joints]),
        weights=np.concatenate([model.weights, weights]),
        uv=uv,
        triangles=finer,
        material_ids=np.tile(model.material_ids, 4),
    )


def strongest_influences(
    joints: Int[np.ndarray, "V k"], weights: Float[np.ndarray, "V k"]
) -> tuple[Int[np.ndarray, "V 4"], Float[np.ndarray, "V 4"]]:
    """The four joints with the largest skinning weights for each vertex, each joint once.

    Returns:
        Joints, and their weights, which sum to 1 for each vertex.
    """
    joints, weights = joints.copy(), weights.copy()
    count = joints.shape[1]
    for i in range(count):
        for j in range(i + 1, count):
            same = joints[:, i] == joints[:, j]
            weights[same, i] += weights[same, j]
            weights[same, j] = 0
    best = np.argsort(-weights, axis=1, kind="stable")[:, :4]
    joints = np.take_along_axis(joints, best, 1)
    weights = np.take_along_axis(weights, best, 1)
    return joints, weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-12)
