"""Objects of no kind that is known, made up: vessels, vehicles, furniture, plants, birds, insects.

They teach what is no thing: large, solid, in the same coats and light as things. Some have sides,
but of another build: their parts are not at the places that things have them.
Objects stand on y = 0, y up; their longest extent is 2, their middle is above the origin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from homolog.synth import appearance
from homolog.synth.gltf import Material
from homolog.synth.rig import about, swing

Mesh = tuple[Float[np.ndarray, "_ 3"], Int[np.ndarray, "_ 3"]]
"""Places and triangles; vertices that are shared are smooth."""

Numbers = Sequence[float] | np.ndarray


@dataclass(frozen=True, eq=False)
class Shape:
    """An object as it is made.

    Attributes:
        kind: which of `KINDS`.
        vertices: of the mesh.
        triangles: vertex indices.
        material: of each triangle, an index into `materials`.
        materials: what it is made of.
    """

    kind: str
    vertices: Float[np.ndarray, "V 3"]
    triangles: Int[np.ndarray, "M 3"]
    material: Int[np.ndarray, "M"]
    materials: tuple[Material, ...]

    @property
    def areas(self) -> list[float]:
        """How much of the surface each material has."""
        a, b, c = (self.vertices[self.triangles[:, k]] for k in range(3))
        sizes = np.linalg.norm(np.cross(b - a, c - a), axis=1)
        areas = np.bincount(self.material, sizes, len(self.materials))
        return [float(v) for v in areas / areas.sum()]


class _Parts:
    """Meshes of several materials, put together."""

    def __init__(self) -> None:
        self.points: list[Float[np.ndarray, "V 3"]] = []
        self.faces: list[Int[np.ndarray, "M 3"]] = []
        self.material: list[Int[np.ndarray, "M"]] = []
        self.names: list[str] = []
        self._count = 0

    def add(self, mesh: Mesh, name: str, at: Numbers = (0, 0, 0)) -> None:
        """One more, of the material of that name."""
        points, faces = mesh
        if name not in self.names:
            self.names.append(name)
        self.points.append(points + np.asarray(at, float))
        self.faces.append(faces + self._count)
        self.material.append(np.full(len(faces), self.names.index(name)))
        self._count += len(points)


# Solids.


def _place(x: float, y: float, z: float) -> Float[np.ndarray, "3"]:
    return np.array([x, y, z], float)


def _grid(rows: int, columns: int, closed: bool = True) -> Int[np.ndarray, "M 3"]:
    """Triangles between rows of points; closed: the last column meets the first."""
    across = columns if closed else columns - 1
    i, j = np.meshgrid(np.arange(rows - 1), np.arange(across), indexing="ij")
    k = (j + 1) % columns
    a, b = (i * columns + j).ravel(), (i * columns + k).ravel()
    c, d = a + columns, b + columns
    return np.concatenate([np.stack([a, c, b], 1), np.stack([b, c, d], 1)])


def _curve(points: Sequence[Numbers] | np.ndarray, count: int) -> np.ndarray:
    """A smooth curve through points (Catmull and Rom's)."""
    p = np.asarray(points, float)
    p = np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    t = np.linspace(0, len(p) - 3 - 1e-9, count)
    i = t.astype(int)
    t = (t - i)[:, None]
    a, b, c, d = (p[i + k] for k in range(4))
    return b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))


def _lathe(profile: Sequence[Numbers] | np.ndarray, around: int = 32) -> Mesh:
    """What a line of (radius, height) sweeps about the vertical."""
    line = np.asarray(profile, float)
    angle = np.linspace(0, 2 * np.pi, around, endpoint=False)
    r, y = np.maximum(line[:, 0], 0)[:, None], line[:, 1]
    points = np.stack(
        [r * np.cos(angle), np.tile(y[:, None], (1, around)), r * np.sin(angle)], axis=-1
    )
    return points.reshape(-1, 3), _grid(len(line), around)


def _cylinder(
    start: Numbers,
    end: Numbers,
    radius: float,
    around: int = 20,
    top: float | None = None,
) -> Mesh:
    """From one place to another, with sharp rims; `top` is the radius at the end."""
    start, end = np.asarray(start, float), np.asarray(end, float)
    along = end - start
    length = float(np.linalg.norm(along)) + 1e-9
    last = radius if top is None else top
    pieces = [
        _lathe([(radius, 0), (last, length)], around),
        _lathe([(0, 0), (radius, 0)], around),
        _lathe([(last, length), (0, length)], around),
    ]
    points, faces = _joined(pieces)
    return points @ swing(np.array([0.0, 1, 0]), along / length).T + start, faces


def _joined(pieces: Sequence[Mesh]) -> Mesh:
    offsets = np.cumsum([0, *(len(points) for points, _ in pieces)])
    return (
        np.concatenate([points for points, _ in pieces]),
        np.concatenate([f + o for (_, f), o in zip(pieces, offsets[:-1], strict=True)]),
    )


_CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
_SIDES = np.array(
    [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
     [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]]
)  # fmt: skip


def _box(half: Numbers, taper: Numbers = (1, 1)) -> Mesh:
    """With sharp edges; its top is as much narrower and shorter as `taper` says."""
    corners = _CORNERS * np.asarray(half, float)
    corners[_CORNERS[:, 1] > 0] *= [taper[0], 1, taper[1]]
    return corners[_SIDES].reshape(-1, 3), np.arange(36).reshape(-1, 3)


def _rounded(half: Numbers, flat: float = 1.0, level: float = 1.0, rings: int = 16) -> Mesh:
    """A superquadric: 1 is an ellipsoid, near 0 a box; `flat` from aside, `level` from above."""
    v = np.linspace(-np.pi / 2, np.pi / 2, rings + 1)[:, None]
    u = np.linspace(0, 2 * np.pi, 2 * rings, endpoint=False)[None] + np.pi / 2 / rings

    def power(x: np.ndarray, e: float) -> np.ndarray:
        return np.where(np.abs(x) < 1e-9, 0, np.sign(x) * np.abs(x) ** e)

    points = np.stack(
        [
            power(np.cos(v), flat) * power(np.cos(u), level),
            np.broadcast_to(power(np.sin(v), flat), (rings + 1, 2 * rings)),
            power(np.cos(v), flat) * power(np.sin(u), level),
        ],
        axis=-1,
    )
    return points.reshape(-1, 3) * np.asarray(half, float), _grid(rings + 1, 2 * rings)


def _tube(
    path: np.ndarray, radius: float | np.ndarray, sides: int = 8, closed: bool = False
) -> Mesh:
    """Along a line of places; a radius for all or one each."""
    path = np.asarray(path, float)
    along = np.gradient(path, axis=0)
    if closed:
        along = np.roll(path, -1, 0) - np.roll(path, 1, 0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    first = np.cross(along[0], np.eye(3)[np.abs(along[0]).argmin()])
    normals = [first / np.linalg.norm(first)]
    for k in range(1, len(path)):
        turned = normals[-1] - (normals[-1] @ along[k]) * along[k]
        normals.append(turned / max(float(np.linalg.norm(turned)), 1e-9))
    side = np.array(normals)
    other = np.cross(along, side)
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    r = np.broadcast_to(radius, len(path))[:, None, None]
    rings = path[:, None] + r * (
        np.cos(angle)[None, :, None] * side[:, None] + np.sin(angle)[None, :, None] * other[:, None]
    )
    points = rings.reshape(-1, 3)
    faces = _grid(len(path), sides)
    if closed:
        last = np.arange(sides) + (len(path) - 1) * sides
        start = np.roll(np.arange(sides), -int(_nearest(points[last[0]], rings[0])))
        more, there = np.roll(last, -1), np.roll(start, -1)
        faces = np.concatenate(
            [faces, np.stack([last, start, more], 1), np.stack([more, start, there], 1)]
        )
    else:
        ends = len(points) + np.array([0, 1])
        points = np.concatenate([points, path[[0, -1]]])
        low, high = np.arange(sides), np.arange(sides) + (len(path) - 1) * sides
        faces = np.concatenate(
            [
                faces,
                np.stack([low, np.roll(low, -1), np.full(sides, ends[0])], 1),
                np.stack([np.roll(high, -1), high, np.full(sides, ends[1])], 1),
            ]
        )
    return points, faces


def _nearest(place: np.ndarray, places: np.ndarray) -> int:
    return int(np.linalg.norm(places - place, axis=1).argmin())


def _rod(start: Numbers, end: Numbers, radius: float, sides: int = 8) -> Mesh:
    return _tube(np.linspace(start, end, 2), radius, sides)


def _ring(radius: float, thick: float, around: int = 32, sides: int = 8) -> Mesh:
    """A torus about the x axis."""
    angle = np.linspace(0, 2 * np.pi, around, endpoint=False)
    path = np.stack([0 * angle, radius * np.cos(angle), radius * np.sin(angle)], 1)
    return _tube(path, thick, sides, closed=True)


def _lump(
    solids: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]],
    blend: float,
    rough: appearance.Noise | None = None,
    depth: float = 0.0,
    cells: int = 36,
) -> Mesh:
    """The smooth union of ellipsoids (middle, half axes, turn), by naive surface nets."""
    reach = np.array([h.max() + blend for _, h, _ in solids])[:, None]
    middles = np.array([m for m, _, _ in solids])
    low, high = (middles - reach).min(0), (middles + reach).max(0)
    step = float((high - low).max()) / cells
    shape = np.ceil((high - low) / step).astype(int) + 3
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    places = low + (index - 1) * step
    total = np.zeros(tuple(shape))
    for middle, half, turn in solids:
        local = (places - middle) @ turn
        scaled = np.linalg.norm(local / half, axis=-1)
        slope = np.maximum(np.linalg.norm(local / half**2, axis=-1), 1e-6)
        total += np.exp(-np.clip(scaled * (scaled - 1) / slope / blend, -30, 30))
    field = -blend * np.log(np.maximum(total, 1e-13))
    if rough is not None:
        flat = places.reshape(-1, 3).astype(np.float32)
        field = field + depth * rough(flat).reshape(field.shape)
    for axis in range(3):  # closed at the border
        edge = np.moveaxis(field, axis, 0)
        edge[0] = edge[-1] = np.maximum(edge[0], step)
    inside = field < 0
    sums, counts = np.zeros((field.size, 3)), np.zeros(field.size)
    flat_index = np.arange(field.size).reshape(field.shape)
    quads = []
    for axis in range(3):
        one = [slice(None)] * 3
        two = [slice(None)] * 3
        one[axis], two[axis] = slice(None, -1), slice(1, None)
        a, b = field[tuple(one)], field[tuple(two)]
        where = np.argwhere(inside[tuple(one)] != inside[tuple(two)])
        start, end = a[tuple(where.T)], b[tuple(where.T)]
        crossing = where.astype(float)
        crossing[:, axis] += start / (start - end)
        u, v = (axis + 1) % 3, (axis + 2) % 3
        around = []
        for du, dv in ((0, 0), (-1, 0), (-1, -1), (0, -1)):
            cell = where.copy()
            cell[:, u] += du
            cell[:, v] += dv
            number = flat_index[tuple(cell.T)]
            for k in range(3):
                sums[:, k] += np.bincount(number, crossing[:, k], field.size)
            counts += np.bincount(number, minlength=field.size)
            around.append(number)
        quad = np.stack(around, 1)
        quad[start > 0] = quad[start > 0][:, ::-1]
        quads.append(quad)
    used = np.flatnonzero(counts)
    number = np.zeros(field.size, int)
    number[used] = np.arange(len(used))
    four = number[np.concatenate(quads)]
    points = low + (sums[used] / counts[used, None] - 1) * step
    return points, np.concatenate([four[:, [0, 1, 2]], four[:, [0, 2, 3]]])


def _ellipsoid(
    middle: Numbers, half: Numbers, turn: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.array(middle, float), np.array(half, float), np.eye(3) if turn is None else turn


# Kinds. Each is about 1 to 2 high or long and stands anywhere.


def _vessel(parts: _Parts, rng: np.random.Generator) -> None:
    """Bottles, vases, glasses, bowls, jugs, lamps, and what no potter would make."""
    kind = rng.random()
    around = 40
    if kind < 0.3:  # bottle
        wide, neck = rng.uniform(0.1, 0.26), rng.uniform(0.025, 0.06)
        shoulder = rng.uniform(0.4, 0.7)
        throat = shoulder + rng.uniform(0.05, 0.25)
        rim = rng.uniform(1.0, 1.25)
        body = [(wide, y) for y in np.linspace(0.03, shoulder, 6)]
        curve = _curve([*body, ((wide + neck) / 2, (shoulder + throat) / 2), (neck, throat),
                        (neck, (throat + rim) / 2), (neck, rim)], 30)  # fmt: skip
        parts.add(_lathe([(0, 0), (wide * 0.9, 0), *curve, (0, rim)], around), "vessel")
        parts.add(_cylinder((0, rim - 0.06, 0), (0, rim + 0.01, 0), neck * 1.25), "cap")
        if rng.random() < 0.7:
            low = rng.uniform(0.06, 0.2)
            high = min(low + rng.uniform(0.1, 0.4), shoulder - 0.04)
            parts.add(_lathe([(wide * 1.015, low), (wide * 1.015, max(high, low + 0.05))], around),
                      "label")  # fmt: skip
    elif kind < 0.42:  # glass with a stem
        foot, stem, cup = rng.uniform(0.18, 0.32), rng.uniform(0.015, 0.04), rng.uniform(0.2, 0.4)
        start, rim = rng.uniform(0.3, 0.6), rng.uniform(0.9, 1.2)
        outer = _curve([(foot, 0.0), (foot * 0.9, 0.02), (stem * 1.5, 0.06), (stem, start * 0.6),
                        (stem * 1.3, start), (cup, (start + rim) / 2),
                        (cup * rng.uniform(0.6, 1.2), rim)], 34)  # fmt: skip
        inner = _curve([(outer[-1, 0] - 0.012, rim), (cup - 0.015, (start + rim) / 2),
                        (0.01, start + 0.04)], 12)  # fmt: skip
        parts.add(_lathe([(0, 0), *outer, *inner], around), "vessel")
        if rng.random() < 0.5:
            parts.add(_lathe([(0, (start + rim) / 2), (cup * 0.97, (start + rim) / 2)], around),
                      "drink")  # fmt: skip
    elif kind < 0.62:  # mugs, jugs, bowls, pans
        high, wide = rng.uniform(0.25, 1.2), rng.uniform(0.3, 0.6)
        steps = np.linspace(0, 1, int(rng.integers(3, 6)))
        radii = wide * np.exp(rng.normal(0, 0.2, len(steps)))
        outer = _curve(np.stack([radii, steps * high], 1), 24)
        inner = outer[::-1] * [0.93, 1]
        inner[:, 1] = np.maximum(inner[:, 1], 0.06 * high)
        parts.add(_lathe([(0, 0), *outer, *inner, (0, 0.06 * high)], around), "vessel")
        if rng.random() < 0.6:
            r = float(np.interp(0.5, steps, radii))
            loop = _curve([(0, 0.8 * high, r * 0.9), (0, 0.85 * high, r + wide * 0.5),
                           (0, 0.4 * high, r + wide * 0.45), (0, 0.25 * high, r * 0.9)],
                          16)  # fmt: skip
            parts.add(_tube(loop, rng.uniform(0.03, 0.07)), "handle")
        if rng.random() < 0.3:
            spout = _curve([(0, 0.35 * high, -wide * 0.8), (0, 0.7 * high, -wide * 1.5),
                            (0, 1.05 * high, -wide * 1.8)], 10)  # fmt: skip
            parts.add(_tube(spout, np.linspace(0.12, 0.05, 10) * high + 0.02), "vessel")
            parts.add(_rounded((wide * 0.9, 0.12, wide * 0.9)), "lid", (0, high, 0))
            parts.add(_rounded((0.07, 0.07, 0.07), rings=8), "cap", (0, high + 0.15, 0))
    elif kind < 0.75:  # lamp
        high = rng.uniform(0.5, 1.8)
        foot = rng.uniform(0.15, 0.4)
        parts.add(_lathe([(0, 0), (foot, 0), (foot, 0.04), (0, 0.06)], around), "foot")
        swell = rng.uniform(0.02, 0.25)
        pole = _curve([(foot * 0.6, 0.05), (swell, high * 0.3), (0.03, high * 0.7),
                       (0.025, high + 0.2)], 20)  # fmt: skip
        parts.add(_lathe(pole, around), "pole")
        low, top = rng.uniform(0.25, 0.5), rng.uniform(0.1, 0.35)
        tall = rng.uniform(0.25, 0.5)
        parts.add(_lathe([(low, high), (top, high + tall)], around), "shade")
    else:  # anything turned
        number = int(rng.integers(4, 9))
        heights = np.cumsum(rng.uniform(0.3, 1, number))
        heights = (heights - heights[0]) / (heights[-1] - heights[0]) * rng.uniform(0.7, 1.6)
        radii = rng.uniform(0.08, 0.5, number)
        line = _curve(np.stack([radii, heights], 1), 40)
        line[:, 0] = np.maximum(line[:, 0], 0.03)
        cut = int(rng.integers(12, 28))
        parts.add(_lathe([(0, 0), *line[: cut + 1]], around), "vessel")
        parts.add(_lathe([*line[cut:], (0, line[-1, 1])], around), "upper")


def _wheel(
    parts: _Parts, rng: np.random.Generator, at: Numbers, radius: float, wide: float,
    spokes: int,
) -> None:  # fmt: skip
    """About the x axis; spokes of 0 make a disc."""
    thick = min(wide / 2, radius * 0.3)
    parts.add(_ring(radius - thick, thick, 28), "black tyre", at)
    hub = np.asarray(at, float)
    side = np.array([wide * 0.42, 0, 0])
    if not spokes:
        parts.add(_cylinder(hub - side, hub + side, radius - thick, 28), "chrome rim")
        return
    parts.add(_ring(radius - 1.9 * thick, thick * 0.5, 28, 6), "chrome rim", at)
    parts.add(_cylinder(hub - side, hub + side, radius * 0.12, 12), "chrome rim")
    for angle in np.linspace(0, 2 * np.pi, spokes, endpoint=False) + rng.uniform(0, 1):
        end = hub + (radius - 1.6 * thick) * np.array([0, np.cos(angle), np.sin(angle)])
        parts.add(_rod(hub, end, max(0.004, thick * rng.uniform(0.1, 0.14)), 4), "chrome rim")


def _car(parts: _Parts, rng: np.random.Generator) -> None:
    """Cars, vans, trucks, carts, three-wheelers."""
    wide = rng.uniform(0.36, 0.5)
    wheel = rng.uniform(0.14, 0.26)
    low, tall = wheel * rng.uniform(0.6, 1.1), rng.uniform(0.12, 0.24)
    sharp = rng.uniform(0.12, 0.5)
    middle = low + tall
    parts.add(_rounded((wide, tall, 1.0), sharp, rng.uniform(0.15, 0.4)), "body", (0, middle, 0))
    top = middle + tall
    kind = rng.random()
    cabin = rng.uniform(0.14, 0.3) if kind < 0.7 else rng.uniform(0.25, 0.5)
    half = rng.uniform(0.4, 0.65) if kind < 0.5 else rng.uniform(0.25, 0.95)
    back = rng.uniform(-1, 1) * (0.95 - half)
    taper = rng.uniform(0.7, 1, 2)
    if rng.random() < 0.5:
        parts.add(_box((wide * 0.9, cabin, half), taper), "body", (0, top + cabin * 0.85, back))
        pane = rng.uniform(0.5, 0.8)
        parts.add(_box((wide * 0.915, cabin * pane, half * 0.86), taper), "window",
                  (0, top + cabin * 0.9, back))  # fmt: skip
        parts.add(_box((wide * 0.8, cabin * pane, half * 1.012), taper), "window",
                  (0, top + cabin * 0.9, back))  # fmt: skip
        for z in rng.uniform(-0.6, 0.6, int(rng.integers(1, 4))):
            parts.add(_box((wide * 0.93, cabin * 0.98, 0.03), taper), "body",
                      (0, top + cabin * 0.85, back + z * half))  # fmt: skip
    else:
        parts.add(_rounded((wide * 0.88, cabin * 1.5, half), 0.7, 0.4), "window",
                  (0, top - cabin * 0.1, back))  # fmt: skip
        parts.add(_rounded((wide * 0.8, cabin * 0.35, half * 0.7), 0.6, 0.4), "body",
                  (0, top + cabin * 1.2, back))  # fmt: skip
        for z in (-0.25, 0.15):
            parts.add(_box((wide * 0.885, cabin * 0.6, 0.04)), "body",
                      (0, top + cabin * 0.5, back + z * half))  # fmt: skip
    if rng.random() < 0.25:  # a load
        parts.add(_box((wide, rng.uniform(0.2, 0.5), (0.9 - half) / 1.6 + 0.1)), "load",
                  (0, top + 0.3, -np.sign(back) * half))  # fmt: skip
    for x in (-wide * 0.7, wide * 0.7):
        for z, name in ((0.98, "white lamp"), (-0.98, "lamp")):
            parts.add(_rounded((0.08, 0.05, 0.04), rings=8), name, (x, middle + 0.02, z))
    for z in (-1.0, 1.0):
        parts.add(_box((wide * 0.95, 0.04, 0.05)), "bumper", (0, low + 0.06, z))
    axles = [(wide * 0.95, rng.uniform(0.5, 0.75)), (wide * 0.95, -rng.uniform(0.5, 0.75))]
    three = rng.random() < 0.12
    for k, (x, z) in enumerate(axles):
        for side in (0,) if three and k == 0 else (-1, 1):
            _wheel(parts, rng, (side * x, wheel, z), wheel, wheel * rng.uniform(0.5, 0.8),
                   int(rng.choice([0, 0, 5, 8])))  # fmt: skip


def _motorbike(parts: _Parts, rng: np.random.Generator) -> None:
    """Two wheels and what is between."""
    r, thick = rng.uniform(0.26, 0.38), rng.uniform(0.1, 0.2)
    z = rng.uniform(0.58, 0.75)
    spokes = int(rng.choice([0, 6, 10, 24]))
    for end in (-z, z):
        _wheel(parts, rng, (0, r, end), r, thick, spokes)
    head = np.array([0, rng.uniform(0.75, 0.95), z - rng.uniform(0.2, 0.35)])
    for x in (-thick * 0.7, thick * 0.7):
        parts.add(_rod((x, r, z), (x, *head[1:]), 0.025), "chrome fork")
        parts.add(_rod((x, r, -z), (x, r + 0.25, -0.15), 0.03), "frame")
        parts.add(_rod((x, r + 0.05, -z), (x, 0.72, -0.55), 0.03), "chrome fork")
    bar = rng.uniform(0.25, 0.42)
    parts.add(
        _tube(
            _curve(
                [
                    (-bar, head[1] + 0.12, head[2] - 0.2),
                    (-0.1, head[1] + 0.06, head[2]),
                    (0.1, head[1] + 0.06, head[2]),
                    (bar, head[1] + 0.12, head[2] - 0.2),
                ],
                14,
            ),
            0.02,
        ),
        "chrome bar",
    )
    parts.add(_rounded((0.08, 0.08, 0.07), rings=10), "lamp", head + _place(0, -0.03, 0.1))
    parts.add(_rounded((0.14, 0.12, 0.3), 0.8, 0.7), "body", (0, 0.75, 0.12))
    parts.add(_rounded((0.13, 0.06, rng.uniform(0.25, 0.45)), 0.5, 0.5), "black seat",
              (0, rng.uniform(0.68, 0.78), -0.4))  # fmt: skip
    parts.add(_rounded((0.16, 0.16, 0.22), 0.3, 0.3), "engine", (0, 0.36, 0.0))
    for k in range(int(rng.integers(1, 4))):
        tilt = rng.uniform(-0.2, 0.2)
        parts.add(_cylinder((0, 0.4, 0), (0, 0.62, 0.15 * k - 0.1 + tilt), 0.09), "engine")
    parts.add(_rod((0, 0.3, -0.3), (0, head[1], head[2]), 0.035), "frame")
    side = rng.choice([-1, 1]) * 0.17
    parts.add(
        _tube(
            _curve(
                [(side, 0.5, 0.2), (side, 0.25, 0.15), (side, 0.2, -0.3), (side, 0.28, -z - 0.2)],
                16,
            ),
            rng.uniform(0.03, 0.06),
        ),
        "chrome pipe",
    )
    if rng.random() < 0.6:  # mudguards
        for end in (-z, z):
            angle = np.linspace(0.1, 2.4, 10)
            arc = np.stack([0 * angle, r + (r + 0.05) * np.sin(angle),
                            end - (r + 0.05) * np.cos(angle)], 1)  # fmt: skip
            parts.add(_tube(arc, thick * 0.6, 6), "body")
    if rng.random() < 0.4:  # a fairing
        parts.add(_rounded((0.2, 0.22, 0.22), 0.8, 0.8), "body", head + _place(0, -0.05, 0.05))


def _bicycle(parts: _Parts, rng: np.random.Generator) -> None:
    """Rings, spokes and a frame of tubes."""
    r, z, thick = rng.uniform(0.3, 0.42), rng.uniform(0.48, 0.62), rng.uniform(0.025, 0.07)
    for end in (-z, z):
        _wheel(parts, rng, (0, r, end), r, thick, int(rng.integers(8, 25)))
    pipe = rng.uniform(0.014, 0.035)
    crank, seat = np.array([0, r * 0.95, -0.1]), np.array([0, rng.uniform(0.75, 0.95), -0.25])
    head = np.array([0, rng.uniform(0.75, 0.95), z - 0.2])
    low = head - [0, 0.12, -0.04]
    lines = [(crank, seat), (seat - [0, 0.08, 0], head), (crank, low), (head, (0, r, z)),
             (crank, (0, r, -z)), (seat - [0, 0.1, 0], (0, r, -z)),
             (head, head + _place(0, 0.13, -0.03))]  # fmt: skip
    bent = rng.random() < 0.3
    for a, b in lines:
        a, b = np.asarray(a, float), np.asarray(b, float)
        sag = np.array([0, rng.uniform(-0.12, 0.06), 0]) if bent else np.zeros(3)
        parts.add(_tube(_curve([a, (a + b) / 2 + sag, b], 8), pipe), "frame")
    top, bar = head + _place(0, 0.14, -0.03), rng.uniform(0.2, 0.32)
    back, up = rng.uniform(-0.15, 0.2), rng.uniform(-0.15, 0.1)
    parts.add(
        _tube(
            _curve(
                [
                    top + _place(-bar, up, back),
                    top + _place(-bar * 0.8, up / 2, 0.06),
                    top,
                    top + _place(bar * 0.8, up / 2, 0.06),
                    top + _place(bar, up, back),
                ],
                20,
            ),
            pipe * 0.8,
        ),
        "chrome bar",
    )
    parts.add(
        _rounded((0.07, 0.035, 0.13), 0.6, 0.9, 10), "black saddle", seat + _place(0, 0.03, 0)
    )
    parts.add(_cylinder(crank - [0.03, 0, 0], crank + _place(0.03, 0, 0), 0.09), "chrome crank")
    for side in (-1, 1):
        end = crank + _place(side * 0.06, side * 0.16, 0)
        parts.add(_rod(crank + _place(side * 0.06, 0, 0), end, 0.012), "chrome crank")
        parts.add(_box((0.05, 0.012, 0.04)), "black pedal", end + _place(side * 0.05, 0, 0))
    if rng.random() < 0.3:
        parts.add(_box((0.18, 0.12, 0.14), (1.2, 1.2)), "basket", head + _place(0, 0, 0.25))


def _furniture(parts: _Parts, rng: np.random.Generator) -> None:
    """Tables, stools, chairs, sofas, shelves, beds, screens."""
    kind = rng.random()
    x, z = rng.uniform(0.35, 0.9), rng.uniform(0.3, 0.6)
    thin = rng.uniform(0.02, 0.06)
    if kind < 0.45:  # table, stool, chair
        high = rng.uniform(0.4, 0.9)
        turned = rng.random() < 0.3
        if turned:
            x = z = rng.uniform(0.3, 0.7)
            parts.add(_cylinder((0, high - thin, 0), (0, high + thin, 0), x, 36), "top")
        else:
            parts.add(_box((x, thin, z)), "top", (0, high, 0))
        legs, wide, splay = rng.random(), rng.uniform(0.02, 0.05), rng.uniform(0.8, 1.15)
        inset = 0.65 if turned else 0.9
        if legs < 0.2:
            parts.add(_cylinder((0, 0, 0), (0, high, 0), wide * 2), "leg")
            parts.add(_cylinder((0, 0, 0), (0, 0.05, 0), x * 0.6), "leg")
        else:
            for a in (-1, 1):
                for b in (-1, 1):
                    head = (a * x * inset, high, b * z * inset)
                    foot = (a * x * inset * splay, 0, b * z * inset * splay)
                    if legs < 0.6:
                        parts.add(_cylinder(foot, head, wide * 0.7, 12, wide), "leg")
                    else:
                        parts.add(_box((wide, high / 2, wide)), "leg",
                                  (head[0], high / 2, head[2]))  # fmt: skip
        if rng.random() < 0.5:  # a back
            tall = rng.uniform(0.3, 0.8)
            if rng.random() < 0.5:
                parts.add(_box((x, tall / 2, thin)), "back", (0, high + tall / 2, -z * 0.95))
            else:
                for at in np.linspace(-x * 0.9, x * 0.9, int(rng.integers(2, 7))):
                    parts.add(_rod((at, high, -z * 0.95), (at, high + tall, -z * 1.1), wide * 0.6),
                              "leg")  # fmt: skip
                parts.add(_box((x, 0.07, thin)), "back", (0, high + tall, -z * 1.1))
        elif rng.random() < 0.5:  # set
            for _ in range(int(rng.integers(1, 6))):
                half = rng.uniform(0.04, 0.2, 3)
                at = (rng.uniform(-0.7, 0.7) * x, high + thin + half[1],
                      rng.uniform(-0.7, 0.7) * z)  # fmt: skip
                name = f"ware {rng.integers(3)}"
                parts.add(_box(half) if rng.random() < 0.5 else _rounded(half, rings=10), name, at)
    elif kind < 0.65:  # sofa, bed
        round_ = rng.uniform(0.1, 0.5)
        parts.add(_rounded((x, 0.16, z), round_, round_), "cushion", (0, 0.25, 0))
        back = rng.uniform(0.2, 0.45)
        parts.add(_rounded((x, back, 0.12), round_, round_), "body", (0, 0.2 + back, -z))
        if rng.random() < 0.7:
            for side in (-1, 1):
                parts.add(_rounded((0.12, 0.25, z), round_, round_), "body", (side * x, 0.32, 0))
        for at in np.linspace(-0.6, 0.6, int(rng.integers(0, 4))) * x:
            parts.add(_rounded((0.17, 0.17, 0.08), 0.7, 0.6, 10), "pillow", (at, 0.5, -z * 0.7))
        for a in (-1, 1):
            for b in (-1, 1):
                parts.add(_cylinder((a * x * 0.85, 0, b * z * 0.85), (a * x * 0.85, 0.15,
                                    b * z * 0.85), 0.03, 10), "leg")  # fmt: skip
    elif kind < 0.85:  # shelf, cupboard
        high, boards = rng.uniform(0.8, 1.8), int(rng.integers(2, 6))
        z = rng.uniform(0.12, 0.35)
        for side in (-1, 1):
            parts.add(_box((thin, high / 2, z)), "board", (side * x, high / 2, 0))
        for y in np.linspace(thin, high - thin, boards):
            parts.add(_box((x, thin * 0.8, z)), "board", (0, y, 0))
            at = -x
            while y < high - 0.2 and at < x * 0.8:
                half = _place(rng.uniform(0.02, 0.12), rng.uniform(0.05, 0.4 / boards), z * 0.8)
                at += half[0] + rng.choice([0.005, 0.15])
                if at + half[0] < x:
                    ware = f"ware {rng.integers(3)}"
                    parts.add(_box(half), ware, (at, y + thin + half[1], 0))
                at += half[0]
        if rng.random() < 0.5:
            parts.add(_box((x, high / 2, thin / 2)), "back", (0, high / 2, -z))
    else:  # a screen, a case
        high = rng.uniform(0.3, 0.6)
        deep = rng.uniform(0.03, 0.4)
        parts.add(_rounded((x, high, deep), 0.15, 0.15), "case", (0, high + 0.2, 0))
        parts.add(_box((x * 0.9, high * 0.85, 0.01)), "window", (0, high + 0.2, deep))
        parts.add(_box((x * 0.4, 0.02, 0.2)), "case", (0, 0.02, 0))
        parts.add(_box((0.06, 0.15, 0.04)), "case", (0, 0.15, 0))


def _machine(parts: _Parts, rng: np.random.Generator) -> None:
    """Boxes, drums and pipes."""
    places: list[np.ndarray] = []
    for k in range(int(rng.integers(3, 9))):
        half = np.exp(rng.uniform(-2.4, -0.7, 3))
        if places and rng.random() < 0.75:
            at = places[int(rng.integers(len(places)))] + rng.normal(0, 0.35, 3)
        else:
            at = np.array([rng.normal(0, 0.3), 0, rng.normal(0, 0.3)])
        at[1] = max(float(at[1]), half[1])
        places.append(at)
        name, shape = f"part {k % 4}", rng.random()
        if shape < 0.4:
            parts.add(_box(half, rng.uniform(0.6, 1, 2) if rng.random() < 0.3 else (1, 1)),
                      name, at)  # fmt: skip
        elif shape < 0.75:
            axis = np.eye(3)[int(rng.integers(3))] * half
            parts.add(_cylinder(at - axis, at + axis, float(half.mean()), 24), name)
        else:
            parts.add(_rounded(half, *rng.uniform(0.15, 1, 2)), name, at)
    for _ in range(int(rng.integers(1, 6))):
        a, b = (places[int(i)] for i in rng.integers(len(places), size=2))
        bow = [a, a + rng.normal(0, 0.3, 3), b + rng.normal(0, 0.3, 3), b]
        path = _curve(bow, 20)
        path[:, 1] = np.maximum(path[:, 1], 0.05)
        parts.add(_tube(path, rng.uniform(0.02, 0.07)), "chrome pipe")
    if rng.random() < 0.4:
        _wheel(parts, rng, places[0] + _place(0.3, 0, 0), rng.uniform(0.15, 0.35), 0.08, 6)


def _blob(parts: _Parts, rng: np.random.Generator) -> None:
    """Ducks without legs, stones, fruit, balls, plush-like lumps."""
    kind = rng.random()
    if kind < 0.25:  # duck
        long, wide, high = rng.uniform(0.5, 0.8), rng.uniform(0.28, 0.42), rng.uniform(0.24, 0.4)
        neck, head = rng.uniform(0.05, 0.5), rng.uniform(0.13, 0.26)
        front = long * rng.uniform(0.5, 0.9)
        top = high + neck + head
        solids = [
            _ellipsoid((0, high, 0), (wide, high, long)),
            _ellipsoid((0, (high + top) / 2, front * 0.9), (head * 0.6, neck / 2 + 0.12,
                                                            head * 0.7)),
            _ellipsoid((0, top, front), (head * 0.9, head, head * 1.1)),
            _ellipsoid((0, high * 1.5, -long * 0.9), (wide * 0.4, 0.08, 0.25),
                       about([1, 0, 0], rng.uniform(10, 40))),
        ]  # fmt: skip
        parts.add(_lump(solids, rng.uniform(0.02, 0.06)), "body")
        beak = rng.uniform(0.08, 0.2)
        parts.add(_rounded((head * 0.5, head * 0.22, beak), 0.8, 0.8, 10), "beak",
                  (0, top - head * 0.2, front + head + beak * 0.4))  # fmt: skip
        if rng.random() < 0.7:
            for side in (-1, 1):
                parts.add(_rounded(np.full(3, head * 0.14), rings=8), "eye",
                          (side * head * 0.72, top + head * 0.25, front + head * 0.5))  # fmt: skip
        if rng.random() < 0.6:
            for side in (-1, 1):
                parts.add(_rounded((0.06, high * 0.6, long * 0.65), 1, 1, 10), "wing",
                          (side * wide * 0.92, high * 1.15, -0.1))  # fmt: skip
    elif kind < 0.45:  # stone
        solids = [
            _ellipsoid(rng.normal(0, 0.25, 3).tolist(), rng.uniform(0.25, 0.6, 3).tolist(),
                       about([0, 1, 0], rng.uniform(0, 360)))
            for _ in range(int(rng.integers(1, 4)))
        ]  # fmt: skip
        rough = appearance.Noise(rng, rng.uniform(0.7, 2))
        parts.add(_lump(solids, 0.05, rough, rng.uniform(0.01, 0.06)), "stone")
    elif kind < 0.7:  # fruit, balls, pumpkins
        number = int(rng.choice([1, 1, 1, 3, 12]))
        size = 0.6 / number ** (1 / 3)
        ribs = int(rng.choice([0, 0, 8, 12]))
        for k in range(number):
            half = size * np.exp(rng.normal(0, 0.08, 3)) * [1, rng.uniform(0.7, 1.2), 1]
            points, faces = _rounded(half, 1, 1, 24 if number == 1 else 12)
            if ribs:
                angle = np.arctan2(points[:, 2], points[:, 0])
                points = points * (1 - 0.08 * np.abs(np.cos(angle * ribs / 2)))[:, None]
            if rng.random() < 0.5:  # a dent at the top
                near = np.hypot(points[:, 0], points[:, 2]) / half[0]
                points[:, 1] -= (
                    np.sign(points[:, 1]) * 0.25 * half[1] * np.exp(-((near / 0.3) ** 2))
                )
            level = k // 4
            at = rng.normal(0, size * 0.15, 3) + (
                _place(
                    size * 1.8 * ((k % 4) % 2),
                    size * (1 + 1.5 * level),
                    size * 1.8 * ((k % 4) // 2),
                )
            )
            parts.add((points, faces), f"fruit {k % 2}", at)
            if number < 4 and rng.random() < 0.5:
                stalk = _curve(
                    [
                        at + _place(0, half[1] * 0.7, 0),
                        at + _place(0.02, half[1] * 1.1, 0),
                        at + _place(0.1, half[1] * 1.3, 0.03),
                    ],
                    6,
                )
                parts.add(_tube(stalk, size * 0.06, 6), "stalk")
    else:  # lumps of anything
        number = int(rng.integers(2, 7))
        solids = []
        at = np.zeros(3)
        for _ in range(number):
            turn = about([0, 1, 0], rng.uniform(0, 360)) @ about([1, 0, 0], rng.uniform(0, 360))
            half = rng.uniform(0.12, 0.45, 3)
            solids.append(_ellipsoid(at.tolist(), half.tolist(), turn))
            away = rng.normal(size=3)
            at = at + away / np.linalg.norm(away) * rng.uniform(0.25, 0.55)
        parts.add(_lump(solids, rng.uniform(0.02, 0.08)), "body")
        for k in range(int(rng.integers(0, 4))):
            middle, half, _ = solids[k % number]
            parts.add(_rounded(half * 0.5, rings=10), f"patch {k % 2}",
                      middle + half * rng.choice([-1, 1], 3) * 0.5)  # fmt: skip


def _tubes(parts: _Parts, rng: np.random.Generator) -> None:
    """Wires, hoses, coils, racks, rings."""
    if rng.random() < 0.4:  # a coil
        turns, r = rng.uniform(2, 6), rng.uniform(0.3, 0.6)
        angle = np.linspace(0, 2 * np.pi * turns, int(26 * turns))
        grow = np.linspace(1, rng.uniform(0.4, 1.3), len(angle))
        thick = rng.uniform(0.03, 0.1)
        up = np.linspace(thick, thick + rng.uniform(0.1, 1.4), len(angle))
        path = np.stack([r * grow * np.cos(angle), up, r * grow * np.sin(angle)], 1)
        parts.add(_tube(path, thick), "tube")
    for k in range(int(rng.integers(1, 5))):
        points = rng.normal(0, 0.5, (int(rng.integers(3, 8)), 3))
        points[:, 1] = np.abs(points[:, 1]) + 0.05
        parts.add(_tube(_curve(points, 60), rng.uniform(0.02, 0.1)), f"tube {k % 3}")
    for _ in range(int(rng.integers(0, 4))):
        points, faces = _ring(rng.uniform(0.2, 0.6), rng.uniform(0.02, 0.09))
        turn = about([0, 1, 0], rng.uniform(0, 360)) @ about([0, 0, 1], rng.uniform(0, 180))
        parts.add((points @ turn.T, faces), "ring", rng.normal(0, 0.4, 3) + _place(0, 0.6, 0))


def _plant(parts: _Parts, rng: np.random.Generator) -> None:
    """Leaves on stems, in pots or not; flowers, cacti, mushrooms, trees."""
    kind = rng.random()
    base = 0.0
    if kind < 0.6 and rng.random() < 0.6:
        base, r = rng.uniform(0.2, 0.5), rng.uniform(0.15, 0.35)
        line = _curve([(r * rng.uniform(0.6, 1), 0), (r, base * 0.6), (r * 1.1, base)], 12)
        parts.add(_lathe([(0, 0), *line, (r, base * 0.95), (0, base * 0.9)], 28), "pot")
    if kind < 0.6:
        leaf_long, leaf_wide = rng.uniform(0.12, 0.5), rng.uniform(0.15, 0.6)
        points, faces = [], []
        stems, count = int(rng.integers(3, 12)), 0
        each = max(2, int(rng.integers(20, 140)) // stems)
        droop = rng.uniform(0, 0.5)
        for _ in range(stems):
            angle, out, high = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.6), rng.uniform(0.4, 1.2)
            end = np.array([out * np.cos(angle), base + high, out * np.sin(angle)])
            path = _curve(
                [
                    (0, base * 0.9, 0),
                    end * [0.3, 0, 0.3] + _place(0, base + high * 0.6, 0),
                    end - [0, droop * out, 0],
                ],
                10,
            )
            parts.add(_tube(path, rng.uniform(0.008, 0.02), 5), "stem")
            for t in rng.uniform(2, 9, each):
                foot = path[int(t)] + (t % 1) * (path[min(int(t) + 1, 9)] - path[int(t)])
                turn = about([0, 1, 0], rng.uniform(0, 360)) @ about(
                    [1, 0, 0], rng.uniform(-50, 70)
                )
                long = leaf_long * rng.uniform(0.5, 1.2)
                wide = long * leaf_wide / 2
                shape = np.array(
                    [
                        [0, 0, 0],
                        [-wide, 0.03, long * 0.45],
                        [0, -0.02, long * 0.5],
                        [wide, 0.03, long * 0.45],
                        [0, -0.06 - droop * 0.1, long],
                    ]
                )
                points.append(shape @ turn.T + foot)
                faces.append(np.array([[0, 1, 2], [0, 2, 3], [1, 4, 2], [2, 4, 3]]) + 5 * count)
                count += 1
            if rng.random() < 0.3:
                parts.add(
                    _rounded(np.full(3, rng.uniform(0.04, 0.14)), rings=8), "flower", path[-1]
                )
        parts.add((np.concatenate(points), np.concatenate(faces)), "leaf")
    elif kind < 0.75:  # cactus
        high, r = rng.uniform(0.6, 1.2), rng.uniform(0.12, 0.25)
        parts.add(_rounded((r, high / 2, r), 0.6, 1, 20), "leaf", (0, high / 2, 0))
        for _ in range(int(rng.integers(0, 4))):
            angle, y = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 0.7) * high
            outward = np.array([np.cos(angle), 0, np.sin(angle)])
            path = _curve(
                [
                    [0, y, 0],
                    outward * r * 2 + _place(0, y, 0),
                    outward * r * 2.3 + _place(0, y + 0.3, 0),
                ],
                12,
            )
            parts.add(_tube(path, r * 0.5, 10), "leaf")
    elif kind < 0.88:  # mushroom
        for _ in range(int(rng.integers(1, 4))):
            foot = np.array([rng.normal(0, 0.4), 0, rng.normal(0, 0.4)])
            high, r = rng.uniform(0.4, 1), rng.uniform(0.06, 0.16)
            line = _curve([(r * 1.3, 0), (r, high / 2), (r, high)], 10)
            parts.add(_lathe(line, 24), "stem", foot)
            wide, cap = r * rng.uniform(2, 4), rng.uniform(0.15, 0.4)
            hat = _curve([(wide, high - 0.05), (wide * 0.8, high + cap * 0.6), (0, high + cap)], 12)
            parts.add(_lathe([(0, high), *hat], 28), "cap", foot)
    else:  # tree
        high = rng.uniform(0.5, 1.2)
        parts.add(_cylinder((0, 0, 0), (0, high, 0), 0.1, 14, 0.06), "trunk")
        solids = [
            _ellipsoid((rng.normal(0, 0.25), high + rng.uniform(0, 0.5), rng.normal(0, 0.25)),
                       rng.uniform(0.2, 0.45, 3).tolist())
            for _ in range(int(rng.integers(2, 6)))
        ]  # fmt: skip
        parts.add(_lump(solids, 0.03, appearance.Noise(rng, 3.0), 0.06), "leaf")


def _craft(parts: _Parts, rng: np.random.Generator) -> None:
    """Aeroplanes and boats."""
    r = rng.uniform(0.08, 0.18)
    if rng.random() < 0.55:
        line = np.array([(0.02, -1), (0.4, -0.8), (1, -0.3), (1, 0.6), (0.7, 0.85), (0.05, 1)])
        line[:, 0] *= r
        points, faces = _lathe(_curve(line, 30), 24)
        up = rng.uniform(0.2, 0.45)
        parts.add((points[:, [0, 2, 1]], faces), "body", (0, up, 0))
        span, deep = rng.uniform(0.6, 1.2), rng.uniform(0.12, 0.25)
        at = up + rng.uniform(-0.7, 0.9) * r
        back = rng.uniform(-0.4, 0.4)
        for side in (-1, 1):
            points, faces = _rounded((span / 2, 0.03, deep), 0.6, 0.5, 12)
            points[:, 2] -= np.abs(points[:, 0] + side * span / 2) * back
            parts.add((points, faces), "wing", (side * span / 2, at, 0.15))
            parts.add(_rounded((0.18, 0.02, 0.09), 0.6, 0.5, 10), "wing", (side * 0.18, up, -0.85))
            parts.add(_cylinder((side * span * 0.4, at - 0.08, 0), (side * span * 0.4, at - 0.08,
                                0.3), 0.06), "engine")  # fmt: skip
        parts.add(_rounded((0.02, 0.2, 0.12), 0.6, 0.6, 10), "wing", (0, up + r + 0.1, -0.85))
        parts.add(_rounded((r * 0.9, r * 0.5, 0.15), rings=10), "window", (0, up + r * 0.7, 0.55))
        for x, z in ((0, 0.6), (-0.15, -0.05), (0.15, -0.05)):
            parts.add(_rod((x, 0.05, z), (x, up, z), 0.015, 6), "chrome gear")
            parts.add(_ring(0.04, 0.025, 14, 6), "black tyre", (x, 0.06, z))
        return
    wide, high = rng.uniform(0.2, 0.4), rng.uniform(0.12, 0.3)
    points, faces = _rounded((wide, high, 1.0), 0.7, rng.uniform(0.8, 1.1), 20)
    points[:, 1] = np.minimum(points[:, 1], 0) + 0.12 * points[:, 2] ** 2
    parts.add((points, faces), "hull", (0, high, 0))
    if rng.random() < 0.6:
        parts.add(_box((wide * 0.6, 0.14, 0.3), (0.9, 0.8)), "cabin", (0, high + 0.1, -0.2))
        parts.add(_box((wide * 0.61, 0.06, 0.26)), "window", (0, high + 0.14, -0.2))
    if rng.random() < 0.7:
        tall = rng.uniform(0.7, 1.6)
        parts.add(_rod((0, high, 0.1), (0, high + tall, 0.1), 0.015), "mast")
        sail = np.array([[0, high + 0.15, 0.1], [0, high + tall, 0.1], [0.08, high + 0.15, -0.8],
                         [0.06, high + 0.15, 0.85]])  # fmt: skip
        parts.add((sail[[0, 1, 2]], np.array([[0, 1, 2]])), "sail")
        parts.add((sail[[0, 1, 3]] * [1, 0.9, 1], np.array([[0, 1, 2]])), "sail")


def _bird(parts: _Parts, rng: np.random.Generator) -> None:
    """Standing, sitting, swimming or with its wings spread."""
    long, wide, high = rng.uniform(0.35, 0.6), rng.uniform(0.16, 0.34), rng.uniform(0.16, 0.32)
    lean = rng.uniform(-5, 65)
    upright = about([1, 0, 0], -lean)
    legs = float(rng.choice([0.0, rng.uniform(0.05, 0.2), rng.uniform(0.2, 0.9)]))
    middle = _place(0, legs + max(high, long * np.sin(np.deg2rad(abs(lean)))), 0)

    def on(x: float, y: float, z: float) -> np.ndarray:
        """A place on the body, in half axes."""
        return middle + upright @ (np.array([x, y, z]) * [wide, high, long])

    head = rng.uniform(0.09, 0.2)
    neck = float(rng.choice([head, rng.uniform(0.15, 0.8)]))
    chest = on(0, 0.4, 0.75)
    top = chest + neck * np.array([0, rng.uniform(0.7, 1), rng.uniform(-0.1, 0.7)])
    bend = (chest + top) / 2 + _place(0, 0, rng.uniform(-0.3, 0.3) * neck)
    path = _curve([on(0, 0.1, 0.4), chest, bend, top], 12)
    solids = [_ellipsoid(middle, (wide, high, long), upright)]
    solids += [_ellipsoid(p, np.full(3, head * rng.uniform(0.6, 0.8))) for p in path[2::2]]
    solids.append(_ellipsoid(top, (head * 0.85, head, head * 1.1)))
    parts.add(_lump(solids, rng.uniform(0.015, 0.05)), "body")
    look = about([0, 1, 0], rng.normal(0, 30)) @ about([1, 0, 0], rng.uniform(-15, 25))
    beak = head * rng.uniform(0.4, 2)
    deep = rng.uniform(0.15, 0.4)
    hook = _curve([(0, 0, head * 0.8), (0, 0, head + beak * 0.5),
                   (0, -beak * rng.uniform(0, 0.3), head + beak)], 8)  # fmt: skip
    parts.add(_tube(hook @ look.T + top, head * np.linspace(deep, 0.04, 8)), "beak")
    for side in (-1, 1):
        eye = np.array([side * head * 0.72, head * 0.2, head * 0.55])
        parts.add(_rounded(np.full(3, head * 0.15), rings=8), "black eye", look @ eye + top)
    tail = rng.uniform(0.1, 0.7)
    points, faces = _rounded((wide * rng.uniform(0.3, 0.9), 0.025, tail), 0.8, 0.7, 10)
    points[:, 0] *= 1 + points[:, 2] / tail * rng.uniform(-0.5, 0.3)
    fanned = upright @ about([1, 0, 0], rng.uniform(-30, 40))
    parts.add((points @ fanned.T, faces), "tail", on(0, 0.2, -0.85) - fanned[:, 2] * tail * 0.7)
    spread = rng.random() < 0.3
    for side in (-1, 1):
        if spread:
            span, broad = rng.uniform(0.5, 0.8), rng.uniform(0.15, 0.25)
            points, faces = _rounded((span, 0.02, broad), 0.8, 0.8, 12)
            points[:, 2] -= 0.25 * np.abs(points[:, 0] + side * span)
            turn = about([0, 0, 1], side * rng.uniform(-20, 60))
            points = (points + _place(side * span, 0, 0)) @ turn.T
            parts.add((points, faces), "wing", on(side * 0.6, 0.6, 0.25))
        else:
            folded = upright @ about([1, 0, 0], rng.uniform(-5, 15))
            points, faces = _rounded((0.05, high * 0.7, long * rng.uniform(0.6, 1)), 1, 1, 12)
            parts.add((points @ folded.T, faces), "wing", on(side * 0.95, 0.25, -0.2))
        if legs:
            hip = on(side * 0.4, -0.5, 0)
            knee = hip * [1, 0.5, 1] + _place(0, 0, -rng.uniform(0, 0.2) * legs)
            foot = np.array([hip[0], 0.02, hip[2] + rng.normal(0, 0.1)])
            parts.add(_tube(_curve([hip, knee, foot], 8), rng.uniform(0.012, 0.035), 6), "leg")
            toe = rng.uniform(0.06, 0.18)
            for angle in (-40, 0, 40, 180):
                tip = foot + about([0, 1, 0], angle) @ _place(0, 0, toe)
                parts.add(_rod(foot, tip, rng.uniform(0.008, 0.02), 5), "leg")


def _insect(parts: _Parts, rng: np.random.Generator) -> None:
    """Bees, beetles, flies, ants, butterflies, and what has not been described."""
    size, waist = rng.uniform(0.18, 0.3), rng.uniform(0, 0.12)
    high = rng.uniform(0.15, 0.4)
    tall = rng.uniform(0.75, 1.05)
    middle = _place(0, high + size * tall, 0)
    parts.add(_rounded(size * np.array([1, tall, rng.uniform(0.9, 1.3)])), "thorax", middle)
    long, wide = size * rng.uniform(1.2, 2.8), size * rng.uniform(0.6, 1.25)
    droop = about([1, 0, 0], -rng.uniform(-10, 40))
    points, faces = _rounded((wide, wide * rng.uniform(0.6, 1), long), rng.uniform(0.8, 1.1), 1, 20)
    points[:, 0] *= 1 - 0.25 * np.clip(-points[:, 2] / long, 0, 1)
    rear = middle - _place(0, 0, size * 0.8 + waist) - droop[:, 2] * long * 0.85
    bands = int(rng.choice([0, 4, 6, 8]))
    placed = points @ droop.T + rear
    if bands:
        band = (points[faces].mean(1)[:, 2] / long * bands / 2 % 1 < rng.uniform(0.3, 0.7)) + 0
        for k in range(2):
            parts.add((placed, faces[band == k]), f"band {k}")
    else:
        parts.add((placed, faces), "abdomen")
    if waist:
        parts.add(_rod(middle, rear, size * 0.2), "thorax")
    head = size * rng.uniform(0.55, 0.95)
    front = middle + _place(0, -size * rng.uniform(0, 0.4), size + head * 0.7)
    parts.add(_rounded(head * np.array([1.1, 0.9, rng.uniform(0.6, 0.9)])), "head", front)
    feeler, apart = rng.uniform(0.2, 0.7), rng.uniform(0.1, 0.5)
    for side in (-1, 1):
        parts.add(_rounded(head * np.array([0.35, 0.6, 0.5]), rings=10), "black eye",
                  front + head * np.array([side * 0.8, 0.15, 0.25]))  # fmt: skip
        bent = front + head * np.array([side * 0.4, 0.6, 0.6])
        tip = bent + feeler * np.array([side * apart, rng.uniform(-0.3, 0.6), 0.8])
        path = _curve([front + head * np.array([side * 0.3, 0.2, 0.5]), bent, tip], 8)
        parts.add(_tube(path, rng.uniform(0.012, 0.03), 5), "feeler")
        out = rng.uniform(0.35, 0.8)
        thick = rng.uniform(0.015, 0.04)
        for z, ahead in ((0.5, 0.4), (0, 0.0), (-0.5, -0.6)):
            hip = middle + size * np.array([side * 0.6, -0.5, z])
            foot = np.array([side * (0.15 + out), 0.02, hip[2] + ahead * rng.uniform(0.3, 0.9)])
            knee = (hip + foot) / 2 + _place(side * 0.08, rng.uniform(0.05, 0.3), 0)
            path = _curve([hip, knee, foot], 10)
            parts.add(_tube(path, thick * np.linspace(1.4, 0.5, 10), 6), "leg")
    kind = rng.random()
    if kind < 0.2:  # a beetle's
        for side in (-1, 1):
            half = np.array([wide * 0.55, wide * 0.5, long * 1.1])
            parts.add(_rounded(half), "shell", rear + _place(side * wide * 0.5, wide * 0.5, 0.05))
    elif kind < 0.9:
        clear = "window wing" if rng.random() < 0.6 else "wing"
        span, broad = rng.uniform(0.5, 1), rng.uniform(0.1, 0.45)
        back, up = rng.uniform(5, 80), rng.uniform(-5, 75)
        for side in (-1, 1):
            for k in range(int(rng.integers(1, 3))):
                length = span * (1 - 0.3 * k)
                points, faces = _rounded((length / 2, 0.012, broad * length / 2), 0.9, 0.9, 12)
                points = points + _place(length / 2, 0, 0)
                turn = about([0, 0, 1], up) @ about([0, 1, 0], min(back + 25 * k, 85))
                points = points @ turn.T * [side, 1, 1]
                parts.add((points, faces), clear, middle + size * np.array([side * 0.4, 0.7, 0]))


KINDS = {
    "vessel": _vessel, "car": _car, "motorbike": _motorbike, "bicycle": _bicycle,
    "furniture": _furniture, "machine": _machine, "blob": _blob, "tubes": _tubes,
    "plant": _plant, "craft": _craft, "bird": _bird, "insect": _insect,
}  # fmt: skip
"""What makes an object of each kind."""

_CHANCES = (0.15, 0.1, 0.06, 0.07, 0.1, 0.07, 0.12, 0.04, 0.06, 0.03, 0.1, 0.1)


def random_shape(rng: np.random.Generator, kind: str | None = None) -> Shape:
    """An object.

    Args:
        rng: what decides.
        kind: one of `KINDS`; any by default.
    """
    if kind is None:
        kind = str(rng.choice(list(KINDS), p=_CHANCES))
    parts = _Parts()
    KINDS[kind](parts, rng)
    points = np.concatenate(parts.points)
    points = points * np.exp(rng.normal(0, 0.1, 3))
    if rng.random() < (0.15 if kind in ("vessel", "blob", "tubes") else 0.02):  # lies
        points = points @ about([1, 0, 0], float(rng.choice([-90, 90]))).T
    low, high = points.min(0), points.max(0)
    points = points - [(low[0] + high[0]) / 2, low[1], (low[2] + high[2]) / 2]
    materials = tuple(
        Material(name, tuple(float(v) for v in appearance.fur(rng, 0.5)))  # type: ignore[arg-type]
        for name in parts.names
    )
    return Shape(
        kind, points * 2 / (high - low).max(), np.concatenate(parts.faces),
        np.concatenate(parts.material), materials,
    )  # fmt: skip
