"""Triangle meshes of simple solids, from which distractors are built; y is up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from homolog.synth.appearance.noise import Noise
from homolog.synth.transforms import rotation_between

Mesh = tuple[Float[np.ndarray, "_ 3"], Int[np.ndarray, "_ 3"]]
"""Vertices and triangles; normals are smooth across vertices that triangles share."""

Vector = Sequence[float] | np.ndarray

Ellipsoid = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Centre (3), half axes (3) and rotation (3, 3); what `ellipsoid` returns."""

CUBE_CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
CUBE_TRIANGLES = np.array(
    [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
     [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]]
)  # fmt: skip


def vec(x: float, y: float, z: float) -> Float[np.ndarray, "3"]:
    """A vector as an array of floats."""
    return np.array([x, y, z], float)


def grid_triangles(rows: int, columns: int, closed: bool = True) -> Int[np.ndarray, "M 3"]:
    """Triangles between rows of a grid of points; if closed, its last column meets its first."""
    across = columns if closed else columns - 1
    i, j = np.meshgrid(np.arange(rows - 1), np.arange(across), indexing="ij")
    k = (j + 1) % columns
    a, b = (i * columns + j).ravel(), (i * columns + k).ravel()
    c, d = a + columns, b + columns
    return np.concatenate([np.stack([a, c, b], 1), np.stack([b, c, d], 1)])


def catmull_rom(points: Sequence[Vector] | np.ndarray, count: int) -> np.ndarray:
    """`count` points on the Catmull-Rom spline through given points."""
    p = np.asarray(points, float)
    p = np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    t = np.linspace(0, len(p) - 3 - 1e-9, count)
    i = t.astype(int)
    t = (t - i)[:, None]
    a, b, c, d = (p[i + k] for k in range(4))
    return b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))


def lathe(profile: Sequence[Vector] | np.ndarray, around: int = 32) -> Mesh:
    """The surface that a line of (radius, height) sweeps about the vertical, in `around` steps."""
    line = np.asarray(profile, float)
    angle = np.linspace(0, 2 * np.pi, around, endpoint=False)
    r, y = np.maximum(line[:, 0], 0)[:, None], line[:, 1]
    points = np.stack(
        [r * np.cos(angle), np.tile(y[:, None], (1, around)), r * np.sin(angle)], axis=-1
    )
    return points.reshape(-1, 3), grid_triangles(len(line), around)


def cylinder(
    start: Vector,
    end: Vector,
    radius: float,
    around: int = 20,
    end_radius: float | None = None,
) -> Mesh:
    """A cylinder, or a truncated cone, with sharp rims."""
    start, end = np.asarray(start, float), np.asarray(end, float)
    along = end - start
    length = float(np.linalg.norm(along)) + 1e-9
    last = radius if end_radius is None else end_radius
    pieces = [
        lathe([(radius, 0), (last, length)], around),
        lathe([(0, 0), (radius, 0)], around),
        lathe([(last, length), (0, length)], around),
    ]
    points, faces = merge_meshes(pieces)
    return points @ rotation_between(np.array([0.0, 1, 0]), along / length).T + start, faces


def merge_meshes(pieces: Sequence[Mesh]) -> Mesh:
    """One mesh of several."""
    offsets = np.cumsum([0, *(len(points) for points, _ in pieces)])
    return (
        np.concatenate([points for points, _ in pieces]),
        np.concatenate([f + o for (_, f), o in zip(pieces, offsets[:-1], strict=True)]),
    )


def box(half: Vector, taper: Vector = (1, 1)) -> Mesh:
    """A box with sharp edges.

    Args:
        half: half its extents.
        taper: the top's extents along x and z relative to the bottom's.
    """
    corners = CUBE_CORNERS * np.asarray(half, float)
    corners[CUBE_CORNERS[:, 1] > 0] *= [taper[0], 1, taper[1]]
    return corners[CUBE_TRIANGLES].reshape(-1, 3), np.arange(36).reshape(-1, 3)


def superellipsoid(
    half: Vector, vertical: float = 1.0, horizontal: float = 1.0, rings: int = 16
) -> Mesh:
    """A superellipsoid: something between an ellipsoid (exponents of 1) and a box (0).

    Args:
        half: half its extents.
        vertical: exponent of its outline seen from aside.
        horizontal: exponent of its outline seen from above.
        rings: of vertices, from below to above.
    """
    v = np.linspace(-np.pi / 2, np.pi / 2, rings + 1)[:, None]
    u = np.linspace(0, 2 * np.pi, 2 * rings, endpoint=False)[None] + np.pi / 2 / rings

    def power(x: np.ndarray, exponent: float) -> np.ndarray:
        return np.where(np.abs(x) < 1e-9, 0, np.sign(x) * np.abs(x) ** exponent)

    points = np.stack(
        [
            power(np.cos(v), vertical) * power(np.cos(u), horizontal),
            np.broadcast_to(power(np.sin(v), vertical), (rings + 1, 2 * rings)),
            power(np.cos(v), vertical) * power(np.sin(u), horizontal),
        ],
        axis=-1,
    )
    return points.reshape(-1, 3) * np.asarray(half, float), grid_triangles(rings + 1, 2 * rings)


def tube(
    path: np.ndarray, radius: float | np.ndarray, segments: int = 8, closed: bool = False
) -> Mesh:
    """A tube along a line of points.

    Args:
        path: the points.
        radius: one for all points, or one each.
        segments: around the tube.
        closed: whether the last point meets the first; otherwise the ends are capped.
    """
    path = np.asarray(path, float)
    along = np.gradient(path, axis=0)
    if closed:
        along = np.roll(path, -1, 0) - np.roll(path, 1, 0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    first = np.cross(along[0], np.eye(3)[np.abs(along[0]).argmin()])
    normals = [first / np.linalg.norm(first)]
    for k in range(1, len(path)):
        projected = normals[-1] - (normals[-1] @ along[k]) * along[k]
        normals.append(projected / max(float(np.linalg.norm(projected)), 1e-9))
    normal = np.array(normals)
    binormal = np.cross(along, normal)
    angle = np.linspace(0, 2 * np.pi, segments, endpoint=False)
    r = np.broadcast_to(radius, len(path))[:, None, None]
    rings = path[:, None] + r * (
        np.cos(angle)[None, :, None] * normal[:, None]
        + np.sin(angle)[None, :, None] * binormal[:, None]
    )
    points = rings.reshape(-1, 3)
    faces = grid_triangles(len(path), segments)
    if closed:
        last = np.arange(segments) + (len(path) - 1) * segments
        nearest = int(np.linalg.norm(rings[0] - points[last[0]], axis=1).argmin())
        start = np.roll(np.arange(segments), -nearest)
        last_next, start_next = np.roll(last, -1), np.roll(start, -1)
        faces = np.concatenate(
            [
                faces,
                np.stack([last, start, last_next], 1),
                np.stack([last_next, start, start_next], 1),
            ]
        )
    else:
        ends = len(points) + np.array([0, 1])
        points = np.concatenate([points, path[[0, -1]]])
        low, high = np.arange(segments), np.arange(segments) + (len(path) - 1) * segments
        faces = np.concatenate(
            [
                faces,
                np.stack([low, np.roll(low, -1), np.full(segments, ends[0])], 1),
                np.stack([np.roll(high, -1), high, np.full(segments, ends[1])], 1),
            ]
        )
    return points, faces


def rod(start: Vector, end: Vector, radius: float, segments: int = 8) -> Mesh:
    """A straight tube."""
    return tube(np.linspace(start, end, 2), radius, segments)


def torus(radius: float, thick: float, around: int = 32, segments: int = 8) -> Mesh:
    """A torus around the x axis: a ring of this radius, as thick as a tube of radius `thick`."""
    angle = np.linspace(0, 2 * np.pi, around, endpoint=False)
    path = np.stack([0 * angle, radius * np.cos(angle), radius * np.sin(angle)], 1)
    return tube(path, thick, segments, closed=True)


def blend_ellipsoids(
    ellipsoids: Sequence[Ellipsoid],
    blend: float,
    roughness: Noise | None = None,
    depth: float = 0.0,
    cells: int = 36,
) -> Mesh:
    """The surface of a smooth union of ellipsoids, by naive surface nets.

    Args:
        ellipsoids: whose signed distances are joined by a soft minimum.
        blend: width of the blending.
        roughness: noise that is added to the distance.
        depth: amplitude of that noise.
        cells: of the grid along the longest extent.
    """
    reach = np.array([h.max() + blend for _, h, _ in ellipsoids])[:, None]
    centres = np.array([m for m, _, _ in ellipsoids])
    low, high = (centres - reach).min(0), (centres + reach).max(0)
    step = float((high - low).max()) / cells
    shape = np.ceil((high - low) / step).astype(int) + 3
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    samples = low + (index - 1) * step
    total = np.zeros(tuple(shape))
    for centre, half, rotation in ellipsoids:
        local = (samples - centre) @ rotation
        scaled = np.linalg.norm(local / half, axis=-1)
        slope = np.maximum(np.linalg.norm(local / half**2, axis=-1), 1e-6)
        total += np.exp(-np.clip(scaled * (scaled - 1) / slope / blend, -30, 30))
    field = -blend * np.log(np.maximum(total, 1e-13))
    if roughness is not None:
        flat = samples.reshape(-1, 3).astype(np.float32)
        field = field + depth * roughness(flat).reshape(field.shape)
    for axis in range(3):  # closed at the border
        edge = np.moveaxis(field, axis, 0)
        edge[0] = edge[-1] = np.maximum(edge[0], step)
    inside = field < 0
    sums, counts = np.zeros((field.size, 3)), np.zeros(field.size)
    flat_index = np.arange(field.size).reshape(field.shape)
    quads = []
    for axis in range(3):
        lower = [slice(None)] * 3
        upper = [slice(None)] * 3
        lower[axis], upper[axis] = slice(None, -1), slice(1, None)
        a, b = field[tuple(lower)], field[tuple(upper)]
        changes = np.argwhere(inside[tuple(lower)] != inside[tuple(upper)])
        start, end = a[tuple(changes.T)], b[tuple(changes.T)]
        crossing = changes.astype(float)
        crossing[:, axis] += start / (start - end)
        u, v = (axis + 1) % 3, (axis + 2) % 3
        around = []
        for du, dv in ((0, 0), (-1, 0), (-1, -1), (0, -1)):
            cell = changes.copy()
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
    index_of = np.zeros(field.size, int)
    index_of[used] = np.arange(len(used))
    corners = index_of[np.concatenate(quads)]
    points = low + (sums[used] / counts[used, None] - 1) * step
    return points, np.concatenate([corners[:, [0, 1, 2]], corners[:, [0, 2, 3]]])


def ellipsoid(centre: Vector, half: Vector, rotation: np.ndarray | None = None) -> Ellipsoid:
    """An ellipsoid for `blend_ellipsoids`."""
    rotation = np.eye(3) if rotation is None else rotation
    return np.array(centre, float), np.array(half, float), rotation
