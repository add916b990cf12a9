"""glTF models read as they are needed for rendering: one mesh, its skeleton, its animations."""

from __future__ import annotations

import base64
import io
import re
import urllib.parse
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image

from homolog.errors import HomologError
from homolog.utils.optional import require

if TYPE_CHECKING:
    from pygltflib import GLTF2

SUFFIXES = (".glb", ".gltf")

_TYPES = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
_FINE = 6000
"""Meshes with fewer triangles are made finer, so that round things look round."""
_MAX_SIDE = 1024  # pixels of a texture's side


class ModelError(HomologError):
    """A model cannot be used; the message is the reason, without the file's name."""


@dataclass(frozen=True)
class Material:
    """How a part of a model looks.

    Attributes:
        name: in the file; may be empty.
        colour: linear RGB, 0..1.
        texture: sRGB pixels laid on by `Model.uv`, or None.
    """

    name: str
    colour: tuple[float, float, float]
    texture: UInt8[np.ndarray, "h w 3"] | None = None


@dataclass(frozen=True, eq=False)
class Track:
    """How one property of one node changes in an animation.

    Attributes:
        node: index of the node.
        path: `translation`, `rotation` or `scale`.
        times: seconds, rising.
        values: one a time; of CUBICSPLINE three: in-tangent, value, out-tangent.
        interpolation: `LINEAR`, `STEP` or `CUBICSPLINE`.
    """

    node: int
    path: str
    times: Float[np.ndarray, "P"]
    values: Float[np.ndarray, "..."]
    interpolation: str


@dataclass(frozen=True, eq=False, repr=False)
class Model:
    """A mesh in its bind pose, with what moves it.

    World coordinates as glTF has them: y up, lengths in metres. Every vertex follows nodes: a
    vertex that is not skinned follows its mesh's node wholly.

    Attributes:
        name: of the file, without its ending.
        path: of the file.
        node_names: one a node; empty where the file has none.
        parents: index of each node's parent, -1 for none; parents come before their children.
        translations: of each node relative to its parent, at rest.
        rotations: likewise, quaternions (x, y, z, w).
        scales: likewise.
        bind: the nodes' transforms to the world in which the vertices stand as given here.
        positions: of the vertices, in the bind pose.
        welded: for each vertex the number of its place; vertices in one place share normals.
        joints: nodes that each vertex follows.
        weights: how much; each row sums to 1.
        uv: places in textures, where the file has them.
        triangles: vertex indices, counter-clockwise seen from outside.
        material: of each triangle, an index into `materials`.
        materials: at least one.
        animations: tracks by name.
        bones: the nodes that are joints of a skin.
    """

    name: str
    path: Path
    node_names: tuple[str, ...]
    parents: Int[np.ndarray, "N"]
    translations: Float[np.ndarray, "N 3"]
    rotations: Float[np.ndarray, "N 4"]
    scales: Float[np.ndarray, "N 3"]
    bind: Float[np.ndarray, "N 4 4"]
    positions: Float[np.ndarray, "V 3"]
    welded: Int[np.ndarray, "V"]
    joints: Int[np.ndarray, "V 4"]
    weights: Float[np.ndarray, "V 4"]
    uv: Float[np.ndarray, "V 2"] | None
    triangles: Int[np.ndarray, "M 3"]
    material: Int[np.ndarray, "M"]
    materials: tuple[Material, ...]
    animations: dict[str, tuple[Track, ...]] = field(default_factory=dict)
    bones: tuple[int, ...] = ()

    @property
    def skinned(self) -> bool:
        """Whether it has a skeleton."""
        return bool(self.bones)


def read(path: Path) -> Model:
    """Read a model.

    Raises:
        ModelError: the file is missing, broken, or holds nothing that can be rendered.
        HomologError: `pygltflib` is not installed.
    """
    pygltflib = require("pygltflib", "synth")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            file = pygltflib.GLTF2().load(str(path))
            if file is None:
                raise ModelError("is not a glTF file")
            model = _Reader(file, path).model()
    except ModelError:
        raise
    except OSError as error:
        raise ModelError(f"cannot be read: {error.strerror or error}") from error
    except Exception as error:  # broken files raise nearly anything
        said = " ".join(str(error).split())[:120] or type(error).__name__
        raise ModelError(f"is not a whole glTF file: {said}") from error
    while len(model.triangles) < _FINE:
        finer = refine(model)
        if len(finer.positions) > 60_000:
            break
        model = finer
    return model


def load_models(
    folder: Path, models: Sequence[str] | None = None
) -> tuple[list[Model], dict[str, str]]:
    """The models of a folder, by name, and those left out, with the reasons.

    Args:
        folder: of .glb and .gltf files; folders in it are looked into.
        models: names of files without ending, to restrict it to.

    Raises:
        HomologError: there is no such folder, no such model, or none that can be used.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise HomologError(f"models: there is no folder {folder}")
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not paths:
        raise HomologError(f"models: {folder} holds no {' or '.join(SUFFIXES)} files")
    if models is not None:
        names = {path.stem for path in paths}
        if missing := [name for name in models if name not in names]:
            raise HomologError(
                f"models: {missing[0]!r} is none of {', '.join(sorted(names))} in {folder}"
            )
        paths = [path for path in paths if path.stem in set(models)]
    found: dict[str, Model] = {}
    left_out: dict[str, str] = {}
    for path in paths:
        try:
            if path.stem in found:
                raise ModelError("another model has this name")
            found[path.stem] = read(path)
        except ModelError as error:
            left_out[str(path.relative_to(folder))] = str(error)
    if not found:
        why = "; ".join(f"{name} {reason}" for name, reason in list(left_out.items())[:3])
        raise HomologError(f"models: none in {folder} can be used: {why}")
    return list(found.values()), left_out


def matrices(
    translations: Float[np.ndarray, "N 3"],
    rotations: Float[np.ndarray, "N 4"],
    scales: Float[np.ndarray, "N 3"],
) -> Float[np.ndarray, "N 4 4"]:
    """Transforms from translations, quaternions (x, y, z, w; of any length) and scales."""
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


def composed(
    parents: Int[np.ndarray, "N"], local: Float[np.ndarray, "N 4 4"]
) -> Float[np.ndarray, "N 4 4"]:
    """Transforms to the world, from those to the parents, which come first."""
    result = np.empty_like(local)
    for node, parent in enumerate(parents):
        result[node] = local[node] if parent < 0 else result[parent] @ local[node]
    return result


def normals(
    positions: Float[np.ndarray, "V 3"],
    triangles: Int[np.ndarray, "M 3"],
    welded: Int[np.ndarray, "V"],
) -> Float[np.ndarray, "V 3"]:
    """Unit normals of vertices: the mean over the triangles around, by their angles there."""
    corners = positions[triangles]
    along = np.roll(corners, -1, axis=1) - corners
    along /= np.maximum(np.linalg.norm(along, axis=2, keepdims=True), 1e-30)
    flat = np.cross(along[:, 0], along[:, 1])
    flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-30)
    cosines = -(along * np.roll(along, 1, axis=1)).sum(axis=2)
    angles = np.arccos(np.clip(cosines, -1, 1))
    places = welded[triangles].ravel()
    count = int(welded.max()) + 1
    spread = (flat[:, None] * angles[:, :, None]).reshape(-1, 3)
    total = np.stack([np.bincount(places, spread[:, k], count) for k in range(3)], axis=1)
    lengths = np.linalg.norm(total, axis=1, keepdims=True)
    return (total / np.maximum(lengths, 1e-12))[welded]


def refine(model: Model) -> Model:
    """The model with four triangles for each, bulged to follow the normals (Phong tessellation)."""
    triangles = model.triangles
    pairs = np.sort(triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    edges, which = np.unique(pairs, axis=0, return_inverse=True)
    mids = len(model.positions) + which.reshape(-1, 3)
    a, b, c = triangles.T
    ab, bc, ca = mids.T
    finer = np.concatenate(
        [np.stack(t, axis=1) for t in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))]
    )
    turned = normals(model.positions, triangles, model.welded)
    p, q = model.positions[edges[:, 0]], model.positions[edges[:, 1]]
    n, m = turned[edges[:, 0]], turned[edges[:, 1]]
    along = q - p
    places, place = np.unique(np.sort(model.welded[edges], axis=1), axis=0, return_inverse=True)
    # Where a normal is far from that of a triangle there, it is an edge that is to stay sharp.
    corners = model.positions[triangles]
    face = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    face /= np.maximum(np.linalg.norm(face, axis=1, keepdims=True), 1e-30)
    straight = np.einsum("tkc,tc->tk", turned[triangles], face)
    least = np.ones(len(places))
    for k in range(3):  # the triangle's edges, in the order of `mids`
        both = np.minimum(straight[:, k], straight[:, (k + 1) % 3])
        np.minimum.at(least, place.reshape(-1)[which.reshape(-1, 3)[:, k]], both)
    soft = np.clip((least - 0.72) / 0.2, 0, 1)[place.reshape(-1), None]
    # The middle, projected onto the planes at both ends.
    bulge = 0.5 * (
        -n * (n * along).sum(1, keepdims=True) * 0.5 + m * (m * along).sum(1, keepdims=True) * 0.5
    )
    middle = (p + q) / 2 + 0.7 * soft * bulge
    joints, weights = _merged(
        model.joints[edges].reshape(-1, 8), 0.5 * model.weights[edges].reshape(-1, 8)
    )
    uv = None
    if model.uv is not None:
        uv = np.concatenate([model.uv, model.uv[edges].mean(axis=1)])
    return replace(
        model,
        positions=np.concatenate([model.positions, middle]),
        welded=np.concatenate([model.welded, model.welded.max() + 1 + place.reshape(-1)]),
        joints=np.concatenate([model.joints, joints]),
        weights=np.concatenate([model.weights, weights]),
        uv=uv,
        triangles=finer,
        material=np.tile(model.material, 4),
    )


def _merged(
    joints: Int[np.ndarray, "V k"], weights: Float[np.ndarray, "V k"]
) -> tuple[Int[np.ndarray, "V 4"], Float[np.ndarray, "V 4"]]:
    """The four strongest influences, each joint once."""
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


class _Reader:
    def __init__(self, file: GLTF2, path: Path):
        self.file = file
        self.path = path
        self.buffers: dict[int, bytes] = {}

    def model(self) -> Model:
        for name in self.file.extensionsRequired or []:
            if name not in (
                "KHR_materials_unlit",
                "KHR_texture_transform",
                "KHR_mesh_quantization",
            ):
                raise ModelError(f"takes the extension {name}, which is not understood")
        order, parents = self._order()
        nodes = [self.file.nodes[i] for i in order]
        place = {node: k for k, node in enumerate(order)}
        rest = [_parts(node) for node in nodes]
        translations, rotations, scales = (
            np.array([r[k] for r in rest], dtype=float).reshape(len(rest), -1) for k in range(3)
        )
        local = matrices(translations, rotations, scales)
        globals_ = composed(parents, local)
        bind = self._bind(order, place, parents, local, globals_)
        mesh = self._mesh(order, place, bind, globals_)
        return Model(
            name=self.path.stem,
            path=self.path,
            node_names=tuple(node.name or "" for node in nodes),
            parents=parents,
            translations=translations,
            rotations=rotations,
            scales=scales,
            bind=bind,
            materials=tuple(map(self._material, self.file.materials or [])) or (_PLAIN,),
            animations=self._animations(place),
            bones=tuple(
                sorted(
                    {
                        place[j]
                        for n in nodes
                        if n.skin is not None
                        for j in self.file.skins[n.skin].joints
                    }
                )
            ),
            **mesh,
        )

    def _order(self) -> tuple[list[int], Int[np.ndarray, "N"]]:
        """The nodes of the scene, parents first, and the places of their parents."""
        if not self.file.nodes:
            raise ModelError("has no nodes")
        scenes = self.file.scenes or []
        if scenes:
            roots = list(scenes[self.file.scene or 0].nodes or [])
        else:
            below = {c for node in self.file.nodes for c in node.children or []}
            roots = [i for i in range(len(self.file.nodes)) if i not in below]
        order: list[int] = []
        parents: list[int] = []
        todo = [(root, -1) for root in roots]
        seen: set[int] = set()
        while todo:
            node, parent = todo.pop(0)
            if node in seen:
                raise ModelError(f"node {node} has several parents")
            seen.add(node)
            order.append(node)
            parents.append(parent)
            todo += [(c, len(order) - 1) for c in self.file.nodes[node].children or []]
        return order, np.array(parents, dtype=int)

    def _bind(
        self,
        order: list[int],
        place: dict[int, int],
        parents: Int[np.ndarray, "N"],
        local: Float[np.ndarray, "N 4 4"],
        globals_: Float[np.ndarray, "N 4 4"],
    ) -> Float[np.ndarray, "N 4 4"]:
        """Where the nodes stand when vertices stand as given; at rest they may stand otherwise."""
        known: dict[int, Float[np.ndarray, "4 4"]] = {}
        for k, node in enumerate(order):
            skin = self.file.nodes[node].skin
            if skin is None:
                continue
            joints, inverse = self._skin(skin)
            stand = self._stand(k, skin, place, globals_)
            for joint, matrix in zip(joints, inverse, strict=True):
                if joint not in place:
                    raise ModelError(f"skin {skin} has a joint outside of the scene")
                there = stand @ np.linalg.inv(matrix)
                if not np.isfinite(there).all():
                    raise ModelError(f"skin {skin} has a matrix that cannot be inverted")
                before = known.setdefault(place[joint], there)
                size = np.abs(before).max() + 1e-9
                if np.abs(before - there).max() > 1e-3 * size:
                    raise ModelError("has skins with different bind poses")
        bind = np.empty_like(local)
        for k, parent in enumerate(parents):
            above = np.eye(4) if parent < 0 else bind[parent]
            bind[k] = known[k] if k in known else above @ local[k]
        return bind

    def _stand(
        self,
        k: int,
        skin: int,
        place: dict[int, int],
        globals_: Float[np.ndarray, "N 4 4"],
    ) -> Float[np.ndarray, "4 4"]:
        """From a skinned mesh's own space to the world, so that it stands as it does at rest.

        That is its node's transform, as a rule; some files have it in the skeleton alone.
        """
        joints, inverse = self._skin(skin)
        known = [(place[j], m) for j, m in zip(joints, inverse, strict=True) if j in place]
        if not known:
            return globals_[k]
        node, matrix = min(known, key=lambda entry: entry[0])
        rest, own = globals_[node] @ matrix, globals_[k]
        apart = np.linalg.norm(rest[:3, :3] - own[:3, :3])
        return own if apart < 0.5 * np.linalg.norm(own[:3, :3]) else rest

    def _skin(self, index: int) -> tuple[list[int], Float[np.ndarray, "J 4 4"]]:
        skin = self.file.skins[index]
        count = len(skin.joints)
        if skin.inverseBindMatrices is None:
            return skin.joints, np.tile(np.eye(4), (count, 1, 1))
        flat = self._values(skin.inverseBindMatrices)
        return skin.joints, flat.reshape(-1, 4, 4).transpose(0, 2, 1)[:count]

    def _mesh(
        self,
        order: list[int],
        place: dict[int, int],
        bind: Float[np.ndarray, "N 4 4"],
        globals_: Float[np.ndarray, "N 4 4"],
    ) -> dict[str, Any]:
        positions, joints, weights, uvs, triangles, material = [], [], [], [], [], []
        count = 0
        for k, index in enumerate(order):
            node = self.file.nodes[index]
            if node.mesh is None:
                continue
            for primitive in self.file.meshes[node.mesh].primitives:
                if primitive.mode not in (None, 4) or primitive.attributes.POSITION is None:
                    continue  # points and lines have no surface
                where = self._values(primitive.attributes.POSITION).astype(float)
                number = len(where)
                if primitive.indices is None:
                    corners = np.arange(number)
                else:
                    corners = self._values(primitive.indices).ravel().astype(int)
                faces = corners[: len(corners) // 3 * 3].reshape(-1, 3)
                if faces.size and (faces.max() >= number or faces.min() < 0):
                    raise ModelError("has triangles of vertices that are not there")
                if not np.isfinite(where).all():
                    raise ModelError("has vertices at NaN or infinity")
                skinned = node.skin is not None and primitive.attributes.JOINTS_0 is not None
                matrix = self._stand(k, node.skin, place, globals_) if skinned else bind[k]
                if skinned:
                    follows, share = self._influences(primitive.attributes, node.skin, place)
                else:
                    follows = np.full((number, 4), k)
                    share = np.tile([1.0, 0, 0, 0], (number, 1))
                if np.linalg.det(matrix[:3, :3]) < 0:
                    faces = faces[:, ::-1]
                positions.append(where @ matrix[:3, :3].T + matrix[:3, 3])
                joints.append(follows)
                weights.append(share)
                uv = primitive.attributes.TEXCOORD_0
                uvs.append(np.zeros((number, 2)) if uv is None else self._values(uv).astype(float))
                triangles.append(faces + count)
                which = 0 if primitive.material is None else int(primitive.material)
                material.append(np.full(len(faces), which))
                count += number
        if not triangles or not sum(map(len, triangles)):
            raise ModelError("has no triangles")
        where = np.concatenate(positions)
        size = np.ptp(where, axis=0).max()
        if size <= 0:
            raise ModelError("is a single point")
        corners = np.concatenate(triangles)
        a, b, c = (where[corners[:, i]] for i in range(3))
        solid = np.linalg.norm(np.cross(b - a, c - a), axis=1) > 1e-12 * size * size
        if not solid.any():
            raise ModelError("has no triangles with a surface")
        # Vertices are doubled in files where colours or normals change.
        rounded = np.round(where / size * 1e5).astype(int)
        _, welded = np.unique(rounded, axis=0, return_inverse=True)
        names = self.file.materials or []
        kinds = np.concatenate(material)
        if kinds.max() >= max(len(names), 1):
            raise ModelError("has a material that is not there")
        textured = any(np.ptp(uv) > 0 for uv in uvs if uv.size)
        return {
            "positions": where,
            "welded": welded.reshape(-1),
            "joints": np.concatenate(joints),
            "weights": np.concatenate(weights),
            "uv": np.concatenate(uvs) if textured else None,
            "triangles": corners[solid],
            "material": kinds[solid],
        }

    def _influences(
        self, attributes: Any, skin: int, place: dict[int, int]
    ) -> tuple[Int[np.ndarray, "V 4"], Float[np.ndarray, "V 4"]]:
        joints = [self._values(attributes.JOINTS_0).astype(int)]
        weights = [self._values(attributes.WEIGHTS_0).astype(float)]
        follow = getattr(attributes, "JOINTS_1", None)
        shares = getattr(attributes, "WEIGHTS_1", None)
        if follow is not None and shares is not None:
            joints.append(self._values(follow).astype(int))
            weights.append(self._values(shares).astype(float))
        nodes = np.array([place[j] for j in self.file.skins[skin].joints])
        follows, share = np.concatenate(joints, 1), np.concatenate(weights, 1)
        if follows.max() >= len(nodes):
            raise ModelError("has vertices of joints that are not there")
        share = np.where(share.sum(1, keepdims=True) > 0, share, np.eye(share.shape[1])[:1])
        return _merged(nodes[follows], share)

    def _animations(self, place: dict[int, int]) -> dict[str, tuple[Track, ...]]:
        found: dict[str, tuple[Track, ...]] = {}
        for number, animation in enumerate(self.file.animations or []):
            tracks = []
            for channel in animation.channels:
                node, path = channel.target.node, channel.target.path
                if node not in place or path not in ("translation", "rotation", "scale"):
                    continue
                sampler = animation.samplers[channel.sampler]
                times = self._values(sampler.input).ravel().astype(float)
                values = self._values(sampler.output).astype(float)
                how = sampler.interpolation or "LINEAR"
                if path == "scale" and how != "CUBICSPLINE":
                    values = _solid(values)
                if how == "CUBICSPLINE":
                    values = values.reshape(len(times), 3, -1)
                if len(times) and len(values) == len(times) and np.isfinite(values).all():
                    tracks.append(Track(place[node], path, times, values, how))
            if tracks:
                found[animation.name or f"animation {number}"] = tuple(tracks)
        return found

    def _material(self, material: Any) -> Material:
        surface = material.pbrMetallicRoughness
        colour = (1.0, 1.0, 1.0)
        texture = None
        if surface is not None:
            if surface.baseColorFactor is not None:
                r, g, b = (float(np.clip(v, 0, 1)) for v in surface.baseColorFactor[:3])
                colour = (r, g, b)
            if surface.baseColorTexture is not None:
                texture = self._texture(surface.baseColorTexture.index)
        return Material(material.name or "", colour, texture)

    def _texture(self, index: int) -> UInt8[np.ndarray, "h w 3"] | None:
        """A texture, or None where it is missing or broken: the shape can be used without."""
        try:
            image = self.file.images[self.file.textures[index].source]
            if image.bufferView is not None:
                data = self._view(image.bufferView)
            else:
                data = self._uri(image.uri)
            with Image.open(io.BytesIO(data)) as picture:
                picture.thumbnail((_MAX_SIDE, _MAX_SIDE))
                return np.array(picture.convert("RGB"))
        except Exception:
            return None

    def _values(self, index: int) -> np.ndarray:
        accessor = self.file.accessors[index]
        if accessor.sparse is not None:
            raise ModelError("has sparse accessors, which are not understood")
        kind = np.dtype(_TYPES[accessor.componentType])
        width = _WIDTHS[accessor.type]
        if accessor.bufferView is None:
            return np.zeros((accessor.count, width), kind)
        view = self.file.bufferViews[accessor.bufferView]
        data = self._view(accessor.bufferView)
        start = accessor.byteOffset or 0
        stride = view.byteStride or width * kind.itemsize
        needed = start + stride * (accessor.count - 1) + width * kind.itemsize
        if accessor.count and needed > len(data):
            raise ModelError(f"is cut off: {needed - len(data):,} bytes of its data are missing")
        values = np.ndarray(
            (accessor.count, width), kind, data, start, (stride, kind.itemsize)
        ).copy()
        if accessor.normalized and kind.kind in "iu":
            return np.maximum(values / float(np.iinfo(kind).max), -1.0)
        return values

    def _view(self, index: int) -> bytes:
        view = self.file.bufferViews[index]
        start = view.byteOffset or 0
        data = self._buffer(view.buffer)[start : start + view.byteLength]
        if len(data) < view.byteLength:
            missing = view.byteLength - len(data)
            raise ModelError(f"is cut off: {missing:,} bytes of its data are missing")
        return data

    def _buffer(self, index: int) -> bytes:
        if index not in self.buffers:
            uri = self.file.buffers[index].uri
            if uri:
                self.buffers[index] = self._uri(uri)
            else:
                blob = self.file.binary_blob()
                if blob is None:
                    raise ModelError("has no data beside its description")
                self.buffers[index] = bytes(blob)
        return self.buffers[index]

    def _uri(self, uri: str) -> bytes:
        if uri.startswith("data:"):
            return base64.b64decode(uri.partition(",")[2])
        if re.match(r"[a-z]+://", uri, re.IGNORECASE):
            raise ModelError(f"takes {uri} from the network, which is not done")
        path = self.path.parent / urllib.parse.unquote(uri)
        if not path.is_file():
            raise ModelError(f"takes the file {uri}, which is not there")
        return path.read_bytes()


_PLAIN = Material("", (0.8, 0.8, 0.8))


def _parts(node: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Translation, rotation and scale of a node."""
    if node.matrix is None:
        return (
            np.array(node.translation or (0, 0, 0), float),
            np.array(node.rotation or (0, 0, 0, 1), float),
            _solid(np.array(node.scale or (1, 1, 1), float)),
        )
    matrix = np.array(node.matrix, float).reshape(4, 4).T
    scale = np.linalg.norm(matrix[:3, :3], axis=0)
    if np.linalg.det(matrix[:3, :3]) < 0:
        scale[0] = -scale[0]
    turn = matrix[:3, :3] / np.where(scale != 0, scale, 1)
    return matrix[:3, 3], quaternion(turn), _solid(scale)


def _solid(scale: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Scales without zeros, with which files hide things; transforms must have inverses."""
    return np.where(np.abs(scale) < 1e-6, 1e-6, scale)


def quaternion(turn: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "4"]:
    """The unit quaternion (x, y, z, w) of a rotation."""
    m = turn
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
