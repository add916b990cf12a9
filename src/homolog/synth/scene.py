"""A random scene: which models stand where, in what pose and coat, seen from where, in what light.

The world has y up and the ground at y = 0. A camera's axes are x to the right, y down and z away
from it; nothing is ever mirrored, so that left stays left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int
from PIL import Image

from homolog.synth import appearance
from homolog.synth.distractors import Shape, random_shape
from homolog.synth.gltf import normals
from homolog.synth.posing import random_pose
from homolog.synth.rig import Pose, Rig, about


@dataclass(frozen=True)
class Camera:
    """A pinhole camera.

    Attributes:
        place: in the world.
        turn: rows are the camera's axes (right, down, away) in the world; a rotation.
        focal: in pixels.
        centre: where the axis meets the picture, in pixels.
    """

    place: Float[np.ndarray, "3"]
    turn: Float[np.ndarray, "3 3"]
    focal: float
    centre: Float[np.ndarray, "2"]

    def project(
        self, points: Float[np.ndarray, "P 3"]
    ) -> tuple[Float[np.ndarray, "P 2"], Float[np.ndarray, "P"]]:
        """Places in the picture, pixel centres at halves, and depths; NaN behind the camera."""
        local = (points - self.place) @ self.turn.T
        depth = np.where(local[:, 2] > 1e-6, local[:, 2], np.nan)
        return local[:, :2] / depth[:, None] * self.focal + self.centre, depth

    def rays(self, pixels: Float[np.ndarray, "P 2"]) -> Float[np.ndarray, "P 3"]:
        """Directions in the world through places in the picture, of depth 1."""
        centre, turn = self.centre.astype(pixels.dtype), self.turn.astype(pixels.dtype)
        return (pixels - centre) / pixels.dtype.type(self.focal) @ turn[:2] + turn[2]


@dataclass(eq=False)
class Thing:
    """A model in a scene.

    Attributes:
        rig: the model.
        kind: of pose, see `random_pose`.
        vertices: in the world.
        coat: its colours.
        keypoints: in the world, by name.
        facing: columns are its left, up and front in the world.
        scale: length in the world of a unit of the model.
    """

    rig: Rig
    kind: str
    vertices: Float[np.ndarray, "V 3"]
    coat: appearance.Coat
    keypoints: dict[str, Float[np.ndarray, "3"]]
    facing: Float[np.ndarray, "3 3"]
    scale: float = 1.0

    @property
    def normals(self) -> Float[np.ndarray, "V 3"]:
        """Of the vertices."""
        return normals(self.vertices, self.rig.model.triangles, self.rig.model.welded)


@dataclass(eq=False)
class Item:
    """An object in a scene: as large as a thing and dressed like one, but of no known kind.

    Attributes:
        shape: what it is.
        vertices: in the world.
        places: where its coat is laid on, about -1..1, z up.
        coat: its colours.
    """

    shape: Shape
    vertices: Float[np.ndarray, "V 3"]
    places: Float[np.ndarray, "V 3"]
    coat: appearance.Coat


@dataclass(eq=False)
class Prop:
    """Something small in a scene: a bar, a stone, grass."""

    vertices: Float[np.ndarray, "V 3"]
    triangles: Int[np.ndarray, "M 3"]
    colours: Float[np.ndarray, "V 3"]


@dataclass(eq=False)
class Scene:
    """All that a picture shows.

    Attributes:
        things: the first, or if there are none the first object, is what the camera looks at.
        props: what stands in front, beside and behind.
        camera: seen from here.
        light: lit like this.
        backdrop: what is behind all, sRGB.
        ground: texture of the plane y = 0, sRGB; None for no ground.
        scale: units of the world that the texture measures.
        shadows: how dark shadows are on a backdrop that has no ground of its own, 0..1.
        fog: distance at which the ground fades into the backdrop.
        objects: at least one if there are no things.
    """

    things: list[Thing]
    props: list[Prop]
    camera: Camera
    light: appearance.Light
    backdrop: Float[np.ndarray, "s s 3"]
    ground: Float[np.ndarray, "t t 3"] | None
    scale: float = 1.0
    shadows: float = 0.0
    fog: float = 1e9
    objects: list[Item] = field(default_factory=list)
    notes: dict[str, float] = field(default_factory=dict)


def stood(rig: Rig, pose: Pose, kind: str, coat: appearance.Coat, size: float = 1.0) -> Thing:
    """A model in a pose, its lowest point on the ground, its middle above the origin.

    Args:
        rig: the model.
        pose: how it stands.
        kind: the pose's name.
        coat: its colours.
        size: half its length in the world.
    """
    moved = rig.moved(pose)
    vertices = rig.skinned(moved)
    facing = rig.facing(vertices)
    placed = rig.placed(moved)
    if kind in ("sit", "lie"):
        settled = _settled(rig, vertices)
        vertices, facing = vertices @ settled.T, settled @ facing
        placed = {name: settled @ place for name, place in placed.items()}
    unit = 2 * size / rig.length
    low, high = vertices.min(0), vertices.max(0)
    shift = -(low + high) / 2
    shift[1] = -low[1]
    marks = {name: (place + shift) * unit for name, place in placed.items()}
    return Thing(rig, kind, (vertices + shift) * unit, coat, marks, facing, unit)


def _settled(rig: Rig, vertices: Float[np.ndarray, "V 3"]) -> Float[np.ndarray, "3 3"]:
    """The tilt after which what is lowest at the front and at the back is on the ground."""
    tilt = np.eye(3)
    tail = np.isin(rig.dominant, [n for n, group in enumerate(rig.groups) if group == "tail"])
    for _ in range(3):
        body = vertices[~tail] @ tilt.T
        middle = np.median(body[:, 2])
        front, back = body[body[:, 2] > middle], body[body[:, 2] <= middle]
        a, b = front[front[:, 1].argmin()], back[back[:, 1].argmin()]
        slope = np.rad2deg(np.arctan2(a[1] - b[1], max(a[2] - b[2], 1e-6)))
        tilt = about([1, 0, 0], float(np.clip(slope, -20, 20))) @ tilt
    return tilt


def turned(thing: Thing, degrees: float, shift: Sequence[float] | Float[np.ndarray, "3"]) -> Thing:
    """A thing turned about the vertical and moved."""
    matrix, by = about([0, 1, 0], degrees), np.asarray(shift, float)
    return Thing(
        thing.rig,
        thing.kind,
        thing.vertices @ matrix.T + by,
        thing.coat,
        {name: matrix @ place + by for name, place in thing.keypoints.items()},
        matrix @ thing.facing,
        thing.scale,
    )


_SECOND = 0.25
"""How often a second object stands beside the first."""
_BESIDE = 0.17
"""How often an object stands among things."""


def random_scene(
    rigs: Sequence[Rig],
    rng: np.random.Generator,
    size: int,
    photo: Image.Image | None = None,
    empty: bool = False,
) -> Scene:
    """A scene.

    Args:
        rigs: models to take from.
        rng: what decides on everything.
        size: pixels of the picture's side.
        photo: what to put behind it, instead of something made up.
        empty: whether objects stand where things would.
    """
    things: list[Thing] = []
    objects: list[Item] = []
    if empty:
        objects.append(_item(rng, 1.0))
        main = objects[0].vertices
    else:
        count = int(rng.choice([1, 2, 3], p=[0.78, 0.16, 0.06]))
        things.append(turned(_thing(rigs, rng, 1.0), rng.uniform(0, 360), (0, 0, 0)))
        for _ in range(count - 1):
            _beside(things, _thing(rigs, rng, float(np.exp(rng.normal(0, 0.25)))), rng)
        main = things[0].vertices
    grounded = rng.random() < (0.35 if photo is not None else 0.8)
    camera = _camera(main, rng, size, grounded)
    if rng.random() < (_SECOND if empty else _BESIDE):
        _add(objects, things, camera, rng)
    if camera.place[1] < 0.03:
        grounded = False
    light = appearance.random_light(rng)
    away = camera.turn[2]
    level = np.hypot(away[0], away[2])
    # Where the ground ends, in parts of the height.
    horizon = float((camera.centre[1] - camera.focal * -away[1] / max(level, 0.05)) / size)
    texture = None
    if photo is not None:
        back = appearance.fitted(photo, rng, size)
        if rng.random() < 0.4:
            back = appearance.blurred(back, rng.uniform(1, 8) * size / 480)
        if grounded and rng.random() < 0.3:
            texture = appearance.surface(rng)
    else:
        back = appearance.backdrop(rng, size, float(np.clip(horizon, -0.5, 1.5)))
        if grounded:
            texture = appearance.surface(rng)
    props = _props(main, camera, rng, size, texture is not None)
    return Scene(
        things, props, camera, light, back, texture,
        scale=float(np.exp(rng.uniform(-0.7, 2.0))),
        shadows=float(rng.uniform(0.3, 0.8)) if grounded and texture is None else 0.0,
        fog=float(np.exp(rng.uniform(1.5, 4.5))),
        objects=objects,
        notes={"horizon": horizon},
    )  # fmt: skip


def _thing(rigs: Sequence[Rig], rng: np.random.Generator, size: float) -> Thing:
    rig = rigs[int(rng.integers(len(rigs)))]
    pose, kind = random_pose(rig, rng)
    model = rig.model
    a, b, c = (rig.positions[model.triangles[:, k]] for k in range(3))
    areas = np.bincount(
        model.material, np.linalg.norm(np.cross(b - a, c - a), axis=1), len(model.materials)
    )
    coat = appearance.Coat(rng, model.materials, list(areas / areas.sum()), animal=rig.sided)
    return stood(rig, pose, kind, coat, size)


def _item(rng: np.random.Generator, size: float) -> Item:
    """An object, its middle above the origin; size is half its longest extent."""
    shape = random_shape(rng)
    places = shape.vertices - [0, np.ptp(shape.vertices[:, 1]) / 2, 0]
    coat = appearance.Coat(rng, shape.materials, shape.areas, animal=False)
    turn = about([0, 1, 0], rng.uniform(0, 360))
    return Item(shape, shape.vertices @ turn.T * size, places[:, [0, 2, 1]], coat)


def _add(
    objects: list[Item], things: Sequence[Thing], camera: Camera, rng: np.random.Generator
) -> None:
    """An object beside, behind or partly in front of what is there, if it finds a place."""
    item = _item(rng, float(np.exp(rng.normal(-0.1, 0.3))))
    others = [thing.vertices for thing in things] + [other.vertices for other in objects]
    taken = set().union(*(_cells(vertices) for vertices in others))
    main = others[0]
    reach = float(np.linalg.norm(camera.place - (main.min(0) + main.max(0)) / 2))
    angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(0.4, 1.0)
    for _ in range(12):
        away = np.array([np.cos(angle), 0, np.sin(angle)])
        vertices = item.vertices + distance * away
        mine = _around(vertices)
        _, depth = camera.project(vertices)
        clear = bool((depth > 0.4 * reach).all())  # NaN, behind the camera, is not
        if clear and len(mine & taken) <= 0.03 * len(mine):
            item.vertices = vertices
            objects.append(item)
            return
        if clear:
            distance += 0.15
        else:
            angle = rng.uniform(0, 2 * np.pi)


def _beside(things: list[Thing], new: Thing, rng: np.random.Generator) -> None:
    """Put one more where it hardly runs into the others."""
    new = turned(new, rng.uniform(0, 360), (0, 0, 0))
    angle = rng.uniform(0, 2 * np.pi)
    cells = set().union(*(_cells(thing.vertices) for thing in things))
    distance = rng.uniform(0.3, 1.3)
    for _ in range(12):
        placed = turned(new, 0, (distance * np.cos(angle), 0, distance * np.sin(angle)))
        mine = _cells(placed.vertices)
        if len(mine & cells) <= 0.03 * len(mine):
            break
        distance += 0.15
    things.append(placed)


def _cells(vertices: Float[np.ndarray, "V 3"]) -> set[tuple[int, int]]:
    x, z = (vertices[:, ::2] / 0.06).astype(int).T
    found = np.unique(x << 32 | z & 0xFFFFFFFF)  # numbers are sorted faster than pairs
    return set(zip((found >> 32).tolist(), found.astype(np.int32).tolist(), strict=True))


def _around(vertices: Float[np.ndarray, "V 3"]) -> set[tuple[int, int]]:
    """All cells that may be under an object: it has vertices at its corners only."""
    low, high = ((v[::2] / 0.06).astype(int) for v in (vertices.min(0), vertices.max(0)))
    x, z = (range(int(a), int(b) + 1) for a, b in zip(low, high, strict=True))
    return {(i, j) for i in x for j in z}


def _camera(
    vertices: Float[np.ndarray, "V 3"], rng: np.random.Generator, size: int, grounded: bool
) -> Camera:
    round_ = rng.uniform(0, 2 * np.pi)
    high = rng.uniform(0, 25) if rng.random() < 0.7 else rng.uniform(-10, 50)
    if grounded:
        high = max(high, 1.0)
    e, middle = np.deg2rad(high), (vertices.min(0) + vertices.max(0)) / 2
    towards = np.array([np.cos(e) * np.cos(round_), np.sin(e), np.cos(e) * np.sin(round_)])
    roll = rng.normal(0, 5) if rng.random() < 0.8 else rng.normal(0, 14)
    away = -towards
    right = np.cross(away, [0.0, 1, 0])
    right /= np.linalg.norm(right)
    # Right, down, away: right x down = away.
    turn = np.stack([right, np.cross(away, right), away])
    turn = about([0, 0, 1], roll) @ turn
    focal = size / 2 / np.tan(np.deg2rad(rng.uniform(14, 65)) / 2)
    # The longer extent in parts of the picture's side.
    low, high_ = ((0.6, 1.0), (0.5, 1.2), (0.25, 0.5))[int(rng.choice(3, p=[0.7, 0.2, 0.1]))]
    share = rng.uniform(low, high_)
    distance = 2.0 * focal / (share * size) * 1.2
    nearest = 1.15 * float(np.linalg.norm(vertices - middle, axis=1).max())
    centre = np.full(2, size / 2)
    for _ in range(4):
        camera = Camera(middle + towards * max(distance, nearest), turn, focal, centre)
        places, _ = camera.project(vertices)
        extent = np.ptp(places, axis=0).max()
        distance = max(distance, nearest) * extent / (share * size)
    distance = max(distance, nearest)
    place = middle + towards * distance
    if grounded and place[1] < 0.06:
        place[1] = 0.06
    camera = Camera(place, turn, focal, centre)
    places, _ = camera.project(vertices)
    start, end = places.min(0), places.max(0)
    room = np.abs(size - (end - start)) / 2
    wanted = size / 2 + rng.uniform(-0.8, 0.8, 2) * room
    if rng.random() < 0.15:  # cut off by the border
        wanted += rng.normal(0, 0.13, 2) * size
    return Camera(place, turn, focal, centre + wanted - (start + end) / 2)


# Props.

_CUBE = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
_FACES = np.array(
    [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
     [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]]
)  # fmt: skip


def _ball(rings: int = 10) -> tuple[Float[np.ndarray, "V 3"], Int[np.ndarray, "M 3"]]:
    across = 2 * rings
    v, u = np.meshgrid(
        np.linspace(0, np.pi, rings + 1), np.linspace(0, 2 * np.pi, across + 1), indexing="ij"
    )
    points = np.stack([np.sin(v) * np.cos(u), np.cos(v), np.sin(v) * np.sin(u)], -1).reshape(-1, 3)
    i, j = np.meshgrid(np.arange(rings), np.arange(across), indexing="ij")
    a = (i * (across + 1) + j).ravel()
    b, c, d = a + 1, a + across + 1, a + across + 2
    return points, np.concatenate([np.stack([a, b, c], 1), np.stack([b, d, c], 1)])


def _props(
    main: Float[np.ndarray, "V 3"],
    camera: Camera,
    rng: np.random.Generator,
    size: int,
    grounded: bool,
) -> list[Prop]:
    props: list[Prop] = []
    middle = (main.min(0) + main.max(0)) / 2
    height = float(np.ptp(main[:, 1]))
    if grounded and rng.random() < 0.4:
        props.append(_grass(main, height, rng))
    if rng.random() < 0.35:  # things standing about
        for _ in range(int(rng.integers(1, 6))):
            angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(1.3, 4)
            half = np.exp(rng.uniform(-2.6, -0.4, 3))
            place = middle * [1, 0, 1] + [far * np.cos(angle), 0, far * np.sin(angle)]
            place[1] = half[1] * rng.uniform(0.6, 1)
            inside = (place - camera.place) @ camera.turn[2]
            if inside > 0.6 * ((middle - camera.place) @ camera.turn[2]):
                props.append(_solid(rng, place, half, about([0, 1, 0], rng.uniform(0, 360))))
    if rng.random() < 0.22:  # in front
        depth = (middle - camera.place) @ camera.turn[2]
        kind = rng.random()
        if kind < 0.45:
            level, number = rng.random() < 0.4, int(rng.integers(1, 6))
            step, start = rng.uniform(0.12, 0.35), rng.uniform(0, 0.4)
            width = rng.uniform(0.004, 0.03)
            tone = appearance.fur(rng, 0.4)
            slant = rng.normal(0, 6)
            for k in range(number):
                along = start + k * step
                pixel = np.array([0.5, along] if level else [along, 0.5]) * size
                near = depth * rng.uniform(0.5, 0.56)
                place = camera.place + camera.rays(pixel[None])[0] * near
                long, thin = near * size / camera.focal * 1.5, width * near * size / camera.focal
                half = np.array([long, thin, thin] if level else [thin, long, thin])
                turn = camera.turn.T @ about([0, 0, 1], slant)
                props.append(_solid(rng, place, half, turn, tone, box=True))
        else:
            for _ in range(int(rng.integers(1, 4))):
                pixel = rng.uniform(0, 1, 2) * size
                near = depth * rng.uniform(0.35, 0.6)
                place = camera.place + camera.rays(pixel[None])[0] * near
                half = np.exp(rng.uniform(-3.2, -1.7, 3)) * near * size / camera.focal
                props.append(_solid(rng, place, half, camera.turn.T, None))
    return props


def _solid(
    rng: np.random.Generator,
    place: Float[np.ndarray, "3"],
    half: Float[np.ndarray, "3"],
    turn: Float[np.ndarray, "3 3"],
    tone: Float[np.ndarray, "3"] | None = None,
    box: bool = False,
) -> Prop:
    """A box or a lumpy ball."""
    if box or rng.random() < 0.4:
        points, faces = _CUBE, _FACES
        points, faces = points[faces].reshape(-1, 3), np.arange(36).reshape(-1, 3)  # sharp edges
    else:
        points, faces = _ball()
        lumps = appearance.Noise(rng, rng.uniform(0.4, 1.2))
        points = points * (1 + rng.uniform(0, 0.25) * lumps(points.astype(np.float32)))[:, None]
    colour = (appearance.fur(rng, 0.5) if tone is None else tone) * np.ones((len(points), 1))
    return Prop((points * half) @ turn.T + place, faces, colour.astype(np.float32))


def _grass(vertices: Float[np.ndarray, "V 3"], height: float, rng: np.random.Generator) -> Prop:
    """Blades about the feet."""
    count = int(rng.integers(300, 4000))
    low, high = vertices.min(0), vertices.max(0)
    spread = (high - low) * rng.uniform(0.2, 1.0) + 0.2
    x, z = rng.uniform(low[[0, 2]] - spread[[0, 2]], high[[0, 2]] + spread[[0, 2]], (count, 2)).T
    tall = height * rng.uniform(0.03, 0.3) * rng.uniform(0.3, 1.2, count)
    angle, lean = rng.uniform(0, 2 * np.pi, count), rng.normal(0, 0.35, (2, count)) * tall
    wide = tall * rng.uniform(0.02, 0.07)
    foot = np.stack([x, np.zeros(count), z], 1)
    across = np.stack([np.cos(angle) * wide, np.zeros(count), np.sin(angle) * wide], 1)
    tip = foot + np.stack([lean[0], tall, lean[1]], 1)
    points = np.stack([foot - across, foot + across, tip], 1).reshape(-1, 3)
    tone = np.array([0.12, 0.2, 0.05]) * rng.uniform(0.4, 2) + rng.random(3) * 0.1
    shade = (
        np.repeat(rng.uniform(0.5, 1.4, (count, 1)), 3, axis=0)
        * np.tile([0.6, 0.6, 1.1], count)[:, None]
    )
    return Prop(points, np.arange(3 * count).reshape(-1, 3), (tone * shade).astype(np.float32))
