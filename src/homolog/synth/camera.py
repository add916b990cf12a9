"""Pinhole cameras, and random ones that look at an object.

A camera's axes are x to the right, y down and z away from it. The world has y up and the ground at
y = 0. Nothing is ever mirrored, so that left stays left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from homolog.synth.transforms import axis_rotation


@dataclass(frozen=True)
class Camera:
    """A pinhole camera.

    Attributes:
        position: in the world.
        rotation: rows are the camera's axes (right, down, away) in the world.
        focal: focal length in pixels.
        principal_point: where the optical axis meets the image, in pixels.
    """

    position: Float[np.ndarray, "3"]
    rotation: Float[np.ndarray, "3 3"]
    focal: float
    principal_point: Float[np.ndarray, "2"]

    def project(
        self, points: Float[np.ndarray, "P 3"]
    ) -> tuple[Float[np.ndarray, "P 2"], Float[np.ndarray, "P"]]:
        """Points in the image, and depths along the optical axis; NaN for points behind the camera.

        The centre of the first pixel is at (0.5, 0.5).
        """
        local = (points - self.position) @ self.rotation.T
        depth = np.where(local[:, 2] > 1e-6, local[:, 2], np.nan)
        return local[:, :2] / depth[:, None] * self.focal + self.principal_point, depth

    def rays(self, pixels: Float[np.ndarray, "P 2"]) -> Float[np.ndarray, "P 3"]:
        """Directions in the world through points of the image; their depth is 1."""
        centre = self.principal_point.astype(pixels.dtype)
        rotation = self.rotation.astype(pixels.dtype)
        return (pixels - centre) / pixels.dtype.type(self.focal) @ rotation[:2] + rotation[2]


def random_camera(
    vertices: Float[np.ndarray, "V 3"], rng: np.random.Generator, size: int, above_ground: bool
) -> Camera:
    """A random camera that looks at an object.

    Args:
        vertices: of the object, in the world.
        rng: source of randomness.
        size: of the image in pixels.
        above_ground: whether the camera has to be above the ground.
    """
    azimuth = rng.uniform(0, 2 * np.pi)
    elevation = rng.uniform(0, 25) if rng.random() < 0.7 else rng.uniform(-10, 50)
    if above_ground:
        elevation = max(elevation, 1.0)
    e, middle = np.deg2rad(elevation), (vertices.min(0) + vertices.max(0)) / 2
    towards = np.array([np.cos(e) * np.cos(azimuth), np.sin(e), np.cos(e) * np.sin(azimuth)])
    roll = rng.normal(0, 5) if rng.random() < 0.8 else rng.normal(0, 14)
    away = -towards
    right = np.cross(away, [0.0, 1, 0])
    right /= np.linalg.norm(right)
    # Right, down, away: right x down = away.
    rotation = np.stack([right, np.cross(away, right), away])
    rotation = axis_rotation([0, 0, 1], roll) @ rotation
    focal = size / 2 / np.tan(np.deg2rad(rng.uniform(14, 65)) / 2)
    # The object's longer extent as a fraction of the image's size.
    low, high = ((0.6, 1.0), (0.5, 1.2), (0.25, 0.5))[int(rng.choice(3, p=[0.7, 0.2, 0.1]))]
    share = rng.uniform(low, high)
    distance = 2.0 * focal / (share * size) * 1.2
    nearest = 1.15 * float(np.linalg.norm(vertices - middle, axis=1).max())
    centre = np.full(2, size / 2)
    for _ in range(4):
        camera = Camera(middle + towards * max(distance, nearest), rotation, focal, centre)
        points, _ = camera.project(vertices)
        extent = np.ptp(points, axis=0).max()
        distance = max(distance, nearest) * extent / (share * size)
    distance = max(distance, nearest)
    position = middle + towards * distance
    if above_ground and position[1] < 0.06:
        position[1] = 0.06
    camera = Camera(position, rotation, focal, centre)
    points, _ = camera.project(vertices)
    start, end = points.min(0), points.max(0)
    room = np.abs(size - (end - start)) / 2
    wanted = size / 2 + rng.uniform(-0.8, 0.8, 2) * room
    if rng.random() < 0.15:  # cut off by the image's border
        wanted += rng.normal(0, 0.13, 2) * size
    return Camera(position, rotation, focal, centre + wanted - (start + end) / 2)
