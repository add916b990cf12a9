"""Rotations and affine transforms of 3-D space, as matrices and quaternions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int


def transform_matrices(
    translations: Float[np.ndarray, "N 3"],
    rotations: Float[np.ndarray, "N 4"],
    scales: Float[np.ndarray, "N 3"],
) -> Float[np.ndarray, "N 4 4"]:
    """4x4 matrices that scale, then rotate by a quaternion, then translate.

    Args:
        translations: one a matrix.
        rotations: quaternions (x, y, z, w) of any length.
        scales: factors along x, y and z.
    """
    norms = np.linalg.norm(rotations, axis=1, keepdims=True)
    x, y, z, w = (rotations / np.where(norms > 0, norms, 1)).T
    result = np.zeros((len(x), 4, 4))
    result[:, 0, 0], result[:, 1, 1] = 1 - 2 * (y * y + z * z), 1 - 2 * (x * x + z * z)
    result[:, 2, 2] = 1 - 2 * (x * x + y * y)
    result[:, 0, 1], result[:, 1, 0] = 2 * (x * y - z * w), 2 * (x * y + z * w)
    result[:, 0, 2], result[:, 2, 0] = 2 * (x * z + y * w), 2 * (x * z - y * w)
    result[:, 1, 2], result[:, 2, 1] = 2 * (y * z - x * w), 2 * (y * z + x * w)
    result[:, :3, :3] *= scales[:, None, :]
    result[:, :3, 3] = translations
    result[:, 3, 3] = 1
    return result


def world_transforms(
    parents: Int[np.ndarray, "N"], local: Float[np.ndarray, "N 4 4"]
) -> Float[np.ndarray, "N 4 4"]:
    """Each node's transform to the world, from its transform to its parent.

    Args:
        parents: index of each node's parent, which comes before the node; -1 for roots.
        local: each node's transform to its parent.
    """
    result = np.empty_like(local)
    for node, parent in enumerate(parents):
        result[node] = local[node] if parent < 0 else result[parent] @ local[node]
    return result


def quaternion(rotation: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "4"]:
    """The unit quaternion (x, y, z, w) of a rotation matrix."""
    m = rotation
    four = np.array(
        [
            [m[0, 0] - m[1, 1] - m[2, 2], 0, 0, 0],
            [m[0, 1] + m[1, 0], m[1, 1] - m[0, 0] - m[2, 2], 0, 0],
            [m[0, 2] + m[2, 0], m[1, 2] + m[2, 1], m[2, 2] - m[0, 0] - m[1, 1], 0],
            [m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], np.trace(m)],
        ]
    )
    values, vectors = np.linalg.eigh(four / 3)
    found = vectors[:, np.argmax(values)]
    return -found if found[3] < 0 else found


def slerp(a: Float[np.ndarray, "4"], b: Float[np.ndarray, "4"], t: float) -> Float[np.ndarray, "4"]:
    """Spherical linear interpolation of two quaternions, along the shorter way: a at 0, b at 1."""
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    cosine = float(a @ b)
    if cosine < 0:
        b, cosine = -b, -cosine
    if cosine > 0.9995:
        mixed = (1 - t) * a + t * b
        return mixed / np.linalg.norm(mixed)
    angle = np.arccos(cosine)
    return (np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / np.sin(angle)


def axis_rotation(
    axis: Sequence[float] | Float[np.ndarray, "3"], degrees: float
) -> Float[np.ndarray, "3 3"]:
    """The rotation about an axis, counter-clockwise for a viewer whom the axis points at."""
    v = np.asarray(axis, float)
    k = cross_matrix(v / np.linalg.norm(v))
    angle = np.deg2rad(degrees)
    return np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * (k @ k)


def rotation_between(
    a: Float[np.ndarray, "3"], b: Float[np.ndarray, "3"]
) -> Float[np.ndarray, "3 3"]:
    """The smallest rotation that takes the direction of one vector to that of another."""
    a, b = a / max(np.linalg.norm(a), 1e-12), b / max(np.linalg.norm(b), 1e-12)
    one_plus_cosine = float((a + b) @ (a + b)) / 2  # exact for opposite vectors too
    if one_plus_cosine < 1e-16:
        other = np.eye(3)[np.argmin(np.abs(a))]
        axis = np.cross(a, other)
        axis /= np.linalg.norm(axis)
        return 2 * np.outer(axis, axis) - np.eye(3)
    k = cross_matrix(np.cross(a, b))
    return np.eye(3) + k + k @ k / one_plus_cosine


def rotation_part(matrix: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3 3"]:
    """The rotation in a linear map, by Gram-Schmidt on its first two columns."""
    a, b = matrix[:, 0], matrix[:, 1]
    a = a / max(math.sqrt(a @ a), 1e-12)
    b = b - a * (a @ b)
    b = b / max(math.sqrt(b @ b), 1e-12)
    return np.array([a, b, cross_matrix(a) @ b]).T


def cross_matrix(v: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3 3"]:
    """The matrix whose product with a vector is the cross product of `v` with it."""
    return np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
