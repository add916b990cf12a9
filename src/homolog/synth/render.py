"""Images of scenes: Embree finds what each ray meets, NumPy computes what it looks like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from homolog import moved
from homolog.synth.appearance.colour import smoothstep, srgb_to_linear
from homolog.synth.scene import Scene
from homolog.synth.scene_mesh import build_scene_mesh
from homolog.synth.tracer import Hits, Tracer
from homolog.synth.vectors import dot, unit

_EPSILON = 2e-3
"""Distance from a surface at which rays that leave it begin, in half lengths of a model."""
_LIGHT_RAYS = 2
"""How many rays look for the sky, and for a large sun, from each point."""


@dataclass(frozen=True, eq=False)
class Rendered:
    """A rendered image with its ground truth.

    Attributes:
        image: linear RGB, not limited to 1.
        instance: 0 for background, distractors and props, else 1 + index of the model's instance.
        coordinates: canonical coordinates of the visible point; NaN where there is no instance.
        subject_fraction: fraction of the image that the scene's subject covers.
    """

    image: Float[np.ndarray, "s s 3"]
    instance: UInt8[np.ndarray, "s s"]
    coordinates: Float[np.ndarray, "s s 3"]
    subject_fraction: float


class Renderer:
    """Renders one scene.

    Args:
        scene: to render.
        size: of the image in pixels.
        rng: source of the noise of soft light; what is visible does not depend on it.

    Attributes:
        mesh: of the scene.
        tracer: of that mesh.
    """

    def __init__(self, scene: Scene, size: int, rng: np.random.Generator):
        self.scene, self.size, self.rng = scene, size, rng
        self.mesh = build_scene_mesh(scene)
        self.tracer = Tracer(self.mesh.vertices, self.mesh.triangles)
        self._small_backdrop = srgb_to_linear(scene.backdrop[::4, ::4])

    def render(self) -> Rendered:
        """Render the scene: one ray through the centre of each pixel, five where edges are."""
        mesh, size, camera = self.mesh, self.size, self.scene.camera
        rows, columns = np.divmod(np.arange(size * size), size)
        centres = np.stack([columns, rows], axis=1).astype(np.float32) + np.float32(0.5)
        directions = camera.rays(centres)
        origin = camera.position.astype(np.float32)
        hits = self.tracer.first_hits(np.broadcast_to(origin, directions.shape), directions)
        hit = hits.triangle >= 0
        surface = np.where(hit, mesh.surface[hits.triangle], -2).reshape(size, size)
        edge = self._edges(surface, hits.distance.reshape(size, size)).ravel()
        image = self._shade_background(origin, directions, ~hit | edge)
        met, border = np.flatnonzero(hit), np.flatnonzero(edge)
        behind = image.take(border, 0)
        image[met] = self._shade(origin, directions.take(met, 0), hits.take(met), _LIGHT_RAYS)
        if len(border):
            total = image.take(border, 0)
            for shift in ((-0.375, -0.125), (0.125, -0.375), (0.375, 0.125), (-0.125, 0.375)):
                rays = camera.rays(centres.take(border, 0) + np.array(shift, np.float32))
                more = self.tracer.first_hits(np.broadcast_to(origin, rays.shape), rays)
                met = np.flatnonzero(more.triangle >= 0)
                colour = behind.copy()
                # The mean of five samples needs fewer light rays in each.
                colour[met] = self._shade(origin, rays.take(met, 0), more.take(met), 1)
                total += colour
            image[border] = total / 5
        instance = np.zeros(size * size, np.uint8)
        coordinates = np.full((size * size, 3), np.nan, np.float32)
        seen = np.flatnonzero(hit)
        seen = seen[mesh.instance[hits.triangle[seen]] >= 0]
        instance[seen] = 1 + mesh.instance[hits.triangle[seen]]
        coordinates[seen] = mesh.interpolate(mesh.coordinates, hits.take(seen))
        return Rendered(
            image.reshape(size, size, 3),
            instance.reshape(size, size),
            coordinates.reshape(size, size, 3),
            float((surface == 0).mean()),
        )

    def visible(
        self, points: Float[np.ndarray, "P 3"]
    ) -> tuple[Int[np.ndarray, "P"], Hits, Float[np.ndarray, "P 3"]]:
        """Cast rays from the camera towards points of the world and return what each meets first.

        Returns:
            The index of the instance (-1 for none); the hit, whose distance is relative to the
            point's: more than 1 is behind it; and the canonical coordinates there.
        """
        mesh, position = self.mesh, self.scene.camera.position
        directions = (points - position).astype(np.float32)
        origins = np.broadcast_to(position.astype(np.float32), directions.shape)
        hits = self.tracer.first_hits(origins, directions)
        met = hits.triangle >= 0
        instance = np.where(met, mesh.instance[hits.triangle], -1)
        coordinates = np.full((len(points), 3), np.nan, np.float32)
        coordinates[met] = mesh.interpolate(mesh.coordinates, hits.take(np.flatnonzero(met)))
        return instance, hits, coordinates

    @staticmethod
    def _edges(
        surface: Int[np.ndarray, "s s"], depth: Float[np.ndarray, "s s"]
    ) -> Bool[np.ndarray, "s s"]:
        """Pixels whose neighbour shows another surface, or one at another depth."""
        edge = np.zeros(surface.shape, bool)
        depth = np.where(surface == -2, 1e6, depth)
        across = surface[:, 1:] != surface[:, :-1]
        across |= np.abs(depth[:, 1:] / depth[:, :-1] - 1) > 0.02
        down = surface[1:] != surface[:-1]
        down |= np.abs(depth[1:] / depth[:-1] - 1) > 0.02
        edge[:, 1:] |= across
        edge[:, :-1] |= across
        edge[1:] |= down
        edge[:-1] |= down
        return edge

    def _light_reaching(
        self,
        points: Float[np.ndarray, "P 3"],
        normals: Float[np.ndarray, "P 3"],
        face_normals: Float[np.ndarray, "P 3"],
        rays: int,
    ) -> tuple[Float[np.ndarray, "P"], Float[np.ndarray, "P"]]:
        """The fraction of the sun (times the cosine) and of the sky that reaches points."""
        light, rng = self.scene.light, self.rng
        count = len(points)
        start = points + face_normals * np.float32(_EPSILON)
        towards = light.direction.astype(np.float32)
        sun = np.clip((normals @ towards + 0.15) / 1.15, 0, 1)
        lit = np.flatnonzero((face_normals @ towards > 0) & (sun > 0))
        shadow, closed = np.ones(count, np.float32), np.zeros(count, np.float32)
        shadow[lit] = 0
        # A few thousand random directions are as good as a fresh one for each point.
        normal = rng.standard_normal((4096, 3), np.float32)
        sky_directions, sun_directions = unit(normal), towards + normal * np.float32(light.spread)
        lit_start, leaving = start.take(lit, 0), face_normals * np.float32(1.02)
        sun_rays = 1 if light.spread < 0.05 else rays
        for _ in range(sun_rays):
            drawn = sun_directions.take(rng.integers(len(sun_directions), size=len(lit)), 0)
            shadow[lit] += self.tracer.occluded(lit_start, drawn) / np.float32(sun_rays)
        for _ in range(rays):
            drawn = sky_directions.take(rng.integers(len(sky_directions), size=count), 0)
            closed += self.tracer.occluded(start, drawn + leaving)
        return sun * (1 - shadow), 1 - closed * np.float32(0.75 / rays)

    def _shade(
        self,
        origin: Float[np.ndarray, "3"],
        directions: Float[np.ndarray, "P 3"],
        hits: Hits,
        rays: int,
    ) -> Float[np.ndarray, "P 3"]:
        """The colours of surfaces that rays have hit, linear RGB.

        Args:
            origin: of the rays.
            directions: of the rays.
            hits: all on some surface.
            rays: to look for light with, from each point.
        """
        mesh, count = self.mesh, len(directions)
        if not count:
            return np.zeros((0, 3), np.float32)
        light, rng = self.scene.light, self.rng
        surface = mesh.surface[hits.triangle]
        face_normal = mesh.face_normals.take(hits.triangle, 0)
        face_normal *= -np.sign(dot(face_normal, directions))
        both = mesh.interpolate(mesh.normals_and_coordinates, hits)
        normal, points = both[:, :3], both[:, 3:]
        normal *= np.where(dot(normal, face_normal) < 0, np.float32(-1), np.float32(1))
        dither = (rng.random((count, 3), np.float32) - np.float32(0.5)) * np.float32(1.4)
        albedo = np.zeros((count, 3), np.float32)
        plain = np.flatnonzero(surface < 0)
        albedo[plain] = mesh.interpolate(mesh.colours, hits.take(plain))
        gloss, shininess = np.zeros(count, np.float32), np.full(count, 10, np.float32)
        reflectivity, transparency = np.zeros(count, np.float32), np.zeros(count, np.float32)
        metallic = np.zeros(count, bool)
        for k, material in enumerate(mesh.materials):
            own = np.flatnonzero(surface == k)
            if not len(own):
                continue
            ids = mesh.material_ids[hits.triangle[own]]
            uv = mesh.interpolate(mesh.uv, hits.take(own)) if mesh.has_texture[k] else None
            own_points, own_dither = points.take(own, 0), dither.take(own, 0)
            albedo[own] = material.albedo(own_points, ids, uv, own_dither)
            if material.bump_strength > 0.01:
                bump = np.stack([noise(own_points, own_dither) for noise in material.bump_noise], 1)
                normal[own] += bump * np.float32(material.bump_strength)
            gloss[own] = np.where(material.unpatterned[ids], 0.15, material.gloss)
            shininess[own] = material.shininess
            reflectivity[own], metallic[own] = material.reflectivity[ids], material.metallic[ids]
            transparency[own] = material.transparency[ids]
        normal = unit(normal)
        where = origin + directions * hits.distance[:, None]
        sun, sky = self._light_reaching(where, normal, face_normal, rays)
        view = -unit(directions)
        highlight = np.zeros(count, np.float32)
        shiny = np.flatnonzero((gloss > 0) & (sun > 0))
        half = unit(view.take(shiny, 0) + light.direction.astype(np.float32))
        along = np.clip(dot(normal.take(shiny, 0), half)[:, 0], 0, 1)
        highlight[shiny] = gloss[shiny] * along ** shininess[shiny]
        up = (normal[:, 1:2] + 1) / 2
        ambient = (light.bounce + up * (light.sky - light.bounce)) * sky[:, None]
        colour = albedo * (light.sun * sun[:, None] + ambient)
        clear = np.flatnonzero(transparency)
        if len(clear):
            behind = self._surroundings(view[clear] * -1 - 0.2 * normal[clear], 1.0)
            tint = albedo[clear] / np.maximum(albedo[clear].max(1, keepdims=True), 1e-3)
            share = transparency[clear, None]
            colour[clear] += share * (behind * (0.5 + 0.5 * tint) - colour[clear])
        mirrors = np.flatnonzero(reflectivity)
        if len(mirrors):
            n, v = normal[mirrors], view[mirrors]
            facing = np.clip((n * v).sum(1, keepdims=True), 0, 1)
            share = reflectivity[mirrors, None]
            share = share + (1 - share) * (1 - facing) ** 5
            reflected = self._surroundings(2 * facing * n - v, 0.4)
            reflected = reflected * (0.3 + 0.7 * sky[mirrors, None])
            tint = albedo[mirrors] / np.maximum(albedo[mirrors].max(1, keepdims=True), 1e-3)
            reflected *= np.where(metallic[mirrors, None], 0.2 + 0.8 * tint, 1)
            colour[mirrors] += share * (reflected - colour[mirrors])
        return (colour + light.sun * highlight[:, None]).astype(np.float32)

    def _surroundings(
        self, directions: Float[np.ndarray, "P 3"], spread: float
    ) -> Float[np.ndarray, "P 3"]:
        """What is far away in some directions: the backdrop, mirrored all round, and the ground.

        With a spread of 1 the backdrop is where the camera sees it; with less, it is wider.
        """
        scene, camera, size = self.scene, self.scene.camera, self.size
        local = directions @ camera.rotation.T
        azimuth = np.arctan2(local[:, 0], local[:, 2])
        down = np.arctan2(local[:, 1], np.hypot(local[:, 0], local[:, 2]))
        pixels_per_radian = spread * camera.focal if spread == 1 else spread * size
        centre = camera.principal_point if spread == 1 else size / 2
        where = np.stack([azimuth, down], 1) * pixels_per_radian + centre
        where = np.mod(where, 2 * size)
        where = np.where(where >= size, 2 * size - 1 - where, where)
        small_size = len(self._small_backdrop)
        x, y = np.clip(where * small_size / size, 0, small_size - 1).astype(int).T
        image = self._small_backdrop[y, x]
        if scene.ground is not None:
            length = np.linalg.norm(directions, axis=1)
            low = smoothstep(-directions[:, 1] / length, 0.0, 0.15)[:, None]
            lit = scene.light.sun * scene.light.direction[1] + scene.light.sky
            below = srgb_to_linear(scene.ground[::16, ::16]).mean((0, 1)) * lit
            image = image + low * (below - image)
        return image

    def _shade_background(
        self,
        origin: Float[np.ndarray, "3"],
        directions: Float[np.ndarray, "P 3"],
        needed: Bool[np.ndarray, "P"],
    ) -> Float[np.ndarray, "P 3"]:
        """The backdrop, and the ground with its shadows on the rays where it is needed."""
        scene, light = self.scene, self.scene.light
        image = srgb_to_linear(scene.backdrop.reshape(-1, 3))
        if scene.ground is None and scene.shadow_strength <= 0:
            return image
        down = needed & (directions[:, 1] < -1e-3)
        index = np.flatnonzero(down)
        if not len(index) or origin[1] <= 0:
            return image
        distance = -origin[1] / directions[index, 1]
        near = distance < 3 * scene.fog_distance
        index, distance = index[near], distance[near]
        points = origin + directions[index] * distance[:, None]
        flat = points[:, [0, 2]]
        close = self._near_shadows(flat)
        sun = np.full(len(index), light.direction[1], np.float32)
        sky = np.ones(len(index), np.float32)
        up = np.tile(np.array([0, 1, 0], np.float32), (len(index), 1))[close]
        sun[close], sky[close] = self._light_reaching(points[close], up, up, _LIGHT_RAYS)
        # Light from the side wraps around fur, but not around the ground.
        wrapped = (light.direction[1] + 0.15) / 1.15
        sun[close] *= np.float32(light.direction[1] / wrapped)
        lit = light.sun * sun[:, None] + light.sky * sky[:, None]
        if scene.ground is None:
            full = light.sun * light.direction[1] + light.sky
            image[index] *= 1 - scene.shadow_strength + scene.shadow_strength * lit / full
            return image
        texture = _sample_texture(srgb_to_linear(scene.ground), flat / scene.ground_scale)
        fade = np.exp(-((distance / scene.fog_distance) ** 2))[:, None]
        image[index] = image[index] * (1 - fade) + fade * texture * lit
        return image

    def _near_shadows(self, points: Float[np.ndarray, "P 2"]) -> Bool[np.ndarray, "P"]:
        """Which points (x, z) of the ground may lie in the shadow of an object."""
        scene, light = self.scene, self.scene.light
        objects = [each.vertices for each in scene.instances]
        objects += [distractor.vertices for distractor in scene.distractors]
        vertices = np.concatenate(objects)
        low, high = vertices.min(0), vertices.max(0)
        along = high[1] / max(float(light.direction[1]), 0.1)
        shadow, soft = -light.direction[[0, 2]] * along, 0.5 + light.spread * along
        low, high = low[[0, 2]] - soft, high[[0, 2]] + soft
        low, high = np.minimum(low, low + shadow), np.maximum(high, high + shadow)
        return ((points > low) & (points < high)).all(1)


def _sample_texture(
    texture: Float[np.ndarray, "t t 3"], where: Float[np.ndarray, "P 2"]
) -> Float[np.ndarray, "P 3"]:
    """Bilinear samples of a repeating texture, every other copy mirrored so that no seams show."""
    size = len(texture)
    along = np.mod(where * size, 2 * size)
    along = np.where(along >= size, 2 * size - 1e-3 - along, along)
    base = np.floor(along - 0.5)
    part = (along - 0.5 - base).astype(np.float32)
    x0, y0 = np.clip(base, 0, size - 1).astype(int).T
    x1, y1 = np.clip(base + 1, 0, size - 1).astype(int).T
    px, py = part[:, :1], part[:, 1:]
    flat = texture.reshape(-1, 3)
    top = flat.take(y0 * size + x0, 0) * (1 - px) + flat.take(y0 * size + x1, 0) * px
    bottom = flat.take(y1 * size + x0, 0) * (1 - px) + flat.take(y1 * size + x1, 0) * px
    return top * (1 - py) + bottom * py


def __getattr__(name: str) -> Any:
    return moved.attribute(__name__, name)
