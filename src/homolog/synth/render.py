"""Pictures of scenes: what every ray meets is found by Embree, how it looks by NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from homolog.errors import HomologError
from homolog.synth import appearance
from homolog.synth.scene import Scene
from homolog.utils.optional import require

_EPSILON = 2e-3
"""How far from a surface rays begin that leave it, in half lengths of a thing."""

_RAYS = 2
"""How many rays look for the sky, and for a large sun, from each place."""


def library() -> tuple[Any, Any]:
    """Embree's scene and mesh classes.

    Raises:
        HomologError: it is not installed or does not start.
    """
    scene = require("embreex.rtcore_scene", "synth").EmbreeScene
    return scene, require("embreex.mesh_construction", "synth").TriangleMesh


@dataclass(frozen=True, eq=False)
class Hits:
    """What rays meet first.

    Attributes:
        triangle: -1 for nothing.
        weights: of the triangle's three corners.
        distance: in lengths of the ray's direction.
    """

    triangle: Int[np.ndarray, "P"]
    weights: Float[np.ndarray, "P 3"]
    distance: Float[np.ndarray, "P"]


class Tracer:
    """Triangles that rays can be shot at.

    Raises:
        HomologError: the renderer cannot start.
    """

    def __init__(self, vertices: Float[np.ndarray, "V 3"], triangles: Int[np.ndarray, "M 3"]):
        scene, mesh = library()
        try:
            self._scene = scene()
            mesh(
                self._scene,
                np.ascontiguousarray(vertices, np.float32),
                np.ascontiguousarray(triangles, np.int32),
            )
        except Exception as error:
            raise HomologError(f"synth: the renderer cannot start: {error}") from error

    def first(
        self, origins: Float[np.ndarray, "P 3"], directions: Float[np.ndarray, "P 3"]
    ) -> Hits:
        """What each ray meets first."""
        found = self._scene.run(
            np.ascontiguousarray(origins, np.float32),
            np.ascontiguousarray(directions, np.float32),
            output=True,
        )
        triangle = np.where(found["geomID"] >= 0, found["primID"], -1)
        u, v = found["u"], found["v"]
        return Hits(triangle, np.stack([1 - u - v, u, v], axis=1), found["tfar"])

    def blocked(
        self, origins: Float[np.ndarray, "P 3"], directions: Float[np.ndarray, "P 3"]
    ) -> Bool[np.ndarray, "P"]:
        """Whether anything is on the ray."""
        if not len(origins):
            return np.zeros(0, bool)
        found = self._scene.run(
            np.ascontiguousarray(origins, np.float32),
            np.ascontiguousarray(directions, np.float32),
            query="OCCLUDED",
        )
        return found >= 0


@dataclass(frozen=True, eq=False)
class Rendered:
    """A picture and what it shows.

    Attributes:
        image: linear RGB, not limited to 1.
        instance: 0 for background, objects and props, else 1 + index of the thing.
        coordinates: canonical ones of the visible point, NaN where there is no thing.
        subject: part of the picture that the scene's subject covers.
    """

    image: Float[np.ndarray, "s s 3"]
    instance: UInt8[np.ndarray, "s s"]
    coordinates: Float[np.ndarray, "s s 3"]
    subject: float


class Renderer:
    """Renders one scene.

    Args:
        scene: what to render.
        size: pixels of the picture's side.
        rng: decides on the noise of soft light; not on what is visible.
    """

    def __init__(self, scene: Scene, size: int, rng: np.random.Generator):
        self.scene, self.size, self.rng = scene, size, rng
        vertices, triangles, owner, dressed, turned, canonical, colours, uv, material = (
            [] for _ in range(9)
        )  # fmt: skip
        count = 0
        self.coats = [thing.coat for thing in scene.things]
        self.coats += [item.coat for item in scene.objects]
        self.textured = [thing.rig.model.uv is not None for thing in scene.things]
        self.textured += [False] * len(scene.objects)
        for k, thing in enumerate(scene.things):
            model = thing.rig.model
            vertices.append(thing.vertices)
            triangles.append(model.triangles + count)
            owner.append(np.full(len(model.triangles), k))
            dressed.append(np.full(len(model.triangles), k))
            turned.append(thing.normals)
            canonical.append(thing.rig.canonical)
            colours.append(np.zeros_like(thing.vertices))
            uv.append(np.zeros((len(thing.vertices), 2)) if model.uv is None else model.uv)
            material.append(model.material)
            count += len(thing.vertices)
        for k, item in enumerate(scene.objects):
            shape = item.shape
            vertices.append(item.vertices)
            triangles.append(shape.triangles + count)
            owner.append(np.full(len(shape.triangles), -1))
            dressed.append(np.full(len(shape.triangles), len(scene.things) + k))
            turned.append(_smooth(item.vertices, shape.triangles))
            canonical.append(item.places)
            colours.append(np.zeros_like(item.vertices))
            uv.append(np.zeros((len(item.vertices), 2)))
            material.append(shape.material)
            count += len(item.vertices)
        for prop in scene.props:
            vertices.append(prop.vertices)
            triangles.append(prop.triangles + count)
            owner.append(np.full(len(prop.triangles), -1))
            dressed.append(np.full(len(prop.triangles), -1))
            turned.append(_smooth(prop.vertices, prop.triangles))
            canonical.append(prop.vertices)
            colours.append(prop.colours)
            uv.append(np.zeros((len(prop.vertices), 2)))
            material.append(np.zeros(len(prop.triangles), int))
            count += len(prop.vertices)
        self.vertices = np.concatenate(vertices).astype(np.float32)
        self.triangles = np.concatenate(triangles).astype(np.int32)
        self.owner = np.concatenate(owner)
        self.dressed = np.concatenate(dressed)
        self.canonical = np.concatenate(canonical).astype(np.float32)
        self.turned = np.concatenate([np.concatenate(turned), self.canonical], 1, dtype=np.float32)
        self.colours = np.concatenate(colours).astype(np.float32)
        self.uv = np.concatenate(uv).astype(np.float32)
        self.material = np.concatenate(material)
        a, b, c = (self.vertices[self.triangles[:, k]] for k in range(3))
        self.flat = _unit(np.cross(b - a, c - a))
        self.tracer = Tracer(self.vertices, self.triangles)
        self._around = appearance.linear(scene.backdrop[::4, ::4])

    def render(self) -> Rendered:
        """The picture; rays go through the centres of pixels, and more at edges."""
        size, camera = self.size, self.scene.camera
        rows, columns = np.divmod(np.arange(size * size), size)
        centres = np.stack([columns, rows], axis=1).astype(np.float32) + np.float32(0.5)
        directions = camera.rays(centres)
        origin = camera.place.astype(np.float32)
        hits = self.tracer.first(np.broadcast_to(origin, directions.shape), directions)
        hit = hits.triangle >= 0
        who = np.where(hit, self.dressed[hits.triangle], -2).reshape(size, size)
        edge = self._edges(who, hits.distance.reshape(size, size)).ravel()
        image = self._behind(origin, directions, ~hit | edge)
        met, border = np.flatnonzero(hit), np.flatnonzero(edge)
        behind = image.take(border, 0)
        image[met] = self._surface(origin, directions.take(met, 0), _take(hits, met), _RAYS)
        if len(border):
            total = image.take(border, 0)
            for shift in ((-0.375, -0.125), (0.125, -0.375), (0.375, 0.125), (-0.125, 0.375)):
                rays = camera.rays(centres.take(border, 0) + np.array(shift, np.float32))
                more = self.tracer.first(np.broadcast_to(origin, rays.shape), rays)
                met = np.flatnonzero(more.triangle >= 0)
                colour = behind.copy()
                # The mean of five pictures needs fewer rays in each.
                colour[met] = self._surface(origin, rays.take(met, 0), _take(more, met), 1)
                total += colour
            image[border] = total / 5
        instance = np.zeros(size * size, np.uint8)
        coordinates = np.full((size * size, 3), np.nan, np.float32)
        mine = np.flatnonzero(hit)
        mine = mine[self.owner[hits.triangle[mine]] >= 0]
        instance[mine] = 1 + self.owner[hits.triangle[mine]]
        coordinates[mine] = self._mixed(self.canonical, _take(hits, mine))
        return Rendered(
            image.reshape(size, size, 3),
            instance.reshape(size, size),
            coordinates.reshape(size, size, 3),
            float((who == 0).mean()),
        )

    def _mixed(self, values: Float[np.ndarray, "V c"], hits: Hits) -> Float[np.ndarray, "P c"]:
        """Values of vertices at what was met."""
        corners = self.triangles.take(hits.triangle, 0)
        w = hits.weights
        mixed = values.take(corners[:, 0], 0) * w[:, :1]
        mixed += values.take(corners[:, 1], 0) * w[:, 1:2]
        mixed += values.take(corners[:, 2], 0) * w[:, 2:]
        return mixed

    @staticmethod
    def _edges(
        who: Int[np.ndarray, "s s"], depth: Float[np.ndarray, "s s"]
    ) -> Bool[np.ndarray, "s s"]:
        edge = np.zeros(who.shape, bool)
        near = np.where(who == -2, 1e6, depth)
        across = (who[:, 1:] != who[:, :-1]) | (np.abs(near[:, 1:] / near[:, :-1] - 1) > 0.02)
        down = (who[1:] != who[:-1]) | (np.abs(near[1:] / near[:-1] - 1) > 0.02)
        edge[:, 1:] |= across
        edge[:, :-1] |= across
        edge[1:] |= down
        edge[:-1] |= down
        return edge

    def _lit(
        self,
        places: Float[np.ndarray, "P 3"],
        normals: Float[np.ndarray, "P 3"],
        flat: Float[np.ndarray, "P 3"],
        rays: int,
    ) -> tuple[Float[np.ndarray, "P"], Float[np.ndarray, "P"]]:
        """How much of the sun (cosine included) and of the sky reaches places."""
        light, rng = self.scene.light, self.rng
        count = len(places)
        start = places + flat * np.float32(_EPSILON)
        towards = light.direction.astype(np.float32)
        sun = np.clip((normals @ towards + 0.15) / 1.15, 0, 1)
        faces = np.flatnonzero((flat @ towards > 0) & (sun > 0))
        shaded, closed = np.ones(count, np.float32), np.zeros(count, np.float32)
        shaded[faces] = 0
        # Of random directions a few thousand are as good as a fresh one for each place.
        normal = rng.standard_normal((4096, 3), np.float32)
        unit, suns = _unit(normal), towards + normal * np.float32(light.spread)
        above, leaving = start.take(faces, 0), flat * np.float32(1.02)
        shots = 1 if light.spread < 0.05 else rays
        for _ in range(shots):
            drawn = suns.take(rng.integers(len(suns), size=len(faces)), 0)
            shaded[faces] += self.tracer.blocked(above, drawn) / np.float32(shots)
        for _ in range(rays):
            drawn = unit.take(rng.integers(len(unit), size=count), 0)
            closed += self.tracer.blocked(start, drawn + leaving)
        return sun * (1 - shaded), 1 - closed * np.float32(0.75 / rays)

    def _surface(
        self,
        origin: Float[np.ndarray, "3"],
        directions: Float[np.ndarray, "P 3"],
        hits: Hits,
        rays: int,
    ) -> Float[np.ndarray, "P 3"]:
        """The colour of what was met; its light is looked for with so many rays."""
        count = len(directions)
        if not count:
            return np.zeros((0, 3), np.float32)
        light, rng = self.scene.light, self.rng
        dressed = self.dressed[hits.triangle]
        flat = self.flat.take(hits.triangle, 0)
        flat *= -np.sign(_dot(flat, directions))
        turned = self._mixed(self.turned, hits)
        normal, places = turned[:, :3], turned[:, 3:]
        normal *= np.where(_dot(normal, flat) < 0, np.float32(-1), np.float32(1))
        dither = (rng.random((count, 3), np.float32) - np.float32(0.5)) * np.float32(1.4)
        albedo = np.zeros((count, 3), np.float32)
        bare = np.flatnonzero(dressed < 0)
        albedo[bare] = self._mixed(self.colours, _take(hits, bare))
        gloss, shine = np.zeros(count, np.float32), np.full(count, 10, np.float32)
        mirror, clear = np.zeros(count, np.float32), np.zeros(count, np.float32)
        metal = np.zeros(count, bool)
        for k, coat in enumerate(self.coats):
            mine = np.flatnonzero(dressed == k)
            if not len(mine):
                continue
            material = self.material[hits.triangle[mine]]
            uv = self._mixed(self.uv, _take(hits, mine)) if self.textured[k] else None
            where, fuzz = places.take(mine, 0), dither.take(mine, 0)
            albedo[mine] = coat.albedo(where, material, uv, fuzz)
            if coat.bumps > 0.01:
                bump = np.stack([noise(where, fuzz) for noise in coat.bump], 1)
                normal[mine] += bump * np.float32(coat.bumps)
            plain = coat.plain[material]
            gloss[mine] = np.where(plain, 0.15, coat.gloss)
            shine[mine] = coat.shine
            mirror[mine], metal[mine] = coat.mirror[material], coat.metal[material]
            clear[mine] = coat.clear[material]
        normal = _unit(normal)
        where = origin + directions * hits.distance[:, None]
        sun, open_ = self._lit(where, normal, flat, rays)
        view = -_unit(directions)
        spot = np.zeros(count, np.float32)
        shiny = np.flatnonzero((gloss > 0) & (sun > 0))
        half = _unit(view.take(shiny, 0) + light.direction.astype(np.float32))
        along = np.clip(_dot(normal.take(shiny, 0), half)[:, 0], 0, 1)
        spot[shiny] = gloss[shiny] * along ** shine[shiny]
        up = (normal[:, 1:2] + 1) / 2
        ambient = (light.bounce + up * (light.sky - light.bounce)) * open_[:, None]
        colour = albedo * (light.sun * sun[:, None] + ambient)
        through = np.flatnonzero(clear)
        if len(through):
            behind = self._seen(view[through] * -1 - 0.2 * normal[through], 1.0)
            tint = albedo[through] / np.maximum(albedo[through].max(1, keepdims=True), 1e-3)
            part = clear[through, None]
            colour[through] += part * (behind * (0.5 + 0.5 * tint) - colour[through])
        mirrors = np.flatnonzero(mirror)
        if len(mirrors):
            n, v = normal[mirrors], view[mirrors]
            facing = np.clip((n * v).sum(1, keepdims=True), 0, 1)
            part = mirror[mirrors, None]
            part = part + (1 - part) * (1 - facing) ** 5
            seen = self._seen(2 * facing * n - v, 0.4) * (0.3 + 0.7 * open_[mirrors, None])
            tint = albedo[mirrors] / np.maximum(albedo[mirrors].max(1, keepdims=True), 1e-3)
            seen *= np.where(metal[mirrors, None], 0.2 + 0.8 * tint, 1)
            colour[mirrors] += part * (seen - colour[mirrors])
        return (colour + light.sun * spot[:, None]).astype(np.float32)

    def _seen(
        self, directions: Float[np.ndarray, "P 3"], spread: float
    ) -> Float[np.ndarray, "P 3"]:
        """What is far away in directions: the backdrop, repeated all round, and the ground.

        With a spread of 1 the backdrop is where the camera sees it; with less, it is wider.
        """
        scene, camera, size = self.scene, self.scene.camera, self.size
        local = directions @ camera.turn.T
        aside = np.arctan2(local[:, 0], local[:, 2])
        down = np.arctan2(local[:, 1], np.hypot(local[:, 0], local[:, 2]))
        per = spread * camera.focal if spread == 1 else spread * size
        where = np.stack([aside, down], 1) * per + (camera.centre if spread == 1 else size / 2)
        where = np.mod(where, 2 * size)
        where = np.where(where >= size, 2 * size - 1 - where, where)
        side = len(self._around)
        x, y = np.clip(where * side / size, 0, side - 1).astype(int).T
        image = self._around[y, x]
        if scene.ground is not None:
            length = np.linalg.norm(directions, axis=1)
            low = appearance.smoothstep(-directions[:, 1] / length, 0.0, 0.15)[:, None]
            lit = scene.light.sun * scene.light.direction[1] + scene.light.sky
            below = appearance.linear(scene.ground[::16, ::16]).mean((0, 1)) * lit
            image = image + low * (below - image)
        return image

    def _behind(
        self,
        origin: Float[np.ndarray, "3"],
        directions: Float[np.ndarray, "P 3"],
        needed: Bool[np.ndarray, "P"],
    ) -> Float[np.ndarray, "P 3"]:
        """Ground and backdrop, where needed."""
        scene = self.scene
        image = appearance.linear(scene.backdrop.reshape(-1, 3))
        if scene.ground is None and scene.shadows <= 0:
            return image
        down = needed & (directions[:, 1] < -1e-3)
        index = np.flatnonzero(down)
        if not len(index) or origin[1] <= 0:
            return image
        distance = -origin[1] / directions[index, 1]
        near = distance < 3 * scene.fog
        index, distance = index[near], distance[near]
        places = origin + directions[index] * distance[:, None]
        up = np.tile(np.array([0, 1, 0], np.float32), (len(index), 1))
        solid = [thing.vertices for thing in scene.things]
        reach = np.concatenate([*solid, *(item.vertices for item in scene.objects)])
        low, high = reach.min(0), reach.max(0)
        light = scene.light
        along = high[1] / max(float(light.direction[1]), 0.1)
        shadow, soft = -light.direction[[0, 2]] * along, 0.5 + light.spread * along
        low, high = low[[0, 2]] - soft, high[[0, 2]] + soft
        low, high = np.minimum(low, low + shadow), np.maximum(high, high + shadow)
        flat = places[:, [0, 2]]
        close = ((flat > low) & (flat < high)).all(1)  # elsewhere, nothing throws a shadow
        sun = np.full(len(index), light.direction[1], np.float32)
        open_ = np.ones(len(index), np.float32)
        sun[close], open_[close] = self._lit(places[close], up[close], up[close], _RAYS)
        # What is lit from the side is wrapped as fur is; the ground is not.
        wrapped = (light.direction[1] + 0.15) / 1.15
        sun[close] *= np.float32(light.direction[1] / wrapped)
        lit = light.sun * sun[:, None] + light.sky * open_[:, None]
        if scene.ground is None:
            full = light.sun * light.direction[1] + light.sky
            image[index] *= 1 - scene.shadows + scene.shadows * lit / full
            return image
        texture = _texels(appearance.linear(scene.ground), flat / scene.scale)
        fade = np.exp(-((distance / scene.fog) ** 2))[:, None]
        image[index] = image[index] * (1 - fade) + fade * texture * lit
        return image

    def visible(
        self, places: Float[np.ndarray, "P 3"]
    ) -> tuple[Int[np.ndarray, "P"], Hits, Float[np.ndarray, "P 3"]]:
        """What is first on the way to places: its thing (-1 for none), the hit, its coordinates.

        Distances are in parts of the way: more than 1 is behind the place.
        """
        origin = self.scene.camera.place.astype(np.float32)
        directions = (places - self.scene.camera.place).astype(np.float32)
        hits = self.tracer.first(np.broadcast_to(origin, directions.shape), directions)
        met = hits.triangle >= 0
        owner = np.where(met, self.owner[hits.triangle], -1)
        coordinates = np.full((len(places), 3), np.nan, np.float32)
        coordinates[met] = self._mixed(self.canonical, _take(hits, np.flatnonzero(met)))
        return owner, hits, coordinates


def _smooth(
    vertices: Float[np.ndarray, "V 3"], triangles: Int[np.ndarray, "M 3"]
) -> Float[np.ndarray, "V 3"]:
    """Unit normals of vertices: means of the triangles' that share them."""
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    flat = np.cross(b - a, c - a)
    corners = triangles.T.ravel()
    total = np.stack(
        [np.bincount(corners, np.tile(flat[:, k], 3), len(vertices)) for k in range(3)], axis=1
    )
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)


def _take(hits: Hits, which: Int[np.ndarray, "Q"]) -> Hits:
    # Twice to four times as fast as hits.weights[which].
    return Hits(hits.triangle[which], hits.weights.take(which, 0), hits.distance[which])


def _dot(a: Float[np.ndarray, "P 3"], b: Float[np.ndarray, "P 3"]) -> Float[np.ndarray, "P 1"]:
    return np.einsum("pc,pc->p", a, b)[:, None]


def _unit(v: Float[np.ndarray, "P 3"]) -> Float[np.ndarray, "P 3"]:
    """Of length 1, or 0."""
    return v / np.maximum(np.sqrt(_dot(v, v)), np.float32(1e-20))


def _texels(
    texture: Float[np.ndarray, "t t 3"], where: Float[np.ndarray, "P 2"]
) -> Float[np.ndarray, "P 3"]:
    """A repeating texture, every other copy mirrored so that no seams show."""
    side = len(texture)
    along = np.mod(where * side, 2 * side)
    along = np.where(along >= side, 2 * side - 1e-3 - along, along)
    base = np.floor(along - 0.5)
    part = (along - 0.5 - base).astype(np.float32)
    x0, y0 = np.clip(base, 0, side - 1).astype(int).T
    x1, y1 = np.clip(base + 1, 0, side - 1).astype(int).T
    px, py = part[:, :1], part[:, 1:]
    flat = texture.reshape(-1, 3)
    top = flat.take(y0 * side + x0, 0) * (1 - px) + flat.take(y0 * side + x1, 0) * px
    bottom = flat.take(y1 * side + x0, 0) * (1 - px) + flat.take(y1 * side + x1, 0) * px
    return top * (1 - py) + bottom * py
